"""`python3 src/simulator.py METRICS`: run `raftline simulate`, a command of the course."""

from __future__ import annotations

if __name__ == "__main__":  # first, since the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import sys

from raftline.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["simulate", *sys.argv[1:]]))
