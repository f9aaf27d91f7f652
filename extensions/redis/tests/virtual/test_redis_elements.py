"""Clients of hashes, sets, sorted sets and a stream, in schedules of faults."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest

from raftline.redis.harness.element_machine import COUNT, ElementBeliefs
from raftline.redis.resp import scripts
from raftline.redis.resp.functions import FUNCTIONS
from raftline.redis.resp.replies import Value
from raftline.redis.resp.types import combined_scores, sets, sorted_sets, streams
from raftline.redis.resp.types.typed import SET, SORTED_SET
from raftline.redis.resp.view import View
from raftline_testing.runner.at_night import in_the_rest
from raftline_testing.virtual.seeds import counts_of, first_failure

SEEDS = (227, 385, 472)  # of schedules with such clients

Decide = Callable[[View, list[str]], Value]


def plant(monkeypatch: pytest.MonkeyPatch, name: str, decide: Decide) -> None:
    monkeypatch.setitem(FUNCTIONS, name, FUNCTIONS[name]._replace(decide=decide))


@pytest.mark.parametrize("seeds", [SEEDS[2:], in_the_rest(SEEDS[:2])])
def test_elements_are_registers_and_counters(seeds: tuple[int, ...]) -> None:
    counts = sum((counts_of(seed, 1) for seed in seeds), Counter[str]())
    assert counts["commands on elements"] > 50
    assert counts["increments of elements"] > 5
    assert counts["appends to streams"] > 5
    for name in ("ZUNION", "ZINTER", "ZDIFF"):
        assert counts[f"{name}STORE of elements"], counts


@pytest.mark.judge
def test_member_that_moves_and_stays_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(view: View, words: list[str]) -> Value:
        before = view.body(words[1], SET)
        reply = sets.smove(view, words)
        view.put_body(words[1], SET, before)
        return reply

    plant(monkeypatch, "SMOVE", copied)
    assert "AssertionError: element typed/" in first_failure(SEEDS)


@pytest.mark.judge
def test_score_incremented_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(view: View, words: list[str]) -> Value:
        reply = sorted_sets.zincrby(view, words)
        if reply == 3:
            sorted_sets.zincrby(view, words)
        return reply

    plant(monkeypatch, "ZINCRBY", twice)
    assert re.search(r"typed/\w+ is \d+ after \d+ acknowledged", first_failure(SEEDS))


@pytest.mark.judge
def test_score_that_nx_replaces_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def replaced(view: View, words: list[str]) -> Value:
        return sorted_sets.zadd(view, [word for word in words if word != "NX"])

    plant(monkeypatch, "ZADD", replaced)
    assert "AssertionError: element typed/" in first_failure(SEEDS)


@pytest.mark.judge
def test_old_destination_that_stays_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """ZINTERSTORE finds nothing, and leaves what was there."""

    def kept(view: View, words: list[str]) -> Value:
        before = view.body(words[1], SORTED_SET)
        reply = combined_scores.combine_into(view, words)
        if reply == 0:
            view.put_body(words[1], SORTED_SET, before)
        return reply

    plant(monkeypatch, "ZINTERSTORE", kept)
    assert "AssertionError: ZINTERSTORE of " in first_failure(SEEDS)


@pytest.mark.judge
def test_union_with_one_score_of_a_member_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def highest(view: View, words: list[str]) -> Value:
        return combined_scores.combine(view, [*words, "AGGREGATE", "MAX"])

    plant(monkeypatch, "ZUNION", highest)
    assert "AssertionError: ZUNION of " in first_failure(SEEDS)


@pytest.mark.judge
def test_count_without_its_limit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(view: View, words: list[str]) -> Value:
        return sets.sintercard(view, words[: words.index("LIMIT")])

    plant(monkeypatch, "SINTERCARD", whole)
    assert "AssertionError: SINTERCARD is " in first_failure(SEEDS)


@pytest.mark.judge
def test_member_popped_from_the_second_key_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one has a member."""

    def second(view: View, words: list[str]) -> Value:
        return sorted_sets.pop_some(view, [*words[:2], words[3], words[2], *words[4:]])

    plant(monkeypatch, "ZMPOP", second)
    assert "AssertionError: element typed/" in first_failure(SEEDS)


@pytest.mark.judge
def test_entry_appended_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(view: View, words: list[str]) -> Value:
        streams.xadd(view, words)
        return streams.xadd(view, words)

    plant(monkeypatch, "XADD", twice)
    assert "AssertionError: a value was appended twice" in first_failure(SEEDS)


@pytest.mark.judge
def test_read_of_a_stream_without_its_last_entry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(view: View, words: list[str]) -> Value:
        found = streams.xrange(view, words)
        return found[:-1] if isinstance(found, list) else found

    plant(monkeypatch, "XRANGE", short)
    assert "AssertionError: a later read lacks " in first_failure(SEEDS)


def test_element_that_nobody_asked_for_is_found() -> None:
    """The final state has a field, and nobody has set it."""
    beliefs = ElementBeliefs(Counter())
    beliefs.judge({"typed/hash": r"\shash other=1"})
    with pytest.raises(AssertionError, match="element typed/hash a"):
        beliefs.judge({"typed/hash": r"\shash other=1 a=1"})


@pytest.mark.judge
def test_script_that_runs_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(view: View, words: list[str]) -> Value:
        if words[-1] == COUNT:
            scripts.run(view, words, FUNCTIONS)
        return scripts.run(view, words, FUNCTIONS)

    plant(monkeypatch, "EVALSHA", twice)
    assert re.search(r"typed/\w+ is \d+ after \d+ acknowledged", first_failure(SEEDS))
