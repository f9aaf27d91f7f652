"""The orders for a leader: store a pair, show the committed entries, name the leader.

The course numbers the entries of its log from 1; RETRIEVE shows these numbers, and a node prints
them on request:

    Current Term is: 2
    Current Entries are: {}
    Current State is: leader
    Forwarding the log to followers: [1: {'term': 2, 'k': 'v'}]
    Log entries are: ['1': {'term': 2, 'k': 'v'}]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from raftline.common.process.console import LINE_CHARACTERS_MAX
from raftline.net.protocol.host import Batch
from raftline.raft.effects import Effects
from raftline.raft.identity import PREFIX as IDENTITY_PREFIX
from raftline.raft.log import Entry
from raftline.raft.membership import PREFIX
from raftline.raft.node_view import NodeView
from raftline.raft.roles import Role
from raftline.raft.upgrade import NOOP
from raftline.wire.commands.command_table import Request, read_request
from raftline.wire.protocol import ProtocolError, unescape
from raftline.wire.refusal import Refusal, error, outcome_unknown
from raftline.wire.replies.refusals import code_of, refusal_in
from raftline_course.controller.controlled import ControlledNode

SHOWN_ROLES = {Role.PRE_CANDIDATE: Role.FOLLOWER}  # it sends PreVotes, and isn't a candidate yet
ENTRIES_SHOWN = 8  # the latest; fewer if they don't fit into a console line
ROOM = LINE_CHARACTERS_MAX - len("Current Entries are: (1,000,000 more before) []")
PAGE_ENTRIES = 500
PAGE_BYTES = 40_000  # of text, so that a page also fits into one datagram
COMMITTED = "COMMITED_LOGS"  # the spelling that the course's programs read


class CourseLines:
    """The lines of one start of a node, step by step. The caller holds the driver's `core` lock.

    An entry is forwarded as soon as the leader has it, and listed among the log's entries once it
    is committed; the course's nodes did not distinguish the two.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._state: tuple[int, Role | None] = -1, None
        self._last = 0  # the index of the last counted entry
        self._count = 0  # committed entries of clients, from the log's base on
        self._latest: list[str] = []

    def stepped(self, view: NodeView, effects: Effects) -> None:
        """Print the changes of one step of the core."""
        if effects.install is not None or self._last < view.log.base_index:
            self._last, self._count, self._latest = view.log.base_index, 0, []
        role = SHOWN_ROLES.get(view.role, view.role)
        if role is Role.LEADER and self._state[0] < view.term:  # a lone node is elected at once
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
    """Return as many of the last texts as fit, at least one, and how many of `count` are not shown:
    the newest are at the end, where the console would cut."""
    first, room = len(texts) - 1, ROOM
    while first > 0 and len(", ".join(texts[first - 1 :])) <= room:
        first -= 1
    shown = texts[max(first, 0) :]
    more = count - len(shown)
    before = f"({more:,} more before) " if more else ""
    return f"{before}{brackets[0]}{', '.join(shown)}{brackets[1]}"


def view(entry: Entry) -> dict[str, object]:
    """Return an entry as the course's log shows it: `{"term": 2, KEY: VALUE}`, both unescaped; any
    other command as `{"term": 2, "command": COMMAND}`, as in the log."""
    command = entry.command
    if "@" in command.partition(" ")[0]:  # a prefix such as client7#12@
        command = command.partition("@")[2]
    verb, _, operands = command.partition(" ")
    key, _, value = operands.partition(" ")
    if verb == "set" and key not in ("term", "command"):
        return {"term": entry.term, unescape(key): unescape(value)}
    return {"term": entry.term, "command": command}


def numbered(entries: Iterable[Entry], first: int = 1) -> dict[int, dict[str, object]]:
    """Return the entries of clients, by their numbers. The servers' own entries, the no-op of each
    term, the members and the identity, have no number."""
    written = [entry for entry in entries if not _is_ours(entry.command)]
    return {number: view(entry) for number, entry in enumerate(written, start=first)}


