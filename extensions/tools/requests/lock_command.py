"""`raftline lock NAME -- COMMAND` and `raftline elect NAME -- COMMAND`: one program runs the
command."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence

from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.address_options import by_address
from raftline.clients.connections.node_connection import (
    ClientError,
    OtherCluster,
    Refused,
    say_waiting,
)
from raftline.clients.requests.pool import TIMEOUT_S
from raftline.common.arguments import Parser, as_number, as_seconds
from raftline.recipes.locks.lock import Held
from raftline.recipes.locks.lock_keys import LEAST_TTL_S
from raftline.recipes.recipe_kv import RecipeKV as KV
from raftline.wire.limits import SEATS_MAX
from raftline.wire.operands.lease_operands import SECONDS_MAX, ms_in
from raftline.wire.refusal import error

from ..asking import explain
from ..asking_options import add_asking_options, clients_of
from .held_command import CannotRun, ExitResult, Interrupted, Signals, run

_DOES = {
    "lock": "Run COMMAND while this program holds the lock NAME.",
    "elect": "Campaign for NAME; run COMMAND while this program leads; do so again after a loss.",
}
EXIT_NOT_GOT, EXIT_LOST, EXIT_NOT_ASKED = 123, 124, 125
PAUSE_S = 1.0  # after a failed campaign
_FORMS = {"lock": "the lock {} ", "elect": "the leadership of {} "}
_EPILOG = (
    "COMMAND has the fencing token in RAFTLINE_TOKEN. Exit code: that of COMMAND, 128 and the "
    "number of the signal that ended it; 123: not acquired within --wait; 124: lost, so COMMAND "
    "was ended; 125: no node answered, or it refused; 126, 127: COMMAND can't be run, is not "
    "found; 2: usage."
)


def main(verb: str, arguments: Sequence[str]) -> int:
    """Run the command while the lock is held, and return the exit code.

    Raises:
        ConfigError: no option, variable or file names a node.
    """
    reader = parser(verb)
    head, command = split(arguments)
    options = reader.parse_args(head)
    if not command:
        reader.error(f"COMMAND is missing: raftline {verb} NAME -- COMMAND")
    if not options.name:
        reader.error("a name has at least one character")
    clients = clients_of(options)
    says = _Says(verb, options)
    try:
        with Signals() as signals, KV(clients, TEXT) as kv:
            carry_out = _lock if verb == "lock" else _elect
            return carry_out(kv, options, command, signals, says)
    except ClientError as problem:
        failure = explain(by_address(clients.addresses.known), clients.access, problem)
        return says.failure(failure.at_the_shell, EXIT_NOT_ASKED)
    except CannotRun as failure:
        return says.failure(str(failure), failure.status)
    except Interrupted as stop:
        return stop.status


def as_lease_time(text: str) -> float:
    """Return the time of the lease of a claim in seconds."""
    ms = ms_in(text)
    if ms is None or ms < 1000 * LEAST_TTL_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time in seconds, {LEAST_TTL_S} to {SECONDS_MAX}, such as 10 or 1.5"
        )
    return ms / 1000


def parser(verb: str) -> Parser:
    """Return the parser for the arguments before `--`."""
    reader = Parser(
        prog=f"raftline {verb}",
        usage="%(prog)s [options] NAME -- COMMAND ...",
        description=f"{_DOES[verb]} If it is lost, COMMAND gets SIGTERM, then "
        "SIGKILL. Ctrl-C, SIGTERM and other signals that end a program are passed on to it.",
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    add = reader.add_argument
    add("name", metavar="NAME", help="the same for all programs that exclude each other")
    add(
        "--ttl",
        type=as_lease_time,
        default=10,
        metavar="SECONDS",
        help="it is free this long after this program died (10)",
    )
    add(
        "--grace",
        type=as_seconds,
        default=5.0,
        metavar="S",
        help="seconds from SIGTERM to SIGKILL (5)",
    )
    if verb == "lock":
        _add_lock_options(reader)
    else:
        add("--value", metavar="TEXT", help="the text that others read (host and process)")
    add_asking_options(reader, TIMEOUT_S)
    form = reader.add_mutually_exclusive_group()
    form.add_argument("-q", "--quiet", action="store_true", help="print only errors")
    form.add_argument(
        "--json",
        action="store_true",
        help="one JSON object for each line on standard error",
    )
    return reader


def _add_lock_options(reader: Parser) -> None:
    reader.add_argument(
        "--wait", type=_wait, metavar="S", help="seconds to wait; 0: try once (for ever)"
    )
    form = reader.add_mutually_exclusive_group()
    form.add_argument("--shared", action="store_true", help="share it with other --shared holders")
    holders = as_number("number of holders", 1, SEATS_MAX)
    form.add_argument(
        "--at-most", type=holders, metavar="N", help="up to N hold it: the semaphore NAME"
    )


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words before and after the first `--`."""
    head = list(arguments)
    if "--" not in head:
        return head, []
    place = head.index("--")
    return head[:place], head[place + 1 :]


