"""A queue of jobs: its keys, and its operations as machines. Threads and tasks share this code.

Each operation is one entry of the state machine (`enqueue`, `dequeue`, `requeue`), so no operation
lists the jobs; recipes-as-entries.md has the keys. A take is a claim under the lease
that the client keeps (`kept_leases.py`). If there is no job, the claim gets a place in line, and a
watch tells it which job was handed to it; until then it only renews its lease. Jobs that a
take may have got without an answer are taken back, so that none stays with a program that does not
know of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from raftline.clients.calls.calls import CALLS, Ask, Call, Steps, lease_ms, whole
from raftline.clients.calls.kv_errors import LeaseLost, TooManyWatches
from raftline.clients.calls.transaction import (
    Conditions,
    Operations,
    Outcome,
    Transaction,
    TransactionPlan,
    itself,
)
from raftline.clients.calls.value_codec import TEXT, Codec, Data
from raftline.clients.calls.wait_times import Wait, seconds_to_wait
from raftline.clients.connections.node_connection import Closed
from raftline.clients.requests.times import Seconds
from raftline.common.public import public
from raftline.wire.commands.transaction_line import format_word
from raftline.wire.limits import JOBS_MAX, TRANSACTION_ITEMS

from ..locks.claim_steps import Claiming, Look, Pause, Shielded
from ..locks.claims import CHECK_S, POLL_S, RELEASE_S, Attempt, BaseClaim
from ..locks.held import BaseHeld, Leased, is_of
from ..locks.lock_keys import LockKeys
from ..locks.recipe_calls import (
    Delivery,
    Dequeued,
    dequeue,
    ending,
    enqueue,
    requeue,
    taking_over,
)

QUEUES = "queue"
DELIVERIES = 10  # by default
DELIVERIES_MAX = 999_999_999
IDLE_S = 3.0  # of the lease of a place in line
_DIGITS = 19  # so that the keys are in the order of the numbers


@public("raftline.api")
@dataclass(frozen=True)
class DeadJob:
    """A job that was delivered as often as the queue allows, and never done."""

    number: int
    value: Any
    deliveries: int


class QueueKeys(LockKeys):
    """The keys of one queue."""

    limit = None

    def __init__(self, name: str) -> None:
        """Name the keys. Raises TypeError, ValueError if the name can't be a part of a key."""
        super().__init__(QUEUES, name)
        self.waiting = f"{self.prefix}wait/"
        self.dead = f"{self.prefix}dead/"

    def job(self, number: int) -> str:
        return f"{self.prefix}jobs/{number:0{_DIGITS}}"

    def dead_job(self, number: int) -> str:
        return f"{self.dead}{number:0{_DIGITS}}"

    def held_by(self, claim: str) -> str:
        """Return what the keys of the jobs begin with that a claim holds."""
        return f"{self.held}{claim}/"

    def held_job(self, claim: str, number: int) -> str:
        return f"{self.held_by(claim)}{number:0{_DIGITS}}"


