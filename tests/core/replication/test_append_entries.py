"""AppendEntries at the follower: Figure 2, receiver 1-5; §5.3."""

from __future__ import annotations

import pytest

from raftline.raft.inputs import Receive, Tick
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    PeerError,
)
from raftline.raft.state import APPLY_MAX
from raftline_testing.doubles.cores import (
    append,
    node_of,
    terms_of,
)


def test_rejection_names_the_end_of_the_followers_log() -> None:
    """Indexes and terms are compared as numbers."""
    node = node_of("s2", 2, 3, 3, 3, 4, 5, 5, 5, 5, term=6)
    effects = node.step(Receive(append(7, (11, 6))), 10)
    assert effects.send_after_save == [AppendRejected("s2", "s1", 7, 9, 1)]
    effects = node.step(Receive(append(7, (9, 5), 6, 6, number=2)), 10)
    assert effects.send_after_save == [AppendAccepted("s2", "s1", 7, 11, 2)]


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


def test_committed_entries_are_handed_out_in_portions() -> None:
    node = node_of("s2", *[1] * (APPLY_MAX + 10))
    effects = node.step(Receive(append(1, (APPLY_MAX + 10, 1), commit=APPLY_MAX + 10)), 10)
    assert len(effects.apply) == APPLY_MAX
    assert node.wake_at_ms <= 10
    assert [entry.index for entry in node.step(Tick(), 10).apply] == [
        *range(APPLY_MAX + 1, APPLY_MAX + 11)
    ]
    assert node.wake_at_ms > 10
