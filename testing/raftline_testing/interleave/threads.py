"""Threads that run one at a time: a seed decides which, wherever they may interact.

While a scenario runs, `threading` and `time` belong to a `Schedule`. A thread yields at each lock,
wait, start and sleep, at each send of `wires.py`, and at each line of the modules that the scenario
names. Time stands still while any thread can run; now and then a wait still ends early, since real
threads are slow. If all threads wait and none has a time limit, that is a deadlock and a failure.
So is a schedule of STEPS_MAX steps.

After loom and shuttle (for Rust); `Priorities` is after Burckhardt et al., "A Randomized Scheduler
with Probabilistic Guarantees of Finding Bugs" (ASPLOS 2010).
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType, ModuleType
from typing import Any
from unittest import mock

from raftline.common.process import guarded_thread

STEPS_MAX = 20_000  # of one schedule; a longer one is taken as endless
LARGE_STEPS_MAX = 100_000  # of a cluster
SWITCHES_SHOWN = 40  # of a failed schedule
LINE_SHARE = 0.5  # share of the chance at a lock with which a thread yields at a line
EARLY = (0.0, 0.0, 0.01, 0.1)  # chances that a wait ends while others could run
TICK_S = 1e-6  # how long after its time a wait ends
FIRST = "first"
CLOCKS = ("monotonic", "clock_gettime", "process_time", "thread_time", "perf_counter")
_new_lock = _thread.allocate_lock
Place = tuple[CodeType, int]  # the code and its line
_own_frames = (__file__, threading.__file__, contextlib.__file__)


class Abandoned(BaseException):
    """An exception that ends a thread whose schedule is over."""


class Broken(BaseException):
    """An invariant is broken. No thread handles this as an error of its own and continues."""


class Stuck(AssertionError):
    """Every thread waits for another, or they run without end."""


class Walk:
    """A policy that lets the thread yield at each step with the same chance, to any other."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._share = chance.choice((0.5, 0.2, 0.05, 0.02))

    def gives_way(self, thread: Thread, share: float) -> bool:
        return self._chance.random() < self._share * share

    def choose(self, ready: Sequence[Thread]) -> Thread:
        return ready[self._chance.randrange(len(ready))]


