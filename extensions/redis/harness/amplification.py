"""Commands of Redis for the search for amplification (fuzzing/amplification.py)."""

from __future__ import annotations

import random

from raftline.redis.resp.commands import COMMANDS
from raftline_testing.fuzzing.amplification import SENT_BYTES, WORDS, Example

from .redis_wire import framed

__all__ = ["COMMANDS", "example_of"]


def example_of(name: str, chance: random.Random) -> Example:
    """Return an example of a command."""
    arity, way = COMMANDS[name].arity, chance.choice(("wide", "several", "multi", "multi"))
    count = abs(arity) - 1
    if arity < 0:
        count += chance.randrange(4)
    words = chance.choices(WORDS, k=count)
    if way == "wide" and arity < 0:
        words += [chance.choice(WORDS)] * min(4000 - count, SENT_BYTES // 20)
    command = framed(name, *words)
    times = max(1, SENT_BYTES // len(command))
    if way == "multi" and COMMANDS[name].in_multi:
        times = min(times, chance.choice((30, 400, 1023)))
        return Example(name, framed("MULTI") + command * times + framed("EXEC"), 1)
    times = 1 if way == "wide" else min(times, 5)
    return Example(name, command * times, times)
