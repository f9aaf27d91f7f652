"""The harness of tests in an editable install of a clone: its modules are those in `testing/`."""

__path__ = [__file__.rsplit("/", 4)[0] + "/testing/raftline_testing"]