class Priorities:
    """A policy that runs the thread of the highest priority, until at some step it gets the
    lowest."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._share = 1 / chance.choice((3, 10, 30, 100))
        self._of: dict[Thread, float] = {}
        self._lowest = 0.0

    def gives_way(self, thread: Thread, share: float) -> bool:
        if self._chance.random() >= self._share * share:
            return False
        self._lowest -= 1
        self._of[thread] = self._lowest
        return True

    def choose(self, ready: Sequence[Thread]) -> Thread:
        for thread in ready:
            if thread not in self._of:
                self._of[thread] = self._chance.random()
        return max(ready, key=self._of.__getitem__)


POLICIES = (Walk, Priorities)  # for even seeds, and for odd ones


class Schedule:
    """One interleaving of a scenario. `lines_of` are the modules whose lines are steps."""

    def __init__(
        self, seed: int, lines_of: Sequence[ModuleType] = (), *, is_printed: bool = False
    ) -> None:
        """With `is_printed`, keep the last switches."""
        self.random = random.Random(seed)
        self.policy: Walk | Priorities = POLICIES[seed % len(POLICIES)](self.random)
        self._early = self.random.choice(EARLY)
        self._files = {module.__file__ for module in lines_of}
        self._is_printed = is_printed
        self._switches: deque[tuple[str, Place | None, str]] = deque(maxlen=SWITCHES_SHOWN)
        self.now_s = 1000.0
        self.steps, self.steps_max = 0, STEPS_MAX
        self._begun = 0
        self.threads: list[Thread] = []  # that have begun and not ended
        self.failure: BaseException | None = None
        self.is_over = False
        self.current = Thread(name="nobody")
        self._is_empty = _new_lock()
        self._is_empty.acquire()

    @property
    def switches(self) -> list[str]:
        """The last switches: which thread yielded where, and which one continued."""
        return [
            f"{one} in {_formatted(place)}, then {other}" for one, place, other in self._switches
        ]

    def carry_out(self, scenario: Callable[[], object]) -> BaseException | None:
        """Run a scenario as the first thread, `in_place`; return the errors. At its end, end the
        other threads wherever they are."""
        Thread.schedule = self
        self.current = Thread(target=scenario, name=FIRST)
        self._begin(self.current)
        self.current.go.release()
        self._is_empty.acquire()
        return self.failure

    @property
    def is_punctual(self) -> bool:
        """Whether no wait ends early: time passes only while all threads wait."""
        return not self._early

    def allow_for_many_steps(self) -> None:
        """Also let few waits end early: else a cluster's heartbeats come faster than any node can
        answer."""
        self._early = min(self._early, EARLY[2])
        self.steps_max = LARGE_STEPS_MAX

    def has_this_thread(self) -> bool:
        """Whether the calling thread belongs to this schedule."""
        return self.current.number == _thread.get_ident()

    # --- the threads --------------------------------------------------------------------------

    def _begin(self, thread: Thread) -> None:
        self._begun += 1
        thread.name = thread.name or f"thread {self._begun}"
        self.threads.append(thread)
        _thread.start_new_thread(self._run, (thread,))

    def _run(self, thread: Thread) -> None:
        thread.number = _thread.get_ident()
        thread.go.acquire()
        try:
            if not self.is_over:
                if self._files:
                    sys.settrace(self._trace)
                thread.run()
        except Abandoned:
            pass
        except BaseException as error:
            self._fail(error)
        finally:
            sys.settrace(None)
        thread.has_ended = True
        self.threads.remove(thread)
        if thread.name == FIRST:
            self.is_over = True
        if not self.threads:
            self._is_empty.release()
            return
        next_one = self.threads[0] if self.is_over else self._next()
        self.current = next_one
        next_one.go.release()

    def _fail(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self.is_over = True

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self.step(LINE_SHARE)
        return self._line

    # --- steps, by the running thread ---------------------------------------------------------

    def step(self, share: float = 1.0) -> None:
        """Perhaps switch to another thread."""
        if self.is_over:
            if self.has_this_thread():
                raise Abandoned
            return  # a finalizer that runs later
        self.steps += 1
        if self.steps > self.steps_max:
            self._fail(Stuck(f"{self.steps_max} steps, and no end"))
            raise Abandoned
        if self.policy.gives_way(self.current, share):
            self._go_on_with(self._next())

    def block(self, until: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait until the condition holds; return False if the time is up first."""
        self.step()
        if self.is_over or until():
            return True
        if timeout_s is not None and timeout_s <= 0:
            return False
        me = self.current
        me.until, me.due_s = until, None if timeout_s is None else self.now_s + timeout_s
        self._go_on_with(self._next())
        me.until = me.due_s = None
        return until()

    def sleep(self, seconds: float) -> None:
        self.block(lambda: False, max(seconds, TICK_S))

    def _next(self) -> Thread:
        """Choose the next thread. Time passes if no thread can run, and by chance."""
        if self._early and self.random.random() < self._early:
            self._pass_time()
        ready = [thread for thread in self.threads if thread.is_ready()]
        while not ready:
            if not self._pass_time():
                waits = "; ".join(f"{one.name} in {_place_of(one)}" for one in self.threads)
                self._fail(Stuck(f"every thread waits for another: {waits}"))
                return self.threads[0]
            ready = [thread for thread in self.threads if thread.is_ready()]
        return ready[0] if len(ready) == 1 else self.policy.choose(ready)

    def _pass_time(self) -> bool:
        """Advance the time to the end of the first wait; return whether there is one."""
        due_s = [one.due_s for one in self.threads if one.due_s is not None]
        if due_s:
            self.now_s = max(self.now_s, min(due_s) + TICK_S)
        return bool(due_s)

    def _go_on_with(self, thread: Thread) -> None:
        me = self.current
        if thread is not me:
            if self._is_printed:
                self._switches.append((me.name, _place(sys._getframe()), thread.name))
            self.current = thread
            thread.go.release()
            me.go.acquire()
        if self.is_over:
            raise Abandoned


