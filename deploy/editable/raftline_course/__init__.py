"""The course's package in an editable install of a clone: its modules are those in `course/`."""

# jedi does not read `__path__`. The words extend_path(__path__ make it search all of sys.path, and
# find build/typing, which deploy/rules.mk puts there.
__path__ = [__file__.rsplit("/", 4)[0] + "/course/raftline_course"]
