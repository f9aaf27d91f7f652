"""Clients of a hash, of sets and of sorted sets, each element of which is a register of the judge.

Two of the elements are counters: each increment must count once. The same clients append to a
stream, which keeps each entry at its place, and combine what they read in a transaction: each
stores the result in a key of its own, which nobody else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from itertools import count, pairwise
from typing import Any, Final, Literal, NamedTuple

from raftline_testing.histories.history import ClientOperation, Increment, counter_findings
from raftline_testing.histories.linearizable import HistoryVerdict, check
from raftline_testing.workloads.client_history import SEARCH_STEPS_MAX
from raftline_testing.workloads.workload_machine import Steps

from .command_machine import CommandMachine, Said
from .stream_record import StreamRecord, entries_in

NAMES: Final = ("a", "b", "c")  # of fields and members
THERE: Final = "there"  # the value of a member of a set
COUNT: Final = "count"  # the field, and the member, that are counters
# Scripts that read, decide and write: each is one operation, as the command of the same effect is.
COUNTING: Final = """local n = tonumber(redis.call(ARGV[1], KEYS[1], ARGV[3]) or '0') + 1
local words = ARGV[2] == 'HSET' and {ARGV[3], n} or {n, ARGV[3]}
redis.call(ARGV[2], KEYS[1], unpack(words))
return n"""
MOVING: Final = """if redis.call('SREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('SADD', KEYS[2], ARGV[1])
return 1"""
POPPING: Final = """for _, key in ipairs(KEYS) do
  local items = {}
  for i, item in ipairs(redis.call('ZPOPMIN', key, 2)) do
    if i % 2 == 1 then items[#items + 1] = {item} else table.insert(items[#items], item) end
  end
  if #items > 0 then return {key, items} end
end
return false"""


class Observed(NamedTuple):
    """One element as an answer shows it, or the effect of a command of unknown outcome."""

    verb: Literal["get", "set", "delete", "cas"]
    element: str  # the key and the name
    value: str | None = None
    found: bool | None = None
    old: str | None = None
    matched: bool | None = None


class Asking(NamedTuple):
    """A command, and how to read its reply: 1 or 0 as whether it had an effect, None if that is
    unknown, or what it reads."""

    words: Sequence[str]
    observed: Callable[[Any], Sequence[Observed]]
    is_read: bool = False


class ElementBeliefs:
    """The elements as clients have seen them, and their judge."""

    def __init__(self, counts: MutableMapping[str, int], prefix: str = "") -> None:
        """Begin without elements; the keys are below `prefix`."""
        self.prefix = f"{prefix}typed/"
        self.hash = f"{self.prefix}hash"
        self.ranks = (f"{self.prefix}ranks", f"{self.prefix}late")  # sorted sets
        self.stored: dict[str, Sequence[str]] = {}  # by key, the members with their scores
        self.sets = (f"{self.prefix}left", f"{self.prefix}right")
        self.counters = (self.hash, f"{self.prefix}counts")  # one is a sorted set
        self.stream, self.record = f"{self.prefix}stream", StreamRecord()
        self.is_closing = False  # nothing more is asked
        self.values = count(1)
        self._counts = counts
        self._operations: list[ClientOperation] = []
        self._increments: list[Increment] = []

    def saw(
        self, client: str, said: Said, ended_at: float | None, seen: Sequence[Observed]
    ) -> None:
        """Record what became of a command; `ended_at` is None if its outcome is unknown."""
        self._counts["commands on elements"] += 1
        self._operations += [
            ClientOperation(
                client, one.verb, one.element, one.value, said.called_at, ended_at, *one[3:]
            )
            for one in seen
        ]

    def incremented(self, client: str, key: str, said: Said, ended_at: float | None) -> None:
        """Record an increment by 1."""
        self._counts["increments of elements"] += 1
        value = None if ended_at is None else int(said.reply)
        number = next(self.values)
        self._increments.append(Increment(client, number, key, said.called_at, ended_at, value))

    def count(self, what: str) -> None:
        """Count something that was asked."""
        self._counts[what] += 1

    def judge(self, pairs: Mapping[str, str]) -> None:
        """Compare what was seen, and the final values by key.

        Raises:
            AssertionError: no single copy of the data explains it.
        """
        held = {
            key: _elements_in(pairs.get(key, "")) for key in (self.hash, *self.ranks, *self.sets)
        }
        for key, stored in self.stored.items():
            assert _elements_in(pairs.get(key, "")) == _paired(stored), f"{key} is not {stored}"
        end = max((one.returned_at or one.called_at for one in self._operations), default=0) + 1
        finals = [
            ClientOperation("the end", "get", f"{key} {name}", values.get(name), end, end)
            for key, values in held.items()
            for name in NAMES
        ]
        report = check([*self._operations, *finals], SEARCH_STEPS_MAX)
        lines = "\n  ".join(report.excerpt)
        assert report.verdict is not HistoryVerdict.VIOLATED, f"element {report.key}:\n  {lines}"
        counters = {
            key: int(_elements_in(pairs.get(key, "")).get(COUNT, "0")) for key in self.counters
        }
        findings = counter_findings(self._increments, counters)
        assert not findings, "; ".join(findings)
        self.record.judge(entries_in(pairs.get(self.stream, "")))


def _elements_in(text: str) -> dict[str, str]:
    """Return the names and values in a typed value, as the store writes it or `show` shows it."""
    kind, *items = text.removeprefix(r"\s").split() or [""]
    parts = [item.partition("=") for item in items]
    if kind == "zset":
        return {name: score for score, _, name in parts}
    return {name: value if kind == "hash" else THERE for name, _, value in parts}


# --- what a reply shows -------------------------------------------------------------------------


def _added(element: str, value: str, reply: int | None) -> Observed:
    """A value for an element that had none."""
    is_new = None if reply is None else reply == 1
    return Observed("cas", element, value, True if is_new is False else None, None, is_new)


def _removed(element: str, reply: int | None) -> Observed:
    return Observed("delete", element, found=None if reply is None else reply == 1)


def _shown(key: str, values: Mapping[str, str]) -> list[Observed]:
    """All elements of a key, at one moment."""
    return [Observed("get", f"{key} {name}", values.get(name)) for name in NAMES]


class ElementMachine(CommandMachine):
    """A client that changes elements and reads them."""

    def __init__(self, beliefs: ElementBeliefs, *parts: Any) -> None:
        super().__init__(*parts)
        self._beliefs = beliefs
        self._stores = count(1)
        self._own = self._next_own()

    def _next_own(self) -> str:
        """Return a key that only this client changes."""
        return f"{self._beliefs.prefix}{self.name}/{next(self._stores)}"

    def _act(self) -> Steps:
        if self._beliefs.is_closing:
            return
        kind = self._chance.randrange(9)
        if kind > 5:
            others = (self._increment, self._use_stream, self._combine)
            yield from others[kind - 6]()
            return
        asking = (self._of_hash, self._of_set, self._of_ranks)[kind % 3]()
        said = yield from self._say(*asking.words, changes=not asking.is_read)
        if asking.words[0] == "EVAL":
            self._beliefs.count("scripts on elements")
        if said.is_known:
            seen = asking.observed(said.reply)
            self._beliefs.saw(self.name, said, self._now(), seen)
        elif said.is_open and not asking.is_read:
            self._beliefs.saw(self.name, said, None, asking.observed(None))

    def _increment(self) -> Steps:
        key = self._chance.choice(self._beliefs.counters)
        is_hash, by_script = key == self._beliefs.hash, self._chance.random() < 0.5
        words = ["HINCRBY", key, COUNT, "1"] if is_hash else ["ZINCRBY", key, "1", COUNT]
        if by_script:
            verbs = ["HGET", "HSET"] if is_hash else ["ZSCORE", "ZADD"]
            words = ["EVAL", COUNTING, "1", key, *verbs, COUNT]
            self._beliefs.count("increments by scripts")
        said = yield from self._say(*words)
        if said.is_known or said.is_open:
            ended_at = self._now() if said.is_known else None
            self._beliefs.incremented(self.name, key, said, ended_at)

    def _use_stream(self) -> Steps:
        """Append to the stream, or read it."""
        key, record = self._beliefs.stream, self._beliefs.record
        if self._chance.random() < 0.3:
            said = yield from self._say("XRANGE", key, "-", "+", changes=False)
            if said.is_known:
                entries = [(entry_id, fields[1]) for entry_id, fields in said.reply]
                record.read(entries, said.called_at, self._now())
            return
        value = str(next(self._beliefs.values))
        said = yield from self._say("XADD", key, "*", "v", value)
        if said.is_known:
            record.appended(value, said.called_at, self._now(), said.reply)
        elif said.is_open:
            record.appended(value, said.called_at, None)
        if said.is_known or said.is_open:
            self._beliefs.count("appends to streams")

    def _combine(self) -> Steps:
        """Read two sets and two sorted sets, and combine them, in one transaction."""
        beliefs, own, chance = self._beliefs, self._own, self._chance
        (left, right), (one, other) = beliefs.sets, beliefs.ranks
        name, limit = chance.choice(("ZUNION", "ZINTER", "ZDIFF")), chance.choice((1, 2))
        whole = ("0", "-1", "WITHSCORES")
        looks = [
            ["SMEMBERS", left], ["SMEMBERS", right], ["ZRANGE", one, *whole],
            ["ZRANGE", other, *whole], [name, "2", one, other, "WITHSCORES"],
            ["SINTERCARD", "2", left, right, "LIMIT", str(limit)],
        ]  # fmt: skip
        changes = [
            ["ZRANGE", own, *whole],
            [f"{name}STORE", own, "2", one, other],
            ["ZRANGE", own, *whole],
        ] * chance.randrange(2)
        said = yield from self._say_together(*looks, *changes, changes=bool(changes))
        if said.is_open and changes:
            beliefs.stored.pop(own, None)
            self._own = self._next_own()
        if not said.is_known:
            return
        beliefs.count(f"{name} of elements")
        lefts, rights, ones, others, combined, card, *stored = said.reply
        seen = [_shown(left, dict.fromkeys(lefts, THERE)), _shown(one, _paired(ones))]
        seen += [_shown(right, dict.fromkeys(rights, THERE)), _shown(other, _paired(others))]
        for each in seen:
            beliefs.saw(self.name, said, self._now(), each)
        both = {*lefts} & {*rights}
        assert card == min(len(both), limit), f"SINTERCARD is {card} of {both}, at most {limit}"
        meant = _combined(name, _paired(ones), _paired(others))
        assert combined == meant, f"{name} of {ones} and {others} is {combined}"
        if stored:
            beliefs.count(f"{name}STORE of elements")
            before, size, after = stored
            kept = beliefs.stored.get(own, [])
            assert before == kept, f"{own} was {kept}, and is {before}"
            assert (2 * size, after) == (len(meant), meant), f"{name}STORE of {meant} is {after}"
            beliefs.stored[own] = after

    def _of_hash(self) -> Asking:
        key = self._beliefs.hash
        name, other = self._chance.sample(NAMES, 2)
        value, second = str(next(self._beliefs.values)), str(next(self._beliefs.values))
        one, two = f"{key} {name}", f"{key} {other}"
        both = [Observed("set", one, value), Observed("set", two, second)]
        return self._chance.choice((
            Asking(["HSET", key, name, value, other, second], lambda _: both),
            Asking(["HSETNX", key, name, value], lambda reply: [_added(one, value, reply)]),
            Asking(["HDEL", key, name], lambda reply: [_removed(one, reply)]),
            Asking(["HGET", key, name], lambda reply: [Observed("get", one, reply)], is_read=True),
            Asking(["HGETALL", key], lambda reply: _shown(key, _paired(reply)), is_read=True),
        ))  # fmt: skip

    def _of_set(self) -> Asking:
        key, other = self._chance.sample(self._beliefs.sets, 2)
        name = self._chance.choice(NAMES)
        one, two = f"{key} {name}", f"{other} {name}"
        all_there = [Observed("set", f"{key} {each}", THERE) for each in NAMES]

        def moved(reply: int | None) -> list[Observed]:
            arrived = [Observed("set", two, THERE)] if reply != 0 else []
            return [_removed(one, reply), *arrived]

        return self._chance.choice((
            Asking(["SADD", key, name], lambda reply: [_added(one, THERE, reply)]),
            Asking(["SADD", key, *NAMES], lambda _: all_there),
            Asking(["SREM", key, name], lambda reply: [_removed(one, reply)]),
            Asking(["SMOVE", key, other, name], moved),
            Asking(["EVAL", MOVING, "2", key, other, name], moved),
            Asking(["SMEMBERS", key], lambda reply: _shown(key, dict.fromkeys(reply, THERE)),
                   is_read=True),
        ))  # fmt: skip

    def _of_ranks(self) -> Asking:
        keys, name = self._chance.sample(self._beliefs.ranks, 2), self._chance.choice(NAMES)
        key = keys[0]
        one, score = f"{key} {name}", str(next(self._beliefs.values))

        def popped(reply: list[str] | None) -> list[Observed]:
            if reply is None:  # it may be any of them
                return [_removed(f"{key} {each}", None) for each in NAMES]
            if not reply:
                return _shown(key, {})
            taken, had = reply
            return [Observed("cas", f"{key} {taken}", None, found=True, old=had, matched=True)]

        def popped_first(reply: list[Any] | None) -> list[Observed]:
            """Without an answer it may be any of them, and if there was none, all are absent."""
            if reply is None:
                return [_removed(f"{each} {name}", None) for each in keys for name in NAMES]
            source, items = reply
            others = [each for key in keys[: keys.index(source)] for each in _shown(key, {})]
            return [
                *others,
                *[
                    Observed("cas", f"{source} {taken}", None, found=True, old=had, matched=True)
                    for taken, had in items
                ],
            ]

        def ranked(reply: list[str]) -> list[Observed]:
            is_rising = all(float(low) < float(high) for low, high in pairwise(reply[1::2]))
            assert is_rising, f"not in the order of scores: {reply}"
            return _shown(key, _paired(reply))

        return self._chance.choice((
            Asking(["ZADD", key, score, name], lambda _: [Observed("set", one, score)]),
            Asking(["ZADD", key, "NX", score, name], lambda reply: [_added(one, score, reply)]),
            Asking(["ZREM", key, name], lambda reply: [_removed(one, reply)]),
            Asking(["ZPOPMIN", key], popped),
            Asking(["ZMPOP", "2", *keys, "MIN", "COUNT", "2"], popped_first),
            Asking(["EVAL", POPPING, "2", *keys], popped_first),
            Asking(["ZRANGE", key, "0", "-1", "WITHSCORES"], ranked, is_read=True),
        ))  # fmt: skip


def _paired(reply: Sequence[str]) -> dict[str, str]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _combined(name: str, one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the members with their scores, as Redis combines these sorted sets."""
    if name == "ZDIFF":
        members = one.keys() - other.keys()
    else:
        members = one.keys() & other.keys() if name == "ZINTER" else one.keys() | other.keys()
    added = {} if name == "ZDIFF" else other
    scores = {each: int(one.get(each, "0")) + int(added.get(each, "0")) for each in members}
    return [
        text
        for score, member in sorted((score, member) for member, score in scores.items())
        for text in (member, str(score))
    ]
