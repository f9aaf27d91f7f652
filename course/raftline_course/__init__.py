"""Lessons and judges of raftline: simulator, kit, controller, grader, pictures, harness."""

from contextlib import suppress

with suppress(ModuleNotFoundError):  # in a clone it may not be on the path yet, nor need this
    from raftline_testing.extensions import find_in_tree

    find_in_tree()
