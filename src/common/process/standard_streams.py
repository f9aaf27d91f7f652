"""Standard streams that no longer accept output: a full disk, or a reader that is gone."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

EXIT_OUTPUT = os.EX_IOERR  # standard output did not accept the output


class Dropping(io.FileIO):
    """A file that drops data that it can't write."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def drop_output() -> bool:
    """If standard output does not accept its buffered output, drop it and all later output. Return
    whether this was necessary."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
