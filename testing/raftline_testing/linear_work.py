"""How much more time a line takes than a shorter one.

Regular expressions and joins run in C, where nothing counts their steps. So processor time is
compared, of one line and of one `FACTOR` times as long: in proportion it grows by that factor,
and with the square of the length by its square. The bound lies in the middle of the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from raftline.wire.commands.parsing import ReadSettings, parse
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import looks_foreign

SHORT_BYTES = 4 << 10
FACTOR = 8
TIMES_MORE_MAX = 3.0 * FACTOR  # FACTOR is in proportion, FACTOR ** 2 is the square
LEAST_S = 0.0003  # less than this is the noise of the clock
TRIES = 10


def seconds(work: Callable[[bytes], object], line: bytes) -> float:
    begun_s = time.thread_time()
    work(line)
    return time.thread_time() - begun_s


def times_more(
    work: Callable[[bytes], object],
    beginning: bytes,
    piece: bytes,
    short: int = SHORT_BYTES,
    factor: int = FACTOR,
) -> float:
    """Return how much more time a line takes that is `factor` times as long as `short` bytes."""
    long = (beginning + piece * (short * factor // len(piece)))[: short * factor]
    ratios = []
    for _ in range(TRIES):
        short_s, long_s = seconds(work, long[:short]), seconds(work, long)
        ratios.append(long_s / max(short_s, LEAST_S))
        if ratios[-1] <= 3 * factor:
            break
    return min(ratios)


def understood(line: bytes) -> None:
    looks_foreign(line)
    parse(line, Limits(), ReadSettings(), "s1")
