"""The tracebacks of a program: its own line, and at most two frames of this package."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

import raftline
import raftline.aio
from raftline.clients.requests.node_connection import ClientError

FRAMES_MAX = 2
PACKAGE = str(Path(raftline.aio.__file__).parent)
OPERANDS = {  # by the name of the parameter
    **dict.fromkeys(("key", "old", "new", "value", "item", "default", "command"), "5"),
    **{name: ["a"] for name in ("items", "values", "keys", "other", "more")},
    **{"index": 0, "ttl": 5, "prefix": "app/", "change": str, "number": 1},
}
OF_METHOD = {  # where these do not fit
    "KV.request": ("get a",),
    "AioKV.request": ("get a",),
    "KV.clear": ("app/",),
    "KV.setdefault": ("a", "5"),
    "KV.update": ({"a": "5", "b": "6"},),
    "AioKV.update": ({"a": "5", "b": "6"},),
    "ReplicatedDict.update": ({"a": "5"},),
    "ReplicatedDict.__ior__": ({"a": "5"},),
    "ReplicatedDict.__or__": ({"a": "5"},),
    "ReplicatedDict.__ror__": ({"a": "5"},),
    "ReplicatedList.index": ("a",),
    "ReplicatedSet.__eq__": ({"a"},),
    **{f"ReplicatedSet.__{how}__": ({"a"},) for how in ("le", "lt", "ge", "gt")},
    **{f"ReplicatedCounter.__{how}__": (1,) for how in ("eq", "le", "lt", "ge", "gt")},
}
ASKS_NOTHING = {  # it makes something, or ends or reports what is here
    *(
        "name",
        "timeout",
        "state",
        "add_listener",
        "remove_listener",
        "within",
        "close",
    ),
    *("lease", "lock", "semaphore", "election", "watch", "txn", "pipeline"),
    *("id", "left", "is_held", "token", "slot", "kind", "position", "is_listed"),
    *(
        "full",
        "__enter__",
        "__aenter__",
        "__exit__",
        "__aexit__",
        "__del__",
        "__hash__",
        "__repr__",
    ),
}
# Without a lease that is held these raise RuntimeError.
OF_A_HOLDER = {"check", "release", "wait_lost"}


class Nowhere:
    """The objects of a client whose cluster no node serves."""

    def __init__(self, kv: Any) -> None:
        self._kv = kv

    def __iter__(self) -> Iterator[Any]:
        kv = self._kv
        yield from (kv, kv.lock("a"), kv.lock("a", shared=True), kv.semaphore("a", 2))
        yield from (kv.election("a"), kv.lease(10), kv.watch())


def asking(of: object) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the name of each public method or property that asks, and a call of it."""
    kind = type(of)
    for name in sorted(set(dir(kind)) - ASKS_NOTHING):
        each = inspect.getattr_static(kind, name)
        is_public = not name.startswith("_") or (name.endswith("__") and name in vars(kind))
        if isinstance(each, property) and is_public:
            yield f"{kind.__name__}.{name}", lambda name=name: getattr(of, name)  # type: ignore[misc]
        elif inspect.isfunction(each) and is_public and name != "__init__":
            called = f"{kind.__name__}.{name}"
            operands = OF_METHOD.get(called) or operands_of(each)
            yield called, lambda name=name, operands=operands: getattr(of, name)(*operands)  # type: ignore[misc]


def operands_of(method: Callable[..., object]) -> tuple[Any, ...]:
    _, *others = inspect.signature(method).parameters.values()
    return tuple(
        OPERANDS[each.name]
        for each in others
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        and each.default is inspect.Parameter.empty
    )


def frames_of(error: BaseException) -> list[str]:
    found = traceback.extract_tb(error.__traceback__)
    return [f"{each.name} {each.filename}" for each in found if each.filename.startswith(PACKAGE)]


