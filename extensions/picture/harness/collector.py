"""The collector of a schedule or a transcript, for the kernel's part of the harness."""

from __future__ import annotations

from .judging.collected import Collector


def collector() -> Collector:
    """Return a collector for nodes that share one clock."""
    return Collector(one_clock=True)
