"""A lease on the holder's side: its time, its end, and the requests that it needs.

A holder counts from the moment at which it first **sent** the request that was answered, never from
the answer, which may have arrived late (docs/use/leases.md has the argument). Threads and asyncio
tasks carry out the same steps (`steps.py`), with a clock that they pass in.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Set
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from ...common.no_copies import NoCopies
from ..calls.calls import CALLS, Ask, Steps, lease_ms
from ..calls.kv_errors import LeaseLost
from ..calls.listeners import plain
from ..requests.health import report_error
from ..requests.node_connection import ClientError, Closed
from ..requests.pool import time_limit
from ..requests.times import Seconds
from .gates import Turn

RENEWALS = 3  # per lease time
RETRY_S = 0.2  # pause after a failed renewal
LEAST_S = 0.05  # the shortest time limit of a request

Clock = Callable[[], float]


def clock() -> float:
    """Return the seconds of a clock that keeps running while the machine sleeps, if there is
    one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class LeaseTimer:
    """One granted lease, and the time until which its holder may rely on it.

    It ends once: it is lost or given up. The first of these counts, from any thread.
    """

    def __init__(
        self,
        lease: str,
        seconds: float,
        sent_s: float,
        on_end: Callable[[LeaseTimer], object] | None = None,
    ) -> None:
        """Start the time of a lease whose grant request was first sent at `sent_s`. `on_end` is
        called once, when the lease is over."""
        self.lease = lease
        self.seconds = seconds
        self.is_over = False
        self.was_lost = False
        self.is_renewed = True  # by the keeper; otherwise by the program
        self.is_waiting = False  # of a claim that has not won yet
        self._on_end = on_end
        self._has_reported = False
        self.ending = threading.RLock()  # a signal handler may release
        self.sent_s = sent_s
        self.renew_at_s = sent_s + seconds / RENEWALS

    @property
    def until_s(self) -> float:
        """The time from which another client may hold the lease."""
        return self.sent_s + self.seconds

    @property
    def due_s(self) -> float:
        """The time at which to renew the lease, or to detect that it is lost."""
        return min(self.renew_at_s, self.until_s) if self.is_renewed else self.until_s

    def is_held(self, now_s: float) -> bool:
        return not self.is_over and now_s < self.until_s

    def limit_s(self, now_s: float, shortest_s: float = math.inf) -> float | None:
        """Return the seconds that one renewal may take; None if the time of the lease is over.

        They are at most a third of its time, and a third of `shortest_s`, the time of the shortest
        lease that the same thread renews. So the shortest lease is renewed in time, too.
        """
        left_s = self.until_s - now_s
        if left_s <= 0:
            return None
        return max(LEAST_S, min(left_s, min(self.seconds, shortest_s) / RENEWALS))

    def extend(self, sent_s: float) -> None:
        """Record a successful renewal whose request was first sent at `sent_s`."""
        self.sent_s = max(self.sent_s, sent_s)
        self.renew_at_s = sent_s + self.seconds / RENEWALS

    def retry_soon(self, now_s: float) -> None:
        """Schedule another renewal soon, since the last one got no answer."""
        self.renew_at_s = now_s + RETRY_S

    def report(self, now_s: float) -> None:
        """Log the current exception if it is the first of this lease, and schedule another renewal
        soon. An error of this program must not end a renewal loop."""
        if not self._has_reported:
            self._has_reported = True
            report_error("%s was not renewed because of an error in this program", self.lease)
        self.retry_soon(now_s)

    def lose(self) -> None:
        """Mark the lease as lost, unless it is over."""
        self._end(was_lost=True)

    def give_up(self) -> None:
        """Stop holding the lease, because it was released or will expire. Do nothing if it is
        over."""
        self._end(was_lost=False)

    def _end(self, was_lost: bool) -> None:
        with self.ending:
            if self.is_over:
                return
            self.was_lost, self.is_over = was_lost, True
        if self._on_end is not None:
            self._on_end(self)

    def loss(self) -> LeaseLost:
        """Return the error for a use of the lease after its end."""
        return LeaseLost(
            f"{self.lease} has ended: it was released, or not renewed in time, or its client was "
            "closed"
        )


class LeaseKeeper(Protocol):
    """Renews leases until they are over (`renewals.py`)."""

    def keep(self, timer: LeaseTimer) -> None: ...
    def drop(self, timer: LeaseTimer) -> None: ...
    @property
    def leaving(self) -> set[str]:
        """The leases that claims are releasing."""
        ...


def closing(timers: Iterable[LeaseTimer], leaving: Set[str]) -> list[str]:
    """Give up the leases of a client that closes. Return the lines that release those of its
    waiting claims, and those that are being released. What it holds stays held until its lease
    expires."""
    waiting = set()
    for timer in timers:
        with timer.ending:
            if timer.is_waiting and not timer.is_over:
                waiting.add(timer.lease)
        timer.give_up()
    return [CALLS.release(lease).command for lease in waiting | leaving]


