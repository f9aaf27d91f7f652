"""Barriers: their keys, and their operations as machines.

A barrier is the key `barrier/NAME/closed`.

The programs at a double barrier are claims (`claims.py`) that get their seats together: once enough
of them are in line, one entry moves them all to `barrier/NAME/held/together/ROUND/`, where ROUND is
the number of that entry, and who comes later joins them there. The round is over when these keys
are gone. A program that leaves waits for that, so nobody is in the next round before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic

from raftline.clients.calls.calls import CALLS, Ask, Steps, whole
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.calls.wait_times import Wait, seconds_to_wait
from raftline.clients.connections.node_connection import NoLeader, OutcomeUnknown, Unreachable
from raftline.clients.requests.times import Seconds
from raftline.wire.limits import SEATS_MAX

from ..locks.claim_steps import Claiming
from ..locks.claims import Attempt, BaseClaim, News, NoneLeft
from ..locks.held import BaseHeld, Leased, SomeHeld
from ..locks.lock_keys import LockKeys
from ..locks.recipe_calls import Seat
from ..recipe_operands import TOGETHER

BARRIERS = "barrier"


class BarrierKeys(LockKeys):
    """The keys of one barrier; `count` programs pass a double barrier together."""

    limit = None

    def __init__(self, name: str, count: int = 1) -> None:
        """Name the keys. Raises TypeError, ValueError if the name or the count is invalid."""
        super().__init__(BARRIERS, name)
        if not 1 <= whole(count) <= SEATS_MAX:
            raise ValueError(f"1 to {SEATS_MAX} programs pass a barrier together, not {count}")
        self.mode = f"{TOGETHER}:{count}"
        self.closed = f"{self.prefix}closed"

    def seat_prefix(self, claim: str) -> str:
        return f"{self.held}{TOGETHER}/"


class BaseEntered(BaseHeld[Leased], Generic[Leased]):
    """The part of a program inside that never waits."""

    def __init__(self, keys: BarrierKeys, lease: Leased, seat: Seat, barrier: Any) -> None:
        super().__init__(keys, lease, seat.key, seat.token)
        self._barrier = barrier
        inside = keys.seat_prefix("")
        number = seat.key.removeprefix(inside).partition("/")[0]
        self._round = f"{inside}{number}/"  # of the keys of its round


class BarrierSteps(BaseClaim[Leased, SomeHeld]):
    """The parts of a barrier that send requests."""

    _keeps_lease = True  # another claim would leave a round that counts it
    _keys: BarrierKeys

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._inside: list[Any] = []

    def _is_open(self) -> Steps[bool]:
        return not (yield Ask(CALLS.exists(self._keys.closed)))

    def _passing(self, timeout: Seconds | None) -> Claiming[bool]:
        """Wait until the barrier is open."""
        closed = self._keys.closed
        return self._waiting(self._is_open, NoneLeft(closed, closed), timeout)

    def _claiming(
        self, attempt: Attempt[Leased], value: str, wait: Wait
    ) -> Claiming[SomeHeld | None]:
        """Enter a double barrier, and wait until enough programs are in."""
        is_new = attempt.lease is None
        try:
            seat = yield from self._contending(attempt, value, wait)
        except LeaseLost:
            if not is_new or attempt.place is not None:
                raise  # a round may have counted this program
            yield from self._dropping(attempt)
            return (yield from self._claiming(attempt, value, wait))
        lease, place = attempt.lease, attempt.place
        assert lease is not None, "a claim has a lease"
        if seat is None and place is not None:
            if (yield Ask(CALLS.delete(place))):
                lease._forget_request()
                return None
            seat = yield from self._holding(attempt, value)  # a round counts this program
        if seat is None:
            return None
        if not lease._begin_holding(self._on_lost):
            raise LeaseLost(f"the lease ended while this program waited at {self._keys.name}")
        make: Any = self._held_class
        held: SomeHeld = make(self._keys, lease, seat, self)
        self._inside = [each for each in self._inside if each.is_held] + [held]
        return held

    def _holding(
        self, attempt: Attempt[Leased], value: str, *, is_once: bool = False
    ) -> Claiming[Seat | None]:
        """Ask for a seat. It waits in line in any case: it may be the one that the others wait
        for."""
        return (yield from super()._holding(attempt, value))

    def _only_one(self) -> Any:
        """Return what this object entered with.

        Raises:
            RuntimeError: it has not entered, or is inside more than once.
        """
        inside = [each for each in self._inside if each.is_held] or self._inside[-1:]
        if len(inside) != 1:
            times = f"is inside {len(inside)} times" if inside else "has not entered"
            raise RuntimeError(f"this object {times}; leave with what `enter` returned")
        return inside[0]

    def _leaving(self, held: Any, timeout: Seconds | None) -> Claiming[bool]:
        """Leave, and wait until all programs of the round have left."""
        held = self._only_one() if held is None else held
        is_endless = seconds_to_wait(timeout, -1) is None
        try:
            yield from held._releasing()
        except (NoLeader, OutcomeUnknown, Unreachable):
            if not is_endless:
                raise  # the keeper of the lease sends the request again

        def have_all_left() -> Steps[bool]:
            return not (yield Ask(CALLS.page(held._round))).pairs

        return (yield from self._waiting(have_all_left, NoneLeft(held._round), timeout))

    def _waiting(
        self, is_met: Callable[[], Steps[bool]], news: News, timeout: Seconds | None
    ) -> Claiming[bool]:
        wait = Wait.of(seconds_to_wait(timeout, -1), self._now())
        attempt: Attempt[Any] = Attempt()

        def watched() -> Claiming[bool]:
            return (yield from self._watched(attempt, is_met, wait, news))

        try:
            return bool((yield from self._limits(wait).outlasting(watched)))
        finally:
            attempt.hang_up()
