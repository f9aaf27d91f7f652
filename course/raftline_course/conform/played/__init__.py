"""The peers and clients that the kit plays."""
