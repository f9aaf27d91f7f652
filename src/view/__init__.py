"""The picture of a running cluster: the steps that nodes report, combined and served as a page."""
