"""`raftline status`: the nodes of a cluster side by side, for a person or a program.

The verdict on a cluster is one line. It is a pure function of the nodes' status.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from raftline.access.expiry import AT_S_MAX, warning
from raftline.clients.connections.address_options import has_name, named_nodes
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.node_connection import (
    SAID_AFTER_S,
    ClientError,
    NoLeader,
    OutcomeUnknown,
    Unreachable,
    say_waiting,
)
from raftline.clients.terminal.options import access_of
from raftline.common.address import Address
from raftline.common.arguments import as_seconds
from raftline.common.process.console import draws, safe_line
from raftline.common.process.quiet_exit import EXIT_INTERRUPTED
from raftline.raft.membership import majority
from raftline.wire.refusal import NO_LEADER, NO_QUORUM, RequestOutcome
from raftline.wire.replies.refusals import sentence_of

from ..asking_options import add_asking_options, add_quiet
from ..colours import BOLD_GREEN, RED, coloured, has_colours
from .status import (
    CHECK_S,
    COUNTS,
    EXIT_NO_LEADER,
    EXIT_OK,
    REFUSES,
    WITHHELD,
    NodeStatus,
    ask_all,
    cluster_of,
    complain_of,
    leader_of,
    newest_members,
)
from .troubles import (
    AWAY,
    ELSEWHERE,
    ENOUGH,
    EXIT_UNKNOWN,
    NO_VOTES,
    NOBODY,
    SHUT,
    TOO_FEW,
    WITHOUT_QUORUM,
    StatusCheck,
    Trouble,
    troubles_of,
)

if TYPE_CHECKING:
    from raftline.common.arguments import Commands

Answers = Mapping[str, Mapping[str, Any]]
Words = tuple[str, str]  # the phrase for one node and for several
Troubles = Mapping[str, Sequence[Trouble]]
NO_TROUBLES: Troubles = MappingProxyType({})

# A voter whose answer has one of these fields set counts in no quorum. By field: the phrases for
# one node and for several.
VOTELESS: Mapping[str, Words] = {
    "may_be_new": (
        "may be new or may have lost everything, and has no vote until it has caught up",
        "may be new or may have lost everything, and have no vote until they have caught up",
    ),
    "recovering": (
        "has no vote until it has caught up",
        "have no vote until they have caught up",
    ),
}
HAS_VOTE, TAKES_ENTRIES = ("has a vote", "have a vote"), ("can take entries",) * 2
SPARE = {1: "one more", 2: "two more", 3: "three more"}  # larger numbers are in digits
SECOND_CHECK_S = 1.0  # after the first, if a voter seemed not to follow
COLUMNS = (
    "node", "address", "role", "term", "leader", "last", "committed", "applied", "lag",
    "snapshot", "log",
)  # fmt: skip
FIELDS = (  # the names of COLUMNS in a node's answer
    "name", "address", "role", "term", "leader", "last_index", "commit_index", "last_applied",
    "lag", "snapshot_index", "log_bytes",
)  # fmt: skip
CLOCK_S = 2.0  # smaller clock differences are not reported
CLEAR = "\x1b[H\x1b[J"  # to the upper left corner, and clear the screen


class Verdict(NamedTuple):
    """Whether a leader serves with a quorum, or None if that is unknown."""

    serves: bool | None
    text: str
    tally: str  # of the voters; a part of the text
    troubles: Troubles = NO_TROUBLES  # by name, of the members that have some
    to_do: Sequence[str] = ()
    unknown_status: int = EXIT_UNKNOWN  # the exit status if `serves` is None

    @property
    def exit_status(self) -> int:
        if self.serves is None:
            return self.unknown_status
        return EXIT_OK if self.serves and not self.troubles else EXIT_NO_LEADER

    @property
    def line(self) -> str:
        """The text, and a sentence for each thing to do."""
        if not self.to_do:
            return self.text
        return f"{'. '.join([self.text.removesuffix('.'), *self.to_do])}."


class _Count(NamedTuple):
    """The voters, by what they can do."""

    halves: Sequence[Sequence[str]]  # the voters of each configuration in force
    voters: Sequence[str]  # those that answer
    voting: Sequence[str]  # of these, those that have a vote
    able: Sequence[str]  # of these, those that take entries
    follow: Sequence[str]  # of those with a vote, those that follow without trouble

    @property
    def are_voters(self) -> bool:
        """Whether these are the voters, and not just addresses that somebody typed."""
        return any(has_name(name) for half in self.halves for name in half)

    @property
    def lacks(self) -> Words | None:
        """The things that some of the answering voters lack."""
        if self.able != self.voting:
            return TAKES_ENTRIES
        return HAS_VOTE if self.voting != self.voters else None


def verdict(nodes: Sequence[NodeStatus], earlier: Sequence[NodeStatus] = ()) -> Verdict:
    """Return whether a leader serves with a quorum, and one line that explains why or why not.

    The leader reports the members. Without a leader, the members come from the newest configuration
    of any node. A voter that refused us may serve, and may lead.

    `earlier` is the result of a previous check. Without it, no voter is reported to lag, to be
    ahead, to follow nobody or to announce no build, since a healthy voter may seem so for a moment.
    """
    if not any(node.is_reached for node in nodes):
        nobody = f"{NOBODY.one} {', '.join(node.name for node in nodes)}"
        return Verdict(None, nobody, nobody, to_do=[NOBODY.do])
    leader = leader_of(nodes)
    members = (leader and leader.answer) or newest_members(nodes)
    answers = {node.name: node.answer for node in nodes if node.answer and not _is_down(node)}
    troubles, count = _counted(nodes, earlier, members, answers)
    has_quorum = _have_quorum(count.halves, count.able)
    is_led = leader is not None and has_quorum
    shut = [node for node in nodes if node.is_shut]
    answering = [*count.able, *(node.name for node in shut)]
    serves: bool | None = is_led and not any(node.is_foreign for node in nodes)
    is_short = count.are_voters and not _have_quorum(count.halves, answering)
    if not serves and shut and not is_short:
        serves = None
    counted = count.follow if is_led else answering
    tally = _tally(count, counted, is_short=is_short, is_led=is_led)
    lacks_answers = any(name not in answers for half in count.halves for name in half)
    too_few = TOO_FEW if _have_quorum(count.halves, count.voting) or lacks_answers else NO_VOTES
    text, trouble = _led_by(leader, members, answers, tally, too_few, nodes, has_quorum=has_quorum)
    if serves is None:
        text = f"can't tell whether a leader serves: {_kept_out(shut)}; {tally}"
    because = "" if leader else _no_leader_because(answers)
    parts = [*([because] if because else _voteless(count.voters, answers))]
    parts += [*_in_trouble(troubles), *_others(members, answers)]
    both = safe_line("; ".join([text, *parts])), safe_line("; ".join([tally, *parts]))
    whole = [SHUT[node.word] for node in shut] if serves is None else [trouble] if trouble else []
    to_do = [each.do for why in troubles.values() for each in why]
    to_do = [each.do for each in whole] + to_do if serves is None or not to_do else to_do
    reasons = {each.exit_status for each in whole}
    unknown = reasons.pop() if len(reasons) == 1 else EXIT_UNKNOWN
    return Verdict(serves, *both, troubles, list(dict.fromkeys(to_do)), unknown)


def _counted(
    nodes: Sequence[NodeStatus],
    earlier: Sequence[NodeStatus],
    members: Mapping[str, Any],
    answers: Answers,
) -> tuple[Troubles, _Count]:
    """Return the members in trouble, and the voters that answer, vote and follow."""
    halves = [members.get("voters") or [node.name for node in nodes]]
    halves += [members["outgoing"]] if members.get("outgoing") else []
    names = dict.fromkeys(name for half in halves for name in half)
    troubles = _found(nodes, earlier, [*names, *members.get("learners", ())])
    voters = [name for name in names if name in answers]
    voting = [name for name in voters if not any(answers[name].get(one) for one in VOTELESS)]
    able = [name for name in voting if all(each.takes_entries for each in troubles.get(name, ()))]
    follow = [name for name in voting if all(each.follows for each in troubles.get(name, ()))]
    return troubles, _Count(halves, voters, voting, able, follow)


def _led_by(
    leader: NodeStatus | None,
    members: Mapping[str, Any],
    answers: Answers,
    tally: str,
    too_few: Trouble,
    nodes: Sequence[NodeStatus],
    *,
    has_quorum: bool,
) -> tuple[str, Trouble | None]:
    """Return a phrase that names the leader, if there is one, and has the tally; and the trouble of
    the cluster."""
    if leader is None and (followed := _followed(answers)):
        return f"{AWAY.one} {followed}: {tally}", AWAY
    if leader is None and has_quorum:
        # what the nodes report has the command to type
        waits = any(answer.get("newborn") for answer in answers.values())
        text = f"no leader: {tally}, {ENOUGH.one}"
        if (moved := ", ".join(_moved(nodes))) and not waits:
            return f"{text}; {ELSEWHERE.one}: {moved}", ELSEWHERE
        return text, None if waits else ENOUGH
    if leader is None:
        return f"{too_few.one}: {tally}", too_few
    if has_quorum:
        return f"{leader.name} leads term {members['term']}: {tally}", None
    return (
        f"{WITHOUT_QUORUM.one} {leader.name}, leader of term {members['term']}: {tally}",
        WITHOUT_QUORUM,
    )


def _found(
    nodes: Sequence[NodeStatus], earlier: Sequence[NodeStatus], names: Sequence[str]
) -> dict[str, list[Trouble]]:
    """Return the members that are in trouble, with their troubles. A fact that a node does not
    report is unknown, and not a trouble."""
    now, before = _by_name(nodes), _by_name(earlier)
    leader, led = leader_of(nodes), leader_of(earlier)
    is_same = leader and led and (leader.name, _term(leader)) == (led.name, _term(led))
    leads = (leader and leader.answer) or {}
    led_before = (is_same and led and led.answer) or {}
    met = {name for answer in now.values() for name in _met(answer)}
    foreign = {node.name for node in nodes if node.is_foreign}
    refuse = [{node.name for node in each if node.word == REFUSES} for each in (nodes, earlier)]
    troubles = {}
    for name in dict.fromkeys([*names, *foreign]):
        facts = (now.get(name, {}), before.get(name, {}), leads, led_before)
        is_whole = not any(WITHHELD in each for each in facts)
        refused = name in refuse[0], name in refuse[1]
        check = StatusCheck(name, *facts, met, name in foreign, is_whole, refused)
        troubles[name] = troubles_of(check)
    return {name: why for name, why in troubles.items() if why}


def _met(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the servers of other clusters that a node met under members' names."""
    foreign = answer.get("foreign")
    return foreign if isinstance(foreign, dict) else {}


