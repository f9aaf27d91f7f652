"""What each operation on a replicated object does to it. Pure, deterministic and total.

An object is a JSON value under a key. An operation gets the value, freshly read, and changes it
in place; its result is the reply. What it raises leaves the object as it was. No operation knows
a clock, chance, a node or a type of the program's own, so every node does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from raftline.escapes import shown
from raftline.strictjson import Json, NotJsonError, read_values


class NotDone(Exception):
    """A condition did not hold: nothing was changed. The message says which."""


class Unfit(Exception):
    """The operation can't be meant: nothing was changed. The message says why."""


class Operation(NamedTuple):
    """`form` names the operands, the optional ones in brackets. A stamped operation gets the
    index of its entry as well: a number that only grows, and that no other entry has."""

    kind: str
    form: tuple[str, ...]
    act: Callable[..., Json]
    stamped: bool


EMPTY: dict[str, str] = {"dict": "{}", "list": "[]", "set": "[]", "queue": "[]", "lock": "{}"}
OPERATIONS: dict[str, Operation] = {}

_Function = Callable[..., Json]


def _operation(
    name: str, form: str = "", *, stamped: bool = False
) -> Callable[[_Function], _Function]:
    def register(act: _Function) -> _Function:
        OPERATIONS[name] = Operation(name.partition(".")[0], tuple(form.split()), act, stamped)
        return act

    return register


def is_scalar(value: Json) -> bool:
    """Whether a set may hold it."""
    return not isinstance(value, list | dict)


def fits(kind: str, value: Json) -> bool:
    """Whether a JSON value is an object of this kind."""
    if kind in ("list", "queue"):
        return isinstance(value, list)
    if kind == "set":
        return isinstance(value, list) and all(map(is_scalar, value))
    if kind == "lock":
        return value == {} or (isinstance(value, dict) and _is_held(value))
    return isinstance(value, dict)


def operands_of(name: str, text: str) -> list[Json]:
    """Return the operands of an operation, as JSON values with spaces between them spell them.

    Raises:
        Unfit: there is no such operation, or these are not its operands.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise Unfit(f"there is no operation {shown(name)} on an object")
    form = " ".join((name, *operation.form))
    try:
        operands = read_values(text)
    except NotJsonError as error:
        raise Unfit(f"{form}: {error}") from None
    required = sum(not word.startswith("[") for word in operation.form)
    if not required <= len(operands) <= len(operation.form):
        raise Unfit(f"the form is: {form}, and {len(operands)} operands were given")
    for word, operand in zip(operation.form, operands, strict=False):
        what, fitting = _WORDS[word.strip("[]")]
        if not fitting(operand):
            raise Unfit(f"{form}: {word} is to be {what}")
    return operands


def _is_number(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_slice(value: Json) -> bool:
    """Whether it is [START, STOP, STEP], each a whole number or null."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(each is None or _is_number(each) for each in value)
        and value[2] != 0
    )


_WORDS: dict[str, tuple[str, Callable[[Json], bool]]] = {
    "VALUE": ("any JSON", lambda value: True),
    "KEY": ("a string", lambda value: isinstance(value, str)),
    "OWNER": ("a string", lambda value: isinstance(value, str)),
    "PAIRS": ("an object", lambda value: isinstance(value, dict)),
    "INDEX": ("a whole number", _is_number),
    "NUMBER": ("a whole number", _is_number),
    "SLICE": ("[START, STOP, STEP]", _is_slice),
    "VALUES": ("a list", lambda value: isinstance(value, list)),
    "ITEM": ("no list and no object", is_scalar),
    "ITEMS": ("a list without lists and objects in it", lambda value: fits("set", value)),
}


# --- dict ---------------------------------------------------------------------------------------


@_operation("dict.put", "KEY VALUE")
def _put(pairs: dict[str, Json], key: str, value: Json) -> None:
    pairs[key] = value


@_operation("dict.update", "PAIRS")
def _update(pairs: dict[str, Json], more: dict[str, Json]) -> None:
    pairs.update(more)


@_operation("dict.drop", "KEY")
def _drop(pairs: dict[str, Json], key: str) -> None:
    _take(pairs, key)


@_operation("dict.take", "KEY [VALUE]")
def _take(pairs: dict[str, Json], key: str, *default: Json) -> Json:
    if key not in pairs and not default:
        raise NotDone("no such item")
    return pairs.pop(key, *default)


@_operation("dict.default", "KEY VALUE")
def _default(pairs: dict[str, Json], key: str, value: Json) -> Json:
    return pairs.setdefault(key, value)


@_operation("dict.swap", "KEY VALUE VALUE")
def _swap(pairs: dict[str, Json], key: str, old: Json, new: Json) -> None:
    if key not in pairs:
        raise NotDone("no such item")
    if pairs[key] != old:
        raise NotDone("no match")
    pairs[key] = new


@_operation("dict.takelast")
def _take_last(pairs: dict[str, Json]) -> Json:
    if not pairs:
        raise NotDone("empty")
    return list(pairs.popitem())


# --- list ---------------------------------------------------------------------------------------


@_operation("list.append", "VALUE")
def _append(values: list[Json], value: Json) -> None:
    values.append(value)


@_operation("list.extend", "VALUES")
def _extend(values: list[Json], more: list[Json]) -> None:
    values.extend(more)


