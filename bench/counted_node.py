"""A node of this clone that counts the calls of its functions: counted_node.py FILE ARGUMENT ...

SIGUSR1 restarts the count, SIGUSR2 ends it. At its end the node writes FILE: a line for each
function, with its count, its file, line and name.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCES = tuple(str(ROOT / name) for name in ("src", "library", "extensions"))
sys.path.insert(0, SOURCES[0])  # works uninstalled

from raftline.server import main  # noqa: E402

COUNTS: list[Counter[CodeType]] = []  # one for each thread, which alone increments it
BEFORE: Counter[CodeType] = Counter()  # calls before the count
UNTIL: list[Counter[CodeType]] = []  # all calls up to the end of the count


def count(frame: FrameType, event: str, argument: object) -> None:
    """Count the calls of this thread from now on, beginning with this one."""
    counts: Counter[CodeType] = Counter()
    COUNTS.append(counts)

    def add(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            counts[frame.f_code] += 1

    sys.setprofile(add)
    add(frame, event, argument)


def counted() -> Counter[CodeType]:
    """Return all calls so far."""
    total: Counter[CodeType] = Counter()
    for counts in list(COUNTS):
        total.update(counts.copy())
    return total


def reset(*_: object) -> None:
    BEFORE.update(counted() - BEFORE)


def end_count(*_: object) -> None:
    UNTIL.append(counted())


def begin_counted(run: Callable[..., object], arguments: tuple[Any, ...]) -> int:
    """Start a thread as the listener does, past `threading`, and count its calls."""
    return begin(run_counted, (run, arguments))


def run_counted(run: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    sys.setprofile(count)
    run(*arguments)


begin = _thread.start_new_thread

if __name__ == "__main__":
    _thread.start_new_thread = begin_counted  # type: ignore[assignment]
    signal.signal(signal.SIGUSR1, reset)
    signal.signal(signal.SIGUSR2, end_count)
    threading.setprofile(count)
    sys.setprofile(count)
    try:
        status = main(sys.argv[2:])
    finally:
        sys.setprofile(None)
        lines = [
            f"{calls} {code.co_filename} {code.co_firstlineno} {code.co_name}\n"
            for code, calls in ((UNTIL[0] if UNTIL else counted()) - BEFORE).items()
            if code.co_filename.startswith(SOURCES)
        ]
        Path(sys.argv[1]).write_text("".join(lines))
    sys.exit(status)
