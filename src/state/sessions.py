"""Sessions: a retried request takes effect once (thesis §6.3). Part of the state machine.

A request `client4#17@set b 5` belongs to the session `client4`; its number is 17. The table keeps
the checksum and the reply of the last requests of each session. Only the log changes the table. So
every node keeps and drops the same entries, and gives the same replies.

Its bounds, all stated in docs/use/protocol.md:

* per session, the WINDOW highest numbers: many requests may be in flight and arrive out of
  order, but an older request is refused;
* SESSIONS_MAX sessions: beyond that, the least recently used session is dropped. A request alone
  never begins a session of that name again, since it might be a retry: it is refused instead;
* the bytes of all kept replies, and the number of remembered requests
  (docs/operate/limits.md). Beyond these, the least recently used session loses its replies, or all
  requests but its LATEST: retries of the others are refused.

The number of an entry is never used again by a later entry, not even after a recovery. It fences a
lock, and makes the name of a session unique.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar
from zlib import crc32

from ..raft.log import Entry
from ..wire.commands.command_table import COMMANDS, ReplyForm, row_of
from ..wire.limits import (
    LONG_REPLIES_BYTES,
    REMEMBERED_REQUESTS,
    SESSIONS_MAX,
    SHORT_REPLIES_BYTES,
    SHORT_REPLY_BYTES,
)
from ..wire.operands.lease_operands import without_lease
from ..wire.protocol import is_begun_name
from ..wire.refusal import DONE_ONCE, NO_SESSION, SESSION_FORGOTTEN, SESSION_PAST, error

WINDOW = 128
LATEST = 7  # requests that each session always keeps; times SESSIONS_MAX, they fit in the bound
NAME_CHARACTERS_MAX = 44  # of the client's part: with a number, the name stays below 64
STEP_SESSIONS = 16  # read without a pause
KEY_MARK = "\0"  # replaces a long key in a kept reply; no reply holds a NUL
NO_LONGER_KEPT = "\0\0"  # replaces a reply that was dropped
_Value = TypeVar("_Value")
# A request that took effect: the CRC-32 of its command, and the reply, which is "" if it is long
# and can be rebuilt. The garbage collector does not visit a bare tuple of these two.
KeptReply = tuple[int, str]
_OF_WHAT_IS_GONE = (ReplyForm.VALUE, ReplyForm.RESULT, ReplyForm.RESULTS)
LONG_REPLIES = tuple(  # see `Session`
    f"{verb} "
    for verb, row in COMMANDS.items()
    if row.handling.is_numbered and row.reply in _OF_WHAT_IS_GONE
)
# Without a recovery, no later entry has the same index. But `raftline recover` and `raftline
# restore` continue from the remaining entries, so the indexes of lost entries are used again. Both
# raise the term to an epoch that no node was in. So all later entries have higher numbers.
EPOCH_TERMS = 1_000_000  # more elections than a cluster has
EPOCH_NUMBERS = 10**12  # more entries than can have been lost
EPOCH_MAX = 9_000_000  # keeps numbers below 2^63, even with a forged term


class Session:
    """The last requests of one client. `dumps` counts the snapshots begun before this object was
    made.

    A number at or below `highest` - WINDOW is refused.

    Of the long replies that can't be rebuilt, only the last is kept: a client that waits for each
    reply retries only that request. `long_bytes` counts the replies that are longer than
    SHORT_REPLY_BYTES, `short_bytes` the others.
    """

    __slots__ = ("answered", "dumps", "highest", "long_bytes", "short_bytes", "user")

    def __init__(self, dumps: int, user: str = "") -> None:
        self.dumps = dumps
        self.user = user  # who began it, "" if nobody was logged in
        self.highest = -1
        self.answered: dict[int, KeptReply] = {}
        self.long_bytes = self.short_bytes = 0

    def copy(self, dumps: int) -> Session:
        """Return a copy that can be changed."""
        twin = Session(dumps, self.user)
        twin.highest, twin.answered = self.highest, self.answered.copy()
        twin.long_bytes, twin.short_bytes = self.long_bytes, self.short_bytes
        return twin

    def remember(self, number: int, answered: KeptReply) -> None:
        """Keep one more reply. Drop replies before the window, whose requests are refused."""
        reply = answered[1]
        if self.long_bytes and size_of(reply) > SHORT_REPLY_BYTES:
            self.drop_long()
        self.answered[number] = answered
        self._add(reply)
        if number > self.highest:
            self.highest = number
            if len(self.answered) > 2 * WINDOW:  # not each time: it visits all of them
                floor = self.highest - WINDOW
                self.answered = {n: each for n, each in self.answered.items() if n > floor}
                self.count()

    def drop_long(self) -> None:
        """Drop all long replies."""
        for number, (crc, reply) in self.answered.items():
            if size_of(reply) > SHORT_REPLY_BYTES:
                self.answered[number] = (crc, NO_LONGER_KEPT)
        self.long_bytes = 0

    def drop_short(self) -> None:
        """Drop all short replies."""
        for number, (crc, reply) in self.answered.items():
            if reply and size_of(reply) <= SHORT_REPLY_BYTES:
                self.answered[number] = (crc, NO_LONGER_KEPT)
        self.short_bytes = 0

    def keep_latest(self) -> None:
        """Keep only the LATEST requests."""
        floor = sorted(self.answered)[-LATEST - 1]
        self.highest = max(self.highest, floor + WINDOW)
        self.answered = {n: each for n, each in self.answered.items() if n > floor}
        self.count()

    def count(self) -> None:
        """Recount the bytes of the replies."""
        self.long_bytes = self.short_bytes = 0
        for _, reply in self.answered.values():
            self._add(reply)

    def _add(self, reply: str) -> None:
        size = size_of(reply)
        if size > SHORT_REPLY_BYTES:
            self.long_bytes += size
        elif reply != NO_LONGER_KEPT:
            self.short_bytes += size


class SessionLines(Collection[str]):
    """The session table at one moment, line by line. A session is dropped once it is written, so
    that memory is freed in small steps. So the lines can be read only once."""

    def __init__(self, has_forgotten: bool, sessions: list[tuple[str, Session]]) -> None:
        self._first = json.dumps({"forgotten": has_forgotten})
        self._sessions = sessions
        self._count = 1 + len(sessions)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, line: object) -> bool:
        raise TypeError("the lines can be read only once, in order")

    def __iter__(self) -> Iterator[str]:
        yield self._first
        self._sessions.reverse()
        while self._sessions:
            name, session = self._sessions.pop()
            requests = [[number, *each] for number, each in session.answered.items()]
            user = [session.user] if session.user else []
            yield json.dumps([name, session.highest, requests, *user], ensure_ascii=True)


class SessionTable:
    """All sessions, least recently used first."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._has_forgotten = False
        self._dumps = 0
        self._long_bytes = self._short_bytes = 0  # of the replies of all sessions
        self._requests = 0  # remembered by all sessions

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def requests(self) -> int:
        """The remembered requests of all sessions."""
        return self._requests

    def begin(self, client: str, entry_number: int, user: str = "") -> str:
        """Begin a user's session under a new name and return the name.

        The name holds the number of the entry that begins the session (`entry_number`), so it is
        unique.
        """
        name = f"{client[:NAME_CHARACTERS_MAX]}-{entry_number}"  # a name has a limit, too
        self._sessions[name] = Session(self._dumps, user)
        self._make_room()
        return name

    def user_of(self, name: str) -> str:
        """Return the user who began a session, "" if nobody was logged in."""
        session = self._sessions.get(name)
        return session.user if session is not None else ""

    def forget(self, name: str) -> str:
        """End a session that `begin` made, and return the reply. Its name is never used again, so a
        late copy of one of its requests is refused and not executed a second time."""
        if not is_begun_name(name):
            return NO_SESSION(name)
        session = self._sessions.pop(name, None)
        if session is not None:
            self._count(session, -1)
        return f"FORGET response: {name}"

    def earlier_reply(self, name: str, number: int, command: str) -> str | None:
        """Return the reply to a request that must not be executed (again), or None for a new
        request."""
        session = self._sessions.get(name)
        if session is None:
            if self._has_forgotten or is_begun_name(name):
                return SESSION_FORGOTTEN(name)
            session = self._sessions[name] = Session(self._dumps)
            self._make_room()
        self._sessions.move_to_end(name)
        if number <= session.highest - WINDOW:
            return SESSION_PAST(number, name)
        kept = session.answered.get(number)
        if kept is None:
            return None
        crc, reply = kept
        if crc != crc32(command.encode("utf-8", "surrogateescape")):
            return error(f"request {number} of {name} was another command; nothing was executed")
        if reply == NO_LONGER_KEPT:
            return DONE_ONCE
        return reply.replace(KEY_MARK, _key_of(command)) or _repeat(command)

    def is_new(self, name: str, number: int) -> bool:
        """Whether a request would be executed, as far as its number says."""
        session = self._sessions.get(name)
        if session is None:
            return not (self._has_forgotten or is_begun_name(name))
        return number > session.highest - WINDOW and number not in session.answered

    def remember(self, name: str, number: int, command: str, reply: str) -> None:
        """Keep the reply to a request, so that a retry gets the same reply."""
        crc = crc32(command.encode("utf-8", "surrogateescape"))
        session = self._own(name, self._sessions[name])
        self._count(session, -1)
        session.remember(number, (crc, _kept(command, reply)))
        self._count(session, 1)
        self._bound()

    def _count(self, session: Session, sign: int) -> None:
        """Add a session's bytes and requests to the totals, or with -1 subtract them."""
        self._long_bytes += sign * session.long_bytes
        self._short_bytes += sign * session.short_bytes
        self._requests += sign * len(session.answered)

    def _bound(self) -> None:
        """Drop replies and requests of the least recently used sessions until the rest fits."""
        if self._long_bytes > LONG_REPLIES_BYTES:
            self._drop(
                Session.drop_long,
                lambda each: each.long_bytes > 0,
                lambda: self._long_bytes <= LONG_REPLIES_BYTES,
            )
        if self._short_bytes > SHORT_REPLIES_BYTES:
            self._drop(
                Session.drop_short,
                lambda each: each.short_bytes > 0,
                lambda: self._short_bytes <= SHORT_REPLIES_BYTES,
            )
        if self._requests > REMEMBERED_REQUESTS:
            few = REMEMBERED_REQUESTS // 16 * 15  # so that a pass over all sessions is rare
            self._drop(
                Session.keep_latest,
                lambda each: len(each.answered) > LATEST,
                lambda: self._requests <= few,
            )

    def _drop(
        self,
        drop: Callable[[Session], None],
        has_any: Callable[[Session], bool],
        is_enough: Callable[[], bool],
    ) -> None:
        for name, session in self._sessions.items():
            if has_any(session):
                own = self._own(name, session)
                self._count(own, -1)
                drop(own)
                self._count(own, 1)
                if is_enough():
                    return

    def _own(self, name: str, session: Session) -> Session:
        """Return a session that may be changed: a copy if a snapshot may still need the
        original."""
        if session.dumps != self._dumps:
            session = self._sessions[name] = session.copy(self._dumps)
        return session

    def dump(self) -> SessionLines:
        """Return the current table as lines of JSON, for a snapshot. This is quick: each line is
        made when it is read, and a session that changes before that is copied first."""
        self._dumps += 1
        return SessionLines(self._has_forgotten, list(self._sessions.items()))

    @classmethod
    def load(cls, lines: Iterable[str], pause: Callable[[], None] = lambda: None) -> SessionTable:
        """Return the table that `dump` wrote.

        Raises:
            ValueError: a line has the wrong form.
        """
        table = cls()
        try:
            for place, line in enumerate(lines):
                if place % STEP_SESSIONS == 0:
                    pause()
                row = json.loads(line)
                if isinstance(row, dict):
                    table._has_forgotten = bool(row["forgotten"])
                    continue
                name, highest, requests, *users = row
                (user,) = users or [""]
                session = table._sessions[_the(str, name)] = Session(0, _the(str, user))
                session.highest = _the(int, highest)
                session.answered = {
                    _the(int, number): (_the(int, crc), _the(str, reply))
                    for number, crc, reply in requests
                }
                session.count()
                table._count(session, 1)
        except (KeyError, TypeError, RecursionError) as problem:
            raise ValueError(f"not a line of the session table: {problem}") from None
        return table

    def _make_room(self) -> None:
        while len(self._sessions) > SESSIONS_MAX:
            _, session = self._sessions.popitem(last=False)
            self._count(session, -1)
            self._has_forgotten = True


