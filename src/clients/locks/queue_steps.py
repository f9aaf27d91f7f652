"""A queue of jobs: its keys, and its operations as machines. Threads and tasks share this code.

Jobs are numbered, so that no operation lists the jobs. The keys of a queue, under `queue/NAME/`:

* `line/tail` has the number of the last job. `line/head` has the number of the last job that was
  delivered for the first time, so the jobs between the two wait. A put and a first delivery are one
  transaction each, on the condition that `tail` or `head` has not changed.
* `line/LEASE` is the place of a worker that waits for a job, under its lease. While somebody waits,
  only the first in line takes a job; the others follow these keys with a watch. A worker that
  leaves a job alone for a second loses its place, and who notices that takes the job.
* `jobs/NUMBER` has the value of a job until it is done.
* `taken/NUMBER` has the count of its deliveries, and `held/NUMBER` the name of its worker, under
  the lease of that worker. The index of the entry that set `held` is the fencing token. If a job is
  taken and not held, its worker has died or gave it back, and it is delivered again.
* `dead/NUMBER` has the count of deliveries of a job that is not delivered any more.
* `sweep` exists for a second after a worker has found jobs that are taken and not held, so that the
  others leave them to it.

The lease of a job that is done is set aside for the next job, so a worker that is busy needs a
lease only now and then.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from ...common.public import public
from ...wire.limits import TRANSACTION_ITEMS
from ..calls.calls import CALLS, Ask, Call, Steps, whole
from ..calls.kv_errors import LeaseLost, TooManyWatches
from ..calls.transaction import Conditions, Operations, Outcome, Plan, Transaction, itself
from ..calls.value_codec import TEXT, Codec, Data
from ..calls.wait_times import Wait
from ..requests.node_connection import Closed, TimedOut
from ..watches.watch_events import Event
from .base_lease import BaseLease
from .claim_steps import AwaitTurn, Claiming, Look, Pause
from .claims import Attempt
from .held import BaseHeld, Leased, is_of
from .lease_timer import LeaseTimer
from .lock_keys import LockKeys, number_of

QUEUES = "queue"
SWEEP_S = 1  # between two looks for jobs that are taken and not held
PASS_S = 0.9  # until a worker that leaves a job alone is passed over
TRIES = 16  # of a worker, if others take the next job first; then it waits in line
DELIVERIES = 10  # by default
_DIGITS = 16  # so that the keys are in the order of the numbers
SomeJob = TypeVar("SomeJob", bound="BaseJob[Any, Any]")
_If: TypeAlias = "Conditions[str, Call[Outcome[str]]]"
_Then: TypeAlias = "Operations[str, Call[Outcome[str]]]"


@public("raftline.api")
@dataclass(frozen=True)
class DeadJob:
    """A job that was delivered as often as the queue allows, and never done."""

    number: int
    value: Any
    deliveries: int


class QueueKeys(LockKeys):
    """The keys of one queue."""

    def __init__(self, name: str) -> None:
        """Name the keys. Raises TypeError, ValueError if the name can't be a part of a key."""
        super().__init__(QUEUES, name)
        self.line = f"{self.prefix}line/"
        self.head, self.tail = f"{self.line}head", f"{self.line}tail"
        self.places = f"{self.line}lease-"
        self.sweep_mark = f"{self.prefix}sweep"

    def place(self, lease: str) -> str:
        """Return the key of a worker that waits."""
        return f"{self.line}{lease}"

    def job(self, number: int) -> str:
        return f"{self.prefix}jobs/{number:0{_DIGITS}}"

    def taken(self, number: int | None = None) -> str:
        """Return the key of a taken job, or the prefix of all."""
        return self._numbered("taken", number)

    def held_by(self, number: int | None = None) -> str:
        """Return the key of a held job, or the prefix of all."""
        return self._numbered("held", number)

    def dead(self, number: int | None = None) -> str:
        """Return the key of a dead job, or the prefix of all."""
        return self._numbered("dead", number)

    def _numbered(self, kind: str, number: int | None) -> str:
        return f"{self.prefix}{kind}/" + ("" if number is None else f"{number:0{_DIGITS}}")


