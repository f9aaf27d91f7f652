"""The bounds of lines hold for the commands of Redis clients: rights, subscriptions, replies."""

from __future__ import annotations

import operator
from collections.abc import Iterator

import pytest

from raftline.access.login import Access
from raftline.redis.harness.redis_wire import RedisWire, framed, replies_in
from raftline.redis.resp.commands import COMMANDS
from raftline.redis.resp.connection import WITHOUT_LOGIN
from raftline.redis.tests.rim.redis_connections import APP, Subscriber, Wire
from raftline.state.store import Store
from raftline_testing.doubles.wired_connection import OTHER, PASSWORD, UserConnection
from raftline_testing.nodes.processes import eventually

NO_LOGIN = b"-NOAUTH Authentication required.\r\n"
WRONG = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"


@pytest.fixture
def scene() -> Iterator[Subscriber]:
    scene = Subscriber()
    assert scene.command("AUTH", "bob", PASSWORD) == "+OK"
    yield scene
    scene.close()


@pytest.fixture
def access() -> Access:
    return UserConnection().access


# --- before a login -------------------------------------------------------------------------------


@pytest.mark.pure
def test_commands_are_refused_before_a_login(access: Access) -> None:
    """All of them but those with which a login begins, and a connection ends."""
    scripts = {"EVAL", "EVALSHA"}  # there is no script "1", for nobody
    for name, row in COMMANDS.items():
        if name not in WITHOUT_LOGIN and name not in scripts:
            words = [name, *["1"] * (abs(row.arity) - 1)]
            assert RedisWire(Store(), access).feed(framed(*words)) == NO_LOGIN, name


@pytest.mark.pure
def test_an_unknown_name_looks_like_a_user_to_a_redis_client(access: Access) -> None:
    for name in ("bob", "nobody", "default"):
        for words in (("AUTH", name, "wrong"), ("HELLO", "3", "AUTH", name, "wrong")):
            wire = RedisWire(Store(), access)
            assert wire.feed(framed(*words)) == WRONG, words
            assert wire.feed(framed("PING")) == NO_LOGIN


@pytest.mark.pure
def test_password_that_others_could_read_is_refused(access: Access) -> None:
    for words in (("AUTH", "bob", PASSWORD), ("HELLO", "3", "AUTH", "bob", PASSWORD)):
        wire = RedisWire(Store(), access)
        wire.is_private = False
        assert wire.feed(framed(*words)).startswith(b"-ERR others could read a password here")
        assert wire.feed(framed("PING")) == NO_LOGIN


@pytest.mark.pure
def test_no_password_of_a_redis_client_is_printed(access: Access) -> None:
    wire = RedisWire(Store(), access)
    printed: list[str] = []
    wire.host.traffic_log.requested = lambda sender, text: printed.append(text)
    for words in (
        ("AUTH", "bob", PASSWORD), ("AUTH", PASSWORD), ("AUTH", "bob", f"{PASSWORD}!"),
        ("auth", "bob", PASSWORD, "x"), ("AUTHX", "bob", PASSWORD),
        ("HELLO", "3", "AUTH", PASSWORD), ("HELLO", "3", "AUTH", "bob", PASSWORD),
        ("HELLO", "3", "AUTH", "bob", PASSWORD, "x"),
    ):  # fmt: skip
        wire.feed(framed(*words))
    wire.feed(framed("GET", "app/k"))
    assert {*printed} == {"login", "get app/k"}
    assert not [text for text in wire.host.reports if "horse" in text]


# --- subscriptions --------------------------------------------------------------------------------


def test_a_redis_client_subscribes_within_its_rights(scene: Subscriber) -> None:
    for pattern in ("__keyspace@0__:b*", "__keyspace@0__:*", "__keyevent@0__:set", "*"):
        assert scene.subscribe(pattern).startswith("-NOPERM "), pattern
    assert scene.subscribe(APP) == ""
    scene.apply("set b 1", "set app/x 1")
    assert scene.message() == "__keyspace@0__:app/x set"


