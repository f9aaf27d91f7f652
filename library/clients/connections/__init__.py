"""How a client reaches a node: addresses, connections, TLS, the login."""