class Delivery(NamedTuple):
    """A job that is delivered."""

    number: int
    token: int
    value: str
    deliveries: int


class Line:
    """The workers that wait, and the numbers of jobs, as a watch reports them."""

    def __init__(self, keys: QueueKeys) -> None:
        self._keys = keys
        self._values: dict[str, str] = {}

    def apply(self, events: Iterable[Event[str]]) -> None:
        for event in events:
            if event.value is None:
                self._values.pop(event.key, None)
            else:
                self._values[event.key] = event.value

    @property
    def ends(self) -> tuple[int, int]:
        """The numbers of the job delivered last for the first time, and of the last job."""
        head, tail = (self._values.get(key, "0") for key in (self._keys.head, self._keys.tail))
        return int(head), int(tail)

    def has(self, place: str | None) -> bool:
        """Return whether a worker still has this place."""
        return place in self._values

    @property
    def first(self) -> str | None:
        """The place of the worker that came first, which takes the next job."""
        places = (key for key in self._values if key.startswith(self._keys.places))
        return min(places, key=number_of, default=None)

    @property
    def stall(self) -> tuple[int, str] | None:
        """The job that waits for the first worker, and the place of that worker."""
        (head, tail), first = self.ends, self.first
        return (head, first) if head < tail and first is not None else None


