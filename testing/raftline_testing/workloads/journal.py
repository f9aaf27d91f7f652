"""The one value that every append of a schedule adds to, and the reads and answers of its
clients."""

from __future__ import annotations

from typing import NamedTuple

from raftline.wire.protocol import unescape

JOURNAL = "j"
END = ";"  # the end of each piece; every piece is unique


class Append(NamedTuple):
    """An append: the times of the first request and of the answer, and the value's length then."""

    called_at: float
    returned_at: float
    piece: str
    size: int  # in bytes


class Seen(NamedTuple):
    """A read: the times of request and answer, and the value."""

    called_at: float
    returned_at: float
    text: str


class Journal:
    """The comparison of the clients' observations with the final value.

    An append that took effect twice, was lost, or was read before another that had been answered,
    shows in the text itself, so no search is needed.
    """

    def __init__(self) -> None:
        self.appends: list[Append] = []
        self.seen: list[Seen] = []
        # pieces that occur once or not at all, and the times of their requests
        self.unknown: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self.appends) + len(self.unknown)

    def judge(self, final: str) -> None:
        """Check that each append occurs once, at the place that its answer states, and that each
        read saw a prefix.

        Raises:
            AssertionError: no single copy of the value explains these answers.
        """
        ends = self._ends(final)
        for append in self.appends:
            if ends.get(append.piece) != append.size:
                raise AssertionError(
                    f"{append.piece!r} was answered to end at byte {append.size}, and ends at "
                    f"{ends.get(append.piece)} of {final!r}"
                )
        for seen in self.seen:
            if not final.startswith(seen.text) or (seen.text and not seen.text.endswith(END)):
                raise AssertionError(f"{seen.text!r} was read, which does not begin {final!r}")
        self._judge_order()

    def _ends(self, final: str) -> dict[str, int]:
        """Return the end of each piece, in bytes."""
        asked_for = {append.piece for append in self.appends} | self.unknown.keys()
        ends: dict[str, int] = {}
        size = 0
        for piece in final.split(END)[:-1]:
            size += size_of(piece + END)
            if piece + END in ends:
                raise AssertionError(f"{piece + END!r} took effect twice: {final!r}")
            if piece + END not in asked_for:
                raise AssertionError(f"{piece + END!r} was not requested by any client: {final!r}")
            ends[piece + END] = size
        return ends

    def _judge_order(self) -> None:
        """Check that a request sent after an answer follows it in the value, or saw it."""
        changes = [(one.called_at, one.returned_at, one.size, 1) for one in self.appends]
        changes += [(one.called_at, one.returned_at, size_of(one.text), 0) for one in self.seen]
        by_end = sorted(changes, key=lambda one: one[1])
        position, highest = 0, 0
        for called_at, _, size, added in sorted(changes):
            while position < len(by_end) and by_end[position][1] < called_at:
                highest = max(highest, by_end[position][2])
                position += 1
            if size < highest + added:
                what = "an append was answered with" if added else "a read found"
                raise AssertionError(f"{what} {size} bytes, though {highest} were reported before")


def size_of(text: str) -> int:
    """Return the length of an escaped value in bytes."""
    return len(unescape(text).encode("utf-8", "surrogateescape"))
