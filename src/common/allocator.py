"""The C library's allocator, set so that the memory of a node goes back to the system.

By itself glibc keeps what is freed: each thread allocates in an arena of its own, and after the
first long block was freed, blocks as long come from these arenas as well. So a node would keep for
good what it needed for a moment. But each block that comes from the system has to be cleared page
by page. So a long value and its copies come from the arenas, and what is longer does not. Elsewhere
than with glibc, or without ctypes, all of this does nothing.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any, Final

try:
    import ctypes
except ImportError:  # a Python that was built without libffi
    ctypes = None  # type: ignore[assignment]

MMAP_BYTES: Final = 4 << 20  # a block as long is the system's own, and goes back when it is freed
ARENAS: Final = 2
COLLECT_AFTER: Final = 20_000  # lists, dicts and the like that came and stayed since the last time
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def give_back_soon() -> None:
    """Have long blocks go back as they are freed, and let threads share arenas."""
    library = _library()
    if hasattr(library, "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, MMAP_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, MMAP_BYTES)
        library.mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give whole free pages back, in all arenas. It takes milliseconds for 100 MiB."""
    library = _library()
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def collect_seldom() -> None:
    """Keep what is here out of later collections of garbage, and begin these after more objects.

    By itself Python begins one after 700, and looks at all objects in each hundredth. To read a
    megabyte of JSON may make 250,000 that are no garbage. With those of eight clients a whole look
    took all threads up to 0.14 s, some fifteen times a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def _library() -> Any:
    """Return the C library as ctypes has it, or nothing with such functions."""
    return None if ctypes is None else ctypes.CDLL(None)


class Tidy:
    """Gives back what is not needed any more: looks once a second, by one thread.

    Python collects garbage by the number of its objects, and one of them may be a megabyte. So it
    is collected once the process has grown by some bytes as well.
    """

    def __init__(self, growth_bytes: int, looks: int) -> None:
        """Collect after this growth, and give freed pages back at every `looks`-th look."""
        self._growth_bytes = growth_bytes
        self._every = looks
        self._looks = 0
        self._after_bytes = resident_bytes()  # the last collection

    def look(self) -> None:
        """Collect or give back, if it is time to."""
        self._looks += 1
        is_large = resident_bytes() > self._after_bytes + self._growth_bytes
        if is_large:
            gc.collect()
        if is_large or self._looks % self._every == 0:
            give_back()
        if is_large:
            self._after_bytes = resident_bytes()


def resident_bytes() -> int:
    """Return the bytes of this process that lie in memory; 0 where Linux does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
