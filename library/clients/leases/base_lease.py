"""A lease as an object of a program: its state, and its requests as machines. Threads, tasks and
simulated programs share this code.

It stands for a lease of its own (`LeaseTimer`), or for a claim under the lease that the client
keeps for all of its claims (`kept_leases.py`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from raftline.common.no_copies import NoCopies
from raftline.wire.replies.refusals import refusal_in

from ..calls.calls import Ask, Call, Steps, lease_ms
from ..calls.kv_errors import LeaseLost
from ..calls.listeners import plain
from ..connections.node_connection import ClientError, Closed
from ..requests.pool import time_limit
from ..requests.times import Seconds
from .gates import AwaitTurn, GateTurn
from .kept_leases import ClaimTimer, GivingUp, KeptLease, KeptLeases
from .lease_timer import (
    Clock,
    LeaseTimer,
    clock,
    confirming,
    granting,
    read_nothing,
)


class LeaseKeeper(Protocol):
    """Renews leases until they are over (`renewals.py`)."""

    kept: KeptLeases
    leaving: set[str]  # the requests that claims send to leave

    def keep(self, timer: LeaseTimer) -> None: ...
    def drop(self, timer: LeaseTimer) -> None: ...
    def hurry(self, timer: LeaseTimer) -> None: ...


Event = TypeVar("Event", bound=Any)  # has `set`, which is called once a lease is over
Kind = TypeVar("Kind")
AnyTimer = LeaseTimer | ClaimTimer
Joining = Generator[Ask | AwaitTurn, Any, Kind]


class SendOff(NamedTuple):
    """A step of a release: send this request along with the next one, or soon, and await no answer.
    `settled` gets the text of the answer later, or None if there is none. The answer of the step is
    False if there is no connection."""

    command: str
    settled: Callable[[str | None], object]


class BaseLease(NoCopies, Generic[Event]):
    """The part of a lease that never waits: its state, and its requests as machines."""

    _with = "with"
    _client: Any  # carries out its requests
    _is_of_claim = False  # which holds nothing before `_begin_holding`
    _turn: GateTurn | None = None  # at a gate, which it leaves at its end

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
        self._timer: AnyTimer | None = None
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
    def _claim_name(self) -> str:
        """The name of the claim that this object stands for."""
        return self._granted().name

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

    def _lose_all(self) -> None:
        """Mark all that is under the same lease as lost, because the cluster knows no such
        lease."""
        if self._timer is not None:
            self._timer.timer.lose()

    def _shares_with(self, other: BaseLease[Any]) -> bool:
        """Return whether another object may stand for the same claim: it is of the same client, has
        the same time, and the claim is not over."""
        is_same = self._keeper is other._keeper and self._seconds == other._seconds
        return is_same and self._is_here and not self._is_over

    def _give_up(self) -> None:
        """Stop holding it, because what it guards was given up."""
        if self._timer is not None:
            self._timer.give_up()

    def _begin_holding(
        self, on_lost: Callable[[], object] | None, turn: GateTurn | None = None
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

    def _granted(self) -> AnyTimer:
        if self._timer is None:
            raise RuntimeError(f"this lease was not granted: {self._with} kv.lease(10) as lease")
        if not self._is_here:
            raise RuntimeError("this lease is held by the process that forked, not by this one")
        return self._timer

    def _held(self) -> AnyTimer:
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

    def _must_release(self, error: BaseException | None) -> bool:
        """Return whether the end of a `with` has to release the lease. Raises LeaseLost if it was
        lost, unless an error in the block takes precedence."""
        timer = self._timer
        if timer is not None and self._is_here and not timer.is_over:
            return True
        if timer is not None and timer.was_lost and error is None:
            raise timer.loss()
        return False

    # --- the machines ---------------------------------------------------------------------------

    def _granting(self) -> Steps[str]:
        """Acquire the lease, and renew it from then on; return its name.

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
            timer = yield from granting(self._seconds, on_end, self._now, LeaseTimer)
            self._over, self._timer = over, timer  # both: if this fails, the previous lease counts
            timer.is_renewed, timer.is_waiting = self._keep, self._is_of_claim
            self._keep_renewing(timer)
            return timer.lease
        finally:
            self._grant.release()

    def _joining(self, giving_up: GivingUp, until_s: float | None) -> Joining[str | None]:
        """Begin a claim, under the lease that the client keeps for all claims of this time; return
        its name. Return None if the time is over first.

        Raises:
            LeaseLost: the lease is over again.
        """
        kept = yield from self._kept_lease(until_s)
        if kept is None:
            return None
        over = self._new_event()
        claim = kept.new_claim(giving_up, partial(self._ended, over))
        if claim is None:
            raise LeaseLost("the lease of this client ended before it acquired anything")
        self._over, self._timer = over, claim
        return claim.name

    @property
    def _is_kept(self) -> bool:
        """Whether the client already keeps a lease of this time, so that a claim grants none."""
        kept = self._keeper.kept.get(self._seconds)
        return kept is not None and kept.is_held(self._now())

    def _sharing(self, other: BaseLease[Any]) -> None:
        """Stand for the claim of another object, with an end of its own. Raises LeaseLost."""
        claim, over = other._held(), self._new_event()
        assert isinstance(claim, ClaimTimer), "only claims under a kept lease are shared"
        on_end = partial(self._ended, over)
        timer = claim.timer.new_claim(claim.giving_up, on_end, claim.number)
        if timer is None:
            raise claim.loss()
        self._over, self._timer = over, timer

    def _kept_lease(self, until_s: float | None) -> Joining[KeptLease | None]:
        """Return the kept lease with two thirds of its time left or more; None if the time is over
        first. One claim of a client at a time has it granted or renewed for that."""
        kept_leases = self._keeper.kept
        kept = kept_leases.get(self._seconds)
        if kept is not None and kept.is_fresh(self._now()):
            return kept
        turn = self._client.gates.line_up(f"lease {self._seconds}", 1)
        try:
            if not (turn.is_admitted or (yield AwaitTurn(turn, until_s))):
                return None
            kept = kept_leases.get(self._seconds)
            if kept is None or not kept.is_held(self._now()):
                kept = yield from granting(self._seconds, self._kept_ended, self._now, KeptLease)
                kept_leases.add(kept)
                self._keep_renewing(kept)
            elif not kept.is_fresh(self._now()):
                yield from confirming(kept, self._now, None)
            return kept
        finally:
            turn.leave()

    def _kept_ended(self, kept: KeptLease) -> None:
        self._keeper.drop(kept)
        self._keeper.kept.drop(kept)

    def _keep_renewing(self, timer: LeaseTimer) -> None:
        try:
            self._keeper.keep(timer)
        except RuntimeError:  # no thread can be started
            timer.give_up()
            raise

    def _requesting(self, call: Call[Kind]) -> Steps[Kind]:
        """Send a request of a claim, which is taken back if its outcome stays unknown."""
        timer = self._held()
        timer.begin_request()
        try:
            result: Kind = yield Ask(call)
        except LeaseLost:
            self._lose_all()
            raise
        timer.end_request()
        return result

    def _forget_request(self) -> None:
        """Record that nothing is left of what a claim has asked for."""
        timer = self._held()
        if isinstance(timer, ClaimTimer):
            timer.take_back = ""

    def _checking(self, timeout: Seconds | None) -> Steps[None]:
        """Confirm the lease with the cluster. Raises LeaseLost."""
        timer = self._held()
        limit_s = None if timeout is None else time_limit(timeout)
        is_confirmed = yield from confirming(timer.timer, self._now, limit_s)
        if not is_confirmed or timer.is_over:
            raise timer.loss()

    def _releasing(self) -> Steps[int]:
        """End the lease or the claim; return how many keys were deleted. Raises LeaseLost if it had
        ended before."""
        return (yield from self._ending(waits=True))

    def _ending(self, *, waits: bool, more: Call[Any] | None = None) -> Generator[Any, Any, int]:
        """End the lease or the claim. Without `waits`, only send the request, if a connection is
        there: it is repeated until it is answered, and what the answer says is not reported. A
        claim is given up by the request `more`, if that is done."""
        turn, self._turn = self._turn, None  # until the answer
        timer = self._held()
        was_held = timer.is_held(self._now())
        timer.give_up()
        try:
            is_kept = isinstance(timer, ClaimTimer)
            if is_kept and not waits and (yield self._sending_off(timer.give_back)):
                return 1
            instead = None if more is None else _either(more, timer.give_back)
            deleted = yield from self._giving(timer.give_back, instead)
            if deleted is None or not was_held:
                raise timer.loss()
            return deleted
        finally:
            if turn is not None:
                turn.leave()

    def _leaving(self, error: BaseException | None) -> Steps[None]:
        """Release the lease at the end of a `with`. An error in the block takes precedence over an
        error here."""
        if self._must_release(error):
            with suppress_if(error, ClientError):
                yield from self._releasing()

    def _dropping(self, instead: Steps[None] | None = None) -> Steps[None]:
        """Release the lease, even if it was lost. A failure is not reported: the lease expires
        anyway, or is released by `closing` if the client was closed.

        `instead` are steps that give up the same; if they fail, the keeper does it."""
        timer, leaving = self._timer, self._keeper.leaving
        if timer is None or not self._is_here:
            return
        command = timer.take_back
        if command:
            leaving.add(command)  # before its end, so that `closing` finds it here or there
        timer.give_up()
        if command:
            try:
                yield from self._giving(Call(command, read_nothing), instead)
            except Closed:
                return
            except ClientError:
                pass
            leaving.discard(command)

    def _sending_off(self, call: Call[Any]) -> SendOff:
        """Return the step that sends a request which gives something up. If it is not answered, the
        keeper sends it again."""
        timer, command = self._granted().timer, call.command

        def settled(text: str | None) -> None:
            if text is not None and refusal_in(text) is None:
                timer.answered(command)
            else:
                timer.expect_answer(command, again=True)
                self._keeper.hurry(timer)

        timer.expect_answer(command)
        return SendOff(command, settled)

    def _giving(self, call: Call[Kind], instead: Steps[Kind] | None = None) -> Steps[Kind]:
        """Send a request that gives something up, or carry out other steps that do, and return the
        result. If they are not answered, the keeper sends the request until the lease is over."""
        timer = self._granted().timer
        timer.expect_answer(call.command)
        try:
            if instead is None:
                result: Kind = yield Ask(call)
            else:
                result = yield from instead
        except (Closed, GeneratorExit):
            raise
        except BaseException:
            timer.expect_answer(call.command, again=True)
            self._keeper.hurry(timer)
            raise
        timer.answered(call.command)
        return result

    def _ended(self, over: Event, timer: AnyTimer) -> None:
        if isinstance(timer, ClaimTimer):
            timer.timer.drop(timer, self._now())
        else:
            self._keeper.drop(timer)
        over.set()
        if self._turn is not None:
            self._turn.leave()
        if timer.was_lost and self._on_lost is not None:
            self._call_apart(self._on_lost)


def _either(first: Call[Any], other: Call[int | None]) -> Steps[int | None]:
    """Send a request, and another one unless the first is done."""
    is_done = yield Ask(first)
    result: int | None = 1 if is_done else (yield Ask(other))
    return result


def suppress_if(
    error: BaseException | None, kind: type[Exception]
) -> contextlib.AbstractContextManager[None]:
    """Suppress errors of a kind if there is an earlier error, which takes precedence."""
    return contextlib.nullcontext() if error is None else contextlib.suppress(kind)
