"""`help()` shows the names under which a program finds the classes."""

from __future__ import annotations

import inspect
import pydoc
import re
from typing import get_type_hints

import pytest

from raftline import aio
from raftline.common.public import _RENAMED

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
