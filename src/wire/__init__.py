"""The meaning of a line: requests, replies, limits, and values with one spelling. Pure."""
