"""`raftline controller TARGET REQUEST …`: one order to one node, as a person types it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.client_tls import tls_trouble
from raftline.clients.connections.node_connection import ClientError, Deadline, say_waiting
from raftline.clients.requests.one_node import Connect, NodeShell, Talk, answer_to
from raftline.clients.steps import carry_out
from raftline.clients.terminal.options import access_of, add_login_options
from raftline.common import config
from raftline.common.address import HOST, Address, split
from raftline.common.arguments import Parser
from raftline.common.config import ConfigError
from raftline.common.process.signals import raised
from raftline.wire.protocol import ProtocolError, escape
from raftline.wire.refusal import error, outcome_unknown
from raftline.wire.replies.refusals import refusal_in, sentence_of
from raftline.wire.replies.replies import Reply, RequestOutcome, outcome_of, read_reply
from raftline_course.controller.control import CONTROLLER
from raftline_course.controller.faults import IN_FORCE
from raftline_course.controller.orders import FAULT_FORMS

LEADER_INFO = "LEADER_INFO"
MARK = " response: "


def parser() -> Parser:
    """Return the argument parser."""
    options = Parser(
        prog="raftline controller",
        description="Give one order to one node: STORE KEY VALUE, RETRIEVE, LEADER_INFO, "
        "CONVERT_FOLLOWER, TIMEOUT, SHUTDOWN, RESTART, PARTITION NAME…, HEAL [NAME…], DROP "
        "PERCENT% [NAME…], DELAY TIME [NAME…], SKIP-REPLICATION on|off, HEARTBEAT TIME|normal "
        "[for TIME], DELETE-LOG. Exit code 0: done; 2: usage; 3: not the leader, who is named if "
        "known; 4: outcome unknown; 5: refused or unreachable.",
    )
    options.add_argument("target", metavar="TARGET", help="a node's name, or HOST:PORT")
    options.add_argument("words", metavar="REQUEST", nargs="+", help="the order and its words")
    options.add_cluster_options(30.0)
    options.add_argument("--json", action="store_true", help="one object, for programs")
    add_login_options(options)
    return options


def main(arguments: Sequence[str]) -> int:
    """Run `raftline controller`; return the exit code.

    Raises:
        ConfigError: no such node is known, or the order doesn't fit into a line.
    """
    options = parser().parse_args(arguments)
    access = access_of(options)
    with raised():
        return order(
            options.target, options.words, options.dir, access, options.timeout, options.json
        )


def order(
    target: str,
    words: Sequence[str],
    folder: str | None,
    access: ClientAccess,
    timeout_s: float,
    json_wanted: bool,
) -> int:
    """Give an order; print the answer and return the exit code: 0 done, 3 not the leader (the
    answer names it, or null), 4 outcome unknown, 5 refused or unreachable.

    Raises:
        ConfigError: no such node is known, or the order doesn't fit into a line.
    """
    address = _address_of(target, folder)
    # A whole order may be quoted as one word: then, too, only the verb is put in capitals.
    verb, *operands = [*words[0].strip(" ").split(" ", 2), *words[1:]]
    verb = verb.upper()
    if not verb:
        raise ConfigError("REQUEST is empty; see raftline controller --help for those there are")
    ordering = _ordering(
        target, address, _line(verb, operands), Deadline(timeout_s, say_waiting, reply_s=timeout_s)
    )
    with NodeShell(CONTROLLER, access, asks_codes=False) as shell:
        reply = carry_out(ordering, shell.do)
    outcome = _outcome(verb, reply.text)
    if json_wanted:
        print(_as_json(verb, reply, outcome))
    else:
        text = f"{reply.server}@{reply.text}" if reply.server else reply.text
        print(text, file=sys.stderr if outcome >= RequestOutcome.UNKNOWN else sys.stdout)
    return outcome


def _address_of(target: str, folder: str | None) -> Address:
    """Return the address of a node: by its configured name, or HOST:PORT."""
    if ":" in target:
        host, port = split(target)
        if not HOST.fullmatch(host):
            raise ConfigError(f"TARGET: {target!r} is neither a node's name nor HOST:PORT")
        return Address(host, config.port_number(port, "TARGET"))
    configuration = config.load(folder)
    if target not in configuration.members:
        known = " ".join(configuration.members)
        raise ConfigError(f"{target} is not in {configuration.path} (it names: {known})")
    return configuration.members[target]


def _line(verb: str, operands: Sequence[str]) -> bytes:
    """Return the order; each argument is one word, so a key may hold spaces."""
    if verb == "STORE" and operands:
        key, *value = operands
        operands = [escape(key, key=True), *([escape(" ".join(value), key=False)] * bool(value))]
    try:
        line = f"{CONTROLLER}@{' '.join([verb, *operands])}".encode()
    except (ProtocolError, UnicodeEncodeError) as mistake:
        raise ConfigError(f"this can't be sent: {mistake}") from None
    if b"\n" in line:
        raise ConfigError("an order is one line; nothing was sent")
    return line


def _ordering(target: str, address: Address, line: bytes, deadline: Deadline) -> Talk[Reply]:
    """Return the node's answer, or a line that says why there is none."""
    where = target if ":" in target else f"{target} ({address.host}:{address.port})"
    try:
        yield Connect(address, deadline.left_s)
    except ClientError as failure:
        return Reply("", error(f"{where}: {failure}"))
    except OSError as failure:
        trouble = tls_trouble(failure)
        why = trouble.why if trouble else (failure.strerror or str(failure)).lower()
        return Reply("", error(f"{where} is not reached: {why}; nothing was done"))
    try:
        reply = read_reply((yield from answer_to(line, address, deadline)))
    except OSError as failure:
        why = (failure.strerror or str(failure)).lower()
        return Reply("", outcome_unknown(f"{where} did not answer: {why}"))
    return reply or Reply("", error(f"the program at {where} is not a node of raftline"))


def _outcome(verb: str, text: str) -> RequestOutcome:
    if verb != LEADER_INFO and text.startswith(LEADER_INFO + MARK):
        return RequestOutcome.NO_LEADER  # nothing was done: it names the leader
    return outcome_of(text)


def _as_json(verb: str, reply: Reply, outcome: RequestOutcome) -> str:
    """Return the answer as one JSON object: the node, its answer, and whether the order was carried
    out."""
    fields: dict[str, object] = {
        "ok": outcome is RequestOutcome.DONE,
        "request": verb,
        "code": int(outcome),
    }
    answered, mark, text = reply.text.partition(MARK)
    refusal = refusal_in(reply.text)
    if mark and refusal is None:
        fields |= {"answer": answered, "value": _value_of(answered, text)}
    else:
        fields["error"] = sentence_of(reply.text)
    return json.dumps(fields | ({"server": reply.server} if reply.server else {}))


def _value_of(verb: str, text: str) -> object:
    """Return the value of an answer for a program: JSON for the faults in force, else a text."""
    if verb in FAULT_FORMS:
        return text.removeprefix(IN_FORCE).split("; ") if text.startswith(IN_FORCE) else []
    try:
        return json.loads(text)
    except ValueError:
        return text
