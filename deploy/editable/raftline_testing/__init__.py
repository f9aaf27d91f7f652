"""The harness of tests in an editable install of a clone: its modules are those in `testing/`."""

# jedi reads no `__path__`. At the text extend_path(__path__ it looks through all of sys.path, and
# finds build/typing, which deploy/rules.mk puts there.
__path__ = [__file__.rsplit("/", 4)[0] + "/testing/raftline_testing"]