def _by_name(nodes: Sequence[NodeStatus]) -> Answers:
    return {node.name: node.answer for node in nodes if node.answer}


def _term(node: NodeStatus) -> object:
    return (node.answer or {}).get("term")


def _in_trouble(troubles: Troubles) -> Iterator[str]:
    """Yield the members that are in trouble, a phrase for each trouble."""
    for trouble in dict.fromkeys(each for why in troubles.values() for each in why):
        names = [name for name, why in troubles.items() if trouble in why]
        yield f"{', '.join(names)} {trouble.several if len(names) > 1 else trouble.one}"


def explained(
    failure: ClientError, members: Mapping[str, Address], access: ClientAccess
) -> ClientError:
    """Add the result of a check of the nodes to the error of a request that found no leader. The
    check takes at most CHECK_S. If no node answers, or for any other error, return the error
    unchanged."""
    if failure.outcome is not RequestOutcome.NO_LEADER and (
        not isinstance(failure, (Unreachable, OutcomeUnknown)) or getattr(failure, "lasts", False)
    ):
        return failure
    nodes = ask_all(members, access, CHECK_S)
    result = verdict(nodes)
    if result.serves is not False or not any(node.answer for node in nodes):
        return failure
    leader = leader_of(nodes)
    kind: type[NoLeader | OutcomeUnknown] = NoLeader
    text = sentence_of(NO_QUORUM(leader.name) if leader else NO_LEADER)
    if isinstance(failure, OutcomeUnknown):
        kind, text = OutcomeUnknown, str(failure)
    detailed = kind(f"{text.removesuffix('.')}. {result.tally[0].upper()}{result.tally[1:]}.")
    detailed.advice = "raftline status shows what to do at each node."
    return detailed


