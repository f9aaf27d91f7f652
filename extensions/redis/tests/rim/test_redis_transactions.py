"""Transactions of Redis clients that arrive as a whole: each is one line, which waits for nothing,
and its effect and its replies are those of the commands one by one."""

from __future__ import annotations

import random
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from raftline.access.login import Access
from raftline.net.protocol.host import Batch
from raftline.net.protocol.server_protocol import HALF_LINE, DoorRun, End
from raftline.redis.harness.redis_wire import NOW_S, RedisWire, framed, redis_door, replies_in
from raftline.redis.resp.forms import ReplyFormatter
from raftline.redis.resp.replies import slot_of
from raftline.redis.resp.session import RedisSession
from raftline.state.store import Store
from raftline.state.work import is_quick
from raftline.wire.commands.rights import UserRole
from raftline.wire.limits import LINE_S, LONG_BYTES, LONG_TOGETHER, QUICK_TOGETHER
from raftline.wire.refusal import not_leader, outcome_unknown
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.protocol_machine import ProtocolMachine
from raftline_testing.doubles.store_wire import StoreWire
from raftline_testing.nodes.known_users import ROOT_ALONE, access_with

pytestmark = pytest.mark.pure
WRITES = (
    "INCR n", "INCR l", "EXPIRE n 60", "SET s v", "SET s v EX 9", "LPUSH l a", "DEL n s",
    "LPOP l 2", "PUBLISH c m", "MSET a 1 b 2", "GETSET s w", "BLPOP l 0", "INCRBYFLOAT f 0.5",
)  # fmt: skip
OTHERS = (
    "MULTI", "multi", "EXEC", "exec", "EXEC x", "DISCARD", "WATCH n", "UNWATCH", "GET n", "TTL n",
    "LRANGE l 0 -1", "EXPIRE n 9 GT", "RENAME s t", "SET s v EX x", "INCR", "NOPE", "PING",
    "HELLO 3", "HELLO 2", "EVALSHA 0 0", "KEYS *", "SUBSCRIBE c", "UNSUBSCRIBE", "RESET",
)  # fmt: skip


def transaction(*commands: str) -> list[str]:
    return ["MULTI", *commands, "EXEC"]


def bytes_of(commands: list[str]) -> list[bytes]:
    return [framed(*command.split(" ")) for command in commands]


def outcome(pieces: list[bytes], access: Access | None = None) -> tuple[bytes, dict[str, str], int]:
    """Return the replies, the pairs, and the number of entries."""
    store = Store(is_at_floor=False)
    wire = RedisWire(store, access, "ann" if access else "")
    for piece in pieces:
        if not wire.has_ended:
            wire.feed(piece)
    return wire.sent, dict(store), store.number


def test_transaction_has_one_outcome_however_it_arrives() -> None:
    """One command at a time, all of them at once, and cut anywhere."""
    for seed in range(300):
        chance = random.Random(seed)
        commands = list[str]()
        for _ in range(chance.randrange(1, 6)):
            commands += chance.choices(OTHERS, k=chance.randrange(3))
            own = chance.choices(WRITES, k=chance.randrange(1, 5))
            if chance.random() < 0.3:
                own.insert(chance.randrange(len(own)), chance.choice(OTHERS))
            commands += transaction(*own)
        one_by_one = bytes_of(commands)
        data = b"".join(one_by_one)
        places = sorted({0, len(data), *(chance.randint(0, len(data)) for _ in range(5))})
        found = outcome(one_by_one)
        assert outcome([data]) == found, seed
        assert outcome([data[a:b] for a, b in pairwise(places)]) == found, seed


def test_whole_transaction_is_a_line_that_waits_for_nothing() -> None:
    """The next one is queued before the first is answered, as many together as other entries."""
    data = bytes_of([*transaction("INCR n", "EXPIRE n 60"), *transaction("PUBLISH c m")])
    step = machine_with(b"".join(data) * QUICK_TOGETHER).protocol.next_step()
    assert isinstance(step, Batch)
    assert (step.may_be_long, step.is_quick) == (QUICK_TOGETHER, True)
    pairs, now_ms = QUICK_TOGETHER // 2, int(1000 * NOW_S)
    lines = [f"redis {now_ms} INCR n ; EXPIRE n 60", f"redis {now_ms} PUBLISH c m"]
    assert step.commands == lines * pairs
    assert step.ids == ["exec:: n", "exec:0 c"] * pairs


def test_few_transactions_on_a_long_value_go_together() -> None:
    store = Store({"n": "v" * LONG_BYTES}, is_at_floor=False)
    data = b"".join(bytes_of(transaction("INCR n", "EXPIRE n 60")))
    machine = machine_with(data * 5, is_quick=partial(is_quick, store))
    step = machine.protocol.next_step()
    assert isinstance(step, Batch)
    assert (len(step.commands), step.is_quick) == (LONG_TOGETHER, False)


