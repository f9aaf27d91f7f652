"""A file in memory that knows which of its bytes a power cut may lose, and the possible faults."""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import NamedTuple

BLOCK_BYTES = 512


class Died(BaseException):
    """The end of the process; a BaseException, so that no clean-up code continues as if alive."""


class Kind(Enum):
    """The fault at the chosen step."""

    DIE_BEFORE = "dies before it"
    DIE_AFTER = "dies after it"
    TEAR = "dies when a part is written"
    TEAR_WITH_HOLE = "dies when a part is written, with zeros before it"
    EIO = "fails with EIO"
    ENOSPC = "fails with ENOSPC, a part written"


class Fault(NamedTuple):
    """A fault, and the number of its step, counted from 1."""

    step: int
    kind: Kind


class MemoryFile:
    """A file: its bytes, and which of them a power cut may lose."""

    __slots__ = ("again", "before_cut", "data", "dropped", "overwritten", "synced")

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.synced = len(data)
        self.overwritten: dict[int, bytes] = {}  # offset -> the bytes that are durable there
        # the bytes that a truncation removed, until it is synced
        self.before_cut: bytes | None = None
        self.dropped: set[int] = set()  # offsets whose bytes no sync writes any more
        self.again: set[int] = set()  # the dropped offsets that were written again since

    def write(self, data: bytes, kind: Kind | None) -> None:
        if kind is Kind.TEAR or kind is Kind.ENOSPC:
            data = data[: len(data) // 2]
        elif kind is Kind.TEAR_WITH_HOLE:
            hole = min(BLOCK_BYTES, len(data) // 2)
            data = bytes(hole) + data[hole : len(data) * 3 // 4]
        self.data += data

    def sync(self) -> None:
        self.synced = len(self.data)
        self.before_cut = None
        self.dropped -= self.again
        if self.overwritten:
            self.overwritten.clear()

    def fail_sync(self) -> None:
        """Drop the unwritten bytes, as Linux does. They stay readable until the power is cut, and
        the next sync succeeds without them."""
        self.dropped |= set(range(self.synced, len(self.data)))

    def write_again(self, begin: int, end: int) -> None:
        """Write the bytes at these offsets again. The next sync includes them."""
        self.again |= self.dropped & set(range(begin, end))

    def copy(self) -> MemoryFile:
        copy = MemoryFile()
        copy.data = bytearray(self.data)
        copy.synced = self.synced
        copy.overwritten = dict(self.overwritten)
        copy.before_cut = self.before_cut
        copy.dropped, copy.again = set(self.dropped), set(self.again)
        return copy

    def after_power_cut(self, random: Random) -> bytes:
        data = bytearray(self.data)
        for place in self.dropped:
            data[place : place + 1] = b"\0" if place < len(data) else b""
        for offset, durable in self.overwritten.items():
            if random.random() < 0.5:
                data[offset : offset + len(durable)] = durable
        if self.before_cut is not None and random.random() < 0.5:
            return bytes(data) + self.before_cut
        if len(data) > self.synced:
            fate = random.randrange(5)
            if fate == 0:
                del data[self.synced :]
            elif fate == 1:
                del data[random.randint(self.synced, len(data)) :]
            elif fate < 4:
                _punch_holes(data, self.synced, random)
        return bytes(data)


def _punch_holes(data: bytearray, first: int, random: Random) -> None:
    """Zero some blocks after `first`: their length reached the disk, but their bytes did not."""
    block = first - first % BLOCK_BYTES
    while block < len(data):
        if random.random() < 0.5:
            begin, end = max(block, first), min(block + BLOCK_BYTES, len(data))
            data[begin:end] = bytes(end - begin)
        block += BLOCK_BYTES
