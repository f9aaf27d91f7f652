"""A connection of a Redis client in memory, at a node whose lines are carried out at once."""

from __future__ import annotations

from raftline.access.login import Access
from raftline.redis.door import RedisDoor
from raftline.state.store import Store
from raftline.wire.operands.operands import Limits
from raftline_testing.doubles.store_wire import StoreWire

NOW_S = 1e6  # the time of day
LIMITS = Limits()


class RedisWire(StoreWire):
    """The machines of a connection, and the bytes that leave."""

    def __init__(self, store: Store, access: Access | None = None, user: str = "") -> None:
        """`user` is logged in already, by a certificate."""
        super().__init__(store, access, user, [redis_door()])


def redis_door(limits: Limits = LIMITS) -> RedisDoor:
    """Return the door of a node whose time stands still."""
    return RedisDoor(limits, lambda: NOW_S, lambda size: "0" * 2 * size)


def framed(*words: str | bytes) -> bytes:
    """Return a command as a Redis client sends it."""
    encoded = [w if isinstance(w, bytes) else w.encode("utf-8", "surrogateescape") for w in words]
    parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
    return b"*%d\r\n%s" % (len(words), b"".join(parts))


def replies_in(data: bytes) -> list[bytes]:
    """Return each reply, as it is written.

    Raises:
        ValueError: these are not whole replies.
    """
    replies, place = [], 0
    while place < len(data):
        end = _end_of(data, place)
        replies.append(data[place:end])
        place = end
    return replies


def _end_of(data: bytes, place: int) -> int:
    newline = data.index(b"\r\n", place)
    kind, text, end = data[place : place + 1], data[place + 1 : newline], newline + 2
    if kind in (b"+", b"-", b",", b"_"):
        return end
    size = int(text)
    if kind == b"$":
        if size >= 0 and data[end + size : end + size + 2] != b"\r\n":
            raise ValueError("a text does not end where it says")
        return end if size < 0 else end + size + 2
    parts = {b":": 0, b"*": size, b">": size, b"~": size, b"%": 2 * size}[kind]
    for _ in range(parts):
        end = _end_of(data, end)
    return end
