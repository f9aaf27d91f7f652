"""A node of this clone that counts the calls of its functions: counted_node.py FILE ARGUMENT ...

At its end it writes FILE: a line for each function, with its count, its file, line and name.
"""

from __future__ import annotations

import _thread
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))  # uninstalled will do

from raftline.server import main  # noqa: E402

COUNTS: Counter[CodeType] = Counter()


def count(frame: FrameType, event: str, _: object) -> None:
    """Count a call; some get lost, as threads do so at once."""
    if event == "call":
        COUNTS[frame.f_code] += 1


def begin_counted(run: Callable[..., object], arguments: tuple[Any, ...]) -> int:
    """Begin a thread as the listener does, past `threading`, and count its calls."""
    return begin(run_counted, (run, arguments))


def run_counted(run: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    sys.setprofile(count)
    run(*arguments)


begin = _thread.start_new_thread

if __name__ == "__main__":
    _thread.start_new_thread = begin_counted  # type: ignore[assignment]
    threading.setprofile(count)
    sys.setprofile(count)
    try:
        status = main(sys.argv[2:])
    finally:
        sys.setprofile(None)
        lines = [
            f"{calls} {code.co_filename} {code.co_firstlineno} {code.co_name}\n"
            for code, calls in COUNTS.copy().items()
            if code.co_filename.startswith(str(SOURCE))
        ]
        Path(sys.argv[1]).write_text("".join(lines))
    sys.exit(status)
