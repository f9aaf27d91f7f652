"""What a node prints in the words of the course's controller lab (seed 000), if it is asked to.

    Current Term is: 2
    Current Entries are: {}
    Current State is: leader
    Forwarding the log to followers: [1: {'term': 2, 'k': 'v'}]
    Log entries are: ['1': {'term': 2, 'k': 'v'}]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from raftline.common.console import LINE_CHARACTERS_MAX
from raftline.controller.retrieval import numbered
from raftline.raft.effects import Effects, Entry
from raftline.raft.state import Role
from raftline.raft.view import NodeView

SHOWN_ROLES = {Role.PRE_CANDIDATE: Role.FOLLOWER}  # it asks, and stands in no election yet
ENTRIES_SHOWN = 8  # the latest; fewer where a line of the console does not hold so many
ROOM = LINE_CHARACTERS_MAX - len("Current Entries are: (1,000,000 more before) []")


class CourseLines:
    """Follows one life of a node, step by step. Whoever calls holds the driver's `core` lock.

    An entry is forwarded as soon as the leader has it, and stands among the log's entries once
    it is committed; the course's nodes did not tell the two apart.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._state: tuple[int, Role | None] = -1, None
        self._last = 0  # the index up to which entries are counted
        self._count = 0  # entries that clients wrote, committed, from the log's base on
        self._latest: list[str] = []

    def stepped(self, view: NodeView, effects: Effects) -> None:
        """Say what one step of the core changed."""
        if effects.install is not None or self._last < view.log.base_index:
            self._last, self._count, self._latest = view.log.base_index, 0, []
        role = SHOWN_ROLES.get(view.role, view.role)
        if role is Role.LEADER and self._state[0] < view.term:  # alone, it is elected at once
            self._changed(view, Role.CANDIDATE)
        if (view.term, role) != self._state:
            self._changed(view, role)
        if view.role is Role.LEADER and effects.append:
            self._forwarded(view, effects.append[0].index)
        if effects.apply:
            self._applied(effects.apply)

    def _changed(self, view: NodeView, role: Role) -> None:
        self._state = view.term, role
        self._say(f"Current Term is: {view.term}")
        self._say(f"Current Entries are: {self._entries(view)}")
        self._say(f"Current State is: {role.value}")

    def _entries(self, view: NodeView) -> str:
        log = view.log
        found = numbered(log.entries(log.base_index + 1, log.last_index))
        latest = [f"{number}: {one}" for number, one in list(found.items())[-ENTRIES_SHOWN:]]
        return _the_latest(latest, len(found), "{}")

    def _forwarded(self, view: NodeView, first: int) -> None:
        waiting = view.log.entries(self._last + 1, view.log.last_index)
        before = len(numbered(entry for entry in waiting if entry.index < first))
        new = numbered((e for e in waiting if e.index >= first), self._count + before + 1)
        if new:
            text = ", ".join(f"{number}: {one}" for number, one in new.items())
            self._say(f"Forwarding the log to followers: [{text}]")

    def _applied(self, entries: Iterable[Entry]) -> None:
        entries = [entry for entry in entries if entry.index > self._last]
        if entries:
            self._last = entries[-1].index
        new = numbered(entries, self._count + 1)
        if new:
            self._count += len(new)
            self._latest += [f"'{number}': {one}" for number, one in new.items()]
            self._latest = self._latest[-ENTRIES_SHOWN:]
            self._say(f"Log entries are: {_the_latest(self._latest, self._count, '[]')}")


def _the_latest(texts: Sequence[str], count: int, brackets: str) -> str:
    """Return as many of the last texts as fit, one at least, and how many of `count` are not
    shown: what is new stands at the end, where the console would cut."""
    first, room = len(texts) - 1, ROOM
    while first > 0 and len(", ".join(texts[first - 1 :])) <= room:
        first -= 1
    shown = texts[max(first, 0) :]
    more = count - len(shown)
    before = f"({more:,} more before) " if more else ""
    return f"{before}{brackets[0]}{', '.join(shown)}{brackets[1]}"
