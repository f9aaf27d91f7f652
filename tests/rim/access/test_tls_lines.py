"""Lines over TLS, however they are cut into records and packets, by both ways of reading.

Bytes that were decrypted already wake nobody: they are served with those before them.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from raftline.access import authority, tls_socket
from raftline.access.tls import Tls, TlsFiles
from raftline.access.tls_socket import RAW_BYTES, TlsSocket
from raftline.net.connections.shared_reader import SharedReader
from raftline.net.line_reader import LineReader, set_timeout
from raftline.wire.limits import READ_BYTES
from raftline_testing.doubles.served_connection import ServedConnection
from raftline_testing.nodes.processes import eventually

DEADLINE_S = 30.0
RECORD_BYTES = 16 << 10  # of text, at most
LONGEST = 4 * READ_BYTES


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a node and of its client."""
    folder: Path = tmp_path_factory.mktemp("certs")
    authority.make(folder, ["s1=localhost"], ["app"])
    node, client = (
        Tls(TlsFiles(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem"))
        for name in ("s1", "app")
    )
    return node.server_context(), client.client_context()


class Client:
    """The other end of a connection: it cuts its records, and these into packets, as asked."""

    def __init__(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        here, self.there = socket.socketpair()
        for one in (here, self.there):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        self.there.settimeout(DEADLINE_S)
        self.here = TlsSocket(here)
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = contexts[1].wrap_bio(self._arrived, self._leaving, server_hostname="s1")
        answering = threading.Thread(
            target=lambda: self.here.begin(contexts[0], server_side=True, limit_s=DEADLINE_S)
        )
        answering.start()
        is_done = False
        while not is_done:
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
                is_done = True
            self.there.sendall(self._leaving.read())
            if not is_done:
                self._arrived.write(self.there.recv(1 << 16))
        answering.join(DEADLINE_S)

    def record(self, data: bytes) -> bytes:
        """Return one record that holds this."""
        self._tls.write(data)
        return self._leaving.read()

    def goodbye(self) -> bytes:
        """Return the record that says: nothing follows."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._leaving.read()

    def line(self) -> str:
        """Return the next line that was sent here."""
        data = b""
        while not data.endswith(b"\n"):
            try:
                data += self._tls.read(1)
            except ssl.SSLWantReadError:
                self._arrived.write(self.there.recv(1 << 16))
        return data.decode().removesuffix("\n")

    def close(self) -> None:
        self.here.close()
        self.there.close()


def cut(data: bytes, ends: Sequence[int]) -> list[bytes]:
    """Return the parts of data that end at these places, and the rest."""
    places = [0, *sorted({min(end, len(data)) for end in ends}), len(data)]
    parts = [data[begin:end] for begin, end in pairwise(places)]
    return [part for part in parts if part]


# Places in the text at which a record ends, and in the records at which a packet does.
ENDS = st.lists(st.integers(1, 300), max_size=12)
LINES = st.lists(st.integers(0, 60).map(lambda size: b"set k " + b"v" * size), max_size=12)


def records_of(client: Client, text: bytes, ends: Sequence[int]) -> tuple[list[bytes], list[int]]:
    """Return the records that hold a text, and how much of it is sent with each of them."""
    parts = cut(text, ends)
    sent_by_then = [sum(map(len, parts[: place + 1])) for place in range(len(parts))]
    return [client.record(part) for part in parts], sent_by_then


@pytest.mark.parametrize("by", ["read", "receive_now"])
@given(lines=LINES, record_ends=ENDS, packet_ends=st.lists(st.integers(1, 1500), max_size=12))
def test_whole_lines_are_read_with_the_packet_that_ends_them(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    by: str,
    lines: list[bytes],
    record_ends: list[int],
    packet_ends: list[int],
) -> None:
    """Lines that have arrived whole are read together with the packet that completes them."""
    client = Client(contexts)
    reader = LineReader(client.here, DEADLINE_S)
    text = b"".join(line + b"\n" for line in lines)
    records, sent_by_then = records_of(client, text, record_ends)
    sent, read = 0, list[bytes]()
    for packet in cut(b"".join(records), packet_ends):
        client.there.sendall(packet)
        sent += len(packet)
        whole = [
            sent_by_then[n] for n in range(len(records)) if sum(map(len, records[: n + 1])) <= sent
        ]
        is_due = text[: whole[-1] if whole else 0].count(b"\n")
        if by == "receive_now":
            read += read_now(reader)  # once: nobody is woken again
        while by == "read" and len(read) < is_due:
            read += reader.read(LONGEST) or []
        assert read == lines[:is_due]
    assert reader.bytes_read == len(text)
    assert not client.here.has_more
    client.close()


@pytest.mark.parametrize(("is_shared", "is_lent"), [(False, False), (True, False), (True, True)])
@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])  # a failure takes its time
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    record_ends=ENDS,
    packet_ends=st.lists(st.integers(1, 1500), max_size=5),
)
def test_no_line_that_is_here_waits_for_bytes_that_follow_it(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    is_shared: bool,
    is_lent: bool,
    sizes: list[int],
    record_ends: list[int],
    packet_ends: list[int],
) -> None:
    """This holds for a connection's own thread, and for the shared reader, which returns some
    connections: it reads only for those that have received a line, and takes all that has arrived
    with it."""
    with Served(contexts, is_shared=is_shared) as served:
        before = ["set first 1"] if is_lent else []
        if is_lent:
            served.say(b"set first 1\n")
            served.expect(before)
        client = served.client
        lines = [f"set k{number} {'v' * (size + 1)}" for number, size in enumerate(sizes)]
        text = "".join(f"{line}\n" for line in lines).encode()
        records, sent_by_then = records_of(client, text, record_ends)
        sent = 0
        for packet in cut(b"".join(records), packet_ends):
            client.there.sendall(packet)
            sent += len(packet)
            here = [
                sent_by_then[n]
                for n in range(len(records))
                if sum(map(len, records[: n + 1])) <= sent
            ]
            whole = text[: here[-1] if here else 0].count(b"\n")
            served.expect([*before, *lines[:whole]])
        assert served.commands() == [*before, *lines]


class Served:
    """A client of a connection, which its own thread reads, or the shared reader."""

    def __init__(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext], *, is_shared: bool) -> None:
        self.client = Client(contexts)
        self.calls = 0
        self.scene: ServedConnection
        submit = lambda *found, more_come=False: self.scene.host.submit(*found)  # noqa: E731
        self.reader = SharedReader(submit, crowd=0) if is_shared else None
        self.scene = ServedConnection(
            shared_reader=self.reader, ends=(self.client.here, self.client.there)
        )

    def __enter__(self) -> Served:
        return self

    def say(self, text: bytes) -> None:
        self.client.there.sendall(self.client.record(text))

    def commands(self) -> list[str]:
        return [command for batch in self.scene.batches for command in batch.commands]

    def expect(self, commands: list[str]) -> None:
        eventually(lambda: len(self.commands()) >= len(commands), f"{len(commands)} lines")
        assert self.commands() == commands
        for batch in self.scene.batches:
            if not batch.is_answered:
                batch.answer_all("done")
        self.scene.host.flush()

    def __exit__(self, *_: object) -> None:
        self.client.there.close()
        self.scene.thread.join(DEADLINE_S)
        assert not self.scene.thread.is_alive()
        if self.reader is not None:
            self.reader.close()


def read_now(reader: LineReader) -> list[bytes]:
    """Return the lines that end in what is here."""
    data = reader.receive_now()
    return reader._lines.feed(data, 0.0) if data else []


def small_records(client: Client, count: int) -> bytes:
    return b"".join(client.record(b"set k %d\n" % number) for number in range(count))


def test_one_call_reads_a_bounded_part_of_a_stream(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """Otherwise, the shared reader would serve one client only, and put all of its stream in one
    batch."""
    client = Client(contexts)
    reader = LineReader(client.here, DEADLINE_S)
    text = b"set k " + b"v" * 993 + b"\n"
    whole = b"".join(client.record(text * 16) for _ in range(40))  # 640 KB
    sending = threading.Thread(target=client.there.sendall, args=(whole,), daemon=True)
    sending.start()
    read = 0
    while read < 640:
        set_timeout(client.here, socket.SO_RCVTIMEO, DEADLINE_S)
        lines = read_now(reader)
        assert sum(map(len, lines)) <= RAW_BYTES + RECORD_BYTES
        read += len(lines)
    sending.join(DEADLINE_S)
    client.close()


def test_partial_record_returns_the_connection_to_its_thread(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That thread closes the connection if nothing more arrives; nothing wakes the shared reader
    for it."""
    with Served(contexts, is_shared=True) as served:
        reader: Any = served.reader
        served.say(b"set a 1\n")
        served.expect(["set a 1"])
        eventually(lambda: len(reader._parked) == 1, "a parked connection")
        whole = served.client.record(b"set a 2\n")
        served.client.there.sendall(whole + served.client.record(b"set a 3\n")[:9])
        served.expect(["set a 1", "set a 2"])
        assert not reader._parked
        monkeypatch.setattr(tls_socket, "TLS_RECORD_S", 0.0)
        served.client.there.sendall(b"x")
        served.scene.thread.join(DEADLINE_S)
        assert not served.scene.thread.is_alive()


@pytest.mark.parametrize("is_shared", [False, True])
def test_end_that_comes_with_the_last_lines_is_noticed(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], is_shared: bool
) -> None:
    """The client waits for the node to close the connection, and sends no further packet."""
    with Served(contexts, is_shared=is_shared) as served:
        served.say(b"set a 1\n")
        served.expect(["set a 1"])
        client = served.client
        client.there.sendall(client.record(b"set a 2\n") + client.goodbye())
        served.expect(["set a 1", "set a 2"])
        served.scene.thread.join(DEADLINE_S)
        assert not served.scene.thread.is_alive()


@pytest.mark.parametrize("is_shared", [False, True])
def test_lines_in_many_small_records_are_all_served(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], is_shared: bool
) -> None:
    """Few lines in many small records of one packet are all served."""
    with Served(contexts, is_shared=is_shared) as served:
        served.say(b"set k first\n")
        served.expect(["set k first"])
        text = b"set k %s\n" % (b"v" * 16)
        served.client.there.sendall(b"".join(served.client.record(bytes([b])) for b in text * 3))
        served.expect(["set k first", *[text.decode().strip()] * 3])


def test_lines_that_were_peeked_at_are_read_first(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    client = Client(contexts)
    client.there.sendall(client.record(b"set a 1\n") + small_records(client, 3))
    assert client.here.recv(3, socket.MSG_PEEK) == b"set"
    assert client.here.has_more
    assert client.here.take(bytearray(2)) == 2
    reader = LineReader(client.here, DEADLINE_S)
    expected = [b"t a 1", b"set k 0", b"set k 1", b"set k 2"]
    read: list[bytes] = []
    while len(read) < len(expected):
        read += read_now(reader)
    assert read == expected
    client.close()


def test_whatever_a_read_would_give_without_the_network_is_known(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    """It counts bytes already seen, the rest of a record, further records, a partial one, and the
    end."""
    client = Client(contexts)
    here = client.here

    def takes(packet: bytes, size: int, flags: int = 0) -> bool:
        client.there.sendall(packet)
        assert len(here.recv(size, flags)) == size
        return here.has_more

    assert not takes(client.record(b"12345678"), 8)
    assert takes(client.record(b"12345678"), 8, socket.MSG_PEEK)
    assert not takes(b"", 8)
    assert takes(client.record(b"12345678"), 3)
    assert not takes(b"", 5)
    assert takes(client.record(b"12345678") + client.record(b"9"), 8)
    assert not takes(b"", 1)
    parts = client.record(b"12345678") + client.record(b"9")
    assert takes(parts[:-1], 8)
    assert not takes(parts[-1:], 1)
    assert takes(client.record(b"1") + client.goodbye(), 1) or here.recv(1) == b""
    assert here.has_more
    client.close()


def test_a_record_has_its_time_from_its_own_first_byte(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now_s[0])
    monkeypatch.setattr(tls_socket, "time", clock)
    client = Client(contexts)
    reader = LineReader(client.here, DEADLINE_S)
    text = b"".join(client.record(b"set k %d\n" % number) for number in range(3))
    size = len(text) // 3

    def come(begin: int, end: int, after_s: float) -> list[bytes]:
        now_s[0] += after_s
        client.there.sendall(text[begin:end])
        return read_now(reader)

    assert come(0, 9, 0.0) == []
    assert come(9, size + 9, 29.0) == [b"set k 0"]  # and the next has begun
    assert come(size + 9, 2 * size + 9, 29.0) == [b"set k 1"]
    assert come(2 * size + 9, 2 * size + 10, 29.0) == []
    with pytest.raises(ConnectionAbortedError):  # whatever came in between
        come(2 * size + 10, 2 * size + 11, 2.0)
    client.close()


@pytest.fixture
def plain() -> Iterator[tuple[socket.socket, LineReader]]:
    here, there = socket.socketpair()
    with here, there:
        yield there, LineReader(here, DEADLINE_S)


def test_without_tls_one_call_reads_one_buffer(
    plain: tuple[socket.socket, LineReader],
) -> None:
    there, reader = plain
    there.sendall(b"set k 1\n" * (2 * READ_BYTES // 8))
    for _ in range(2):
        assert len(reader.receive_now() or b"") == READ_BYTES
    assert reader.receive_now() is None
    there.close()
    assert reader.receive_now() == b""