LONG_SET = rf"\sset{' a' * 500_000}"
TOO_MUCH = {
    "whole": transaction("SET a 1", *["GET long"] * 9),
    "queued": transaction("SET a 1", *["TTL long", "GET long"] * 9),
    "watching": ["WATCH long", *transaction("SET a 1", *["GET long"] * 9)],
    "alone": ["SINTERSTORE a " + "set " * 3000 + "set"],
    "grown": transaction("SET a 1", "SETRANGE new 1048000 x", *["GET new"] * 9),
    "script": ["EVAL redis.call('set','a','1')return\tstring.rep('x',1e8) 0"],
    "script on keys that it computes": [
        "EVAL redis.call('set','a','1')local\tt={}for\ti=1,9\tdo\tt[i]=redis.call('get','lo'..'ng')"
        "end\treturn\tt 0"
    ],
    "script with many keys": [
        f"EVAL local\tk='set'redis.call('sunionstore','a','set'{',k' * 600}) 0"
    ],
    "scripts": transaction("SET a 1", *["EVAL return\tredis.call('get','lo'..'ng') 0"] * 9),
}


@pytest.mark.parametrize("is_at_once", [True, False])
@pytest.mark.parametrize("way", TOO_MUCH)
def test_what_is_too_much_for_an_entry_never_becomes_one(way: str, *, is_at_once: bool) -> None:
    """The next command of the connection is carried out."""
    store = Store(is_at_floor=False)
    store.number = 1
    store["long"], store["set"] = "v" * (1 << 20), LONG_SET
    wire, number = RedisWire(store), store.number
    commands = bytes_of([*TOO_MUCH[way], "INCR n"])
    for data in [b"".join(commands)] if is_at_once else commands:
        wire.feed(data)
    *_, refusal, after = replies_in(wire.sent)
    assert refusal.startswith((b"-ERR the commands make more", b"-ERR the reply has more")), refusal
    assert after == b":1\r\n"
    assert store.number == number + 1, "INCR is the only entry"
    assert "a" not in store


GROWTH = {
    "by a number": [framed("SETRANGE", "new", "1048000", "x")],
    "by a value": [framed("SET", "new", "v" * (1 << 20))],
    "by its parts": [framed("APPEND", "new", "v" * (1 << 16))] * 15,
    "by another key": [framed("COPY", "long", "new")],
    "by a script": [framed("EVAL", "redis.call('setrange', 'n' .. 'ew', 1048000, 'x')", "0")],
    "in a transaction": bytes_of(transaction("SETRANGE new 1048000 x")),
}


@pytest.mark.parametrize("way", GROWTH)
def test_what_earlier_requests_make_too_much_is_no_entry(way: str) -> None:
    """They are on the way when it arrives."""
    store = Store({"long": "v" * (1 << 20)}, is_at_floor=False)
    wire = RedisWire(store)
    for again in (False, True):
        number = store.number
        reads = bytes_of(transaction("SET a 1", *["GET new"] * 9))
        wire.feed(b"".join([framed("DEL", "new"), *GROWTH[way], *reads]))
        assert replies_in(wire.sent)[-1].startswith(b"-ERR the reply has more"), again
        assert "a" not in store
        count = 1 if way == "in a transaction" else len(GROWTH[way])
        assert store.number == number + 1 + count


@pytest.mark.parametrize(
    "commands", ["SET a 1" + " ; GET long" * 9, "EVAL return\\tstring.rep('x',1e8) 0 ; SET a 1"]
)
@pytest.mark.parametrize("sender", ["", "ann@", "ann#7@"])
def test_typed_line_that_is_too_much_never_becomes_an_entry(commands: str, sender: str) -> None:
    store = Store({"long": "v" * (1 << 20)}, is_at_floor=False)
    reply = StoreWire(store).feed(f"{sender}redis 1764351306000 {commands}\n".encode())
    assert b"@Sorry, " in reply.replace(b"#7@", b"@")
    assert b" more than " in reply
    assert store.number == 0


def test_what_earlier_requests_make_small_enough_is_one_entry() -> None:
    """The trial waits until they are applied."""
    store = Store({"long": "v" * (1 << 20)}, is_at_floor=False)
    wire = RedisWire(store)
    wire.feed(b"".join(bytes_of(["DEL long", *transaction("SET a 1", *["GET long"] * 9)])))
    *_, executed = replies_in(wire.sent)
    assert executed == b"*10\r\n+OK\r\n" + b"$-1\r\n" * 9
    assert store.number == 2


class Unconfirmed(RedisWire):
    """A connection to a node that no quorum answers."""

    def _submit(self, *batches: Batch, more_come: bool = False) -> None:
        super()._submit(*[batch for batch in batches if not batch.is_read])


def test_nothing_is_tried_out_on_a_state_that_is_not_confirmed() -> None:
    """It might lack what was acknowledged elsewhere."""
    store = Store({"long": "v" * (1 << 20)}, is_at_floor=False)
    wire = Unconfirmed(store)
    wire.feed(b"".join(bytes_of(TOO_MUCH["whole"])))
    assert replies_in(wire.sent)[-1] == b"+QUEUED\r\n"
    wire.give_up()
    wire.feed(framed("PING"))
    executed, _ = replies_in(wire.sent)[-2:]
    assert executed.startswith(b"-CLUSTERDOWN"), executed
    assert store.number == 0


