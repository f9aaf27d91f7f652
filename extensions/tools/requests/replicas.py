"""`raftline check replicas`: compare the states of all members after one entry, and show the first
key that differs."""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.node_connection import ClientError, Deadline
from raftline.clients.requests.one_node import NodeShell, one_answer
from raftline.clients.steps import carry_out
from raftline.clients.terminal.streams import say
from raftline.common.address import Address
from raftline.common.process.console import safe_line
from raftline.state.key_index import place_of
from raftline.state.sessions import EPOCH_NUMBERS
from raftline.wire.key_stat import facts_of, read_key_line

from ..asking import asking
from ..status import status

PAUSE_S: Final = 0.1  # between two checks of the members
CHECK_S: Final = 2.0  # of one look
TRIES: Final = 50  # looks until both nodes have applied what one of them had
EXIT_DIFFERS, EXIT_NOT_COMPARED = 1, 5
_SUMMED: Final = "SUM response: "
_LISTED: Final = "@LINES response: "
_KINDS: Final = ("entries", "state")


class ReplicaMember(NamedTuple):
    """The sums of one member at the entry, or the reason why there are none."""

    name: str
    address: Address
    sums: tuple[str, str] | None = None  # of the entries, of the state
    problem: str = ""


class NotListed(Exception):
    """A member did not show its lines. The message is the reason."""


class ReplicaLines(NamedTuple):
    """Some lines of a member, by key, and its last entry at that moment."""

    applied: int
    lines: Sequence[tuple[str, str]]
    after: str | None = None  # where the next page begins, None after the last


ReadLines = Callable[[str, str], ReplicaLines]  # with this prefix, after this key


class Different(NamedTuple):
    """The first key that differs, and its lines at two members; None: the key is absent."""

    key: str
    lines: tuple[str | None, str | None]


# --- the sums --------------------------------------------------------------------------------


def gather(
    ask: Callable[[], Sequence[status.NodeStatus]],
    index: int,
    until_s: float,
    pause: Callable[[float], object] = time.sleep,
) -> list[ReplicaMember]:
    """Ask the members again and again, until each that answers has summed its state after this
    entry, or until this time has come."""
    while True:
        nodes = ask()
        names = status.newest_members(nodes).get("members") or [node.name for node in nodes]
        found = [_member(node, index) for node in nodes if node.name in names]
        waits = [
            node for node, one in zip(nodes, found, strict=False) if node.answer and one.problem
        ]
        if not waits or time.monotonic() >= until_s:
            return found
        pause(PAUSE_S)


def _member(node: status.NodeStatus, index: int) -> ReplicaMember:
    """Return the sums of a member, unchecked as they come from the node."""
    if node.answer is None:
        return ReplicaMember(node.name, node.address, problem=node.problem)
    sums = node.answer.get("state_sums")
    if not isinstance(sums, dict):
        return ReplicaMember(node.name, node.address, problem="its version reports no sums")
    match sums.get(str(index)):
        case [str(chain), str(total)]:
            return ReplicaMember(node.name, node.address, (chain, total))
    applied = node.answer["last_applied"]
    problem = f"it has applied only entry {applied} yet"
    if applied >= index:
        problem = "it has not summed its state there in time, or has forgotten the sum"
    return ReplicaMember(node.name, node.address, problem=problem)


def reference_of(members: Sequence[ReplicaMember], leader: str) -> ReplicaMember | None:
    """Return the member that the others are compared with: one of the largest group that agrees,
    the leader if it is in it."""
    known = [member.sums for member in members if member.sums is not None]
    candidates = [member for member in members if member.sums is not None]
    return max(
        candidates,
        key=lambda member: (known.count(member.sums or ("", "")), member.name == leader),
        default=None,
    )


# --- the first key that differs --------------------------------------------------------------