def _have_quorum(halves: Sequence[Sequence[str]], names: Collection[str]) -> bool:
    return all(len(_in(half, names)) >= majority(half) for half in halves)


def _kept_out(nodes: Sequence[NodeStatus]) -> str:
    """Return the silent nodes by reason: `no login at s1, s2; bad certificate at s3`."""
    why = dict.fromkeys(node.word for node in nodes)
    return "; ".join(
        f"{each} at {', '.join(node.name for node in nodes if node.word == each)}" for each in why
    )


def _is_down(node: NodeStatus) -> bool:
    """Return whether a controller shut the node down. It then obeys only the controller."""
    return node.answer is not None and node.answer["role"] == "down"


def _in(half: Sequence[str], names: Collection[str]) -> list[str]:
    return [name for name in half if name in names]


def _tally(count: _Count, counted: Collection[str], *, is_short: bool, is_led: bool) -> str:
    """Return the number of voters that follow, and how many more may fail. Without a leader and a
    quorum, return the number of voters that answer, and the quorum if they are too few. While two
    configurations are joint, the text has both."""
    halves, lacks = count.halves, count.lacks
    counts = [len(_in(half, counted)) for half in halves]
    is_one = counts[0] == 1
    what = "voter" if count.are_voters else "node"
    text = f"{counts[0]} of {len(halves[0])} {what}{'s'[: len(halves[0]) != 1]} "
    text += ("follow" if is_led else "answer") + "s" * is_one
    if lacks and not is_led:
        text += f" and {lacks[not is_one]}"
    if len(halves) > 1:
        text += f" in the new configuration, {counts[1]} of {len(halves[1])} in the old"
    if is_led:
        spare = min(each - majority(half) for each, half in zip(counts, halves, strict=True))
        text += (
            f"; {SPARE.get(spare, f'{spare} more')} may fail" if spare > 0 else "; none may fail"
        )
    if is_short:
        needed = [str(majority(half)) for half in halves]
        text += f", {' and '.join(needed)} {'is' if needed == ['1'] else 'are'} needed"
    return text


