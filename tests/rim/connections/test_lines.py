"""Lines out of pieces: how they are put together, how long they may be, and how long they take."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.net import line_reader as module
from raftline.net.line_reader import HalfLine, Late, LineBuffer, LineReader, LineTooLong

LONGEST = 20
PATIENCE_S = 30.0


def all_of(*pieces: bytes | float, later_s: float = 0.0) -> list[bytes]:
    """Return the lines of pieces, each of which comes `later_s` after the one before; a number is
    a wait in which nothing came."""
    lines, now_s, found = LineBuffer(PATIENCE_S), 100.0, list[bytes]()
    for piece in pieces:
        now_s += later_s
        if isinstance(piece, float):
            now_s += piece
            lines.check_time(now_s)
        else:
            found += lines.feed(piece, now_s)
    return found


@given(
    st.lists(st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"")), max_size=6), st.data()
)
def test_lines_are_whole_for_any_division_into_packets(
    sent: list[bytes], data: st.DataObject
) -> None:
    rest = b"".join(line + b"\n" for line in sent)
    pieces: list[bytes | float] = []
    while rest:
        size = data.draw(st.integers(1, min(len(rest), 64)))
        pieces.append(rest[:size])
        rest = rest[size:]
    assert all_of(*pieces) == sent


def test_a_line_not_ended_in_time_ends_the_connection() -> None:
    found = all_of(PATIENCE_S * 9, b"set", 20.0, b" a", 10.0, b" 1\n", 90.0, b"get a\n")
    assert found == [b"set a 1", b"get a"]  # silence between lines may last for ever


@pytest.mark.parametrize("drips", [True, False])
def test_further_bytes_of_a_line_do_not_extend_its_time(drips: bool) -> None:
    assert all_of(b"s", 20.0, b"e" if drips else 0.0, 10.0) == []
    with pytest.raises(HalfLine):
        all_of(b"s", 20.0, b"e" if drips else 0.0, 10.1)


def test_a_line_of_ceaseless_bytes_must_end_in_time() -> None:
    assert all_of(*[b"x"] * 16, b"\n", later_s=1.0) == [b"x" * 16]
    with pytest.raises(HalfLine):
        all_of(*[b"x"] * 40, b"\n", later_s=1.0)


def test_the_time_of_a_line_begins_with_its_own_first_byte() -> None:
    assert all_of(b"a", 29.0, b"\nb", 29.0, b"\n") == [b"a", b"b"]


def test_lines_that_are_due_have_to_come_in_time() -> None:
    lines = LineBuffer(PATIENCE_S)
    lines.due_s = 5.0
    assert lines.feed(b"set a 1\n", 5.0) == [b"set a 1"]
    with pytest.raises(Late):
        lines.feed(b"set a 2\n", 5.1)


# --- out of a socket ------------------------------------------------------------------------------


class Socket:
    """Gives what it was asked to give, piece by piece; a number is a pause without anything."""

    def __init__(self, *pieces: bytes | float) -> None:
        self.pieces = list(pieces)
        self.now_s = 100.0

    def recv_into(self, buffer: memoryview) -> int:
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, float):
            self.now_s += piece
            raise BlockingIOError
        buffer[: len(piece)] = piece
        return len(piece)


def reader_of(monkeypatch: pytest.MonkeyPatch, *pieces: bytes | float) -> LineReader:
    connection: Any = Socket(*pieces)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: connection.now_s))
    return LineReader(connection, PATIENCE_S)


def test_partial_line_at_the_end_of_a_connection_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An incomplete line at the end of a connection is dropped."""
    reader = reader_of(monkeypatch, b"one\ntwo", b" and more")
    assert reader.read(LONGEST) == [b"one"]
    assert reader.read(LONGEST) is None


@pytest.mark.parametrize("size", [LONGEST, LONGEST + 1])
@pytest.mark.parametrize("ends", [True, False])
def test_a_line_has_at_most_the_longest_length(
    monkeypatch: pytest.MonkeyPatch, size: int, ends: bool
) -> None:
    begin, end = b"x" * 5, b"x" * (size - 5) + b"\n" * ends
    reader = reader_of(monkeypatch, begin, end, b"\n" * (not ends))
    if size > LONGEST:
        with pytest.raises(LineTooLong):
            reader.read(LONGEST)
    else:
        assert reader.read(LONGEST) == [b"x" * size]


@pytest.mark.pure
def test_a_wait_for_the_rest_of_a_line_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HalfLine):
        reader_of(monkeypatch, b"s", 20.0, b"e", 10.1).read(LONGEST)
