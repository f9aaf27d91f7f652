"""A conversation with the cluster: one socket, login, TLS, the search for the leader."""