def _voteless(voters: Sequence[str], answers: Answers) -> Iterator[str]:
    """Yield the voters that answer but have no vote, with the reason."""
    reported: set[str] = set()
    for field, (of_one, of_several) in VOTELESS.items():
        names = [name for name in voters if answers[name].get(field) and name not in reported]
        reported.update(names)
        if names:
            yield f"{', '.join(names)} {of_one if len(names) == 1 else of_several}"


def _no_leader_because(answers: Answers) -> str:
    """Return a node's report on voters that may be new (raft/newborn.py). Prefer the report of a
    node with a vote, since it has asked all others."""
    by_vote = sorted(answers.values(), key=lambda answer: bool(answer.get("recovering")))
    texts = (answer.get("no_leader_because") for answer in by_vote)
    return next((text for text in texts if isinstance(text, str) and text), "")


def _moved(nodes: Sequence[NodeStatus]) -> Iterator[str]:
    """Yield the nodes that others dial at another port than the one that answers. Hosts may have
    many names."""
    answers = [(node.name, node.answer.get("members", {})) for node in nodes if node.answer]
    for node in nodes:
        dialed = {
            members[node.name]
            for name, members in answers
            if name != node.name and node.answer and node.name in members
        }
        dialed = {where for where in dialed if Address.parse(where).port != node.address.port}
        if dialed:
            yield f"{node.name} at {node.address} (others dial {', '.join(sorted(dialed))})"


