"""The picture of a running cluster: the reported steps of all nodes, combined and served as a
page."""
