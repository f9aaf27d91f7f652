"""Values of the core as nested tuples, which can be compared and hashed, and back.

A tuple begins with the function that recreates the value. Numbers, strings, named tuples and frozen
dataclasses stand for themselves, since they don't change. A dict is sorted by its keys: their order
decides only the order of messages to different servers. No type of the core is listed here, so new
fields and types need no change.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from typing import Any

from raftline.raft.effects import Effects
from raftline.raft.state import State

CORE = "raftline.raft."
# Chance is fixed, Effects begin empty, and the time is an input (search.py).
NOT_KEPT: dict[type, tuple[str, ...]] = {State: ("pick_timeout_ms", "out", "now_ms")}

_FREEZE: dict[type, Callable[[Any], Any]] = {}


def freeze(value: Any) -> Any:
    """Return a value as nested tuples; `thaw` is the inverse."""
    kind = type(value)
    format_of = _FREEZE.get(kind)
    if format_of is None:
        format_of = _FREEZE[kind] = _freezer_of(kind, value)
    return format_of(value)


def thaw(frozen: Any) -> Any:
    """Return a new value that shares nothing mutable with another one."""
    return frozen[0](frozen) if type(frozen) is tuple else frozen


def thaw_state(frozen: Any, now_ms: int, pick_timeout_ms: Callable[[], int]) -> State:
    """Return the state of a server at this time."""
    state: State = frozen[0](frozen)
    state.now_ms = now_ms
    state.out = Effects()
    state.pick_timeout_ms = pick_timeout_ms
    return state


def _freezer_of(kind: type, value: Any) -> Callable[[Any], Any]:
    if kind is list or kind is deque:
        thawed = _thaw_list if kind is list else _thaw_deque
        return lambda value: (thawed, *[freeze(item) for item in value])
    if kind is tuple:
        return lambda value: (_thaw_tuple, *[freeze(item) for item in value])
    if kind is dict:
        return lambda value: (
            _thaw_dict,
            *[x for key in sorted(value) for x in (key, freeze(value[key]))],
        )
    is_changed = kind.__module__.startswith(CORE) and not issubclass(kind, tuple)
    if dataclasses.is_dataclass(kind):
        is_changed = not kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    fields = _fields_of(kind, value) if is_changed else []
    return _freezer_of_object(kind, fields) if fields else lambda value: value


def _fields_of(kind: type, value: Any) -> list[str]:
    """Return the names of the fields of objects of a class of the core; none for an Enum."""
    left = NOT_KEPT.get(kind, ())
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.name not in left]
    if hasattr(kind, "__members__"):
        return []
    return list(getattr(kind, "__mypyc_attrs__", None) or vars(value))


def _freezer_of_object(kind: type, fields: list[str]) -> Callable[[Any], Any]:
    """Return a function that freezes objects with these fields; its result begins with a function
    that thaws them. Both are generated code, as they run for each step."""
    lines = [f"def thaw_{kind.__name__}(frozen):", "    it = new(kind)"]
    for place, field in enumerate(fields, start=1):
        lines += [
            f"    x = frozen[{place}]",
            f"    it.{field} = x if type(x) is not tuple else x[0](x)",
        ]
    lines += ["    return it", f"def freeze_{kind.__name__}(it):"]
    parts = ", ".join(f"freeze(it.{field})" for field in fields)
    lines += [f"    return (thaw_{kind.__name__}, {parts})"]
    namespace: dict[str, Any] = {"new": object.__new__, "kind": kind, "freeze": freeze}
    exec("\n".join(lines), namespace)
    freezer: Callable[[Any], Any] = namespace[f"freeze_{kind.__name__}"]
    return freezer


def _thaw_list(frozen: Any) -> Any:
    return [x if type(x) is not tuple else x[0](x) for x in frozen[1:]]


def _thaw_deque(frozen: Any) -> Any:
    return deque(_thaw_list(frozen))


def _thaw_tuple(frozen: Any) -> Any:
    return tuple(_thaw_list(frozen))


def _thaw_dict(frozen: Any) -> Any:
    return {key: thaw(item) for key, item in zip(frozen[1::2], frozen[2::2], strict=True)}
