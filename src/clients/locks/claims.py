"""Locks and elections of a program: one holder at a time, and callers in turn. Threads and tasks
share this code.

Each operation that sends a request or waits is a machine (`steps.py`): acquiring a lock, holding
it, releasing it. A claim acquires a lease, tries at once, and then follows the keys by a watch
(`contest.py`). The last shared holder of a lock deletes the mark of shared holders.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from ...common.no_copies import NoCopies
from ..calls.calls import CALLS, Ask, Stat
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
from ..watches.watch_machine import BaseWatch
from .callers import Attempt, Callers, Leased, SharedWaiters, Waiter
from .contest import MARK, LockKeys, LockProtocol, token_in
from .lease_timer import LEAST_S, LeaseKeeper, LeaseTimer, suppress_if

NOT_HELD = "it is not held by this program"
POLL_S = 1.0  # between two tries of a claim that can't get a watch
RELEASE_S = 0.15  # after the wait, for the release of a lease that won nothing
Kind = TypeVar("Kind")


class AwaitTurn(NamedTuple):
    """A step: wait until it is this waiter's turn. The answer is False if that took too long."""

    waiter: Any
    until_s: float | None


class Look(NamedTuple):
    """A step: process one line of this watch. The answer is False if the time is over, or the
    client was closed."""

    watch: Any
    until_s: float | None


class LetGo(NamedTuple):
    """A step: carry out these steps to their end, even if the caller is cancelled meanwhile."""

    steps: Claiming[None]


ClaimStep = Ask | AwaitTurn | Look | LetGo
Claiming = Generator[ClaimStep, Any, Kind]


