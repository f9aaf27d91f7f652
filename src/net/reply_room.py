"""The bytes of replies and events that a node has made and that nobody has taken yet.

A reader that takes nothing keeps what was made for it: a piece, at most a whole long reply. So all
connections of a node share one room for it. Whoever may wait makes no long reply before there is
room. Whoever keeps some of it for long while others wait is cut off: a reader that takes nothing
must not keep those waiting that do. One user leaves room for the others, however many connections
it has. The reply to an entry is made when that is applied, and is not kept if there is no room.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from ..wire.limits import LONG_REPLY_BYTES, REPLIES_BYTES, REPLY_HELD_S

MAKERS = 2  # long replies that are made at a time
LOOK_S = 0.5  # between two looks at those that hold some, while anybody waits


class Holder(Protocol):
    """A connection, as the room sees it."""

    @property
    def user(self) -> str | None:
        """The user that is logged in, "" if nobody is; None: the node has no users."""

    def break_off(self) -> None:
        """End the connection."""


class ReplyRoom:
    """Counts what each connection holds; it has no say in how much one reply has."""

    def __init__(
        self,
        bytes_max: int = REPLIES_BYTES,
        held_s: float = REPLY_HELD_S,
        look_s: float = LOOK_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.used = 0
        self.kept = 0  # of replies to entries, which nobody could have wait for room
        self._bytes_max = bytes_max
        self._held_s = held_s
        self._look_s = look_s
        self._now_s = now_s
        self._changed = threading.Condition()
        self._makers: set[Holder] = set()  # that make a reply now, in turn
        # Bytes, since when, and whose they were, as made.
        self._held: dict[Holder, tuple[int, float, str | None]] = {}
        self._of_user: dict[str | None, int] = {}  # of these bytes

    def reserve(self, holder: Holder, *, in_turn: bool = False) -> None:
        """Wait until there is room for a long reply, and take it; `hold` records how long it is.

        `holder` holds nothing yet, and this thread no lock. If `in_turn`, few make theirs at a
        time: that takes the interpreter from the thread that keeps time.
        """
        while not self.reserve_now(holder, in_turn=in_turn):
            with self._changed:
                self._changed.wait_for(partial(self._may_make, holder, in_turn), self._look_s)

    def reserve_now(self, holder: Holder, *, in_turn: bool = False) -> bool:
        """Do the same if there is room now; else end those that hold theirs for too long. Return
        whether there was room. Never waits."""
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
        """End the connections that hold theirs for too long, if there is no room for another."""
        before_s = self._now_s() - self._held_s
        with self._changed:
            held = self._held.items() if self._is_full(holder) else ()
            late = [one for one, (_, since_s, _) in held if since_s <= before_s]
        for one in late:
            one.break_off()

    def keep(self, size: int) -> bool:
        """Count a reply to an entry, which waits with its request; return whether there is room."""
        with self._changed:
            if self.kept + size > self._bytes_max:
                return False
            self.kept += size
            return True

    def let_go(self, size: int) -> None:
        """Note that so much of these has left, or never will."""
        with self._changed:
            self.kept -= size

    def relieve(self) -> None:
        """End those that hold theirs longest if there is twice as much as there may be: what
        was made without a wait. This thread holds no lock."""
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
        """Whether there is no room for one more. What another user holds counts as no more than
        leaves room for one reply."""
        most = max(0, self._bytes_max - LONG_REPLY_BYTES)
        own = self._of_user.get(holder.user, 0)
        others = sum([min(size, most) for size in self._of_user.values()]) - min(own, most)
        return own + others > most

    def hold(self, holder: Holder, size: int) -> None:
        """Count what was made for a connection, instead of what it reserved; never waits."""
        with self._changed:
            self._set(holder, size, self._now_s())
            self._changed.notify_all()

    def give(self, holder: Holder) -> None:
        """Note that a connection holds nothing any more."""
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
