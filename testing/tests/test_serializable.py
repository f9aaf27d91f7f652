"""The check of transactions: what it accepts and what it finds."""

from __future__ import annotations

import random

import pytest

from raftline_testing.histories.serializable import ObservedTransaction, findings


def txn(
    called_at: float, returned_at: float | None, reads: str = "", appends: str = ""
) -> ObservedTransaction:
    """`reads` as `x:1;2; y:`, `appends` as `x:3;`."""
    parsed = [dict(each.split(":") for each in text.split()) for text in (reads, appends)]
    return ObservedTransaction("c", called_at, returned_at, parsed[0], parsed[1])


SOUND = {
    "nothing": ([], {}),
    "one after the other": (
        [txn(1, 2, "x: y:", "x:1; y:2;"), txn(3, 4, "x:1; y:2;", "x:3;"), txn(5, 6, "x:1;3;")],
        {"x": "1;3;", "y": "2;"},
    ),
    "in the other order while both are under way": (
        [txn(1, 9, "x:2;", "x:1;"), txn(2, 8, "x:", "x:2;")],
        {"x": "2;1;"},
    ),
    "unknown and never done": ([txn(1, None, "", "x:1; y:1;"), txn(2, 3, "x: y:")], {}),
    "unknown and done later": (
        [txn(1, None, "", "x:1; y:1;"), txn(2, 3, "x: y:"), txn(4, 5, "x:1; y:1;")],
        {"x": "1;", "y": "1;"},
    ),
    "equal times overlap": ([txn(1, 2, "", "x:1;"), txn(2, 3, "x:")], {"x": "1;"}),
}
WRONG = {
    "an acknowledged one is lost": ([txn(1, 2, "", "x:1;")], {}, "0 of 1 appends"),
    "half of one": ([txn(1, 2, "", "x:1; y:1;")], {"x": "1;"}, "1 of 2 appends"),
    "half of one of unknown outcome": ([txn(1, None, "", "x:1; y:1;")], {"y": "1;"}, "1 of 2"),
    "twice": ([txn(1, 2, "", "x:1;")], {"x": "1;1;"}, "holds 1 twice"),
    "from nowhere": ([], {"x": "1;"}, "which no transaction appended"),
    "read and gone": ([txn(1, 2, "x:1;")], {}, "not a prefix of"),
    "half a piece": ([txn(1, 2, "", "x:12;"), txn(3, 4, "x:1")], {"x": "12;"}, "not a prefix of"),
    "a stale read": (
        [txn(1, 2, "", "x:1;"), txn(3, 4, "x:")], {"x": "1;"}, "in any order",
    ),
    "a read of two moments": (
        [txn(1, 9, "", "x:1; y:1;"), txn(2, 8, "x:1; y:")],
        {"x": "1;", "y": "1;"}, "in any order",
    ),
    "a read amid another": (
        [txn(1, 9, "x:", "x:1;"), txn(2, 8, "x:", "x:2;")], {"x": "1;2;"}, "in any order",
    ),
    "write skew": (
        [txn(1, 9, "x:", "y:1;"), txn(2, 8, "y:", "x:2;")],
        {"x": "2;", "y": "1;"}, "in any order",
    ),
    "appends in two orders": (
        [txn(1, 9, "", "x:1; y:1;"), txn(2, 8, "", "x:2; y:2;")],
        {"x": "1;2;", "y": "2;1;"}, "in any order",
    ),
    "appends against time": (
        [txn(1, 2, "", "x:1;"), txn(3, 4, "", "x:2;")], {"x": "2;1;"}, "in any order",
    ),
    "two readers see two orders": (
        [txn(1, 9, "", "x:1;"), txn(1, 9, "", "y:2;"), txn(2, 8, "x:1; y:"), txn(2, 8, "x: y:2;")],
        {"x": "1;", "y": "2;"}, "in any order",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_serializable_history_is_accepted(name: str) -> None:
    history, finals = SOUND[name]
    assert findings(history, finals) == []


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_found(name: str) -> None:
    history, finals, says = WRONG[name]
    assert says in "\n".join(findings(history, finals))


def drawn(chance: random.Random) -> tuple[list[ObservedTransaction], dict[str, str]]:
    """Transactions that take effect one by one, each at a moment while it is under way."""
    held = {key: "" for key in "vwxyz"}
    history = []
    for number in range(60):
        keys = chance.sample(sorted(held), 3)
        reads = {key: held[key] for key in keys[: chance.randint(0, 3)]}
        appends = {key: f"{number};" for key in keys[chance.randint(0, 3) :]}
        is_unknown = chance.random() < 0.2
        if not (is_unknown and chance.random() < 0.5):
            for key, piece in appends.items():
                held[key] += piece
        called_at = number - chance.random() * 3
        returned_at = None if is_unknown else number + chance.random() * 3
        reads = {} if is_unknown else reads
        history.append(ObservedTransaction("c", called_at, returned_at, reads, appends))
    return history, held


def test_one_copy_history_is_accepted_and_a_stale_read_found() -> None:
    """Any history of one copy is accepted and an older read is found."""
    found = 0
    for seed in range(50):
        history, finals = drawn(random.Random(seed))
        assert findings(history, finals) == []
        late = max(one.returned_at or 0 for one in history) + 1
        key = max(finals, key=lambda each: len(finals[each]))
        older = finals[key][: finals[key].index(";") + 1]
        stale = ObservedTransaction("c", late, late + 1, {key: older})
        found += bool(findings([*history, stale], finals))
    assert found == 50
