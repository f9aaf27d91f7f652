"""The public names of classes, as tracebacks, `help` and pickles show them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Kind = TypeVar("Kind")


def public(module: str, name: str = "") -> Callable[[type[Kind]], type[Kind]]:
    """Give a class its public module, and its name there if that differs from its own."""

    def rename(kind: type[Kind]) -> type[Kind]:
        kind.__module__ = module
        if name:
            kind.__name__ = kind.__qualname__ = name
        return kind

    return rename
