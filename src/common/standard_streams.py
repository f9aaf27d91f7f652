"""Standard streams that take no more: a full disk, or a reader that has gone."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

EXIT_OUTPUT = os.EX_IOERR  # standard output did not take what was printed


class Dropping(io.FileIO):
    """A file that drops what it can't take."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def drop_output() -> bool:
    """Drop what standard output does not take, and what follows; return whether there is any."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
