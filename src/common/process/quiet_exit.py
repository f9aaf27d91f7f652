"""The start of a command, which makes Ctrl-C end it quietly before other modules are loaded."""

from __future__ import annotations

import os
import sys
from types import TracebackType

EXIT_INTERRUPTED = 130  # the status that shells report for Ctrl-C
EXIT_BROKEN = 70  # as for a program that fails
NO_LIBRARY = (
    "the client library, library/ of the clone, is not here: get it back for this command. A node "
    "needs none: `server.py s1 10000` starts it, and `nc localhost 10000` speaks the same lines"
)
# The built-in part of `signal`: the full module takes some milliseconds to load enums.
_signal = __import__("_signal")


def end_at_once(number: int, frame: object) -> None:
    """End this process without a message; for a signal handler."""
    os._exit(EXIT_INTERRUPTED)


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one line what can't be loaded; that is found before any program runs."""
    if str(getattr(error, "name", "")).startswith("raftline.clients"):
        line = NO_LIBRARY
    elif kind.__name__ == "ExtensionBroken":
        line = str(error)
    else:
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write(f"[!] {line}\n")
    sys.stderr.flush()
    os._exit(EXIT_BROKEN)


def end_quietly() -> None:
    """Make Ctrl-C end this process quietly, except inside `signals.raised`. This is for programs,
    never for a library. A command calls it first, because the other imports take a while, and
    Ctrl-C during them would print a traceback. So would an extension that can't be loaded.

    A shell without job control starts `&` processes with SIGINT ignored. This function undoes that,
    so that `kill -INT` works, even for processes that this one starts.
    """
    if _signal.getsignal(_signal.SIGINT) in (_signal.default_int_handler, _signal.SIG_IGN):
        _signal.signal(_signal.SIGINT, end_at_once)
    sys.excepthook = _say