class BaseQueue(Generic[Data]):
    """A queue for threads or for tasks: the requests that need no claim."""

    def __init__(
        self,
        name: str,
        codec: Codec[Data],
        max_deliveries: int | None,
        client: Any,
        claim: Callable[..., Any],
    ) -> None:
        """`client` carries out the requests, and `claim` makes a take."""
        if max_deliveries is not None and not 1 <= whole(max_deliveries) <= DELIVERIES_MAX:
            raise ValueError(
                f"a job is delivered 1 to {DELIVERIES_MAX} times at most, not {max_deliveries}; "
                "None is no limit"
            )
        self.name = name
        self._keys = QueueKeys(name)
        self._deliveries_max = max_deliveries or 0
        self._codec = codec
        self._client = client
        self._claim = claim
        self._seems_empty = True  # the last take found no job

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def _take(self, kind: type[Any], ttl: Seconds, on_lost: Callable[[], object] | None) -> Any:
        take = self._claim(kind, self._keys, ttl, on_lost)
        take._queue = self
        return take

    def _dequeue(
        self,
        jobs_max: int,
        claim: str,
        words: Sequence[str] = (),
        *,
        now: bool = False,
        waits_as: str = "",
    ) -> Call[Dequeued]:
        prefix, most = self._keys.prefix, self._deliveries_max
        return dequeue(prefix, jobs_max, most, claim, words, now=now, waits_as=waits_as)

    def _putting(self, value: Data) -> Steps[int]:
        """Add a job at the end of the queue; return its number.

        Raises:
            Unreachable, NoLeader: no node served in time; the job was not added.
            OutcomeUnknown: the job may have been added.
            NotAllowed, Refused: the user may not write here, or the cluster takes no new keys.
        """
        number: int = yield Ask(enqueue(self._keys.prefix, self._codec.text(value)))
        return number

    def _put_operation(self, value: Data) -> str:
        """Return the operation of a transaction that adds a job."""
        return f"enqueue {format_word(self._keys.prefix)} {format_word(self._codec.text(value))}"

    def _waiting(self) -> Steps[int]:
        """Return how many jobs wait. This reads their keys, a thousand with each request."""
        count = 0
        after, is_last = "", False
        while not is_last:
            page = yield Ask(CALLS.page(self._keys.waiting, after))
            count += len(page.pairs)
            after, is_last = page.after, page.is_last
        return count

    def _dead(self) -> Steps[list[DeadJob]]:
        """Return the jobs that were delivered `max_deliveries` times and never done."""
        jobs = []
        after, is_last = "", False
        while not is_last:
            page = yield Ask(CALLS.page(self._keys.dead, after))
            for key, deliveries in page.pairs:
                number = int(key.removeprefix(self._keys.dead))
                value = yield Ask(CALLS.get(self._keys.job(number)))
                if value is not None:
                    jobs.append(DeadJob(number, self._codec.of(value), int(deliveries)))
            after, is_last = page.after, page.is_last
        return jobs

    def _retrying(self, number: int) -> Steps[bool]:
        """Deliver a dead job again, as if it had not been delivered yet; return whether it was
        dead."""
        if whole(number) < 1:
            return False
        was_dead: bool = yield Ask(requeue(self._keys.prefix, number))
        return was_dead

    def _discarding(self, number: int) -> Steps[bool]:
        """Delete a dead job; return whether it was dead."""
        dead = self._keys.dead_job(whole(number))
        then = Transaction(TEXT, itself).if_.exists(dead).then.delete(dead)
        return bool((yield Ask(then.delete(self._keys.job(number)).commit())))

    # --- the ends of jobs ------------------------------------------------------------------------

    def _checked(self, jobs: Iterable[Any]) -> list[BaseJob[Any, Any]]:
        """Return jobs that were taken from this queue. Raises TypeError, ValueError."""
        each: list[BaseJob[Any, Any]] = []
        for job in jobs:
            if not isinstance(job, BaseJob):
                raise TypeError(f"a job is what take returns, not {type(job).__name__}")
            if job._queue._keys.prefix != self._keys.prefix:
                raise ValueError(f"{job} is not a job of {self._keys.name}")
            each.append(job)
        return list(dict.fromkeys(each))

    def _ending(self, jobs: Iterable[BaseJob[Any, Any]]) -> Steps[None]:
        """Remove jobs, with one request for those that were taken together.

        Raises:
            LeaseLost: some are not held any more; the others are done.
            OutcomeUnknown: some may be done; those that are not are delivered again.
            RuntimeError: one is done or released already; nothing was done.
        """
        checked = self._checked(jobs)
        for job in checked:
            job._expect_open()
        yield from self._ending_all(checked)

    def _giving_back(self, jobs: Iterable[BaseJob[Any, Any]]) -> Steps[None]:
        """Give back those of the jobs that are neither done nor released. Raises LeaseLost if some
        were lost."""
        open_jobs = [job for job in self._checked(jobs) if not job._is_released]
        for job in open_jobs:
            job._lease._granted()  # raises RuntimeError in a forked process
        yield from self._ending_all(open_jobs, is_back=True)

    def _ending_all(
        self, jobs: Sequence[BaseJob[Any, Any]], *, is_back: bool = False
    ) -> Steps[None]:
        lost = []
        for group in _of_one_claim(jobs):
            lost += yield from self._ending_together(group, is_back)
        if lost:
            raise self._not_held(lost)

    def _ending_together(
        self, jobs: Sequence[BaseJob[Any, Any]], is_back: bool
    ) -> Steps[list[BaseJob[Any, Any]]]:
        """Send one request; return the jobs that are not held any more."""
        lease, words = jobs[0]._lease, [job._ending_word(is_back=is_back) for job in jobs]
        call = self._dequeue(0, jobs[0]._claim_name, words)
        for job in jobs:
            job._is_released = True
            if is_back:  # as it may be delivered again before the answer arrives
                job._lease._give_up()
        try:
            if lease._is_here:
                answer = yield from lease._giving(call)
            else:
                answer = yield Ask(call)
        except LeaseLost:
            lease._lose_all()
            return list(jobs)
        except BaseException:
            for job in jobs:
                job._lease._give_up()
            raise
        return settled(jobs, answer.ended, is_done=not is_back)

    def _not_held(self, jobs: Sequence[BaseJob[Any, Any]]) -> LeaseLost:
        """Return the error for jobs that their worker wanted to end."""
        numbers = ", ".join(str(job.number) for job in jobs)
        if len(jobs) > 1:
            return LeaseLost(
                f"jobs {numbers} of {self._keys.name} are not held any more, so they are not done "
                "by this worker"
            )
        return LeaseLost(
            f"job {numbers} of {self._keys.name} is not held any more, so it is not done by this "
            "worker; nothing was done"
        )


