"""`kv.lease()`: a lease that is renewed until it is lost; one thread renews all leases of a
client."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from raftline.common.process.guarded_thread import LOST_S, begin_thread, print_uncaught
from raftline.common.process.wakeup import Flag
from raftline.common.public import public

from ..calls.calls import Ask, Call, Steps
from ..calls.methods import carried_out
from ..calls.wait_times import end_of_wait
from ..requests.times import Seconds
from ..steps import carry_out
from .base_lease import BaseLease, SendOff
from .kept_leases import KeptLeases
from .lease_timer import Clock, LeaseTimer, clock, closing
from .renewals import Renewals, UntilDue, keeping

Result = TypeVar("Result")
FLUSH_S = 0.002  # a release waits for the next request of its program, to be sent with it
LINGER_S = 5.0  # the thread waits for another lease: one is acquired for each lock


class Transport(Protocol):
    """A client that carries out calls."""

    timeout: float

    def ask(self, call: Call[Result], timeout: float | None = None) -> Result: ...


class Sender(Transport, Protocol):
    """A client that also sends requests whose answer is not awaited."""

    def send_off(self, command: str, settled: Callable[[str | None], object]) -> bool: ...
    def flush(self) -> None: ...


class Keeper:
    """Renews the leases of one client, in a thread that ends LINGER_S after the last lease."""

    def __init__(self, client: Transport, name: str, now: Clock = clock) -> None:
        self._client = client
        self._name = f"{name} renews leases"
        self._now = now
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._renewals = Renewals()
        self._runs = False  # the thread
        self._ident = 0  # of the thread
        self._waits_until_s = -math.inf  # the thread, unless it is woken
        self._is_closed = False
        self._flush: Callable[[], object] | None = None
        self._flush_at_s = math.inf
        self.kept = KeptLeases()
        self.leaving: set[str] = set()  # the requests that claims send to leave

    def keep(self, timer: LeaseTimer) -> None:
        """Renew a lease from now on, until it is over."""
        if self._process != os.getpid():
            self._reset()
        with self._lock:
            if timer.is_over:
                return
            if self._is_closed:
                timer.give_up()
                return
            self._renewals.add(timer)
            if not self._runs:
                # This may raise; then the next lease starts a thread.
                begin_thread(self._run, self._name, print_uncaught)
                self._runs = True
            if timer.due_s < self._waits_until_s:
                self._changed.notify()

    def drop(self, timer: LeaseTimer) -> None:
        """Stop renewing a lease, because it is over."""
        if self._process == os.getpid():
            with self._lock:
                self._renewals.drop(timer)

    def hurry(self, timer: LeaseTimer) -> None:
        """Renew a lease soon, since a request was not answered that the renewal repeats."""
        if self._process == os.getpid():
            with self._lock:
                timer.retry_soon(self._now())
                self._renewals.put_back(timer)
                if timer.due_s < self._waits_until_s:
                    self._changed.notify()

    def flush_soon(self, flush: Callable[[], object]) -> None:
        """Call `flush` in FLUSH_S."""
        with self._lock:
            if self._flush is None:
                self._flush, self._flush_at_s = flush, self._now() + FLUSH_S
                if self._flush_at_s < self._waits_until_s:
                    self._changed.notify()

    def close(self) -> list[str]:
        """Stop renewing, and wait until the thread has ended. Do not wait for a renewal in
        progress: the thread ends after it. Return the lines that release what waiting claims leave
        behind."""
        if self._process != os.getpid():
            return []
        with self._lock:
            self._is_closed = True
            given_up = self._renewals.drop_all()
            waits = not self._renewals.is_asking and self._ident != threading.get_ident()
            self._changed.notify_all()
        releases = closing(given_up, self.leaving)
        if waits:
            with self._lock:
                self._changed.wait_for(lambda: not self._runs, LOST_S)
        return releases

    def _run(self) -> None:
        self._ident = threading.get_ident()
        while True:
            carry_out(keeping(self._renewals, self._now, self._lock), self._do)
            with self._lock:
                if not self._renewals and not self._is_closed:
                    self._wait(LINGER_S)
                self._runs = bool(self._renewals)
                if not self._runs:
                    self._ident = 0
                    self._changed.notify_all()
                    return

    def _do(self, step: Ask | UntilDue) -> object:
        if isinstance(step, Ask):
            return self._client.ask(step.call, step.limit_s)
        with self._lock:
            flush, due_s = self._flush, min(self._renewals.due_s, self._flush_at_s)
            is_to_flush = flush is not None and self._now() >= self._flush_at_s
            if is_to_flush:
                self._flush, self._flush_at_s = None, math.inf
            elif self._renewals:
                self._wait(min(LINGER_S, max(0.0, due_s - self._now())))
        if flush is not None and is_to_flush:
            flush()
        return None

    def _wait(self, seconds: float) -> None:
        """Wait for a lease that is due before that time is over."""
        self._waits_until_s = self._now() + seconds
        self._changed.wait(seconds)
        self._waits_until_s = -math.inf


def send_off(client: Sender, keeper: Any, step: SendOff) -> bool:
    """Send a request along with the next one of this program, or soon."""
    is_sent = client.send_off(step.command, step.settled)
    if is_sent:
        keeper.flush_soon(client.flush)
    return is_sent


def call_apart(on_lost: Callable[[], object]) -> None:
    """Call `on_lost` in another thread: it may take a long time or raise, and must not delay a
    renewal."""
    try:
        begin_thread(on_lost, "a lease was lost", print_uncaught)
    except RuntimeError:  # no thread can be started
        with contextlib.suppress(Exception):
            on_lost()


@public("raftline.api")
class Lease(BaseLease[Flag]):
    """A lease: keys that are set under it are deleted when it ends. `with` grants, renews and
    releases it.

    Its time counts from the moment at which a request was first sent. If no renewal succeeds within
    that time, the lease is lost: `is_held` is false from then on, and `on_lost` is called in its
    own thread.
    """

    _client: Sender

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._carry_out(self._leaving(error))

    def grant(self) -> Lease:
        """Acquire the lease, and renew it from now on. `with` calls this method.

        Raises:
            LeaseLost: the answer came after its time was over, so it was never held.
            RuntimeError: it is already granted or being granted, or no thread can be started to
                renew it.
        """
        self._carry_out(self._granting())
        return self

    __enter__ = grant

    def check(self, timeout: Seconds | None = None) -> Lease:
        """Renew the lease for its whole time, which confirms that it is held. `timeout` defaults to
        the client's.

        Raises:
            LeaseLost: the lease is not held.
        """
        self._carry_out(self._checking(timeout))
        return self

    release = carried_out(BaseLease[Any]._releasing, "release")

    def wait_lost(self, timeout: Seconds | None = None) -> bool:
        """Wait until the lease is lost, for at most `timeout` seconds; return whether it is. A
        released lease is not lost.

        Raises:
            RuntimeError: the lease was not granted.
        """
        over, timer = self._over, self._granted()
        return over.wait(end_of_wait(timeout, 0.0)) and timer.was_lost

    def _carry_out(self, steps: Steps[Result]) -> Result:
        def do(step: Ask | SendOff) -> object:
            if isinstance(step, SendOff):
                return send_off(self._client, self._keeper, step)
            return self._client.ask(step.call, step.limit_s)

        return carry_out(steps, do)

    def _new_event(self) -> Flag:
        self._process = os.getpid()
        return Flag()

    @property
    def _is_here(self) -> bool:
        return self._process == os.getpid()

    _call_apart = staticmethod(call_apart)
