"""`client.py PORT [ID] [command …]`: a screen for users, lines for scripts, exit codes for both."""

from __future__ import annotations

if __name__ == "__main__":  # first, because the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import argparse
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from raftline.clients.connections.address_options import read_nodes
from raftline.clients.connections.connect_url import NamedNodes
from raftline.clients.connections.node_connection import (
    ClientError,
    NoLeader,
    NotLeader,
    OutcomeUnknown,
    Refused,
    Unreachable,
    say_waiting,
)
from raftline.clients.requests.conversation import Client
from raftline.clients.requests.search import Answer, error_of
from raftline.clients.terminal import shell
from raftline.clients.terminal.exit_status import exit_status_of, exit_status_to
from raftline.clients.terminal.options import WITH_VALUE, access_of, add_login_options
from raftline.clients.terminal.shell import run_shell
from raftline.clients.terminal.streams import (
    accept_raw_stdin,
    batches_of_stdin,
    report_delay,
    run_client,
    say,
    say_connecting,
)
from raftline.common.address import Address, split
from raftline.common.arguments import Parser, as_host, as_port, as_seconds, program
from raftline.common.config import ConfigError
from raftline.common.process.console import open_closed_streams
from raftline.wire.commands.command_table import COMMANDS, row_of
from raftline.wire.protocol import NAME, escape
from raftline.wire.refusal import SORRY, error
from raftline.wire.replies.refusals import for_people, refusal_in
from raftline.wire.replies.replies import (
    Reply,
    RequestOutcome,
    as_json,
    mistake_in,
    or_usage,
    outcome_to,
    value_in,
)

__all__ = [
    "Address", "Client", "ClientError", "NoLeader", "NotLeader", "OutcomeUnknown", "Refused",
    "Unreachable", "main",
]  # fmt: skip

Explain = Callable[[ClientError], ClientError]
_USAGE = "%(prog)s [options] [HOST:]PORT [ID] [command ...]"
_EPILOG = r"""
--at HOST:PORT[,...] may replace [HOST:]PORT as the first argument; it follows the leader.
Without a command: a screen on a terminal; from a pipe, one reply for each line that is neither
blank nor a # comment, on standard output, even if it is an error. In a command given as arguments,
each argument stands for itself:
    %(prog)s 10000 1 set "my key" two words     sends   set my\skey two words
A single argument is a line as typed: %(prog)s 10000 'get my\skey'. An ID may be omitted, unless
it is the name of a command.

The screen at PORT ID stays at that node, as in the course. Everything else follows the leader, and
sends an unanswered write again, which takes effect once.

Exit code, the highest of all replies: 0 done, 1 no such key, 2 usage, 3 no leader or not the
leader, 4 outcome unknown (a write that may still take effect), 5 refused or unreachable.
"""
_OPTIONS_WITH_VALUE = ("--host", "--timeout", "--also", *WITH_VALUE)


def main(
    argv: Sequence[str] | None = None, explaining: Callable[[Client], Explain] | None = None
) -> int:
    """Carry out the arguments; return the exit code. Usage errors exit with 2. `explaining` returns
    the function that explains why there is no leader, for a command with `--at`."""
    open_closed_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    named, arguments_after = _nodes_first(arguments)
    head, words = split_command(arguments_after)
    options = read_options(parser(), head)
    options.at = named
    accept_raw_stdin()
    on_terminal = sys.stdin is not None and sys.stdin.isatty()
    program_form = options.quiet or options.json
    with_screen = not words and (options.screen or (on_terminal and not program_form))
    client = _client_of(options, with_screen=with_screen)

    is_at = bool(words) and arguments[0].startswith("--at")
    explain = explaining(client) if explaining and is_at else None
    printer = ReplyPrinter(options.quiet, options.json, explain)

    def converse() -> int:
        if options.name and not words:
            shell.point_at_id(options.name)
        if with_screen:
            client.connect()
            return run_shell(client, on_terminal, _watched)
        if words:
            outcome = answer_one(client, command_of(words), printer)
            if options.name and outcome == RequestOutcome.USAGE:
                shell.point_at_id(options.name)
            return outcome
        client.connect()
        outcomes = (answer_each(client, batch, printer) for batch in batches_of_stdin())
        return max(outcomes, default=RequestOutcome.DONE)

    return run_client(client, converse, parser().prog)


