"""A fuzzer's commands of a Redis client, and the rules that must hold for any bytes."""

from __future__ import annotations

from hypothesis import strategies as st

from raftline.access.login import Access
from raftline.redis.resp.commands import COMMANDS
from raftline.state.store import Store
from raftline_testing.fuzzing.targets import BYTES, Target, known_users, mutated

from .library_scripts import TEXTS
from .redis_wire import RedisWire, framed, replies_in

FOREIGN = "foreign"
_TEXTS = tuple([texts[0] for texts in TEXTS.values()])
REDIS_WORDS = (
    *COMMANDS, *_TEXTS, "app/k", "web/x", "app/", "*", "w*", "web/?", "[a-", "NX", "XX", "GET",
    "IFEQ", "IFNE", "EX", "PX", "EXAT", "PXAT", "KEEPTTL", "PERSIST", "GT", "LT", "MATCH", "COUNT",
    "TYPE", "REPLACE", "DB", "0", "1", "-1", "3", "1.5", "nan", str(1 << 63), FOREIGN, "own", "",
    "AUTH", "SETNAME", "SLOTS", "SHARDS", "NODES", "MYID", "INFO", "KEYSLOT", "MASTERS", "raftline",
    "GETNAME", "ID", "LOAD", "EXISTS", "GETKEYS", "bob", "\xff", "\r\n", ";", "then", "\\x41",
    "STREAMS", "LEFT", "MIN",
)  # fmt: skip
_WORD = st.sampled_from([word.encode("latin-1") for word in REDIS_WORDS])


_COMMAND = st.lists(_WORD, min_size=1, max_size=6).map(lambda words: framed(*words))
REDIS = st.lists(_COMMAND, max_size=8).map(b"".join)


def check_redis(data: bytes, access: Access) -> None:
    """Check that the commands of a reader of `app/` change no key and show no other one, that each
    reply is whole, and that the same bytes in other pieces have the same replies."""
    data = b"*" + data.removeprefix(b"*")
    half = len(data) // 2 + 1
    assert _sent([data], access) == _sent([data[:1], data[1:half], data[half:]], access)


def _sent(pieces: list[bytes], access: Access) -> bytes:
    store = Store(is_at_floor=False)
    store["web/x"], store["app/k"] = FOREIGN, "own"
    wire = RedisWire(store, access, "bob")
    for piece in [*filter(None, pieces), b""]:
        if not wire.has_ended:
            wire.feed(piece)
    assert dict(store) == {"web/x": FOREIGN, "app/k": "own"}
    replies = replies_in(wire.sent)
    shown = [one for one in replies if not one.startswith(b"-")]
    if FOREIGN.encode() not in b"".join(pieces):
        assert FOREIGN.encode() not in b"".join(shown)
    return wire.sent


TARGETS = {
    "redis": Target(
        mutated(REDIS) | REDIS,
        lambda data: check_redis(data, known_users()),
        BYTES,
        REDIS_WORDS,
    )
}
