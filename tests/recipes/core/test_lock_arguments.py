"""Wrong arguments of a lock or an election are refused at once, in their own words."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import pytest

import raftline
import raftline.aio
from raftline.recipes.locks.lock_keys import LOCKS, LockKeys

NOWHERE = "127.0.0.1:1"  # nobody is asked
CONNECTS: list[Callable[..., Any]] = [raftline.connect, raftline.aio.connect]


class Word(str, enum.Enum):
    RED = "red"


async def later() -> None: ...


@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize("kind", ["lock", "election"])
@pytest.mark.parametrize("on_lost", [5, "f", later])
def test_on_lost_is_a_plain_function(
    connect: Callable[..., Any], kind: str, on_lost: object
) -> None:
    with pytest.raises(TypeError, match="on_lost is a plain function"):
        getattr(connect(NOWHERE), kind)("a", on_lost=on_lost)


@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize(("kind", "called"), [("lock", "a lock"), ("election", "an election")])
def test_the_name_of_a_lock_is_called_so(
    connect: Callable[..., Any], kind: str, called: str
) -> None:
    with pytest.raises(TypeError, match=f"the name of {called} is str here, not int"):
        getattr(connect(NOWHERE), kind)(5)
    with pytest.raises(ValueError, match=f"the name of {called} has at least one byte"):
        getattr(connect(NOWHERE), kind)("")


def test_the_name_of_a_lock_may_be_an_enum() -> None:
    assert LockKeys(LOCKS, Word.RED).held == LockKeys(LOCKS, "red").held
