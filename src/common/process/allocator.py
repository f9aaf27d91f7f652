"""Settings of the C library's allocator that make a node return memory to the system.

By default glibc keeps freed memory: each thread allocates in its own arena, and after the
first long block is freed, blocks of that size also come from these arenas. So a node would keep
memory forever that it needed only for a moment. On the other hand, each block from the system has
to be cleared page by page. So a long value and its copies come from the arenas, and longer blocks
come from the system. Without glibc or ctypes, this module does nothing.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any, Final

try:
    import ctypes
except ImportError:  # a Python built without libffi
    ctypes = None  # type: ignore[assignment]

MMAP_BYTES: Final = 4 << 20  # a block of this size comes from the system, and returns when freed
ARENAS: Final = 2
COLLECT_AFTER: Final = 20_000  # container objects added since the last collection
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def give_back_soon() -> None:
    """Return long blocks to the system when they are freed, and make threads share arenas."""
    library = _library()
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, MMAP_BYTES)
        library.mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return whole free pages of all arenas to the system, which takes milliseconds for 100 MiB."""
    library = _library()
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def collect_seldom() -> None:
    """Exclude current objects from garbage collections, and start these after more new objects.

    By default Python starts a collection after 700 new objects, and every hundredth one examines
    all objects. Reading a megabyte of JSON may create 250,000 objects that are not garbage. With
    the objects of eight clients, a full collection stopped all threads for up to 0.14 s, some
    fifteen times a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def _library() -> Any:
    """Return the C library from ctypes, or None."""
    return None if ctypes is None else ctypes.CDLL(None)


class Tidy:
    """A periodic cleanup that returns unused memory. One thread calls `look` once a second.

    Python collects garbage by the number of objects, but one object may take a megabyte. So this
    class also collects garbage once the process has grown by some bytes.
    """

    def __init__(self, growth_bytes: int, looks: int) -> None:
        """Collect after this growth, and return free pages on every `looks`-th call of `look`."""
        self._growth_bytes = growth_bytes
        self._every = looks
        self._looks = 0
        self._after_bytes = resident_bytes()  # size after the last collection

    def look(self) -> None:
        """Collect garbage and return pages, if either is due."""
        self._looks += 1
        is_large = resident_bytes() > self._after_bytes + self._growth_bytes
        if is_large:
            gc.collect()
        if is_large or self._looks % self._every == 0:
            give_back()
        if is_large:
            self._after_bytes = resident_bytes()


def resident_bytes() -> int:
    """Return the resident bytes of this process; 0 on systems that do not report them."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
