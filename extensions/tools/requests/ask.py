"""`raftline get`, `set`, `watch` and others: one request to the leader of the cluster."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from raftline.client import Explain, ReplyPrinter, add_forms, answer_one, command_of
from raftline.clients.connections.address_options import named_nodes
from raftline.clients.connections.node_connection import say_waiting
from raftline.clients.requests.conversation import Client
from raftline.clients.requests.pool import PARTS, TIMEOUT_S
from raftline.clients.requests.search import error_of
from raftline.clients.terminal.options import access_of
from raftline.clients.terminal.streams import run_client
from raftline.common.arguments import Parser, as_number
from raftline.common.config import ConfigError, complaint
from raftline.wire.commands.command_table import COMMANDS, Command, read_request
from raftline.wire.limits import VALUE_BYTES
from raftline.wire.operands.operands import KEY, KEY_VALUE, NO_LIMITS, PAGE, PREFIX, WATCHED
from raftline.wire.protocol import ProtocolError, escape, real
from raftline.wire.refusal import error
from raftline.wire.replies.refusals import refusal_in
from raftline.wire.replies.replies import Reply, RequestOutcome, value_in

from ..asking import explain
from ..asking_options import add_asking_options
from ..verbs import EXISTS, LISTINGS, REQUESTS

STDIN = "-"
_NUMBER = re.compile(r"-[0-9.]+")  # not an option, though it begins with a dash
_EPILOG = (
    "The nodes come from --at, else from $RAFTLINE, else from the folder's "
    "server-configuration.txt; the request goes to their leader. Exit code 0: done; 1: no such "
    "key; 2: usage; 3: no leader; 4: outcome unknown (a write that may yet take effect); 5: "
    "refused or unreachable; 6: login; 8: TLS; 74: the reply can't be printed."
)


def main(verb: str, arguments: Sequence[str]) -> int:
    """Send the request, print the reply and return the client's exit code.

    Raises:
        ConfigError: no option, variable or file names a node.
    """
    reader = parser(verb)
    typed = split(reader, arguments)
    options = reader.parse_args(typed.options)
    command = _command(reader, options, verb, typed)
    if verb == "lease" and options.keep:
        from .keep_lease import keep  # the client for programs, which takes a while to load

        return keep(json.loads(command.split()[1]), options)
    is_raw = verb == "get" and options.raw
    is_value = verb == "get" and (is_raw or options.quiet or not sys.stdout.isatty())
    end = None if not is_value else b"" if is_raw else b"\n"

    def talk(client: Client, explain: Explain) -> int:
        make = ExistsPrinter if verb == EXISTS else ShellPrinter
        printer = make(
            options.quiet, options.json, explain, end, getattr(options, "long_value", "")
        )
        return _converse(client, command, verb, options, printer)

    return converse(options, reader.prog, talk)


def converse(options: argparse.Namespace, prog: str, talk: Callable[[Client, Explain], int]) -> int:
    """Carry out the requests of a command by a client that follows the leader, and return the exit
    code.

    Raises:
        ConfigError: no option, variable or file names a node, or a file for the login or for TLS
            can't be used.
    """
    nodes = named_nodes(options.at, options.dir)
    first, *others = nodes.values()
    access = access_of(options)
    client = Client(
        *first,
        "raftline",
        options.timeout,
        follow=True,
        sessions=False,
        also=others,
        attempt_s=options.timeout / PARTS if others else None,
        on_wait=None if options.quiet else say_waiting,
        access=access,
    )
    explaining = partial(explain, nodes, access)
    return run_client(client, lambda: talk(client, explaining), prog, explaining)


def _converse(
    client: Client, command: str, verb: str, options: argparse.Namespace, printer: ReplyPrinter
) -> int:
    if verb == "watch" and options.program is not None:
        from .watch_exec import run_at_each

        return run_at_each(client, command, options.program)
    if verb in ("show", *LISTINGS):
        from .listing import Wanted, show

        form = next(
            (each for each in LISTINGS if verb == each or getattr(options, each, False)), ""
        )
        return show(client, command, printer, Wanted(form, options.limit))
    return answer_one(client, command, printer)


def parser(verb: str) -> Parser:
    """Return the parser for the options of one command."""
    does = REQUESTS[verb]
    reader = Parser(
        prog=f"raftline {verb}",
        usage=f"%(prog)s [options] {row(verb).operands.form}",
        description=f"{does[0].upper()}{does[1:]}. Each argument is taken literally, so a "
        "key may hold spaces. Options may stand anywhere before --.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add_asking_options(reader, TIMEOUT_S)
    add_forms(forms := reader.add_mutually_exclusive_group())
    _add_options(reader, forms, verb)
    return reader


def _add_options(reader: Parser, forms: argparse._MutuallyExclusiveGroup, verb: str) -> None:
    """Add the options that only one command has."""
    if verb == "get":
        forms.add_argument(
            "--raw", action="store_true", help="only the value's bytes, without a newline"
        )
    if verb == "set":
        life = reader.add_mutually_exclusive_group()
        life.add_argument("--ttl", metavar="SECONDS", help="delete KEY after this time")
        life.add_argument("--lease", metavar="LEASE", help="delete KEY when this lease ends")
    if _takes_file(verb):
        reader.add_argument(
            "--from",
            dest="file",
            type=Path,
            metavar="FILE",
            help="take VALUE from FILE; - is standard input, also as VALUE",
        )
    if verb == "show":
        what = reader.add_mutually_exclusive_group()
        for listing, means in LISTINGS.items():
            what.add_argument(f"--{listing}", action="store_true", help=means.partition(",")[0])
    if verb in ("show", *LISTINGS):
        reader.add_argument(
            "--limit", type=as_number("number of keys", 1), metavar="N", help="at most N keys (all)"
        )
    if verb == "watch":
        reader.add_argument(
            "--exec",
            dest="program",
            metavar="COMMAND",
            help="run COMMAND in a shell at each event, with RAFTLINE_KEY, RAFTLINE_KIND and "
            "RAFTLINE_INDEX, and the value as its standard input",
        )
    if verb == "lease":
        reader.add_argument(
            "--keep", action="store_true", help="renew it until Ctrl-C, then end it"
        )


def row(verb: str) -> Command:
    """Return the row of the request that a command of the shell sends."""
    return COMMANDS["show" if verb in LISTINGS else "stat" if verb == EXISTS else verb]


def _takes_file(verb: str) -> bool:
    return row(verb).operands is KEY_VALUE


class TypedWords(NamedTuple):
    """The arguments, split."""

    options: list[str]
    words: list[str]
    literal: list[str]  # after `--`

    @property
    def operands(self) -> list[str]:
        return self.words + self.literal


def split(reader: Parser, arguments: Sequence[str]) -> TypedWords:
    """Return the options, which may appear anywhere before `--`, and the words. A number and a lone
    dash are words."""
    actions = reader._option_string_actions
    head: list[str] = []
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return TypedWords(head, words, rest)
        name, has_value, _ = word.partition("=")
        if name in actions:
            head.append(word)
            if actions[name].nargs != 0 and not has_value and rest:
                head.append(rest.pop(0))
        elif word.startswith("-") and word != STDIN and not _NUMBER.fullmatch(word):
            near = difflib.get_close_matches(name, actions, 1)
            hint = f"; did you mean {near[0]}?" if near else "."
            reader.error(f"there is no option {word}{hint} Put other words after --")
        else:
            words.append(word)
    return TypedWords(head, words, [])


def _command(reader: Parser, options: argparse.Namespace, verb: str, typed: TypedWords) -> str:
    """Return the line to send. A mistake ends this process before any request."""
    of_verb = row(verb)
    words = typed.operands
    if _takes_file(verb) and (options.file is not None or typed.words[1:] == [STDIN]):
        if options.file is not None and len(words) > 1:
            reader.error("--from and VALUE both give the value; give one of them")
        if words:
            words[1:] = [_read_value(options.file)]
            options.long_value = escape(words[1], key=False)
    needed = of_verb.operands.needed
    if len(words) < len(needed):
        reader.error(f"{needed[len(words)]} is missing")
    if of_verb.operands.begins_with_key and not words[0]:
        reader.error("KEY is empty; a key has at least one character")
    command = command_of([of_verb.verb, *words])
    if verb == "set" and options.ttl is not None:
        command = command_of(["setex", words[0], options.ttl, *words[1:]])
    elif verb == "set" and options.lease is not None:
        command = f"under {escape(options.lease, key=True)} {command}"
    try:
        read_request("", "", command, NO_LIMITS)
    except ProtocolError as mistake:
        if len(words) > 1 and _takes_one(of_verb, words):
            quoted = shlex.quote(" ".join(words))
            what = "key" if of_verb.operands is KEY else "prefix"
            reader.error(f"{verb} takes one {what}; quote it if it has spaces: {verb} {quoted}")
        reader.error(str(mistake).rstrip("."))
    return command


def _takes_one(of_verb: Command, words: Sequence[str]) -> bool:
    """Return whether the words can only be one key or prefix whose spaces were not quoted."""
    return of_verb.operands in (KEY, PREFIX) or (
        of_verb.operands in (PAGE, WATCHED) and "after" not in words
    )


def _read_value(path: Path | None) -> str:
    """Return the content of a file, or of standard input, as the text of a value.

    Raises:
        ConfigError: it can't be read, or is longer than a value may be.
    """
    try:
        if path is None or str(path) == STDIN:
            if getattr(sys.stdin, "name", "") == os.devnull:  # by open_closed_streams
                raise ConfigError("standard input is closed, and VALUE - reads from it")
            data = sys.stdin.buffer.read(VALUE_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(VALUE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"--from {complaint(error)}") from None
    if len(data) > VALUE_BYTES:
        where = "standard input" if path is None or str(path) == STDIN else path
        raise ConfigError(f"{where}: holds more than the {VALUE_BYTES:,} bytes of a value")
    return data.decode("utf-8", "surrogateescape")


class ShellPrinter(ReplyPrinter):
    """Prints replies on standard output. With `end`, prints only the bytes of a value, and then
    `end`. For `long_value`, which came from a file, prints its size. Refusals, with advice, go to
    standard error."""

    def __init__(
        self,
        quiet: bool,
        as_object: bool,
        explain: Explain,
        end: bytes | None = None,
        long_value: str = "",
    ) -> None:
        super().__init__(quiet, as_object, explain)
        self._end = end
        self._long_value = long_value

    def _print(self, command: str, reply: Reply, outcome: RequestOutcome) -> RequestOutcome:
        if self.as_object:
            return super()._print(command, reply, outcome)
        refusal = refusal_in(reply.text)
        if refusal is not None:
            refused = (
                error_of(refusal) if reply.server else None
            )  # otherwise it is explained already
            print(error(refused.at_the_shell) if refused else reply.text, file=sys.stderr)
        elif self._end is None:
            if self._long_value and reply.text.endswith(self._long_value):
                size = len(real(self._long_value).encode("utf-8", "surrogateescape"))
                text = reply.text.removesuffix(self._long_value)
                reply = reply._replace(text=f"{text}a value of {size:,} bytes")
            return super()._print(command, reply, outcome)
        elif outcome is RequestOutcome.DONE:
            sys.stdout.buffer.write(real(value_in(reply.text)).encode("utf-8", "surrogateescape"))
            sys.stdout.buffer.write(self._end)
            sys.stdout.buffer.flush()
        else:
            print(reply.text, file=sys.stderr)
        return outcome


class ExistsPrinter(ShellPrinter):
    """Prints whether a key exists, by the reply to its `stat`."""

    def _print(self, command: str, reply: Reply, outcome: RequestOutcome) -> RequestOutcome:
        if not self.as_object and outcome is RequestOutcome.DONE:
            if not self.quiet:
                print(f"EXISTS response: {command.partition(' ')[2]} exists")
            return outcome
        if not self.as_object and outcome is RequestOutcome.ABSENT:
            reply = reply._replace(text=reply.text.replace("STAT ", "EXISTS ", 1))
        return super()._print(command, reply, outcome)
