"""`kv.queue()` for threads, and the jobs that it delivers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, overload

from raftline.clients.calls.calls import Ask
from raftline.clients.calls.methods import carried_out
from raftline.clients.calls.transaction import Operations, Outcome
from raftline.clients.calls.value_codec import Data
from raftline.clients.leases.lease import Lease
from raftline.clients.requests.times import Seconds
from raftline.clients.steps import carry_out
from raftline.common.public import public

from ..locks.lock import Claim, Held
from .queue_steps import BaseJob, BaseQueue, TakeSteps

TAKE_S = 30


@public("raftline.api")
class Job(BaseJob[Lease, Data], Held, Generic[Data]):
    """A job that a worker has taken: `number`, `value`, and `deliveries`, which is 1 the first
    time. `done` removes it; `with` gives it back unless it is done, and so does `release`.

    It is held under the lease that the client keeps for what it holds with the same `ttl`. If the
    program dies, its jobs are delivered to other workers when the lease ends.
    """

    def done(self, txn: Operations[Any, Any] | None = None) -> Outcome[Any]:
        """Remove the job, and carry out the operations of a transaction in the same step:
        `job.done(kv.txn().then.set("result", "5"))`. If a condition of that transaction does not
        hold, the outcome is false, nothing was done and the job is still held.

        Without a transaction, the client repeats the request until it is answered, even if this
        call raises an error first.

        Raises:
            LeaseLost: the job is not held any more; nothing was done.
            OutcomeUnknown: the job may be done; if it is not, it is delivered again.
            RuntimeError: it is done or released already.
            ValueError: the transaction has operations after `else_`, more than 1,022 operations, or
                more than 1,023 conditions; the job is still held.
        """
        return self._lease._carry_out(self._finishing(txn))

    def __enter__(self) -> Job[Data]:
        return self


class _Take(TakeSteps[Lease, Data], Claim):
    """One take of a thread."""

    _held_class: Any = Job


@public("raftline.api")
class Queue(BaseQueue[Data]):
    """A queue of jobs that acknowledges: `with kv.queue("jobs").take() as job`.

    Each job is delivered until a worker is done with it. Jobs are delivered first in, first out;
    what is delivered again comes in its old place. Any thread may use the object.
    """

    put = carried_out(BaseQueue[Data]._putting, "put")

    @overload
    def take(
        self,
        ttl: Seconds = ...,
        *,
        on_lost: Callable[[], object] | None = ...,
        done: Job[Data] | None = ...,
    ) -> Job[Data]: ...
    @overload
    def take(
        self,
        ttl: Seconds = ...,
        *,
        timeout: Seconds | None,
        on_lost: Callable[[], object] | None = ...,
        done: Job[Data] | None = ...,
    ) -> Job[Data] | None: ...
    def take(
        self,
        ttl: Seconds = TAKE_S,
        *,
        timeout: Seconds | None = None,
        on_lost: Callable[[], object] | None = None,
        done: Job[Data] | None = None,
    ) -> Job[Data] | None:
        """Return the next job, waiting at most `timeout` seconds for one (0: one try; None, -1:
        forever). Return None if there was none.

        The job is held under a lease of `ttl` seconds, which is renewed while this program lives.
        `on_lost` is called if the lease is lost.

        `done` is a job that is done. It is ended by the same request, if it has the same `ttl`.

        Without a timeout it waits through elections and outages, once a node has served this
        client.

        Raises:
            Unreachable, NoLeader, OutcomeUnknown: no node serves, and there is a timeout, or no
                node has ever served this client. No job was taken, or it is delivered again.
            LeaseLost: the job that is `done` is not held any more; none was taken.
            NotAllowed, Refused: the user may not write here, or the cluster takes no new keys.
            RuntimeError: the job that is `done` was ended or released already.
        """
        jobs = self._taking(1, ttl, timeout, on_lost, [] if done is None else [done])
        return jobs[0] if jobs else None

    def take_many(
        self,
        count: int,
        ttl: Seconds = TAKE_S,
        *,
        timeout: Seconds | None = None,
        on_lost: Callable[[], object] | None = None,
        done: Iterable[Job[Data]] = (),
    ) -> list[Job[Data]]:
        """Return up to `count` jobs, 256 at most, as soon as there is one; return none if there was
        none for `timeout` seconds. `on_lost` is called for each job that is lost. Jobs of more than
        1 MiB together come one by one. The rest is as for `take`."""
        return self._taking(count, ttl, timeout, on_lost, done)

    def _taking(
        self,
        count: int,
        ttl: Seconds,
        timeout: Seconds | None,
        on_lost: Callable[[], object] | None,
        done: Iterable[Job[Data]],
    ) -> list[Job[Data]]:
        take = self._take(_Take, ttl, on_lost)
        jobs: list[Job[Data]] = take._carry_out(take._taking(count, timeout, done))
        return jobs

    done = carried_out(BaseQueue[Data]._ending, "done")
    release = carried_out(BaseQueue[Data]._giving_back, "release")
    waiting = carried_out(BaseQueue[Data]._waiting, "waiting")
    dead = carried_out(BaseQueue[Data]._dead, "dead")
    retry = carried_out(BaseQueue[Data]._retrying, "retry")
    discard = carried_out(BaseQueue[Data]._discarding, "discard")

    def _carry_out(self, steps: Any) -> Any:
        def do(step: Ask) -> object:
            return self._client.ask(step.call)

        return carry_out(steps, do)
