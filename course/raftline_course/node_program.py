"""The program of a node that obeys a controller; it finds its packages by itself."""

from __future__ import annotations

import sys
from pathlib import Path

# This also runs in a clone that isn't installed; an installed package is next to this one.
_HERE = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(_HERE), str(_HERE.parent / "src"), str(_HERE.parent / "testing")]

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

sys.argv[0] = "server.py"  # the name at the beginning of argument errors

from raftline_course.controlled_server import main

if __name__ == "__main__":
    raise SystemExit(main())
