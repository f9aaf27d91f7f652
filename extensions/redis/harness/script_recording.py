"""A recording of what a program asks of a Redis, and its replay at a node next to a Redis.

A recording is a list of commands in the order in which they were answered; those of a transaction
follow each other. A command that waited in vain is left out, and so is one that concerns a
connection or the clock alone, or a cursor.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from .raw_redis import Raw, Server
from .redis_wire import framed
from .script_files import ScriptFile

Words: TypeAlias = tuple[bytes, ...]
CALLS: Final = frozenset([b"EVAL", b"EVALSHA", b"EVAL_RO", b"EVALSHA_RO", b"FCALL"])
LISTENING: Final = frozenset([b"SUBSCRIBE", b"PSUBSCRIBE", b"MONITOR"])
NOT_REPLAYED: Final = frozenset(
    b"HELLO AUTH CLIENT SELECT INFO PING CONFIG COMMAND ROLE QUIT WATCH UNWATCH CLUSTER WAIT "
    b"FLUSHALL FLUSHDB RESET ECHO SCAN TIME".split()
)
WAITING: Final = frozenset(
    b"BLPOP BRPOP BRPOPLPUSH BLMOVE BZPOPMIN BZPOPMAX BLMPOP BZMPOP XREAD XREADGROUP".split()
)
NOTHING: Final = (b"$-1\r\n", b"*-1\r\n", b"_\r\n")
WAIT_S: Final = b"0.01"
UNORDERED: Final = frozenset(b"KEYS SMEMBERS HKEYS HVALS SUNION SINTER SDIFF".split())
NUMBER: Final = re.compile(rb"\d+(?:\.\d+)?")
STREAM_ID: Final = re.compile(rb"(\d{13})-\d+")
# Of the times that keys have left: of 60 s, a node may keep 66.
NEAR_MS: Final = 7000
NEAR_SHARE: Final = 1e-8  # some 20 s of the time of day
DIFFERENCES: Final = 30  # that are enough to see
READS: Final = {  # what shows a whole key, by its type
    b"string": [b"GET"], b"hash": [b"HGETALL"], b"set": [b"SMEMBERS"],
    b"list": [b"LRANGE", b"0", b"-1"], b"zset": [b"ZRANGE", b"0", b"-1", b"WITHSCORES"],
    b"stream": [b"XREVRANGE", b"+", b"-", b"COUNT", b"5"],  # `MAXLEN ~` leaves more of them there
}  # fmt: skip
# Of commands that go through all keys, and of functions (docs/use/redis.md).
REFUSALS: Final = (b"-ERR This Redis command is not allowed", b"-ERR unknown command 'FCALL'")
# What a node says of an empty key, and of a time that is far away (docs/use/redis.md).
NOT_HERE: Final = re.compile(rb"-ERR (?:the empty key is not supported|a time of more than \d+ s)")
OTHERS_AT_ONCE: Final = 3  # calls of scripts that no program calls
OUR_KEYS: Final = b"redis-script:"


class Recorder:
    """A proxy in front of a Redis that records the commands of its clients."""

    def __init__(self, server: Server) -> None:
        self.commands: list[Words] = []
        self.port = 0
        self._server = server
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Recorder:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        served = await asyncio.start_server(self._serve, "localhost", 0)
        self.port = served.sockets[0].getsockname()[1]
        self._started.set()
        await self._ended.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            back, forth = await asyncio.open_connection("localhost", self._server.port)
            connection = _Recorded(self.commands)
            await asyncio.gather(connection.ask(reader, forth), connection.answer(back, writer))
        writer.close()


class _Recorded:
    """One connection through a recorder."""

    def __init__(self, commands: list[Words]) -> None:
        self._commands = commands
        self._asked: deque[Words] = deque()
        self._held: list[Words] | None = None  # a transaction
        self._listens = False

    async def ask(self, reader: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        while data := await _one(reader):
            words = tuple(_texts_in(data))
            self._listens |= words[0].upper() in LISTENING
            self._asked.append(words)
            forth.write(data)
        forth.close()

    async def answer(self, back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await _one(back):
            if not self._listens and not data.startswith(b">"):
                self._answered(self._asked.popleft(), data)
            writer.write(data)
        writer.close()

    def _answered(self, words: Words, reply: bytes) -> None:
        name = words[0].upper()
        if name == b"MULTI":
            self._held = [words]
        elif self._held is not None:
            self._held.append(words)
            if name in (b"EXEC", b"DISCARD"):
                self._commands += self._held
                self._held = None
        elif name not in NOT_REPLAYED and not (name in WAITING and reply in NOTHING):
            self._commands.append(_without_wait(words))


def _without_wait(words: Words) -> Words:
    """Return a command that had something to take, which is there when it is replayed."""
    name = words[0].upper()
    if name in (b"XREAD", b"XREADGROUP"):
        upper = [word.upper() for word in words]
        place = upper.index(b"BLOCK") + 1 if b"BLOCK" in upper else len(words)
        return (*words[:place], *[b"10"][: len(words) - place], *words[place + 1 :])
    if name in (b"BLMPOP", b"BZMPOP"):
        return (name, WAIT_S, *words[2:])
    return (*words[:-1], WAIT_S) if name in WAITING else words


async def _one(reader: asyncio.StreamReader) -> bytes:
    """Return the bytes of the next command or reply, none at the end."""
    head = await reader.readline()
    if head[:1] in (b"$", b"="):
        size = int(head[1:])
        return head + (await reader.readexactly(size + 2) if size >= 0 else b"")
    if head[:1] in (b"*", b">", b"~", b"%"):
        count = int(head[1:]) * (1 + head.startswith(b"%"))
        return head + b"".join([await _one(reader) for _ in range(count)])
    return head


def _texts_in(command: bytes) -> Iterator[bytes]:
    place = command.index(b"\n") + 1
    while place < len(command):
        begin = command.index(b"\n", place) + 1
        size = int(command[place + 1 : begin])
        yield command[begin : begin + size]
        place = begin + size + 2


# --- replies, and whether they are the same -------------------------------------------------------

Reply: TypeAlias = "bytes | list[Any]"


def parsed(data: bytes) -> Reply:
    """Return a reply of RESP2: a text, an error or a number as it is written, or a list."""
    found, _ = _parsed(data, 0)
    return found


def _parsed(data: bytes, place: int) -> tuple[Reply, int]:
    begin = data.index(b"\n", place) + 1
    head = data[place : begin - 2]
    if head[:1] not in (b"$", b"*") or head[1:2] == b"-":
        return head, begin
    size = int(head[1:])
    if head.startswith(b"$"):
        return b"$" + data[begin : begin + size], begin + size + 2
    items: list[Any] = []
    for _ in range(size):
        item, begin = _parsed(data, begin)
        items.append(item)
    return items, begin


def alike(mine: Reply, other: Reply) -> bool:
    """Return whether two replies are the same, but for the order of keys in JSON and of the fields
    of a hash, and for the time that went by between them."""
    if isinstance(mine, list) and isinstance(other, list):
        if len(mine) != len(other):
            return False
        return all(map(alike, mine, other)) or (
            (_fields(mine), _fields(other)) != (mine, other)
            and all(map(alike, _fields(mine), _fields(other)))
        )
    if isinstance(mine, list) or isinstance(other, list):
        return False
    if mine[1:2] in (b"{", b"[") and other[1:2] == mine[1:2]:
        with contextlib.suppress(ValueError):
            mine, other = (
                json.dumps(json.loads(each[1:]), sort_keys=True).encode() for each in (mine, other)
            )
    mine, other = (STREAM_ID.sub(rb"\1", each) for each in (mine, other))
    return NUMBER.split(mine) == NUMBER.split(other) and all(
        one == two or _is_near(one, two)
        for one, two in zip(NUMBER.findall(mine), NUMBER.findall(other), strict=True)
    )


def _fields(reply: list[Any]) -> list[Any]:
    """Return what may be fields with their values in the order of the fields."""
    if len(reply) % 2 or not all(isinstance(each, bytes) for each in reply):
        return reply
    pairs = sorted(zip(reply[::2], reply[1::2], strict=True))
    return [each for pair in pairs for each in pair]


def _in_order(reply: Reply) -> Reply:
    """Return a reply without the order of its parts."""
    return sorted(map(_in_order, reply), key=repr) if isinstance(reply, list) else reply


def _is_near(mine: bytes, other: bytes) -> bool:
    """Return whether two numbers may be the same but for the time that went by: times of the day,
    parts of a second, or times that keys have left, which may live a tenth longer in a node."""
    one, two = float(mine), float(other)
    if one > 1e9 and two > 1e9:
        return abs(one - two) < NEAR_SHARE * one
    if b"." in mine and b"." in other:
        return abs(one - two) < 1
    return one > 900 < two and is_time_near(one, two)


def is_time_near(mine: float, other: float) -> bool:
    """Return whether a key with this time left in a Redis may have the other one in a node."""
    return other - NEAR_MS < mine < other * 1.12 + NEAR_MS


# --- a replay -------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """A command with the reply of the node and that of Redis."""

    words: Words
    mine: object
    other: object

    def __str__(self) -> str:
        words = b" ".join([word if len(word) < 200 else word[:60] + b"..." for word in self.words])
        mine, other = (repr(each)[:300] for each in (self.mine, self.other))
        return f"{words.decode('utf-8', 'replace')[:600]}\n    node:  {mine}\n    Redis: {other}"


def served(node: Raw, commands: Sequence[Words]) -> tuple[list[Words], int]:
    """Return a recording without the scripts, functions and transactions that a node refuses whole,
    and how many scripts and functions these are."""
    refused, left, begin = set(), list[Words](), 0
    for words in commands:
        reply, name = node.whole(*words), words[0].upper()
        if name in CALLS and reply.startswith(REFUSALS):
            refused.add(words[1])
        begin = len(left) if name == b"MULTI" else begin
        left.append(words)
        if name == b"EXEC" and reply.startswith(b"-EXECABORT"):
            del left[begin:]
    left = [each for each in left if not (each[0].upper() in CALLS and each[1] in refused)]
    return [words for words in left if words[0].upper() != b"FUNCTION"], len(refused)


class Pair:
    """A node and a Redis that are asked the same."""

    def __init__(self, node: Raw, redis: Raw) -> None:
        self.node = node
        self._both = (node, redis)
        self.calls = 0  # of scripts
        self.empty()

    def empty(self) -> None:
        """Begin again without keys."""
        for each in self._both:
            each.whole(b"FLUSHALL")
            each.whole(b"SCRIPT", b"FLUSH")

    def ask(self, words: Words) -> Difference | None:
        """Send a command to both; return how they differ."""
        data = framed(*words)
        for each in self._both:
            each.send(data)
        mine, other = (parsed(each.reply()) for each in self._both)
        self.calls += words[0].upper() in CALLS
        if words[0].upper() in UNORDERED:
            mine, other = _in_order(mine), _in_order(other)
        if words[0].upper() == b"XTRIM" and b"~" in words:
            return None
        return None if alike(mine, other) else Difference(words, mine, other)

    def keys_differ(self) -> Difference | None:
        """Compare all keys with their values and times."""
        mine, other = (_keys(each) for each in self._both)
        ending = {key for key, (_, left_ms) in (*mine.items(), *other.items())
                  if 0 <= left_ms < NEAR_MS}  # fmt: skip
        for key in sorted({*mine, *other} - ending):
            if key not in mine or key not in other:
                return Difference((key,), key in mine, key in other)
            (one, one_ms), (two, two_ms) = mine[key], other[key]
            if not alike(one, two) or not is_time_near(one_ms, two_ms):
                return Difference((key,), (one, one_ms), (two, two_ms))
        return None


def _keys(raw: Raw) -> dict[bytes, tuple[Reply, int]]:
    found = {}
    for text in parsed(raw.whole(b"KEYS", b"*")):
        key = text[1:] if isinstance(text, bytes) else b""
        kind = raw.whole(b"TYPE", key).strip()[1:]
        if key.startswith(OUR_KEYS) or kind not in READS:
            continue
        name, *more = READS[kind]
        value = parsed(raw.whole(name, key, *more))
        if kind == b"set" and isinstance(value, list):
            value.sort()
        elif kind == b"hash" and isinstance(value, list):
            value = sorted(zip(value[::2], value[1::2], strict=True))
            value = [list(each) for each in value]
        found[key] = (value, int(raw.whole(b"PTTL", key).strip()[1:]))
    return found


def replayed(
    pair: Pair,
    commands: Sequence[Words],
    chance: random.Random | None = None,
    every: int = 20,
    others: Sequence[ScriptFile] = (),
) -> list[Difference]:
    """Replay a recording; return the differences. Keys are compared after each `every` scripts.

    With `chance`, a copy of each call of a script with one or two words exchanged goes before it,
    and calls of some `others`. After a difference both begin again, so that one cause is one
    difference.
    """
    found: list[Difference] = []
    known: dict[bytes, list[Words]] = {}
    keys, operands = _operands(commands)
    in_multi = False
    for number, words in enumerate(commands):
        name = words[0].upper()
        in_multi = (in_multi or name == b"MULTI") and name not in (b"EXEC", b"DISCARD")
        is_call = name in CALLS and len(words) > 3
        if is_call:
            known.setdefault(words[1], []).append(words)
        asked = [words]
        if chance is not None and is_call and not in_multi:
            asked.insert(0, _exchanged(words, known[words[1]], chance))
            for one in chance.sample(others, min(len(others), OTHERS_AT_ONCE)):
                asked.insert(0, one.call(chance, keys, operands))
        compares = is_call and not in_multi and (chance is not None or not number % every)
        differing = _differing(pair, asked, compares=compares)
        if differing is not None:
            found += [differing] * (not _is_listed(differing))
            if len(found) > DIFFERENCES:
                break
            pair.empty()
            for each in commands[: number + 1]:
                pair.ask(each)
    if difference := pair.keys_differ():
        found.append(difference)
    return found


def _differing(pair: Pair, asked: Sequence[Words], *, compares: bool) -> Difference | None:
    """Ask these, and compare the replies and perhaps the keys; return the first difference."""
    for words in asked:
        difference = pair.ask(words)
        if difference is None and compares and (keys := pair.keys_differ()):
            difference = Difference(words, keys, "the keys differ")
        if difference is not None:
            return difference
    return None


def _is_listed(difference: Difference) -> bool:
    return isinstance(difference.mine, bytes) and NOT_HERE.match(difference.mine) is not None


def _operands(commands: Sequence[Words]) -> tuple[list[bytes], list[bytes]]:
    """Return the keys and the other operands of all calls of scripts."""
    keys, others = dict[bytes, None](), dict[bytes, None]()
    for words in commands:
        if words[0].upper() in CALLS and len(words) > 3:
            first = 3 + int(words[2])
            keys |= dict.fromkeys(words[3:first])
            others |= dict.fromkeys(words[first:])
    return list(keys), list(others)


def _exchanged(words: Words, others: Sequence[Words], chance: random.Random) -> Words:
    """Return a call with one or two of its words exchanged."""
    changed = list(words)
    pool = [*chance.choice(others)[3:], *words[3:], b"0", b"-1", b"x", b"1.5", b"no:such:key"]
    for _ in range(chance.randrange(1, 3)):
        if len(changed) > 3:
            changed[chance.randrange(3, len(changed))] = chance.choice(pool)
    return tuple(changed)
