"""A watch in a shell or on the client's screen: its events as lines, until Ctrl-C."""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import Iterator
from typing import Any

from raftline.wire.commands import watch_lines
from raftline.wire.commands.command_table import read_request
from raftline.wire.operands.operands import NO_LIMITS
from raftline.wire.protocol import escape, unescape, without_controls
from raftline.wire.replies.replies import valid_json

from ..calls.value_codec import TEXT
from ..connections.node_connection import ClientError
from ..requests.addresses import Addresses
from ..requests.conversation import Client
from ..watches.watch import Watch
from ..watches.watch_events import Event, WatchCursor
from .streams import say

_CHECK_S = 0.5  # between two checks of whether standard output is still read


def begin(client: Client, command: str) -> Watch[str]:
    """Return the watch that a command asks for, at the client's nodes. If a node ends it, it moves
    to another member, unless the client stays at one node."""
    request = _asked(command)
    cursor = WatchCursor(TEXT, unescape(request.prefix), request.after)
    addresses = Addresses(client.addresses, learns=client.follow)
    return Watch(addresses, client.name, cursor, client.timeout_s, client.access)


def follow(client: Client, command: str, quiet: bool, as_object: bool) -> None:
    """Print the events of a watch. It ends only with an exception, such as KeyboardInterrupt.

    Raises:
        ClientError: no node serves the watch within the client's time, or it is refused.
        BrokenPipeError: the reader of standard output has gone.
    """
    with begin(client, command) as watch:
        for event in _while_read(watch):
            if as_object:
                say(as_json(event))
            elif not quiet:
                say(line_of(event))
            elif event.value is not None:
                say(without_controls(escape(event.value, key=False)))
            else:
                print(line_of(event), file=sys.stderr, flush=True)


def _while_read(watch: Watch[str]) -> Iterator[Event[str]]:
    """Yield the events. Raises BrokenPipeError once nobody reads standard output."""
    output = select.poll()
    with contextlib.suppress(OSError, ValueError):  # it is not a file of the system
        output.register(sys.stdout.fileno(), 0)  # reports only errors and the end
    while True:
        if (event := watch.next_event(_CHECK_S)) is not None:
            yield event
        elif output.poll(0):
            raise BrokenPipeError


def show(client: Client, command: str) -> None:
    """Show the events of a watch on the screen, until Ctrl-C."""
    say(f"[*] Sending: {without_controls(command)}\n[*] Received, until Ctrl-C:\n")
    with begin(client, command) as watch:
        try:
            for event in watch:
                say(line_of(event))
        except ClientError as failure:
            say(f"Sorry, {failure.at_the_shell}")
        except KeyboardInterrupt:
            resume = watch_lines.format_watch(_asked(command)._replace(after=watch.position))
            say(f"\n[*] The watch has ended. To continue: {resume}")


def _asked(command: str) -> watch_lines.WatchAsked:
    return watch_lines.watch_operands(read_request("", "", command, NO_LIMITS).command)


def line_of(event: Event[str]) -> str:
    """Return the line of an event as a node writes it; characters that change the text direction
    are escaped, as in replies."""
    key = escape(event.key, key=True)
    value = None if event.value is None else escape(event.value, key=False)
    if value is not None and event.kind == "has":
        return without_controls(watch_lines.has(event.index, key, value))
    return without_controls(watch_lines.event(event.index, event.kind, key, value or ""))


def as_json(event: Event[str]) -> str:
    """Return an event as one JSON object on one line, as `as_json` does for a reply."""
    fields: dict[str, Any] = {"index": event.index, "kind": event.kind, "key": event.key}
    return valid_json(fields if event.value is None else fields | {"value": event.value})
