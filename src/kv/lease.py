"""`kv.lease()`: a lease that renews itself, and tells when it is lost; one thread for all of a
client."""

from __future__ import annotations

import contextlib
import heapq
import os
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeVar

from raftline.clients.connection import ClientError
from raftline.common.nocopies import NoCopies
from raftline.kv.calls import Call, Calls, seconds_of
from raftline.kv.codec import TEXT
from raftline.kv.errors import LeaseLost
from raftline.kv.holding import RENEWALS, Holding, clock

Result = TypeVar("Result")
LEAST_S = 0.05  # for a request that has to come back in a lease's time
CALLS = Calls(TEXT)


class Asking(Protocol):
    """A client that carries out calls."""

    @property
    def timeout(self) -> float: ...
    def ask(self, call: Call[Result], timeout: float | None = None) -> Result: ...


class Keeper:
    """Renews the leases of one client, by a thread that lives while there are some."""

    def __init__(self, client: Asking, name: str) -> None:
        self._client = client
        self._name = f"{name} renews leases"
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Lease]] = []
        self._count = 0
        self._thread: threading.Thread | None = None

    def keep(self, lease: Lease) -> None:
        """Renew a lease from now on, until it is over."""
        if self._process != os.getpid():
            self._begin_anew()
        with self._changed:
            self._put(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def look(self) -> None:
        """Look again: a lease is over."""
        if self._process == os.getpid():
            with self._changed:
                self._changed.notify()

    def close(self) -> None:
        """Renew none any more; wait until the thread has ended."""
        if self._process != os.getpid():
            return
        with self._changed:
            for _, _, lease in self._heap:
                lease.give_up()
            thread = self._thread
            self._changed.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._client.timeout)

    def _put(self, lease: Lease) -> None:
        self._count += 1
        heapq.heappush(self._heap, (lease.due_s, self._count, lease))

    def _run(self) -> None:
        while (lease := self._next()) is not None:
            lease.renew_now()
            with self._changed:
                self._put(lease)

    def _next(self) -> Lease | None:
        """Wait for the next lease that is due; None once there are none any more."""
        with self._changed:
            while True:
                if any(lease.is_over for _, _, lease in self._heap):
                    self._heap = [item for item in self._heap if not item[2].is_over]
                    heapq.heapify(self._heap)
                if not self._heap:
                    self._thread = None
                    return None
                left_s = self._heap[0][0] - clock()
                if left_s <= 0:
                    return heapq.heappop(self._heap)[2]
                self._changed.wait(left_s)


