"""Observations of clients, and the search for one order of operations that explains them."""
