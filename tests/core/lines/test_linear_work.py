"""A line costs work in proportion to its bytes: what is read before a login is anybody's choice.

raftline_testing/linear_work.py says how work is compared.
"""

from __future__ import annotations

import pytest

from raftline.wire.commands.command_table import COMMANDS
from raftline_course.controller.orders import ORDERS
from raftline_testing.linear_work import TIMES_MORE_MAX, times_more, understood

pytestmark = pytest.mark.needs("a clock of a thread")

BEGINNINGS = [
    b"", b"\xff", b"s2@", b"c#1@", b"s2@Prove s1 nonce ", b"s2@Challenge s1 nonce ", b"s2@Proof ",
    b"s2@Level ", b"s2@PreVote 1-1-1", b"s2@AppendEntries 1-0-0-[",
    b's2@AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "',
    b's2@InstallSnapshot 1-1-1 offset 0 of 1 crc32 00000000 round 0 data "',
    b"s2@Not this time term 1 behind: ", b"s2@I am up to date term 1", b"s2@GiveEntriesAfterIndex ",
    b"s2@GiveSnapshotAfterByte 1", b"s2@Count on me term ", b"s2@ReadIndex ", b"GET / HTTP",
    b"login a ", b"auth n,,n=", b"txn if ", b"txn under lease-1 ", b"txn set k ",
    *[f"{verb} ".encode() for verb in COMMANDS],
    *[f"{verb} ".encode() for verb in sorted(ORDERS)],
]  # fmt: skip
PIECES = [
    b"\r\xff\xfa", b"\r\xff\xfb\r", b"\xff\xfa", b"\xff\xf1", b"\r\xff\xfa\xff\xf0",
    b"\xff\xf4\xff\xfd\x06",
    b"\xff", b"\x80", b"\xf0\x9f\x98\x80", b"\\", b"\\x41", b"\\xff", b"\\n", b"[", b"{", b"]",
    b'{"a":', b'"', b"[]", b"[1,", b" ", b" a", b"@", b"#", b"9", b"0.1", b"1e9", b"\t", b"\r",
    b"\x00", b",", b"r=", b" ; ", b"if ", b" then ", b" else ", b"under a ", b"read log ",
    b" transfer", b"A", b"AA ", b"HTTP/", b"\\u0041", b"..", b"s2@", b"; get k ",
]  # fmt: skip
FEW = [b"\r\xff\xfa", b"\\", b"[", b" a", b"under a ", b"\t"]


@pytest.mark.parametrize("piece", PIECES)
def test_work_for_any_line_is_linear_in_its_bytes(piece: bytes) -> None:
    """The work for a line of arbitrary pieces is proportional to its length."""
    for beginning in (b"", b"s2@", b"set k ", b"txn set k ", b"txn if "):
        assert times_more(understood, beginning, piece) <= TIMES_MORE_MAX, (beginning, piece)


@pytest.mark.parametrize("piece", FEW)
def test_work_for_any_beginning_is_linear_in_its_bytes(piece: bytes) -> None:
    """The work for a line with an arbitrary beginning is proportional to its length."""
    for beginning in BEGINNINGS:
        assert times_more(understood, beginning, piece) <= TIMES_MORE_MAX, (beginning, piece)


def test_work_with_the_square_of_the_length_is_noticed() -> None:
    def quadratic(line: bytes) -> None:
        for begin in range(len(line) // 16):  # by steps of Python: 1 ms for the short line
            for _ in range(begin):
                pass

    assert times_more(quadratic, b"", b"a") > TIMES_MORE_MAX
