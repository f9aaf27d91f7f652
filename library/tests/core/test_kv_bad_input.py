"""Wrong arguments of a program are refused at once, in its own words, by threads and by tasks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

import raftline
import raftline.aio
from raftline.harness.kv_cluster import awaited, tasks, threads
from raftline.wire.limits import VALUE_BYTES

pytestmark = pytest.mark.needs("asyncio.run")
NOWHERE = "127.0.0.1:1"  # nobody is asked
CONNECTS: list[Callable[..., Any]] = [raftline.connect, raftline.aio.connect]


def outcome(call: Callable[..., Any]) -> Any:
    """Return what a call returns; await it before, if it is a coroutine."""

    async def run() -> Any:
        found = call()
        return await found if asyncio.iscoroutine(found) else found

    return asyncio.run(run())


@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize("method", ["next_event", "sync"])
@pytest.mark.parametrize(
    ("timeout", "error", "words"),
    [
        ("5", TypeError, "a timeout is a number of seconds or a timedelta, not str"),
        (True, TypeError, "a timeout is a number of seconds or a timedelta, not bool"),
        (math.nan, ValueError, "a timeout of nan s is invalid"),
    ],
)
def test_a_watch_waits_for_no_wrong_time(
    connect: Callable[..., Any], method: str, timeout: object, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        outcome(lambda: getattr(connect(NOWHERE).watch("a"), method)(timeout))


async def later() -> None: ...


@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize("on_lost", [5, "f", later])
def test_on_lost_is_a_plain_function(connect: Callable[..., Any], on_lost: object) -> None:
    with pytest.raises(TypeError, match="on_lost is a plain function"):
        outcome(lambda: connect(NOWHERE).lease(10, on_lost=on_lost))


@pytest.mark.parametrize("connect", CONNECTS)
def test_a_listener_that_was_not_added_is_named_so(connect: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="this listener was not added"):
        outcome(lambda: connect(NOWHERE).remove_listener(print))


@pytest.mark.parametrize("connect", CONNECTS)
def test_the_name_of_a_client_is_a_text(connect: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="the name of a client is a str, not int"):
        outcome(lambda: connect(NOWHERE, name=5))


@pytest.mark.parametrize("connect", CONNECTS)
def test_a_line_that_is_too_long_is_refused_before_it_is_sent(connect: Callable[..., Any]) -> None:
    longest = "x" * VALUE_BYTES

    def commit() -> Any:
        then = connect(NOWHERE).txn().then
        for number in range(5):
            then = then.set(f"a{number}", longest)
        return then.commit()

    with pytest.raises(raftline.Refused, match="this line is longer than 4198656 bytes") as refused:
        outcome(commit)  # nobody listens there
    assert refused.value.code == "too-long"


@pytest.mark.parametrize("make", [threads, tasks])
@pytest.mark.parametrize(
    ("prefix", "error", "words"),
    [
        ("", ValueError, "a prefix has at least one byte"),
        (5, TypeError, "a prefix is str here, not int"),
    ],
)
def test_clear_speaks_of_a_prefix(
    make: Callable[[], Any], prefix: Any, error: type[Exception], words: str
) -> None:
    kv, _ = make()
    with pytest.raises(error, match=words):
        awaited(kv.clear(prefix)) if make is tasks else kv.clear(prefix)


@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize(
    ("index", "error"),
    [(-1, ValueError), (1 << 63, ValueError), ("x", TypeError), (True, TypeError)],
)
def test_an_index_of_an_entry_is_a_whole_number(
    connect: Callable[..., Any], index: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="a whole number"):
        outcome(lambda: connect(NOWHERE).watch("a", after=index))
    with pytest.raises(error, match="a whole number"):
        outcome(lambda: connect(NOWHERE).txn().if_.unchanged("a", index))
