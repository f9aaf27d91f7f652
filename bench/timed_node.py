"""A node of this clone that notes its long pauses: timed_node.py FILE ARGUMENT ...

It adds a line to FILE for each sync of a file and each collection of garbage that took LEAST_S or
longer: the time of its end by `time.monotonic`, what it was, and its length in milliseconds.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # works uninstalled

from raftline.server import main  # noqa: E402

LEAST_S = 0.005


def timed(file: TextIO, sync: Callable[[int], None]) -> Callable[[int], None]:
    """Return a sync that notes how long it took."""

    def run(descriptor: int) -> None:
        begun_s = time.monotonic()
        try:
            sync(descriptor)
        finally:
            note(file, "sync", begun_s)

    return run


def collections(file: TextIO) -> Callable[[str, dict[str, int]], None]:
    """Return a callback of `gc` that notes each collection."""
    begun_s = [0.0]

    def look(phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            begun_s[0] = time.monotonic()
        else:
            note(file, "collection", begun_s[0])

    return look


def note(file: TextIO, what: str, begun_s: float) -> None:
    now_s = time.monotonic()
    if now_s - begun_s >= LEAST_S:
        file.write(f"{now_s:.6f} {what} {1000 * (now_s - begun_s):.3f}\n")


if __name__ == "__main__":
    pauses = open(sys.argv[1], "a", buffering=1)  # noqa: SIM115 (until the end)
    os.fsync = timed(pauses, os.fsync)  # type: ignore[assignment]
    os.fdatasync = timed(pauses, os.fdatasync)  # type: ignore[assignment]
    gc.callbacks.append(collections(pauses))
    sys.exit(main(sys.argv[2:]))
