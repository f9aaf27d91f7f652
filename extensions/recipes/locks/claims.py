"""Claims to locks, semaphores and elections. Threads and tasks share this code.

Each operation that sends a request or waits is a machine (`steps.py`). A claim is one `hold` under
the lease that the client keeps (`kept_leases.py`). If others hold the lock, a watch tells the claim
when it has its turn, and it sends nothing until then. Its holding is an object (`held.py`).
Callers of one client wait for each other in the program (`gates.py`).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from raftline.clients.calls.calls import CALLS, Ask
from raftline.clients.calls.kv_errors import LeaseLost, TooManyWatches
from raftline.clients.calls.listeners import plain
from raftline.clients.calls.value_codec import TEXT, Codec
from raftline.clients.calls.wait_times import Wait, seconds_to_wait
from raftline.clients.connections.node_connection import (
    ClientError,
    Closed,
    NoLeader,
    OtherCluster,
    OutcomeUnknown,
    Unreachable,
)
from raftline.clients.leases.base_lease import LeaseKeeper
from raftline.clients.leases.gates import AwaitTurn, GateTurn
from raftline.clients.leases.lease_timer import LEAST_S
from raftline.clients.requests.search import LONGEST_PAUSE_S
from raftline.clients.requests.times import Seconds
from raftline.clients.watches.watch_events import Event
from raftline.clients.watches.watch_machine import BaseWatch
from raftline.common.no_copies import NoCopies

from .claim_steps import Claiming, Look, Pause, Shielded
from .held import Leased, SomeHeld, WithBlocks
from .lock_keys import LockKeys, check_ttl
from .recipe_calls import InLine, Seat, hold

POLL_S = 1.0  # between two checks of a claim that can't get a watch
CHECK_S = 5.0  # between two checks of a claim whose watch reports nothing
RELEASE_S = 0.15  # after the wait, for the end of a claim that won nothing
Kind = TypeVar("Kind")


class Attempt(Generic[Leased]):
    """One try to acquire a lock, from the call to its end."""

    lease: Leased | None = None
    place: str | None = None  # its key in line
    watch: Any = None
    turn: GateTurn | None = None

    def hang_up(self) -> None:
        """Close the watch, if there is one."""
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.close()


class News:
    """A report of a watch after which a condition on the keys under a prefix is asked for
    again: any change, or that the watch has listed them."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def begin(self) -> None:
        """Begin again with another watch."""

    def take(self, events: Sequence[Event[str]], *, is_listing: bool) -> bool:
        """Return whether these events are news; `is_listing` if they end the list of the keys."""
        return is_listing or bool(events)


