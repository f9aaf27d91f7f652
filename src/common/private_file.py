"""Files that their owner alone can read."""

from __future__ import annotations

import os
import stat


def private(path: str, flags: int) -> int:
    """Open a file for its owner alone, whatever its mode was: an opener for `open`."""
    descriptor = os.open(path, flags, 0o600)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # not a terminal, or a pipe
            os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
