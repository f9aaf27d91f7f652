"""The pages of `show` that go on: each is what a look at all keys gives, without that look."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftline.common.build_level import LEVEL
from raftline.common.process.wakeup import no_pause
from raftline.state import key_pages as module
from raftline.state.commands.key_commands import execute
from raftline.state.key_pages import KeyRuns, Selection, read_selection, show_page
from raftline.state.lease_table import Leases
from raftline.state.pairs import StillPairs, layered
from raftline.state.store import Store
from tests.core.typed import command

pytestmark = pytest.mark.pure  # the bounds are set
MORE = re.compile(r" more: (show.*)$")
NUMBERS = st.integers(0, 30)
KEYS = NUMBERS.map(lambda number: f"k{number:02}")
STEPS = st.one_of(
    st.tuples(st.just("set {} v"), KEYS),
    st.tuples(st.just("delete {}"), KEYS),
    st.tuples(st.just("txn delete {0} ; set {0}x v"), KEYS),
    st.tuples(st.just("txn set {0} w ; delete {0}x"), KEYS),
    st.tuples(st.just("clear {}"), st.sampled_from(["k1", "k29"])),
    st.tuples(st.sampled_from(["freeze", "thaw", "page", "page", "page", "new"]), KEYS),
)


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_KEYS", 3)
    monkeypatch.setattr(module, "RUN_KEYS", 12)


class Node:
    """Pairs that freeze and change, and a listing that goes on."""

    def __init__(self) -> None:
        self.store = Store(level=LEVEL)
        self.store.number = 1
        self.runs = KeyRuns()
        self.frozen: list[StillPairs] = []
        self.next = "show"
        self.looked_at = 0  # keys, for the last page

    def do(self, command: str) -> None:
        self.store.number += 1
        assert not execute(self.store, command).startswith("Sorry")

    def hold(self) -> StillPairs:
        self.store.held = above = layered(self.store.held)
        return above.hold(self.store.removed)

    def let_go(self, still: StillPairs) -> None:
        still.layered.let_go()
        self.thaw(still)

    def thaw(self, still: StillPairs) -> None:
        if not still.layered.readers:
            while still.layered.move_down():
                pass
            self.store.held = still.layered.base

    @property
    def kept_runs(self) -> list[Any]:
        """The sorted runs of keys that are kept for the next pages."""
        return [*self.runs._runs]

    def page(self) -> str:
        """Return the next page, which has to be the same as by a look at all keys."""
        selection = read_selection(self.next)
        assert selection is not None
        still = self.hold()
        self.looked_at = 0
        page = show_page(still, selection, self._count_a_step, self.runs)
        assert page == show_page(still, selection, no_pause)
        self.let_go(still)
        found = MORE.search(page)
        self.next = found[1] if found else "show"
        return page

    def _count_a_step(self) -> None:
        self.looked_at += module.STEP_KEYS


@given(st.lists(STEPS, max_size=60))
@settings(max_examples=100)
def test_a_page_is_that_of_a_look_at_all_keys_whatever_happens_between_two(
    steps: list[tuple[str, str]],
) -> None:
    node = Node()
    for number in range(0, 30, 2):
        node.do(f"set k{number:02} v")
    for what, key in steps:
        if what == "page":
            node.page()
        elif what == "freeze":
            node.frozen.append(node.hold())
        elif what == "thaw":
            while node.frozen:
                node.let_go(node.frozen.pop())
        elif what == "new":  # a snapshot came
            pairs = {f"k{number:02}": "v\x001" for number in range(0, 30, 3)}
            node.store.replace(pairs, LEVEL, Leases(), {}, node.store.number)
            node.frozen.clear()
        else:
            node.do(what.format(key))


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_key_that_came_back_before_its_removal_reached_the_pairs_is_listed(
    is_frozen: bool,
) -> None:
    """It has its old place among the keys: it is not at their end."""
    node = Node()
    for number in range(20):
        node.do(f"set k{number:02} v")
    before = node.hold()
    node.do("delete k07")
    node.page()
    assert '"k05"' in node.page()
    if not is_frozen:
        before.layered.let_go()  # the removal waits all the same: it is moved down bit by bit
    node.do("set k07 again")
    if is_frozen:
        before.layered.let_go()
    node.thaw(before)
    assert '"k07": "again"' in node.page()


def listed(node: Node) -> Iterator[str]:
    """Yield the pages of a listing, to its end."""
    yield node.page()
    while node.next != "show":
        yield node.page()


def test_a_listing_looks_at_all_keys_once_for_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_KEYS", 10)
    monkeypatch.setattr(module, "RUN_KEYS", 500)
    monkeypatch.setattr(module, "STEP_KEYS", 1)
    node, looks = Node(), 0
    for number in range(1000):
        node.do(f"set key{number * 7 % 1000:03} v")
    for count, _ in enumerate(listed(node), start=1):
        node.do(f"set key{count * 11 % 1000:03} w")  # while others write
        looks += node.looked_at
    assert (count, looks) == (100, 3 * 1000)


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


def test_a_listing_goes_on_in_the_pairs_of_a_snapshot_that_came() -> None:
    node = Node()
    for number in range(10):
        node.do(f"set k{number:02} v")
    node.page()
    assert '"k05"' in node.page()
    pairs = {f"k{number:02}b": "v\x001" for number in range(10)}
    node.store.replace(pairs, LEVEL, Leases(), {}, node.store.number)
    assert '"k06b"' in node.page()


@pytest.mark.parametrize("removal", ["delete k0{}", "txn delete k0{}"])
@pytest.mark.parametrize("frozen", [True, False])
def test_a_key_that_came_as_another_went_is_listed(frozen: bool, removal: str) -> None:
    node = Node()
    for number in range(20):
        node.do(f"set k{number:02} v")
    before = node.hold() if frozen else None
    node.do(removal.format(0))
    node.page()
    assert '"k06"' in node.page()
    if before is not None:
        node.let_go(before)
    for number in (1, 2, 3):
        node.do(removal.format(number))
    node.do("set k07a v")
    assert '"k07a"' in node.page()


def test_the_keys_of_a_run_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUN_BYTES", 30)
    node = Node()
    for number in range(11):
        node.do(f"set key{number:02} v")
    assert '"key02"' in node.page()
    assert '"key05"' in node.page()
    (run,) = node.kept_runs
    assert (len(run.keys), run.is_whole) == (6, False)
    assert "".join(listed(node)).count("key10") == 1


def test_listings_that_go_on_at_a_time_have_a_run_each() -> None:
    node = Node()
    for number in range(40):
        node.do(f"set k{number:02} v")
    kept: list[set[str]] = []
    for selection in (
        Selection("", "k"),
        Selection("", "k20"),
        Selection("", "k02"),
        Selection("k1", "k"),
    ):
        still = node.hold()
        show_page(still, selection, no_pause, node.runs)
        node.let_go(still)
        kept.append({run.keys[0][1] for run in node.kept_runs})
    # As many as are kept, and those used last.
    assert kept == [{"k00"}, {"k00", "k21"}, {"k00", "k21"}, {"k00", "k10"}]


def test_a_listing_that_ends_leaves_no_run() -> None:
    node = Node()
    for number in range(30):
        node.do(f"set k{number:02} v")
    node.page()
    node.page()
    assert len(node.kept_runs) == 1
    assert '"k29"' in "".join(listed(node))
    assert not node.kept_runs


ALL = module.KeyRange("", module.key_bytes, None)


@given(st.permutations(range(60)), st.integers(1, 200), st.integers(1, 70))
@settings(max_examples=50)
def test_the_first_keys_of_many_are_found_with_few_in_memory(
    order: list[int], run_bytes: int, step: int
) -> None:
    keys = [chr(65 + number) * (1 + number % 7) for number in order]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "RUN_BYTES", run_bytes)
        patched.setattr(module, "STEP_KEYS", step)
        found, is_whole = ALL.first(keys, module.RUN_KEYS, no_pause)
    in_order = sorted(keys, key=module.key_bytes)
    assert [key for _, key in found] == in_order[: len(found)]
    assert module.PAGE_KEYS < len(found) <= module.RUN_KEYS
    assert not is_whole
    size = sum(len(place) for place, _ in found)
    assert size <= run_bytes or len(found) == module.PAGE_KEYS + 1


def test_the_first_keys_of_few_are_all_of_them() -> None:
    found = ALL.first(["D", "B", "C"], module.RUN_KEYS, no_pause)
    assert found == ([(b"B", "B"), (b"C", "C"), (b"D", "D")], True)


SPELLED = st.text("ab\u00e9\U0001f600", min_size=1, max_size=3) | st.sampled_from(
    [r"a\sb", r"a\xff", "a~", "b\x7f", r"\\", "a"]
)


@given(
    st.lists(SPELLED, unique=True, max_size=12),
    SPELLED,
    st.none() | SPELLED,
    st.none() | SPELLED,
    st.sampled_from([module.key_bytes, module.text_bytes]),
)
@settings(max_examples=200)
def test_keys_that_stand_for_themselves_are_chosen_as_others_are(
    keys: list[str], prefix: str, after: str | None, end: str | None, order: module.Order
) -> None:
    """Without a look at each: so the places of the others are compared with theirs."""
    begins, last = order(module.real(after)) if after else None, order(module.real(end or "~"))
    for of in (prefix, ""):
        found = module.KeyRange(of, order, begins).among(keys, last if end else None)
        assert found == [
            (place, key)
            for key in keys
            for shown in [module.real(key)]
            for place in [order(shown)]
            if shown.startswith(of) and place > (begins or b"") and (not end or place < last)
        ]
