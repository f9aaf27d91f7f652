"""`python3 course/labs/write-raft/grade.py FOLDER` grades hand-ins as `raftline grade` does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# This also runs in a clone that isn't installed.
ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / name) for name in ("src", "testing", "course")]
os.environ.setdefault("RAFTLINE_PURE", "1")

from labs.checking import end_with
from raftline_course.grading.grade import main

if __name__ == "__main__":
    end_with(main)
