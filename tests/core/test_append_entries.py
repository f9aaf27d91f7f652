"""AppendEntries at the follower: Figure 2, receiver 1-5; §5.3."""

from __future__ import annotations

import pytest

from raftline.raft.inputs import Receive, Tick
from raftline.raft.log import Entry
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    PeerError,
    RequestVoteReply,
    TimeoutNow,
)
from raftline.raft.state import APPLY_MAX
from raftline_testing.doubles.cores import (
    acknowledge,
    append,
    node_of,
    sync,
    terms_of,
)


def test_a_follower_acknowledges_after_its_own_disk_write() -> None:
    node = node_of("s2")
    effects = node.step(Receive(append(1, (0, 0), 1, 1)), 10)
    assert [entry.index for entry in effects.append] == [1, 2]
    assert effects.send == []
    assert effects.send_after_save == [AppendAccepted("s2", "s1", 1, 2, 1)]


def test_a_follower_names_the_end_of_its_log_and_compares_numbers_as_numbers() -> None:
    node = node_of("s2", 2, 3, 3, 3, 4, 5, 5, 5, 5, term=6)
    effects = node.step(Receive(append(7, (11, 6))), 10)
    assert effects.send_after_save == [AppendRejected("s2", "s1", 7, 9, 1)]
    effects = node.step(Receive(append(7, (9, 5), 6, 6, number=2)), 10)
    assert effects.send_after_save == [AppendAccepted("s2", "s1", 7, 11, 2)]


def test_a_late_shorter_append_erases_nothing() -> None:
    node = node_of("s2", 1, 1, 1, 1)
    for message in (append(1, (0, 0)), append(1, (0, 0), 1), append(1, (1, 1), 1, 1)):
        effects = node.step(Receive(message), 10)
        assert (effects.cut_after, effects.append) == (None, [])
    assert terms_of(node) == [1, 1, 1, 1]


def test_only_conflicting_entries_are_cut() -> None:
    node = node_of("s2", 1, 1, 2, 2, 2)
    effects = node.step(Receive(append(3, (1, 1), 1, 2, 3)), 10)
    assert effects.cut_after == 3
    assert [(entry.index, entry.term) for entry in effects.append] == [(4, 3)]
    assert terms_of(node) == [1, 1, 2, 3]


def test_equal_length_is_not_agreement() -> None:
    node = node_of("s2", 1, 2, 2)
    effects = node.step(Receive(append(3, (3, 1))), 10)
    assert effects.send_after_save == [AppendRejected("s2", "s1", 3, 1, 1)]
    assert "[*] s2 differs from s1 at entry 3" in effects.notes


@pytest.mark.parametrize(
    ("message", "index"),
    [
        (append(2, (2, 1)), 2),  # a heartbeat speaks for what is before it
        (append(2, (1, 1), 1), 2),
        (append(2, (0, 0)), 0),
        (append(2, (4, 1), 2), 5),
    ],
)
def test_an_acknowledgement_names_the_matched_index_not_the_last_one(
    message: AppendEntries, index: int
) -> None:
    node = node_of("s2", 1, 1, 1, 1)
    assert node.step(Receive(message), 10).send_after_save == [
        AppendAccepted("s2", "s1", 2, index, 1)
    ]


def test_a_heartbeat_tells_the_commit_index() -> None:
    node = node_of("s2", 1, 1)
    effects = node.step(Receive(append(1, (2, 1), commit=2)), 10)
    assert [entry.index for entry in effects.apply] == [1, 2]


def test_a_heartbeat_that_does_not_match_commits_nothing() -> None:
    node = node_of("s2", 1, 1)
    effects = node.step(Receive(append(3, (2, 2), commit=2)), 10)
    assert (effects.apply, node.view.commit_index) == ([], 0)


def test_a_follower_commits_no_further_than_the_message_matched() -> None:
    node = node_of("s2", 1, 1, 1, 1)
    node.step(Receive(append(2, (2, 1), commit=4)), 10)
    assert node.view.commit_index == 2


def test_each_entry_is_applied_once_and_in_order_despite_repeated_messages() -> None:
    node = node_of("s2")
    applied = []
    for message in [
        append(1, (0, 0), 1, 1, commit=1),
        append(1, (0, 0), 1, 1, commit=1),
        append(1, (0, 0), commit=2),
        append(1, (0, 0), 1, 1, commit=2),
        append(1, (2, 1), 1, commit=3),
        append(1, (1, 1), 1, commit=1),
    ]:
        applied += node.step(Receive(message), 10).apply
    assert applied == [Entry(index, 1, f"set x {index}.1") for index in (1, 2, 3)]


def test_commit_and_applied_indexes_never_fall() -> None:
    node = node_of("s2", 1, 1, 1)
    node.step(Receive(append(1, (3, 1), commit=3)), 10)
    node.step(Receive(append(1, (3, 1), commit=0)), 10)
    assert (node.view.commit_index, node.view.applying) == (3, 3)


def test_entries_keep_the_index_and_term_they_came_with() -> None:
    node = node_of("s2", 1)
    effects = node.step(Receive(append(4, (1, 1), 2, 4)), 10)
    assert effects.append == [Entry(2, 2, "set x 2.2"), Entry(3, 4, "set x 3.4")]
    assert node.view.term == 4


@pytest.mark.parametrize(
    "message",
    [
        append(9, (2, 5), 9),  # other entries where some are committed
        append(9, (1, 1), 5),
        append(9, (0, 0), 1, 5),
        append(1, (3, 1), sender="s3"),  # a second leader in one term
    ],
)
def test_an_impossible_message_is_refused_and_changes_nothing(message: AppendEntries) -> None:
    node = node_of("s2", 1, 1, 1)
    node.step(Receive(append(1, (3, 1), commit=2)), 10)
    before = (node.view.term, node.view.leader, terms_of(node), node.wake_at_ms)
    with pytest.raises(PeerError):
        node.step(Receive(message), 50)
    assert (node.view.term, node.view.leader, terms_of(node), node.wake_at_ms) == before
    assert not node._state.out.wants_disk


def test_committed_entries_are_handed_out_in_portions() -> None:
    node = node_of("s2", *[1] * (APPLY_MAX + 10))
    effects = node.step(Receive(append(1, (APPLY_MAX + 10, 1), commit=APPLY_MAX + 10)), 10)
    assert len(effects.apply) == APPLY_MAX
    assert node.wake_at_ms <= 10
    assert [entry.index for entry in node.step(Tick(), 10).apply] == [
        *range(APPLY_MAX + 1, APPLY_MAX + 11)
    ]
    assert node.wake_at_ms > 10


def test_cut_entries_are_removed_from_the_disk() -> None:
    node = node_of("s2", *[1] * 6)
    node.step(Receive(append(2, (1, 1), 2)), 10)  # cuts 2 to 6; nothing of the rest is synced yet
    node.step(Receive(TimeoutNow("s1", "s2", 2)), 20)
    node.step(Receive(RequestVoteReply("s3", "s2", 3, True)), 20)
    assert terms_of(node) == [1, 2, 3]
    acknowledge(node, "s3")
    assert node.view.commit_index == 0
    sync(node)
    assert node.view.commit_index == 3