def check(called: str, error: BaseException | None) -> None:
    if called.partition(".")[2] in OF_A_HOLDER and type(error) is RuntimeError:
        return
    assert isinstance(error, ClientError), f"{called} asked nothing: {error!r}"
    assert len(frames_of(error)) <= FRAMES_MAX, f"{called}: {frames_of(error)}"


def end_of(call: Callable[[], Any]) -> BaseException | None:
    try:
        answer = call()
        if isinstance(answer, Iterator):
            next(answer)
        elif isinstance(answer, Collection):
            len(answer)
    except Exception as error:
        return error
    return None


async def end_of_awaited(call: Callable[[], Any]) -> BaseException | None:
    try:
        answer = call()
        if isinstance(answer, AsyncIterator):
            await anext(answer)
        else:
            await answer
    except Exception as error:
        return error
    return None


@pytest.fixture
def kv() -> Iterator[raftline.KV[str]]:
    with raftline.connect("localhost:1", timeout=0.01) as kv:
        yield kv


def test_each_method_of_threads_shows_two_frames_at_most(kv: raftline.KV[str]) -> None:
    count = 0
    for each in Nowhere(kv):
        for called, call in asking(each):
            check(called, end_of(call))
            count += 1
    assert count > 40


def test_each_method_of_tasks_shows_two_frames_at_most() -> None:
    async def count() -> int:
        calls = 0
        async with raftline.aio.connect("localhost:1", timeout=0.01) as kv:
            for each in Nowhere(kv):
                for called, call in asking(each):
                    check(called, await end_of_awaited(call))
                    calls += 1
        return calls

    assert asyncio.run(count()) > 35


@pytest.mark.parametrize(
    "kind",
    [each for name in raftline.__all__ if name.startswith("Replicated")
     and isinstance(each := getattr(raftline, name), type)],
)  # fmt: skip
def test_each_method_of_an_object_shows_two_frames_at_most(kind: Any, kv: raftline.KV[str]) -> None:
    names = [
        called for called, call in asking(kind("a", kv)) if check(called, end_of(call)) is None
    ]
    assert len(names) > 1


def test_the_end_of_a_with_shows_two_frames_at_most(kv: raftline.KV[str]) -> None:
    with pytest.raises(ClientError) as nobody, kv.pipeline() as batch:
        batch.set("a", "5")
    assert len(frames_of(nobody.value)) <= FRAMES_MAX
    for each in (kv.lock("a"), kv.lease(10)):
        with pytest.raises(ClientError) as nobody:
            each.__enter__()
        assert len(frames_of(nobody.value)) <= FRAMES_MAX


class Refusing:
    """A cluster that answers each request with the same line."""

    name = "refusing"

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def request(self, command: str, timeout: float | None = None) -> str:
        return self.answer


def test_an_absent_key_or_item_shows_two_frames_at_most() -> None:
    nothing = Refusing("OBJECT response, condition failed: no such item")
    settings = raftline.ReplicatedDict("d", nothing)
    jobs, queue = raftline.ReplicatedList("l", nothing), raftline.ReplicatedQueue("q", nothing)
    for call in (
        lambda: settings.__delitem__("a"),
        lambda: settings.pop("a"),
        lambda: jobs.remove("a"),
        lambda: jobs.pop(),
        lambda: queue.get_nowait(),
        lambda: queue.put_nowait("a"),
    ):
        error = end_of(call)
        assert error is not None
        assert not isinstance(error, raftline.RaftlineError)
        assert len(frames_of(error)) <= FRAMES_MAX


def test_a_function_of_the_program_stays_in_a_traceback(kv: raftline.KV[str]) -> None:
    def pairs() -> Iterator[tuple[str, str]]:
        yield "a", kv["a"]

    error = end_of(lambda: raftline.ReplicatedDict("d", kv).update(pairs()))
    assert error is not None
    assert "pairs" in [each.name for each in traceback.extract_tb(error.__traceback__)]