Event = TypeVar("Event", bound=Any)  # has `set`, which is called once a lease is over


class BaseLease(NoCopies, Generic[Event]):
    """The part of a lease that never waits: its state, and its requests as machines."""

    _with = "with"
    _client: Any  # carries out its requests
    _is_of_claim = False  # which holds nothing before `_begin_holding`
    _turn: Turn | None = None  # at a gate, which it leaves at its end

    def __init__(
        self,
        client: Any,
        keeper: LeaseKeeper,
        ttl: Seconds,
        on_lost: Callable[[], object] | None = None,
        keep: bool = True,
        now: Clock = clock,
    ) -> None:
        """Without `keep`, the program renews the lease with `check`, and the keeper only detects
        its loss."""
        self._client = client
        self._keeper = keeper
        self._seconds = lease_ms(ttl) / 1000
        self._on_lost = None if on_lost is None else plain(on_lost, "on_lost")
        self._keep = keep
        self._now = now
        self._timer: LeaseTimer | None = None
        self._grant = threading.Lock()  # held by the thread or task to which it is being granted
        self._over = self._new_event()

    def _new_event(self) -> Event:
        raise NotImplementedError

    @staticmethod
    def _call_apart(on_lost: Callable[[], object]) -> None:
        """Call `on_lost` so that it can't delay or end a renewal."""
        raise NotImplementedError

    def __repr__(self) -> str:
        what = "not granted" if self._timer is None else self._timer.lease
        held = "held" if self.is_held else "not held"
        return f"<{type(self).__name__} {what}, {self._seconds:g} s, {held}>"

    def __str__(self) -> str:
        return self.id

    @property
    def id(self) -> str:
        """The name of the lease in the cluster: `lease-57`."""
        if self._timer is None:
            raise RuntimeError(f"this lease is not granted yet: {self._with} kv.lease(10) as lease")
        return self._timer.lease

    @property
    def _is_here(self) -> bool:
        """Whether it was granted to this process, and not to the parent that forked it."""
        return True

    @property
    def is_held(self) -> bool:
        """Whether it is certainly held, by this program's own clock."""
        timer = self._timer
        return timer is not None and self._is_here and timer.is_held(self._now())

    @property
    def left(self) -> float:
        """The seconds for which it is held without another renewal; 0 once it is over."""
        timer, now_s = self._timer, self._now()
        if timer is None or not self._is_here or not timer.is_held(now_s):
            return 0.0
        return timer.until_s - now_s

    @property
    def _is_over(self) -> bool:
        """Whether it was lost, released or given up."""
        return self._timer is None or self._timer.is_over

    def _lose(self) -> None:
        """Mark it as lost, because the key that it guards is gone."""
        if self._timer is not None:
            self._timer.lose()

    def _begin_holding(
        self, on_lost: Callable[[], object] | None, turn: Turn | None = None
    ) -> bool:
        """Arrange that `on_lost` is called if the lease is lost from now on, and that its end lets
        the next caller take its turn. Return False if it has ended already; then it does
        neither."""
        timer = self._timer
        if timer is None:
            return False
        with timer.ending:
            if not timer.is_held(self._now()):
                return False
            self._on_lost, timer.is_waiting, self._turn = on_lost, False, turn
            return True

    def _granted(self) -> LeaseTimer:
        if self._timer is None:
            raise RuntimeError(f"this lease was not granted: {self._with} kv.lease(10) as lease")
        if not self._is_here:
            raise RuntimeError("this lease is held by the process that forked, not by this one")
        return self._timer

    def _held(self) -> LeaseTimer:
        timer = self._granted()
        if timer.is_over:
            raise timer.loss()
        return timer

    def _expect_held(self) -> None:
        """Raise LeaseLost if its time is over, and mark it as lost."""
        timer = self._granted()
        if not timer.is_held(self._now()):
            timer.lose()
            raise timer.loss()

    def _is_to_release(self, error: BaseException | None) -> bool:
        """Return whether the end of a `with` has to release the lease. Raises LeaseLost if it was
        lost, unless an error in the block takes precedence."""
        timer = self._timer
        if timer is not None and self._is_here and not timer.is_over:
            return True
        if timer is not None and timer.was_lost and error is None:
            raise timer.loss()
        return False

    # --- the machines ---------------------------------------------------------------------------

    def _granting(self, spare: LeaseTimer | None = None) -> Steps[str]:
        """Acquire the lease, or take over a spare one, and renew it from then on; return its name.

        Raises:
            LeaseLost: the answer came after its time was over, so it was never held.
            RuntimeError: it is already granted or being granted, or no thread can be started to
                renew it.
        """
        if not self._grant.acquire(blocking=False):
            raise RuntimeError("this lease is being granted; make another one: kv.lease(…)")
        try:
            if not self._is_over:
                raise RuntimeError(f"{self.id} is already granted; make another one: kv.lease(…)")
            over = self._new_event()
            on_end = partial(self._ended, over)
            if spare is None:
                timer = yield from granting(self._seconds, on_end, self._now)
            else:
                timer = LeaseTimer(spare.lease, spare.seconds, spare.sent_s, on_end)
            self._over, self._timer = over, timer  # both: if this fails, the previous lease counts
            timer.is_renewed, timer.is_waiting = self._keep, self._is_of_claim
            try:
                self._keeper.keep(timer)
            except RuntimeError:  # no thread can be started
                timer.give_up()
                raise
            return timer.lease
        finally:
            self._grant.release()

    def _checking(self, timeout: Seconds | None) -> Steps[None]:
        """Confirm the lease with the cluster. Raises LeaseLost."""
        timer = self._held()
        limit_s = None if timeout is None else time_limit(timeout)
        if not (yield from confirming(timer, self._now, limit_s)):
            raise timer.loss()

    def _releasing(self) -> Steps[int]:
        """End the lease; return how many keys were deleted. Raises LeaseLost if it had ended
        before."""
        turn, self._turn = self._turn, None  # until the answer
        try:
            return (yield from releasing(self._held(), self._now))
        finally:
            if turn is not None:
                turn.leave()

    def _leaving(self, error: BaseException | None) -> Steps[None]:
        """Release the lease at the end of a `with`. An error in the block takes precedence over an
        error here."""
        if self._is_to_release(error):
            with suppress_if(error, ClientError):
                yield from self._releasing()

    def _dropping(self) -> Steps[None]:
        """Release the lease, even if it was lost. A failure is not reported: the lease expires
        anyway, or is released by `closing` if the client was closed."""
        timer, leaving = self._timer, self._keeper.leaving
        if timer is not None and self._is_here:
            leaving.add(timer.lease)
            timer.give_up()
            try:
                yield Ask(CALLS.release(timer.lease))
            except Closed:
                return
            except ClientError:
                pass
            leaving.discard(timer.lease)

    def _set_aside(self) -> LeaseTimer | None:
        """Stop holding the lease without ending it, so that another object of this process can take
        it over soon. Return None if it is over."""
        timer = self._timer
        if timer is None or not self._is_here or not timer.is_held(self._now()):
            return None
        timer.give_up()
        return timer

    def _can_take_over(self, spare: LeaseTimer) -> bool:
        """Return whether a lease that was set aside has this time, and most of it left."""
        return spare.seconds == self._seconds and self._now() < spare.renew_at_s

    def _ended(self, over: Event, timer: LeaseTimer) -> None:
        self._keeper.drop(timer)
        over.set()
        if self._turn is not None:
            self._turn.leave()
        if timer.was_lost and self._on_lost is not None:
            self._call_apart(self._on_lost)


