"""The request for codes in refusals, at the start of a connection."""

from __future__ import annotations

from raftline.wire.replies.refusals import answers_codes, codes_line


class CodesOpening:
    """The line that asks for codes. It is sent with the first line, and its answer is skipped."""

    def __init__(self, sender: str, cluster: str = "") -> None:
        """`sender` is the client's name; if it is "", no codes are requested. A node of another
        cluster than `cluster` serves nothing on this connection."""
        self._unsent = [codes_line(sender, cluster)] if sender else []
        self._is_awaited = bool(sender)

    def take_unsent(self) -> list[bytes]:
        """Return the lines to send before the next lines."""
        unsent, self._unsent = self._unsent, []
        return unsent

    def is_answered_by(self, line: bytes) -> bool:
        """Return whether this incoming line is the answer to the line for codes, and not to a
        request."""
        if not self._is_awaited:
            return False
        self._is_awaited = False
        return answers_codes(line)
