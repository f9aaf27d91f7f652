"""The effect of `object KEY OPERATION [JSON …]` on the value under a key. Deterministic and total.

A transaction keeps its objects open: each object is parsed once and serialized once for all
operations on it.
"""

from __future__ import annotations

from typing import Final

from raftline.state.commands.key_commands import KEPT_OPEN, applies
from raftline.state.store import Store
from raftline.wire.done_reply import NOT_DONE, with_word
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError, escape, shown, size_of, unescape
from raftline.wire.refusal import JSON_TOO_LONG, WRONG_KIND, RequestRefused, error
from raftline.wire.strict_json import Json, NotJsonError, format_json, read_json

from .object_kinds import EMPTY, OPERATIONS, ConditionFailed, Operation
from .object_operations import Unfit, fits, operands_of

WALK: Final = 16  # reading an object costs as much as this many operations on an open one


@applies("object")
def _object(store: Store, operands: str) -> str | None:
    objects = OpenObjects(store)
    reply = objects.execute(operands)
    try:
        objects.close_all()
    except RequestRefused as problem:
        return problem.refusal
    return reply


class OpenObjects:
    """The objects of a transaction, by key. They must be closed before any other command."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, _Open] = {}

    @property
    def are_open(self) -> bool:
        """Whether an object is open."""
        return bool(self._open)

    def execute(self, operands: str) -> str:
        """Execute `KEY OPERATION [JSON …]` and return its reply. Its object stays open."""
        key, _, rest = operands.partition(" ")
        name, _, text = rest.partition(" ")
        operation = OPERATIONS.get(name)
        if not key or operation is None:
            return error(f"there is no operation {shown(name)} on an object. Nothing was done.")
        try:
            arguments = operands_of(name, unescape(text))
            obj = self._opened(key, operation)
            entry_number = (self._store.number,) if operation.stamped else ()
            result = operation.act(*entry_number, obj.value, *arguments)
            answer = escape(format_json(result), key=False)
        except ConditionFailed as condition:
            return with_word("OBJECT", NOT_DONE, condition)
        except RequestRefused as problem:
            return problem.refusal
        except (Unfit, ProtocolError) as problem:
            return error(f"{problem}. Nothing was done.")
        obj.is_changed = True
        obj.size += len(rest)
        return f"OBJECT response: {answer}"

    def _opened(self, key: str, operation: Operation) -> _Open:
        """Return the object under a key, for an operation.

        Raises:
            RequestRefused: the object has another kind.
        """
        kind, obj = operation.kind, self._open.get(key)
        if obj is None or (key not in self._store and obj.is_empty_for_another(kind)):
            value, size = _read(self._store, key, kind)
            obj = self._open[key] = _Open(value, kind, size)
        else:
            self._store.reworked += obj.size // (1 if operation.by_each else WALK)
            obj.check(key, kind)
        return obj

    def close(self, key: str) -> None:
        """Write the object under a key, if it is open.

        Raises:
            RequestRefused: it would be too long.
        """
        obj = self._open.pop(key, None)
        if obj is not None and obj.is_changed:
            _keep(self._store, key, obj.value)

    def close_all(self) -> None:
        """Write all open objects. Raises RequestRefused: an object would be too long."""
        for key in list(self._open):
            self.close(key)


class _Open:
    """An open object. `size` is about the length of its JSON."""

    def __init__(self, value: Json, kind: str, size: int) -> None:
        self.value = value
        self.size = size
        self.is_changed = False
        self._kind = kind

    def is_empty_for_another(self, kind: str) -> bool:
        """Return whether it was opened as another kind and not changed. If its key is absent too,
        there is no object yet, so it has no kind."""
        return not self.is_changed and kind != self._kind

    def check(self, key: str, kind: str) -> None:
        """Use it as an object of this kind. Operations keep its kind.

        Raises:
            RequestRefused: the object has another kind.
        """
        if kind != self._kind and not fits(kind, self.value):
            raise _no(kind, key)
        self._kind = kind


def _read(store: Store, key: str, kind: str) -> tuple[Json, int]:
    """Return the object under a key, or an empty object, and its size as JSON in bytes.

    Raises:
        RequestRefused: the key holds another kind.
    """
    try:
        text = unescape(store.get(key, EMPTY[kind]))
        size = size_of(text)
        store.reworked += size
        value = read_json(text)
        if fits(kind, value):
            return value, size
    except (NotJsonError, ProtocolError):
        pass
    raise _no(kind, key)


def _no(kind: str, key: str) -> RequestRefused:
    return RequestRefused(WRONG_KIND(shown(key), kind))


def _keep(store: Store, key: str, value: Json) -> None:
    """Write an object. Raises RequestRefused: it would be too long."""
    text = format_json(value)
    size, limit = len(text.encode("utf-8")), Limits().value_bytes
    if size > limit:
        raise RequestRefused(JSON_TOO_LONG(shown(key), size, limit))
    store.reworked += size
    store.keep(key, escape(text, key=False))


KEPT_OPEN["object"] = OpenObjects
