"""`kv.lease()`: a lease that is renewed until it is lost; one thread renews all of a client."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Protocol, TypeVar

from raftline.clients.connection import ClientError
from raftline.clients.steps import carry_out
from raftline.kv.calls import CALLS, Ask, Call, Steps
from raftline.kv.lease_timer import (
    BaseLease,
    Clock,
    LeaseTimer,
    clock,
    confirming,
    granting,
    releasing,
    renewing,
)
from raftline.kv.renewals import Renewals

Result = TypeVar("Result")


class Transport(Protocol):
    """A client that carries out calls."""

    @property
    def timeout(self) -> float: ...
    def ask(self, call: Call[Result], timeout: float | None = None) -> Result: ...


def ask_by(client: Transport, steps: Steps[Result]) -> Result:
    """Carry out steps with a client's requests."""

    def do(step: Ask) -> object:
        return client.ask(step.call, step.limit_s)

    return carry_out(steps, do)


class Keeper:
    """Renews the leases of one client, in a thread that runs while there are some."""

    def __init__(self, client: Transport, name: str, now: Clock = clock) -> None:
        self._client = client
        self._name = f"{name} renews leases"
        self._now = now
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._renewals = Renewals()
        self._is_asking = False
        self._thread: threading.Thread | None = None

    def keep(self, timer: LeaseTimer) -> None:
        """Renew a lease from now on, until it is over."""
        if self._process != os.getpid():
            self._begin_anew()
        with self._changed:
            if timer.is_over:
                return
            self._renewals.add(timer)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()  # may raise, and the next lease needs one then
                self._thread = thread
            self._changed.notify()

    def drop(self, timer: LeaseTimer) -> None:
        """Stop renewing a lease: it is over."""
        if self._process == os.getpid():
            with self._changed:
                self._renewals.drop(timer)
                self._changed.notify()

    def close(self) -> None:
        """Stop renewing, and wait until the thread has ended. A renewal that is under way is not
        waited for: the thread ends after it."""
        if self._process != os.getpid():
            return
        with self._changed:
            given_up = self._renewals.drop_all()
            thread = None if self._is_asking else self._thread
            self._changed.notify()
        for timer in given_up:
            timer.give_up()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _run(self) -> None:
        while (due := self._next()) is not None:
            timer, shortest_s = due
            try:
                ask_by(self._client, renewing(timer, self._now, shortest_s))
            except Exception:
                timer.report(self._now())
            with self._changed:
                self._is_asking = False
                self._renewals.put_back(timer)

    def _next(self) -> tuple[LeaseTimer, float] | None:
        """Wait for the next lease that is due; None once there are none any more."""
        with self._changed:
            while self._renewals:
                timer = self._renewals.take(self._now())
                if timer is not None:
                    self._is_asking = True
                    return timer, self._renewals.shortest_s
                self._changed.wait(max(0.0, self._renewals.due_s - self._now()))
            self._thread = None
            return None


class Lease(BaseLease):
    """A lease: keys that are set under it go when it ends. `with` grants, renews and releases it.

    Its time counts from the moment at which a request was first sent. If no renewal comes through
    for all of that time it is lost: `is_held` is false from then on, and `on_lost` is called, by
    its own thread.
    """

    def __init__(
        self,
        client: Transport,
        keeper: Keeper,
        ttl: float,
        on_lost: Callable[[], object] | None = None,
        keep: bool = True,
        on_end: Callable[[LeaseTimer], object] | None = None,
        now: Clock = clock,
    ) -> None:
        """Without `keep` the program renews it, by `check`, and no thread does. `on_end` is called
        at any end, in the thread that ends it."""
        super().__init__(ttl, on_lost, on_end, now)
        self._client = client
        self._keeper = keeper
        self._keep = keep
        self._process = os.getpid()
        self._over = threading.Event()

    def __enter__(self) -> Lease:
        return self.grant()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_to_release(error):
            return
        if error is None:
            self.release()
        else:
            with contextlib.suppress(ClientError):  # the error inside explains more
                self.release()

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Wait until it is lost, at most `timeout` seconds; return whether it is. One that is
        released is not lost.

        Raises:
            RuntimeError: it was not granted.
        """
        over, timer = self._over, self._granted()
        return over.wait(timeout) and timer.was_lost

    def grant(self) -> Lease:
        """Get it granted, and renew it from now on. `with` calls this.

        Raises:
            LeaseLost: the answer came when its time was over. It was never held.
            RuntimeError: it is granted already, or no thread can be started to renew it.
        """
        self._may_be_granted()
        self._process = os.getpid()
        over = self._over = threading.Event()
        steps = granting(self._seconds, partial(self._ended, over), self._now)
        self._timer = ask_by(self._client, steps)
        if self._keep:
            try:
                self._keeper.keep(self._timer)
            except RuntimeError:  # no thread can be started
                self._timer.give_up()
                raise
        return self

    def check(self, timeout: float | None = None) -> Lease:
        """Renew it for its whole time, which confirms that it is held. `timeout` is by default
        that of the client.

        Raises:
            LeaseLost: it is not held.
        """
        timer = self._held()
        if not ask_by(self._client, confirming(timer, self._now, timeout)):
            raise timer.loss()
        return self

    def release(self) -> int:
        """End it; its keys are deleted. Return how many.

        Raises:
            LeaseLost: it had ended before.
        """
        return ask_by(self._client, releasing(self._held(), self._now))

    # --- of locks -------------------------------------------------------------------------------

    @property
    def is_here(self) -> bool:
        """Whether it was granted to this process, and not to one that forked."""
        return self._process == os.getpid()

    def drop(self) -> None:
        """Release it, even if it was lost. A failure is not reported: the lease expires anyway."""
        timer = self._timer
        if timer is not None and self.is_here:
            timer.give_up()
            with contextlib.suppress(ClientError):
                self._client.ask(CALLS.release(timer.lease))

    def _ended(self, over: threading.Event, timer: LeaseTimer) -> None:
        self._keeper.drop(timer)
        if self._on_end is not None:
            self._on_end(timer)
        over.set()
        if timer.was_lost and self._on_lost is not None:
            call_apart(self._on_lost)


def call_apart(on_lost: Callable[[], object]) -> None:
    """Call it in another thread: it may take long, or raise, and must not delay a renewal."""
    try:
        threading.Thread(target=on_lost, name="a lease was lost", daemon=True).start()
    except RuntimeError:  # no thread can be started
        with contextlib.suppress(Exception):
            on_lost()