def test_transaction_with_a_changed_key_is_not_tried_out() -> None:
    store = Store({"long": "v" * (1 << 20)}, is_at_floor=False)
    wire, other = RedisWire(store), RedisWire(store)
    wire.feed(framed("WATCH", "n"))
    other.feed(framed("INCR", "n"))
    wire.feed(b"".join(bytes_of(transaction("SET a 1", *["GET long"] * 9))))
    assert replies_in(wire.sent)[-1] == b"*-1\r\n"


def machine_with(data: bytes, **facts: Any) -> ProtocolMachine:
    """Return a connection with these bytes, at a node with a door whose clock stands."""
    host: Any = FakeHost(is_at_floor=False, **facts)
    host.doors = [redis_door()]
    machine = ProtocolMachine(host)
    machine.protocol.receive_data(data, 0.0)
    return machine


@pytest.mark.parametrize("place", [20, 50, 79])
def test_half_transaction_becomes_a_line_with_the_rest(place: int) -> None:
    """It ended within a command, so its client is sending the rest, even if bit by bit."""
    data = b"".join(bytes_of(transaction("INCR n", "EXPIRE n 60")))
    assert place < len(data)
    machine = machine_with(data[:place])
    assert machine.protocol.next_step() is None
    for each in (data[place : place + 1], data[place + 1 :]):
        machine.protocol.receive_data(each, 1.0)
        step = machine.protocol.next_step()
    assert isinstance(step, Batch)
    assert step.ids == ["exec:: n"]


def test_half_transaction_must_end_in_time() -> None:
    """The time counts from its `MULTI`, however often it continues."""
    machine = machine_with(bytes_of(["MULTI"])[0] + b"*2")
    protocol = machine.protocol
    for byte, now_s in ((b"\r", LINE_S - 1), (b"\n", LINE_S + 1)):
        assert protocol.next_step() is None
        protocol.receive_data(byte, now_s)
    step = protocol.next_step()
    assert isinstance(step, End)
    assert step.complaint == HALF_LINE


@pytest.mark.parametrize(
    "after",
    [b"", framed("INCR", "n"), framed("DEL", *"k" * 120), framed("SET", "k", "v" * 1100)[:-1]],
)
def test_transaction_whose_client_may_wait_is_answered(after: bytes) -> None:
    """Its last command is whole, or it is too long to be looked at again."""
    step = machine_with(bytes_of(["MULTI"])[0] + after).protocol.next_step()
    assert isinstance(step, DoorRun)


@pytest.mark.parametrize(
    "commands", [["GET n"], ["INCR n", "EXPIRE n 9 GT"], ["SET s v EX x"], ["PING"], []]
)
def test_transaction_that_is_not_an_entry_by_itself_is_queued(commands: list[str]) -> None:
    """It reads, depends on a time that only the leader knows, has a mistake, or a call."""
    machine = ProtocolMachine(FakeHost(is_at_floor=False))
    machine.protocol.receive_data(b"".join(bytes_of(transaction(*commands))), 0.0)
    assert not isinstance(machine.protocol.next_step(), Batch)


def test_long_transaction_is_queued() -> None:
    """Looking ahead is bounded, and so is the cost of doing it twice."""
    machine = ProtocolMachine(FakeHost(is_at_floor=False))
    data = bytes_of(transaction(*["SET k v"] * 700))
    machine.protocol.receive_data(b"".join(data), 0.0)
    assert not isinstance(machine.protocol.next_step(), Batch)


@pytest.mark.parametrize("role", [UserRole.READER, UserRole.WRITER])
def test_whole_transaction_needs_the_rights_of_its_commands(role: UserRole) -> None:
    """It is refused as a whole, after the replies to what was queued."""
    access = access_with({"ann": (role, ("n",))}, "right")
    commands = bytes_of(transaction("INCR n", "INCR m"))
    found = outcome([b"".join(commands)], access)
    assert found == outcome(commands, access)
    assert found[0].startswith(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n-NOPERM ann may not ")
    assert found[1:] == ({}, 0)


def test_stranger_begins_no_transaction() -> None:
    """Each of the commands has its own refusal, as if it came alone."""
    wire = RedisWire(Store(is_at_floor=False), access_with(ROOT_ALONE, "right"))
    sent = wire.feed(b"".join(bytes_of(transaction("INCR n"))))
    assert [reply[:7] for reply in replies_in(sent)] == [b"-NOAUTH"] * 3


def test_refusal_of_a_whole_transaction_is_the_reply_to_its_exec() -> None:
    """Its outcome may be unknown; a client that was served goes to another leader."""
    ended = list[bool]()
    format_of = ReplyFormatter(RedisSession(was_served=True), lambda: ended.append(True)).format
    queued = "+OK\r\n+QUEUED\r\n"
    unknown = format_of("s1", "exec: n", outcome_unknown("no quorum answered in time"))
    assert unknown.startswith(f"{queued}-UNKNOWN ")
    assert not ended
    moved = format_of("s1", "exec: n", not_leader("s2", "localhost", 10001))
    assert moved == f"{queued}-MOVED {slot_of('n')} localhost:10001\r\n"
    assert ended