class QueueState(Generic[Data]):
    """The state that all takes of one queue object share. Any thread may use it."""

    def __init__(self, name: str, max_deliveries: int | None, codec: Codec[Data]) -> None:
        if max_deliveries is not None and whole(max_deliveries) < 1:
            raise ValueError(f"a job is delivered at least once, not {max_deliveries} times")
        self.keys = QueueKeys(name)
        self.max_deliveries = max_deliveries
        self.codec = codec
        self.lost: deque[tuple[int, int]] = deque()  # taken and not held: number, deliveries
        self.head = self.tail = 0  # a guess
        self.sweep_due_s = 0.0
        self._spares: deque[tuple[int, LeaseTimer]] = deque()  # leases, and their process

    # --- requests --------------------------------------------------------------------------------

    def put(self, value: Data) -> Steps[int]:
        """Add a job at the end; return its number."""
        text = self.codec.text(value)
        if not self.tail:  # a read is no entry, and a wrong guess is one
            self.tail = int((yield Ask(CALLS.get(self.keys.tail))) or 0)
        while True:
            number = self.tail + 1
            plan = _is(_plan().if_, self.keys.tail, self.tail).then.incr(self.keys.tail)
            put = plan.set(self.keys.job(number), text).else_.get(self.keys.tail).commit()
            outcome = yield Ask(put)
            self.tail = number if outcome else int(outcome.value(0) or 0)
            if outcome:
                return number

    def waiting(self) -> Steps[int]:
        """Return how many jobs wait for their first delivery."""
        self.head = int((yield Ask(CALLS.get(self.keys.head))) or 0)
        self.tail = int((yield Ask(CALLS.get(self.keys.tail))) or 0)
        return self.tail - self.head

    def dead(self) -> Steps[list[DeadJob]]:
        """Return the jobs that were delivered `max_deliveries` times and never done."""
        counts = yield from _counts_under(self.keys.dead())
        jobs = []
        for number, deliveries in counts.items():
            value = yield Ask(CALLS.get(self.keys.job(number)))
            if value is not None:
                jobs.append(DeadJob(number, self.codec.of(value), deliveries))
        return jobs

    def retry(self, number: int) -> Steps[bool]:
        """Deliver a dead job again, as if it had not been delivered yet; return whether it was
        dead."""
        dead = self.keys.dead(whole(number))
        moved = _plan().if_.exists(dead).then.delete(dead).set(self.keys.taken(number), "0")
        return bool((yield Ask(moved.commit())))

    def discard(self, number: int) -> Steps[bool]:
        """Delete a dead job; return whether it was dead."""
        dead = self.keys.dead(whole(number))
        deleted = _plan().if_.exists(dead).then.delete(dead).delete(self.keys.job(number))
        return bool((yield Ask(deleted.commit())))

    # --- parts of a take -------------------------------------------------------------------------

    def sweep(self) -> Steps[None]:
        """Find the jobs that are taken and not held, unless another worker found some within a
        second. If there is none, nothing is written."""
        mark = self.keys.sweep_mark
        if (yield Ask(CALLS.exists(mark))):
            return
        taken = yield from _counts_under(self.keys.taken())
        if not taken:
            return
        held = yield from _numbers_under(self.keys.held_by())
        lost = [(each, taken[each]) for each in taken if each not in held]
        if lost and (yield Ask(CALLS.setnx(mark, "1", ttl=SWEEP_S))):
            self.lost = deque(lost)

    def again(self, worker: str, lease: str, place: str | None) -> Steps[Delivery | None]:
        """Deliver a lost job again. A job without deliveries left is dead."""
        while self.lost:
            try:
                number, count = self.lost.popleft()
            except IndexError:  # another thread took it
                return None
            taken, held = self.keys.taken(number), self.keys.held_by(number)
            lost = _plan().if_.equal(taken, str(count)).absent(held)
            if self.max_deliveries is not None and count >= self.max_deliveries:
                dead = lost.then.delete(taken).set(self.keys.dead(number), str(count))
                yield Ask(dead.commit())
                continue
            taking = self._taking(lost, number, worker, lease, place)
            outcome = yield Ask(taking.commit())
            if outcome:
                return _delivery(number, outcome)
        return None

    def next(
        self, worker: str, lease: str, place: str | None, is_polite: bool
    ) -> Steps[Delivery | None]:
        """Deliver the next job for the first time. Return None if there is none, or if it is for
        somebody else: `is_polite` leaves it to the workers in line, and others may be faster."""
        for _ in range(TRIES):
            head, number = self.head, self.head + 1
            due = _is(_plan().if_, self.keys.head, head)
            if is_polite:
                due = due.none_under(self.keys.places)
            taking = self._taking(due, number, worker, lease, place).incr(self.keys.head)
            outcome = yield Ask(taking.else_.get(self.keys.head).get(self.keys.tail).commit())
            if outcome:
                self.head = number
                return _delivery(number, outcome)
            self.head, self.tail = (int(outcome.value(each) or 0) for each in (0, 1))
            is_over = self.head >= self.tail
            if is_over or (self.head == head and not (yield from self._skipping(head))):
                return None
        return None

    def _skipping(self, head: int) -> Steps[bool]:
        """Go past the job after `head` if it was deleted; return whether it was."""
        job = self.keys.job(head + 1)
        gone = _is(_plan().if_, self.keys.head, head).absent(job).greater(self.keys.tail, head)
        is_gone = bool((yield Ask(gone.then.incr(self.keys.head).commit())))
        self.head += is_gone
        return is_gone

    def _taking(self, due: _If, number: int, worker: str, lease: str, place: str | None) -> _Then:
        held, job = self.keys.held_by(number), self.keys.job(number)
        plan = due.exists(job).then.set(held, worker, lease=lease).stat(held).get(job)
        plan.incr(self.keys.taken(number))
        return plan if place is None else plan.delete(place)

    # --- leases ----------------------------------------------------------------------------------

    def set_aside(self, lease: BaseLease[Any]) -> None:
        """Keep the lease of a job that is done for the next one."""
        timer = lease._set_aside()
        if timer is not None:
            self._spares.append((os.getpid(), timer))

    def spare_for(self, lease: BaseLease[Any]) -> LeaseTimer | None:
        """Return a lease that this one can take over. The others expire, with no key under them."""
        while self._spares:
            try:
                process, timer = self._spares.pop()
            except IndexError:  # another thread took it
                return None
            if process == os.getpid() and lease._can_take_over(timer):
                return timer
        return None


