"""The meaning of each line: requests, replies, limits, and values in canonical form. Pure."""
