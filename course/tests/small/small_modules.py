"""The modules of course/small, which import each other by their bare names, as in the folder."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

from labs.solutions.model import SMALL

NAMES = ("raft", "lines", "logmanager", "server", "client")


@contextmanager
def small_modules() -> Iterator[SimpleNamespace]:
    """Load the five files; put other modules of these names back afterwards."""
    before = {name: sys.modules.get(name) for name in NAMES}
    try:
        yield SimpleNamespace(**{name: _load(name) for name in NAMES})
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SMALL / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
