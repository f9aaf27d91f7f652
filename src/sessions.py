"""Sessions: a retried request takes effect once (thesis §6.3). Part of the state machine.

A request `client4#17@set b 5` belongs to the session `client4`; its number is 17. The table
remembers, for the last requests of each session, what they were and what they answered. It is
changed by the log alone, so every node holds the same, forgets the same, and answers the same.

Two bounds, both stated in docs/protocol.md:

* per session, the WINDOW highest numbers: many requests may be in flight and arrive out of
  order, but one that lies further back is refused;
* SESSIONS_MAX sessions: beyond, the least recently used one goes. Its name is never begun again
  by a mere request, since that might be a retry: it is refused instead.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

from raftline.protocol import error, outcome_unknown

SESSIONS_MAX = 4096
WINDOW = 128
NAME_CHARACTERS_MAX = 44  # of the client's own part: with an index it stays below 64
REPLY_CHARACTERS_MAX = 512  # a longer one that repeats the value of its request is not kept
LONG_REPLIES = ("object ", "machine ")  # their replies hold what is gone by then: see `Session`


class Answered(NamedTuple):
    """A request that took effect: the CRC-32 of its command, and the reply, "" where it is long."""

    crc: int
    reply: str


class Session:
    """The last requests of one client.

    Of the long replies that can't be made again only the last is kept: a client that waits for
    each reply asks again for none but that.
    """

    __slots__ = ("answered", "highest")

    def __init__(self) -> None:
        self.highest = -1
        self.answered: dict[int, Answered] = {}

    def remember(self, number: int, answered: Answered) -> None:
        """Keep one more; what lies behind the window goes, it is refused in any case."""
        if len(answered.reply) > REPLY_CHARACTERS_MAX:
            for other, (crc, reply) in self.answered.items():
                if len(reply) > REPLY_CHARACTERS_MAX:
                    self.answered[other] = Answered(crc, "")
        self.answered[number] = answered
        if number > self.highest:
            self.highest = number
            if len(self.answered) > 2 * WINDOW:  # now and then: it walks over all of them
                floor = self.highest - WINDOW
                self.answered = {n: each for n, each in self.answered.items() if n > floor}


class Sessions:
    """All sessions, least recently used first."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._has_forgotten = False

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, client: str, index: int) -> str:
        """Begin a session under a name that nobody had before, and return the name.

        It holds the index of the entry that begins it, so it can't come again.
        """
        name = f"{client[:NAME_CHARACTERS_MAX]}-{index}"  # a name, too, has a longest
        self._sessions[name] = Session()
        self._make_room()
        return name

    def earlier_reply(self, name: str, number: int, command: str) -> str | None:
        """Return the reply to a request that must not be executed (again); None for a new one."""
        session = self._sessions.get(name)
        if session is None:
            if self._has_forgotten or _is_begun_name(name):
                return error(
                    f"session expired: nothing is known of {name} any more, so this request may "
                    "be a retry; it was not executed. Begin a session with NAME@session"
                )
            session = self._sessions[name] = Session()
            self._make_room()
        self._sessions.move_to_end(name)
        if number <= session.highest - WINDOW:
            return error(
                f"session expired: request {number} of {name} lies {WINDOW} or more behind its "
                f"request {session.highest}; it was not executed"
            )
        answered = session.answered.get(number)
        if answered is None:
            return None
        if answered.crc != crc32(command.encode("utf-8", "surrogateescape")):
            return error(f"request {number} of {name} was another command; nothing was executed")
        return answered.reply or _repeat(command)

    def remember(self, name: str, number: int, command: str, reply: str) -> None:
        """Keep what a request answered, so that its retry gets the same."""
        is_kept = len(reply) <= REPLY_CHARACTERS_MAX or command.startswith(LONG_REPLIES)
        kept = reply if is_kept else ""
        crc = crc32(command.encode("utf-8", "surrogateescape"))
        self._sessions[name].remember(number, Answered(crc, kept))

    def copy(self) -> Sessions:
        """Return the table as it is now; quick, since all that change it wait meanwhile."""
        twin = Sessions()
        twin._has_forgotten = self._has_forgotten
        for name, session in self._sessions.items():
            copied = twin._sessions[name] = Session()
            copied.highest = session.highest
            copied.answered = session.answered.copy()
        return twin

    def dump(self) -> list[str]:
        """Return the table as lines of JSON, for a snapshot."""
        lines = [json.dumps({"forgotten": self._has_forgotten})]
        for name, session in self._sessions.items():
            answered = [[number, *each] for number, each in session.answered.items()]
            lines.append(json.dumps([name, session.highest, answered], ensure_ascii=True))
        return lines

    def load(self, lines: Iterable[str]) -> None:
        """Become what `dump` said.

        Raises:
            ValueError: a line is none of its lines.
        """
        self._sessions.clear()
        self._has_forgotten = False
        try:
            for line in lines:
                read = json.loads(line)
                if isinstance(read, dict):
                    self._has_forgotten = bool(read["forgotten"])
                    continue
                name, highest, answered = read
                session = self._sessions[str(name)] = Session()
                session.highest = int(highest)
                session.answered = {
                    int(number): Answered(int(crc), str(reply)) for number, crc, reply in answered
                }
        except (KeyError, TypeError) as problem:
            raise ValueError(f"not a line of the session table: {problem}") from None

    def _make_room(self) -> None:
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
            self._has_forgotten = True


def _is_begun_name(name: str) -> bool:
    """Whether the name has the form that `begin` gives: such a one is only ever begun there."""
    client, dash, index = name.rpartition("-")
    return bool(client and dash and index.isascii() and index.isdigit())


def _repeat(command: str) -> str:
    """Return a reply that was too long to keep: those that repeat the value are made again."""
    if command.startswith(LONG_REPLIES):
        return outcome_unknown("it took effect once, but its reply was long and is not kept now")
    verb, _, operands = command.partition(" ")
    key, _, value = operands.partition(" ")
    if verb == "cas":
        value = value.partition(" ")[2]
    return f"{verb.upper()} response: {key} set to {value}"
