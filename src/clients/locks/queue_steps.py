"""A queue of jobs: its keys, and its operations as machines. Threads and tasks share this code.

Jobs are numbered, so that no operation lists the jobs. The keys of a queue, under `queue/NAME/`:

* `tail` has the number of the last job. `head` has the number of the last job that was delivered
  for the first time, so the jobs between the two wait. A put and a first delivery are one
  transaction each, on the condition that `tail` or `head` has not changed.
* `jobs/NUMBER` has the value of a job until it is done.
* `taken/NUMBER` has the count of its deliveries, and `held/NUMBER` the name of its worker, under
  the lease of that worker. The index of the entry that set `held` is the fencing token. If a job is
  taken and not held, its worker has died or gave it back, and it is delivered again.
* `dead/NUMBER` has the count of deliveries of a job that is not delivered any more.
* `sweep` exists for a second after a worker has looked for jobs that are taken and not held. So all
  workers together list the taken jobs once a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from ...common.public import public
from ..calls.calls import CALLS, Ask, Call, Steps, whole
from ..calls.kv_errors import LeaseLost, TooManyWatches
from ..calls.transaction import Conditions, Operations, Outcome, Plan, Transaction, itself
from ..calls.value_codec import TEXT, Codec, Data
from ..calls.wait_times import Wait
from ..requests.node_connection import Closed
from .claims import Attempt, Claiming, Look, Pause
from .contest import LockKeys, LockProtocol
from .held import BaseHeld, Leased, is_of

QUEUES = "queue"
SWEEP_S = 1  # between two looks for jobs that are taken and not held
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
        self.head, self.tail, self.sweep_mark = (
            f"{self.prefix}{each}" for each in ("head", "tail", "sweep")
        )

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
    """The answer to a request for a job: the job, or no job and the current `head`."""

    number: int
    token: int = 0
    value: str | None = None


class QueueState(Generic[Data]):
    """What the takes of one queue object share. Any thread may use it."""

    def __init__(self, name: str, max_deliveries: int | None, codec: Codec[Data]) -> None:
        if max_deliveries is not None and whole(max_deliveries) < 1:
            raise ValueError(f"a job is delivered at least once, not {max_deliveries} times")
        self.keys = QueueKeys(name)
        self.max_deliveries = max_deliveries
        self.codec = codec
        self.lost: deque[tuple[int, int]] = deque()  # taken and not held: number, deliveries
        self.tail = 0  # a guess
        self.sweep_due_s = 0.0

    # --- requests --------------------------------------------------------------------------------

    def put(self, value: Data) -> Steps[int]:
        """Add a job at the end; return its number."""
        text = self.codec.text(value)
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
        head, tail = yield from self.ends()
        return tail - head

    def ends(self) -> Steps[tuple[int, int]]:
        """Return the numbers of the job delivered last for the first time, and of the last job."""
        head = int((yield Ask(CALLS.get(self.keys.head))) or 0)
        return head, int((yield Ask(CALLS.get(self.keys.tail))) or 0)

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
        """Find the jobs that are taken and not held, unless a worker did so within a second."""
        mark = self.keys.sweep_mark
        if (yield Ask(CALLS.exists(mark))):
            return
        if not (yield Ask(CALLS.setnx(mark, "1", ttl=SWEEP_S))):
            return
        taken = yield from _counts_under(self.keys.taken())
        if taken:
            held = yield from _numbers_under(self.keys.held_by())
            self.lost = deque((each, taken[each]) for each in taken if each not in held)

    def again(self, worker: str, lease: str) -> Steps[tuple[Delivery, int] | None]:
        """Deliver a lost job again, and return it with the count of its deliveries. A job without
        deliveries left is dead."""
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
            outcome = yield Ask(self._taking(lost, number, worker, lease).commit())
            if outcome:
                return self._delivery(number, outcome), count + 1
        return None

    def first(self, head: int, worker: str, lease: str) -> Steps[Delivery]:
        """Deliver the job after `head`. Without a value, another worker was faster, or the job was
        deleted; then the number is that of the current head."""
        number, job = head + 1, self.keys.job(head + 1)
        due = _is(_plan().if_, self.keys.head, head)
        taking = self._taking(due, number, worker, lease).incr(self.keys.head)
        outcome = yield Ask(taking.else_.get(self.keys.head).commit())
        if outcome:
            return self._delivery(number, outcome)
        current = int(outcome.value(0) or 0)
        if current == head:
            gone = _is(_plan().if_, self.keys.head, head).absent(job).greater(self.keys.tail, head)
            skipped = yield Ask(gone.then.incr(self.keys.head).commit())
            return Delivery(head + 1 if skipped else head)
        return Delivery(current)

    def _taking(self, due: _If, number: int, worker: str, lease: str) -> _Then:
        held, job = self.keys.held_by(number), self.keys.job(number)
        plan = due.exists(job).then.set(held, worker, lease=lease).stat(held).get(job)
        return plan.incr(self.keys.taken(number))

    def _delivery(self, number: int, outcome: Outcome[str]) -> Delivery:
        stat = outcome.stat(1)
        assert stat is not None
        return Delivery(number, stat.index, outcome.value(2) or "")


class BaseQueue(Generic[Data]):
    """A queue for threads or for tasks."""

    def __init__(
        self,
        name: str,
        codec: Codec[Data],
        max_deliveries: int | None,
        ask: Callable[..., Any],
        claim: Callable[..., Any],
    ) -> None:
        self.name = name
        self._state = QueueState(name, max_deliveries, codec)
        self._ask = ask
        self._claim = claim

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class BaseJob(BaseHeld[Leased], Generic[Leased, Data]):
    """A job that was taken: its value, and its end."""

    def __init__(
        self, state: QueueState[Data], lease: Leased, worker: str, job: Delivery, deliveries: int
    ) -> None:
        contest = LockProtocol(state.keys, str(lease), worker)
        contest.key = state.keys.held_by(job.number)
        super().__init__(state.keys, lease, contest, job.token)
        self.number = job.number
        self.value: Data = state.codec.of(job.value or "")
        self.deliveries = deliveries
        self._state = state

    def _finishing(self, txn: Operations[Any, Any] | None) -> Steps[Outcome[Any]]:
        """Remove the job, with the operations of a transaction in the same step.

        Raises:
            LeaseLost: the job is not held any more; nothing was done.
            RuntimeError: it is done or released already.
            ValueError: the transaction has operations after else_.
        """
        if self._is_released:
            raise RuntimeError(f"job {self.number} of {self.name} is done or released already")
        plan = _end_of(self._state.keys, self.number, self._token, txn)
        outcome = yield Ask(plan.call)
        if outcome:
            self._is_released = True
            yield from self._lease._dropping()
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
    # of BaseClaim
    _make_lease: Any
    _now: Any
    _on_lost: Any
    _value: str
    _watching: Any
    _dropping: Any

    def _claiming(self, attempt: Attempt[Any], worker: str, wait: Wait) -> Claiming[SomeJob | None]:
        """Return a job, waiting for one until the time is over."""
        while True:
            if self._now() >= self._state.sweep_due_s:
                self._state.sweep_due_s = self._now() + SWEEP_S
                yield from self._state.sweep()
            job = yield from self._trying(attempt, worker)
            if job is not None or wait.is_once or self._now() >= wait.until_s:
                return job
            yield from self._dropping(attempt)
            yield from self._waiting(attempt, wait)

    def _trying(self, attempt: Attempt[Any], worker: str) -> Claiming[SomeJob | None]:
        """Return a job if there is one."""
        state = self._state
        while True:
            head, tail = yield from state.ends()
            if head >= tail and not state.lost:
                return None
            try:
                yield from self._dropping(attempt)
                attempt.lease = lease = self._make_lease()
                name = yield from lease._granting()
                found = yield from self._delivered(head, tail, worker, name)
                if found is None:
                    return None
                if lease._begin_holding(self._on_lost):
                    make: Any = self._held_class
                    job: SomeJob = make(state, lease, worker, *found)
                    return job
            except LeaseLost:
                pass  # the lease ended before the job was taken

    def _delivered(
        self, head: int, tail: int, worker: str, lease: str
    ) -> Steps[tuple[Delivery, int] | None]:
        again = yield from self._state.again(worker, lease)
        if again is not None:
            return again
        while head < tail:
            delivery = yield from self._state.first(head, worker, lease)
            if delivery.value is not None:
                return delivery, 1
            if delivery.number == head:
                return None
            head = delivery.number
        return None

    def _waiting(self, attempt: Attempt[Any], wait: Wait) -> Claiming[None]:
        """Wait for a new job, at most until the next sweep."""
        until_s = min(wait.until_s, self._now() + SWEEP_S)
        try:
            if attempt.watch is None:
                attempt.watch = self._watching(self._state.keys.tail)
            if (yield Look(attempt.watch, until_s)):
                attempt.watch._take_ready()
        except TooManyWatches:
            attempt.hang_up()
            yield Pause(until_s)
            return
        if attempt.watch._is_closed:
            raise Closed(f"this client was closed, so no job of {self._state.keys.name} was taken")


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
    merged: Plan[Any] = Plan(theirs.codec)
    merged.conditions = [*theirs.conditions, *own.conditions]
    merged.leases = set(theirs.leases)
    for branch in ("then", "else"):
        merged.branches[branch] = [*theirs.branches[branch], *own.branches[branch]]
        merged.readers[branch] = [*theirs.readers[branch], *own.readers[branch]]
    return merged


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
