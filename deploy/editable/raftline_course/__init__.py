"""The course's package in an editable install of a clone: its modules are those in `course/`."""

__path__ = [__file__.rsplit("/", 4)[0] + "/course/raftline_course"]
