"""The part that locks and elections of threads and of tasks share: one holder, a queue of callers.

What asks the cluster is a machine (`clients/steps.py`); a shell carries its steps out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, Generic, NamedTuple

from raftline.common.nocopies import NoCopies
from raftline.kv.callers import Attempt, Callers, Leased, Waiter
from raftline.kv.calls import CALLS, Ask
from raftline.kv.claiming import NOT_HELD, is_of
from raftline.kv.contest import LockKeys
from raftline.kv.errors import LeaseLost
from raftline.kv.lease_timer import LeaseTimer


class Confirm(NamedTuple):
    """A step: have the cluster confirm this lease. Raises LeaseLost."""

    lease: Any


class Release(NamedTuple):
    """A step: release this lease; the answer is how many keys went with it. Raises LeaseLost."""

    lease: Any


HoldStep = Ask | Confirm | Release


class BaseClaim(NoCopies, Generic[Leased, Waiter]):
    """The holder's side of a lock or an election."""

    _states = ("held", "not held")
    _mutex: AbstractContextManager[Any]  # held while callers are looked at

    def __init__(
        self,
        keys: LockKeys,
        on_lost: Callable[[], object] | None,
        call_apart: Callable[[Callable[[], object]], object],
        caller: Callable[[], object],
    ) -> None:
        """`call_apart` calls `on_lost`; `caller` returns the thread or the task that asks."""
        self.name = keys.name
        self._keys = keys
        self._on_lost = on_lost
        self._call_apart = call_apart
        self._caller = caller

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {self._states[not self.is_held]}>"

    @property
    def _callers(self) -> Callers[Leased, Waiter]:
        raise NotImplementedError

    @property
    def _why_not_held(self) -> str:
        return NOT_HELD

    @property
    def token(self) -> int:
        """The fencing token: the index of the entry that granted it, higher for each holder."""
        token = self._mine().token
        assert token is not None
        return token

    @property
    def is_held(self) -> bool:
        """Whether this program holds it for certain, by its own clock."""
        attempt = self._found()
        return attempt is not None and attempt.lease is not None and attempt.lease.is_held

    def _found(self) -> Attempt[Leased] | None:
        callers = self._callers
        with self._mutex:
            return callers.of(self._caller())

    def _mine(self) -> Attempt[Leased]:
        attempt = self._found()
        if attempt is None:
            raise RuntimeError(self._why_not_held)
        return attempt

    def _my_lease(self) -> Leased:
        lease = self._mine().lease
        assert lease is not None
        return lease

    def _checking(self) -> Generator[HoldStep, Any, int]:
        """Return the token once the cluster has confirmed the lease, and the key."""
        attempt = self._mine()
        lease, token = attempt.lease, attempt.token
        assert lease is not None
        assert token is not None
        yield Confirm(lease)
        if not is_of((yield Ask(CALLS.stat(self._keys.held))), token):
            lease.lose()
            raise self._broken()
        return token

    def _giving(self) -> Generator[HoldStep, Any, None]:
        """Give it up, and let the next caller try."""
        self._mine()  # raises if it is not held
        with self._mutex:
            attempt = self._callers.take(self._caller())
        if attempt is None or attempt.lease is None:
            raise RuntimeError(NOT_HELD)
        try:
            deleted = yield Release(attempt.lease)
        finally:
            self._pass_on(attempt)
        if not deleted:
            raise self._broken()

    def _broken(self) -> LeaseLost:
        """Return the error for a key that another holder has set, or that is gone."""
        held = self._keys.held
        return LeaseLost(f"{held} is not this program's any more: it was deleted, or set anew")

    def _pass_on(self, attempt: Attempt[Leased]) -> None:
        with self._mutex:
            self._callers.ends(attempt)

    def _ended(self, attempt: Attempt[Leased], timer: LeaseTimer) -> None:
        """Take the end of a lease: let the next caller try, and report the loss of what it held."""
        with self._mutex:
            self._callers.look()
            was_held = attempt.token is not None
        if timer.was_lost and was_held and self._on_lost is not None:
            self._call_apart(self._on_lost)
