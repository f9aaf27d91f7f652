"""A program's or a person's view of the cluster: requests, keys, watches, locks."""
