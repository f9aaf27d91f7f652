"""`kv.txn()`: conditions and operations in one step, built call by call. Pure.

    done = kv.txn().if_.equal("b", "5").absent("c").then.set("b", "6").else_.get("b").commit()

docs/use/transactions.md explains each condition.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from raftline.common.public import public
from raftline.wire.commands.transaction_line import format_word
from raftline.wire.done_reply import THEN
from raftline.wire.limits import TRANSACTION_ITEMS, VALUE_BYTES

from ..requests.times import Seconds
from .calls import (
    TTL_OR_LEASE,
    Call,
    CallFactory,
    Stat,
    Version,
    answered,
    condition_of,
    condition_on_lease,
    entry_index,
    lease_name,
    lease_time,
    read_stat,
    read_version,
    whole,
)
from .value_codec import Codec, Data

Result = TypeVar("Result")
_Read = Callable[[str | None], object]
_Value = TypeVar("_Value", contravariant=True)


class JobQueue(Protocol[_Value]):
    """A queue, to which a transaction adds jobs."""

    def _put_operation(self, value: _Value, /) -> str: ...


@public("raftline.api")
@dataclass(frozen=True)
class Outcome(Generic[Data]):
    """The outcome of a transaction. It is true if the conditions held.

    `results` has one item for each operation of the branch that was taken: the value of a get, or
    None; the number of an incr; the length in bytes after an append; the number of keys that a
    clear deleted; the number of the job of a put; the `Stat` of a stat, or None; the `Version` of a
    read; for any other operation, whether it was done. All operations took effect in one entry.
    `value`, `number`, `stat`, `version` and `done` return one result with its type.
    """

    succeeded: bool
    results: list[Data | int | Stat | Version[Data] | None]
    _kind: type[Data] = field(repr=False)  # of keys and values

    def __bool__(self) -> bool:
        return self.succeeded

    def value(self, place: int) -> Data | None:
        """Return the value that the get in this place read; None if there was no key. The first
        place is 0, the last is -1. Raises IndexError if there is no such operation, TypeError if it
        is not a get."""
        result = self.results[place]
        return None if result is None else self._of(place, self._kind, result)

    def number(self, place: int) -> int:
        """Return the number of an incr, an append, a clear or a put. Raises the errors of
        `value`."""
        result = self._of(place, int, self.results[place])
        if isinstance(result, bool):
            raise TypeError(f"the operation in place {place} has no number: use done({place})")
        return result

    def stat(self, place: int) -> Stat | None:
        """Return the metadata that a stat read; None if there was no key. Raises the errors of
        `value`."""
        result = self.results[place]
        return None if result is None else self._of(place, Stat, result)

    def version(self, place: int) -> Version[Data]:
        """Return the value and the index that a read found. Raises the errors of `value`."""
        return self._of(place, Version, self.results[place])

    def done(self, place: int) -> bool:
        """Return whether a set, a delete or a similar operation was done. Raises the errors of
        `value`."""
        return self._of(place, bool, self.results[place])

    def _of(self, place: int, kind: type[Result], result: object) -> Result:
        if isinstance(result, kind):
            return result
        what = type(result).__name__
        raise TypeError(f"the result in place {place} is {what}, not {kind.__name__}")


class TransactionPlan(Generic[Data]):
    """The conditions and operations added so far."""

    def __init__(self, codec: Codec[Data]) -> None:
        self.codec = codec
        self.conditions: list[str] = []
        self.leases: set[str] = set()
        self.branches: dict[str, list[str]] = {"then": [], "else": []}
        self.readers: dict[str, list[_Read]] = {"then": [], "else": []}

    def key(self, key: Data) -> str:
        return format_word(self.codec.key(key))

    def prefix(self, prefix: Data) -> str:
        return format_word(self.codec.key(prefix, "a prefix"))

    def value(self, value: Data) -> str:
        return format_word(self.codec.text(value))

    @property
    def call(self) -> Call[Outcome[Data]]:
        """The request of the whole transaction. Raises ValueError if it has no operation."""
        then, otherwise = self.branches["then"], self.branches["else"]
        if not then:
            raise ValueError("a transaction needs at least one operation after then")
        parts = ["txn"]
        if self.conditions:
            parts += ["if", " ; ".join(self.conditions)]
        parts += ["then", " ; ".join(then)]
        if otherwise:
            parts += ["else", " ; ".join(otherwise)]
        return Call(" ".join(parts), self._read, self.leases)

    def _read(self, text: str) -> Outcome[Data]:
        reply = answered(text)
        answer: Sequence[str | None] = json.loads(reply.rest)
        readers = self.readers[reply.word]
        results = [read(each) for read, each in zip(readers, answer, strict=True)]
        return Outcome(reply.word == THEN, results, self.codec.kind)  # type: ignore[arg-type]


@public("raftline.api")
class Conditions(Generic[Data, Result]):
    """The conditions, after `if_`: the first branch is taken if all of them hold."""

    def __init__(
        self, plan: TransactionPlan[Data], ask: Callable[[Call[Outcome[Data]]], Result]
    ) -> None:
        self._plan = plan
        self._ask = ask

    def equal(self, key: Data, value: Data) -> Conditions[Data, Result]:
        """Require that the key has this value."""
        return self._with(f"{self._plan.key(key)} = {self._plan.value(value)}")

    def differ(self, key: Data, value: Data) -> Conditions[Data, Result]:
        """Require that the key has another value, or is absent."""
        return self._with(f"{self._plan.key(key)} != {self._plan.value(value)}")

    def absent(self, key: Data) -> Conditions[Data, Result]:
        """Require that the key is absent."""
        return self._with(f"{self._plan.key(key)} absent")

    def exists(self, key: Data) -> Conditions[Data, Result]:
        """Require that the key exists."""
        return self._with(f"{self._plan.key(key)} exists")

    def unchanged(self, key: Data, since: int | Version[Data] | Stat) -> Conditions[Data, Result]:
        """Require that the key has not changed since it was read by `read`, or since this index.
        With an index, the key has to exist. With the result of `stat`, it also has to be under the
        same lease as then, or under none."""
        name = self._plan.key(key)
        if isinstance(since, Version):
            return self._with(f"{name} {condition_of(since)}")
        if isinstance(since, Stat):
            return self._with(f"{name} {condition_on_lease(since)}")
        return self._with(f"{name} unchanged since {entry_index(since)}")

    def greater(self, key: Data, number: int) -> Conditions[Data, Result]:
        """Require that the key has a whole number above this one, in the form of `incr`."""
        return self._with(f"{self._plan.key(key)} > {whole(number)}")

    def less(self, key: Data, number: int) -> Conditions[Data, Result]:
        """Require that the key has a whole number below this one."""
        return self._with(f"{self._plan.key(key)} < {whole(number)}")

    def any_under(self, prefix: Data) -> Conditions[Data, Result]:
        """Require that a key begins with this prefix."""
        return self._with(f"{self._plan.prefix(prefix)} has keys")

    def none_under(self, prefix: Data) -> Conditions[Data, Result]:
        """Require that no key begins with this prefix."""
        return self._with(f"{self._plan.prefix(prefix)} has none")

    def _with(self, condition: str) -> Conditions[Data, Result]:
        self._plan.conditions.append(condition)
        return self

    @property
    def then(self) -> Operations[Data, Result]:
        """The operations if the conditions hold."""
        return Operations(self._plan, self._ask, "then")


@public("raftline.api")
class Operations(Generic[Data, Result]):
    """The operations of one branch, in order."""

    def __init__(
        self, plan: TransactionPlan[Data], ask: Callable[[Call[Outcome[Data]]], Result], branch: str
    ) -> None:
        self._plan = plan
        self._ask = ask
        self._branch = branch

    @property
    def else_(self) -> Operations[Data, Result]:
        """The operations if a condition does not hold."""
        return Operations(self._plan, self._ask, "else")

    def commit(self) -> Result:
        """Carry out the transaction, all or nothing.

        Raises:
            Refused: an operation can't be done (`incr` of a word); nothing was done.
            LeaseLost: a lease that it names has ended; nothing was done.
        """
        return self._ask(self._plan.call)

    def get(self, key: Data) -> Operations[Data, Result]:
        """Read a key, including the effects of earlier operations."""
        return self._with(f"get {self._plan.key(key)}", self._read_value)

    def stat(self, key: Data) -> Operations[Data, Result]:
        """Read the metadata of a key."""

        def read(answer: str | None) -> object:
            return read_stat(answer) if answer is not None and answer.startswith("{") else None

        return self._with(f"stat {self._plan.key(key)}", read)

    def read(self, key: Data) -> Operations[Data, Result]:
        """Read a key and the index of its last change."""

        def read(answer: str | None) -> object:
            if answer is None or not answer.startswith("{"):
                return Version(None, 0)
            return read_version(answer, self._plan.codec)

        return self._with(f"read {self._plan.key(key)}", read)

    def set(
        self, key: Data, value: Data, *, ttl: Seconds | None = None, lease: object = None
    ) -> Operations[Data, Result]:
        """Set a key, for `ttl` seconds or under a lease if either is given."""
        if ttl is None:
            return self._setting("set", key, value, lease)
        if lease is not None:
            raise ValueError(TTL_OR_LEASE)
        operation = f"setex {self._plan.key(key)} {lease_time(ttl)} {self._plan.value(value)}"
        return self._with(operation, lambda answer: True)

    def setnx(self, key: Data, value: Data, *, lease: object = None) -> Operations[Data, Result]:
        """Set a key if it is absent."""
        return self._setting("setnx", key, value, lease)

    def cas(
        self, key: Data, old: Data | Version[Data], new: Data, *, lease: object = None
    ) -> Operations[Data, Result]:
        """Set a key to `new` if its value is `old`. The `Version` of a read is a condition of the
        whole transaction instead, as with `if_.unchanged(key, old)`."""
        if isinstance(old, Version):
            if self._branch == "else":
                raise ValueError("cas with a Version is a condition, so it stands before else_")
            Conditions(self._plan, self._ask).unchanged(key, old)
            return self.set(key, new, lease=lease)
        return self._setting("cas", key, new, lease, f"{self._plan.value(old)} ")

    def _setting(
        self, verb: str, key: Data, value: Data, lease: object, old: str = ""
    ) -> Operations[Data, Result]:
        plan = self._plan
        reply = f"{plan.codec.key(key)} set to {plan.codec.text(value)}"
        operation = f"{verb} {plan.key(key)} {old}{plan.value(value)}"
        return self._under(lease, operation, lambda answer: answer == reply)

    def incr(self, key: Data, by: int = 1, *, lease: object = None) -> Operations[Data, Result]:
        """Add to the number in a key."""
        operation = f"incr {self._plan.key(key)} {whole(by)}"
        return self._under(lease, operation, lambda answer: int(answer or ""))

    def append(self, key: Data, value: Data, *, lease: object = None) -> Operations[Data, Result]:
        """Append to the value of a key."""
        operation = f"append {self._plan.key(key)} {self._plan.value(value)}"
        return self._under(lease, operation, lambda answer: int((answer or "").rsplit(" ", 2)[-2]))

    def delete(self, key: Data) -> Operations[Data, Result]:
        """Remove a key."""
        reply = f"{self._plan.codec.key(key)} deleted"
        return self._with(f"delete {self._plan.key(key)}", lambda answer: answer == reply)

    def clear(self, prefix: Data) -> Operations[Data, Result]:
        """Delete all keys under a prefix; the result is their number."""
        operation = f"clear {self._plan.prefix(prefix)}"
        return self._with(operation, lambda answer: int((answer or "").partition(" ")[0]))

    def expire(self, key: Data, ttl: Seconds) -> Operations[Data, Result]:
        """Expire a key after a time."""
        reply = f"{self._plan.codec.key(key)} for {lease_time(ttl)} s"
        operation = f"expire {self._plan.key(key)} {lease_time(ttl)}"
        return self._with(operation, lambda answer: answer == reply)

    def persist(self, key: Data) -> Operations[Data, Result]:
        """Take a key out of its lease, so that it stays."""
        reply = f"{self._plan.codec.key(key)} stays"
        return self._with(f"persist {self._plan.key(key)}", lambda answer: answer == reply)

    def put(self, queue: JobQueue[Data], value: Data) -> Operations[Data, Result]:
        """Add a job to a queue: `put(kv.queue("mails"), "to ann")`; the result is its number."""
        operation = getattr(queue, "_put_operation", None)
        if operation is None:
            raise TypeError(f"put takes what kv.queue() returns, not {type(queue).__name__}")
        return self._with(operation(value), lambda answer: int(answer or ""))

    def _read_value(self, answer: str | None) -> Data | None:
        return None if answer is None else self._plan.codec.of(answer)

    def _under(self, lease: object, operation: str, read: _Read) -> Operations[Data, Result]:
        if lease is None:
            return self._with(operation, read)
        name = lease_name(str(lease))
        self._plan.leases.add(name)
        return self._with(f"under {name} {operation}", read)

    def _with(self, operation: str, read: _Read) -> Operations[Data, Result]:
        if self._branch == "else" and not self._plan.conditions:
            raise ValueError("else_ needs a condition after if_")
        self._plan.branches[self._branch].append(operation)
        self._plan.readers[self._branch].append(read)
        return self


@public("raftline.api")
class Transaction(Generic[Data, Result]):
    """The start of a transaction: `if_` has its conditions, `then` its operations."""

    if not TYPE_CHECKING:  # otherwise a type checker would accept any name

        def __getattr__(self, name: str) -> object:
            what = f"{type(self).__name__!r} object has no attribute {name!r}"
            if hasattr(Conditions, name):
                what += f"; a condition follows if_: kv.txn().if_.{name}(…)"
            elif hasattr(Operations, name):
                what += f"; an operation follows then: kv.txn().then.{name}(…)"
            raise AttributeError(what, name=name, obj=self)

    def __init__(self, codec: Codec[Data], ask: Callable[[Call[Outcome[Data]]], Result]) -> None:
        self._plan = TransactionPlan(codec)
        self._ask = ask

    def __repr__(self) -> str:
        return f"<a transaction of {len(self._plan.branches['then'])} operations, not committed>"

    @property
    def if_(self) -> Conditions[Data, Result]:
        """The conditions; without conditions, the operations after `then` are carried out."""
        return Conditions(self._plan, self._ask)

    @property
    def then(self) -> Operations[Data, Result]:
        """The operations if the conditions hold."""
        return Operations(self._plan, self._ask, "then")


def itself(call: Call[Result]) -> Call[Result]:
    """Return a call, for a transaction that is sent elsewhere."""
    return call


def updates(
    codec: Codec[Data],
    more: Mapping[Data, Data] | Iterable[tuple[Data, Data]],
    named: Mapping[str, Data],
    ttl: Seconds | None = None,
) -> list[Call[Any]]:
    """Return the requests that set all of these pairs; see `sets`. A single pair is a `set`.

    Raises:
        TypeError, ValueError: a key, a value or the time is invalid.
    """
    pairs: dict[Any, Data] = {**dict(more), **named}
    if len(pairs) < 2:
        return [CallFactory(codec).set(*pair, ttl=ttl) for pair in pairs.items()]
    rows = ((key, value, ttl) for key, value in pairs.items())
    return [plan.call for plan in sets(codec, rows)]


def sets(
    codec: Codec[Data], rows: Iterable[tuple[Data, Data, Seconds | None]]
) -> list[TransactionPlan[Data]]:
    """Return transactions that set keys, each to a value and for a time, if one is given. Each is
    as large as one entry should be.

    Raises:
        TypeError, ValueError: a key, a value or a time is invalid.
    """
    plans: list[TransactionPlan[Data]] = []
    left = 0
    for key, value, ttl in rows:
        size = len(f"{codec.key(key)}{codec.text(value)}".encode("utf-8", "surrogateescape"))
        if not plans or size > left or len(plans[-1].branches["then"]) == TRANSACTION_ITEMS:
            plans.append(TransactionPlan(codec))
            left = VALUE_BYTES
        Operations(plans[-1], itself, "then").set(key, value, ttl=ttl)
        left -= size
    return plans
