"""Producers and workers at two lists, in schedules of faults (redis/queue_machine.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from raftline.redis.resp import blocking
from raftline.redis.resp.functions import FUNCTIONS
from raftline.redis.resp.key_programs import KeyState, Task, read, write
from raftline.redis.resp.programs import CommandContext, Steps
from raftline.redis.resp.replies import Value
from raftline.redis.resp.types import lists
from raftline.redis.resp.view import View
from raftline_testing.runner.at_night import in_the_rest
from raftline_testing.runner.parts import whole
from raftline_testing.virtual.seeds import counts_of, first_failure

SEEDS = (41, 52, 71, 149)  # of schedules with a queue
EACH = (
    "elements added",
    "elements taken",
    "elements found after a lost answer",
    "elements ended",
    "elements popped by LMPOP",
)


@whole
@pytest.mark.parametrize("seeds", [SEEDS[:1], in_the_rest(SEEDS[1:])])
def test_each_element_reaches_one_worker_in_order(seeds: tuple[int, ...]) -> None:
    counts = sum((counts_of(seed, 1) for seed in seeds), Counter[str]())
    assert not [name for name in EACH if not counts[name]], counts


@pytest.mark.judge
def test_element_that_stays_where_it_was_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(view: View, words: list[str]) -> Value:
        before = view.body(words[1], lists.LIST)
        element = lists.move(view, words)
        view.put_body(words[1], lists.LIST, before)
        return element

    for name in ("LMOVE", "RPOPLPUSH", "BLMOVE", "BRPOPLPUSH"):
        monkeypatch.setitem(FUNCTIONS, name, FUNCTIONS[name]._replace(decide=moved))
    assert "delivered to worker" in first_failure(SEEDS)


@pytest.mark.judge
def test_element_lost_on_its_way_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def dropped(view: View, words: list[str]) -> Value:
        before = view.body(words[2], lists.LIST)
        element = lists.move(view, words)
        view.put_body(words[2], lists.LIST, before)
        return element

    monkeypatch.setitem(FUNCTIONS, "BLMOVE", FUNCTIONS["BLMOVE"]._replace(decide=dropped))
    found = first_failure(SEEDS)
    assert "lost from the list of worker" in found or "was 0 times in the list" in found


@pytest.mark.judge
def test_newest_element_delivered_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def from_left(view: View, words: list[str]) -> Value:
        return lists.pop(view, ["LPOP", *words[1:]])

    monkeypatch.setitem(FUNCTIONS, "RPOP", FUNCTIONS["RPOP"]._replace(decide=from_left))
    assert "is delivered after producer" in first_failure(SEEDS)


@pytest.mark.judge
def test_element_of_the_second_queue_taken_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first queue has an element."""

    def second(view: View, words: list[str]) -> Value:
        return lists.pop_some(view, [*words[:2], words[3], words[2], *words[4:]])

    monkeypatch.setitem(FUNCTIONS, "LMPOP", FUNCTIONS["LMPOP"]._replace(decide=second))
    assert "are overlooked" in first_failure(SEEDS)


@pytest.mark.judge
def test_reply_from_before_the_entry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waiter is given the element that it saw before its entry was committed."""

    def early(
        context: CommandContext, tasks: Sequence[Task], watched: dict[str, KeyState]
    ) -> Steps[list[Value] | None]:
        key = tasks[0].keys[0]
        look = Task(FUNCTIONS["LINDEX"], ["LINDEX", key, "-1"])
        seen = yield from read(context, [look], {})
        yield from write(context, tasks, watched)
        if not seen:
            return seen
        forms: dict[str, list[Value]] = {"BRPOP": [[key, *seen]], "BLMPOP": [[key, seen]]}
        return forms.get(tasks[0].function.name, seen)

    monkeypatch.setattr(blocking, "write", early)
    assert "is delivered to worker" in first_failure(SEEDS)


def test_waiter_served_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(
        context: CommandContext, tasks: Sequence[Task], watched: dict[str, KeyState]
    ) -> Steps[list[Value] | None]:
        yield from write(context, tasks, watched)
        return (yield from write(context, tasks, watched))

    monkeypatch.setattr(blocking, "write", twice)
    found = first_failure(SEEDS)
    assert "and has not moved it" in found or "are lost" in found
