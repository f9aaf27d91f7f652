"""Lists of what the whole product has: its pages for users, its public names, its walks."""

from __future__ import annotations

from raftline_testing.runner.parts import MISSING

OF_THE_WHOLE = [
    "test_command_pages.py",
    "test_option_pages.py",
    "test_public_names.py",
    "test_site.py",
    "test_walks.py",
]
collect_ignore = OF_THE_WHOLE if MISSING else []
