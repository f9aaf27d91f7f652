"""`kv.queue()` for threads, and the jobs that it delivers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast, overload

from ...common.public import public
from ..calls.calls import Ask
from ..calls.transaction import Operations, Outcome
from ..calls.value_codec import Data
from ..requests.steps import carry_out
from ..requests.times import Seconds
from .claim_steps import AwaitTurn, Claiming, ClaimStep
from .lease import Lease
from .lock import Claim, Held, admitted_in_time
from .queue_steps import BaseJob, BaseQueue, DeadJob, TakeSteps

Result = TypeVar("Result")
TAKE_S = 30


@public("raftline.api")
class Job(BaseJob[Lease, Data], Held, Generic[Data]):
    """A job that a worker has taken: `number`, `value`, and `deliveries`, which is 1 the first
    time. `done` removes it; `with` gives it back unless it is done, and so does `release`.

    It has a lease, which is renewed until the end. If the worker dies, the job is delivered to
    another worker after the time of the lease.
    """

    def done(self, txn: Operations[Any, Any] | None = None) -> Outcome[Any]:
        """Remove the job, and carry out the operations of a transaction in the same step:
        `job.done(kv.txn().then.set("result", "5"))`. If a condition of that transaction does not
        hold, the outcome is false, nothing was done and the job is still held.

        Raises:
            LeaseLost: the job is not held any more; nothing was done.
            RuntimeError: it is done or released already.
            ValueError: the transaction has operations after `else_`, more than 1,021 operations, or
                more than 1,023 conditions; the job is still held.
        """
        return self._lease._carry_out(self._finishing(txn))

    def __enter__(self) -> Job[Data]:
        return self


class _Take(TakeSteps[Data, "Job[Data]"], Claim):
    """One take of a thread."""

    _held_class: Any = Job


@public("raftline.api")
class Queue(BaseQueue[Data]):
    """A queue of jobs that acknowledges: `with kv.queue("jobs").take() as job`.

    Each job is delivered until a worker is done with it. Jobs are delivered first in, first out,
    except for jobs that are delivered again. Any thread may use the object.
    """

    def put(self, value: Data) -> int:
        """Add a job at the end of the queue; return its number.

        Raises:
            Unreachable, NoLeader: no node served in time; the job was not added.
            OutcomeUnknown: the job may have been added.
            NotAllowed, Refused: the user may not write here, or the cluster takes no new keys.
        """
        return self._carry_out(self._putting(value))

    @overload
    def take(
        self, ttl: Seconds = ..., *, on_lost: Callable[[], object] | None = ...
    ) -> Job[Data]: ...
    @overload
    def take(
        self,
        ttl: Seconds = ...,
        *,
        timeout: Seconds | None,
        on_lost: Callable[[], object] | None = ...,
    ) -> Job[Data] | None: ...
    def take(
        self,
        ttl: Seconds = TAKE_S,
        *,
        timeout: Seconds | None = None,
        on_lost: Callable[[], object] | None = None,
    ) -> Job[Data] | None:
        """Return the next job, waiting at most `timeout` seconds for one (0: one try; None, -1:
        forever). Return None if there was none.

        The job has a lease of `ttl` seconds, which is renewed while this program lives. `on_lost`
        is called if the lease is lost.

        Without a timeout it waits through elections and outages, once a node has served this
        client.

        Raises:
            Unreachable, NoLeader, OutcomeUnknown: no node serves, and there is a timeout, or no
                node has ever served this client. No job was taken, or it is delivered again.
            NotAllowed, Refused: the user may not write here, or the cluster takes no new keys.
        """
        take: Any = self._claim(_Take, self._state.keys, ttl, on_lost)
        take._state = self._state
        return cast("Job[Data] | None", take._carry_out(take._acquiring(take._value, timeout, -1)))

    def waiting(self) -> int:
        """Return how many jobs wait for their first delivery."""
        return self._carry_out(self._state.waiting())

    def dead(self) -> list[DeadJob]:
        """Return the jobs that were delivered `max_deliveries` times and never done."""
        return self._carry_out(self._state.dead())

    def retry(self, number: int) -> bool:
        """Deliver a dead job again, as if it had not been delivered yet; return whether it was
        dead."""
        return self._carry_out(self._state.retry(number))

    def discard(self, number: int) -> bool:
        """Delete a dead job; return whether it was dead."""
        return self._carry_out(self._state.discard(number))

    def _carry_out(self, steps: Claiming[Result]) -> Result:
        def do(step: ClaimStep) -> object:
            if isinstance(step, AwaitTurn):
                return admitted_in_time(step)
            assert isinstance(step, Ask)
            return self._client.ask(step.call)

        return carry_out(steps, do)
