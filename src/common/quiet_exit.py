"""The beginning of a command: Ctrl-C ends it quietly before anything else is loaded."""

from __future__ import annotations

import os

EXIT_INTERRUPTED = 130  # as a shell reports Ctrl-C
# The built-in part of `signal`: the module itself loads enums for some milliseconds.
_signal = __import__("_signal")


def end_at_once(number: int, frame: object) -> None:
    """End this process without a message; for a signal handler."""
    os._exit(EXIT_INTERRUPTED)


def end_quietly() -> None:
    """Let Ctrl-C end this process so, except inside `signals.raised`. It is for programs, never
    for a library. A command calls it first: the other imports take a while, and Ctrl-C in them
    would print a traceback.

    A shell without job control starts `&` processes with SIGINT ignored. This undoes that, so
    that `kill -INT` works, also for processes that this one starts.
    """
    if _signal.getsignal(_signal.SIGINT) in (_signal.default_int_handler, _signal.SIG_IGN):
        _signal.signal(_signal.SIGINT, end_at_once)
