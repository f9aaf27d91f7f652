"""The bytes of Redis clients at the machine of a connection: however they are cut, and whichever
way is taken for plain commands, each command becomes the same line and the same reply."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from raftline.access.login import Access
from raftline.net.protocol.host import Batch
from raftline.net.protocol.server_protocol import DoorRun, End
from raftline.redis import redis_requests
from raftline.redis.harness.redis_wire import framed, redis_door
from raftline.redis.resp.plain import PlainRun, take_plain
from raftline.redis.resp.replies import NO_LOGIN
from raftline.redis.tests.rim.redis_machine import RedisMachine
from raftline.wire.limits import (
    LINE_S,
    READ_BYTES,
    REQUESTS_TOGETHER,
    STRANGER_LINE_BYTES,
    STRANGER_S,
)
from raftline.wire.operands.operands import Limits
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.protocol_machine import ProtocolMachine
from raftline_testing.nodes.known_users import ROOT_ALONE, access_with
from raftline_testing.traced_memory import traced

pytestmark = pytest.mark.pure
ATTEMPTS = 10  # to measure memory
LIMITS = Limits(key_bytes=600, value_bytes=900)
COMMANDS = [
    (b"GET", b"k"), (b"get", b"k"), (b"Get", b"k"), (b"SET", b"k", b"v"), (b"SET", b"k", b""),
    (b"SET", b"k", b"two  words "), (b"SET", b"k", b"a\\b"), (b"SET", b"k\r", b"v"), (b"GET", b""),
    (b"SET", b"k", b"v", b"NX"), (b"SETNX", b"k", b"v"), (b"DEL", b"k"), (b"UNLINK", b"k"),
    (b"DEL", b"k", b"l"), (b"INCR", b"k"), (b"DECR", b"k"), (b"INCRBY", b"k", b"5"), (b"GET",),
    (b"GET", b"k", b"l"), (b"SET", b"k"), (b"APPEND", b"k", b"v"), (b"PING",), (b"NOPE", b"x"),
    (b"GET", b"k" * 512), (b"GET", b"k" * 513), (b"GET", b"k" * 601), (b"SET", b"k", b"v" * 499),
    (b"SET", b"k", b"v" * 500), (b"SET", b"k", b"v" * 901), (b"GET", b"\xff"), (b"MULTI",),
    (b"READONLY",), (b"TTL", b"k"), (b"HELLO", b"3"), (b"SETNX", b"k", b"\\s\\"), (),
    (b"SET", b"k", b"v", b"EX", b"60"), (b"set", b"k", b"", b"ex", b"9" * 9), (b"GET", b"k\\s"),
    (b"SET", b"k", b"v", b"EX", b"0"), (b"SET", b"k", b"v", b"EX"), (b"TTL",),
    (b"GET", b"k", b"v", b"EX", b"1"),
    (b"SET", b"k", b"v", b"EX", b"9" * 10), (b"SET", b"k", b"v", b"EX", b"09"),
    (b"SET", b"k", b"v", b"PX", b"9"), (b"SET", b"k", b"v" * 499, b"EX", b"1"),
]  # fmt: skip
BEGUN = b"*2\r\n$3\r\nGET\r\n$1\r\nk"
LAST = [b"", BEGUN, BEGUN + b"\r\n$1\r\nv\r\n", b"GET k\r\n"]


@pytest.fixture(scope="module")
def access() -> Access:
    return access_with(ROOT_ALONE, "right")


def outcome(
    data: list[bytes], chance: random.Random | None = None, *, is_at_floor: bool = False
) -> list[object]:
    """Return what comes out for pieces of bytes."""
    host: Any = FakeHost(limits=LIMITS, is_at_floor=is_at_floor)
    host.doors = [redis_door(LIMITS)]
    machine = RedisMachine(host)
    for piece in [*data, b""]:
        machine.feed(piece, shared=chance)
    assert machine.ended
    return machine.out


def drawn(chance: random.Random) -> bytes:
    words = [framed(*chance.choice(COMMANDS)) for _ in range(chance.randrange(1, 12))]
    return b"".join([*words, chance.choice(LAST)])


def test_any_cut_of_the_bytes_has_the_same_outcome() -> None:
    for seed in range(400):
        chance = random.Random(seed)
        data = drawn(chance)
        places = {0, len(data), *(chance.randint(0, len(data)) for _ in range(chance.randrange(9)))}
        pieces = [data[a:b] for a, b in itertools.pairwise(sorted(places))]
        assert outcome(pieces, chance) == outcome([data]), seed


@pytest.mark.parametrize("is_at_floor", [False, True])
def test_plain_commands_are_what_they_are_one_by_one(
    is_at_floor: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the cluster does not know all of them. A transaction that ends within a command is
    another matter: its client is gone, and the whole of it is dropped."""
    monkeypatch.setattr(redis_requests, "HALF_WHOLE", 0)
    every = [drawn(random.Random(seed)) for seed in range(400)]
    found = [outcome([data], is_at_floor=is_at_floor) for data in every]
    monkeypatch.setattr(redis_requests, "take_plain", lambda *_, **__: PlainRun(True, [], [], 0))
    monkeypatch.setattr(redis_requests, "take_short", lambda *_: None)
    assert found == [outcome([data], is_at_floor=is_at_floor) for data in every]