def _followed(answers: Answers) -> str:
    """Return the leader that the nodes of the highest term report, or "" if they know of none."""
    term = max((answer["term"] for answer in answers.values()), default=0)
    leaders = (answer.get("leader") for answer in answers.values() if answer["term"] == term)
    return next((name for name in leaders if isinstance(name, str) and name), "")


def _others(members: Mapping[str, Any], answers: Answers) -> Iterator[str]:
    """Yield the nodes without a vote: learners, and nodes that answer but are not members."""
    if learners := members.get("learners"):
        yield f"learners: {' '.join(learners)}"
    member_names = {*members.get("voters", ()), *members.get("outgoing", ()), *(learners or ())}
    strangers = [name for name in answers if member_names and name not in member_names]
    if strangers:
        is_no = "is not a member" if len(strangers) == 1 else "are not members"
        yield f"{', '.join(strangers)} {is_no}"


def _endings(nodes: Sequence[NodeStatus]) -> Iterator[str]:
    """Yield a line about each certificate that expires soon, or has expired."""
    for node in nodes:
        ends = (node.answer or {}).get("certificates_end")
        for what, at_s in ends.items() if isinstance(ends, dict) else ():
            if isinstance(at_s, int) and 0 < at_s < AT_S_MAX:
                yield from filter(None, [safe_line(warning(f"{node.name}: its {what}", at_s))])


def _refused(nodes: Sequence[NodeStatus]) -> Iterator[str]:
    """Yield a line about each peer that has no TLS with a node because of a certificate."""
    for node in nodes:
        refused = (node.answer or {}).get("certificates_refused")
        for name, why in refused.items() if isinstance(refused, dict) else ():
            yield safe_line(f"{node.name} has no TLS with {name}: {why}")


def _foreigners(nodes: Sequence[NodeStatus]) -> Iterator[str]:
    """Yield a line about each server of another cluster that a node met under a member's name."""
    for node in nodes:
        for name, theirs in _met(node.answer or {}).items():
            yield safe_line(
                f"{node.name} met a server named {name} of another cluster, "
                f"{theirs}. It ignores that server (docs/repair.md)"
            )


