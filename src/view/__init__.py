"""The picture of a running cluster: what each node observes, put together and served as a page."""
