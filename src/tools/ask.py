"""`raftline get`, `set`, `watch` and more: one request to the cluster, wherever its leader is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from raftline.client import add_forms, answer_one, command_of
from raftline.clients.connection import say_waiting
from raftline.clients.conversation import Client
from raftline.clients.options import access_of, add_asking_options
from raftline.clients.pool import ATTEMPTS, TIMEOUT_S
from raftline.clients.streams import run_client
from raftline.clients.where import named_nodes
from raftline.common.arguments import Parser
from raftline.wire.commands import AT_THE_SHELL, COMMANDS, read_request
from raftline.wire.operands import Limits
from raftline.wire.protocol import ProtocolError, escape

_EPILOG = (
    "It is asked at --at, else at $RAFTLINE, else at the nodes of the folder's "
    "server-configuration.txt, and goes where the leader is. Exit code 0: done; 1: no such key; 2: "
    "usage; 3: no leader; 4: outcome unknown (a write that may yet take effect); 5: refused or "
    "unreachable."
)


def main(verb: str, arguments: Sequence[str]) -> int:
    """Send the request, print the reply and return the client's exit code.

    Raises:
        ConfigError: no node is named anywhere.
    """
    reader = parser(verb)
    head, words = split(reader, verb, arguments)
    options = reader.parse_args(head)
    command = _command(reader, options, verb, words)
    first, *others = named_nodes(options.at, options.dir).values()
    access = access_of(options)
    client = Client(
        *first,
        "raftline",
        options.timeout,
        follow=True,
        also=others,
        attempt_s=options.timeout / ATTEMPTS if others else None,
        on_wait=None if options.quiet else say_waiting,
        credentials=access.credentials,
        tls=access.tls,
    )

    return run_client(
        client, lambda: answer_one(client, command, options.quiet, options.json), reader.prog
    )


def parser(verb: str) -> Parser:
    """Return what reads the options of one of them."""
    does = AT_THE_SHELL[verb]
    place = "before KEY" if COMMANDS[verb].operands.ends_in_value else "anywhere"
    reader = Parser(
        prog=f"raftline {verb}",
        usage=f"%(prog)s [options] {COMMANDS[verb].operands.form}",
        description=f"{does[0].upper()}{does[1:]}. Each argument stands for itself, so a key may "
        f"hold spaces. Options stand {place}, and none behind --.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add_asking_options(reader, TIMEOUT_S)
    if verb == "set":
        life = reader.add_mutually_exclusive_group()
        life.add_argument("--ttl", metavar="SECONDS", help="let KEY go after this time")
        life.add_argument("--lease", metavar="LEASE", help="let KEY go with this lease: lease-57")
    add_forms(reader.add_mutually_exclusive_group())
    return reader


def split(reader: Parser, verb: str, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (options, words). The words of a value may look like options. One
    that is an option of this command is refused, not stored."""
    with_value = {
        word for each in reader._actions if each.nargs != 0 for word in each.option_strings
    }
    head: list[str] = []
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if word.startswith("-") and word != "-":
            head.append(word)
            if word in with_value and rest:
                head.append(rest.pop(0))
        elif COMMANDS[verb].operands.ends_in_value:
            for option in rest:
                if option.partition("=")[0] in reader._option_string_actions:
                    reader.error(
                        f"{option} stands behind KEY; options stand before it, a value behind --"
                    )
            words = [word, *rest]
            break
        else:
            words.append(word)
    return head, words


def _command(reader: Parser, options: argparse.Namespace, verb: str, words: Sequence[str]) -> str:
    """Return the line to send. A mistake in it ends this process before any request."""
    needed = COMMANDS[verb].operands.needed
    if len(words) < len(needed):
        reader.error(f"{needed[len(words)]} is missing")
    command = command_of([verb, *words])
    if verb == "set" and options.ttl is not None:
        command = command_of(["setex", words[0], options.ttl, *words[1:]])
    elif verb == "set" and options.lease is not None:
        command = f"under {escape(options.lease, key=True)} {command}"
    try:
        read_request("", "", command, Limits(1 << 62, 1 << 62))
    except ProtocolError as mistake:
        reader.error(str(mistake).rstrip("."))
    return command
