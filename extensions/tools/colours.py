"""The colours of the commands' output: only on a terminal, and not if $NO_COLOR is set."""

from __future__ import annotations

import os
from typing import TextIO

from raftline.common.process.console import draws

RED, BOLD_GREEN = "31", "1;32"
SIX = ("36", "33", "35", "32", "34", RED)  # cyan, yellow, magenta, green, blue: easy to distinguish


def has_colours(stream: TextIO) -> bool:
    """Return whether `stream` shows colours and $NO_COLOR is not set (https://no-color.org)."""
    return draws(stream) and not os.environ.get("NO_COLOR")


def coloured(text: str, colour: str) -> str:
    """Return `text` in a colour, or unchanged if the colour is ""."""
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text
