"""Sockets: the admission of connections, the replies on them, and the connections to peers."""
