"""Text that every package writes in the same way: names, numbers, and what a line may hold.
Pure."""

from __future__ import annotations

from typing import Final

NAME = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"  # of a server or a client
NUMBER = r"[1-9][0-9]{0,18}"  # at least 1, in canonical form
NUMBER_MAX = 2**63 - 1  # the largest term, index or counted value
_NOT_PLAIN: Final = bytes(code for code in range(256) if not 0x20 <= code < 0x7F)
_CONTROLS: Final = tuple([chr(code) for code in _NOT_PLAIN if code < 0x80])
_LONG: Final = 150  # characters; up to here `isprintable` is faster than `translate`
VERY_LONG: Final = 4096  # above this, a search for each control character is faster


def is_printable(text: str) -> bool:
    """Return `text.isprintable()`. For a long ASCII text this takes a quarter of that method's
    time; for a very long text it takes a tenth, and makes no copy."""
    if len(text) <= _LONG or not text.isascii():
        return text.isprintable()
    if len(text) > VERY_LONG:
        return not any(map(text.__contains__, _CONTROLS))
    return len(text.encode().translate(None, _NOT_PLAIN)) == len(text)
