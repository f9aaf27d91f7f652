"""The worst 4 MB for whatever reads commands before a login: work in proportion to them."""

from __future__ import annotations

import pytest

from raftline.redis.harness.redis_wire import framed
from raftline.redis.tests.rim.redis_machine import RedisMachine
from raftline.wire.limits import READ_BYTES
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.linear_work import FACTOR, TIMES_MORE_MAX, times_more

pytestmark = pytest.mark.slow
SHORT = (4 << 20) // FACTOR


def plan_commands(data: bytes, step: int) -> int:
    """Read commands that arrive in pieces, and return how many there were."""
    machine = RedisMachine(FakeHost(is_at_floor=False))
    for place in range(0, len(data), step):
        machine.feed(data[place : place + step])
    return len(machine.out)


@pytest.mark.parametrize("step", [64, 1000, READ_BYTES])
@pytest.mark.parametrize(
    "piece",
    [
        b"\r\n", framed(), framed(b""), framed(b"GET", b"k"), framed(b"X"), framed(b"MULTI"),
        framed(b"MGET", *[b"k"] * 100), framed(b"EVAL", b"x", b"0"), framed(b"SUBSCRIBE", b"a"),
    ],
)  # fmt: skip
def test_commands_of_any_pieces_are_read_in_proportion(piece: bytes, step: int) -> None:
    def read(data: bytes) -> int:
        return plan_commands(b"*0\r\n" + data, step)

    assert times_more(read, b"", piece, SHORT // 16) <= TIMES_MORE_MAX


@pytest.mark.parametrize(
    "words",
    [
        (b"SET", b"k"), (b"APPEND", b"k"), (b"SET", b"k", b"v", b"IFEQ"), (b"X",), (b"KEYS",),
        (b"AUTH", b"bob"), (b"PSUBSCRIBE",), (b"INCRBY", b"k"), (b"HELLO", b"3", b"SETNAME"),
        (b"EVAL",), (b"SCRIPT", b"LOAD"), (b"ECHO",), (b"GET",),
    ],
)  # fmt: skip
def test_long_argument_is_parsed_in_linear_time(
    words: tuple[bytes, ...],
) -> None:
    step = 64 if words == (b"SET", b"k") else READ_BYTES

    def understand(data: bytes) -> None:
        plan_commands(framed(*words, data), step)

    for piece in (b"x", b"\\", b"\xff", b"\r\n", b" ", b"*", b"[", b"9", b"\x00"):
        assert times_more(understand, b"", piece, SHORT // 4) <= TIMES_MORE_MAX, piece
