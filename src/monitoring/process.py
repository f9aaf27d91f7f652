"""Facts of the process that the kernel tells, by the names that Prometheus' own clients use."""

from __future__ import annotations

import os
import resource
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

Fact = tuple[str, str, float]  # kind, help, value


def process_facts() -> dict[str, Fact]:
    """Return the facts that there are: some are told by Linux alone."""
    used = os.times()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    facts: dict[str, Fact] = {
        "cpu_seconds_total": ("counter", "Processor time", used.user + used.system),
        "max_fds": ("gauge", "Files that may be open", float(soft)),
    }
    try:
        size, resident = Path("/proc/self/statm").read_text("ascii").split()[:2]
        count = len(os.listdir("/proc/self/fd"))
    except (OSError, ValueError):
        return facts
    facts["virtual_memory_bytes"] = ("gauge", "Virtual memory", float(int(size) * PAGE_BYTES))
    facts["resident_memory_bytes"] = ("gauge", "Memory in use", float(int(resident) * PAGE_BYTES))
    facts["open_fds"] = ("gauge", "Files and sockets that are open", float(count))
    return facts
