"""`help()` shows the names under which a program finds the classes."""

from __future__ import annotations

import asyncio
import inspect
import pydoc
import re
from typing import Any, get_type_hints
from unittest.mock import AsyncMock, Mock, patch

import pytest

from raftline import KV, aio
from raftline.clients.kv.cached import Cached
from raftline.clients.watches.watch import Watch
from raftline.common.public import _RENAMED
from raftline.objects.embedded_node import Node

CLASSES = [each for each in map(vars(aio).get, aio.__all__) if inspect.isclass(each)]


@pytest.mark.parametrize("kind", CLASSES)
def test_help_shows_names_that_exist(kind: type[object]) -> None:
    """A name after a dot is that of an internal base class, with its module."""
    text = pydoc.plain(pydoc.render_doc(kind))
    assert [name for name in _RENAMED if re.search(rf"(?<![.\w]){name}\b", text)] == []
    assert set(_RENAMED.values()) <= set(aio.__all__)


@pytest.mark.parametrize("kind", CLASSES)
def test_annotations_can_be_evaluated(kind: type[object]) -> None:
    for each in vars(kind).values():
        function = getattr(each, "fget", each)
        if inspect.isfunction(function):
            get_type_hints(function)


CLOSED = [
    *(KV, Node, Watch, Cached),
    *[kind for kind in CLASSES if hasattr(kind, "close") and hasattr(kind, "__aexit__")],
]


@pytest.mark.parametrize("kind", CLOSED)
@pytest.mark.parametrize("error", [None, ValueError()])
def test_end_of_a_block_closes_once(kind: Any, error: Exception | None) -> None:
    is_async = inspect.iscoroutinefunction(kind.close)
    with patch.object(kind, "close", AsyncMock() if is_async else Mock()) as close:
        made = object.__new__(kind)
        made._is_view = False  # of a client, which a view does not close
        done = getattr(made, "__aexit__" if kind in CLASSES else "__exit__")(None, error, None)
        if inspect.iscoroutine(done):
            asyncio.run(done)
        assert not is_async or close.await_count == 1
        assert close.call_count == 1
