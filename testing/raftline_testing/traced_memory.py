"""The memory that a block of a test takes."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator

DEPTH = 25  # frames of each allocation, so that the module of the test is among them


@contextlib.contextmanager
def traced(module: str, depth: int = DEPTH) -> Iterator[list[int]]:
    """Measure the memory that a block takes. After it, the list has the bytes that are still held,
    and the peak.

    It counts the memory allocated below the module of this file, within `depth` calls, so that
    no other thread of the process counts. The peak has all threads, so a test takes the least of
    several attempts.
    """
    figures: list[int] = []
    tracemalloc.start(depth)
    try:
        yield figures
        peak = tracemalloc.get_traced_memory()[1]
        mine = tracemalloc.Filter(True, module, all_frames=True)
        traces = tracemalloc.take_snapshot().filter_traces([mine]).traces
        figures += [sum(trace.size for trace in traces), peak]
    finally:
        tracemalloc.stop()
