"""CPython's own tests of mappings, on `kv`.

`test.mapping_tests` runs as it comes with Python, twice: on `kv`, with str alone, and on one from
which most of the differences are taken away, so that the rest of each test runs. Those that are
left have a row in docs/use/python.md ("Differences from a dict").
"""

from __future__ import annotations

import ast
import collections.abc
import re
import unittest
from pathlib import Path
from typing import Any, cast

import pytest
from library.tests.rim.cpython_suites import cases_of, problems

from raftline.clients.calls.value_codec import TEXT, Codec
from raftline.clients.kv.kv import KV
from raftline.clients.requests.pool import Clients
from raftline.harness.kv_cluster import KVCluster

mappings = pytest.importorskip(
    "test.mapping_tests", reason="this Python comes without its own tests"
)
PAGE = Path(__file__).resolve().parents[3] / "docs/use/python.md"


class Plain(KV[Any]):
    """`kv`, made as a dict is."""

    codec: Codec[Any] = TEXT

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(cast(Clients, KVCluster()), self.codec)
        self.update(*given, **more)


class Relaxed(Plain):
    """One that has any literal as a key or a value, is equal by what is in it, and can delete all
    keys."""

    codec = Codec(object, repr, ast.literal_eval)
    __eq__ = collections.abc.Mapping.__eq__
    __hash__ = None  # type: ignore[assignment]

    def clear(self) -> None:  # type: ignore[override]
        for key in list(self):
            del self[key]


class OnPlain(mappings.BasicTestMappingProtocol):  # type: ignore[name-defined]
    __test__ = False
    type2test = Plain

    def _reference(self) -> dict[str, str]:
        return {"1": "2", "key1": "value1", "key2": "(1, 2, 3)"}


class OnRelaxed(mappings.TestHashMappingProtocol):  # type: ignore[name-defined]
    __test__ = False
    type2test = Relaxed


# Meant to differ: a test's name, and the row of the page that says why.
EQUAL = "`==` compares the contents"
ONLY_TEXT = "any object can be a key or a value"
NONE = "`None` can be a key or a value"
PREFIX = "`items(None)` is a TypeError"
OF_DICT = "`copy`, `fromkeys`"
DIFFER: dict[type[Any], dict[str, str]] = {
    OnPlain: {
        "test_constructor": EQUAL,
        "test_items": PREFIX,
        "test_update": EQUAL,
        "test_values": PREFIX,
    },
    OnRelaxed: {
        "test_copy": OF_DICT,
        "test_eq": ONLY_TEXT,  # its text can't be read back
        "test_fromkeys": OF_DICT,
        "test_getitem": ONLY_TEXT,  # and raises in __hash__
        "test_items": PREFIX,
        "test_pop": ONLY_TEXT,
        "test_repr": "`repr` shows the contents",
        "test_repr_deep": "`repr` shows the contents",
        "test_setdefault": NONE,
        "test_values": PREFIX,
    },
}
LEFT_OUT = {"test_popitem"}  # takes out thousands of pairs one by one, each by a listing
RELAXED = [each for each in DIFFER if each is not OnPlain]


@pytest.mark.parametrize(("suite", "name"), [*cases_of([OnPlain]), *cases_of(RELAXED, LEFT_OUT)])
def test_kv_is_a_mapping_as_cpython_s_tests_have_it(
    suite: type[unittest.TestCase], name: str
) -> None:
    found = problems(suite, name)
    assert bool(found) == (name in DIFFER[suite]), found


def test_each_difference_has_a_row_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    page = text.partition("### Differences from a dict")[2].partition("\n#")[0]
    rows = re.findall(r"(?m)^\| (.+?) \| .+ \|$", page)
    assert {why for each in DIFFER.values() for why in each.values()} <= set(rows)
