"""The address at which `raftline learn` serves the lab."""

from __future__ import annotations

from typing import Final

PORT: Final = 8030
PAGE: Final = "/docs/learn/lab.html"
GRADED: Final = "grade="  # begins the part after `#` for a schedule of the grader
ADDRESS: Final = f"http://localhost:{PORT}{PAGE}"
