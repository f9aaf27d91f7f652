"""The sends of a leader, and the commit of entries: §5.3, §5.4.2, thesis §10.2.1."""

from __future__ import annotations

import pytest

from raftline.raft.inputs import Propose, Receive
from raftline.raft.log import SafetyError
from raftline.raft.messages import AppendEntries, AppendRejected, Message
from raftline.raft.state import Options
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    acknowledge,
    append,
    established,
    node_of,
    sync,
    terms_of,
)


def appends(messages: list[Message], to: str) -> list[AppendEntries]:
    return [m for m in messages if isinstance(m, AppendEntries) and m.to == to]


def entries(messages: list[Message], to: str) -> list[list[tuple[int, int]]]:
    """Return (index, term) of the entries of each AppendEntries to one follower."""
    return [[(e.index, e.term) for e in m.entries] for m in appends(messages, to)]


def test_an_entry_is_committed_once_a_majority_holds_it_not_all() -> None:
    node = established("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    node.step(Propose(["set a 4"]), TIMEOUT_MS)
    assert sync(node).apply == []
    assert acknowledge(node, "s2").apply == []
    assert [entry.command for entry in acknowledge(node, "s5").apply] == ["set a 4"]


def test_requests_share_one_message_to_each_follower() -> None:
    node = established("s1", voters=("s1", "s2", "s3", "s4"))
    effects = node.step(Propose(["set a 1", "set b 2", "delete a"]), TIMEOUT_MS)
    assert [message.to for message in effects.send] == ["s2", "s3", "s4"]
    sent = [message.entries for message in effects.send if isinstance(message, AppendEntries)]
    assert [entry.command for entry in sent[0]] == ["set a 1", "set b 2", "delete a"]
    assert effects.append == [*sent[0]]
    assert [entry.index for entry in effects.append] == [2, 3, 4]
    # The next index follows the log's end, not what is committed
    assert [entry.index for entry in node.step(Propose(["set c 3"]), TIMEOUT_MS).append] == [5]
    assert all(batch is sent[0] for batch in sent)  # so that the rim encodes it once


def test_only_a_leader_appends_proposals() -> None:
    node = node_of("s2")
    with pytest.raises(SafetyError):
        node.step(Propose(["set a 4"]), 10)
    assert terms_of(node) == []


def test_messages_are_bounded_but_hold_at_least_one_entry() -> None:
    """The bounds are of entries and of bytes."""
    options = Options(election_timeout_ms=150, heartbeat_ms=50, batch_entries=3, batch_bytes=20)
    node = established("s1", options=options)
    effects = node.step(
        Propose(["x" * 8, "x" * 8, "x" * 8, "x" * 99, "a", "b", "c", "d"]), TIMEOUT_MS
    )
    assert entries(effects.send, "s2") == [
        [(2, 1), (3, 1)],
        [(4, 1)],
        [(5, 1)],
        [(6, 1), (7, 1), (8, 1)],
        [(9, 1)],
    ]


def test_a_leader_never_cuts_its_own_log() -> None:
    node = established("s1", 1, 1)
    with pytest.raises(SafetyError):
        node._state.cut_after(2)
    assert terms_of(node) == [1, 1, 2]


def test_no_message_leaves_before_its_term_is_on_the_disk() -> None:
    node = established("s1")
    state = node._state
    state.out.send.append(AppendRejected("s1", "s2", 1, 0, 0))
    with pytest.raises(SafetyError):
        state.save(2, None)


def test_a_saved_term_or_vote_never_goes_back() -> None:
    state = node_of("s1", term=5, vote="s2")._state
    for term, vote in ((4, None), (5, "s3"), (5, None)):
        with pytest.raises(SafetyError):
            state.save(term, vote)


def test_a_late_answer_never_lowers_the_match_index() -> None:
    node = established("s1")
    node.step(Propose(["set a 4", "set b 5"]), TIMEOUT_MS)
    acknowledge(node, "s2", 3)
    progress = node.view.progress["s2"]
    acknowledge(node, "s2", 1)
    assert (progress.match_index, progress.next_index) == (3, 4)
    node.step(Receive(AppendRejected("s2", "s1", 1, 0, node.view.round)), TIMEOUT_MS)
    assert progress.match_index == 3
    assert progress.next_index == 4


def test_a_committed_entry_is_never_cut() -> None:
    node = node_of("s2", 1, 1, 1)
    node.step(Receive(append(1, (3, 1), commit=3)), 10)
    with pytest.raises(SafetyError):
        node._state.cut_after(2)
