"""`raftline members|add|remove|replace|promote|demote|update|transfer|begin`: members, and the
leader."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.node_connection import ClientError, say_waiting
from raftline.clients.requests.conversation import Client
from raftline.clients.terminal.streams import report
from raftline.common.address import Address
from raftline.common.config import check_name
from raftline.common.process.console import safe_line
from raftline.raft.change import FORCE, advice
from raftline.wire.commands.command_table import COMMANDS
from raftline.wire.commands.member_commands import CHANGE_S, leaves_learner, read_change
from raftline.wire.done_reply import is_done
from raftline.wire.protocol import ProtocolError
from raftline.wire.refusal import NO_LEADER
from raftline.wire.replies.refusals import code_of, for_people
from raftline.wire.replies.replies import RequestOutcome, outcome_of

from ..asking import asking
from ..asking_options import add_asking_options, add_quiet
from ..status import status
from ..status.status_report import verdict

if TYPE_CHECKING:
    from raftline.common.arguments import Commands

SEARCH_S = 20.0  # to find a leader, which may then take CHANGE_S
MARK = "MEMBERS response: "
EXIT_NO_VOTE = 5
_NAMES = ("NAME", "OLD", "NEW")  # of nodes, in the form of a request


@asking
def _carry_out(
    options: argparse.Namespace, members: Mapping[str, Address], access: ClientAccess
) -> int:
    """Ask the leader for a change, or for the members, and print its answer.

    Returns 0: done; 2: usage; 3: no leader; 4: outcome unknown; 5: refused, unreachable, or the new
    member did not catch up and has no vote; 6: login; 8: TLS.

    Raises:
        ConfigError: no node can have that name.
    """
    verb, *operands = options.words
    given = (getattr(options, operand) for operand in operands)
    words = [verb, *(word for word in given if word is not None)]
    for name in _names_in(words):
        check_name(name)
    request = " ".join(words)
    try:
        change = read_change(request)
    except ProtocolError as mistake:
        print(f"raftline: {mistake}", file=sys.stderr)
        return RequestOutcome.USAGE
    patience_s = options.timeout or (10.0 if change is None else CHANGE_S)
    search_s = None if change is None else options.timeout or SEARCH_S
    with status.client_of(members, access, patience_s, search_s) as client:
        reply = client.request(request)
    if change is None:
        facts = json.loads(reply.removeprefix(MARK))
        if not options.json:
            return _show(facts, options.quiet)
        print(json.dumps(facts, indent=2))
        return RequestOutcome.DONE
    if not options.quiet:
        print(safe_line(reply))
    return EXIT_NO_VOTE if leaves_learner(reply) else RequestOutcome.DONE


def _names_in(words: Sequence[str]) -> list[str]:
    """Return the names of nodes in a request, also in one without its last words."""
    form = COMMANDS[words[0]].form.split()
    return [word for kind, word in zip(form, words, strict=False) if kind in _NAMES]


def _show(facts: Mapping[str, Any], is_quiet: bool) -> int:
    """Print a line for each member, and any warning about the number of voters unless quiet."""
    for name, where in facts["members"].items():
        print(safe_line(f"{name}  {where}  {_role(name, facts)}"))
    if is_quiet:
        return RequestOutcome.DONE
    if not facts["members_committed"]:
        print(f"entry {facts['members_since']} names them and is not committed yet")
    warning = advice(len(facts["voters"]))
    if warning:
        print(f"[!] {warning}")
    return RequestOutcome.DONE


def _role(name: str, facts: Mapping[str, Any]) -> str:
    if name in facts["voters"]:
        joins = facts["outgoing"] and name not in facts["outgoing"]
        return "voter (joins)" if joins else "voter"
    if name in facts["outgoing"]:
        return "voter (leaves)"
    return "learner"


@asking
def _transfer(
    options: argparse.Namespace, members: Mapping[str, Address], access: ClientAccess
) -> int:
    """Ask the leader to hand over, print its reply and return the exit code.

    Returns 0: done; 3: no leader; 4: outcome unknown; 5: refused, unreachable; 6: login; 8: TLS.

    Raises:
        ConfigError: no node can have that name.
    """
    if (to := options.to) is not None:
        check_name(to)
    nodes = status.ask_all(members, access, min(options.timeout, status.CHECK_S))
    leader = status.leader_of(nodes)
    if leader is None and any(node.answer or node.is_shut for node in nodes):
        result = verdict(nodes)
        notice = f"{NO_LEADER}\n" if result.serves is False else ""
        print(f"{notice}[!] {result.line}", file=sys.stderr)
        status.complain_of(nodes)
        return result.exit_status
    if leader is not None and leader.name == to:
        print(f"{to} leads already")
        return RequestOutcome.DONE
    first, *others = [each.address for each in ([leader] if leader else nodes)]
    try:
        with Client(
            *first,
            "raftline",
            options.timeout,
            follow=leader is None,
            also=others,
            on_wait=say_waiting,
            access=access,
        ) as client:
            text = client.ask(f"transfer {to}" if to else "transfer").text
    except ClientError as failure:  # after a check of the nodes
        return report(failure)
    is_taken_over = is_done(text)
    print(for_people(text), file=sys.stdout if is_taken_over else sys.stderr)
    member_names = status.newest_members(nodes).get("members") or [node.name for node in nodes]
    if code_of(text) == "not-taken-over" and to not in member_names:
        print(f"[*] its members are {_sorted(member_names)}", file=sys.stderr)
    return RequestOutcome.DONE if is_taken_over else outcome_of(text)


def _sorted(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(safe_line, names)))


@asking
def _begin(options: argparse.Namespace, nodes: Mapping[str, Address], access: ClientAccess) -> int:
    """Claim at the first of these nodes that answers that the named members never ran; print its
    reply and return the exit code.

    Returns 0: done; 5: refused, unreachable; 6: login; 8: TLS.

    Raises:
        ConfigError: no node can have that name.
    """
    without, timeout_s = options.without, options.timeout
    for name in without:
        check_name(name)
    first, *others = nodes.values()
    command = " ".join(["begin", *(["without", *without] if without else [])])
    try:
        with Client(
            *first, "raftline", timeout_s, follow=False, also=others, access=access
        ) as client:
            text = client.ask(command).text
    except ClientError as failure:  # of the only node that was asked
        return report(failure)
    print(for_people(text), file=sys.stdout if is_done(text) else sys.stderr)
    return outcome_of(text)


def add_commands(commands: Commands) -> None:
    """Add `transfer`, `begin`, `member` and its actions to the command line. The actions work
    without `member`, too, but the help omits them."""
    _add_transfer(commands)
    _add_begin(commands)
    member = commands.add_parser(
        "member",
        help="list the members; add, remove, replace, promote, demote, update one",
        description="List or change the members of a running cluster.",
    )
    actions = member.add_subparsers(metavar="ACTION", required=True)
    _add_actions(actions, {"members": "list"})
    _add_actions(commands, {})


def _add_transfer(commands: Commands) -> None:
    transfer = commands.add_parser(
        "transfer",
        help="hand the leadership over",
        description="Make another node the leader, for example before work on the leader's "
        "machine. Exit code 0: it leads; 3: no leader to ask; 4: outcome unknown; 5: refused, or "
        "no node was reached; 6: login; 8: TLS.",
    )
    transfer.add_argument("to", metavar="NAME", nargs="?", help="which node (any that can)")
    add_asking_options(transfer, 15.0)
    add_quiet(transfer, _transfer)


def _add_begin(commands: Commands) -> None:
    begin = commands.add_parser(
        "begin",
        help="begin a cluster without members that never ran",
        description="Nodes without files wait until they have heard all members. Say at one of "
        "them that the silent members never ran; it tells the others. If a silent member holds "
        "entries after all, an empty cluster begins beside it (docs/repair.md). Exit code 0: "
        "done; 5: refused, or no node was reached; 6: login; 8: TLS.",
    )
    begin.add_argument(
        "--without", metavar="NAME", nargs="+", default=[], help="the members that never ran"
    )
    add_asking_options(begin, 15.0)
    add_quiet(begin, _begin)


def _add_actions(commands: Commands, names: Mapping[str, str]) -> None:
    for verb, row in COMMANDS.items():
        if row.handling.kind != "members":
            continue
        words = row.operands.form.split()
        name = names.get(verb, verb)
        command = commands.add_parser(name, help=row.does, description=f"{row.does}.")
        for word in words:
            if word == f"[{FORCE}]":
                command.add_argument(
                    FORCE, nargs="?", choices=[FORCE], help="even if too few voters would answer"
                )
            else:
                command.add_argument(word.lower(), metavar=word)
        add_asking_options(command)
        add_quiet(command)
        command.set_defaults(carry_out=_carry_out, json=False)
        if verb == "members":
            command.add_argument("--json", action="store_true", help="for programs")
        command.set_defaults(words=[verb, *(word.strip("[]").lower() for word in words)])
