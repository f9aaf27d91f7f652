"""Hashes, lists, sets and sorted sets, each as one value of the store. Pure."""
