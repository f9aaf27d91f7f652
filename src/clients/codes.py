"""The request for codes in refusals, at the beginning of a connection."""

from __future__ import annotations

from ..wire.refusals import answers_codes, codes_line


class CodesOpening:
    """The line that asks for codes. It leaves with the first line, and its answer is skipped."""

    def __init__(self, sender: str) -> None:
        """`sender` is the client's name; "": ask for none."""
        self._unsent = [codes_line(sender)] if sender else []
        self._is_awaited = bool(sender)

    def take_unsent(self) -> list[bytes]:
        """Return what has to leave before the lines that are sent now."""
        unsent, self._unsent = self._unsent, []
        return unsent

    def is_answered_by(self, line: bytes) -> bool:
        """Whether this line, the next one that came, is the answer, and so that of no request."""
        if not self._is_awaited:
            return False
        self._is_awaited = False
        return answers_codes(line)