def suppress_if(
    error: BaseException | None, kind: type[Exception]
) -> contextlib.AbstractContextManager[None]:
    """Suppress errors of a kind if there is an earlier error, which takes precedence."""
    return contextlib.nullcontext() if error is None else contextlib.suppress(kind)


def granting(
    seconds: float, on_end: Callable[[LeaseTimer], object], now: Clock
) -> Steps[LeaseTimer]:
    """Acquire a lease, and return its timer.

    Raises:
        LeaseLost: the answer came after its time was over, so it was never held.
    """
    sent_s = now()
    name = yield Ask(CALLS.grant(seconds))
    timer = LeaseTimer(name, seconds, sent_s, on_end)
    if not timer.is_held(now()):
        raise LeaseLost(f"{name} was over before its grant arrived: the answer took too long")
    return timer


def confirming(timer: LeaseTimer, now: Clock, limit_s: float | None) -> Steps[bool]:
    """Renew a lease for its whole time; return whether it is held. Otherwise it is lost."""
    sent_s = now()
    is_there = yield Ask(CALLS.renew(timer.lease), limit_s)
    if is_there:
        timer.extend(sent_s)
        if timer.is_held(now()):
            return True
    timer.lose()
    return False


def renewing(timer: LeaseTimer, now: Clock, shortest_s: float = math.inf) -> Steps[None]:
    """Renew a lease that is due. If its time is over, it is lost. If no node answers, or a node
    refuses, it stays held until its time is over."""
    if timer.is_over:
        return
    limit_s = timer.limit_s(now(), shortest_s)
    if limit_s is None:
        timer.lose()
        return
    try:
        yield from confirming(timer, now, limit_s)
    except (ClientError, OSError):
        timer.retry_soon(now())


def releasing(timer: LeaseTimer, now: Clock) -> Steps[int]:
    """End a lease; return how many keys were deleted with it.

    Raises:
        LeaseLost: the lease had ended before.
    """
    was_held = timer.is_held(now())
    timer.give_up()
    deleted = yield Ask(CALLS.release(timer.lease))
    if deleted is None or not was_held:
        raise timer.loss()
    count: int = deleted
    return count