def first_difference(
    one: ReadLines,
    other: ReadLines,
    number: int,
    pause: Callable[[float], object] = time.sleep,
) -> Different | None:
    """Return the first key, in the order of their bytes, that two members hold differently, unless
    it was changed after the entry with this number.

    Raises:
        NotListed: a member does not show its lines.
    """
    for key, lines in _side_by_side(one, other):
        if lines[0] == lines[1] or _is_later(lines, number):
            continue
        again = _read_again((one, other), key, pause)
        if again[0] != again[1] and not _is_later(again, number):
            return Different(key, again)
    return None


def _is_later(lines: tuple[str | None, str | None], number: int) -> bool:
    return any(line is not None and _changed(line) > number for line in lines)


def _changed(line: str) -> int:
    return facts_of(read_key_line(line)[1]).changed


def _read_again(
    both: tuple[ReadLines, ReadLines], key: str, pause: Callable[[float], object]
) -> tuple[str | None, str | None]:
    """Return a key's lines once both members have applied what either had applied: the key may
    have been deleted between the two looks."""
    needed = max(read(key, "").applied for read in both)
    for _ in range(TRIES):
        mine, theirs = (read(key, "") for read in both)
        if min(mine.applied, theirs.applied) >= needed:
            break
        pause(PAUSE_S)
    return dict(mine.lines).get(key), dict(theirs.lines).get(key)


def _side_by_side(
    one: ReadLines, other: ReadLines
) -> Iterator[tuple[str, tuple[str | None, str | None]]]:
    """Yield each key that either member holds, in order, with its lines."""
    mine, theirs = _all_lines(one), _all_lines(other)
    left, right = next(mine, None), next(theirs, None)
    while left is not None or right is not None:
        if right is None or (left is not None and place_of(left[0]) < place_of(right[0])):
            assert left is not None
            yield left[0], (left[1], None)
            left = next(mine, None)
        elif left is None or left[0] != right[0]:
            yield right[0], (None, right[1])
            right = next(theirs, None)
        else:
            yield left[0], (left[1], right[1])
            left, right = next(mine, None), next(theirs, None)


def _all_lines(read: ReadLines) -> Iterator[tuple[str, str]]:
    after: str | None = ""
    while after is not None:
        page = read("", after)
        yield from page.lines
        after = page.after


def read_lines(
    shell: NodeShell, address: Address, timeout_s: float, prefix: str, after: str
) -> ReplicaLines:
    """Ask a member for a page of its lines.

    Raises:
        NotListed: it does not show them.
    """
    request = " ".join(filter(None, ["lines", prefix, after and f"after {after}"]))
    try:
        answer = carry_out(
            one_answer(address, request.encode(), Deadline(timeout_s)), shell.do
        ).decode("utf-8", "replace")
    except (ClientError, OSError) as failure:
        raise NotListed(str(failure)) from failure
    try:
        facts = json.loads(answer.partition(_LISTED)[2])
        lines = [(read_key_line(line)[0], line) for line in facts["lines"]]
        return ReplicaLines(facts["applied"], lines, facts["after"])
    except (ValueError, LookupError, TypeError, AttributeError):
        raise NotListed(f"answers: {answer}") from None


# --- the command -----------------------------------------------------------------------------


