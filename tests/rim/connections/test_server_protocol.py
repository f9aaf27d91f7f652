"""Schedules of bytes: however a client cuts its lines, each of them has the same effect and reply.

The machine of a connection is driven here as the connection's thread and the shared reader do it.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.access.login import Access
from raftline.access.secret import PeerAuth
from raftline.net.connections.shared_reader import SharedReader
from raftline.net.protocol.host import Batch
from raftline.net.protocol.server_protocol import (
    HALF_LINE,
    TIMING_MARK,
    End,
    Run,
)
from raftline.wire.commands.parsing import BY_ROUND, PLAIN_BYTES, ParsedLine, ReadSettings
from raftline.wire.limits import (
    LINE_S,
    LINES_TOGETHER,
    LONG_TOGETHER,
    QUICK_TOGETHER,
    READ_BYTES,
    REQUESTS_TOGETHER,
    STRANGER_LINE_BYTES,
    STRANGER_S,
)
from raftline.wire.operands.operands import Limits
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.protocol_machine import ProtocolMachine
from raftline_testing.doubles.served_connection import ServedConnection
from raftline_testing.nodes.known_users import ROOT_ALONE, access_with
from raftline_testing.traced_memory import traced

SHORT = Limits(key_bytes=16, value_bytes=900)  # a line: 3920 bytes; before a login: 2048
MARKED = b"se\xff\xf4" + TIMING_MARK
LINES = [
    b"set a 1", b"set b 2\r", b"c1#7@set a 1", b"c1@forget", b"get a", b"get a read lease",
    b"c1#8@get b", b"get a read local", b"show", b"help", b"status", b"raftline@status", b"watch a",
    b"machine m {}", b"", b" ", b"nonsense", b"set a", b"set \xc3\xa4 \xe2\x82\xac", b"set a \xff",
    b"set a \x07", MARKED + b"set a 3", MARKED + b"help", MARKED, b"s2@RequestVote 1-0-0",
    b"s2@Level 1 version 0.2.0", b"s9@RequestVote 1-0-0", b"s2@Count on me term 1", b"@", b"a#@b",
    b"s2@Prove s1 nonce", b"login root right", b"login root wrong", b"set a " + b"x" * 800,
    b"get a " + b" " * 3000, b"s2@AppendEntries 1-0-0-[" + b" " * 5000 + b"]",
    b"Host: x\r",
]  # fmt: skip
TOO_LONG = b"set a " + b"x" * 4000
FIRST = [
    b"",
    b"",
    b"",
    b"show /x HTTP/1.1\r\nHost: x\r\n",
    b"GET / HTTP/1.1\r\n",
    b"SSH-2.0-x\r\n",
    b"status\n",
    b"\n",
]
ATTEMPTS = 10  # to measure memory
LAST = [b"", b"set a", TOO_LONG, TOO_LONG + b"\nhelp\n"]


@pytest.fixture(scope="module")
def access() -> Access:
    return access_with(ROOT_ALONE, "right")


def hosts(access: Access) -> list[FakeHost]:
    """Return nodes: one for everybody, one with users, one with a secret, and one at the floor."""
    facts: dict[str, Any] = {
        "limits": SHORT, "is_at_floor": False, "without_machine": lambda _: "Sorry, none.",
        "status": lambda: "STATUS response: {}",
    }  # fmt: skip
    rule = PeerAuth(b"0" * 32, is_required=True)
    return [
        FakeHost(**facts), FakeHost(**facts, access=access), FakeHost(**facts, peer_auth=rule),
        FakeHost(**{**facts, "is_at_floor": True}),
    ]  # fmt: skip


@pytest.mark.pure
def test_client_that_asks_for_codes_is_not_a_line_on_the_console() -> None:
    machine = ProtocolMachine(FakeHost(limits=SHORT))
    machine.feed(b"client4#0@codes\nclient4@get a\n")
    assert machine.notes == ["came", ("client4", "get a")]


def test_batch_tells_whether_a_line_may_apply_slowly() -> None:
    """A batch knows whether one of its lines may take long to apply."""
    protocol = ProtocolMachine(FakeHost(limits=SHORT)).protocol
    protocol.receive_data(b"set a 1\nappend a 2\nset a 3\nget a\nset a 4\n", 0.0)
    steps = [protocol.next_step() for _ in range(3)]
    assert [step.may_be_long for step in steps if isinstance(step, Batch)] == [1, 0, 0]


@pytest.mark.parametrize(("quick", "together"), [(True, QUICK_TOGETHER), (False, LONG_TOGETHER)])
def test_quick_transactions_share_a_run(quick: bool, together: int) -> None:
    host = FakeHost(limits=SHORT, is_quick=lambda _: quick)
    protocol = ProtocolMachine(host).protocol
    protocol.receive_data(b"append a 2\nset a 1\n" * (QUICK_TOGETHER + 1), 0.0)
    step = protocol.next_step()
    assert isinstance(step, Batch)
    assert [step.commands.count(command) for command in ("append a 2", "set a 1")] == [
        together, together - 1,
    ]  # fmt: skip
    assert (step.may_be_long, step.is_quick) == (together, quick)


def drawn(chance: random.Random, lines: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return whole lines, after which one may follow that has no end, and their bytes in pieces."""
    whole = chance.choice(FIRST).splitlines(keepends=True)
    whole += [chance.choice(lines) + b"\n" for _ in range(chance.randrange(13))]
    whole += chance.choice(LAST).splitlines(keepends=True)
    text = b"".join(whole)
    places = {0, len(text), *(chance.randint(0, len(text)) for _ in range(chance.randrange(30)))}
    return whole, [text[a:b] for a, b in itertools.pairwise(sorted(places))]