def test_plain_commands_go_together() -> None:
    machine = RedisMachine(FakeHost(limits=LIMITS))
    machine.feed(framed(b"SET", b"a", b"1") * 300 + framed(b"GET", b"a") * 2)
    assert machine.sizes == [128, 128, 44, 2]


def test_plain_commands_after_a_half_one_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long pipeline arrives in pieces, and the bytes of the next piece end the half command."""

    def planned(*_: object) -> object:
        raise AssertionError("a plain command was read as any other")

    monkeypatch.setattr(redis_requests, "plan_of", planned)
    machine, data = RedisMachine(FakeHost(limits=LIMITS)), framed(b"SET", b"a", b"1") * 20
    for cut in (3, 40, 77):
        machine.feed(data[:cut])
        machine.feed(data[cut:])
    assert sum(machine.sizes) == 60


def test_a_value_with_a_backslash_is_a_plain_one() -> None:
    run = take_plain(framed(b"SET", b"k", b"a\\sb\\").decode() * 2, 9, is_at_floor=False)
    assert run.commands == [r"set k a\\sb\\"] * 2


def test_a_long_command_is_refused() -> None:
    size = LIMITS.line_bytes
    assert outcome([b"*1\r\n$%d\r\n" % size]) == [
        End("Protocol error: invalid bulk length", drains=True)
    ]


def test_a_command_that_does_not_end_ends_the_connection() -> None:
    machine = RedisMachine(FakeHost(limits=LIMITS))
    machine.feed(framed(b"GET", b"k") + b"*2\r\n$3\r\nG", 1.0)
    assert len(machine.out) == 1
    machine.protocol.pass_time(1.5 + LINE_S)
    assert isinstance(machine.protocol.next_step(), End)


def test_a_stranger_sends_short_commands_only(access: Any) -> None:
    host: Any = FakeHost(limits=LIMITS, access=access)
    for data in (b"*11\r\n", b"*1\r\n$%d\r\n" % STRANGER_LINE_BYTES):
        machine = RedisMachine(host)
        machine.feed(framed(b"GET", b"k") + data)
        refused, end = machine.out
        assert refused == ("", None, NO_LOGIN, "", "")
        assert isinstance(end, End)
        assert end.complaint.startswith("Protocol error: unauthenticated ")


@pytest.mark.parametrize("word", [b"", b"x" * 40])
def test_a_half_command_takes_memory_in_proportion_to_its_bytes(word: bytes) -> None:
    """Its known arguments do not count among the half lines of all clients."""
    half = framed(*[word] * 4096)[:-1]
    machine = RedisMachine(FakeHost())
    with traced(__file__) as figures:
        machine.feed(half)
    assert machine.protocol.lines.size == len(half)
    assert figures[0] < 4 * len(half)
    machine.feed(b"\n")
    assert len(machine.out) == 1


@pytest.mark.parametrize("words", [(b"GET", b"k"), (b"SET", b"k", b"v" * 900)])
def test_transaction_counts_the_memory_that_it_takes(words: Any) -> None:
    """Its bytes count as an unfinished line."""
    machine = RedisMachine(FakeHost())
    machine.feed(framed(b"MULTI"))
    door: Any = machine.protocol.door
    redis = door.requests
    redis.session.queue = []  # the call was not carried out
    machine.out.clear()
    with traced(__file__) as figures:
        for _ in range(500):
            machine.feed(framed(*words))
            machine.out.clear()
    assert figures[0] < redis.session.held_bytes


@pytest.mark.parametrize("asked", [b"\n", framed(), framed(b"PING"), framed(b"GET", b"k")])
def test_a_stranger_that_sends_all_the_time_is_late(access: Any, asked: bytes) -> None:
    """Without a pause in which the time is checked."""
    host: Any = FakeHost(limits=LIMITS, access=access)
    machine = RedisMachine(host)
    machine.feed(asked, 0.5 * STRANGER_S)
    assert not machine.ended
    machine.feed(asked, 1.5 * STRANGER_S)
    assert machine.out[-1] == End("nobody logged in on this connection within 10 s.")


def test_a_batch_keeps_the_form_and_the_key_of_each_reply() -> None:
    host: Any = FakeHost(limits=LIMITS)
    machine = RedisMachine(host)
    machine.protocol.receive_data(framed(b"SET", b"a", b"1") + framed(b"INCR", b"b"), 0.0)
    batch = machine.protocol.next_step()
    assert isinstance(batch, Batch)
    assert batch.commands == ["set a 1", "incr b 1"]
    assert batch.ids == ["set a", "incr b"]


@pytest.mark.parametrize("words", [(b"",), (b"PING",), (b"GET",), (b"MGET", b"a")])
def test_waiting_short_commands_take_little_memory(words: Any) -> None:
    """A reader that takes no replies holds up what it sent: on a thousand connections at a time."""
    command = framed(*words)
    count = READ_BYTES // len(command)
    protocol = ProtocolMachine(FakeHost()).protocol
    with traced(__file__) as figures:
        protocol.receive_data(command * count, 0.0)
        first = protocol.next_step()
    assert figures[0] < 5 * READ_BYTES
    runs = [first]
    while not protocol.is_between_lines:
        runs.append(protocol.next_step())
    sizes = [len(run.requests) for run in runs if isinstance(run, DoorRun)]
    assert sum(sizes) == count
    assert max(sizes) <= REQUESTS_TOGETHER


@pytest.mark.parametrize("words", [(b"GET", b"a"), (b"SET", b"a", b"1"), (b"INCR", b"a")])
def test_of_many_short_commands_few_are_handed_over_at_a_time(words: Any) -> None:
    """A thousand connections that are read at a time take no more than some of their bytes."""
    command = framed(*words)
    count = READ_BYTES // len(command)
    peaks = []
    for _ in range(ATTEMPTS):
        machine = ProtocolMachine(FakeHost(limits=LIMITS, is_at_floor=False))
        with traced(__file__, 1) as figures:  # the peak alone
            machine.protocol.receive_data(command * count, 0.0)
            machine.protocol.next_step()
        peaks.append(figures[1])
    assert min(peaks) < 10 * READ_BYTES
    while not machine.protocol.is_between_lines:
        machine._take(machine.protocol.next_step())
    assert sum(machine.sizes) == count - REQUESTS_TOGETHER
