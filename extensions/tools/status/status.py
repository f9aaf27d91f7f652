"""The status of every node of a cluster, as the node reports it.

Each node gets the request `status` over TCP, as a person would send it. It answers with one line,
`s1@STATUS response: {"name": "s1", "role": "leader", …}`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from raftline.clients.connections.address_options import has_name
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.client_tls import tls_trouble
from raftline.clients.connections.node_connection import (
    ClientError,
    Deadline,
    LoginFailed,
    say_waiting,
    unreachable,
)
from raftline.clients.requests.conversation import Client
from raftline.clients.requests.one_node import NodeShell, Talk, one_answer
from raftline.clients.requests.pool import PARTS
from raftline.clients.requests.search import error_of
from raftline.clients.steps import carry_out
from raftline.common.address import Address
from raftline.common.config import NAME
from raftline.common.process.console import safe_line
from raftline.common.process.signals import threads_without_signals
from raftline.common.time_of_day import time_of_day
from raftline.net.line_connection import ConnectionEnded, TooLong
from raftline.raft.identity import is_foreign
from raftline.wire.refusal import RequestOutcome
from raftline.wire.replies.refusals import refusal_in

from .troubles import SHUT

ANSWER_BYTES_MAX = 1 << 16
LINE = b"status"
MARK = "@STATUS response: "
# The required fields of an answer, and their types.
FIELDS: Mapping[str, type] = {
    "name": str,
    "role": str,
    "term": int,
    "last_index": int,
    "commit_index": int,
    "last_applied": int,
}
COUNTS = ("last_index", "commit_index", "last_applied")  # not sent to a user with prefixes
WITHHELD = "withheld"  # set in an answer without these fields; then they count as 0
# Fields that a node of an older version may lack.
OPTIONAL_FIELDS: Mapping[str, type] = {
    "voters": list,
    "learners": list,
    "outgoing": list,
    "members": dict,
    "members_since": int,
    "cluster": str,
}
GRACE_S = 0.2  # added for late answers
CHECK_S = 1.0  # to find the leader before a request
# The reason why a node reports nothing, as shown in the table. No node answers at the first three.
UNREACHABLE, NO_HOST, NO_ANSWER = "unreachable", "no such host", "no answer"
# Something answers that is not the node, or that we can't read.
OTHER_NODE, NO_NODE, UNREADABLE = "other node", "not a node", "unreadable"
# The node answers, and does not serve. The words of the nodes that may serve are in `SHUT`.
STOPPING, REMOVED, DOWN = "stopping", "removed", "down"
NO_LOGIN, LOGIN_FAILED, REFUSES = "no login", "login failed", "refuses"
WORDS = {  # by the code of a refusal; others are REFUSES
    "not-allowed": "not allowed",
    "no-login": NO_LOGIN,
    "tls-only": "TLS alone",
    "full": "full",
    "users-unknown": "no users yet",
    "stopping": STOPPING,
    "removed": REMOVED,
    "down": DOWN,
}
_NOBODY = (UNREACHABLE, NO_HOST, NO_ANSWER, OTHER_NODE, NO_NODE)
EXIT_OK = 0
EXIT_NO_LEADER = int(RequestOutcome.NO_LEADER)


@dataclass(frozen=True)
class NodeStatus:
    """One node's answer, or the reason why there is none."""

    name: str
    address: Address
    answer: Mapping[str, Any] | None
    problem: str = ""
    word: str = UNREACHABLE  # the problem in two or three words
    asked_s: tuple[float, float] = (0.0, 0.0)  # our time of day, before and after the request
    is_foreign: bool = False  # it answered, but is of another cluster than most nodes
    places: frozenset[tuple[str, int]] = frozenset()  # its resolved addresses, if it did not answer

    @property
    def is_shut(self) -> bool:
        """Whether one side refused the other, in which case the node may still be serving."""
        return self.answer is None and self.word in SHUT

    @property
    def is_reached(self) -> bool:
        """Whether a node answers at its address, whatever it says."""
        return self.answer is not None or self.word not in _NOBODY

    @property
    def leads(self) -> bool:
        return self.answer is not None and self.answer["role"] == "leader"


class NoAnswer(Exception):
    """A node gave no status. The message is a short reason; see `word` above."""

    def __init__(self, why: str, word: str) -> None:
        super().__init__(why)
        self.word = word


