"""Invariants of simulated programs that work on the jobs of a queue."""

from __future__ import annotations

from typing import Protocol


class Job(Protocol):
    """A job that a program has taken."""

    number: int
    deliveries: int

    @property
    def token(self) -> int: ...
    @property
    def is_held(self) -> bool: ...
    @property
    def is_broken(self) -> bool: ...


class JobCheck:
    """The jobs of one queue, as the programs know them."""

    def __init__(self) -> None:
        self.open: set[int] = set()  # acknowledged, and not known to be done
        self.done: set[int] = set()
        self._unknown: set[int] = set()  # the outcome of their end
        self._holders: dict[int, Job] = {}

    def acknowledged(self, number: int) -> None:
        """Record a job whose put was acknowledged."""
        if number not in self.done | self._unknown:
            self.open.add(number)

    def taken(self, job: Job) -> None:
        """Check a job that a program gets.

        Raises:
            AssertionError: it is done, another program certainly holds it, or its token does not
                grow.
        """
        number, last = job.number, self._holders.get(job.number)
        assert number not in self.done, f"job {number} is delivered after its end"
        if last is not None:
            is_held = last.is_held and not last.is_broken
            assert not is_held, f"{job} is delivered, and {last} is held for certain"
            assert job.token > last.token, f"{job} has no higher token than {last}"
            assert job.deliveries > last.deliveries, f"{job} is not counted"
        self._holders[number] = job

    def may_have_ended(self, job: Job) -> None:
        """Record a job whose end has an unknown outcome."""
        self._unknown.add(job.number)
        self.open.discard(job.number)

    def ended(self, job: Job) -> None:
        """Check a job that is done.

        Raises:
            AssertionError: it was done before, or another program got it meanwhile.
        """
        assert job.number not in self.done, f"{job} is done twice"
        assert self._holders[job.number] is job, f"{job} is done after another delivery"
        self.done.add(job.number)
        self.open.discard(job.number)