class BaseQueue(Generic[Data]):
    """A queue for threads or for tasks."""

    def __init__(
        self,
        name: str,
        codec: Codec[Data],
        max_deliveries: int | None,
        client: Any,
        claim: Callable[..., Any],
    ) -> None:
        """`client` carries out the requests, and `claim` makes a take."""
        self.name = name
        self._state = QueueState(name, max_deliveries, codec)
        self._client = client
        self._claim = claim

    def _putting(self, value: Data) -> Claiming[int]:
        """Add a job. Callers of one client do so one after the other: each job has the next number,
        so all but one of them would write an entry in vain.

        Raises:
            TimedOut: others kept it waiting for the time limit of the client.
        """
        client = self._client
        turn = client.gates.line_up(self._state.keys.tail, 1)
        try:
            until_s = time.monotonic() + client.timeout
            if not (turn.is_admitted or (yield AwaitTurn(turn, until_s))):
                raise TimedOut(
                    f"other puts of this program into {self.name} got no answer within "
                    f"{client.timeout:g} s, so nothing was sent"
                )
            return (yield from self._state.put(value))
        finally:
            turn.leave()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class BaseJob(BaseHeld[Leased], Generic[Leased, Data]):
    """A job that was taken: its value, and its end."""

    def __init__(self, state: QueueState[Data], lease: Leased, worker: str, job: Delivery) -> None:
        super().__init__(state.keys, lease, state.keys.held_by(job.number), job.token)
        self.number = job.number
        self.value: Data = state.codec.of(job.value)
        self.deliveries = job.deliveries
        self._state = state

    def _finishing(self, txn: Operations[Any, Any] | None) -> Steps[Outcome[Any]]:
        """Remove the job, with the operations of a transaction in the same step.

        Raises:
            LeaseLost: the job is not held any more; nothing was done.
            RuntimeError: it is done or released already.
            ValueError: the transaction has operations after `else_`, or too many.
        """
        if self._is_released:
            raise RuntimeError(f"job {self.number} of {self.name} is done or released already")
        plan = _end_of(self._state.keys, self.number, self._token, txn)
        outcome = yield Ask(plan.call)
        if outcome:
            self._is_released = True
            self._state.set_aside(self._lease)
            return Outcome(True, outcome.results[: -len(_ENDED)], plan.codec.kind)
        if is_of(outcome.stat(0), self._token):
            return Outcome(False, [], plan.codec.kind)
        self._lease._lose()
        raise LeaseLost(
            f"job {self.number} of {self.name} is not held any more, so it is not done by this "
            "worker; nothing was done"
        )


