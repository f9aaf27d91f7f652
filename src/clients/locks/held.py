"""What a program holds: a lock, a slot of a semaphore or the leadership of an election.

Each acquisition makes one such object, with its own lease and fencing token. Only this
object releases it. Threads, tasks and simulated programs share this code; the requests are machines
(`steps.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from ...common.no_copies import NoCopies
from ..calls.calls import CALLS, Ask, Stat, Steps
from ..calls.kv_errors import LeaseLost
from ..requests.node_connection import ClientError
from .contest import MARK, LockKeys, LockProtocol
from .lease_timer import BaseLease, suppress_if

Leased = TypeVar("Leased", bound=BaseLease[Any])
SomeHeld = TypeVar("SomeHeld", bound="BaseHeld[Any]")


class BaseHeld(NoCopies, Generic[Leased]):
    """The part that never waits: the state, and the requests as machines."""

    def __init__(self, keys: LockKeys, lease: Leased, contest: LockProtocol, token: int) -> None:
        """Hold the key of a claim that has won under this lease."""
        self.name = keys.name
        self._keys = keys
        self._lease = lease
        self._contest = contest
        self._token = token
        self._is_released = False

    def __repr__(self) -> str:
        state = "held" if self.is_held else "not held"
        return f"<{type(self).__name__} {self.name!r}, token {self.token}, {state}>"

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
    def slot(self) -> int | None:
        """The number of a semaphore's slot, from 1 to the limit; None for other locks. The tokens
        of one slot only grow."""
        return self._keys.slot_of(self._contest.key)

    def _checking(self) -> Steps[int]:
        """Return the token, once the cluster has confirmed that it is held: the lease is alive, and
        the key has not changed since the entry of the token set it.

        Raises:
            LeaseLost: it is not held.
        """
        lease, key, mark = self._lease, self._contest.key, self._contest.mark
        yield from lease._checking(None)
        if not is_of((yield Ask(CALLS.stat(key))), self._token) or (
            mark is not None and (yield Ask(CALLS.get(self._keys.held))) != mark
        ):
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
        deleted = yield from self._lease._releasing()
        yield from sweeping_after(self._keys, self._contest)
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
        key = self._contest.key
        return LeaseLost(f"{key} no longer belongs to this program: it was deleted or set again")


class WithBlocks(Generic[SomeHeld]):
    """What the `with` blocks of one object hold. Each block ends what it began, even if several
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


def sweeping(keys: LockKeys, mark: str) -> Steps[bool]:
    """Delete the mark of shared holders if no such holder is left; return whether it was
    deleted."""
    stat = yield Ask(CALLS.stat(keys.held))
    page = yield Ask(keys.sharers_request)
    if stat is None or not page.is_last or keys.sharers_in(dict(page.pairs)):
        return False
    swept = yield Ask(keys.sweep(mark, stat.index))
    return bool(swept)


def sweeping_after(keys: LockKeys, contest: LockProtocol | None) -> Steps[None]:
    """Delete the mark if the end of this claim leaves no shared holder. A failure is not reported:
    the next claim deletes the mark. While the first holder, which the mark names, is there, only
    its key is read."""
    if contest is not None and (mark := contest.mark) is not None:
        first = keys.sharer(mark.removeprefix(MARK))
        with contextlib.suppress(ClientError):
            if first == contest.key or (yield Ask(CALLS.get(first))) is None:
                yield from sweeping(keys, mark)


def is_of(stat: Stat | None, token: int | None) -> bool:
    """Return whether the entry with this token was the last to change the key."""
    return stat is not None and stat.index == token
