"""The threads of a node: none of them ends by an error that nobody sees."""

from __future__ import annotations

import threading
from collections.abc import Callable


def guarded_thread(
    run: Callable[[], object], name: str, on_error: Callable[[Exception], object]
) -> threading.Thread:
    """Return a thread that is not begun yet.

    `on_error` gets an error that comes out of `run`. It stops the node, or it reports what the node
    does no longer.
    """

    def guarded() -> None:
        try:
            run()
        except Exception as error:
            on_error(error)

    return threading.Thread(target=guarded, name=name, daemon=True)
