"""The checksums of a log that was edited by hand, made good as somebody may do."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

from raftline.storage.log_lines import CHECKSUM, checksum_line


def with_checksums(lines: Iterable[bytes]) -> bytes:
    """Return a log with the checksums of its batches made good."""
    crc, written = 0, []
    for line in lines:
        checksum = CHECKSUM.fullmatch(line)
        written.append(line if checksum is None else checksum_line(int(checksum[1]), crc))
        crc = crc32(line, crc) if checksum is None else 0
    return b"".join(written)
