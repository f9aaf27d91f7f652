"""A node ends with whoever started it, however that one ended.

The starter keeps the writing end of a pipe and never writes to it. Each node holds the reading
end; when the starter is gone, even by kill -9, the kernel closes the pipe and the node reads its
end. The number of the descriptor travels in the environment.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

VARIABLE = "RAFTLINE_LIFELINE"


class Lifeline:
    """The starter's side: what each node is given, and the end that must stay open."""

    def __init__(self) -> None:
        self.reading_end, self._writing_end = os.pipe()

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return the environment for a node that is given `reading_end`."""
        return {**base, VARIABLE: str(self.reading_end)}

    def close(self) -> None:
        """Let go: every node that still runs stops."""
        for descriptor in (self.reading_end, self._writing_end):
            os.close(descriptor)


@functools.cache
def _own() -> Lifeline:
    """Return the one of this process, which lets go of it when it ends."""
    return Lifeline()


def tied(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return arguments of subprocess.Popen and run: what is started so ends with this process."""
    line = _own()
    return {
        "env": line.environment(os.environ if environment is None else environment),
        "pass_fds": [line.reading_end],
    }


def watch(stop: Callable[[], None]) -> bool:
    """Call `stop`, from a thread of its own, when the starter of this process is gone.

    Returns False, and does nothing, if this process was given no lifeline.
    """
    number = os.environ.pop(VARIABLE, "")  # or a program that this one starts would take it
    if not (number.isascii() and number.isdigit()):
        return False
    thread = threading.Thread(
        target=_wait_for_the_end, args=(int(number), stop), name="lifeline", daemon=True
    )
    thread.start()
    return True


def _wait_for_the_end(descriptor: int, stop: Callable[[], None]) -> None:
    try:
        while os.read(descriptor, 1):
            pass  # nobody writes; what comes all the same means nothing
    except OSError:
        return  # no such descriptor: the variable was not meant for this process
    stop()