@pytest.mark.parametrize("which", range(4))
def test_any_cut_of_the_bytes_has_the_replies_of_whole_lines(access: Access, which: int) -> None:
    for seed in range(60):
        chance = random.Random(f"{which} {seed}")
        whole, pieces = drawn(chance, LINES)
        is_last_place = chance.random() < 0.2
        expected, found = (
            ProtocolMachine(hosts(access)[which], for_peers_only=is_last_place) for _ in range(2)
        )
        for line in whole:
            expected.feed(line)
        for piece in pieces:
            found.feed(piece, shared=chance)
        expected.feed(b"")
        found.feed(b"")
        assert found.out == expected.out, seed
        assert found.notes == expected.notes or is_last_place, seed
        assert expected.ended


SIMPLE = [
    b"set k v", b"c1@set k  two words ", b"c1#7@set k v", b"c1#0@delete k", b"delete k", b"get k",
    b"c1#8@get k", b"c2@setnx k v", b"append k v", b"incr k", b"set k", b"set  k v", b"get k ",
    b"get k read log", b"get k read lease", b"set k a\\\\b", b"c1#07@set k v", b"set k v\r",
    b"ttl k", b"session", b"c1@session", b"@set k v", b"delete k v", b"Set k v",
]  # fmt: skip


@pytest.mark.parametrize("mode", ["index", "lease", "local", "log"])
@pytest.mark.parametrize("which", range(4))
def test_simple_lines_are_what_they_are_one_by_one(access: Access, which: int, mode: str) -> None:
    """Where a limit is below PLAIN_BYTES, each line is parsed and admitted by itself."""
    lines = [line for line in LINES if len(line) < 300] + 4 * SIMPLE
    for seed in range(12):
        chance = random.Random(f"{which} {mode} {seed}")
        machines = []
        for longest in (PLAIN_BYTES - 1, PLAIN_BYTES):
            host = hosts(access)[which]
            host.limits = Limits(longest, longest)
            host.readings = ReadSettings(mode, at_followers=seed % 2 == 0)
            host.is_down = seed % 16 == 0
            machines.append(ProtocolMachine(host))
        if which == 1:  # a session has a name by chance there
            lines = [line for line in lines if not line.endswith(b"session")]
        text = b"".join(chance.choice(lines) + b"\n" for _ in range(40))
        cut = chance.randrange(len(text))
        for machine in machines:
            machine.feed(text[:cut])
            machine.feed(text[cut:])
            machine.feed(b"")
        each, together = machines
        assert together.out == each.out, seed
        assert together.notes == each.notes, seed


def test_a_run_of_simple_lines_is_one_batch_as_long_as_any_other() -> None:
    machine = ProtocolMachine(FakeHost(limits=Limits(PLAIN_BYTES, PLAIN_BYTES)))
    machine.feed(b"set a 1\n")
    machine.feed(b"set a 1\n" * (REQUESTS_TOGETHER + 3) + b"append a 2\n")
    assert machine.sizes == [1, REQUESTS_TOGETHER, 3, 1]
    assert machine.are_long == [False, False, False, True]


def test_lines_of_one_kind_that_came_together_are_one_batch() -> None:
    machine = ProtocolMachine(FakeHost())
    machine.feed(b"set a 1\nset b 2\nget a\nset c 3\nget a read lease\nget b read lease\nset")
    assert machine.sizes == [2, 1, 1, 2]


@pytest.mark.parametrize("line", [b"", b"a", b"ab", b"help", b"s2@Level", b"unwatch"])
def test_lines_of_few_bytes_take_little_memory_while_they_wait(line: bytes) -> None:
    """A client that reads no replies blocks what it sent, perhaps on a thousand connections at a
    time."""
    count = READ_BYTES // (len(line) + 1)
    protocol = ProtocolMachine(FakeHost()).protocol
    with traced(__file__) as figures:
        protocol.receive_data((line + b"\n") * count, 0.0)
        first = protocol.next_step()
    assert figures[0] < 5 * READ_BYTES
    runs = [first]
    while not protocol.is_between_lines:
        runs.append(protocol.next_step())
    sizes = [len(run.lines) for run in runs if isinstance(run, Run)]
    assert sum(sizes) == count
    assert max(sizes) <= LINES_TOGETHER


