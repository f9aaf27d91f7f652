"""`raftline show`, `keys` and `count`: print all pages of a listing as one."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from raftline.client import ReplyPrinter
from raftline.clients.connections.node_connection import ClientError
from raftline.clients.requests.conversation import Client
from raftline.clients.terminal.exit_status import exit_status_of, exit_status_to
from raftline.clients.terminal.streams import say
from raftline.wire.commands.command_table import read_request
from raftline.wire.operands.operands import NO_LIMITS
from raftline.wire.protocol import escape, without_controls
from raftline.wire.refusal import error
from raftline.wire.replies.refusals import for_people
from raftline.wire.replies.replies import (
    Reply,
    RequestOutcome,
    base64_of,
    is_text,
    outcome_to,
    pairs_of,
    valid_json,
)

Pair = tuple[str, Any]  # a key, and its value or a list of its index and its value


class Wanted(NamedTuple):
    """The form of a listing, and its limit."""

    form: str  # "keys", "count", or "" for the pairs
    limit: int | None


class _Failed(Exception):
    """A page did not arrive. The reply or the error explains why."""

    def __init__(self, command: str, why: Reply | ClientError) -> None:
        text = why.text if isinstance(why, Reply) else error(why.at_the_shell)
        super().__init__(for_people(text))
        self.command = command
        self.why = why
        self.outcome = (
            exit_status_to(command, text) if isinstance(why, Reply) else exit_status_of(why)
        )

    def show(self, printer: ReplyPrinter) -> int:
        """Print the reason and return the exit code."""
        if isinstance(self.why, Reply):
            return printer.show(self.command, self.why)
        return printer.fail(self.command, self.why)


def show(client: Client, command: str, printer: ReplyPrinter, wanted: Wanted) -> int:
    """Print all pages of a listing and return the exit code. Each page shows the pairs at a
    different moment.

    Nothing is printed before the first page arrives.

    Raises:
        Unreachable: no node listens, and the output is not JSON.
    """
    pages = _pages(client, command)
    try:
        client.connect()
        first = next(pages)
    except _Failed as failure:
        return failure.show(printer)
    except ClientError as failure:
        if not printer.as_object:
            raise
        return printer.fail(command, failure)
    pairs = itertools.chain(first, itertools.chain.from_iterable(pages))
    selection = itertools.islice(pairs, wanted.limit)
    try:
        _print(selection, printer, wanted.form)
        is_cut = wanted.limit is not None and next(pairs, None) is not None
    except _Failed as failure:
        print(f"\n{failure}", file=sys.stderr)
        return failure.outcome
    if printer.as_object:
        say(', "more": true}' if is_cut else "}")
    elif is_cut:
        print(f"[*] These are the first {wanted.limit}; there are more.", file=sys.stderr)
    return RequestOutcome.DONE


def _print(pairs: Iterator[Pair], printer: ReplyPrinter, form: str) -> None:
    """Print the pairs. An object is left open."""
    if printer.as_object:
        _print_object(pairs, form)
    elif form == "count":
        print(sum(1 for _ in pairs))
    elif form == "keys":
        for key, _ in pairs:
            is_plain = key.isprintable() and "\\" not in key
            print(key if is_plain else without_controls(escape(key, key=True)))
    else:
        head = "{" if printer.quiet else "SHOW response: {"
        _print_joined(head, map(_as_member, pairs), "}\n")
        sys.stdout.flush()


def _print_object(pairs: Iterator[Pair], form: str) -> None:
    """Print an object without its end. Pairs that are not UTF-8 are listed separately, in
    base64."""
    apart: list[Pair] = []

    def texts() -> Iterator[Pair]:
        for key, value in pairs:
            if is_text(key if form else f"{key}{value}"):
                yield key, value
            else:
                apart.append((base64_of(key), base64_of(str(value))))

    print(f'{{"ok": true, "verb": "{form or "show"}", "{form or "pairs"}": ', end="")
    if form == "count":
        print(sum(1 for _ in pairs), end="")
    elif form == "keys":
        _print_joined("[", (valid_json(key) for key, _ in texts()), "]")
    else:
        _print_joined("{", map(_as_member, texts()), "}")
    if apart:
        listed = [key for key, _ in apart] if form else dict(apart)
        print(f', "base64": {valid_json(listed)}', end="")
    sys.stdout.flush()


def _as_member(pair: Pair) -> str:
    return ": ".join(map(valid_json, pair))


def _print_joined(head: str, parts: Iterable[str], tail: str) -> None:
    """Print the parts as they arrive, separated by commas."""
    print(head, end="")
    for number, part in enumerate(parts):
        print(", " * (number > 0) + part, end="")
    print(tail, end="")


def _pages(client: Client, command: str) -> Iterator[Iterable[Pair]]:
    """Yield the pairs of each page. Raises _Failed."""
    mode = read_request("", "", command, NO_LIMITS).read
    while command:
        try:
            reply = client.ask(command)
        except ClientError as failure:
            raise _Failed(command, failure) from None
        if outcome_to(command, reply.text) is not RequestOutcome.DONE:
            raise _Failed(command, reply)
        pairs, command = pairs_of(reply.text)
        if command and mode:
            command += f" read {mode}"
        yield pairs.items()
