"""The holdings of a program: a lock, a slot of a semaphore or the leadership of an election.

Each acquisition makes one such object, with its own claim and fencing token. Only this
object releases it. Threads, tasks and simulated programs share this code; the requests are machines
(`steps.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from raftline.clients.calls.calls import CALLS, Ask, Call, Stat, Steps
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.connections.node_connection import ClientError
from raftline.clients.leases.base_lease import BaseLease, suppress_if
from raftline.common.no_copies import NoCopies

from .lock_keys import LockKeys

Leased = TypeVar("Leased", bound=BaseLease[Any])
SomeHeld = TypeVar("SomeHeld", bound="BaseHeld[Any]")


class BaseHeld(NoCopies, Generic[Leased]):
    """The part that never waits: the state, and the requests as machines."""

    _gives_with: Call[Any] | None = None  # a request that gives it back along with more
    _is_acquired = False  # as a lock is; a job or a membership is not

    def __init__(self, keys: LockKeys, lease: Leased, key: str, token: int) -> None:
        """Hold the key of a claim that has won under this lease."""
        self.name = keys.name
        self._keys = keys
        self._lease = lease
        self._key = key
        self._token = token
        self._is_released = False
        self._waits_for_release = True

    def __repr__(self) -> str:
        state = "held" if self.is_held else "not held"
        return f"<{type(self).__name__} {self.name!r}, token {self.token}, {state}>"

    def __del__(self) -> None:
        if self._is_forgotten:
            warnings.warn(
                f"{self!r} was dropped without a release: it stays held until the client is closed"
                " and its lease ends",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    @property
    def _is_forgotten(self) -> bool:
        """Whether nothing can release it any more although it is held."""
        return self._is_acquired and self._lease.is_held

    @property
    def token(self) -> int:
        """The fencing token: the index of the entry that granted it, which is higher for each new
        holder."""
        return self._token

    @property
    def is_held(self) -> bool:
        """Whether this program certainly holds it, by its own clock."""
        return self._lease.is_held

    @property
    def slot(self) -> int:
        """The number of a semaphore's slot, from 1 to the limit; 0 for other locks. The tokens of
        one slot only grow."""
        return self._keys.slot_of(self._key)

    def _checking(self) -> Steps[int]:
        """Return the token, once the cluster has confirmed that it is held: the lease is alive, and
        the key has not changed since the entry of the token set it.

        Raises:
            LeaseLost: it is not held.
        """
        lease = self._lease
        yield from lease._checking(None)
        if not is_of((yield Ask(CALLS.stat(self._key))), self._token):
            lease._lose()
            raise self._broken()
        lease._expect_held()  # the last answer may have taken a long time
        return self._token

    def _releasing(self) -> Steps[None]:
        """Release it.

        Raises:
            LeaseLost: it was lost.
            RuntimeError: it is released already.
        """
        if self._is_released:
            raise RuntimeError(f"{self.name} is released already")
        self._is_released = self._lease._is_here
        waits = self._waits_for_release
        deleted = yield from self._lease._ending(waits=waits, more=self._gives_with)
        if not deleted:
            raise self._broken()

    def _leaving(self, error: BaseException | None) -> Steps[None]:
        """Release it at the end of a `with`, unless the block did so. An error in the block takes
        precedence over an error here."""
        if not self._is_released and self._lease._is_here:
            with suppress_if(error, ClientError):
                yield from self._releasing()

    def _broken(self) -> LeaseLost:
        """Return the error for a key that another holder has set, or that was deleted."""
        return LeaseLost(
            f"{self._key} no longer belongs to this program: it was deleted or set again"
        )


class WithBlocks(Generic[SomeHeld]):
    """The holdings of `with` blocks of one object. Each block ends what it began, even if several
    threads or tasks use the object at the same time."""

    def __init__(self) -> None:
        self._blocks: list[tuple[Hashable, SomeHeld]] = []

    def begin(self, where: Hashable, held: SomeHeld) -> SomeHeld:
        """Start a block in this thread or task."""
        self._blocks.append((where, held))
        return held

    def end(self, where: Hashable) -> SomeHeld:
        """End the last block of this thread or task, or the only one of all: a generator may end
        its block in another thread.

        Raises:
            RuntimeError: it may be any of several blocks.
        """
        blocks = [each for each in self._blocks if each[0] == where] or self._blocks
        if len(blocks) > 1 and blocks is self._blocks:
            raise RuntimeError(
                "this `with` began in another thread or task; write `with lock.acquire() as held`"
            )
        block = blocks[-1]
        self._blocks.remove(block)
        return block[1]


def is_of(stat: Stat | None, token: int | None) -> bool:
    """Return whether the entry with this token was the last to change the key."""
    return stat is not None and stat.index == token