class BaseClaim(NoCopies, Generic[Leased, Waiter]):
    """A lock or an election: its keys, its callers, and their requests."""

    _states = ("held", "not held")
    _lease_class: type[Leased]
    _client: Any  # carries out its requests
    _mutex: AbstractContextManager[Any]  # held while callers are inspected

    def __init__(
        self,
        client: Any,
        keeper: LeaseKeeper,
        watching: Callable[[str], Any],
        keys: LockKeys,
        ttl: float,
        on_lost: Callable[[], object] | None = None,
        holder: str = "",
        codec: Codec[Any] = TEXT,
    ) -> None:
        """`watching` starts a watch; `holder` is the first part of the name that other programs
        read."""
        make: Callable[..., Leased] = self._lease_class
        self._make_lease = partial(make, client, keeper, ttl)
        self._make_lease()  # raises at once if the time is invalid
        self.name = keys.name
        self._client = client
        self._keys = keys
        self._watching = watching
        self._on_lost = None if on_lost is None else plain(on_lost, "on_lost")
        self._holder_name = holder
        self._codec = codec
        self._begin_anew()

    def _begin_anew(self) -> None:
        kind = SharedWaiters if self._keys.is_for_many else Callers
        self._all_callers: Callers[Leased, Waiter] = kind(self._wake)

    @property
    def _callers(self) -> Callers[Leased, Waiter]:
        return self._all_callers

    # --- for a shell ----------------------------------------------------------------------------

    def _caller(self) -> object:
        """Return the identity of the calling thread or task."""
        raise NotImplementedError

    def _new_waiter(self) -> Waiter:
        raise NotImplementedError

    @staticmethod
    def _wake(waiter: Waiter) -> bool:
        """Tell a waiter that it has its turn; return False if it gave up."""
        raise NotImplementedError

    def _has_turn(self, waiter: Waiter) -> bool:
        raise NotImplementedError

    def _now(self) -> float:
        """Return the seconds of the clock that watches use."""
        return time.monotonic()

    @staticmethod
    def _call_apart(on_lost: Callable[[], object]) -> None:
        raise NotImplementedError

    @property
    def _why_not_held(self) -> str:
        return NOT_HELD

    # --- the held lock --------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {self._states[not self.is_held]}>"

    @property
    def token(self) -> int:
        """The fencing token: the index of the entry that granted it, which is higher for each new
        holder."""
        token = self._mine().token
        assert token is not None
        return token

    @property
    def is_held(self) -> bool:
        """Whether this program certainly holds it, by its own clock."""
        attempt = self._found()
        return attempt is not None and attempt.lease is not None and attempt.lease.is_held

    def _found(self, caller: object = None) -> Attempt[Leased] | None:
        """Return the attempt of a caller, by default the current one."""
        callers = self._callers
        with self._mutex:
            return callers.current(self._caller() if caller is None else caller)

    def _mine(self, caller: object = None) -> Attempt[Leased]:
        attempt = self._found(caller)
        if attempt is None:
            raise RuntimeError(self._why_not_held)
        return attempt

    def _my_lease(self) -> Leased:
        lease = self._mine().lease
        assert lease is not None
        return lease

    def _checking(self, caller: object = None) -> Claiming[int]:
        """Return the token, once the cluster has confirmed that it is held: the lease is alive, and
        the key has not changed since the entry of the token set it.

        Raises:
            LeaseLost: the lock is not held.
        """
        attempt = self._mine(caller)
        lease, token = attempt.lease, attempt.token
        assert lease is not None
        assert token is not None
        yield from lease._checking(None)
        assert attempt.contest is not None
        key, mark = attempt.contest.key, attempt.contest.mark
        if not is_of((yield Ask(CALLS.stat(key))), token) or (
            mark is not None and (yield Ask(CALLS.get(self._keys.held))) != mark
        ):
            lease._lose()
            raise self._broken(attempt)
        lease._expect_held()  # the last answer may have taken a long time
        return token

    def _giving(self, caller: object) -> Claiming[None]:
        """Release the caller's hold, and give the next caller its turn."""
        callers = self._callers
        with self._mutex:
            attempt = callers.release(caller)
        if attempt is None or attempt.lease is None:
            raise RuntimeError(self._why_not_held)
        try:
            deleted = yield from attempt.lease._releasing()
        finally:
            self._pass_on(attempt)
        yield from self._sweeping_after(attempt)
        if not deleted:
            raise self._broken(attempt)

    def _leaving(self, error: BaseException | None) -> Claiming[None]:
        """Release it at the end of a `with`. An error in the block takes precedence over an error
        here."""
        if self._found() is not None:
            with suppress_if(error, ClientError):
                yield from self._giving(self._caller())

    def _broken(self, attempt: Attempt[Leased]) -> LeaseLost:
        """Return the error for a key that another holder has set, or that was deleted."""
        assert attempt.contest is not None
        key = attempt.contest.key
        return LeaseLost(f"{key} no longer belongs to this program: it was deleted or set again")

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

    def _pass_on(self, attempt: Attempt[Leased]) -> None:
        with self._mutex:
            self._callers.finish(attempt)

    def _ended(self, attempt: Attempt[Leased], timer: LeaseTimer) -> None:
        """Handle the end of a lease: give the next caller its turn, and report a lost lock."""
        with self._mutex:
            self._callers.expire_stale()
            was_held = attempt.token is not None
        if timer.was_lost and was_held and self._on_lost is not None:
            self._call_apart(self._on_lost)

    # --- acquiring ------------------------------------------------------------------------------

    @property
    def _value(self) -> str:
        """The name of this holder."""
        return f"{self._holder_name} process {os.getpid()}"

    def _acquiring(
        self, blocking: bool | float | None = True, timeout: float | None = -1
    ) -> Claiming[int | None]:
        """Return the fencing token, waiting at most `timeout` seconds; None if the lock was not
        acquired.

        -1 and None wait forever; 0 and `blocking=False` try once. `acquire(5)` is
        `acquire(timeout=5)`.
        """
        return (yield from self._getting(self._value, seconds_to_wait(blocking, timeout)))

    def _entering(self) -> Claiming[int]:
        token = yield from self._getting(self._value, None)
        assert token is not None, "without a time limit it is acquired, or an error is raised"
        return token

    def _getting(
        self, value: str, timeout_s: float | None, caller: object = None
    ) -> Claiming[int | None]:
        """Return the token once the lock is held; None if the time is over first. Callers that
        share this object acquire it in the order of their calls. A cancelled caller holds
        nothing."""
        wait = Wait.of(timeout_s, self._now())
        if not (yield from self._taking_turn(wait)):
            return None
        attempt: Attempt[Leased] = Attempt(self._caller() if caller is None else caller)
        token: int | None = None
        limits = RequestLimits(wait, self._client, self._now)
        try:
            token = yield from limits.keep(self._claiming(attempt, value, wait))
            return token
        except (NoLeader, OutcomeUnknown, Unreachable) as error:
            if not limits.is_over(error):
                raise
            yield AwaitTurn(self._new_waiter(), wait.until_s)  # nobody wakes it
            return None
        finally:
            attempt.hang_up()
            if token is None:  # not `attempt.token`: Ctrl-C may come as it wins
                yield LetGo(limits.keep(self._letting_go(attempt), RELEASE_S))

    def _taking_turn(self, wait: Wait) -> Claiming[bool]:
        callers = self._callers
        waiter = None if wait.is_once else self._new_waiter()
        with self._mutex:
            if callers.enqueue(waiter):
                return True
        if waiter is None:
            return False
        is_there: bool = False
        try:
            is_there = yield AwaitTurn(waiter, wait.until_or_none_s)
        finally:
            if not is_there:
                with self._mutex:
                    callers.cancel(waiter, has_turn=self._has_turn(waiter))
        return is_there

    def _claiming(self, attempt: Attempt[Leased], value: str, wait: Wait) -> Claiming[int | None]:
        """Claim it; return the token, or None if the time is over first. A single try reads first,
        and writes nothing if the lock is held."""
        while True:
            values = yield from self._looking(wait.is_once)
            if wait.is_once and not self._keys.is_free(values):
                return None
            try:
                attempt.hang_up()
                yield from self._dropping(attempt)
                attempt.lease = lease = self._make_lease(on_end=partial(self._ended, attempt))
                protocol = self._keys.claim((yield from lease._granting()), value)
                protocol.reset(values)
                attempt.contest = protocol
                token = yield from self._contending(attempt, protocol, wait)
                if token is None or self._wins(attempt, token):
                    return token
            except LeaseLost:
                pass  # the lease ended before the claim won
            if wait.is_once or self._now() >= wait.until_s:
                return None

    def _looking(self, is_once: bool) -> Claiming[dict[str, str]]:
        """Return the keys that decide the first try of a claim. No keys mean that it is free."""
        keys = self._keys
        if not (is_once or keys.looks_first):
            return {}
        values = keys.parse((yield Ask(keys.read_request)))
        mark = keys.mark_in(values)
        if mark and not keys.is_free(values) and (yield from self._sweeping(mark)):
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
                yield from self._sweeping(protocol.abandoned)
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
                yield from self._sweeping(protocol.abandoned)
            yield AwaitTurn(self._new_waiter(), min(wait.until_s, self._now() + POLL_S))
        return None

    def _sweeping(self, mark: str) -> Claiming[bool]:
        """Delete the mark of shared holders if no such holder is left; return whether it was
        deleted."""
        keys = self._keys
        if (yield Ask(CALLS.get(keys.held))) != mark:
            return False
        stat = yield Ask(CALLS.stat(keys.held))
        page = yield Ask(keys.sharers_request)
        if stat is None or not page.is_last or keys.sharers_in(dict(page.pairs)):
            return False
        swept = yield Ask(keys.sweep(mark, stat.index))
        return bool(swept)

    def _sweeping_after(self, attempt: Attempt[Leased]) -> Claiming[None]:
        """Delete the mark if the end of this attempt leaves no shared holder. A failure is not
        reported: the next claim deletes the mark. While the first holder, which the mark names, is
        there, only its key is read. To list all shared holders, a node has to scan all of its
        keys."""
        if attempt.contest is not None and (mark := attempt.contest.mark) is not None:
            first = self._keys.sharer(mark.removeprefix(MARK))
            with contextlib.suppress(ClientError):
                if first == attempt.contest.key or (yield Ask(CALLS.get(first))) is None:
                    yield from self._sweeping(mark)

    def _wins(self, attempt: Attempt[Leased], token: int) -> bool:
        with self._mutex:
            return self._callers.mark_held(attempt, token)

    def _dropping(self, attempt: Attempt[Leased]) -> Claiming[None]:
        lease, attempt.lease = attempt.lease, None
        if lease is not None:
            yield from lease._dropping()
            yield from self._sweeping_after(attempt)

    def _letting_go(self, attempt: Attempt[Leased]) -> Claiming[None]:
        """Clean up after a failed attempt."""
        try:
            yield from self._dropping(attempt)
        finally:
            self._pass_on(attempt)


class RequestLimits:
    """The time limits of the requests of one wait: no request lasts much longer than the wait."""

    def __init__(self, wait: Wait, client: Any, now: Callable[[], float]) -> None:
        """The time limit of the client applies if it is shorter."""
        self._until_s = math.inf if wait.is_once else wait.until_s
        self._client = client
        self._now = now
        self._is_answered = False

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
        is_final = isinstance(error, Closed) or (isinstance(error, Unreachable) and error.lasts)
        is_late = self._now() >= self._until_s - LONGEST_PAUSE_S
        return self._is_answered and is_late and not is_final


class HasSlot:
    """A claim to one slot of a semaphore."""

    _mine: Callable[..., Attempt[Any]]

    @property
    def slot(self) -> int:
        """The number of the slot that is held, from 1 to the limit. Its tokens only grow."""
        contest = self._mine().contest
        assert contest is not None
        return int(contest.key.rpartition("/")[2])


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


def is_of(stat: Stat | None, token: int | None) -> bool:
    """Return whether the entry with this token was the last to change the key."""
    return stat is not None and stat.index == token
