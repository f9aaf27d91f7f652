"""`kv.lock()` and `kv.election()` for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Generic

from raftline.clients.connection import ClientError
from raftline.common.nocopies import NoCopies
from raftline.kv.aio_lease import AioAsking, AioLease
from raftline.kv.aio_watch import AioWatch
from raftline.kv.codec import Codec, Data
from raftline.kv.contest import ELECTIONS, LOCKS, Contest, Place, token_in
from raftline.kv.errors import LeaseLost
from raftline.kv.lease import CALLS

Watching = Callable[[str], AioWatch[str]]


class AioClaim(NoCopies):
    """One who holds something under a lease of its own, or wants to."""

    def __init__(
        self,
        client: AioAsking,
        make_lease: Callable[[], AioLease],
        watching: Watching,
        place: Place,
    ) -> None:
        make_lease()  # a time that can't be is refused at once
        self._client = client
        self._make_lease = make_lease
        self._watching = watching
        self._place = place
        self._lease: AioLease | None = None
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

    async def check(self) -> int:
        """Return the token, once the cluster has confirmed that it is held.

        Raises:
            LeaseLost: it is not.
        """
        token = self.token
        if self._lease is not None:
            await self._lease.check()
        return token

    async def wait_lost(self) -> None:
        """Wait until it is lost."""
        self.token  # noqa: B018 - raises where there is none
        if self._lease is not None:
            await self._lease.wait_lost()

    async def get(self, value: str, timeout: float | None) -> int | None:
        """Return the token once it is got; None where it was not within `timeout` seconds. 0 is
        one try; None waits for ever. A task that is cancelled holds nothing."""
        if self._token is not None:
            raise RuntimeError("it is held by this object already; make another one")
        until_s = None if timeout is None else time.monotonic() + timeout
        while True:
            lease = self._lease = self._make_lease()
            await lease.grant()
            try:
                self._token = await self._contend(lease, value, until_s, timeout == 0)
            except LeaseLost:
                continue  # while it waited; once more, with a new one
            finally:
                if self._token is None:
                    await self._let_go(lease)
            return self._token

    async def _contend(
        self, lease: AioLease, value: str, until_s: float | None, once: bool
    ) -> int | None:
        contest = Contest(self._place, lease.id, value)
        token = token_in(await self._client.ask(contest.try_once()))
        if token is not None or once:
            return token
        async with self._watching(self._place.prefix) as watch:
            while await watch.step(until_s):
                contest.see(watch.take_ready(), watch.is_listed)
                call = contest.next_call() if watch.is_listed else None
                if call is None:
                    continue
                token = token_in(await self._client.ask(call))
                if token is not None:
                    return token
        return None

    async def _let_go(self, lease: AioLease) -> None:
        """Release a lease without a word, also for a task that was cancelled: what it can't
        release runs out."""

        async def release() -> None:
            with contextlib.suppress(ClientError, RuntimeError):
                await lease.release()

        await asyncio.shield(asyncio.ensure_future(release()))

    async def give(self) -> None:
        """Let others have it.

        Raises:
            LeaseLost: it was not held any more.
            RuntimeError: it is not held by this program.
        """
        self.token  # noqa: B018 - raises where there is none
        lease, self._lease, self._token = self._lease, None, None
        if lease is not None:
            await lease.release()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go at the end of an `async with`; an error inside says more than one here."""
        if self._token is None:
            return
        if error is None:
            await self.give()
        else:
            with contextlib.suppress(ClientError):
                await self.give()


class AioLock(AioClaim):
    """A lock for all programs of the cluster: `async with kv.lock("nightly") as token`; see
    `raftline.Lock`."""

    def __init__(
        self,
        client: AioAsking,
        make_lease: Callable[[], AioLease],
        watching: Watching,
        name: str,
        holder: str,
    ) -> None:
        super().__init__(client, make_lease, watching, Place(LOCKS, name))
        self.name = name
        self._holder = holder

    def __repr__(self) -> str:
        return f"<AioLock {self.name!r}, {'held' if self.is_held else 'not held'}>"

    async def acquire(self, timeout: float | None = None) -> int | None:
        """Return the fencing token, waiting at most `timeout` seconds (0: one try; None: for
        ever); None where it was not got."""
        return await self.get(f"{self._holder} process {os.getpid()}", timeout)

    async def release(self) -> None:
        """Let others have it. Raises LeaseLost where it was lost, RuntimeError where not held."""
        await self.give()

    async def holder(self) -> str | None:
        """Return who holds it, as it named itself; None: nobody."""
        return await self._client.ask(CALLS.get(self._place.held))

    async def __aenter__(self) -> int:
        token = await self.acquire()
        if token is None:
            raise LeaseLost(f"the lock {self.name} was not got: this client was closed")
        return token


class AioElection(AioClaim, Generic[Data]):
    """An election of one leader at a time among programs; see `raftline.Election`."""

    def __init__(
        self,
        client: AioAsking,
        make_lease: Callable[[], AioLease],
        watching: Watching,
        name: str,
        codec: Codec[Data],
    ) -> None:
        super().__init__(client, make_lease, watching, Place(ELECTIONS, name))
        self.name = name
        self._codec = codec

    def __repr__(self) -> str:
        return f"<AioElection {self.name!r}, {'leads' if self.is_held else 'does not lead'}>"

    async def __aenter__(self) -> AioElection[Data]:
        return self

    async def campaign(self, value: Data, timeout: float | None = None) -> int | None:
        """Return the fencing token once this program leads, which `leader` then tells as `value`;
        None where it did not come to lead within `timeout` seconds."""
        return await self.get(self._codec.text(value), timeout)

    async def resign(self) -> None:
        """Lead no more. Raises LeaseLost where it was lost, RuntimeError where it did not lead."""
        await self.give()

    async def leader(self) -> Data | None:
        """Return what the leader campaigned with; None: nobody leads."""
        value = await self._client.ask(CALLS.get(self._place.held))
        return None if value is None else self._codec.of(value)

    async def observe(self) -> AsyncIterator[Data | None]:
        """Yield who leads now, and each change: None while nobody does."""
        async with self._watching(self._place.prefix) as watch:
            is_told = False
            while await watch.step():
                for event in watch.take_ready():
                    if event.key == self._place.held:
                        is_told = True
                        yield None if event.value is None else self._codec.of(event.value)
                if watch.is_listed and not is_told:
                    is_told = True
                    yield None
