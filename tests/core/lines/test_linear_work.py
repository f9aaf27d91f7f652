"""A line costs work in proportion to its bytes: what is read before a login is anybody's choice.

Regular expressions and joins run in C, where nothing counts their steps. So processor time is
compared, of one line and of one `FACTOR` times as long: in proportion it grows by that factor,
and with the square of the length by its square. The bound lies in the middle of the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from raftline.wire.commands.command_table import COMMANDS
from raftline.wire.commands.object_operations import OPERANDS
from raftline.wire.commands.operands import Limits
from raftline.wire.commands.parsing import ReadSettings, parse
from raftline.wire.protocol import looks_foreign
from raftline_course.controller.orders import ORDERS

SHORT_BYTES = 4 << 10
FACTOR = 8
TIMES_MORE_MAX = 3.0 * FACTOR  # FACTOR is in proportion, FACTOR ** 2 is the square
LEAST_S = 0.0003  # less than this is the noise of the clock
TRIES = 10

pytestmark = pytest.mark.needs("a clock of a thread")

BEGINNINGS = [
    b"", b"\xff", b"s2@", b"c#1@", b"s2@Prove s1 nonce ", b"s2@Challenge s1 nonce ", b"s2@Proof ",
    b"s2@Level ", b"s2@PreVote 1-1-1", b"s2@AppendEntries 1-0-0-[",
    b's2@AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "',
    b's2@InstallSnapshot 1-1-1 offset 0 of 1 crc32 00000000 round 0 data "',
    b"s2@Not this time term 1: ", b"s2@I am up to date term 1", b"s2@GiveEntriesAfterIndex ",
    b"s2@GiveSnapshotAfterByte 1", b"s2@Count on me term ", b"s2@ReadIndex ", b"GET / HTTP",
    b"login a ", b"auth n,,n=", b"txn if ", b"txn under lease-1 ", b"txn set k ", b"object k ",
    *[f"{verb} ".encode() for verb in COMMANDS],
    *[f"{verb} ".encode() for verb in sorted(ORDERS)],
    *[f"object k {name} ".encode() for name in OPERANDS if name.startswith(("dict", "list"))],
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


def seconds(work: Callable[[bytes], object], line: bytes) -> float:
    begun_s = time.thread_time()
    work(line)
    return time.thread_time() - begun_s


def times_more(
    work: Callable[[bytes], object],
    beginning: bytes,
    piece: bytes,
    short: int = SHORT_BYTES,
    factor: int = FACTOR,
) -> float:
    """Return how much more time a line takes that is `factor` times as long as `short` bytes."""
    long = (beginning + piece * (short * factor // len(piece)))[: short * factor]
    ratios = []
    for _ in range(TRIES):
        short_s, long_s = seconds(work, long[:short]), seconds(work, long)
        ratios.append(long_s / max(short_s, LEAST_S))
        if ratios[-1] <= 3 * factor:
            break
    return min(ratios)


def understood(line: bytes) -> None:
    looks_foreign(line)
    parse(line, Limits(), ReadSettings(), "s1")


@pytest.mark.parametrize("piece", PIECES)
def test_a_line_of_any_pieces_costs_work_in_proportion_to_its_bytes(piece: bytes) -> None:
    for beginning in (b"", b"s2@", b"set k ", b"txn set k ", b"txn if ", b"object k list.extend "):
        assert times_more(understood, beginning, piece) <= TIMES_MORE_MAX, (beginning, piece)


@pytest.mark.parametrize("piece", FEW)
def test_a_line_with_any_beginning_costs_work_in_proportion_to_its_bytes(piece: bytes) -> None:
    for beginning in BEGINNINGS:
        assert times_more(understood, beginning, piece) <= TIMES_MORE_MAX, (beginning, piece)


def test_work_with_the_square_of_the_length_is_noticed() -> None:
    def quadratic(line: bytes) -> None:
        for begin in range(len(line) // 16):  # by steps of Python: 1 ms for the short line
            for _ in range(begin):
                pass

    assert times_more(quadratic, b"", b"a") > TIMES_MORE_MAX