@pytest.mark.parametrize(
    ("password", "users"),
    [(PASSWORD, {"bob": ("web/",)}), (OTHER, {"bob": ("",)}), (PASSWORD, {"ann": ("",)})],
    ids=["rights", "password", "removed"],
)
def test_a_subscription_ends_its_connection_with_its_rights(
    scene: Subscriber, password: str, users: dict[str, tuple[str, ...]]
) -> None:
    assert scene.subscribe(APP) == ""
    scene.apply("set app/x 1")
    assert scene.message() == "__keyspace@0__:app/x set"
    scene.change(password, **users)
    scene.apply("set app/x 2")
    assert scene.message() == ""
    eventually(lambda: scene.watchers.count == 0, "no watch")


def test_rights_that_stay_end_no_subscription(scene: Subscriber) -> None:
    assert scene.subscribe(APP) == ""
    scene.change(bob=("app/",), ann=("",))
    scene.apply("set app/x 1")
    assert scene.message() == "__keyspace@0__:app/x set"


def test_subscriptions_leave_watches_to_other_users(scene: Subscriber) -> None:
    scene.watchers.watches_max = 8
    begun = [scene.subscribe(f"{APP}{number}") for number in range(7)]
    assert begun[:6] == [""] * 6
    assert "this server serves at most 6 watches of one user" in begun[6]
    assert scene.watchers.count == 6


def test_slow_subscriber_misses_nothing_before_its_end(
    scene: Subscriber,
) -> None:
    """Its unread messages are bounded by the history: then its connection ends."""
    scene.watchers.feed.history.bound(10, 1 << 20)
    assert scene.subscribe(APP) == ""
    scene.apply("set app/first 1")
    assert scene.message() == "__keyspace@0__:app/first set"
    for number in range(1000):
        scene.apply(f"set app/{'x' * 500}{number} 1")
    heard = list(iter(scene.message, ""))
    assert [one.rpartition("x")[2] for one in heard] == [f"{n} set" for n in range(len(heard))]
    assert len(heard) < 1000


# --- replies --------------------------------------------------------------------------------------


@pytest.mark.pure
@pytest.mark.parametrize(
    "commands",
    [
        framed("MGET", "a", "b", "c"),
        framed("WATCH", "a", "b") + framed("MULTI") + framed("MGET", "a", "b") + framed("EXEC"),
        framed("MULTI") + framed("GET", "a") + framed("MGET", "b", "a") + framed("EXEC"),
    ],
    ids=["MGET", "WATCH", "EXEC"],
)
def test_what_a_command_reads_takes_room_until_it_is_sent(commands: bytes) -> None:
    wire = Wire(Store(is_at_floor=False))
    wire.feed(framed("MSET", "a", "v" * 10_000, "b", "w" * 10_000))
    assert max(map(len, replies_in(wire.feed(commands)))) > 20_000
    assert wire.reserved >= 1
    assert wire.rooms[-1] > 20_000
    assert wire.host.reply_room.used == 0
    wire.feed(framed("SET", "a", "v" * 10_000 + "\U0001f600"))  # four bytes a character in memory
    wire.feed(commands)
    assert wire.rooms[-1] > 50_000


@pytest.mark.pure
@pytest.mark.parametrize(
    ("commands", "least"),
    [
        (framed("MULTI") + framed("GET", "t") + framed("TTL", "t") + framed("EXEC"), [0, 10_000]),
        (framed("KEYS", "a*"), [0, 20_000]),
    ],
    ids=["times", "pages"],
)
def test_what_a_command_has_read_takes_room_while_it_reads_more(
    commands: bytes, least: list[int]
) -> None:
    wire = Wire(Store(is_at_floor=False))
    wire.feed(framed("SET", "t", "v" * 10_000, "EX", "10"))
    for page in range(3):
        pairs = [word for number in range(400) for word in (f"a{page}{number}" + "k" * 90, "")]
        wire.feed(framed("MSET", *pairs))
    wire.rooms_amid.clear()
    wire.feed(commands)
    assert len(wire.rooms_amid) >= len(least)
    assert all(map(operator.ge, wire.rooms_amid, least)), wire.rooms_amid
    assert wire.host.reply_room.used == 0