def _of_one_claim(jobs: Iterable[BaseJob[Any, Any]]) -> Iterator[list[BaseJob[Any, Any]]]:
    """Yield the jobs of each claim, as many as one request ends."""
    groups: dict[str, list[BaseJob[Any, Any]]] = {}
    for job in jobs:
        groups.setdefault(job._claim_name, []).append(job)
    for group in groups.values():
        for begin in range(0, len(group), JOBS_MAX):
            yield group[begin : begin + JOBS_MAX]


class BaseJob(BaseHeld[Leased], Generic[Leased, Data]):
    """A job that was taken: its value, and its end."""

    def __init__(
        self,
        queue: BaseQueue[Data],
        lease: Leased,
        job: Delivery,
        mates: set[BaseJob[Any, Any]],
    ) -> None:
        """`mates` are the jobs that the same claim holds."""
        self._claim_name = lease._claim_name
        super().__init__(
            queue._keys, lease, queue._keys.held_job(self._claim_name, job.number), job.token
        )
        self.number = job.number
        self.value: Data = queue._codec.of(job.value)
        self.deliveries = job.deliveries
        self._queue = queue
        self._is_done = False
        self._mates = mates
        mates.add(self)

    @property
    def is_done(self) -> bool:
        """Whether the cluster has answered that this worker has ended the job."""
        return self._is_done

    def _ending_word(self, *, is_back: bool = False) -> str:
        return ending(self.number, self._token, is_back=is_back)

    def _expect_open(self) -> None:
        if self._is_released:
            raise RuntimeError(f"job {self.number} of {self.name} is done or released already")

    def _finishing(self, txn: Operations[Any, Any] | None) -> Steps[Outcome[Any]]:
        """Remove the job, with the operations of a transaction in the same step.

        Raises:
            LeaseLost: the job is not held any more; nothing was done.
            RuntimeError: it is done or released already.
            ValueError: the transaction has operations after `else_`, or too many.
        """
        self._expect_open()
        if txn is None:
            yield from self._queue._ending([self])
            return Outcome(True, [], self._queue._codec.kind)
        plan = _end_of(self._queue._keys.job(self.number), self._key, self._token, txn)
        outcome = yield Ask(plan.call)
        if outcome:
            self._is_released = True
            settled([self], [self.number])
            return Outcome(True, outcome.results[: -len(_ENDED)], plan.codec.kind)
        if is_of(outcome.stat(0), self._token):
            return Outcome(False, [], plan.codec.kind)
        self._lease._lose()
        raise self._queue._not_held([self])

    def _releasing(self) -> Steps[None]:
        """Give it back.

        Raises:
            LeaseLost: it was lost.
            RuntimeError: it is done or released already, or held by the process that forked.
        """
        self._expect_open()
        self._lease._held()
        yield from self._queue._giving_back([self])


