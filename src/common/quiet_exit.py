"""The beginning of a command: Ctrl-C ends it quietly before anything else is loaded."""

from __future__ import annotations

import os

EXIT_INTERRUPTED = 130  # as a shell reports Ctrl-C
# The part of `signal` that is there already: the rest of it loads enums for some milliseconds.
_signal = __import__("_signal")


def end_at_once(number: int, frame: object) -> None:
    """End this process without a word; for a signal handler."""
    os._exit(EXIT_INTERRUPTED)


def end_quietly() -> None:
    """Have Ctrl-C end this process so, except inside `signals.raised`. For programs, never for
    a library: it is the first that a command does, since loading the rest takes a while, and
    Python shows where an exception cut that short.

    A shell without job control has what it starts by `&` ignore SIGINT. That ends here, so that
    `kill -INT` works, and for the processes that this one starts.
    """
    if _signal.getsignal(_signal.SIGINT) in (_signal.default_int_handler, _signal.SIG_IGN):
        _signal.signal(_signal.SIGINT, end_at_once)
