"""The life of a node: how it begins, joins, prints and ends."""