def page(
    views: Mapping[int, dict[str, object]], after: int
) -> tuple[dict[str, dict[str, object]], int]:
    """Return the entries after number `after`, as many as fit into one reply, by their numbers as
    text; and the number of the last of them if there are more, else 0."""
    results: dict[str, dict[str, object]] = {}
    size = 0
    for number, one in views.items():
        if number <= after:
            continue
        size += len(json.dumps(one)) + 16
        if results and (len(results) >= PAGE_ENTRIES or size > PAGE_BYTES):
            return results, number - 1
        results[str(number)] = one
    return results, 0


def _is_ours(command: str) -> bool:
    return command == NOOP or command.startswith((PREFIX, IDENTITY_PREFIX))


class OrderAnswer(NamedTuple):
    """The outcome of an order. `line` is the reply for a person, and `key` and `value` are for a
    program."""

    verb: str  # of the order; LEADER_INFO if another node must be asked
    text: str
    key: str = ""
    value: object = None
    is_done: bool = True

    @property
    def line(self) -> str:
        return f"{self.verb} response: {self.text}" if self.is_done else self.text


def sorry(verb: str, why: str) -> OrderAnswer:
    """Return the answer of an order that was not carried out; `why` is a sentence or a refusal."""
    return OrderAnswer(verb, error(why), is_done=False)


def store(node: ControlledNode, operands: str, request: Request) -> OrderAnswer:
    """Write a pair through the log; the answer comes once a quorum has it on disk.

    Raises:
        ProtocolError: key or value are missing, or too long.
    """
    try:
        asked = read_request(request.sender, request.id, f"set {operands}", node.limits)
    except ProtocolError as mistake:
        form = str(mistake).replace("set KEY VALUE", "STORE KEY VALUE")
        raise ProtocolError(Refusal(mistake.refusal.code, form)) from None
    numbered_as = f"{request.sender}#{request.id}@" if request.id else ""
    batch = Batch([numbered_as + asked.command], is_read=False)
    node.submit(batch)
    if not batch.wait(node.patience_s):
        return sorry("STORE", outcome_unknown("no quorum answered in time"))
    reply = batch.replies[0]
    if refusal_in(reply) is not None:
        return _not_done(node, "STORE", reply)
    _, key, value = asked.command.split(" ", 2)
    return OrderAnswer("STORE", f"{key} set to {value}", unescape(key), unescape(value))


def retrieve(node: ControlledNode, words: Sequence[str]) -> OrderAnswer:
    """Return the committed entries, once this node is known to lead.

    Raises:
        ProtocolError: the words don't have the verb's form.
    """
    match words:
        case []:
            after = 0
        case ["after", number] if number.isascii() and number.isdigit() and len(number) < 19:
            after = int(number)
        case _:
            raise ProtocolError("the form is: RETRIEVE [after NUMBER]")
    batch = Batch(["RETRIEVE"], is_read=True)
    node.submit(batch)
    if not batch.wait(node.patience_s):
        return leader_info(node)
    if batch.replies:
        return _not_done(node, "RETRIEVE", batch.replies[0])
    base, committed = node.committed()
    entries, more = page(numbered(committed), after)
    facts: dict[str, object] = {COMMITTED: entries, "term": node.view.term}
    if base:
        facts["behind_snapshot_of"] = base
    if more:
        facts["more"] = f"RETRIEVE after {more}"
    for_programs = {**entries, **({"more": f"after {more}"} if more else {})}
    return OrderAnswer("RETRIEVE", json.dumps(facts), COMMITTED, for_programs)


def leader_info(node: ControlledNode) -> OrderAnswer:
    """Return the leader, as far as this node knows."""
    view = node.view
    leader = view.leader
    address = node.address(leader) if leader else None
    where = str(address) if address else view.membership.addresses.get(leader or "")
    facts = {"LEADER": leader, "address": where, "term": view.term}
    return OrderAnswer("LEADER_INFO", json.dumps(facts), "LEADER", leader)


def _not_done(node: ControlledNode, verb: str, reply: str) -> OrderAnswer:
    """Return the leader's name if this node doesn't lead, else its answer."""
    if code_of(reply) in ("not-leader", "no-leader"):
        return leader_info(node)
    return OrderAnswer(verb, reply, is_done=False)
