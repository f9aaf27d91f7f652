"""Run a program of this lab that ends with the process that started it, even by kill -9.

    python3 tethered.py SCRIPT [ARGUMENT …]

The starting process passes it a lifeline, as `raftline up` does to its nodes
(src/common/process/signals.py).
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))  # from the clone

from raftline.common.process import signals

if __name__ == "__main__":
    signals.end_with_starter(lambda: os._exit(0))
    del sys.argv[0]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except BrokenPipeError:  # the starting process is gone, and has read until then
        os._exit(0)