class NoneLeft(News):
    """News for those who wait until there are no such keys."""

    def __init__(self, prefix: str, only: str | None = None) -> None:
        """`only` is the key that counts, if not all of them do."""
        super().__init__(prefix)
        self._only = only
        self._there: set[str] = set()

    def begin(self) -> None:
        self._there = set()

    def take(self, events: Sequence[Event[str]], *, is_listing: bool) -> bool:
        changes = [event for event in events if self._only in (None, event.key)]
        for event in changes:
            if event.is_there:
                self._there.add(event.key)
            else:
                self._there.discard(event.key)
        return not self._there and (is_listing or bool(changes))


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
        *,
        own_lease: bool = False,
        wait_release: bool = True,
    ) -> None:
        """`watching` starts a watch; `holder` is the first part of the name that other programs
        read. With `own_lease`, each claim has a lease for itself. Without `wait_release`, a release
        does not await its answer."""
        make: Callable[..., Leased] = self._lease_class
        self._new_lease = partial(make, client, keeper)
        check_ttl(ttl)
        self._ttl = ttl
        self.name = keys.name
        self._client = client
        self._keys = keys
        self._watching = watching
        self._on_lost = None if on_lost is None else plain(on_lost, "on_lost")
        self._holder_name = holder
        self._codec = codec
        self._has_own_lease = own_lease
        self._waits_for_release = wait_release
        self._with_blocks: WithBlocks[SomeHeld] = WithBlocks()

    def _make_lease(self, ttl: Seconds | None = None) -> Leased:
        lease = self._new_lease(self._ttl if ttl is None else ttl)
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

    def _holder_value(self) -> Claiming[str | None]:
        """Return the value of the only holder; None if nobody holds it."""
        holders = yield from self._keys.holders()
        return holders[0][1] if holders else None

    def _holders(self) -> Claiming[list[str]]:
        """Return the names that the holders gave, in the order of their slots."""
        return [name for _, name in (yield from self._keys.holders())]

    @property
    def _value(self) -> str:
        """The name of this holder."""
        return f"{self._holder_name} process {os.getpid()}"

    def _limits(self, wait: Wait, *, outlasts: bool = True) -> RequestLimits:
        return RequestLimits(wait, self._client, self._now, outlasts=outlasts)

    def _acquiring(
        self,
        value: str,
        blocking: bool | Seconds | None,
        timeout: Seconds | None,
        attempt: Attempt[Leased] | None = None,
    ) -> Claiming[SomeHeld | None]:
        """Return what is held. Return None if the time is over first. A cancelled caller holds
        nothing. A try that has begun already is continued."""
        wait = Wait.of(seconds_to_wait(blocking, timeout), self._now())
        attempt = attempt or Attempt()
        held: SomeHeld | None = None
        is_closed = False  # nobody carries out a further step
        limits = self._limits(wait, outlasts=self._waits_for_others)

        def claim() -> Claiming[SomeHeld | None]:
            attempt.hang_up()
            is_kept = self._keeps_lease or attempt.place is not None
            if not is_kept or attempt.lease is None or not attempt.lease.is_held:
                yield from self._dropping(attempt)  # of a claim that an outage has ended
            return (yield from self._claiming(attempt, value, wait))

        try:
            held = yield from limits.outlasting(claim)
            return held
        except GeneratorExit:
            is_closed = True
            raise
        finally:
            attempt.hang_up()
            if held is None and not is_closed:
                yield Shielded(limits.keep(self._giving_up(attempt), RELEASE_S))

    def _entering(self) -> Claiming[SomeHeld]:
        held = yield from self._acquiring(self._value, True, None)
        assert held is not None, "without a time limit it is acquired, or an error is raised"
        return held

    def _claiming(
        self, attempt: Attempt[Leased], value: str, wait: Wait
    ) -> Claiming[SomeHeld | None]:
        """Claim it until the time is over. If the lease ends before the claim has won, begin
        again."""
        if not (yield from self._entering_gate(attempt, wait)):
            return None
        while True:
            try:
                return (yield from self._trying(attempt, value, wait))
            except LeaseLost:
                attempt.hang_up()
            yield from self._dropping(attempt)
            if wait.is_once or self._now() >= wait.until_s:
                return None

    def _trying(
        self, attempt: Attempt[Leased], value: str, wait: Wait
    ) -> Claiming[SomeHeld | None]:
        """Claim it under one lease. A single try reads first, and writes nothing if the lock is
        held. Raises LeaseLost if the lease ends before the claim has won."""
        if wait.is_once and not self._keys.is_free((yield from self._keys.holders())):
            return None
        seat = yield from self._contending(attempt, value, wait)
        lease = attempt.lease
        if seat is None or lease is None:
            return None
        if not lease._begin_holding(self._on_lost, attempt.turn):
            raise LeaseLost(f"the lease ended before {self.name} was acquired")
        held = self._make_held(lease, seat)
        held._waits_for_release = self._waits_for_release
        held._is_acquired = True
        return held

    def _make_held(self, lease: Leased, seat: Seat) -> SomeHeld:
        return self._held_class(self._keys, lease, seat.key, seat.token)

    def _entering_gate(self, attempt: Attempt[Leased], wait: Wait) -> Claiming[bool]:
        """Wait behind the other callers of this client; return whether it was in time."""
        limit = self._keys.limit
        if attempt.turn is None and limit is not None and not wait.is_once:
            attempt.turn = turn = self._client.gates.line_up(self._keys.prefix, limit)
            return turn.is_admitted or bool((yield AwaitTurn(turn, wait.until_or_none_s)))
        return True

    def _contending(
        self, attempt: Attempt[Leased], value: str, wait: Wait
    ) -> Claiming[Seat | None]:
        """Take a free seat, or wait in line for one; return None if the time is over."""
        if attempt.place is None:
            if attempt.lease is None and not (yield from self._beginning(attempt, wait)):
                return None
            seat = yield from self._holding(attempt, value, is_once=wait.is_once)
            if seat is not None or wait.is_once:
                return seat
        assert attempt.lease is not None, "a claim in line has a lease"
        attempt.watch = self._watching(self._keys.seat_prefix(attempt.lease._claim_name))
        try:
            return (yield from self._following(attempt, value, wait))
        except TooManyWatches:
            return (yield from self._polling(attempt, value, wait))

    def _beginning(self, attempt: Attempt[Leased], wait: Wait) -> Claiming[bool]:
        """Begin a claim under the kept lease, or under a lease of its own; return whether it was in
        time."""
        attempt.lease = lease = self._make_lease()
        if self._has_own_lease:
            yield from lease._granting()
            return True
        once_s = self._now() + self._client.timeout
        until_s = once_s if wait.is_once else wait.until_or_none_s
        return (yield from lease._joining(self._keys.giving_up, until_s)) is not None

    def _holding(
        self, attempt: Attempt[Leased], value: str, *, is_once: bool = False
    ) -> Claiming[Seat | None]:
        """Ask for a seat; return None if the claim has a place in line, or `is_once` and others
        hold it."""
        lease, keys = attempt.lease, self._keys
        assert lease is not None, "a claim has a lease"
        name = lease._claim_name
        call = hold(keys.prefix, keys.mode, name, value, now=is_once)
        answer = yield from lease._requesting(call)
        attempt.place = answer.key if isinstance(answer, InLine) else None
        return answer if isinstance(answer, Seat) else None

    def _following(self, attempt: Attempt[Leased], value: str, wait: Wait) -> Claiming[Seat | None]:
        """Wait until a watch reports the seat of this claim. Look now and then whether its place in
        line is still there, since someone may delete the key."""
        watch, lease = attempt.watch, attempt.lease
        assert lease is not None, "a claim has a lease"
        end = f"/{lease._claim_name}"
        check_s = self._now() + CHECK_S
        while True:
            until_s = min(wait.until_s, check_s, self._now() + lease.left)
            was_listed = watch.is_listed
            yield Look(watch, until_s)
            for event in watch._take_ready():
                if event.is_there and event.key.endswith(end):
                    if event.kind == "set" and was_listed:
                        return Seat(event.key, event.index)
                    check_s = self._now()  # of a listing: the index of the last change is not known
            if watch._is_closed:
                raise Closed(f"this client was closed, so {self.name} was not acquired")
            lease._expect_held()
            if self._now() >= check_s:
                check_s = self._now() + CHECK_S
                seat = yield from self._seat_now(attempt, value)
                if seat is not None:
                    return seat
            if self._now() >= wait.until_s:
                return None

    def _polling(self, attempt: Attempt[Leased], value: str, wait: Wait) -> Claiming[Seat | None]:
        """Look once a second for the seat of this claim, because no node serves a watch."""
        while self._now() < wait.until_s:
            seat = yield from self._seat_now(attempt, value)
            if seat is not None:
                return seat
            yield Pause(min(wait.until_s, self._now() + POLL_S))
        return None

    def _seat_now(self, attempt: Attempt[Leased], value: str) -> Claiming[Seat | None]:
        """Return the seat of a claim; None if it still waits. If someone has deleted its place, or
        the key of the holder, it asks again."""
        lease, place = attempt.lease, attempt.place
        assert lease is not None, "a claim has a lease"
        assert place is not None, "a claim that waits has a place"
        lease._expect_held()
        name = lease._claim_name
        page = yield Ask(CALLS.versions_page(self._keys.held))
        for key, version in page.pairs:
            if key.endswith(f"/{name}"):
                return Seat(key, version.index)
        holders = [(key, "") for key, _ in page.pairs if self._keys.is_seat(key)]
        if not self._keys.is_forgotten(holders) and (yield Ask(CALLS.exists(place))):
            return None
        return (yield from self._holding(attempt, value))

    def _watched(
        self,
        attempt: Attempt[Any],
        is_met: Callable[[], Claiming[bool]],
        wait: Wait,
        news: News,
    ) -> Claiming[bool]:
        """Wait until a condition on the keys is met; return whether it was in time. It is asked
        for at first, and then after news only."""
        while not (yield from is_met()):
            if wait.is_once or self._now() >= wait.until_s:
                return False
            try:
                if not (yield from self._next_change(attempt, wait, news)):
                    return False
            except TooManyWatches:
                attempt.hang_up()
                yield Pause(min(wait.until_s, self._now() + POLL_S))
        return True

    def _next_change(self, attempt: Attempt[Any], wait: Wait, news: News) -> Claiming[bool]:
        """Wait until a watch has listed the keys and reports news. Return False if it has reported
        none in time."""
        if attempt.watch is None:
            news.begin()
            attempt.watch = self._watching(news.prefix)
        watch = attempt.watch
        was_listed = watch.is_listed
        while (yield Look(watch, wait.until_or_none_s)):
            is_listing = not was_listed and watch.is_listed
            was_listed = watch.is_listed
            if news.take(watch._take_ready(), is_listing=is_listing) and was_listed:
                return True
        if watch._is_closed:
            raise Closed(f"this client was closed while it waited for {self.name}")
        return not watch.is_listed  # then it may have missed something

    def _giving_up(self, attempt: Attempt[Leased]) -> Claiming[None]:
        """End an attempt that failed; then the next caller of this client may try."""
        try:
            yield from self._dropping(attempt)
        finally:
            if attempt.turn is not None:
                attempt.turn.leave()

    def _dropping(self, attempt: Attempt[Leased]) -> Claiming[None]:
        """Take back the claim of an attempt that failed."""
        lease, attempt.lease, attempt.place = attempt.lease, None, None
        if lease is not None:
            yield from lease._dropping()


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
    return isinstance(error, (Closed, OtherCluster)) or getattr(error, "lasts", False)


class LeaderChanges:
    """The leaders that a watch of an election's holders reports."""

    def __init__(self, keys: LockKeys) -> None:
        self._keys = keys
        self._leaders: dict[str, str] = {}  # by key: at most one after each entry
        self._is_reported = False

    def take(self, watch: BaseWatch[str]) -> Iterator[str | None]:
        """Yield the values of the leaders since the last call; None while there is no leader."""
        for event in watch._take_ready():
            if not self._keys.is_seat(event.key):
                continue
            if event.value is None:
                self._leaders.pop(event.key, None)
            else:
                self._leaders[event.key] = event.value
            self._is_reported = True
            yield next(iter(self._leaders.values()), None)
        if watch.is_listed and not self._is_reported:
            self._is_reported = True
            yield None
