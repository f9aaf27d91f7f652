"""A watch at a shell and on the client's screen: its events as lines, until Ctrl-C."""

from __future__ import annotations

import contextlib
import select
import sys
from collections.abc import Iterator
from typing import Any

from ..clients.addresses import Addresses
from ..clients.connection import ClientError
from ..clients.conversation import Client
from ..clients.streams import say
from ..wire import watches
from ..wire.commands import read_request
from ..wire.operands import NO_LIMITS
from ..wire.protocol import escape, unescape, without_controls
from ..wire.replies import valid_json
from .codec import TEXT
from .events import Event, WatchCursor
from .watch import Watch

_LOOK_S = 0.5  # between two looks whether somebody reads what is printed


def begin(client: Client, command: str) -> Watch[str]:
    """Return the watch that is asked for, at the client's nodes. If a node ends it, it goes on at
    another member, unless the client stays at one node."""
    asked = _asked(command)
    cursor = WatchCursor(TEXT, unescape(asked.prefix), asked.after)
    addresses = Addresses(client.addresses, learns=client.follow)
    return Watch(addresses, client.name, cursor, client.timeout_s, client.credentials, client.tls)


def follow(client: Client, command: str, quiet: bool, as_object: bool) -> None:
    """Print the events of a watch. It ends only by an exception, such as that of Ctrl-C.

    Raises:
        ClientError: no node serves it within the client's time, or it is refused.
        BrokenPipeError: the reader of what is printed has gone.
    """
    with begin(client, command) as watch:
        for event in _while_read(watch):
            if as_object:
                say(as_json(event))
            elif not quiet:
                say(line_of(event))
            elif event.value is not None:
                say(escape(event.value, key=False))
            else:
                print(line_of(event), file=sys.stderr, flush=True)


def _while_read(watch: Watch[str]) -> Iterator[Event[str]]:
    """Yield the events. Raises BrokenPipeError once nobody reads standard output any more."""
    output = select.poll()
    with contextlib.suppress(OSError, ValueError):  # it is no file of the system
        output.register(sys.stdout.fileno(), 0)  # which shows errors and the end alone
    while True:
        if (event := watch.next_event(_LOOK_S)) is not None:
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
            on = watches.spell_watch(_asked(command)._replace(after=watch.position))
            say(f"\n[*] The watch has ended. It goes on with: {on}")


def _asked(command: str) -> watches.WatchAsked:
    return watches.watch_operands(read_request("", "", command, NO_LIMITS).command)


def line_of(event: Event[str]) -> str:
    """Return an event as a node writes it."""
    key = escape(event.key, key=True)
    value = None if event.value is None else escape(event.value, key=False)
    if value is not None and event.kind == "has":
        return watches.has(event.index, key, value)
    return watches.event(event.index, event.kind, key, value or "")


def as_json(event: Event[str]) -> str:
    """Return an event as one JSON object in one line, as `as_json` returns a reply."""
    fields: dict[str, Any] = {"index": event.index, "kind": event.kind, "key": event.key}
    return valid_json(fields if event.value is None else fields | {"value": event.value})
