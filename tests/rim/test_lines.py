"""Lines out of pieces: how they are put together, how long they may be, and how long they take."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.net import lines as module
from raftline.net.lines import HalfLine, LineReader, LineTooLong

LONGEST = 20
PATIENCE_S = 30.0


class Socket:
    """Gives what it was asked to give, piece by piece; a number is a pause without anything.

    Each piece comes `later_s` after the one before.
    """

    later_s = 0.0

    def __init__(self, *pieces: bytes | float) -> None:
        self.pieces = list(pieces)
        self.now_s = 100.0

    def recv_into(self, buffer: memoryview) -> int:
        piece = self.pieces.pop(0) if self.pieces else b""
        self.now_s += self.later_s
        if isinstance(piece, float):
            self.now_s += piece
            raise BlockingIOError
        buffer[: len(piece)] = piece
        return len(piece)


def reader_of(monkeypatch: pytest.MonkeyPatch, *pieces: bytes | float) -> LineReader:
    connection: Any = Socket(*pieces)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: connection.now_s))
    return LineReader(connection, 64, PATIENCE_S)


def all_of(reader: LineReader, longest: int = LONGEST) -> list[bytes]:
    found: list[bytes] = []
    while (some := reader.read(lambda _: longest)) is not None:
        found += some
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
    with pytest.MonkeyPatch.context() as patch:
        assert all_of(reader_of(patch, *pieces)) == sent


def test_an_unfinished_line_at_the_end_of_a_connection_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert all_of(reader_of(monkeypatch, b"one\ntwo", b" and more")) == [b"one"]


@pytest.mark.parametrize("size", [LONGEST, LONGEST + 1])
@pytest.mark.parametrize("ends", [True, False])
def test_a_line_has_at_most_the_longest_length(
    monkeypatch: pytest.MonkeyPatch, size: int, ends: bool
) -> None:
    begin, end = b"x" * 5, b"x" * (size - 5) + b"\n" * ends
    reader = reader_of(monkeypatch, begin, end, b"\n" * (not ends))
    if size > LONGEST:
        with pytest.raises(LineTooLong):
            reader.read(lambda _: LONGEST)
    else:
        assert reader.read(lambda _: LONGEST) == [b"x" * size]


def test_the_length_limit_of_a_line_depends_on_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[bytes] = []

    def longest(beginning: bytes) -> int:
        begun.append(beginning)
        return 200 if beginning.startswith(b"s2@") else LONGEST

    reader = reader_of(monkeypatch, b"a\ns2@" + b"x" * 40, b"x" * 60, b"\n", b"set " + b"y" * 60)
    assert reader.read(longest) == [b"a"]
    assert reader.read(longest) == [b"s2@" + b"x" * 100]
    with pytest.raises(LineTooLong):  # a client's again
        reader.read(longest)
    assert {beginning[:3] for beginning in begun} == {b"s2@", b"set"}
    assert max(map(len, begun)) <= 80


def test_a_line_not_ended_in_time_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = reader_of(
        monkeypatch, PATIENCE_S * 9, b"set", 20.0, b" a", 10.0, b" 1\n", 90.0, b"get a\n"
    )
    assert all_of(reader) == [b"set a 1", b"get a"]  # silence between lines may last for ever


@pytest.mark.pure
@pytest.mark.parametrize("drips", [True, False])
def test_further_bytes_of_a_line_do_not_extend_its_time(
    monkeypatch: pytest.MonkeyPatch, drips: bool
) -> None:
    reader = reader_of(monkeypatch, b"s", 20.0, b"e" if drips else 0.0, 10.1, b"t", b"\n")
    with pytest.raises(HalfLine):
        reader.read(lambda _: LONGEST)


@pytest.mark.pure
def test_a_line_of_ceaseless_bytes_must_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Socket, "later_s", 1.0)
    assert all_of(reader_of(monkeypatch, *[b"x"] * 16, b"\n")) == [b"x" * 16]
    with pytest.raises(HalfLine):
        all_of(reader_of(monkeypatch, *[b"x"] * 40, b"\n"), longest=100)


def test_the_time_of_a_line_begins_with_its_own_first_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = reader_of(monkeypatch, b"a", 29.0, b"\nb", 29.0, b"\n")
    assert all_of(reader) == [b"a", b"b"]