class TakeSteps(Generic[Data, SomeJob]):
    """One take, as a claim (`claims.py`)."""

    _state: QueueState[Data]
    _held_class: type[SomeJob]
    _line: Line | None = None  # as its watch reports it
    _place: str | None = None  # its own place in line
    _is_listed = False  # whether the watch has reported that place
    _passes = False  # whether it takes a job that a worker before it has left alone
    _is_polite = True  # whether it leaves jobs to the workers in line
    # of BaseClaim
    _make_lease: Any
    _now: Any
    _on_lost: Any
    _value: str
    _watching: Any
    _dropping: Any

    def _claiming(self, attempt: Attempt[Any], worker: str, wait: Wait) -> Claiming[SomeJob | None]:
        """Return a job, waiting in line for one until the time is over."""
        self._is_polite, self._place, self._is_listed = not wait.is_once, None, False
        self._passes = False
        while True:
            if self._now() >= self._state.sweep_due_s:
                self._state.sweep_due_s = self._now() + SWEEP_S
                yield from self._state.sweep()
            try:
                job = yield from self._trying(attempt, worker)
                if job is not None:
                    return job
                self._set_aside(attempt)
            except LeaseLost:  # before it took a job
                yield from self._leaving_line(attempt)
            if wait.is_once or self._now() >= wait.until_s:
                return None
            yield from self._waiting(attempt, worker, wait)

    def _trying(self, attempt: Attempt[Any], worker: str) -> Claiming[SomeJob | None]:
        """Return a job if there is one for this worker."""
        state, line, place = self._state, self._line, self._place
        if line is not None and place is not None:
            state.head, state.tail = line.ends
        elif state.head >= state.tail:
            yield from state.waiting()
        is_next = state.head < state.tail
        if line is not None and place is not None:
            is_next = is_next and (line.first == place or self._passes)
            self._passes = False
        if not (is_next or state.lost):
            return None
        if attempt.lease is None:
            yield from self._granting(attempt)
        lease: Any = attempt.lease
        delivery = yield from state.again(worker, lease.id, place)
        if delivery is None and is_next:
            is_polite = self._is_polite and place is None
            delivery = yield from state.next(worker, lease.id, place, is_polite)
        if delivery is None:
            return None
        if not lease._begin_holding(self._on_lost):
            raise LeaseLost(f"{lease} ended as it took a job")
        make: Any = self._held_class
        job: SomeJob = make(state, lease, worker, delivery)
        return job

    def _granting(self, attempt: Attempt[Any], *, is_new: bool = False) -> Claiming[str]:
        """Acquire a lease, or take over a spare one unless it has to be new."""
        attempt.lease = lease = self._make_lease()
        spare = None if is_new else self._state.spare_for(lease)
        name: str = yield from lease._granting(spare)
        return name

    def _set_aside(self, attempt: Attempt[Any]) -> None:
        """Keep the lease of a try that took no job, unless a place in line is under it."""
        if attempt.lease is not None and self._place is None:
            self._state.set_aside(attempt.lease)
            attempt.lease = None

    def _waiting(self, attempt: Attempt[Any], worker: str, wait: Wait) -> Claiming[None]:
        """Wait until this worker is first in line and there is a job, at most until the next
        sweep."""
        begun_s = self._now()
        until_s = min(wait.until_s, begun_s + SWEEP_S)
        try:
            yield from self._joining_line(attempt, worker, until_s)
            yield from self._following_line(attempt, until_s)
        except TooManyWatches:
            self._is_polite = False  # it can't see when its turn comes
            attempt.hang_up()
            yield Pause(until_s)
        except LeaseLost:
            yield from self._leaving_line(attempt)

    def _joining_line(self, attempt: Attempt[Any], worker: str, until_s: float) -> Claiming[None]:
        """Take the last place in line, once a watch has listed the others."""
        if attempt.watch is None:
            self._line = Line(self._state.keys)
            attempt.watch = self._watching(self._state.keys.line)
        assert self._line is not None, "it is made with the watch"
        while not attempt.watch.is_listed:
            if not (yield Look(attempt.watch, until_s)):
                return
            self._line.apply(attempt.watch._take_ready())
        if self._place is None:
            name = yield from self._granting(attempt, is_new=True)  # with the last number
            place = self._state.keys.place(name)
            yield Ask(CALLS.set(place, worker, lease=name))
            self._place = place

    def _leaving_line(self, attempt: Attempt[Any]) -> Claiming[None]:
        self._place, self._is_listed = None, False
        yield from self._dropping(attempt)

    def _following_line(self, attempt: Attempt[Any], until_s: float) -> Claiming[None]:
        """Follow the line. If the first worker leaves a job alone all the time, pass it over."""
        watch, line, begun_s = attempt.watch, self._line, self._now()
        assert line is not None, "it is made with the watch"
        stall = line.stall
        while (yield Look(watch, until_s)):
            line.apply(watch._take_ready())
            waiting = line.stall
            if waiting is not None and waiting[1] == self._place and watch.is_listed:
                return
            is_listed = line.has(self._place)
            if self._is_listed and not is_listed:
                yield from self._leaving_line(attempt)  # another worker has passed it over
                return
            self._is_listed = is_listed
        if watch._is_closed:
            raise Closed(f"this client was closed, so no job of {self._state.keys.name} was taken")
        if stall is not None and stall == line.stall and self._now() >= begun_s + PASS_S:
            self._passes = bool((yield Ask(CALLS.delete(stall[1]))))


