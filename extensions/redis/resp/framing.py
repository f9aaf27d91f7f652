"""The commands of a Redis client, found in bytes that arrive in any pieces. Pure.

A command is an array of bulk strings: `*2`, `$3`, `GET`, `$1`, `k`, each followed by CR and LF. The
scanner looks at each byte once. It keeps the places of the arguments, not the bytes, which the
caller keeps.
"""

from __future__ import annotations

import re
from array import array
from typing import Final

from .limits import REDIS_ARGUMENTS, REDIS_STRANGER_ARGUMENTS

HEAD_BYTES: Final = 32  # of `*2` or `$3`; a number is shorter
_NUMBER: Final = re.compile(rb"-?[0-9]{1,10}")
_FEW: Final = re.compile(rb"\*([1-9][0-9]?)\r\n").match
_SHORT: Final = re.compile(rb"\$(0|[1-9][0-9]{0,3})\r\n").match


_ONE: Final = rb"\$([0-9]{1,3})\r\n([^\r]{0,999})\r\n"
_BY_COUNT: Final = {
    b"*%d" % count: re.compile(rb"\*%d\r\n" % count + count * _ONE).match for count in range(1, 8)
}
_NEVER: Final = re.compile(rb"(?!)").match


class FramingError(Exception):
    """Bytes that are not a command. The message follows `Protocol error: `."""


def take_short(data: bytes, begin: int, bytes_max: int) -> tuple[list[bytes], int] | None:
    """Return the arguments and the end of the command that begins at a place; None if it has not
    ended, or not only few and short arguments. A scanner would find the same."""
    match = _BY_COUNT.get(data[begin : begin + 2], _NEVER)(data, begin)
    if match is not None:  # the usual case, by one look
        found = match.groups()
        words = list(found[1::2])
        if list(map(len, words)) == list(map(int, found[::2])) and match.end() - begin <= bytes_max:
            return words, match.end()
    head = _FEW(data, begin)
    if head is None:
        return None
    arguments: list[bytes] = []
    place, left = head.end(), int(head[1])
    while left:
        head = _SHORT(data, place)
        if head is None:
            return None
        place = head.end()
        end = place + int(head[1])
        arguments.append(data[place:end])
        place, left = end + 2, left - 1
    if place > len(data) or place - begin > bytes_max:
        return None
    return arguments, place


class CommandScanner:
    """Finds the end of the next command, which has at most `bytes_max` bytes. A stranger's command
    has fewer arguments."""

    def __init__(self) -> None:
        self.is_stranger = False
        self.bytes_max = 1 << 30
        self.size = 0  # bytes of the command that were scanned
        self._head = b""  # the beginning of a head whose end has not arrived
        self._left = -1  # arguments that have not begun; -1: the array has not begun
        self._skip = 0  # bytes of the current argument that have not arrived, with their end
        # Where each argument begins and ends, from the command's first byte. A half command keeps
        # them for a while, so they must not take much more memory than its bytes.
        self._places = array("I")

    def scan(self, data: bytes, begin: int) -> int:
        """Scan bytes from a place on; return the end of the command in them, or -1 if it has not
        ended. Then the next call begins with the next bytes.

        Raises:
            FramingError: the bytes are not a command, or it exceeds a bound.
        """
        place, end = begin, len(data)
        while place < end:
            if self._skip:
                step = min(self._skip, end - place)
                self._skip -= step
                self.size += step
                place += step
                if self._skip:
                    break
            else:
                place = self._read_head(data, place)
            if self._left == 0 and not self._skip and not self._head:
                return place
        return -1

    def _read_head(self, data: bytes, place: int) -> int:
        """Read a head, or as much of it as there is; return the place after it."""
        newline = data.find(b"\n", place, place + HEAD_BYTES)
        after = newline + 1 if newline >= 0 else min(len(data), place + HEAD_BYTES)
        head = self._head + data[place:after]
        self.size += after - place
        if self._left < 0 and head in (b"\n", b"\r\n"):  # empty, which `redis-cli --pipe` sends
            self._head, self._left = b"", 0
            return after
        mark = b"*" if self._left < 0 else b"$"
        if head[:1] != mark and not (self._left < 0 and head == b"\r"):
            shown = head[:1].decode("latin-1") if head[:1].isascii() else "?"
            raise FramingError(f"expected '{mark.decode()}', got '{shown}'")
        if newline < 0 and len(head) < HEAD_BYTES:
            self._head = head
            return after
        self._head = b""
        text = head[1:].removesuffix(b"\n").removesuffix(b"\r")
        number = int(text) if newline >= 0 and _NUMBER.fullmatch(text) else None
        if self._left < 0:
            self._begin_array(number)
        else:
            self._begin_argument(number)
        return after

    def _begin_array(self, count: int | None) -> None:
        if count is None or count > REDIS_ARGUMENTS:
            raise FramingError("invalid multibulk length")
        if self.is_stranger and count > REDIS_STRANGER_ARGUMENTS:
            raise FramingError("unauthenticated multibulk length")
        self._left = max(0, count)

    def _begin_argument(self, size: int | None) -> None:
        if size is None or size < 0:
            raise FramingError("invalid bulk length")
        if self.size + size > self.bytes_max:
            raise FramingError(
                f"{'unauthenticated' if self.is_stranger else 'invalid'} bulk length"
            )
        self._places.append(self.size)
        self._places.append(self.size + size)
        self._left -= 1
        self._skip = size + 2

    def take(self, command: bytes) -> list[bytes]:
        """Return the arguments of a whole command, and begin the next one."""
        places = iter(self._places)
        arguments = [command[begin:end] for begin, end in zip(places, places, strict=True)]
        self._places, self._left, self.size = array("I"), -1, 0
        return arguments
