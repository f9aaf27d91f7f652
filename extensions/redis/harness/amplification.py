"""Commands of Redis for the search for amplification (fuzzing/amplification.py)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Final

from raftline.redis.resp.commands import COMMANDS
from raftline_testing.fuzzing.amplification import SENT_BYTES, VALUE, WORDS, Example

from .redis_wire import framed

__all__ = ["COMMANDS", "PREPARED", "example_of"]

_SIZE: Final = VALUE // 8  # of values with many elements, which are made again and again
_TOGETHER: Final = 60_000  # words that one command adds


def _filled(command: str, key: str, elements: list[tuple[str, ...]]) -> list[bytes]:
    """Return the commands that make a value of these elements, with some bytes to spare."""
    left = [word for each in elements for word in each]
    parts = [left[begin : begin + _TOGETHER] for begin in range(0, len(left), _TOGETHER)]
    return [framed("DEL", key), *[framed(command, key, *part) for part in parts]]


# By key: the commands that make it.
PREPARED: Final[Mapping[str, list[bytes]]] = {
    "list": _filled("RPUSH", "list", [("a",)] * (_SIZE // 2)),
    "bytes": _filled("RPUSH", "bytes", [("\x01",)] * (_SIZE // 8)),
    "one": _filled("RPUSH", "one", [("x" * VALUE,)]),
    "set": _filled("SADD", "set", [(f"{each:x}",) for each in range(_SIZE // 7)]),
    "hash": _filled("HSET", "hash", [(f"{each:x}", "1") for each in range(_SIZE // 9)]),
    "equal": _filled("ZADD", "equal", [("1", f"{each:x}") for each in range(_SIZE // 9)]),
    "scores": _filled("ZADD", "scores", [(f"{each}", f"{each:x}") for each in range(_SIZE // 14)]),
    "stream": [framed("DEL", "stream"),
               framed("XADD", "stream", "*", *["a", ""] * 10_000) * (_SIZE // 40_000)],
}  # fmt: skip
_WORDS: Final = (
    *WORDS, *PREPARED, "-67000000", "-inf", "+inf", "(1", "+", "-", "[a", "BYSCORE", "BYLEX", "REV",
    "LIMIT", "WITHSCORES", "STREAMS", "LEFT", "RIGHT", "MIN", "MAXLEN", "BEFORE",
)  # fmt: skip


def example_of(name: str, chance: random.Random) -> Example:
    """Return an example of a command."""
    arity, way = COMMANDS[name].arity, chance.choice(("wide", "several", "multi", "multi"))
    count = abs(arity) - 1
    if arity < 0:
        count += chance.randrange(4)
    words = chance.choices(_WORDS, k=count)
    if words and chance.random() < 0.6:
        words[0] = chance.choice([*PREPARED])
    if way == "wide" and arity < 0:
        words += [chance.choice(_WORDS)] * min(4000 - count, SENT_BYTES // 20)
    command = framed(name, *words)
    times = max(1, SENT_BYTES // len(command))
    if way == "multi" and COMMANDS[name].in_multi:
        times = min(times, chance.choice((30, 400, 1023)))
        return Example(name, framed("MULTI") + command * times + framed("EXEC"), 1)
    times = 1 if way == "wide" else min(times, 5)
    return Example(name, command * times, times)