def settled(
    jobs: Iterable[BaseJob[Any, Any]], ended: Collection[int], *, is_done: bool = True
) -> list[BaseJob[Any, Any]]:
    """Record which jobs a request has ended or given back; return the others, which are lost."""
    lost = []
    for job in jobs:
        job._mates.discard(job)
        if job.number in ended:
            job._is_done = is_done
            job._lease._give_up()
        else:
            job._lease._lose()
            lost.append(job)
    return lost


class TakeAttempt(Attempt[Leased]):
    """One take, from the call to its end."""

    waiter: Leased | None = None  # the claim that waits in line, unless that is the claim itself
    has_tried = False

    def __init__(self, jobs_max: int) -> None:
        self.jobs_max = jobs_max

    @property
    def in_line(self) -> Leased:
        """The claim that has the place in line."""
        claim = self.waiter or self.lease
        assert claim is not None, "an attempt in line has a claim"
        return claim


class TakeSteps(BaseClaim[Leased, Any], Generic[Leased, Data]):
    """One take, as a claim (`claims.py`): the claim of one `dequeue`, which gets jobs at once, or a
    place in line.

    The place belongs to another claim, whose lease is short, and which gets the next job; the take
    then takes it over. So a worker that was killed in line keeps a job from the others for a few
    seconds, and not for the whole time of its jobs."""

    _queue: BaseQueue[Data]
    _keys: QueueKeys
    _held_class: Any

    def _taking(
        self, jobs_max: int, timeout: Seconds | None, done: Iterable[Any] = ()
    ) -> Claiming[list[Any]]:
        """Return up to so many jobs as soon as there is one, none if the time is over first. End
        others before, by the same request if they are all that one claim holds.

        Raises:
            LeaseLost: some of those are not held any more; the others are done, and no job is
                taken.
            RuntimeError: one of those is done or released already; nothing was done.
            ValueError: the number is not 1 to 256.
        """
        if not 1 <= whole(jobs_max) <= JOBS_MAX:
            raise ValueError(f"a worker takes 1 to {JOBS_MAX} jobs at a time, not {jobs_max}")
        wait = Wait.of(seconds_to_wait(timeout, -1), self._now())
        jobs = self._queue._checked(done)
        for job in jobs:
            job._expect_open()
        attempt: TakeAttempt[Any] = TakeAttempt(jobs_max)
        if not self._can_end_along(jobs):
            yield from self._queue._ending(jobs)
        else:
            taken = yield from self._exchanging(attempt, jobs, wait)
            if taken or wait.is_once:
                if not taken:
                    yield from self._dropping(attempt)
                return taken
        return (yield from self._acquiring("", timeout, -1, attempt)) or []

    def _can_end_along(self, jobs: Sequence[BaseJob[Any, Any]]) -> bool:
        """Return whether one request may end these jobs and take others: they are all that one
        claim of this client holds, so what is in doubt afterwards may be taken back as a whole."""
        lease = jobs[0]._lease if jobs else None
        return (
            lease is not None
            and len(jobs) <= JOBS_MAX
            and set(jobs) == jobs[0]._mates
            and lease._shares_with(self._make_lease())
        )

    def _exchanging(
        self, attempt: TakeAttempt[Any], jobs: Sequence[BaseJob[Any, Any]], wait: Wait
    ) -> Claiming[list[Any]]:
        """End jobs and take others, in one entry."""
        is_in_line = not wait.is_once and self._keeps_line_lease
        if is_in_line:
            is_in_line = yield from self._joining_line(attempt, wait.until_or_none_s)
        attempt.lease = lease = self._make_lease()
        lease._sharing(jobs[0]._lease)
        for job in jobs:
            job._is_released = True
        try:
            words = [job._ending_word() for job in jobs]
            answer = yield from self._dequeuing(attempt, words, now=not is_in_line)
            lost = settled(jobs, answer.ended)
            if lost:
                raise self._queue._not_held(lost)
        except GeneratorExit:  # nobody carries out a further step
            raise
        except BaseException:
            for job in jobs:
                job._lease._give_up()
            yield Shielded(self._limits(wait).keep(self._giving_up(attempt), RELEASE_S))
            raise
        try:
            return self._made_jobs(attempt, answer.jobs)
        except LeaseLost:  # after those were done
            return []

    def _trying(self, attempt: Any, value: str, wait: Wait) -> Claiming[Any]:
        """Return jobs, waiting in line for one until the time is over."""
        taken = yield from self._getting(attempt, wait)
        jobs = None if taken is None else self._made_jobs(attempt, taken)
        if jobs == []:
            raise LeaseLost(f"the jobs of {self.name} were gone before the claim got one")
        return jobs

    def _made_jobs(self, attempt: TakeAttempt[Any], deliveries: Sequence[Delivery]) -> list[Any]:
        """Return the jobs that were delivered to a claim, each with an end of its own. Raises
        LeaseLost if its lease has ended."""
        make = self._held_class
        mates: set[BaseJob[Any, Any]] = set()
        lease: Any = attempt.lease
        if deliveries and not lease._begin_holding(self._on_lost):
            raise LeaseLost(f"{lease} ended as it took jobs")
        jobs: list[Any] = [make(self._queue, lease, each, mates) for each in deliveries[:1]]
        with contextlib.suppress(LeaseLost):  # then the first job is lost as well
            for delivery in deliveries[1:]:
                own = self._make_lease()
                own._sharing(lease)
                own._begin_holding(self._on_lost)
                jobs.append(make(self._queue, own, delivery, mates))
        return jobs

    def _getting(
        self, attempt: TakeAttempt[Any], wait: Wait
    ) -> Claiming[Sequence[Delivery] | None]:
        """Take jobs that are there, or wait in line; return None if the time is over. A single try
        reads first if the last one found nothing, since a read is not an entry."""
        if attempt.place is None:
            if wait.is_once and self._queue._seems_empty:
                page = yield Ask(CALLS.page(self._keys.waiting))
                if not page.pairs:
                    return None
            attempt.lease = lease = self._make_lease()
            once_s = self._now() + self._client.timeout
            until_s = once_s if wait.is_once else wait.until_or_none_s
            if (yield from lease._joining(self._keys.giving_up, until_s)) is None:
                return None
            tries = wait.is_once or not (attempt.has_tried or self._keeps_line_lease)
            if not (tries or (yield from self._joining_line(attempt, until_s))):
                return None
            answer = yield from self._dequeuing(attempt, now=tries)
            if tries and not (answer.jobs or wait.is_once):
                if not (yield from self._joining_line(attempt, until_s)):
                    return None
                answer = yield from self._dequeuing(attempt)
            if attempt.place is None:
                return None if wait.is_once and not answer.jobs else answer.jobs
        attempt.watch = self._watching(self._keys.held_by(attempt.in_line._claim_name))
        try:
            return (yield from self._awaiting_job(attempt, wait))
        except TooManyWatches:
            return (yield from self._polling_for_job(attempt, wait))

    @property
    def _keeps_line_lease(self) -> bool:
        """Whether a place in line costs no lease. If it does, a take first tries without one."""
        return lease_ms(self._ttl) <= 1000 * IDLE_S or self._make_lease(IDLE_S)._is_kept

    def _joining_line(self, attempt: TakeAttempt[Any], until_s: float | None) -> Claiming[bool]:
        """Begin the claim that waits in line; return whether it was in time. A take whose own time
        is as short waits itself."""
        if lease_ms(self._ttl) <= 1000 * IDLE_S:
            return True
        attempt.waiter = waiter = self._make_lease(IDLE_S)
        return (yield from waiter._joining(self._keys.giving_up, until_s)) is not None

    def _end_waiter(self, attempt: TakeAttempt[Any]) -> None:
        """End the claim that waited, which has nothing any more."""
        waiter, attempt.waiter = attempt.waiter, None
        if waiter is not None and not waiter._is_over:
            waiter._held().take_back = ""
            waiter._give_up()

    def _dequeuing(
        self, attempt: TakeAttempt[Any], ends: Sequence[str] = (), *, now: bool = False
    ) -> Claiming[Dequeued]:
        """Take jobs, or a place in line. A doubtful one is taken back at the end of the
        attempt."""
        lease, waiter = attempt.lease, attempt.waiter
        assert lease is not None, "a claim has a lease"
        waits_as = ""
        if waiter is not None:
            waits_as = waiter._claim_name
            waiter._held().begin_request()
        answer = yield from self._asking(attempt, attempt.jobs_max, ends, now=now, as_=waits_as)
        attempt.place, attempt.has_tried = answer.place, True
        self._queue._seems_empty = not answer.jobs
        if answer.place is None:
            self._end_waiter(attempt)
        if not answer.jobs and (answer.place is None or waiter is not None):
            lease._held().take_back = ""
        return answer

    def _asking(
        self,
        attempt: TakeAttempt[Any],
        jobs_max: int,
        words: Sequence[str],
        *,
        now: bool = False,
        as_: str = "",
    ) -> Claiming[Dequeued]:
        """Send a `dequeue` of the claim, which is taken back if its outcome stays unknown."""
        lease = attempt.lease
        assert lease is not None, "a claim has a lease"
        lease._held().begin_request()
        call = self._queue._dequeue(jobs_max, lease._claim_name, words, now=now, waits_as=as_)
        try:
            answer: Dequeued = yield Ask(call)
        except LeaseLost as lost:
            for each in (lease, attempt.waiter):
                if each is not None and str(lost).startswith(f"{each.id} "):
                    each._lose_all()
            raise
        return answer

    def _awaiting_job(
        self, attempt: TakeAttempt[Any], wait: Wait
    ) -> Claiming[Sequence[Delivery] | None]:
        """Wait until a watch reports a job of this claim. Look now and then whether its place in
        line is still there, since someone may delete the key."""
        watch, claims = attempt.watch, [attempt.in_line, attempt.lease]
        check_s = self._now() + CHECK_S
        while True:
            left_s = min(each.left for each in claims if each is not None)
            was_listed = watch.is_listed
            yield Look(watch, min(wait.until_s, check_s, self._now() + left_s))
            events = [event for event in watch._take_ready() if event.is_there]
            if watch._is_closed:
                raise Closed(f"this client was closed, so no job of {self._keys.name} was taken")
            for each in claims:
                if each is not None:
                    each._expect_held()
            if was_listed and len(events) == 1 == attempt.jobs_max and events[0].kind == "set":
                event = events[0]  # of a change, not of a listing, whose index is another one
                handed = [_handed(event.key, event.index, event.value)]
                return (yield from self._taking_over(attempt, handed))
            if events or self._now() >= check_s:
                check_s = self._now() + CHECK_S
                jobs = yield from self._looking(attempt)
                if jobs:
                    return jobs
            if self._now() >= wait.until_s:
                return (yield from self._leaving_late(attempt))

    def _polling_for_job(
        self, attempt: TakeAttempt[Any], wait: Wait
    ) -> Claiming[Sequence[Delivery] | None]:
        """Look once a second for a job of this claim, because no node serves a watch."""
        while self._now() < wait.until_s:
            attempt.in_line._expect_held()
            jobs = yield from self._looking(attempt)
            if jobs:
                return jobs
            yield Pause(min(wait.until_s, self._now() + POLL_S))
        return (yield from self._leaving_late(attempt))

    def _looking(self, attempt: TakeAttempt[Any]) -> Claiming[Sequence[Delivery]]:
        """Return the jobs that were handed to a claim in line; none if it still waits. Raises
        LeaseLost if someone has deleted its place, so that it begins again."""
        place = attempt.place
        assert place is not None, "a claim in line has a place"
        is_in_line = yield Ask(CALLS.exists(place))
        handed = yield from self._handed_to(attempt.in_line._claim_name)
        if not (is_in_line or handed):
            raise LeaseLost(f"{place} was deleted")
        return (yield from self._taking_over(attempt, handed)) if handed else []

    def _taking_over(
        self, attempt: TakeAttempt[Any], handed: Sequence[Delivery]
    ) -> Claiming[Sequence[Delivery]]:
        """Return the jobs that were handed to the claim in line, from now on those of the take.
        Raises LeaseLost if they were lost before."""
        waiter = attempt.waiter
        if waiter is None:
            return (yield from self._reading(handed))
        jobs: list[Delivery] = []
        while handed:  # some together may be too long for one reply
            words = [taking_over(each.number, each.token, waiter._claim_name) for each in handed]
            answer = yield from self._asking(attempt, 0, words)
            jobs += answer.jobs
            taken = {job.number for job in answer.jobs}
            handed = [each for each in handed if taken and each.number not in taken]
        attempt.place = None
        self._end_waiter(attempt)
        if not jobs:
            raise LeaseLost(f"{waiter.id} ended before its job was taken over")
        return jobs

    def _handed_to(self, claim: str) -> Steps[list[Delivery]]:
        """Return the jobs that a claim holds, still without their values."""
        prefix, after, is_last = self._keys.held_by(claim), "", False
        handed = []
        while not is_last:
            page = yield Ask(CALLS.versions_page(prefix, after))
            handed += [_handed(key, each.index, each.value) for key, each in page.pairs]
            after, is_last = page.after, page.is_last
        return handed

    def _reading(self, jobs: Sequence[Delivery]) -> Steps[list[Delivery]]:
        """Read the values of jobs; leave out those that someone has deleted."""
        read = []
        for job in jobs:
            value = yield Ask(CALLS.get(self._keys.job(job.number)))
            if value is not None:
                read.append(job._replace(value=value))
        return read

    def _leaving_late(self, attempt: TakeAttempt[Any]) -> Claiming[Sequence[Delivery] | None]:
        """Leave the line, since the time is over; return the jobs that came just before that."""
        line = attempt.in_line
        yield Ask(self._queue._dequeue(0, line._claim_name))
        handed = yield from self._handed_to(line._claim_name)
        attempt.place = None
        if not handed:
            line._held().take_back = ""
            return None
        return (yield from self._taking_over(attempt, handed))

    def _dropping(self, attempt: Any) -> Claiming[None]:
        """Take back the claim of an attempt that failed."""
        lease, waiter, place = attempt.lease, attempt.waiter, attempt.place
        attempt.lease = attempt.waiter = attempt.place = None
        for claim in (waiter, lease):
            if claim is not None:
                is_in_line = place is not None and claim is (waiter or lease)
                yield from claim._dropping(self._leaving_line(claim) if is_in_line else None)

    def _leaving_line(self, lease: Any) -> Steps[None]:
        """Leave the line, and give back what came just before that. Unlike `abandon`, this leaves
        no key behind."""
        claim = lease._claim_name
        yield Ask(self._queue._dequeue(0, claim))
        words = [
            ending(job.number, job.token, is_back=True)
            for job in (yield from self._handed_to(claim))
        ]
        if words:
            yield Ask(self._queue._dequeue(0, claim, words))


def _handed(key: str, index: int, value: str | None) -> Delivery:
    """Return the job of a key that was set when it was handed over, without its value."""
    return Delivery(int(key[-_DIGITS:]), index, int((value or "0").partition("/")[0]), "")


_ENDED = ("held", "job")  # the keys that the end of a job deletes


def _end_of(job: str, held: str, token: int, txn: Operations[Any, Any]) -> TransactionPlan[Any]:
    """Return the transaction that ends a job, after the operations of the program."""
    own = TransactionPlan(TEXT)
    then = Conditions(own, itself).unchanged(held, token).then
    then.delete(held).delete(job).else_.stat(held)
    theirs: Any = getattr(txn, "_plan", None)
    if not isinstance(theirs, TransactionPlan) or not theirs.branches["then"]:
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
    merged: TransactionPlan[Any] = TransactionPlan(theirs.codec)
    merged.conditions = [*theirs.conditions, *own.conditions]
    merged.leases = set(theirs.leases)
    for branch in ("then", "else"):
        merged.branches[branch] = [*theirs.branches[branch], *own.branches[branch]]
        merged.readers[branch] = [*theirs.readers[branch], *own.readers[branch]]
    return merged
