"""Threads of a node that report the error with which they end."""

from __future__ import annotations

import threading
from collections.abc import Callable


def guarded_thread(
    run: Callable[[], object], name: str, on_error: Callable[[Exception], object]
) -> threading.Thread:
    """Return a thread that is not started yet.

    `on_error` receives an exception from `run`. It stops the node, or reports which function of the
    node has ended.
    """

    def guarded() -> None:
        try:
            run()
        except Exception as error:
            on_error(error)

    return threading.Thread(target=guarded, name=name, daemon=True)