def clocks(nodes: Sequence[NodeStatus]) -> Iterator[str]:
    """Yield a line about each node whose clock differs from most clocks by more than CLOCK_S. This
    machine's clock is included. The difference between a node and this machine may be wrong by half
    the time that its answer took, so a correspondingly larger difference is required. A single node
    is compared with this machine."""
    offsets: dict[str, tuple[float, float]] = {"": (0.0, 0.0)}  # this machine
    for node in nodes:
        at_s = (node.answer or {}).get("time")
        if isinstance(at_s, (int, float)) and abs(at_s) < AT_S_MAX:
            before_s, after_s = node.asked_s
            offsets[node.name] = at_s - (before_s + after_s) / 2, (after_s - before_s) / 2
    in_order = sorted(offsets.values())
    middle, unsure_s = offsets[""] if len(offsets) == 2 else in_order[(len(offsets) - 1) // 2]
    for name, (difference, error) in offsets.items():
        off_s = difference - middle
        if abs(off_s) - error - unsure_s > CLOCK_S:
            whose = f"{name}: its clock" if name else "the clock of this machine"
            way = "ahead of" if off_s > 0 else "behind"
            others = "the others" if len(offsets) > 2 else "this machine's"
            yield safe_line(f"{whose} is {_duration(abs(off_s))} {way} {others}")


def _duration(seconds: float) -> str:
    """Return a readable duration: 3.0 s, 12 min, 5.2 h, 3.0 days."""
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def rows(nodes: Sequence[NodeStatus]) -> list[tuple[str, ...]]:
    """Return the table, with a row per node. The lag counts entries that are committed, but not
    applied there."""
    committed = max((node.answer["commit_index"] for node in nodes if node.answer), default=0)
    return [_row(node, committed) for node in nodes]


def _row(node: NodeStatus, committed: int) -> tuple[str, ...]:
    answer = node.answer
    if answer is None:
        return (node.name, str(node.address), node.word, *["-"] * (len(COLUMNS) - 3))
    role = _role(node.name, answer)
    leader = answer.get("leader")
    applied = answer["last_applied"]
    numbers: tuple[object, ...] = (
        answer["last_index"], answer["commit_index"], applied, max(0, committed - applied)
    )  # fmt: skip
    if WITHHELD in answer:
        numbers = ("-",) * len(numbers)
    return (
        node.name,
        str(node.address),
        role,
        str(answer["term"]),
        safe_line(leader) if isinstance(leader, str) and leader else "-",
        *(str(number) for number in numbers),
        *_files(answer),
    )


def _files(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Return the last entry of the snapshot, and the size of the log. Either is `-` if there is no
    snapshot, or if an older version does not report it."""
    index, size = answer.get("snapshot_index"), answer.get("log_bytes")
    return (
        str(index) if isinstance(index, int) and index > 0 else "-",
        _bytes(size) if isinstance(size, int) and not isinstance(size, bool) else "-",
    )


def _bytes(size: int) -> str:
    """Return a readable number of bytes, in one word: 512B, 20.5kB, 131MB."""
    if size < 1000:
        return f"{size}B"
    amount, units = size / 1000, ["kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        del units[0]
    return f"{amount:.{int(amount < 100)}f}{units[0]}"


def _role(name: str, answer: Mapping[str, Any]) -> str:
    """Return a node's role, followed in brackets by special states such as a missing vote."""
    role = safe_line(answer["role"])
    if name in answer.get("learners", ()):
        role = "learner"
    elif name not in (*answer.get("voters", [name]), *answer.get("outgoing", ())):
        role = "removed" if answer.get("voters") else "waits to be added"
    if answer.get("outgoing"):
        role += " (joint)"
    if answer.get("arriving_bytes"):
        role += " (receives a snapshot)"
    if isinstance(answer.get("handing_over_to"), str):
        role += f" (handing over to {safe_line(answer['handing_over_to'])})"
    if answer.get("down"):  # its controller shut it down, and it obeys only the controller
        role = "down"
    if isinstance(answer.get("faults"), list) and answer["faults"]:
        role += " (faults: " + safe_line("; ".join(map(str, answer["faults"]))) + ")"
    return role + (" (recovering)" if answer.get("recovering") else "")


def as_json(
    nodes: Sequence[NodeStatus],
    indent: int | None = 2,
    troubles: Troubles = NO_TROUBLES,
) -> str:
    """Return a JSON list with an object per node. Each object has all fields of the table, and why
    the node does not follow. A field that was not reported is null. The object of a node without an
    answer has the reason."""
    highest = max((node.answer["commit_index"] for node in nodes if node.answer), default=0)
    objects: list[dict[str, Any]] = []
    for node in nodes:
        facts: dict[str, Any] = dict.fromkeys(FIELDS)
        if node.answer is None:
            facts |= {
                "role": node.word,
                "reachable": node.is_reached,
                "problem": node.problem,
            }
        else:
            lag = max(0, highest - node.answer["last_applied"])
            facts |= {**node.answer, "reachable": True, "lag": lag}
            if facts.pop(WITHHELD, False):
                facts |= dict.fromkeys((*COUNTS, "lag"))
        why = [trouble.one for trouble in troubles.get(node.name, ())]
        where = {"name": node.name, "address": str(node.address)}
        objects.append({**facts, **where, "troubles": why})
    return json.dumps(objects, indent=indent)


def show(nodes: Sequence[NodeStatus], output: TextIO) -> None:
    """Print the table in columns. The leader and nodes without an answer are coloured."""
    table = [COLUMNS, *rows(nodes)]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    in_colour = has_colours(output)
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        colour = RED if row[3] == "-" else BOLD_GREEN if row[2] == "leader" else ""
        print(coloured("  ".join(cells).rstrip(), colour if in_colour else ""), file=output)


def report(
    members: Mapping[str, Address],
    access: ClientAccess,
    timeout_s: float,
    json_wanted: bool,
    every_s: float | None = None,
) -> int:
    """Print the cluster's status and return the exit code: 0: it serves; 3: it does not; 5:
    unknown.

    With `every_s`, the status is printed again after that time, until Ctrl-C. The exit code is then
    the code of the last check, or 130 if there was none.
    """
    if every_s is None:
        say = say_waiting if timeout_s > 2 * SAID_AFTER_S else None  # else it takes little time
        return _print(*_looks(members, access, timeout_s, say), 2 if json_wanted else None)
    code, between = EXIT_INTERRUPTED, ""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            nodes, earlier = _looks(members, access, timeout_s)
            print(CLEAR if draws(sys.stdout) else between, end="")
            code = _print(nodes, earlier, 0 if json_wanted else None)
            between = "" if json_wanted else "\n"
            time.sleep(every_s)
    return code


def _looks(
    members: Mapping[str, Address],
    access: ClientAccess,
    timeout_s: float,
    say: Callable[[str], None] | None = None,
) -> tuple[list[NodeStatus], list[NodeStatus]]:
    """Return the status of each node. If a voter seemed not to follow, look again after a second,
    and also return the earlier status."""
    nodes = ask_all(members, access, timeout_s, say)
    if not verdict(nodes, nodes).troubles:
        return nodes, []
    time.sleep(SECOND_CHECK_S)
    return ask_all(members, access, timeout_s), nodes


def _print(
    nodes: Sequence[NodeStatus], earlier: Sequence[NodeStatus], json_indent: int | None
) -> int:
    """Print the table and the verdict, or JSON, which is on one line if the indent is 0. Return the
    exit code."""
    result = verdict(nodes, earlier)
    if json_indent is not None:
        print(as_json(nodes, json_indent or None, result.troubles), flush=True)
    else:
        show(nodes, sys.stdout)
        if cluster := cluster_of(nodes):
            print(f"[*] cluster {safe_line(cluster)}")
        print(f"[{'!' if result.exit_status else '*'}] {result.line}", flush=True)
        complain_of(nodes)
        for line in (*_foreigners(nodes), *_refused(nodes), *_endings(nodes), *clocks(nodes)):
            print(f"[!] {line}", file=sys.stderr)
    return result.exit_status


def add_commands(commands: Commands) -> None:
    """Add the command to the command line."""
    status = commands.add_parser(
        "status",
        help="a table of the cluster",
        description="Ask every node for its status. Exit code 0: a leader serves, and no member "
        "is in trouble; 3: none does, or a member is in trouble, which the last line names; "
        "5: unknown, since no node answers, or nodes let nobody in; 6 or 8: unknown, since login "
        "or TLS fails. "
        "With --watch, the code is that of the last look before Ctrl-C.",
    )
    add_asking_options(status, 2.0)
    add_quiet(status, _status)
    status.add_argument("--json", action="store_true", help="for programs")
    seconds = "again every SECONDS (2), until Ctrl-C"
    status.add_argument(
        "--watch", type=as_seconds, nargs="?", const=2.0, help=seconds, metavar="SECONDS"
    )


def _status(options: argparse.Namespace) -> int:
    nodes, access = named_nodes(options.at, options.dir), access_of(options)
    return report(nodes, access, options.timeout, options.json, options.watch)
