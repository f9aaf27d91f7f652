"""A client's standard streams: the input lines, and the handling of a broken stream."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import cast

from raftline.common.address import Address
from raftline.common.process.quiet_exit import EXIT_INTERRUPTED
from raftline.common.process.signals import raised
from raftline.common.process.standard_streams import EXIT_OUTPUT
from raftline.wire.refusal import error
from raftline.wire.replies.replies import RequestOutcome

from ..connections.node_connection import ClientError
from ..requests.conversation import Client
from .exit_status import exit_status_of

_BATCH_BYTES = 256 << 10  # of lines that are in flight together


def accept_raw_stdin() -> None:
    """Accept any bytes on standard input: bytes that are not UTF-8 do not raise.

    A line ends only at a newline; the node refuses a lone carriage return.
    """
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")


def batches_of_stdin() -> Iterator[list[str]]:
    """Yield the lines with commands, as many together as have already arrived."""
    rest = b""
    stdin = None if sys.stdin is None else cast(io.BufferedReader, sys.stdin.buffer)
    while stdin is not None and (data := stdin.read1(_BATCH_BYTES)):
        *lines, rest = (rest + data).split(b"\n")
        yield [*_commands(lines)]
    yield [*_commands([rest])]


def _commands(lines: Iterable[bytes]) -> Iterator[str]:
    for line in lines:
        command = line.decode("utf-8", "surrogateescape").removesuffix("\r")
        if not asks_nothing(command):
            yield command


def asks_nothing(command: str) -> bool:
    """Return whether the line is blank or a comment, which is not sent and gets no reply."""
    return not command.strip() or command.lstrip().startswith("#")


def say(text: str = "") -> None:
    """Print one line and flush it, even into a pipe."""
    print(text, flush=True)


def say_connecting(address: Address) -> None:
    """Print the first line of the course's figure."""
    say(f"[*] Connecting to {address.host} port {address.port}")


def report_delay(text: str) -> None:
    """Print the reason why there is no answer yet."""
    say(f"[*] {text}")


def report(failure: ClientError) -> int:
    """Print a failure in one line on standard error; return the exit status."""
    print(error(failure.at_the_shell), file=sys.stderr)
    return exit_status_of(failure)


def run_client(
    client: Client,
    converse: Callable[[], int],
    prog: str,
    explain: Callable[[ClientError], ClientError] | None = None,
) -> int:
    """Converse, release the sessions, close the connection, and return the exit code. Print a
    failure in one line, in the words of `explain`."""
    try:
        with raised(), client:
            try:
                return converse()
            finally:
                client.forget_sessions()
    except ClientError as problem:
        return report(explain(problem) if explain else problem)
    except OSError as failure:  # for example a full disk under `> file`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing to print at exit
        if isinstance(failure, BrokenPipeError):  # no error: the reader of our lines is gone
            return RequestOutcome.DONE
        print(f"{prog}: can't print: {failure.strerror}", file=sys.stderr)
        return EXIT_OUTPUT
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
