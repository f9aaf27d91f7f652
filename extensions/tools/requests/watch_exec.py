"""`raftline watch --exec COMMAND`: run a command at each event of a watch."""

from __future__ import annotations

import os
import tempfile
from typing import Final

from raftline.clients.connections.node_connection import say_waiting
from raftline.clients.requests.conversation import Client
from raftline.clients.terminal.watch_output import begin
from raftline.clients.watches.watch_events import Event
from raftline.wire.protocol import escape

from .held_command import ExitResult, Interrupted, Signals, run

# Environment variables of COMMAND. It reads the value from its standard input, since a value may
# hold any byte.
KEY: Final = "RAFTLINE_KEY"
KIND: Final = "RAFTLINE_KIND"
INDEX: Final = "RAFTLINE_INDEX"


def run_at_each(client: Client, command: str, program: str) -> int:
    """Run a program in the shell at each event of a watch, one run at a time. A failed run is
    reported, and the watch continues. A signal that ends this function is passed on to a running
    program. After the end of the program, return 128 plus the signal's number.

    Raises:
        ClientError: no node serves the watch within the client's time, or it is refused.
    """
    try:
        with Signals() as signals, begin(client, command) as watch:
            for event in watch:
                ended = _run_at(event, program, signals)
                if ended.is_to_stop:
                    raise Interrupted(signals.last)
                if ended.status:
                    where = f"at {event.kind} {_key(event)}"
                    say_waiting(f"{program}: exit code {ended.status}, {where}")
    except Interrupted as stop:
        return stop.status
    return 0


def _run_at(event: Event[str], program: str, signals: Signals) -> ExitResult:
    with tempfile.TemporaryFile() as value:
        value.write(_value(event))
        value.seek(0)
        return run(
            ["/bin/sh", "-c", program], None, 0.0, signals, None, stdin=value, env=_variables(event)
        )


def _value(event: Event[str]) -> bytes:
    return (event.value or "").encode("utf-8", "surrogateescape")


def _key(event: Event[str]) -> str:
    r"""Return the unescaped key. A zero byte, which no variable can hold, becomes `\x00`."""
    return escape(event.key, key=True) if "\0" in event.key else event.key


def _variables(event: Event[str]) -> dict[str, str]:
    of_event = {KEY: _key(event), KIND: event.kind, INDEX: str(event.index)}
    return {**os.environ, **of_event}
