"""Barriers: their keys, and their operations as machines.

A barrier is the key `barrier/NAME/closed`. A double barrier has a key for each program that is in,
`barrier/NAME/in/LEASE`, under its own lease. Once enough programs are in, one of them sets
`barrier/NAME/round`, and they all pass. The last one to leave deletes it. A program that leaves
waits until the key of its round is gone, so nobody is in the next round before that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic

from ..calls.calls import CALLS, Ask, Steps, whole
from ..calls.kv_errors import LeaseLost
from ..calls.transaction import Transaction, itself
from ..calls.value_codec import TEXT
from ..calls.wait_times import Wait, seconds_to_wait
from ..requests.times import Seconds
from .claim_steps import Claiming
from .claims import Attempt
from .held import SomeHeld
from .lock_keys import LockKeys

BARRIERS = "barrier"
COUNT_MAX = 100  # one transaction names all of them


class BarrierKeys(LockKeys):
    """The keys of one barrier; `count` programs pass a double barrier together."""

    def __init__(self, name: str, count: int = 1) -> None:
        """Name the keys. Raises TypeError, ValueError if the name or the count is invalid."""
        super().__init__(BARRIERS, name)
        if not 1 <= whole(count) <= COUNT_MAX:
            raise ValueError(f"1 to {COUNT_MAX} programs pass a barrier together, not {count}")
        self.count = count
        self.closed = f"{self.prefix}closed"
        self.inside = f"{self.prefix}in/"
        self.round = f"{self.prefix}round"


class BarrierSteps(Generic[SomeHeld]):
    """The parts of a barrier that send requests."""

    _held_class: type[SomeHeld]
    _keeps_lease = True  # under another lease it would leave a round that counts it
    # of BaseClaim
    _keys: Any
    _limits: Any
    _make_lease: Any
    _now: Any
    _on_lost: Any
    _watched: Any
    _dropping: Any

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._inside: list[Any] = []

    def _is_open(self) -> Steps[bool]:
        return not (yield Ask(CALLS.exists(self._keys.closed)))

    def _claiming(self, attempt: Attempt[Any], value: str, wait: Wait) -> Claiming[SomeHeld | None]:
        """Enter a double barrier, and wait until enough programs are in."""
        if attempt.lease is None:
            attempt.lease = self._make_lease()
            yield from attempt.lease._granting()
        lease = attempt.lease
        name = lease.id
        key = f"{self._keys.inside}{name}"
        # If nobody is in, a round that is left over ended when all of its programs died.
        entering = Transaction(TEXT, itself).if_.none_under(self._keys.inside).then
        entering = entering.delete(self._keys.round).set(key, value, lease=name)
        yield Ask(entering.else_.set(key, value, lease=name).commit())
        if not (yield from self._watched(attempt, self._is_full, wait)):
            outside = Transaction(TEXT, itself).if_.absent(self._keys.round).then.delete(key)
            if (yield Ask(outside.commit())):
                return None  # no round that counts this program has begun
        stat = yield Ask(CALLS.stat(key))
        if stat is None or not lease._begin_holding(self._on_lost):
            raise LeaseLost(f"{name} ended while this program waited at {self._keys.name}")
        make: Any = self._held_class
        held: SomeHeld = make(self, lease, key, stat.index)
        self._inside = [each for each in self._inside if each.is_held] + [held]
        return held

    def _is_full(self) -> Steps[bool]:
        """Return whether enough programs are in, or were in during this round."""
        keys = self._keys
        if (yield Ask(CALLS.exists(keys.round))):
            return True
        page = yield Ask(CALLS.page(keys.inside))
        if len(page.pairs) < keys.count:
            return False
        begun = Transaction(TEXT, itself).if_.absent(keys.round)
        for key, _ in page.pairs[: keys.count]:
            begun = begun.exists(key)
        return bool((yield Ask(begun.then.set(keys.round, "1").commit())))

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
        keys = self._keys
        held = self._only_one() if held is None else held
        begun = yield Ask(CALLS.stat(keys.round))
        yield from held._releasing()

        def have_all_left() -> Steps[bool]:
            now = yield Ask(CALLS.stat(keys.round))
            if now is None or begun is None or now.index != begun.index:
                return True
            last = Transaction(TEXT, itself).if_.none_under(keys.inside)
            ended = last.unchanged(keys.round, begun.index).then.delete(keys.round)
            return bool((yield Ask(ended.commit())))

        return (yield from self._waiting(have_all_left, timeout))

    def _waiting(
        self, is_met: Callable[[], Steps[bool]], timeout: Seconds | None
    ) -> Claiming[bool]:
        wait = Wait.of(seconds_to_wait(timeout, -1), self._now())
        attempt: Attempt[Any] = Attempt()

        def watched() -> Claiming[bool]:
            return bool((yield from self._watched(attempt, is_met, wait)))

        try:
            return bool((yield from self._limits(wait).outlasting(watched)))
        finally:
            attempt.hang_up()
