"""Random numbers as `random` draws them, in a third of its time.

`randint` and `choice` make three Python calls for each number. A schedule draws 10,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

_One = TypeVar("_One")


def up_to(most: int, chance: Random) -> int:
    """Draw a number from 0 to `most`: the same as `randint` draws."""
    bits = (most + 1).bit_length()
    drawn = chance.getrandbits(bits)
    while drawn > most:
        drawn = chance.getrandbits(bits)
    return drawn


def pick(options: Sequence[_One], chance: Random) -> _One:
    """Draw one of these: the same as `choice` draws."""
    return options[up_to(len(options) - 1, chance)]
