"""Connections of asyncio to nodes, and the requests on them."""