_ENDED = ("held", "taken", "job")  # the keys that the end of a job deletes


def _end_of(
    keys: QueueKeys, number: int, token: int, txn: Operations[Any, Any] | None
) -> Plan[Any]:
    """Return the transaction that ends a job, after the operations of the program."""
    held = keys.held_by(number)
    own = Plan(TEXT)
    then = Conditions(own, itself).unchanged(held, token).then
    then.delete(held).delete(keys.taken(number)).delete(keys.job(number)).else_.stat(held)
    if txn is None:
        return own
    theirs: Any = getattr(txn, "_plan", None)
    if not isinstance(theirs, Plan) or not theirs.branches["then"]:
        raise TypeError("done takes a transaction that is not committed: kv.txn().then.set(…)")
    if theirs.branches["else"]:
        raise ValueError("a transaction of done has no operations after else_")
    for given, of_end, what, why in (
        (theirs.branches["then"], own.branches["then"], "operations", "end the job"),
        (theirs.conditions, own.conditions, "conditions", "says that the job is held"),
    ):
        room = TRANSACTION_ITEMS - len(of_end)
        if len(given) > room:
            raise ValueError(
                f"done takes up to {room} {what}, not {len(given)}: {len(of_end)} {why}"
            )
    merged: Plan[Any] = Plan(theirs.codec)
    merged.conditions = [*theirs.conditions, *own.conditions]
    merged.leases = set(theirs.leases)
    for branch in ("then", "else"):
        merged.branches[branch] = [*theirs.branches[branch], *own.branches[branch]]
        merged.readers[branch] = [*theirs.readers[branch], *own.readers[branch]]
    return merged


def _delivery(number: int, outcome: Outcome[str]) -> Delivery:
    stat = outcome.stat(1)
    assert stat is not None, "the key was set in the same step"
    return Delivery(number, stat.index, outcome.value(2) or "", outcome.number(3))


def _plan() -> Transaction[str, Call[Outcome[str]]]:
    return Transaction(TEXT, itself)


def _is(conditions: _If, key: str, number: int) -> _If:
    """Require that a counter has this number; an absent counter has 0."""
    return conditions.equal(key, str(number)) if number else conditions.absent(key)


def _pairs_under(prefix: str) -> Steps[list[tuple[str, str]]]:
    pairs: list[tuple[str, str]] = []
    after, is_last = "", False
    while not is_last:
        page = yield Ask(CALLS.page(prefix, after))
        pairs += page.pairs
        after, is_last = page.after, page.is_last
    return pairs


def _counts_under(prefix: str) -> Steps[dict[int, int]]:
    """Return the number in each numbered key under a prefix, in the order of the keys."""
    pairs = yield from _pairs_under(prefix)
    return {number: int(count) for number, count in _numbered(prefix, pairs)}


def _numbers_under(prefix: str) -> Steps[Collection[int]]:
    pairs = yield from _pairs_under(prefix)
    return {number for number, _ in _numbered(prefix, pairs)}


def _numbered(prefix: str, pairs: list[tuple[str, str]]) -> Iterator[tuple[int, str]]:
    for key, value in pairs:
        digits = key.removeprefix(prefix)
        if digits.isdecimal():
            yield int(digits), value
