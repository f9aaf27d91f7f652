"""`kv.lock()` and `kv.election()`: one holder at a time, each with a token that only grows."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Generic

from raftline.clients.connection import ClientError
from raftline.common.nocopies import NoCopies
from raftline.kv.codec import Codec, Data
from raftline.kv.contest import ELECTIONS, LOCKS, Contest, Place, token_in
from raftline.kv.errors import LeaseLost
from raftline.kv.lease import CALLS, Asking, Keeper, Lease
from raftline.kv.watch import Watch

Watching = Callable[[str], Watch[str]]


class Claim(NoCopies):
    """One who holds something under a lease of its own, or wants to."""

    def __init__(
        self,
        client: Asking,
        keeper: Keeper,
        watching: Watching,
        place: Place,
        ttl: float,
        on_lost: Callable[[], object] | None = None,
    ) -> None:
        self._client = client
        self._place = place
        self._watching = watching
        self._make_lease = partial(Lease, client, keeper, ttl, on_lost)
        self._make_lease()  # a time that can't be is refused at once
        self._lease: Lease | None = None
        self._token: int | None = None

    @property
    def token(self) -> int:
        """The fencing token: the index of the entry that granted it, higher for each holder."""
        if self._token is None:
            raise RuntimeError("it is not held by this program")
        return self._token

    @property
    def is_held(self) -> bool:
        """Whether this program holds it for certain, by its own clock."""
        lease = self._lease
        return self._token is not None and lease is not None and lease.is_held

    def check(self) -> int:
        """Return the token, once the cluster has confirmed that it is held.

        Raises:
            LeaseLost: it is not.
        """
        token = self.token
        if self._lease is not None:
            self._lease.check()
        return token

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Wait until it is lost, at most `timeout` seconds; return whether it is."""
        return self._lease is not None and self._lease.wait_lost(timeout)

    def get(self, value: str, timeout: float | None) -> int | None:
        """Return the token once it is got; None where it was not within `timeout` seconds. 0 is
        one try; None waits for ever."""
        if self._token is not None:
            raise RuntimeError("it is held by this object already; make another one")
        until_s = None if timeout is None else time.monotonic() + timeout
        while True:
            self._lease = self._make_lease().grant()
            try:
                self._token = self._contend(self._lease, value, until_s, timeout == 0)
            except LeaseLost:
                continue  # while it waited; once more, with a new one
            finally:
                if self._token is None:
                    self._let_go(self._lease)
            return self._token

    def _contend(
        self, lease: Lease, value: str, until_s: float | None, once: bool
    ) -> int | None:
        contest = Contest(self._place, lease.id, value)
        token = token_in(self._client.ask(contest.try_once()))
        if token is not None or once:
            return token
        with self._watching(self._place.prefix) as watch:
            while watch.step(until_s):
                contest.see(watch.take_ready(), watch.is_listed)
                call = contest.next_call() if watch.is_listed else None
                if call is None:
                    continue
                token = token_in(self._client.ask(call))
                if token is not None:
                    return token
        return None

    def _let_go(self, lease: Lease) -> None:
        """Release a lease without a word: what it can't release runs out."""
        with contextlib.suppress(ClientError, RuntimeError):
            lease.release()

    def give(self) -> None:
        """Let others have it.

        Raises:
            LeaseLost: it was not held any more.
            RuntimeError: it is not held by this program.
        """
        self.token  # noqa: B018 - raises where there is none
        lease, self._lease, self._token = self._lease, None, None
        if lease is not None:
            lease.release()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go at the end of a `with`; an error inside says more than one here."""
        if self._token is None or (self._lease is not None and not self._lease.is_here):
            return
        if error is None:
            self.give()
        else:
            with contextlib.suppress(ClientError):
                self.give()


class Lock(Claim):
    """A lock for all programs of the cluster: `with kv.lock("nightly", ttl=10) as token`.

    It stands on a lease, so it is free again when its holder died, `ttl` seconds later or little
    more. A holder that was paused for longer does not know: so what the lock guards is told the
    token, and refuses one below the highest that it has seen. Not reentrant.
    """

    def __init__(
        self,
        client: Asking,
        keeper: Keeper,
        watching: Watching,
        name: str,
        ttl: float,
        holder: str,
        on_lost: Callable[[], object] | None,
    ) -> None:
        super().__init__(client, keeper, watching, Place(LOCKS, name), ttl, on_lost)
        self.name = name
        self._holder = holder

    def __repr__(self) -> str:
        return f"<Lock {self.name!r}, {'held' if self.is_held else 'not held'}>"

    def acquire(self, timeout: float | None = None) -> int | None:
        """Return the fencing token, waiting at most `timeout` seconds (0: one try; None: for
        ever); None where it was not got."""
        return self.get(f"{self._holder} process {os.getpid()}", timeout)

    def release(self) -> None:
        """Let others have it. Raises LeaseLost where it was lost, RuntimeError where not held."""
        self.give()

    def holder(self) -> str | None:
        """Return who holds it, as it named itself; None: nobody."""
        return self._client.ask(CALLS.get(self._place.held))

    def __enter__(self) -> int:
        token = self.acquire()
        if token is None:
            raise LeaseLost(f"the lock {self.name} was not got: this client was closed")
        return token


class Election(Claim, Generic[Data]):
    """An election of one leader at a time among programs: `kv.election("service")`."""

    def __init__(
        self,
        client: Asking,
        keeper: Keeper,
        watching: Watching,
        name: str,
        ttl: float,
        codec: Codec[Data],
        on_lost: Callable[[], object] | None,
    ) -> None:
        super().__init__(client, keeper, watching, Place(ELECTIONS, name), ttl, on_lost)
        self.name = name
        self._codec = codec

    def __repr__(self) -> str:
        return f"<Election {self.name!r}, {'leads' if self.is_held else 'does not lead'}>"

    def __enter__(self) -> Election[Data]:
        return self

    def campaign(self, value: Data, timeout: float | None = None) -> int | None:
        """Return the fencing token once this program leads, which `leader` then tells as `value`;
        None where it did not come to lead within `timeout` seconds."""
        return self.get(self._codec.text(value), timeout)

    def resign(self) -> None:
        """Lead no more. Raises LeaseLost where it was lost, RuntimeError where it did not lead."""
        self.give()

    def leader(self) -> Data | None:
        """Return what the leader campaigned with; None: nobody leads."""
        value = self._client.ask(CALLS.get(self._place.held))
        return None if value is None else self._codec.of(value)

    def observe(self) -> Iterator[Data | None]:
        """Yield who leads now, and each change: None while nobody does."""
        with self._watching(self._place.prefix) as watch:
            is_told = False
            while watch.step():
                for event in watch.take_ready():
                    if event.key == self._place.held:
                        is_told = True
                        yield None if event.value is None else self._codec.of(event.value)
                if watch.is_listed and not is_told:
                    is_told = True
                    yield None
