"""What a line says: requests, replies, limits, and values with one spelling. Pure."""
