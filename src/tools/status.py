"""The status of every node of a cluster, as the node reports it.

Each node is asked over TCP, as a person would: `status`. It answers with one line,
`s1@STATUS response: {"name": "s1", "role": "leader", …}`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raftline.clients.connection import ClientError, Deadline, LoginFailed, say_waiting
from raftline.clients.conversation import Client
from raftline.clients.lines import ConnectionEnded, LineConnection, TooLong
from raftline.clients.login import Credentials, log_in
from raftline.clients.options import ClientAccess
from raftline.clients.tls import why_no_tls
from raftline.clients.where import has_name
from raftline.common.address import Address
from raftline.common.config import NAME
from raftline.common.console import safe_line
from raftline.common.signals import threads_without_signals
from raftline.wire.refusals import RequestOutcome, refusal_in

ANSWER_BYTES_MAX = 1 << 16
MARK = "@STATUS response: "
# The fields that an answer must have, and their types.
FIELDS: Mapping[str, type] = {
    "name": str,
    "role": str,
    "term": int,
    "last_index": int,
    "commit_index": int,
    "last_applied": int,
}
COUNTS = ("last_index", "commit_index", "last_applied")  # not sent to a user with prefixes
WITHHELD = "withheld"  # set in an answer without them; then they count as 0
# Fields that a node of an older version may lack.
OPTIONAL_FIELDS: Mapping[str, type] = {
    "voters": list,
    "learners": list,
    "outgoing": list,
    "members": dict,
    "members_since": int,
}
GRACE_S = 0.2  # added for late answers
LOOK_S = 1.0  # to find the leader before a request
# The reason why a reachable node reports nothing, in a table's words.
NO_LOGIN, LOGIN_REFUSED, NOT_ALLOWED = "no login", "login refused", "not allowed"
BAD_CERTIFICATE, NO_TLS = "bad certificate", "no TLS"
EXIT_OK = 0
EXIT_NO_LEADER = 3
EXIT_UNKNOWN = int(RequestOutcome.REFUSED)  # no node let us in


@dataclass(frozen=True)
class NodeStatus:
    """One node's answer, or the reason for its lack."""

    name: str
    address: Address
    answer: Mapping[str, Any] | None
    problem: str = ""
    kept_out: str = ""  # two words, if either side refused the other

    @property
    def leads(self) -> bool:
        return self.answer is not None and self.answer["role"] == "leader"


class NoAnswer(Exception):
    """A node gave no usable answer. The message explains why in short; see `kept_out` above."""

    def __init__(self, why: str, kept_out: str = "") -> None:
        super().__init__(why)
        self.kept_out = kept_out


def ask_all(
    members: Mapping[str, Address],
    access: ClientAccess,
    timeout_s: float,
    say: Callable[[str], None] | None = None,
) -> list[NodeStatus]:
    """Return the answer of each node, in their order, after at most `timeout_s` and GRACE_S. If an
    answer names further members, these are asked for the same time.

    `say` gets a line after a second: the nodes without an answer.
    """
    nodes = _once_each(_ask_each(members, access, timeout_s, say))
    return nodes + _ask_each(_others(nodes), access, timeout_s)


def by_name(
    nodes: Mapping[str, Address], access: ClientAccess, timeout_s: float
) -> Mapping[str, Address]:
    """Return the nodes by their names. If addresses are in place of these, the nodes there are
    asked, and all members that they name are added."""
    if all(map(has_name, nodes)):
        return nodes
    return {node.name: node.address for node in ask_all(nodes, access, timeout_s)}


def _ask_each(
    members: Mapping[str, Address],
    access: ClientAccess,
    timeout_s: float,
    say: Callable[[str], None] | None = None,
) -> list[NodeStatus]:
    """Ask them all at once. Late ones are not waited for, not even at the end of the process: a
    name server may block a thread for longer than any timeout."""
    answers: dict[str, NodeStatus] = {}

    def ask_one(name: str) -> None:
        answers[name] = ask(name, members[name], access, timeout_s)

    deadline = Deadline(timeout_s + GRACE_S, say)
    threads = [
        threading.Thread(target=ask_one, args=(name,), name=f"asks {name}", daemon=True)
        for name in members
    ]
    with threads_without_signals():
        for thread in threads:
            thread.start()
    if deadline.notice_s < deadline.until_s:
        _join(threads, deadline.notice_s)
        silent = [name for name in members if name not in answers]
        if silent:
            deadline.notice(f"{', '.join(silent)} may take {timeout_s:g} s in all")
    _join(threads, deadline.until_s)
    late = f"no answer within {timeout_s:g} s"
    return [answers.get(name) or NodeStatus(name, members[name], None, late) for name in members]


def _join(threads: Sequence[threading.Thread], until_s: float) -> None:
    for thread in threads:
        thread.join(max(0.0, until_s - time.monotonic()))


def whom_to_ask(members: Mapping[str, Address], access: ClientAccess) -> list[Address]:
    """Return the addresses for a request: the leader first, then nodes that answer, even if the
    file does not name them, then nodes that may be down."""
    nodes = ask_all(members, access, LOOK_S)
    leader = leader_of(nodes)
    nodes.sort(key=lambda node: (node is not leader, node.answer is None))
    return [node.address for node in nodes]


def client_of(
    members: Mapping[str, Address],
    access: ClientAccess,
    timeout_s: float,
    search_s: float | None = None,
) -> Client:
    """Return a client that brings an operator's requests to the leader."""
    first, *others = whom_to_ask(members, access)
    return Client(
        *first,
        "admin",
        timeout_s,
        follow=True,
        also=others,
        search_s=search_s,
        on_wait=say_waiting,
        credentials=access.credentials,
        tls=access.tls,
    )


