"""Tasks in every order that a seed draws: an event loop in virtual time.

Whenever a callback is chosen, any ready task may run next. Callbacks that aren't steps of a task (a
protocol's calls, for example) keep their order. Time passes if nothing is ready; now and then a
timer fires early, since a real loop is slow. If nothing is ready and no timer runs, that is a
deadlock and a failure.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from unittest import mock

from .threads import EARLY, STEPS_MAX, SWITCHES_SHOWN, TICK_S, Stuck

CLOCKS = ("monotonic", "clock_gettime")
TURN_S = time.get_clock_info("monotonic").resolution


class Ready(collections.deque[asyncio.Handle]):
    """The callbacks that are ready; the next one is drawn by chance."""

    def __init__(self, chance: random.Random, *, is_printed: bool) -> None:
        """With `is_printed`, keep the last ones as text."""
        super().__init__()
        self._chance = chance
        self._is_printed = is_printed
        self._numbers: dict[object, int] = {}
        self._steps = 0
        self.last: collections.deque[str] = collections.deque(maxlen=SWITCHES_SHOWN)

    def popleft(self) -> asyncio.Handle:
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise Stuck(f"{STEPS_MAX} steps, and no end")
        place = self._chance.randrange(len(self))
        owner = _owner(self[place])
        place = next(one for one, handle in enumerate(self) if _owner(handle) is owner)
        self.rotate(-place)
        handle = super().popleft()
        self.rotate(place)
        if self._is_printed:
            self.last.append(self._formatted(handle, owner))
        return handle

    def _formatted(self, handle: asyncio.Handle, owner: asyncio.Task[Any] | None) -> str:
        if owner is None:
            callback = handle._callback  # type: ignore[attr-defined]
            return getattr(callback, "__qualname__", type(callback).__name__)
        number = self._numbers.setdefault(owner, len(self._numbers))
        frames = owner.get_stack(limit=1)
        where = f"{frames[0].f_code.co_name}:{frames[0].f_lineno}" if frames else "its end"
        return f"task {number} in {where}"


def _owner(handle: asyncio.Handle) -> asyncio.Task[Any] | None:
    """Return the task whose step a callback is."""
    owner = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    return owner if isinstance(owner, asyncio.Task) else None


class Loop(asyncio.BaseEventLoop):
    """An event loop without sockets that chooses the next callback by chance."""

    def __init__(self, seed: int, *, is_printed: bool) -> None:
        super().__init__()
        self.chance = random.Random(seed)
        self._early = self.chance.choice(EARLY)
        self.now_s = 1000.0
        self.chosen = Ready(self.chance, is_printed=is_printed)
        vars(self).update(_ready=self.chosen, _selector=self)

    @property
    def is_punctual(self) -> bool:
        """Whether no timer fires early."""
        return not self._early

    def time(self) -> float:
        return self.now_s

    def select(self, timeout: float | None) -> list[object]:
        """Stand in for the selector: time passes until the first timer, and by each turn, since
        asyncio lets a timer fire as much too early."""
        if timeout is None:
            raise Stuck("every task waits for another")
        self.now_s += timeout + TICK_S if timeout else TURN_S
        timers: list[asyncio.TimerHandle] = vars(self)["_scheduled"]
        if not timeout and timers and self.chance.random() < self._early:
            self.now_s = max(self.now_s, timers[0].when())
        return []

    def _process_events(self, events: list[object]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class TaskSchedule:
    """One order of a scenario's tasks, as `Schedule` is for threads."""

    def __init__(self, seed: int, _: object = None, *, is_printed: bool = False) -> None:
        self._seed = seed
        self._is_printed = is_printed
        self.switches: list[str] = []

    def carry_out(self, scenario: Callable[[], Awaitable[object]]) -> BaseException | None:
        """Run a scenario; return the errors."""
        loop = Loop(self._seed, is_printed=self._is_printed)
        problems: list[BaseException] = []
        loop.set_exception_handler(
            lambda _, context: problems.append(
                context.get("exception") or AssertionError(context["message"])
            )
        )
        try:
            with _clocks_of(loop):
                loop.run_until_complete(_awaited(scenario))
        except Exception as error:
            problems.insert(0, error)
        finally:
            self.switches = list(loop.chosen.last)
            _end(loop)
        return problems[0] if problems else None


async def _awaited(scenario: Callable[[], Awaitable[object]]) -> None:
    await scenario()


@contextlib.contextmanager
def _clocks_of(loop: Loop) -> Iterator[None]:
    clocks: dict[str, Any] = {name: lambda *_: loop.now_s for name in CLOCKS}
    with mock.patch.multiple(time, **clocks):
        yield


def _end(loop: Loop) -> None:
    """End all remaining tasks, and the loop."""
    loop.set_exception_handler(lambda *_: None)
    for task in asyncio.all_tasks(loop):
        task.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            loop.run_until_complete(task)
    loop.close()


async def end_of(tasks: Sequence[asyncio.Future[None]], cancelled: int) -> None:
    """Wait for the end of all tasks; if the number isn't negative, cancel the task with this number
    once all have begun. Any other end by an error is a failure."""
    if cancelled >= 0:
        await asyncio.sleep(0)
        tasks[cancelled].cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    for number, end in enumerate(ends):
        assert end is None or (number == cancelled and isinstance(end, asyncio.CancelledError)), end