class AskEach(NamedTuple):
    """A step: ask these nodes in parallel, each with `asking`. The answer is the status, by name,
    of the nodes whose conversations ended in time."""

    members: Mapping[str, Address]
    limit_s: float


def gathering(
    members: Mapping[str, Address], timeout_s: float
) -> Generator[AskEach, Mapping[str, NodeStatus], list[NodeStatus]]:
    """Return the status of each node, in order. If an answer names further members, these are
    asked, too, with the same time limit. A node that answers late counts as one that did not
    answer, and no node is asked twice."""
    nodes = _of_one_cluster(_once_each((yield from _gathering_once(members, timeout_s))))
    others = _others(nodes)
    more = (yield from _gathering_once(others, timeout_s)) if others else []
    return _without_aliases(_of_one_cluster(nodes + more))


def _gathering_once(
    members: Mapping[str, Address], timeout_s: float
) -> Generator[AskEach, Mapping[str, NodeStatus], list[NodeStatus]]:
    answers = yield AskEach(members, timeout_s)
    late = f"no answer within {timeout_s:g} s"
    return [
        answers.get(name) or NodeStatus(name, members[name], None, late, NO_ANSWER)
        for name in members
    ]


def ask_all(
    members: Mapping[str, Address],
    access: ClientAccess,
    timeout_s: float,
    say: Callable[[str], None] | None = None,
) -> list[NodeStatus]:
    """Return the answer of each node, in order. This takes at most `timeout_s` plus GRACE_S for the
    given nodes, and the same time for the nodes that they name.

    `say` gets a line after a second, which names the nodes without an answer.
    """
    return carry_out(gathering(members, timeout_s), partial(_ask_each, access, say))


def by_name(
    nodes: Mapping[str, Address], access: ClientAccess, timeout_s: float
) -> Mapping[str, Address]:
    """Return the nodes by their names. If they are given by address, these nodes are asked, and all
    members that they name are added."""
    if all(map(has_name, nodes)):
        return nodes
    return {node.name: node.address for node in ask_all(nodes, access, timeout_s)}


def _ask_each(
    access: ClientAccess, say: Callable[[str], None] | None, step: AskEach
) -> Mapping[str, NodeStatus]:
    """Ask all nodes at once. Do not wait for late threads, not even at the end of the process: a
    name server may block a thread for longer than any timeout."""
    answers: dict[str, NodeStatus] = {}

    def ask_one(name: str) -> None:
        answers[name] = ask(name, step.members[name], access, step.limit_s)

    deadline = Deadline(step.limit_s + GRACE_S, say)
    threads = [
        threading.Thread(target=ask_one, args=(name,), name=f"asks {name}", daemon=True)
        for name in step.members
    ]
    with threads_without_signals():
        for thread in threads:
            thread.start()
    if deadline.notice_s < deadline.until_s:
        _join(threads, deadline.notice_s)
        silent = [name for name in step.members if name not in answers]
        if silent:
            deadline.notice(f"{', '.join(silent)} may take up to {step.limit_s:g} s")
    _join(threads, deadline.until_s)
    return dict(answers)  # a late answer may still arrive


def _join(threads: Sequence[threading.Thread], until_s: float) -> None:
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))


def whom_to_ask(members: Mapping[str, Address], access: ClientAccess) -> list[Address]:
    """Return the addresses for a request: first the leader, then the nodes that answer, even if the
    file does not name them. Nodes that may be down are used only if no node answers: a long request
    would wait for a node that hangs."""
    nodes = ask_all(members, access, CHECK_S)
    leader = leader_of(nodes)
    candidates = [node for node in nodes if node.answer is not None] or nodes
    candidates.sort(key=lambda node: node is not leader)
    return [node.address for node in candidates]


def client_of(
    members: Mapping[str, Address],
    access: ClientAccess,
    timeout_s: float,
    search_s: float | None = None,
) -> Client:
    """Return a client that sends an operator's requests to the leader. `timeout_s` limits the
    leader's answer. If that is long, `search_s` limits the search for the leader."""
    first, *others = whom_to_ask(members, access)
    return Client(
        *first,
        "admin",
        timeout_s,
        follow=True,
        also=others,
        search_s=search_s,
        attempt_s=timeout_s / PARTS if others and search_s is None else None,
        on_wait=say_waiting,
        access=access,
    )


