"""Watches of a program: they resume at another node if one fails."""
