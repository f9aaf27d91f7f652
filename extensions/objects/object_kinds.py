"""Operations on a replicated object. Pure, deterministic and total.

An object is a JSON value under a key. An operation gets the freshly parsed value and changes it in
place. Its result is the reply. If it raises, the object stays as it was. No operation uses a clock,
randomness, a node or a type of the program. So it has the same effect on every node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from raftline.wire.strict_json import Json


class ConditionFailed(Exception):
    """A condition did not hold, so nothing was changed. The message names the condition."""


class Operation(NamedTuple):
    """One operation. If it is stamped, it also gets the number of its entry, which is unique and
    only grows (`entry_number`). If it is `by_each`, it takes as long as reading the object."""

    kind: str
    act: Callable[..., Json]
    stamped: bool
    by_each: bool


EMPTY: dict[str, str] = {"dict": "{}", "list": "[]", "set": "[]", "queue": "[]", "lock": "{}"}
OPERATIONS: dict[str, Operation] = {}

_Function = Callable[..., Json]


def _operation(
    name: str, *, stamped: bool = False, by_each: bool = False
) -> Callable[[_Function], _Function]:
    def register(act: _Function) -> _Function:
        OPERATIONS[name] = Operation(name.partition(".")[0], act, stamped, by_each)
        return act

    return register


# --- dict ---------------------------------------------------------------------------------------


@_operation("dict.drop")
def _drop(pairs: dict[str, Json], key: str) -> None:
    _take(pairs, key)


@_operation("dict.take")
def _take(pairs: dict[str, Json], key: str, *default: Json) -> Json:
    if key not in pairs and not default:
        raise ConditionFailed("no such item")
    return pairs.pop(key, *default)


@_operation("dict.swap")
def _swap(pairs: dict[str, Json], key: str, old: Json, new: Json) -> None:
    if key not in pairs:
        raise ConditionFailed("no such item")
    if pairs[key] != old:
        raise ConditionFailed("no match")
    pairs[key] = new


@_operation("dict.takelast")
def _take_last(pairs: dict[str, Json]) -> Json:
    if not pairs:
        raise ConditionFailed("empty")
    return list(pairs.popitem())


# --- list ---------------------------------------------------------------------------------------


@_operation("list.put")
def _put_at(values: list[Json], index: int, value: Json) -> None:
    values[_place(values, index)] = value


@_operation("list.drop")
def _drop_at(values: list[Json], index: int) -> None:
    del values[_place(values, index)]


@_operation("list.take")
def _take_at(values: list[Json], index: int = -1) -> Json:
    return values.pop(_place(values, index))


@_operation("list.remove")
def _remove(values: list[Json], value: Json) -> None:
    if value not in values:
        raise ConditionFailed("no such item")
    values.remove(value)


@_operation("list.splice")
def _splice(values: list[Json], where: list[int | None], more: list[Json]) -> None:
    try:
        values[slice(*where)] = more
    except ValueError:
        raise ConditionFailed("a slice with a step takes as many values as it has places") from None


@_operation("list.cut")
def _cut(values: list[Json], where: list[int | None]) -> None:
    del values[slice(*where)]


def _place(values: list[Json], index: int) -> int:
    if not -len(values) <= index < len(values):
        raise ConditionFailed("no such index")
    return index


# --- set: a list without duplicates, in the order of arrival --------------------------------------


@_operation("set.add")
def _add(items: list[Json], item: Json) -> bool:
    if item in items:
        return False
    items.append(item)
    return True


@_operation("set.discard")
def _discard(items: list[Json], item: Json) -> bool:
    others = [each for each in items if each != item]
    was_there = len(others) < len(items)
    items[:] = others
    return was_there


@_operation("set.union", by_each=True)
def _union(items: list[Json], more: list[Json]) -> None:
    items[:] = _once([*items, *more]).values()


@_operation("set.intersection", by_each=True)
def _intersection(items: list[Json], others: list[Json]) -> None:
    texts = _once(others)
    items[:] = [item for item in items if _text_of(item) in texts]


@_operation("set.difference", by_each=True)
def _difference(items: list[Json], others: list[Json]) -> None:
    texts = _once(others)
    items[:] = [item for item in items if _text_of(item) not in texts]


@_operation("set.symmetric", by_each=True)
def _symmetric(items: list[Json], others: list[Json]) -> None:
    mine, theirs = _once(items), _once(others)
    items[:] = [mine[text] for text in mine if text not in theirs]
    items += [theirs[text] for text in theirs if text not in mine]


def _once(items: list[Json]) -> dict[str | bytes | None, Json]:
    """Return the first of each group of equal items, by its text."""
    firsts: dict[str | bytes | None, Json] = {}
    for item in items:
        firsts.setdefault(_text_of(item), item)
    return firsts


def _text_of(item: Json) -> str | bytes | None:
    """Return a text that is equal only for equal items. Hashes of texts differ between processes,
    but hashes of numbers are known: a table of hostile numbers would take seconds and stall all
    threads."""
    if item is None or isinstance(item, str):
        return item
    is_fraction = isinstance(item, float) and not item.is_integer()
    return (repr(item) if is_fraction else str(int(item))).encode()


# --- queue --------------------------------------------------------------------------------------


@_operation("queue.put")
def _push(values: list[Json], value: Json, most: int = 0) -> None:
    if 0 < most <= len(values):
        raise ConditionFailed("full")
    values.append(value)


@_operation("queue.take")
@_operation("set.take")
def _take_first(values: list[Json]) -> Json:
    if not values:
        raise ConditionFailed("empty")
    return values.pop(0)


# --- lock: {} while free, else its holder ---------------------------------------------------------


@_operation("lock.acquire", stamped=True)
def _acquire(number: int, lock: dict[str, Json], owner: str, lease_ms: int) -> Json:
    """Take a free lock. Its token is the number of this entry, so later holders have higher
    tokens."""
    if lock and lock["owner"] != owner:
        raise ConditionFailed("held")
    if not lock:
        lock.update(owner=owner, token=number, lease_ms=lease_ms, beat=0)
    return lock["token"]


@_operation("lock.beat")
def _beat(lock: dict[str, Json], owner: str, token: int) -> Json:
    """Show that the holder is alive. A client that sees no new beat for one lease may seize the
    lock."""
    _must_hold(lock, owner, token)
    lock["beat"] += 1
    return lock["beat"]


@_operation("lock.release")
def _release(lock: dict[str, Json], owner: str, token: int) -> None:
    _must_hold(lock, owner, token)
    lock.clear()


@_operation("lock.seize", stamped=True)
def _seize(
    number: int, lock: dict[str, Json], owner: str, lease_ms: int, token: int, beat: int
) -> Json:
    """Take the lock from a holder whose beat has stopped, if the lock is still unchanged."""
    if lock and (lock["token"], lock["beat"]) != (token, beat):
        raise ConditionFailed("held")
    lock.update(owner=owner, token=number, lease_ms=lease_ms, beat=0)
    return number


def _must_hold(lock: dict[str, Json], owner: str, token: int) -> None:
    if not lock or (lock["owner"], lock["token"]) != (owner, token):
        raise ConditionFailed("not held by you")


# --- operations that are methods of the value -----------------------------------------------------

_METHODS: dict[str, _Function] = {
    "dict.put": dict.__setitem__,
    "dict.update": dict.update,
    "dict.default": dict.setdefault,
    "dict.clear": dict.clear,
    "list.append": list.append,
    "list.extend": list.extend,
    "list.insert": list.insert,
    "list.reverse": list.reverse,
    "list.clear": list.clear,
    "set.clear": list.clear,
    "queue.clear": list.clear,
}
for _name, _method in _METHODS.items():
    _operation(_name)(_method)