def newest_members(nodes: Sequence[NodeStatus]) -> Mapping[str, Any]:
    """Return the answer with the latest configuration, or {} if no answer has one. A node does not
    show the entry of its configuration to a user with prefixes. In that case, return the answer of
    the latest term."""
    answers = [node.answer for node in nodes if node.answer]
    complete = [answer for answer in answers if "members_since" in answer]
    if complete:
        return max(complete, key=lambda answer: int(answer["members_since"]))
    withheld = [answer for answer in answers if WITHHELD in answer and "members" in answer]
    return max(withheld, key=lambda answer: int(answer["term"]), default={})


def _once_each(nodes: Sequence[NodeStatus]) -> list[NodeStatus]:
    """Return each node once. A node that was given only by its address, and did not answer, gets
    the name that the other nodes know. Another node of the same name is of another cluster."""
    members = newest_members(nodes).get("members", {})
    names = {where: str(name) for name, where in members.items() if isinstance(where, str)}
    by_name_or_place: dict[str, NodeStatus] = {}
    for node in nodes:
        name = node.name if has_name(node.name) else names.get(node.name, node.name)
        if name not in by_name_or_place or by_name_or_place[name].answer is None:
            by_name_or_place[name] = replace(node, name=name)
        elif _place_of(node) != _place_of(by_name_or_place[name]):
            place = str(node.address)
            why = f"another node named {name} answers there, not of the cluster above"
            by_name_or_place[place] = replace(
                node, name=place, answer=None, problem=why, word=f"other {name}"
            )
    return list(by_name_or_place.values())


def _without_aliases(nodes: Sequence[NodeStatus]) -> list[NodeStatus]:
    """Omit each node that is known only by its address, if another node is at the same place: the
    two addresses are written differently."""
    distinct: list[NodeStatus] = [node for node in nodes if has_name(node.name)]
    for node in nodes:
        if not (has_name(node.name) or any(node.places & other.places for other in distinct)):
            distinct.append(node)
    return [node for node in nodes if node in distinct]


def cluster_of(nodes: Sequence[NodeStatus]) -> str:
    """Return the identity that most nodes report, or "" if none does. In a tie, the first one
    wins."""
    reported = [str(node.answer.get("cluster", "")) for node in nodes if node.answer]
    identities = list(filter(None, reported))
    return max(identities, key=identities.count, default="")


def _of_one_cluster(nodes: Sequence[NodeStatus]) -> list[NodeStatus]:
    """Return the nodes. Remove the answers of nodes that are not in the cluster of most nodes."""
    mine = cluster_of(nodes)
    return [_unless_foreign(node, mine) for node in nodes]


def _unless_foreign(node: NodeStatus, mine: str) -> NodeStatus:
    theirs = node.answer.get("cluster", "") if node.answer else ""
    if not is_foreign(mine, theirs):
        return node
    why = f"a node of another cluster answers there, {theirs}. The others are of {mine}"
    return replace(node, answer=None, problem=why, word="other cluster", is_foreign=True)


def _place_of(node: NodeStatus) -> object:
    """Return the node's address in its own list of members, or None if the list lacks it."""
    return (node.answer or {}).get("members", {}).get(node.name)


def _others(nodes: Sequence[NodeStatus]) -> dict[str, Address]:
    """Return the members that the file does not name, since they were added while the cluster
    ran."""
    names = {node.name for node in nodes}
    others = {}
    for name, where in newest_members(nodes).get("members", {}).items():
        if name not in names:
            with contextlib.suppress(ValueError):
                others[str(name)] = Address.parse(where)
    return others


def ask(name: str, address: Address, access: ClientAccess, timeout_s: float) -> NodeStatus:
    """Return the status of the node at `address`, or the reason why there is none."""
    before_s = time_of_day()
    with NodeShell("raftline", access, asks_codes=False) as shell:
        status = carry_out(asking(name, address, Deadline(timeout_s)), shell.do)
    if status.answer is None and status.word != NO_HOST:  # a name server may be slow
        status = replace(status, places=_places(address))
    return replace(status, asked_s=(before_s, time_of_day()))


