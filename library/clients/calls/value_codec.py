"""Keys and values of a program, str or bytes, and their text on the wire. Pure.

On the wire, a byte that is not UTF-8 is written `\\xNN`; in the program's text, it is a lone
surrogate, as in Python's `surrogateescape`. So bytes are returned unchanged, and so is any str.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from raftline.wire.limits import KEY_BYTES

Data = TypeVar("Data")  # str or bytes


class Codec(Generic[Data]):
    """The conversion of a program's keys and values to text, and back."""

    def __init__(
        self, kind: type[Data], to_text: Callable[[Data], str], of: Callable[[str], Data]
    ) -> None:
        self.kind = kind
        self._to_text = to_text
        self.of = of

    def of_any(self, text: str | None) -> Data | None:
        """Return the key or value of a text; None for None."""
        return None if text is None else self.of(text)

    def key(self, key: Data, what: str = "a key") -> str:
        """Return the text of a key, or of another non-empty part. Raises TypeError, ValueError."""
        text = self.text(key, what)
        if not text:
            raise ValueError(f"{what} has at least one byte; nothing was sent")
        return text

    def can_be_key(self, key: object) -> bool:
        """Return whether this can be a key. If not, no such key exists."""
        try:
            text = self.key(key)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return False
        return len(text.encode("utf-8", "surrogateescape")) <= KEY_BYTES

    def text(self, part: Data, what: str = "a value") -> str:
        """Return the text of a value or a prefix. Raises TypeError, ValueError."""
        if not isinstance(part, self.kind):
            raise TypeError(
                f"{what} is {self.kind.__name__} here, not {type(part).__name__}; nothing was sent"
            )
        return self._to_text(part)


def _text(part: str) -> str:
    if not part.isascii():
        try:
            part.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise ValueError(
                "it has half a surrogate pair, which is not valid text; nothing was sent"
            ) from None
    return str.__str__(part)  # also for an enum, which would be written differently


def _text_of_bytes(part: bytes) -> str:
    return part.decode("utf-8", "surrogateescape")


def _bytes_of_text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


TEXT: Codec[str] = Codec(str, _text, str)
BINARY: Codec[bytes] = Codec(bytes, _text_of_bytes, _bytes_of_text)