@pytest.mark.parametrize("line", [b"get a\n", b"set a 1\n", b"incr a\n"])
def test_of_many_short_requests_few_are_handed_over_at_a_time(line: bytes) -> None:
    """A thousand connections that are read at the same time take only a part of their bytes."""
    count = READ_BYTES // len(line)
    peaks = []
    for _ in range(ATTEMPTS):
        machine = ProtocolMachine(FakeHost(limits=SHORT, is_at_floor=False))
        with traced(__file__, 1) as figures:  # the peak alone
            machine.protocol.receive_data(line * count, 0.0)
            machine.protocol.next_step()
        peaks.append(figures[1])
    assert min(peaks) < 10 * READ_BYTES
    while not machine.protocol.is_between_lines:
        machine._take(machine.protocol.next_step())
    assert sum(machine.sizes) == count - REQUESTS_TOGETHER
    assert max(machine.sizes) == REQUESTS_TOGETHER


def test_each_line_is_admitted_when_its_turn_has_come(access: Access) -> None:
    """A login counts for the lines after it, until a later login fails."""
    machine = ProtocolMachine(hosts(access)[1])
    machine.feed(b"set a 1\nlogin root right\nset a 2\nlogin root wrong\nset a 3\n")
    refused, _, done, _, again = machine.out
    assert done == (("write", BY_ROUND), "root@set a 2", "")
    assert isinstance(refused, ParsedLine)
    assert refused.reply.startswith("Sorry, ")
    assert refused == again or str(refused).replace("a 1", "a 3") == str(again)


def test_a_stranger_has_a_bounded_time_and_who_logs_in_has_not(access: Access) -> None:
    late, user = ProtocolMachine(hosts(access)[1]), ProtocolMachine(hosts(access)[1])
    user.feed(b"login root right\nget", STRANGER_S)
    user.feed(b" a\n", STRANGER_S + LINE_S)
    assert not user.ended
    late.feed(b"help\n", STRANGER_S)
    late.feed(b"help\n", STRANGER_S + 0.1)
    assert late.out[-1] == End(f"nobody logged in on this connection within {STRANGER_S:g} s.")


def test_a_line_has_a_bounded_time_from_its_first_byte() -> None:
    machine = ProtocolMachine(FakeHost())
    machine.feed(b"set a 1\nset", 10.0)
    machine.protocol.pass_time(10.0 + LINE_S)
    machine.feed(b" a", 10.0 + LINE_S)
    assert not machine.ended
    machine.feed(b" 2", 10.1 + LINE_S)
    assert machine.out[-1] == End(HALF_LINE)


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_that_is_too_long_ends_it_after_the_lines_before(access: Access, end: bytes) -> None:
    machine = ProtocolMachine(hosts(access)[1])
    machine.feed(b"help\n" + b"x" * STRANGER_LINE_BYTES + b"\n" + b"x" * 2049 + end)
    *before, last = machine.out
    assert len(before) == 2
    assert isinstance(last, End)
    assert last.complaint.startswith("Sorry, this line is longer than 2048 bytes")


# --- by both drivers ------------------------------------------------------------------------------


class Answering(ServedConnection):
    """A connection whose requests are answered at once, by their commands."""

    def __init__(self, shared_reader: SharedReader | None) -> None:
        super().__init__(SHORT, shared_reader)
        self.host.submit, self.host.is_at_floor = self.submit, False
        self.host.status, self.host.without_machine = lambda: "STATUS", lambda _: "Sorry, none."
        read = lambda commands, *_: [f"read {one}" for one in commands]  # noqa: E731
        self.host.logmanager = SimpleNamespace(read=read)

    def submit(self, *batches: Batch, **_: bool) -> None:
        for batch in batches:
            batch.replies = [f"did {command}" for command in batch.commands]
            batch.wake()
        self.host.flush()

    def replies(self, pieces: Sequence[bytes]) -> bytes:
        """Return all that is answered to these pieces."""
        with contextlib.suppress(OSError):  # it has ended
            for piece in pieces:
                self.there.sendall(piece)
            self.there.shutdown(socket.SHUT_WR)
        data = bytearray()
        while piece := self.there.recv(READ_BYTES):
            data += piece
        self.end()
        return bytes(data)


def test_both_ways_of_reading_send_the_replies_of_whole_lines() -> None:
    shared: Answering | None = None
    reader = SharedReader(lambda *found, **_: shared and shared.submit(*found), crowd=0)  # type: ignore[arg-type]
    for seed in range(30):
        whole, pieces = drawn(random.Random(seed), [one for one in LINES if b"watch" not in one])
        expected = Answering(None).replies(whole)
        shared = Answering(reader)
        found = [Answering(None).replies(pieces), shared.replies(pieces)]
        assert found == [expected] * 2, seed
    reader.close()