def _the(kind: type[_Value], value: object) -> _Value:
    """Return a value if its type is exactly `kind`: a bool is not an int here."""
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} stands")
    return value


def size_of(reply: str) -> int:
    """Return the length of a reply in bytes of UTF-8."""
    return len(reply) if reply.isascii() else len(reply.encode("utf-8", "surrogatepass"))


def _kept(command: str, reply: str) -> str:
    """Return the part of a reply to keep: "" if it repeats its value and can be rebuilt. If its key
    makes it long, KEY_MARK replaces the key: the rest shows whether the command was done."""
    if size_of(reply) <= SHORT_REPLY_BYTES or command.startswith(LONG_REPLIES):
        return reply
    return "" if reply == _repeat(command) else reply.replace(_key_of(command), KEY_MARK)


def _key_of(command: str) -> str:
    return without_lease(command).partition(" ")[2].partition(" ")[0]


def _repeat(command: str) -> str:
    """Rebuild a reply that was too long to keep: it repeats the value of the command."""
    if command.startswith(LONG_REPLIES):
        return DONE_ONCE
    command = without_lease(command)
    row = row_of(command)
    value = row.operands.value_in(command)
    return f"{row.verb.upper()} response: {_key_of(command)} set to {value}"


def entry_number(index: int, term: int) -> int:
    """Return the number of an entry. It grows along a log, as index and term do. In the first epoch
    it is the index. Only a recovery begins another epoch."""
    return min(term // EPOCH_TERMS, EPOCH_MAX) * EPOCH_NUMBERS + index


def entry_numbers_of(entries: Sequence[Entry]) -> Sequence[int]:
    """Return the number of each of these consecutive entries."""
    if not entries:
        return ()
    first, last = entries[0], entries[-1]
    is_run = last.index - first.index == len(entries) - 1
    if is_run and first.term // EPOCH_TERMS == last.term // EPOCH_TERMS:  # nearly always
        begin = first.index
        if first.term >= EPOCH_TERMS:
            begin = entry_number(begin, first.term)
        return range(begin, begin + len(entries))
    return [entry_number(entry.index, entry.term) for entry in entries]


def next_epoch(term: int) -> int:
    """Return the first term of an epoch that no node with a term near `term` was in. It skips the
    next epoch: another node may have reached that with one more election."""
    return (term // EPOCH_TERMS + 2) * EPOCH_TERMS


def has_next_epoch(term: int) -> bool:
    """Whether the numbers of entries grow with the next epoch: a forged term may have reached the
    last one."""
    return next_epoch(term) // EPOCH_TERMS <= EPOCH_MAX
