"""`--record FILE`: the recording of a node's steps, in at most two segments.

FILE begins with the core's whole state. When it is long it becomes FILE.1, which replaces an
earlier FILE.1, and a new FILE begins with the whole state again. Each of the two can be replayed
alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from io import FileIO
from itertools import islice
from pathlib import Path

from raftline.common.config import ConfigError, complaint
from raftline.common.version import VERSION

from ..recording.recorded_node import HEADER

SEGMENT_BYTES = 32 << 20  # a segment is longer only if more than half of it is its state
GATHER_MS = 50  # steps are written if the last write was this long ago
GATHER_CHARACTERS = 64 << 10  # or if they have this many characters
BATCH_LINES = 2000  # of a state, written at a time
NODE_FILES = (".log", ".storage", ".state_machine")


def check_path(path: Path) -> None:
    """Check that a recording may be written there.

    Raises:
        ConfigError: the recording would replace another file, or its folder does not exist.
    """
    if not path.name:
        raise ConfigError("--record: names no file")
    if path.suffix in NODE_FILES:
        raise ConfigError(f"--record {path}: a name in {path.suffix} is for a node's own files")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--record {path}: there is no such folder")
    for each in (path, _older(path), _newer(path)):
        try:
            with _opened(each, os.O_RDONLY) as file:
                head = file.read(len(HEADER))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ConfigError(f"--record {path}: {complaint(error)}") from None
        if head and head != HEADER.encode():
            raise ConfigError(f"--record {path}: {each} exists and is not a recording")


class FileRecorder:
    """Records a node's steps in a file, from the node's start. The caller holds the driver's `core`
    lock.

    Steps are handed to the kernel in groups, since at each write another thread may take over from
    the thread that steps the core. If the node is killed, the last steps are missing.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self.segment_bytes = SEGMENT_BYTES
        self._file: FileIO | None = None
        self._left = 0
        self._unwritten: list[str] = []
        self._unwritten_characters = 0
        self._written_ms = 0

    def begin(self, state: Iterator[str]) -> None:
        """Begin a new segment with these lines of the whole state.

        Raises:
            OSError, ConfigError: the file can't be written.
        """
        check_path(self._path)
        self._write()
        self._close()
        newer = _newer(self._path)
        self._file = _opened(newer, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        size = _write_all(self._file, f"{HEADER}, version {VERSION}\n")
        while lines := list(islice(state, BATCH_LINES)):
            size += _write_all(self._file, "".join(f"{line}\n" for line in lines))
        self._left = max(self.segment_bytes - size, size)
        if self._path.exists():
            os.replace(self._path, _older(self._path))
        os.replace(newer, self._path)

    def add(self, step: str, now_ms: int, *, may_be_last: bool) -> bool:
        """Add the paragraph of one step; return whether a new segment is due.

        Raises:
            OSError: the file can't be written.
        """
        self._unwritten.append(step)
        self._unwritten_characters += len(step)
        is_due = now_ms - self._written_ms >= GATHER_MS or may_be_last
        if is_due or self._unwritten_characters >= GATHER_CHARACTERS:
            self._written_ms = now_ms
            self._write()
        return self._left <= 0

    def _write(self) -> None:
        """Hand the added steps to the kernel."""
        steps, self._unwritten, self._unwritten_characters = self._unwritten, [], 0
        if self._file is not None and steps:
            self._left -= _write_all(self._file, "".join(steps))

    def give_up(self, error: Exception) -> None:
        """Stop the recording because of an error; the node continues."""
        why = complaint(error) if isinstance(error, OSError) else f"{error}"
        self._say(f"[!] Recording into {self._path} ends here, the node continues: {why}")
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _write_all(file: FileIO, text: str) -> int:
    """Hand a whole text to the kernel; return its length in bytes."""
    data = text.encode("utf-8", "surrogatepass")
    offset = 0
    while offset < len(data):
        offset += os.write(file.fileno(), data[offset:])
    return len(data)


def _opened(path: Path, flags: int) -> FileIO:
    """Open a regular file, readable only by its owner: it holds the keys and values of clients."""
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise ConfigError(f"{path} is not a regular file")
    mode = "wb" if flags & os.O_WRONLY else "rb"
    return FileIO(os.open(path, flags | os.O_CLOEXEC, 0o600), mode)


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def _newer(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")