class _Says:
    """Lines on standard error, since standard output belongs to the command."""

    def __init__(self, verb: str, options: argparse.Namespace) -> None:
        self._verb = verb
        self._name: str = options.name
        self._is_quiet = options.quiet
        self._as_object = options.json
        self.what = _FORMS[verb].format(options.name)

    def state(self, state: str, text: str = "", **facts: object) -> None:
        """Report the state: `waits`, `holds`, `lost`. Without a text, report it only to
        programs."""
        if self._as_object:
            self._object({"ok": True, "state": state, **facts})
        elif text and not self._is_quiet:
            say_waiting(text)

    def failure(self, text: str, code: int) -> int:
        """Report an error and return the exit code."""
        if self._as_object:
            self._object({"ok": False, "error": text, "code": code})
        else:
            print(error(text), file=sys.stderr, flush=True)
        return code

    def _object(self, fields: dict[str, object]) -> None:
        fields = {"verb": self._verb, "name": self._name, **fields}
        print(json.dumps(fields), file=sys.stderr, flush=True)


def _lock(
    kv: KV[str], options: argparse.Namespace, command: list[str], signals: Signals, says: _Says
) -> int:
    name, ttl = options.name, options.ttl
    lock = (
        kv.semaphore(name, options.at_most, ttl=ttl, own_lease=True)
        if options.at_most
        else kv.lock(name, shared=options.shared, ttl=ttl, own_lease=True)
    )
    with _at_the_end() as end:
        end.held = lock.acquire(timeout=0)
        if end.held is None and options.wait != 0:
            holder = lock.holder()
            says.state("waits", f"{says.what}is {_whose(holder)}", holder=holder)
            end.held = lock.acquire(timeout=options.wait)
        if end.held is None:
            return says.failure(f"{says.what}is {_whose(lock.holder())}", EXIT_NOT_GOT)
        says.state("holds", token=end.held.token)
        ended = _run(end.held, options, command, signals)
    if ended.was_lost or end.was_lost:
        return says.failure(f"{says.what}was lost; {command[0]} has ended", EXIT_LOST)
    return ended.status


def _elect(
    kv: KV[str], options: argparse.Namespace, command: list[str], signals: Signals, says: _Says
) -> int:
    leader = kv.election(options.name).leader()  # raises at the start if no node answers
    whose = "free" if leader is None else f"with {leader}"
    says.state("campaigns", f"{says.what}is {whose}", leader=leader)
    while True:
        election = kv.election(options.name, ttl=options.ttl, own_lease=True)
        with _at_the_end() as end:
            try:
                end.held = held = election.campaign(
                    _self() if options.value is None else options.value
                )
            except (Refused, OtherCluster):
                raise
            except ClientError as problem:  # continue: this program may be elected next
                says.state("waits", f"no answer yet: {problem}", error=str(problem))
                time.sleep(PAUSE_S)
                continue
            token = held.token
            says.state("leads", f"leads {options.name} with token {token}", token=token)
            ended = _run(held, options, command, signals)
        lost = f"{says.what}was lost; {command[0]} has ended"
        if not ended.was_lost:
            return says.failure(lost, EXIT_LOST) if end.was_lost else ended.status
        if ended.is_to_stop:
            return EXIT_LOST
        says.state("lost", lost)


class _HeldEnd:
    """The end of a lock or a leadership."""

    held: Held | None = None
    was_lost = False  # the release showed that it was lost


@contextlib.contextmanager
def _at_the_end() -> Iterator[_HeldEnd]:
    """Release what is held at the end. If that fails, its lease expires."""
    end = _HeldEnd()
    try:
        yield end
    finally:
        try:
            if end.held is not None:
                end.held.release()
        except LeaseLost:
            end.was_lost = True
        except ClientError:
            pass


def _run(
    held: Held, options: argparse.Namespace, command: list[str], signals: Signals
) -> ExitResult:
    """Run the command until it ends, or what is held is lost."""
    looks = threading.Thread(target=_look_after, args=(held, options.ttl / 3), daemon=True)
    looks.start()
    ended = run(command, held.token, options.grace, signals, held.wait_lost)
    return ended if held.is_held else ended._replace(was_lost=True)


def _look_after(held: Held, pause_s: float) -> None:
    """Check repeatedly that the key still exists, since someone may delete it. A missing key counts
    as a loss."""
    while not held.wait_lost(pause_s) and held.is_held:
        with contextlib.suppress(ClientError):
            held.check()


def _self() -> str:
    return f"{socket.gethostname()} process {os.getpid()}"


def _whose(holder: str | None) -> str:
    """Return a phrase for the holder of a lock. None means that it is free now, or promised to a
    waiting program."""
    return "taken by a program that waits" if holder is None else f"held by {holder}"


def _wait(text: str) -> float:
    return 0.0 if text == "0" else as_seconds(text)