def _client_of(options: argparse.Namespace, *, with_screen: bool) -> Client:
    """Return the client; an unusable login or TLS is a usage error."""
    if options.follow is None:
        options.follow = not with_screen or options.name is None or bool(options.also)
    try:
        access = access_of(options)
    except ConfigError as problem:
        parser().error(str(problem))
    return Client(
        options.node.host,
        options.node.port,
        options.name or "client",
        options.timeout,
        follow=options.follow,
        also=options.also,
        on_connect=say_connecting if with_screen else None,
        on_wait=None if options.quiet else report_delay if with_screen else say_waiting,
        access=access,
    )


def _nodes_first(arguments: list[str]) -> tuple[NamedNodes | None, list[str]]:
    """Return the nodes in a leading `--at`, and the arguments with `HOST:PORT --also …` in its
    place."""
    option, *rest = arguments or [""]
    name, equals, addresses = option.partition("=")
    if name != "--at":
        return None, arguments
    if not equals:
        addresses, *rest = rest or [""]
    try:
        named = read_nodes(addresses)
    except ValueError as problem:
        parser().error(f"argument --at: {problem}")
    first, *others = map(str, named.addresses)
    also = [word for each in others for word in ("--also", each)]
    return named, [first, *also, "--follow", *rest]


def split_command(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the options with PORT and ID, and the command: options end where the command begins.

    So a value such as `--follow` or `-1` needs no quoting. A `--` may precede the command.
    """
    position = plain = 0
    while position < len(arguments):
        word = arguments[position]
        if word == "--" and plain:
            return arguments[:position], arguments[position + 1 :]
        if word in _OPTIONS_WITH_VALUE:
            position += 1
        elif not word.startswith("-"):
            # An ID is not the name of a command, or a whole line.
            if plain == 2 or (plain == 1 and (word in COMMANDS or " " in word)):
                break
            plain += 1
        position += 1
    return arguments[:position], arguments[position:]


def command_of(words: list[str]) -> str:
    """Return the line for a command given as arguments: each argument is literal, but a single
    argument is a whole line."""
    if len(words) == 1:
        return words[0]
    verb, *operands = words
    return f"{escape(verb, key=False)} {row_of(verb).operands.format(operands)}"


class ReplyPrinter:
    """Prints replies: unchanged, only their values, or as JSON objects. `explain` explains why
    there is no leader."""

    def __init__(self, quiet: bool, as_object: bool, explain: Explain | None = None) -> None:
        self.quiet = quiet
        self.as_object = as_object
        self.explain = explain

    def show(self, command: str, reply: Reply) -> int:
        """Print the reply to a command; return its exit status."""
        refusal = refusal_in(reply.text)
        if self.explain and refusal and refusal.outcome is RequestOutcome.NO_LEADER:
            return self.fail(command, error_of(refusal))
        self._print(command, reply, outcome_to(command, reply.text))
        return exit_status_to(command, reply.text)

    def fail(self, command: str, failure: ClientError) -> int:
        """Print why a command has no reply; return its exit status."""
        failure = self.explain(failure) if self.explain else failure
        reply = Reply("", SORRY + failure.at_the_shell)
        outcome = self._print(command, reply, or_usage(command, failure.outcome))
        return outcome if outcome is RequestOutcome.USAGE else exit_status_of(failure)

    def _print(self, command: str, reply: Reply, outcome: RequestOutcome) -> RequestOutcome:
        if self.as_object:
            say(as_json(command, reply))
        elif not self.quiet:
            say(for_people(reply.text))
        elif outcome is not RequestOutcome.DONE:
            print(for_people(reply.text), file=sys.stderr)
        elif value_in(reply.text) or reply.text.startswith("GET "):
            say(value_in(reply.text))
        return outcome


def answer_one(client: Client, command: str, printer: ReplyPrinter) -> int:
    """Print the reply to a command. If no node can be reached, a mistake in the command is reported
    instead.

    Raises:
        Unreachable: no node listens there, and the replies are not printed as objects.
    """
    try:
        client.connect()
    except ClientError as failure:
        mistake = mistake_in(command)
        if not (mistake or printer.as_object):
            raise
        if mistake:
            return printer.show(command, Reply("", error(mistake)))
        return printer.fail(command, failure)
    return answer_each(client, [command], printer)


def answer_each(client: Client, commands: Iterable[str], printer: ReplyPrinter) -> int:
    """Print the reply to each command, in order; return the worst outcome."""
    worst = int(RequestOutcome.DONE)
    for kind, group in itertools.groupby(commands, _kind):
        for command, answer in _answers(client, kind, list(group), printer):
            if isinstance(answer, ClientError):
                outcome = printer.fail(command, answer)
            else:
                outcome = printer.show(command, answer)
            worst = max(worst, outcome)
    return worst


def _kind(command: str) -> str:
    """Return the kind of commands that may be in flight together: writes, or reads. A read that is
    in flight with a write may or may not see it."""
    handling = row_of(command).handling
    if handling.is_numbered:
        return "write"
    return "read" if handling.kind in ("read", "show") else ""


def _answers(
    client: Client, kind: str, commands: list[str], printer: ReplyPrinter
) -> Iterator[tuple[str, Answer]]:
    """Yield each command with its answer. All are in flight at once, unless the client stays at one
    node."""
    if kind and client.follow and len(commands) > 1:
        yield from zip(commands, client.ask_together(commands), strict=True)
        return
    for command in commands:
        try:
            if _asks_to_watch(command):
                from raftline.clients.terminal.watch_output import follow  # only a watch needs it

                follow(client, command, printer.quiet, printer.as_object)
            yield command, client.ask(command)
        except ClientError as failure:
            yield command, failure


def _asks_to_watch(command: str) -> bool:
    """Return whether this is a well-formed watch; a node explains the mistakes in other forms."""
    return row_of(command).verb == "watch" and not mistake_in(command)


def _watched(client: Client, command: str) -> bool:
    """Show the events of a watch on the screen; return False for another command."""
    if not _asks_to_watch(command):
        return False
    from raftline.clients.terminal.watch_output import show  # only a watch needs it

    show(client, command)
    return True


def parser() -> Parser:
    """Return the parser of the arguments before the command."""
    parser = Parser(
        prog=program("client.py", "raftline-client", "raftline client"),
        usage=_USAGE,
        description="Talk to a raftline cluster.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("node", metavar="[HOST:]PORT", type=_node, help="address of a node: 10000, or h1:10000")
    add("name", metavar="ID", type=_name, nargs="?", help="1 speaks as client1; alice as alice")
    add("--host", type=as_host, help="host of the node, if PORT is given alone (localhost)")
    _add_where(parser)
    add(
        "--also",
        metavar="HOST:PORT",
        type=_node,
        action="append",
        default=[],
        help="another node to try; may be repeated",
    )
    add(
        "--timeout",
        metavar="SECONDS",
        type=as_seconds,
        default=10.0,
        help="for each reply (10); use 60 with nodes at --pace human",
    )
    add_login_options(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--screen", action="store_true", help="show the screen even without a terminal"
    )
    add_forms(form)
    parser.add_version()
    return parser


def _add_where(parser: Parser) -> None:
    """Add the options for the nodes to ask."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--follow",
        action="store_true",
        default=None,
        help="follow the leader, and send unanswered writes again",
    )
    where.add_argument("--here", action="store_false", dest="follow", help="stay at this node")


