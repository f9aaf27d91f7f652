"""An exception at any line of a call, as a signal handler raises it, leaves every client usable.

Ctrl-C that a program survives, `signal.alarm`, and the time limits of test runners and of workers
raise in the middle of a call. Here, a call is interrupted at one line after the other.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest

import raftline
import raftline.aio
from raftline_testing.doubles.interruptions import Late, Tracer, interrupted
from raftline_testing.doubles.scripted_node import ScriptedNode, store
from raftline_testing.runner.at_night import at_night, in_the_rest

LIMIT_S = 30.0  # only a call that hangs takes it
TASK_LIMIT_S = 3.0  # a call whose reply a callback of the loop lost takes it
Call = Callable[[Any], Any]


@pytest.fixture
def node() -> Iterator[ScriptedNode]:
    node = ScriptedNode(store())
    yield node
    node.close()


def by_pipeline(kv: raftline.KV[str]) -> None:
    with kv.pipeline() as batch:
        batch.set("c", "1")
        batch.get("c")


CALLS: dict[str, Call] = {
    "get": lambda kv: kv.get("ana"),
    "set": lambda kv: kv.set("c", "1"),
    "pipeline": by_pipeline,
    "close": lambda kv: kv.close(),
}


def serves(kv: raftline.KV[str]) -> None:
    """Assert that a client serves this thread and another, which can't take this thread's locks."""
    for key in ("a", "b"):
        kv.set(key, f"{key} 1")
    assert [kv.get("a"), kv.get("b"), kv.get("ana")] == ["a 1", "b 1", "4"]
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(kv.get("ana")), daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    assert found == ["4"]


def check(node: ScriptedNode, number: int, call: Call, *, is_connected: bool) -> str:
    """Interrupt a call of a new client at this line, and assert that it and the next one serve."""
    at = f"localhost:{node.port}"
    with raftline.connect(at, timeout=LIMIT_S) as kv:
        if is_connected:
            kv.set("b", "2")
        place = interrupted(number, partial(call, kv))
        try:
            if call is not CALLS["close"]:
                serves(kv)
            with raftline.connect(at, timeout=LIMIT_S) as other:
                serves(other)
        except Exception as error:
            raise AssertionError(f"interrupted at line {number}, {place}") from error
    return place


@pytest.mark.parametrize("step", [4, in_the_rest(1)])
def test_first_call_may_be_interrupted_at_any_line(node: ScriptedNode, step: int) -> None:
    """The first get resolves a name, connects and sends its request."""
    last = next(n for n in count(1, step) if not check(node, n, CALLS["get"], is_connected=False))
    assert last > 100


# A call that connects has the lines of `get` before its own, so all but one are for the night.
@pytest.mark.parametrize(
    ("name", "is_connected"),
    [in_the_rest(name, True) for name in CALLS]
    + at_night(*((name, False) for name in CALLS if name != "get")),
)
def test_call_may_be_interrupted_at_any_line(
    node: ScriptedNode, name: str, is_connected: bool
) -> None:
    """Afterwards, the same client still works, and so does a new one."""
    call = CALLS[name]
    assert next(n for n in count(1) if not check(node, n, call, is_connected=is_connected)) > 10


AIO_CALLS: dict[str, Call] = {
    "get": lambda kv: kv.get("ana"),
    "set": lambda kv: kv.set("c", "1"),
    "get_many": lambda kv: kv.get_many(["ana", "b"]),
}


async def check_task(node: ScriptedNode, number: int, call: Call, *, is_connected: bool) -> str:
    """Interrupt a call of a new client at this line, and assert that the client serves."""
    kv = raftline.aio.connect(f"localhost:{node.port}", timeout=TASK_LIMIT_S)
    if is_connected:
        await kv.set("b", "2")
    tracer = Tracer(number)
    try:
        with tracer.tracing():
            await call(kv)
    except (Late, raftline.ClientError):  # a callback of the loop may have been interrupted
        pass
    try:
        assert await kv.get("ana") == "4"
        for key in ("a", "b"):
            await kv.set(key, f"{key} 1")
        assert [await kv.get(key) for key in ("a", "b", "ana")] == ["a 1", "b 1", "4"]
        await kv.close()
    except Exception as error:
        raise AssertionError(f"interrupted at line {number}, {tracer.place}") from error
    return tracer.place


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "is_connected"),
    [in_the_rest(name, True) for name in AIO_CALLS]
    + [in_the_rest("get", False)]
    + at_night(*((name, False) for name in AIO_CALLS if name != "get")),
)
def test_task_may_be_interrupted_at_any_line(
    node: ScriptedNode, name: str, is_connected: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """No reply is taken for that of another request."""
    caplog.set_level(logging.CRITICAL, "asyncio")  # which logs exceptions of its callbacks
    number, place = 0, "before"
    while place:
        number += 1
        place = asyncio.run(check_task(node, number, AIO_CALLS[name], is_connected=is_connected))
    assert number > 10