def _places(address: Address) -> frozenset[tuple[str, int]]:
    """Return the addresses that a host name resolves to."""
    try:
        results = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return frozenset()
    return frozenset((str(place[0]), address.port) for *_, place in results)


def asking(name: str, address: Address, deadline: Deadline) -> Talk[NodeStatus]:
    """Ask one node, and return its status, or the reason why there is none. If an address is given
    as the name, any node may answer."""
    limit_s = deadline.left_s
    try:
        answer = _read_answer((yield from one_answer(address, LINE, deadline, ANSWER_BYTES_MAX)))
        if not has_name(name) and NAME.fullmatch(answer["name"]):
            name = answer["name"]
        if answer["name"] != name:
            raise NoAnswer(f"{safe_line(answer['name'])} answers there", OTHER_NODE)
    except NoAnswer as error:
        return NodeStatus(name, address, None, str(error), error.word)
    except ClientError as error:  # of the login
        word = WORDS.get(error.code, UNREACHABLE)
        if isinstance(error, LoginFailed):
            word = NO_LOGIN if error._was_not_tried else LOGIN_FAILED
        return NodeStatus(name, address, None, f"no login: {error.at_the_shell}", word)
    except OSError as error:
        return NodeStatus(name, address, None, *_why(error, address, limit_s))
    return NodeStatus(name, address, answer)


def _why(error: OSError, address: Address, limit_s: float) -> tuple[str, str]:
    """Return why a node gave no answer, in a short sentence and in two or three words."""
    if isinstance(error, ConnectionEnded):
        return "closed the connection without an answer", NO_ANSWER
    if isinstance(error, TooLong):
        return "its answer is not a status line", NO_NODE
    if isinstance(error, TimeoutError):
        return f"no answer within {limit_s:.3g} s", NO_ANSWER
    if isinstance(error, socket.gaierror):
        return str(unreachable(address, error, limit_s)), NO_HOST
    if trouble := tls_trouble(error):
        return f"{trouble.why}. {trouble.advice}".rstrip(), trouble.word
    return (error.strerror or str(error)).lower(), UNREACHABLE


def _read_answer(line: bytes) -> dict[str, Any]:
    """Return the facts in a status line. Raises NoAnswer for any other line."""
    text = line.decode("utf-8", "replace")
    speaker, mark, facts = text.partition(MARK)
    if not mark or " " in speaker:
        raise _refused(text)
    try:
        answer = json.loads(facts)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("its status is not JSON", UNREADABLE) from error
    if not isinstance(answer, dict):
        raise NoAnswer("its status is not a JSON object", UNREADABLE)
    if not any(field in answer for field in COUNTS) and "role" in answer:
        answer |= {**dict.fromkeys(COUNTS, 0), WITHHELD: True}
    for field, kind in FIELDS.items():
        value = answer.get(field)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise NoAnswer(f"its status lacks {field}", UNREADABLE)
    for field, kind in OPTIONAL_FIELDS.items():
        value = answer.get(field, kind())
        names = value if kind in (list, dict) else ()
        if not isinstance(value, kind) or not all(map(_is_name, names)):
            raise NoAnswer(f"its status has {field} that can't be read", UNREADABLE)
    return answer


def _is_name(name: object) -> bool:
    return isinstance(name, str) and NAME.fullmatch(name) is not None


def _refused(answer: str) -> NoAnswer:
    """Return the error for a node that sent no status: a refusal, or an unknown line."""
    refusal = refusal_in(answer.partition("@")[2].rstrip())
    if refusal is None:
        return NoAnswer(f"answers: {safe_line(answer[:80].rstrip())}", NO_NODE)
    word = WORDS.get(refusal.code, REFUSES)
    return NoAnswer(f"answers: {safe_line(error_of(refusal).at_the_shell)}", word)


def leader_of(nodes: Sequence[NodeStatus]) -> NodeStatus | None:
    """Return the leader of the highest term. A leader of a lower term is deposed."""
    leaders = [node for node in nodes if node.leads]
    return max(leaders, key=lambda node: int((node.answer or {})["term"]), default=None)


def complain_of(nodes: Sequence[NodeStatus]) -> None:
    """Print on standard error why nodes gave no status."""
    for node in nodes:
        if node.problem:
            print(f"{node.name} ({node.address}): {node.problem}", file=sys.stderr)
