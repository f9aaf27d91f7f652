"""Files that only their owner can read."""

from __future__ import annotations

import os
import stat


def private(path: str, flags: int) -> int:
    """Open a file with access only for its owner, whatever its mode was. An opener for `open`."""
    descriptor = os.open(path, flags, 0o600)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):  # not a terminal, or a pipe
            os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
