"""`python3 course/server.py s1 10000 --controller`: a node that obeys a controller, in a clone."""

from __future__ import annotations

import runpy
from pathlib import Path

if __name__ == "__main__":
    node = Path(__file__).with_name("raftline_course") / "node_program.py"
    runpy.run_path(str(node), run_name="__main__")