@_operation("list.insert", "INDEX VALUE")
def _insert(values: list[Json], index: int, value: Json) -> None:
    values.insert(index, value)


@_operation("list.put", "INDEX VALUE")
def _put_at(values: list[Json], index: int, value: Json) -> None:
    values[_place(values, index)] = value


@_operation("list.drop", "INDEX")
def _drop_at(values: list[Json], index: int) -> None:
    del values[_place(values, index)]


@_operation("list.take", "[INDEX]")
def _take_at(values: list[Json], index: int = -1) -> Json:
    return values.pop(_place(values, index))


@_operation("list.remove", "VALUE")
def _remove(values: list[Json], value: Json) -> None:
    if value not in values:
        raise NotDone("no such item")
    values.remove(value)


@_operation("list.splice", "SLICE VALUES")
def _splice(values: list[Json], where: list[int | None], more: list[Json]) -> None:
    try:
        values[slice(*where)] = more
    except ValueError:
        raise NotDone("a slice with a step takes as many values as it has places") from None


@_operation("list.cut", "SLICE")
def _cut(values: list[Json], where: list[int | None]) -> None:
    del values[slice(*where)]


@_operation("list.reverse")
def _reverse(values: list[Json]) -> None:
    values.reverse()


def _place(values: list[Json], index: int) -> int:
    if not -len(values) <= index < len(values):
        raise NotDone("no such index")
    return index


# --- set: a list without doubles, in the order in which they came ---------------------------------


@_operation("set.add", "ITEM")
def _add(items: list[Json], item: Json) -> bool:
    if item in items:
        return False
    items.append(item)
    return True


@_operation("set.discard", "ITEM")
def _discard(items: list[Json], item: Json) -> bool:
    kept = [each for each in items if each != item]
    was_there = len(kept) < len(items)
    items[:] = kept
    return was_there


@_operation("set.union", "ITEMS")
def _union(items: list[Json], more: list[Json]) -> None:
    items[:] = dict.fromkeys([*items, *more])


@_operation("set.intersection", "ITEMS")
def _intersection(items: list[Json], others: list[Json]) -> None:
    kept = set(others)
    items[:] = [item for item in items if item in kept]


@_operation("set.difference", "ITEMS")
def _difference(items: list[Json], others: list[Json]) -> None:
    gone = set(others)
    items[:] = [item for item in items if item not in gone]


@_operation("set.symmetric", "ITEMS")
def _symmetric(items: list[Json], others: list[Json]) -> None:
    mine, theirs = dict.fromkeys(items), dict.fromkeys(others)
    items[:] = [i for i in mine if i not in theirs] + [i for i in theirs if i not in mine]


@_operation("set.take")
def _take_any(items: list[Json]) -> Json:
    return _take_first(items)


# --- queue --------------------------------------------------------------------------------------


@_operation("queue.put", "VALUE [NUMBER]")
def _push(values: list[Json], value: Json, most: int = 0) -> None:
    if 0 < most <= len(values):
        raise NotDone("full")
    values.append(value)


@_operation("queue.take")
def _take_first(values: list[Json]) -> Json:
    if not values:
        raise NotDone("empty")
    return values.pop(0)


# --- lock: {} while free, else who holds it -------------------------------------------------------


def _is_held(lock: dict[str, Json]) -> bool:
    numbers = [lock.get(word) for word in ("token", "lease_ms", "beat")]
    return len(lock) == 4 and isinstance(lock.get("owner"), str) and all(map(_is_number, numbers))


@_operation("lock.acquire", "OWNER NUMBER", stamped=True)
def _acquire(index: int, lock: dict[str, Json], owner: str, lease_ms: int) -> Json:
    """Take a free lock. The token is the index of this very entry: later holders have higher."""
    if lock and lock["owner"] != owner:
        raise NotDone("held")
    if not lock:
        lock.update(owner=owner, token=index, lease_ms=lease_ms, beat=0)
    return lock["token"]


@_operation("lock.beat", "OWNER NUMBER")
def _beat(lock: dict[str, Json], owner: str, token: int) -> Json:
    """Show that the holder lives; whoever watches the beat stand still may seize the lock."""
    _must_hold(lock, owner, token)
    lock["beat"] += 1
    return lock["beat"]


@_operation("lock.release", "OWNER NUMBER")
def _release(lock: dict[str, Json], owner: str, token: int) -> None:
    _must_hold(lock, owner, token)
    lock.clear()


@_operation("lock.seize", "OWNER NUMBER NUMBER NUMBER", stamped=True)
def _seize(
    index: int, lock: dict[str, Json], owner: str, lease_ms: int, token: int, beat: int
) -> Json:
    """Take the lock from a holder whose beat stood still, if it stands there yet."""
    if lock and (lock["token"], lock["beat"]) != (token, beat):
        raise NotDone("held")
    lock.update(owner=owner, token=index, lease_ms=lease_ms, beat=0)
    return index


def _must_hold(lock: dict[str, Json], owner: str, token: int) -> None:
    if not lock or (lock["owner"], lock["token"]) != (owner, token):
        raise NotDone("not held by you")


for _kind in ("dict", "list", "set", "queue"):
    _operation(f"{_kind}.clear")(lambda value: value.clear())