class Lease(NoCopies):
    """A lease: keys that are set under it go when it ends. `with` grants, renews and releases it.

    Its time counts from the moment at which a request was first sent. If no renewal comes through
    for all of that time it is lost: `is_held` is false from then on, and `on_lost` is called, by
    the thread that renews.
    """

    def __init__(
        self,
        client: Asking,
        keeper: Keeper,
        ttl: float,
        on_lost: Callable[[], object] | None = None,
        keep: bool = True,
    ) -> None:
        """Without `keep` no thread renews it: the program does, by `check`."""
        self._client = client
        self._keeper = keeper
        self._seconds = seconds_of(ttl)
        self._on_lost = on_lost
        self._keep = keep
        self._holding: Holding | None = None
        self._process = os.getpid()
        self._lost = threading.Event()

    def __repr__(self) -> str:
        holding = self._holding
        what = "not granted" if holding is None else holding.lease
        return f"<Lease {what}, {self._seconds} s, {'held' if self.is_held else 'not held'}>"

    def __str__(self) -> str:
        return self.id

    def __enter__(self) -> Lease:
        return self.grant()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process != os.getpid() or self._holding is None or self._holding.is_over:
            if self._lost.is_set() and error is None:
                raise self._loss()
            return
        if error is None:
            self.release()
        else:
            with contextlib.suppress(ClientError):  # the error inside says more
                self.release()

    @property
    def id(self) -> str:
        """Its name in the cluster: `lease-57`."""
        if self._holding is None:
            raise RuntimeError("this lease was not granted yet: with kv.lease(10) as lease")
        return self._holding.lease

    @property
    def is_held(self) -> bool:
        """Whether it is held for certain, by this program's own clock."""
        holding = self._holding
        return holding is not None and self.is_here and holding.is_held(clock())

    @property
    def left(self) -> float:
        """The seconds for which it is held without another renewal."""
        return max(0.0, self._holding.until_s - clock()) if self._holding is not None else 0.0

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Wait until it is lost, at most `timeout` seconds; return whether it is."""
        return self._lost.wait(timeout)

    def grant(self) -> Lease:
        """Have it granted, and renewed from now on. `with` does this by itself."""
        if self._holding is not None and not self._holding.is_over:
            raise RuntimeError(f"{self.id} is granted already; make another one: kv.lease(…)")
        self._process = os.getpid()
        self._lost = threading.Event()
        sent_s = clock()
        name = self._client.ask(CALLS.grant(self._seconds))
        self._holding = Holding(name, self._seconds, sent_s)
        if not self.is_held:  # the answer came that late
            raise self._lose(self._holding)
        if self._keep:
            self._keeper.keep(self)
        return self

    def check(self, timeout: float | None = None) -> Lease:
        """Have the cluster confirm that it is held, with its whole time again. `timeout` is that
        of the client where none is given.

        Raises:
            LeaseLost: it is not.
        """
        holding = self._held()
        if not self._renew(holding, timeout):
            raise self._lose(holding)
        return self

    def release(self) -> int:
        """End it; its keys are deleted. Return how many.

        Raises:
            LeaseLost: it had ended before.
        """
        holding = self._held()
        was_held = holding.is_held(clock())
        holding.is_over = True
        self._keeper.look()
        deleted = self._client.ask(CALLS.release(holding.lease))
        if not was_held:
            raise self._loss()
        return deleted

    # --- the keeper's ---------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether nobody is to renew it any more."""
        return self._holding is None or self._holding.is_over

    @property
    def due_s(self) -> float:
        """The time at which to look at it."""
        holding = self._holding
        return 0.0 if holding is None else min(holding.renew_at_s, holding.until_s)

    def give_up(self) -> None:
        """Renew it no more; it runs out."""
        if self._holding is not None:
            self._holding.is_over = True

    def renew_now(self) -> None:
        """Renew it; where its time is over, tell that it is lost."""
        holding = self._holding
        if holding is None or holding.is_over:
            return
        left_s = holding.until_s - clock()
        if left_s <= 0:
            self._lose(holding)
            return
        limit_s = max(LEAST_S, min(left_s, self._seconds / RENEWALS))
        try:
            if not self._renew(holding, limit_s):
                self._lose(holding)
        except Exception:  # whatever it is, the lease is held until its time is over
            holding.not_renewed(clock())

    @property
    def is_here(self) -> bool:
        """Whether it was granted to this process, and not to one that forked."""
        return self._process == os.getpid()

    def _held(self) -> Holding:
        if self._holding is None:
            raise RuntimeError("this lease was not granted: with kv.lease(10) as lease")
        if not self.is_here:
            raise RuntimeError("this lease is held by the process that forked, not by this one")
        if self._holding.is_over:
            raise self._loss()
        return self._holding

    def _renew(self, holding: Holding, limit_s: float | None) -> bool:
        sent_s = clock()
        if not self._client.ask(CALLS.renew(holding.lease), limit_s):
            return False
        holding.renewed(sent_s)
        return holding.is_held(clock())

    def _lose(self, holding: Holding) -> LeaseLost:
        was_over, holding.is_over = holding.is_over, True
        self._lost.set()
        if self._on_lost is not None and not was_over:
            self._on_lost()
        return self._loss()

    def _loss(self) -> LeaseLost:
        return LeaseLost(f"{self.id} has ended: it was released, or not renewed in time")
