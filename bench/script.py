"""The end of a script that Ctrl-C may end, too."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable


def end_with(main: Callable[[], int]) -> None:
    """Run a script, and end with its status: 130 after Ctrl-C, as a shell reports it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a script, `&` ignores it
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
