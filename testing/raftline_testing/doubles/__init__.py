"""Stand-ins for a node, a client, a host, a clock and a page."""
