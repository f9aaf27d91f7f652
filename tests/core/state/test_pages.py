"""The pages of `show`: each is what a look at all keys gives, without that look."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.state import key_pages as module
from raftline.state.commands.key_commands import execute
from raftline.state.key_index import key_bytes
from raftline.state.key_pages import KeyPage, Selection, read_selection, take_page
from raftline.state.lease_table import Leases
from raftline.state.pairs import StillPairs, layered
from raftline.state.store import Store
from raftline.wire.protocol import real
from tests.core.typed import command

pytestmark = pytest.mark.pure  # the bounds are set
MORE = re.compile(r" more: (show.*)$")
NUMBERS = st.integers(0, 30)
KEYS = NUMBERS.map(lambda number: f"k{number:02}") | st.sampled_from(
    [r"k\xff", r"k\xc3", r"k\xc3\sb", "k\u00e9", "k\U0001f600", "k\u8a9e", r"k\\", r"k1\s2", "k~"]
)
PREFIXES = st.sampled_from(["", "k1", "k\u00e9", r"k\xc3", r"k\\", "x"])
STEPS = st.one_of(
    st.tuples(st.just("set {} v"), KEYS),
    st.tuples(st.just("delete {}"), KEYS),
    st.tuples(st.just("txn delete {0} ; set {0}x v"), KEYS),
    st.tuples(st.just("txn set {0} w ; delete {0}x"), KEYS),
    st.tuples(st.just("clear {}"), st.sampled_from(["k1", "k29"])),
    st.tuples(st.just("show {}"), PREFIXES),
    st.tuples(st.sampled_from(["freeze", "thaw", "page", "page", "page", "new"]), KEYS),
)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_KEYS", 3)


class Node:
    """Pairs that freeze and change, and a listing that continues."""

    def __init__(self) -> None:
        self.store = Store(is_at_floor=False)
        self.store.number = 1
        self.frozen: list[StillPairs] = []
        self.next = "show"

    def do(self, command: str) -> None:
        self.store.number += 1
        assert not execute(self.store, command).startswith("Sorry")

    def hold(self) -> StillPairs:
        self.store.held = above = layered(self.store.held)
        return above.hold()

    def release(self, still: StillPairs) -> None:
        still.layered.release()
        if not still.layered.readers:
            while still.layered.move_down():
                pass
            self.store.held = still.layered.base

    def page(self) -> str:
        """Return the next page, which has to be the same as by a look at all keys."""
        selection = read_selection(self.next)
        assert selection is not None
        page = take_page(self.store, selection)
        assert page == self._look_at_all(selection)
        reply = page.format()
        match = MORE.search(reply)
        self.next = match[1] if match else "show"
        return reply

    def _look_at_all(self, selection: Selection) -> KeyPage:
        after, prefix = key_bytes(real(selection.after)), real(selection.prefix)
        keys = {real(key): key for key in self.store if real(key).startswith(prefix)}
        places = sorted([shown for shown in keys if key_bytes(shown) > after], key=key_bytes)
        pairs = [(keys[shown], self.store.held[keys[shown]]) for shown in places[:3]]
        return KeyPage(selection, pairs, is_last=len(places) <= 3)


@given(st.lists(STEPS, max_size=60))
def test_page_equals_a_full_scan_under_changes_between_pages(steps: list[tuple[str, str]]) -> None:
    """Each page equals a scan of all keys, whatever changes between two pages."""
    node = Node()
    for number in range(0, 30, 2):
        node.do(f"set k{number:02} v")
    for what, key in steps:
        if what == "page":
            node.page()
        elif what == "show {}":
            node.next = f"show {key}".rstrip()
        elif what == "freeze":
            node.frozen.append(node.hold())
        elif what == "thaw":
            while node.frozen:
                node.release(node.frozen.pop())
        elif what == "new":  # a snapshot came
            pairs = {f"k{number:02}": "v\x001" for number in range(0, 30, 3)}
            node.store.replace(pairs, Leases(), {}, node.store.number)
            node.frozen.clear()
        else:
            node.do(what.format(key))


def listed(node: Node) -> Iterator[str]:
    """Yield the pages of a listing, to its end."""
    yield node.page()
    while node.next != "show":
        yield node.page()


def test_a_page_looks_at_few_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_KEYS", 10)

    class Counted(dict[str, str]):
        count = 0

        def __contains__(self, key: object) -> bool:
            self.count += 1
            return super().__contains__(key)

    held = Counted({f"key{number * 7 % 1000:03}": "v\x001" for number in range(1000)})
    store = Store(held, is_at_floor=False)
    page = take_page(store, Selection("", "key500"))
    assert [key for key, _ in page.pairs] == [f"key{number}" for number in range(501, 511)]
    assert held.count < 100


def test_a_page_has_the_index_of_each_key_if_it_is_asked_for() -> None:
    node = Node()
    for number in range(4):
        node.do(f"set k{number} v{number}")
    node.next = "show k with index"
    assert node.page() == (
        'SHOW response: {"k0": [2, "v0"], "k1": [3, "v1"], "k2": [4, "v2"]} '
        "more: show k after k2 with index"
    )
    assert node.page() == 'SHOW response: {"k3": [5, "v3"]}'


@pytest.mark.parametrize(
    ("typed", "selection"),
    [
        ("show with", ("with", "")),
        ("show with index", ("", "", "", True)),
        ("show after with index", ("after", "", "", True)),
        ("show after with", ("", "with")),
        ("show with after index with index", ("with", "index", "", True)),
    ],
)
def test_the_words_with_index_end_a_request(typed: str, selection: tuple[str, ...]) -> None:
    assert read_selection(typed) == Selection(*selection)  # type: ignore[arg-type]
    assert command(typed) == typed


def test_listing_continues_in_the_pairs_of_a_snapshot_that_came() -> None:
    node = Node()
    for number in range(10):
        node.do(f"set k{number:02} v")
    node.page()
    assert '"k05"' in node.page()
    pairs = {f"k{number:02}b": "v\x001" for number in range(10)}
    node.store.replace(pairs, Leases(), {}, node.store.number)
    assert '"k06b"' in node.page()
