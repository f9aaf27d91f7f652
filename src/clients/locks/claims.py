"""Claims to locks, semaphores and elections. Threads and tasks share this code.

Each operation that sends a request or waits is a machine (`steps.py`). A claim acquires a lease,
tries at once, and then follows the keys by a watch (`contest.py`). If it wins, it returns what is
held (`held.py`). Callers of one client wait for each other in the program (`gates.py`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from ...common.no_copies import NoCopies
from ..calls.calls import CALLS, Ask
from ..calls.kv_errors import LeaseLost, TooManyWatches
from ..calls.listeners import plain
from ..calls.value_codec import TEXT, Codec
from ..calls.wait_times import Wait, seconds_to_wait
from ..requests.node_connection import (
    ClientError,
    Closed,
    NoLeader,
    OutcomeUnknown,
    Unreachable,
)
from ..requests.search import LONGEST_PAUSE_S
from ..requests.times import Seconds
from ..watches.watch_machine import BaseWatch
from .contest import LockKeys, LockProtocol, token_in
from .gates import Turn
from .held import Leased, SomeHeld, WithBlocks, sweeping, sweeping_after
from .lease_timer import LEAST_S, LeaseKeeper

POLL_S = 1.0  # between two tries of a claim that can't get a watch
RELEASE_S = 0.15  # after the wait, for the release of a lease that won nothing
Kind = TypeVar("Kind")


class Pause(NamedTuple):
    """A step: wait until this time, by the clock of watches."""

    until_s: float


class Look(NamedTuple):
    """A step: process one line of this watch. The answer is False if the time is over, or the
    client was closed."""

    watch: Any
    until_s: float | None


class AwaitTurn(NamedTuple):
    """A step: wait for a turn at a gate (`gates.py`). The answer is False if the time is over."""

    turn: Turn
    until_s: float | None


class LetGo(NamedTuple):
    """A step: carry out these steps to their end, even if the caller is cancelled meanwhile."""

    steps: Claiming[None]


ClaimStep = Ask | Pause | Look | AwaitTurn | LetGo
Claiming = Generator[ClaimStep, Any, Kind]


class Attempt(Generic[Leased]):
    """One try to acquire a lock, from the call to its end."""

    lease: Leased | None = None
    contest: LockProtocol | None = None
    watch: Any = None
    turn: Turn | None = None

    def hang_up(self) -> None:
        """Close the watch, if there is one."""
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.close()


class BaseClaim(NoCopies, Generic[Leased, SomeHeld]):
    """A lock, a semaphore or an election: its keys, and the claims to them."""

    _lease_class: type[Leased]
    _held_class: type[SomeHeld]
    _waits_for_others = True
    _keeps_lease = False  # whether a claim continues under its lease after an outage
    _client: Any  # carries out its requests

    def __init__(
        self,
        client: Any,
        keeper: LeaseKeeper,
        watching: Callable[[str], Any],
        keys: LockKeys,
        ttl: Seconds,
        on_lost: Callable[[], object] | None = None,
        holder: str = "",
        codec: Codec[Any] = TEXT,
    ) -> None:
        """`watching` starts a watch; `holder` is the first part of the name that other programs
        read."""
        make: Callable[..., Leased] = self._lease_class
        self._new_lease = partial(make, client, keeper, ttl)
        self._make_lease()  # raises at once if the time is invalid
        self.name = keys.name
        self._client = client
        self._keys = keys
        self._watching = watching
        self._on_lost = None if on_lost is None else plain(on_lost, "on_lost")
        self._holder_name = holder
        self._codec = codec
        self._with_blocks: WithBlocks[SomeHeld] = WithBlocks()

    def _make_lease(self) -> Leased:
        lease = self._new_lease()
        lease._is_of_claim = True
        return lease

    def _now(self) -> float:
        """Return the seconds of the clock that watches use."""
        return time.monotonic()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _holder(self) -> Claiming[str | None]:
        """Return the name that the holder gave; None if nobody holds it. The names of shared
        holders are joined with commas."""
        return ", ".join((yield from self._holders())) or None

    def _holders(self) -> Claiming[list[str]]:
        """Return the names that the holders gave, in the order of their slots."""
        keys = self._keys
        values = keys.parse((yield Ask(keys.read_request)))
        if keys.mark_in(values) is None:
            return keys.holders_in(values)
        return keys.sharers_in(dict((yield Ask(keys.sharers_request)).pairs))

    @property
    def _value(self) -> str:
        """The name of this holder."""
        return f"{self._holder_name} process {os.getpid()}"

    def _limits(self, wait: Wait, *, outlasts: bool = True) -> RequestLimits:
        return RequestLimits(wait, self._client, self._now, outlasts=outlasts)

    def _acquiring(
        self, value: str, blocking: bool | Seconds | None, timeout: Seconds | None
    ) -> Claiming[SomeHeld | None]:
        """Return what is held. Return None if the time is over first. A cancelled caller holds
        nothing."""
        wait = Wait.of(seconds_to_wait(blocking, timeout), self._now())
        attempt: Attempt[Leased] = Attempt()
        held: SomeHeld | None = None
        limits = self._limits(wait, outlasts=self._waits_for_others)

        def claim() -> Claiming[SomeHeld | None]:
            attempt.hang_up()
            if not self._keeps_lease or attempt.lease is None or not attempt.lease.is_held:
                yield from self._dropping(attempt)  # of a claim that an outage has ended
            return (yield from self._claiming(attempt, value, wait))

        try:
            held = yield from limits.outlasting(claim)
            return held
        finally:
            attempt.hang_up()
            if held is None:
                yield LetGo(limits.keep(self._giving_up(attempt), RELEASE_S))

    def _entering(self) -> Claiming[SomeHeld]:
        held = yield from self._acquiring(self._value, True, None)
        assert held is not None, "without a time limit it is acquired, or an error is raised"
        return held

    def _claiming(
        self, attempt: Attempt[Leased], value: str, wait: Wait
    ) -> Claiming[SomeHeld | None]:
        """Claim it. A single try reads first, and writes nothing if the lock is held."""
        if not (yield from self._entering_gate(attempt, wait)):
            return None
        while True:
            values = yield from self._looking(wait.is_once)
            if wait.is_once and not self._keys.is_free(values):
                return None
            try:
                attempt.hang_up()
                yield from self._dropping(attempt)
                attempt.lease = lease = self._make_lease()
                protocol = self._keys.claim((yield from lease._granting()), value)
                protocol.reset(values)
                attempt.contest = protocol
                token = yield from self._contending(attempt, protocol, wait)
                if token is None:
                    return None
                if lease._begin_holding(self._on_lost, attempt.turn):
                    return self._held_class(self._keys, lease, protocol, token)
            except LeaseLost:
                pass  # the lease ended before the claim won
            if wait.is_once or self._now() >= wait.until_s:
                return None

    def _entering_gate(self, attempt: Attempt[Leased], wait: Wait) -> Claiming[bool]:
        """Wait behind the other callers of this client; return whether it was in time."""
        limit = self._keys.limit
        if attempt.turn is None and limit is not None and not wait.is_once:
            attempt.turn = turn = self._client.gates.line_up(self._keys.prefix, limit)
            return turn.is_admitted or bool((yield AwaitTurn(turn, wait.until_or_none_s)))
        return True

    def _looking(self, is_once: bool) -> Claiming[dict[str, str]]:
        """Return the keys that decide the first try of a claim. No keys mean that it is free."""
        keys = self._keys
        if not (is_once or keys.looks_first):
            return {}
        values = keys.parse((yield Ask(keys.read_request)))
        mark = keys.mark_in(values)
        if mark and not keys.is_free(values) and (yield from sweeping(keys, mark)):
            return {}
        return values

    def _contending(
        self, attempt: Attempt[Leased], protocol: LockProtocol, wait: Wait
    ) -> Claiming[int | None]:
        call = protocol.next_call(and_wait=False)
        token = None if call is None else token_in((yield Ask(call)))
        if token is not None or wait.is_once:
            return token
        protocol.reset({})  # the watch lists existing keys, not deleted ones
        attempt.watch = self._watching(self._keys.prefix)
        try:
            return (yield from self._following(attempt.watch, protocol, wait))
        except TooManyWatches:
            return (yield from self._polling(protocol, wait))

    def _following(self, watch: Any, protocol: LockProtocol, wait: Wait) -> Claiming[int | None]:
        """Try again whenever a watch reports that the keys have changed."""
        while (yield Look(watch, wait.until_or_none_s)):
            protocol.apply_events(watch._take_ready(), watch.is_listed)
            call = protocol.next_call() if watch.is_listed else None
            if call is not None:
                token = token_in((yield Ask(call)))
                if token is not None:
                    return token
            elif watch.is_listed and protocol.abandoned is not None:
                yield from sweeping(self._keys, protocol.abandoned)
        if watch._is_closed:
            raise Closed(f"this client was closed, so {self.name} was not acquired")
        return None

    def _polling(self, protocol: LockProtocol, wait: Wait) -> Claiming[int | None]:
        """Try again once a second, because no node serves a watch."""
        while self._now() < wait.until_s:
            page = yield Ask(CALLS.page(self._keys.prefix))
            protocol.reset(dict(page.pairs))
            call = protocol.next_call()
            if call is not None:
                token = token_in((yield Ask(call)))
                if token is not None:
                    return token
            elif protocol.abandoned is not None:
                yield from sweeping(self._keys, protocol.abandoned)
            yield Pause(min(wait.until_s, self._now() + POLL_S))
        return None

    def _watched(
        self, attempt: Attempt[Any], is_met: Callable[[], Claiming[bool]], wait: Wait
    ) -> Claiming[bool]:
        """Wait until a condition on the keys is met; return whether it was in time."""
        while not (yield from is_met()):
            if wait.is_once or self._now() >= wait.until_s:
                return False
            try:
                yield from self._next_change(attempt, wait)
            except TooManyWatches:
                attempt.hang_up()
                yield Pause(min(wait.until_s, self._now() + POLL_S))
        return True

    def _next_change(self, attempt: Attempt[Any], wait: Wait) -> Claiming[None]:
        """Wait until a watch reports a change, or has listed the keys."""
        if attempt.watch is None:
            attempt.watch = self._watching(self._keys.prefix)
        watch = attempt.watch
        is_news = not watch.is_listed
        while (yield Look(watch, wait.until_or_none_s)):
            is_news = bool(watch._take_ready()) or is_news
            if is_news and watch.is_listed:
                return
        if watch._is_closed:
            raise Closed(f"this client was closed while it waited for {self.name}")

    def _giving_up(self, attempt: Attempt[Leased]) -> Claiming[None]:
        """End an attempt that failed; then the next caller of this client may try."""
        try:
            yield from self._dropping(attempt)
        finally:
            if attempt.turn is not None:
                attempt.turn.leave()

    def _dropping(self, attempt: Attempt[Leased]) -> Claiming[None]:
        """Release the lease of an attempt that failed."""
        lease, attempt.lease = attempt.lease, None
        if lease is not None:
            yield from lease._dropping()
            yield from sweeping_after(self._keys, attempt.contest)


class RequestLimits:
    """The time limits of the requests of one wait: no request lasts much longer than the wait, and
    a wait without an end outlasts each outage."""

    def __init__(
        self, wait: Wait, client: Any, now: Callable[[], float], *, outlasts: bool
    ) -> None:
        """The time limit of the client applies if it is shorter. `outlasts` is false if nothing is
        waited for but answers."""
        self._is_endless = outlasts and wait.until_s == math.inf
        self._until_s = math.inf if wait.is_once else wait.until_s
        self._client = client
        self._now = now
        self._is_answered = False

    def outlasting(self, begin: Callable[[], Claiming[Kind]]) -> Claiming[Kind | None]:
        """Carry out the steps of a wait, and return their result; None if the time is over first.
        If no node serves, a wait without an end begins again after a pause, once a node has served
        this client: a wrong address is an error."""
        while True:
            try:
                return (yield from self.keep(begin()))
            except (NoLeader, OutcomeUnknown, Unreachable) as error:
                if self.is_over(error):
                    yield Pause(self._until_s)
                    return None
                if not self._is_endless or _is_final(error) or not self._client.was_served:
                    raise
            yield Pause(self._now() + LONGEST_PAUSE_S)

    def keep(self, steps: Claiming[Kind], late_s: float = 0.0) -> Claiming[Kind]:
        """Carry out these steps. Each request has the time that is left until `late_s` after the
        end of the wait, or at least a short time."""
        try:
            step = next(steps)
            while True:
                try:
                    answer = yield self._limited(step, late_s) if isinstance(step, Ask) else step
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    self._is_answered = self._is_answered or isinstance(step, Ask)
                    step = steps.send(answer)
        except StopIteration as end:
            result: Kind = end.value
            return result

    def _limited(self, step: Ask, late_s: float) -> Ask:
        if self._until_s == math.inf:
            return step
        limit_s = max(LEAST_S, self._until_s + late_s - self._now())
        return step._replace(limit_s=min(limit_s, self._client.timeout))

    def is_over(self, error: ClientError) -> bool:
        """Return whether a request failed because the time is over, at a cluster that had answered.
        A search ends early if the time left is too short for another pause."""
        is_late = self._now() >= self._until_s - LONGEST_PAUSE_S
        return self._is_answered and is_late and not _is_final(error)


def _is_final(error: ClientError) -> bool:
    """Return whether a later request would fail as well."""
    is_of_another = error.code == "other-cluster"  # an identity never changes
    return isinstance(error, Closed) or is_of_another or getattr(error, "lasts", False)


class LeaderChanges:
    """The leaders that a watch of an election reports."""

    def __init__(self, keys: LockKeys) -> None:
        self._held = keys.held
        self._is_reported = False

    def take(self, watch: BaseWatch[str]) -> Iterator[str | None]:
        """Yield the values of the leaders since the last call; None while there is no leader."""
        for event in watch._take_ready():
            if event.key == self._held:
                self._is_reported = True
                yield event.value
        if watch.is_listed and not self._is_reported:
            self._is_reported = True
            yield None
