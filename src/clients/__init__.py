"""The conversation of a program or a user with the cluster."""
