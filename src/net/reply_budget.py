"""The room for replies and events that a node has made, but that no reader has taken yet.

A reader that takes nothing holds the bytes that were made for it: a piece, or at most a whole long
reply. So all connections of a node share one room for these bytes. If a thread can wait, it makes
a long reply only when there is room. A connection that holds bytes for a long time while others
wait is ended: a reader that takes nothing must not delay the others. A single user leaves room for
the others, however many connections it has. The reply to an entry is made when the entry is
applied, and is dropped if there is no room.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from ..wire.limits import LONG_REPLY_BYTES, REPLIES_BYTES, REPLY_HELD_S

MAKERS = 2  # long replies that are made at the same time
CHECK_S = 0.5  # between two checks of the holders, while a connection waits


class Holder(Protocol):
    """A connection, as the room sees it."""

    @property
    def user(self) -> str | None:
        """The user that is logged in, or "" if nobody is; None if the node has no users."""

    def break_off(self) -> None:
        """End the connection."""


class ReplyRoom:
    """Counts the bytes that each connection holds; it does not limit the length of a reply."""

    def __init__(
        self,
        bytes_max: int = REPLIES_BYTES,
        held_s: float = REPLY_HELD_S,
        check_s: float = CHECK_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.used = 0
        self.kept = 0  # of replies to entries, which can't wait for room
        self._bytes_max = bytes_max
        self._held_s = held_s
        self._look_s = check_s
        self._now_s = now_s
        self._changed = threading.Condition()
        self._makers: set[Holder] = set()  # the holders that make a reply now, in turn
        # The bytes, their time, and their user at that time.
        self._held: dict[Holder, tuple[int, float, str | None]] = {}
        self._of_user: dict[str | None, int] = {}  # the sum of these bytes by user

    def reserve(self, holder: Holder, *, in_turn: bool = False) -> None:
        """Wait until there is room for a long reply, and reserve it; `hold` records its length.

        `holder` holds no bytes yet, and this thread holds no lock. With `in_turn`, only a few
        replies are made at the same time: making one takes the interpreter from the thread that
        keeps time.
        """
        while not self.reserve_now(holder, in_turn=in_turn):
            with self._changed:
                self._changed.wait_for(partial(self._may_make, holder, in_turn), self._look_s)

    def reserve_now(self, holder: Holder, *, in_turn: bool = False) -> bool:
        """Reserve room if there is any now; otherwise end the connections that hold bytes for too
        long. Return whether there was room. Never wait."""
        with self._changed:
            may_make = self._may_make(holder, in_turn)
            if may_make:
                self._set(holder, LONG_REPLY_BYTES, math.inf)
                if in_turn:
                    self._makers.add(holder)
        if not may_make:
            self._end_late(holder)
        return may_make

    def _may_make(self, holder: Holder, in_turn: bool) -> bool:
        return not self._is_full(holder) and not (in_turn and len(self._makers) >= MAKERS)

    def _end_late(self, holder: Holder) -> None:
        """End the connections that hold bytes for too long, if there is no room for this one."""
        before_s = self._now_s() - self._held_s
        with self._changed:
            holders = self._held.items() if self._is_full(holder) else ()
            late = [one for one, (_, since_s, _) in holders if since_s <= before_s]
        for one in late:
            one.break_off()

    def keep(self, size: int) -> bool:
        """Count a reply to an entry, which stays with its request; return whether there is room."""
        with self._changed:
            if self.kept + size > self._bytes_max:
                return False
            self.kept += size
            return True

    def release(self, size: int) -> None:
        """Subtract replies to entries that were sent, or never will be."""
        with self._changed:
            self.kept -= size

    def relieve(self) -> None:
        """End the oldest holders if twice the permitted bytes are held, as some replies are made
        without a wait. This thread holds no lock."""
        with self._changed:
            surplus = self.used - 2 * self._bytes_max
            late = []
            for one, (size, _, _) in self._held.items():
                if surplus > 0:
                    late.append(one)
                    surplus -= size
        for one in late:
            one.break_off()

    def _is_full(self, holder: Holder) -> bool:
        """Whether there is no room for another reply. The bytes of each other user are capped, so
        that a single user always leaves room for one reply."""
        most = max(0, self._bytes_max - LONG_REPLY_BYTES)
        own = self._of_user.get(holder.user, 0)
        others = sum([min(size, most) for size in self._of_user.values()]) - min(own, most)
        return own + others > most

    def hold(self, holder: Holder, size: int) -> None:
        """Count the bytes made for a connection, instead of the bytes it reserved; never wait."""
        with self._changed:
            self._set(holder, size, self._now_s())
            self._changed.notify_all()

    def give(self, holder: Holder) -> None:
        """Note that a connection no longer holds any bytes."""
        if holder in self._held:
            with self._changed:
                self._set(holder, 0, 0.0)
                self._changed.notify_all()

    def _set(self, holder: Holder, size: int, since_s: float) -> None:
        self._makers.discard(holder)
        before, _, user = self._held.pop(holder, (0, 0.0, None))
        self._count(user, -before)
        if size:
            self._held[holder] = (size, since_s, holder.user)
            self._count(holder.user, size)

    def _count(self, user: str | None, size: int) -> None:
        self.used += size
        now = self._of_user.pop(user, 0) + size
        if now:
            self._of_user[user] = now
