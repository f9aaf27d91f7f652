"""Keys that were there before level 2: the entry that raised the level counts as their last change,
in transactions as elsewhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.logmanager import LogManager
from raftline.wire.key_stat import with_facts
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS, entries
from tests.core.test_store import copied, facts

BEFORE = {"a": "x", "n": "5", "o": "[1]"}
ROSE = len(BEFORE) + 1  # the entry that raised the level
LEASE = ROSE + 1  # the entry that grants a lease
RISES = st.sampled_from([["level 2"], ["level 3"], ["level 2", "level 3"]])


def risen(levels: list[str]) -> LogManager:
    """Return a node whose keys were set at level 1; two levels are two entries, with the same
    entries after them."""
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    manager.apply(entries(1, 1, *(f"set {key} {value}" for key, value in BEFORE.items())))
    manager.apply(entries(ROSE, 1, levels[0], "lease 100"))
    manager.apply(entries(LEASE + 1, 1, *levels[1:], *["noop"] * (2 - len(levels))))
    return manager


def written(levels: list[str]) -> LogManager:
    """Return a node whose keys were set by the very entry that raises the level, if that could
    be."""
    manager = risen(levels)
    for key, value in BEFORE.items():
        manager.store.held[key] = with_facts(value, ROSE)
    return manager


KEY = st.sampled_from(["a", "n", "o", "none"])
OPERATION = st.one_of(
    st.builds(
        lambda form, key: form.replace("KEY", key),
        st.sampled_from(
            [
                "stat KEY",
                "get KEY",
                "expire KEY 9",
                "persist KEY",
                "incr KEY",
                "append KEY 1",
                "setnx KEY 1",
                "delete KEY",
                "setex KEY 9 7",
                f"under lease-{LEASE} append KEY 0",
                "object KEY list.append 2",
                "object KEY list.put 0 1",
            ]
        ),
        KEY,
    )
)
CONDITION = st.builds("{} unchanged since {}".format, KEY, st.integers(1, LEASE + 4))
TRANSACTION = st.builds(
    lambda conditions, operations: (
        "txn "
        + (f"if {' ; '.join(conditions)} then " if conditions else "")
        + " ; ".join(operations)
    ),
    st.lists(CONDITION, max_size=2),
    st.lists(OPERATION, min_size=1, max_size=4),
)


@given(RISES, st.lists(TRANSACTION | OPERATION, min_size=1, max_size=6), st.integers(0, 6))
def test_a_key_of_level_1_was_changed_by_the_entry_that_raised_the_level(
    levels: list[str], commands: list[str], snapshot_at: int
) -> None:
    nodes = [risen(levels), written(levels), risen(levels)]
    for place, command in enumerate(commands):
        if place == snapshot_at:
            loaded = copied(nodes[2].freeze())
            nodes[2].arrived(loaded)
            nodes[2]._load(loaded, *nodes[2]._arrived)
        [first, *others] = [node.apply(entries(LEASE + 2 + place, 1, command))[0] for node in nodes]
        assert others == [first, first]
        assert facts(nodes[0]) == facts(nodes[1]) == facts(nodes[2])


@pytest.mark.parametrize("level", ["level 2", "level 3"])
def test_a_transaction_tells_and_tests_a_key_of_level_1(level: str) -> None:
    manager = risen([level])

    def ask(command: str) -> list[object]:
        [reply] = manager.apply(entries(manager.applied.index + 1, 1, command))
        branch, _, answers = reply.partition(": ")
        return [branch.rpartition(" ")[2], *json.loads(answers)]

    stat = '{"index": 4, "lease": null, "bytes": 1}'
    assert ask("txn stat a") == ["then", stat]
    assert ask("txn if a unchanged since 4 then stat a else get a") == ["then", stat]
    assert ask("txn if a unchanged since 3 then stat a else get a") == ["else", "x"]
    bound = '{"index": 4, "lease": "own-10-9", "bytes": 1}'  # a new lease is no change
    assert ask("txn expire a 9 ; stat a") == ["then", "a for 9 s", bound]
    assert ask("txn if a unchanged since 4 then persist a ; stat a") == ["then", "a stays", stat]
    changed = ["a set to y", stat.replace("4", "12", 1)]
    assert ask("txn if a unchanged since 4 then set a y ; stat a") == ["then", *changed]