def add_forms(form: argparse._MutuallyExclusiveGroup) -> None:
    """Add the options for replies that programs read."""
    form.add_argument(
        "-q",
        "--quiet",
        action="store_true",
        help="print only values; all else goes to standard error",
    )
    form.add_argument("--json", action="store_true", help="print one JSON object for each reply")


def read_options(parser: Parser, head: list[str]) -> argparse.Namespace:
    """Return the options; fill in the hosts of the nodes."""
    options = parser.parse_intermixed_args(head)  # an ID is optional, and may be anywhere
    if options.host is not None and options.node.host:
        parser.error("--host and HOST:PORT both name a host; give one of them")
    if options.follow is False and options.also:
        parser.error("--here asks only one node, and --also names another; give one of them")
    options.node = options.node._replace(host=options.node.host or options.host or "localhost")
    options.also = [each._replace(host=each.host or "localhost") for each in options.also]
    return options


def _name(text: str) -> str:
    name = f"client{text}" if re.fullmatch("[0-9]+", text) else text
    if not NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an ID: a number, or a letter and then letters, digits, _ . or -,"
            " at most 64 in all"
        )
    return name


def _node(text: str) -> Address:
    """Return the address in `PORT` or `HOST:PORT`; the host may be ""."""
    host, port = split(text)
    if ":" not in text and not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither HOST:PORT, such as localhost:10001, nor a port"
        )
    return Address(as_host(host) if host else "", as_port(port))


if __name__ == "__main__":
    sys.exit(main())
