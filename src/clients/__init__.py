"""A program's or a person's conversation with the cluster."""
