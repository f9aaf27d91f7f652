"""The processes of a folder, from /proc."""

from __future__ import annotations

import os
from pathlib import Path


def processes_of(folder: Path | str) -> dict[int, str]:
    """Return the processes with this folder among their arguments, and the state of each: S, R,
    T (stopped), …"""
    states = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (path / "cmdline").read_bytes():
                states[int(path.name)] = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue  # it has ended
    return states


def of_process(pid: int, fact: str) -> int:
    """Return a figure that the kernel has about a process: its `Threads`, or its `VmRSS` in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(fact)).split()[1])
