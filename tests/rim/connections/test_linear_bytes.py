"""The worst 4 MB for whatever reads bytes before a login: work in proportion to them.

tests/core/lines/test_linear_work.py has more beginnings, of shorter lines.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable

import pytest

from raftline.access import tls_socket
from raftline.access.tls_socket import TlsSocket
from raftline.net.line_reader import HalfLines, LineBuffer
from raftline.wire.limits import READ_BYTES
from raftline.wire.protocol import ProtocolError, decode_line, split_sender
from raftline_course.controller.udp import DATAGRAM_BYTES_MAX, _line, _read, _why_not
from raftline_testing.linear_work import FACTOR, TIMES_MORE_MAX, times_more, understood
from raftline_testing.runner.at_night import at_night

pytestmark = pytest.mark.slow
SHORT = (4 << 20) // FACTOR
# A line of 4 MB and its parts take memory page by page, and no cache holds them: 43 times the time
# was seen for 8 times the bytes. So such a line is compared with a much shorter one.
LARGE_FACTOR = 32
LARGE_SHORT = (4 << 20) // LARGE_FACTOR
LARGE_TIMES_MORE_MAX = 340.0  # LARGE_FACTOR is in proportion, LARGE_FACTOR ** 2 is the square
PIECES = [
    b"\r\xff\xfa", b"\xff\xf1", b"\xff\xfa", b"\xff\xf4\xff\xfd\x06", b"\xff", b"\x80", b"\\x41",
    b"\\", b" a", b" ", b"[", b'"', b"9", b"@", b" ; get k ", b"\t",
]  # fmt: skip
BEGINNINGS = [
    b"", b"get ", b"txn set k ", b"login a ",
    b's2@AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "', b"Controller@STORE k ",
    *at_night(
        b"s2@", b"c#", b"set k ", b"auth n,,n=", b"s2@Prove s1 nonce ", b"s2@Proof ", b"s2@Level ",
        b"s2@PreVote 1-1-1", b"s2@AppendEntries 1-0-0-[", b"Controller@DROP ", b"Controller@",
    ),
]  # fmt: skip


def large_times_more(work: Callable[[bytes], object], beginning: bytes, piece: bytes) -> float:
    """Return how much more time 4 MB take than a part of them."""
    return times_more(work, beginning, piece, LARGE_SHORT, LARGE_FACTOR)


def read_lines(data: bytes, step: int) -> int:
    lines = LineBuffer(1e9, HalfLines())
    count = sum(len(lines.feed(data[n : n + step], 0.0)) for n in range(0, len(data), step))
    lines.forget()
    return count


@pytest.mark.parametrize("step", [64, 1000, READ_BYTES])
@pytest.mark.parametrize("piece", [b"x", b"\n", b"x\n", b"x" * 63 + b"\n"])
def test_the_reader_of_lines_looks_at_each_byte_a_few_times(piece: bytes, step: int) -> None:
    assert times_more(lambda data: read_lines(data, step), b"", piece, SHORT) <= TIMES_MORE_MAX


@pytest.mark.parametrize("piece", PIECES)
def test_any_4_mb_are_decoded_and_divided_in_proportion(piece: bytes) -> None:
    def divided(line: bytes) -> None:
        with contextlib.suppress(ProtocolError):
            split_sender(decode_line(line))

    for beginning in (b"", b" ", b"c1#", b"c1@"):
        assert large_times_more(divided, beginning, piece) <= LARGE_TIMES_MORE_MAX, beginning


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_line_of_4_mb_is_understood_in_proportion(beginning: bytes) -> None:
    for piece in PIECES:
        assert large_times_more(understood, beginning, piece) <= LARGE_TIMES_MORE_MAX, piece


# --- TLS ------------------------------------------------------------------------------------------


def records(size: int) -> bytes:
    """Return so many bytes of TLS records whose content no key opens, each of `size` bytes."""
    return b"\x17\x03\x03" + struct.pack(">H", size) + b"x" * size


@pytest.mark.parametrize("step", [64, 1000, tls_socket.RAW_BYTES])
@pytest.mark.parametrize("size", [0, 1, 1000, 16_000])
def test_the_ends_of_tls_records_are_found_in_proportion(size: int, step: int) -> None:
    def arrive(data: bytes) -> None:
        here, there = socket.socketpair()
        tls = TlsSocket(here)
        for place in range(0, len(data), step):
            tls._arrive(data[place : place + step])
        tls.close()
        there.close()

    assert times_more(arrive, b"", records(size), SHORT) <= TIMES_MORE_MAX


@pytest.mark.parametrize("is_server", [True, False])
def test_a_handshake_takes_no_more_than_a_few_records(is_server: bool) -> None:
    here, there = socket.socketpair()
    tls = TlsSocket(here)
    kind = ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT
    data = (b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff" + b"x" * 16_380) * 256

    def send() -> None:
        with contextlib.suppress(OSError):
            there.sendall(data)

    sending = threading.Thread(target=send)
    sending.start()
    with pytest.raises(ssl.SSLError):
        tls.begin(ssl.SSLContext(kind), server_side=is_server, limit_s=30.0, name="s1")
    tls.close()
    sending.join(30.0)
    there.close()


# --- datagrams -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "piece", [b"[", b'{"a":', b"9", b"[1,", b"0.1", b"\\u0041", b"\xff", b'"', b"a", b"\\", b" "]
)
def test_a_datagram_costs_work_in_proportion_to_its_bytes(piece: bytes) -> None:
    def read(data: bytes) -> None:
        for closed in (data, data + b'"}', data + b"]}"):
            message = _read(closed)
            if message and not _why_not(message):
                with contextlib.suppress(ProtocolError):
                    _line(str(message.get("request")), message)

    short = DATAGRAM_BYTES_MAX // FACTOR
    for verb in (b"STORE", b"DROP", b"RETRIEVE"):
        begin = b'{"sender_name": "Controller", "request": "%s", "key": "k", "value": ' % verb
        for beginning in (b"", begin, begin + b'"', begin + b"["):
            assert times_more(read, beginning, piece, short) <= TIMES_MORE_MAX, (verb, beginning)
