"""An entry of a log on a disk edited by hand, as somebody may do who also mends the checksums."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from zlib import crc32

from raftline.storage.log_lines import NOTE, note_line


def with_notes(lines: Iterable[bytes]) -> bytes:
    """Return a log with the checksums of its batches made good."""
    crc, written = 0, []
    for line in lines:
        note = NOTE.fullmatch(line)
        written.append(line if note is None else note_line(int(note[1]), crc))
        crc = crc32(line, crc) if note is None else 0
    return b"".join(written)


def edit_entry(log: Path, old: bytes, new: bytes) -> None:
    """Edit an entry, and make the checksum of its batch good."""
    data = log.read_bytes()
    assert old in data
    log.write_bytes(with_notes(data.replace(old, new).splitlines(keepends=True)))