class Report(NamedTuple):
    """The result of a check."""

    entry: int
    members: Sequence[ReplicaMember]
    reference: ReplicaMember | None
    keys: Mapping[str, Different | str | None]  # of each member that differs; a str: the problem

    @property
    def differing(self) -> list[ReplicaMember]:
        """The members whose sums are not those of the reference."""
        sums = self.reference.sums if self.reference is not None else None
        return [one for one in self.members if one.sums is not None and one.sums != sums]

    @property
    def outcome(self) -> int:
        """The exit code."""
        if self.differing:
            return EXIT_DIFFERS
        return EXIT_NOT_COMPARED if any(one.sums is None for one in self.members) else 0

    def lines(self) -> Iterator[str]:
        """Yield a line for each member, then the verdict."""
        for one in self.members:
            yield f"{one.name}  {self._result_of(one)}"
        for one in self.differing:
            yield from self._difference(one)
        missing = ", ".join(one.name for one in self.members if one.sums is None)
        if missing:
            yield f"[!] {missing} was not compared"
        if not self.members[1:]:
            yield "[*] there is no other member to compare it with"
        elif not self.outcome:
            yield f"[*] all {len(self.members)} members are equal after entry {self.entry}"

    def _result_of(self, member: ReplicaMember) -> str:
        if member.sums is None:
            return f"not compared: {member.problem}"
        if member in self.differing:
            return f"differs: {self._kinds(member)}"
        entries, state = member.sums
        return f"entries {entries}, state {state}"

    def _kinds(self, member: ReplicaMember) -> str:
        sums = (self.reference.sums if self.reference is not None else None) or ("", "")
        different = [
            f"{kind} {own}, not {others}"
            for kind, own, others in zip(_KINDS, member.sums or (), sums, strict=True)
            if own != others
        ]
        return "; ".join(different)

    def _difference(self, member: ReplicaMember) -> Iterator[str]:
        assert self.reference is not None
        found, whom = self.keys.get(member.name), self.reference.name
        begin = f"[!] {member.name} differs from {whom} after entry {self.entry}"
        if found is None:
            yield f"{begin}, but no key that has stayed the same since does"
        elif isinstance(found, str):
            yield f"{begin}; its keys can't be compared: {found}"
        else:
            yield f"{begin}; the first key is {found.key}"
            for name, line in zip((whom, member.name), found.lines, strict=True):
                yield f"    {name}: {'no such key' if line is None else line}"

    def as_json(self) -> str:
        """Return the result as one JSON object in one line."""
        members = {
            one.name: {
                "equal": None if one.sums is None else one not in self.differing,
                **dict(zip(_KINDS, one.sums or (None, None), strict=True)),
                "problem": one.problem,
            }
            for one in self.members
        }
        reference = self.reference.name if self.reference is not None else ""
        keys = {
            name: {"key": found.key, reference: found.lines[0], name: found.lines[1]}
            for name, found in self.keys.items()
            if isinstance(found, Different)
        }
        facts = {"ok": not self.outcome, "verb": "check replicas", "index": self.entry}
        return json.dumps({**facts, "members": members, "first_keys": keys})


@asking
def carry_out_check(
    options: argparse.Namespace, nodes: Mapping[str, Address], access: ClientAccess
) -> int:
    """Compare all members after a new entry, print the result and return the exit code."""
    with status.client_of(nodes, access, options.timeout) as client:
        number = int(client.request("sum").removeprefix(_SUMMED))
    report = _report(nodes, access, options.timeout, number)
    for line in [report.as_json()] if options.json else map(safe_line, report.lines()):
        say(line)
    return report.outcome


def _report(
    nodes: Mapping[str, Address], access: ClientAccess, timeout_s: float, number: int
) -> Report:
    leader = ""

    def ask() -> Sequence[status.NodeStatus]:
        nonlocal leader
        answers = status.ask_all(nodes, access, min(timeout_s, CHECK_S))
        leading = status.leader_of(answers)
        leader = leading.name if leading is not None else leader
        return answers

    index = number % EPOCH_NUMBERS
    members = gather(ask, index, time.monotonic() + timeout_s)
    report = Report(index, members, reference_of(members, leader), {})
    keys = {
        one.name: _first_key(report.reference, one, access, timeout_s, number)
        for one in report.differing
        if report.reference is not None
    }
    return report._replace(keys=keys)


def _first_key(
    reference: ReplicaMember,
    member: ReplicaMember,
    access: ClientAccess,
    timeout_s: float,
    number: int,
) -> Different | str | None:
    """Return the first key that differs, if any, or why that is unknown."""
    with contextlib.ExitStack() as stack:
        readers = [
            partial(
                read_lines,
                stack.enter_context(NodeShell("raftline", access, asks_codes=False)),
                one.address,
                timeout_s,
            )
            for one in (reference, member)
        ]
        try:
            return first_difference(readers[0], readers[1], number)
        except NotListed as failure:
            return str(failure)
