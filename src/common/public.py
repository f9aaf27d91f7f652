"""The public names of classes, as tracebacks, `help` and pickles show them."""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar

Kind = TypeVar("Kind")
_RENAMED: dict[str, str] = {}  # the public name of each class that has another one
_WORD = re.compile(r"\w+")


class _Annotation(str):
    """An annotation in which `help` shows the public names of classes. Its text has their own
    names, so that it can be evaluated."""

    def __repr__(self) -> str:
        return repr(_WORD.sub(lambda match: _RENAMED.get(match[0], match[0]), str(self)))


def public(module: str, name: str = "") -> Callable[[type[Kind]], type[Kind]]:
    """Give a class its public module, and its name there if that differs from its own."""

    def rename(kind: type[Kind]) -> type[Kind]:
        kind.__module__ = module
        if name:
            _RENAMED[kind.__name__] = name
            kind.__name__ = kind.__qualname__ = name
            _show_in(vars(kind).get("__annotations__", {}))
            for each in vars(kind).values():
                _show_in(getattr(getattr(each, "fget", each), "__annotations__", {}))
        return kind

    return rename


def _show_in(annotations: MutableMapping[str, Any]) -> None:
    """Show public names in the annotations of a class or of a function."""
    annotations.update(
        {each: _Annotation(text) for each, text in annotations.items() if isinstance(text, str)}
    )