class Thread:
    """Stands in for `threading.Thread`."""

    schedule: Schedule

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        daemon: bool | None = None,
    ) -> None:
        self._work = (target, args, kwargs or {})
        self.name = name or ""
        self.daemon = daemon
        self.number: int | None = None
        self.go = _new_lock()
        self.go.acquire()
        self.until: Callable[[], bool] | None = None  # the condition that it waits for
        self.due_s: float | None = None
        self.has_ended = False

    def run(self) -> None:
        target, args, kwargs = self._work
        if target is not None:
            target(*args, **kwargs)

    def start(self) -> None:
        self.schedule._begin(self)
        self.schedule.step()

    def join(self, timeout: float | None = None) -> None:
        self.schedule.block(lambda: self.has_ended, timeout)

    def is_alive(self) -> bool:
        return self in self.schedule.threads

    def is_ready(self) -> bool:
        """Whether it could continue now."""
        if self.until is None or self.until():
            return True
        return self.due_s is not None and self.due_s <= self.schedule.now_s


class _Threads:
    """Stands in for `_thread` in guarded_thread.py."""

    get_ident = staticmethod(_thread.get_ident)

    @staticmethod
    def start_new_thread(run: Callable[..., object], arguments: Sequence[Any]) -> None:
        if Thread.schedule.has_this_thread():
            Thread(target=run, args=arguments).start()
        else:
            _thread.start_new_thread(run, tuple(arguments))


def pass_steps(most: int) -> None:
    """Wait for fewer than this many steps of threads, as the seed decides."""
    for _ in range(Thread.schedule.random.randrange(most)):
        Thread.schedule.step()


class Lock:
    """Stands in for `threading.Lock`; the rest of `threading` is built from it."""

    def __init__(self) -> None:
        self._schedule = Thread.schedule
        self._is_taken = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        schedule = self._schedule
        if not blocking:
            schedule.step()
            is_got = not self._is_taken
        else:
            is_got = schedule.block(self._is_free, None if timeout < 0 else timeout)
        self._is_taken = self._is_taken or is_got
        return is_got

    def _is_free(self) -> bool:
        return not self._is_taken

    def release(self) -> None:
        if self._schedule.is_over:
            return
        if not self._is_taken:
            raise RuntimeError("release unlocked lock")
        self._is_taken = False
        self._schedule.step()

    def locked(self) -> bool:
        return self._is_taken

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@contextlib.contextmanager
def in_place() -> Iterator[None]:
    """Replace threads and clocks by the running schedules, only for their own threads."""

    def instead(real: Callable[..., Any], ours: Callable[[Schedule], Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            schedule = Thread.schedule
            return ours(schedule, *given) if schedule.has_this_thread() else real(*given)

        return call

    lock = instead(_new_lock, lambda schedule: Lock())
    functions = {name: lambda schedule, *_: schedule.now_s for name in CLOCKS}
    functions |= {f"{name}_ns": lambda schedule, *_: int(schedule.now_s * 1e9) for name in CLOCKS}
    functions["sleep"] = Schedule.sleep
    replaced: dict[str, Any] = {
        name: instead(getattr(time, name), ours) for name, ours in functions.items()
    }
    now = instead(threading.current_thread, lambda schedule: schedule.current)
    Thread.schedule = Schedule(0)
    was_collecting = gc.isenabled()
    gc.disable()  # else a finalizer could run at a step that a seed can't repeat
    try:
        with (
            mock.patch.multiple(time, **replaced),
            mock.patch.multiple(threading, Lock=lock, _allocate_lock=lock, _CRLock=None),
            mock.patch.multiple(threading, Thread=Thread, current_thread=now),
            mock.patch.object(guarded_thread, "_thread", _Threads),
        ):
            yield
    finally:
        if was_collecting:
            gc.enable()


def _place(frame: FrameType | None) -> Place | None:
    """Return the position of a thread, outside of this module and `threading`."""
    while frame is not None and frame.f_code.co_filename in _own_frames:
        frame = frame.f_back
    return None if frame is None else (frame.f_code, frame.f_lineno)


def _formatted(place: Place | None) -> str:
    if place is None:
        return "its beginning"
    code, line = place
    return f"{'/'.join(code.co_filename.split('/')[-2:])}:{line} {code.co_name}"


def _place_of(thread: Thread) -> str:
    return _formatted(_place(sys._current_frames().get(thread.number or 0)))