def newest_members(nodes: Sequence[NodeStatus]) -> Mapping[str, Any]:
    """Return the answer with the latest configuration; {} if no answer has one."""
    answers = [node.answer for node in nodes if node.answer and "members_since" in node.answer]
    return max(answers, key=lambda answer: int(answer["members_since"]), default={})


def _once_each(nodes: Sequence[NodeStatus]) -> list[NodeStatus]:
    """Return each node once. One without an answer that was named by its address alone has the
    name that the others know it by."""
    members = newest_members(nodes).get("members", {})
    known = {where: str(name) for name, where in members.items() if isinstance(where, str)}
    found: dict[str, NodeStatus] = {}
    for node in nodes:
        name = node.name if has_name(node.name) else known.get(node.name, node.name)
        if name not in found or found[name].answer is None:
            found[name] = replace(node, name=name)
    return list(found.values())


def _others(nodes: Sequence[NodeStatus]) -> dict[str, Address]:
    """Return the members that the file does not name: they were added while the cluster ran."""
    known = {node.name for node in nodes}
    found = {}
    for name, where in newest_members(nodes).get("members", {}).items():
        if name not in known:
            with contextlib.suppress(ValueError):
                found[str(name)] = Address.parse(where)
    return found


def ask(name: str, address: Address, access: ClientAccess, timeout_s: float) -> NodeStatus:
    """Return the status of the node at `address`, or the reason to call it unreachable. An address
    in place of a name takes any node."""
    try:
        answer = _read_answer(_exchange(address, access, timeout_s))
        if not has_name(name) and NAME.fullmatch(answer["name"]):
            name = answer["name"]
        if answer["name"] != name:
            raise NoAnswer(f"{safe_line(answer['name'])} answers there")
    except NoAnswer as error:
        return NodeStatus(name, address, None, str(error), error.kept_out)
    except UnicodeError:  # a host name from another node
        return NodeStatus(name, address, None, "is no host name")
    except TimeoutError:
        return NodeStatus(name, address, None, f"no answer within {timeout_s:g} s")
    except OSError as error:
        if why := why_no_tls(error):
            return NodeStatus(name, address, None, why, _without_tls(error))
        return NodeStatus(name, address, None, (error.strerror or str(error)).lower())
    return NodeStatus(name, address, answer)


def _without_tls(error: OSError) -> str:
    """Return the reason of a failed TLS handshake, in two words."""
    return BAD_CERTIFICATE if type(error).__name__ == "SSLCertVerificationError" else NO_TLS


def _exchange(address: Address, access: ClientAccess, timeout_s: float) -> bytes:
    """Return the line that answers `status`. One deadline holds for all of it."""
    until_s = time.monotonic() + timeout_s
    try:
        with LineConnection(address.port, timeout_s, address.host, access.tls) as connection:
            if access.credentials is not None:
                _log_in(connection, access.credentials, timeout_s)
            connection.send("status")
            return connection.read(until_s, ANSWER_BYTES_MAX)
    except ConnectionEnded:
        raise NoAnswer("closed the connection without an answer") from None
    except TooLong:
        raise NoAnswer("its answer is no status line") from None


def _log_in(connection: LineConnection, credentials: Credentials, timeout_s: float) -> None:
    """Log in. Raises NoAnswer, and the errors of a connection."""
    kept_out = NO_LOGIN
    try:
        _ = credentials.secret  # raises here, as an error of ours and not of the node
        kept_out = LOGIN_REFUSED
        log_in(connection, credentials, "raftline", timeout_s)
    except LoginFailed as failure:
        raise NoAnswer(f"no login: {failure}", kept_out) from None
    except ClientError as failure:
        raise NoAnswer(f"no login: {failure}") from None


def _read_answer(line: bytes) -> dict[str, Any]:
    """Return the facts in a status line. Raises NoAnswer if it is anything else."""
    text = line.decode("utf-8", "replace")
    speaker, mark, facts = text.partition(MARK)
    if not mark or " " in speaker:
        raise NoAnswer(f"answers: {safe_line(text[:80].rstrip())}", _kept_out_by(text))
    try:
        answer = json.loads(facts)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("its status is no JSON") from error
    if not isinstance(answer, dict):
        raise NoAnswer("its status is no JSON object")
    if not any(field in answer for field in COUNTS) and "role" in answer:
        answer |= {**dict.fromkeys(COUNTS, 0), WITHHELD: True}
    for field, kind in FIELDS.items():
        value = answer.get(field)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise NoAnswer(f"its status lacks {field}")
    for field, kind in OPTIONAL_FIELDS.items():
        value = answer.get(field, kind())
        names = value if kind is list else ()
        if not isinstance(value, kind) or not all(isinstance(name, str) for name in names):
            raise NoAnswer(f"its status has {field} that nobody can read")
    return answer


def _kept_out_by(answer: str) -> str:
    """Return in two words why a node sent no status; "" if it is not a node's answer."""
    reply = answer.partition("@")[2].rstrip()
    refusal = refusal_in(reply)
    code = refusal.code if refusal is not None else ""
    return {"not-allowed": NOT_ALLOWED, "no-login": NO_LOGIN, "tls-only": NO_TLS}.get(code, "")


def leader_of(nodes: Sequence[NodeStatus]) -> NodeStatus | None:
    """Return the leader of the highest term: one of a lower term is deposed."""
    leaders = [node for node in nodes if node.leads]
    return max(leaders, key=lambda node: int((node.answer or {})["term"]), default=None)


def complain_of(nodes: Sequence[NodeStatus]) -> None:
    """Print on standard error why nodes without an answer count as unreachable."""
    for node in nodes:
        if node.problem:
            print(f"{node.name} ({node.address}): {node.problem}", file=sys.stderr)
