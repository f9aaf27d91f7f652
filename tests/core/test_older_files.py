"""A follower that comes back with an older copy of its files: its leader is the only witness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from raftline.raft.effects import Effects
from raftline.raft.inputs import PeerLevel, Propose, Receive, SnapshotTaken, Tick
from raftline.raft.levels import LOSSES
from raftline.raft.log import Snapshot
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    compact,
    established,
    node_of,
    request,
    sync,
)

ENTRIES = 6  # that s3 acknowledged
KEPT = 3  # that the older copy of its files holds
TOLD = replace(OPTIONS, level=LOSSES)


def leader(entries: int = ENTRIES, *, level: int = LOSSES) -> RawNode:
    """Return a leader whose followers acknowledged so many entries, on builds of this level."""
    node = established("s1", options=TOLD)
    for name in ("s2", "s3"):
        node.step(PeerLevel(name, level), TIMEOUT_MS)
    node.step(Propose([f"set a {number}" for number in range(2, entries + 1)]), TIMEOUT_MS)
    sync(node)
    for name in ("s2", "s3"):
        acknowledge(node, name)
    applied(node)
    return node


def older(kept: int = KEPT) -> RawNode:
    """Return s3, started from files that hold so many entries."""
    return node_of("s3", *[1] * kept, vote="s1", incarnation=77)


def to_s3(effects: Effects) -> list[AppendEntries]:
    return [one for one in effects.send if isinstance(one, AppendEntries) and one.to == "s3"]


def answers(node: RawNode, messages: Sequence[AppendEntries], now_ms: int) -> list[Effects]:
    """Let s3 take messages, and its disk follow at once."""
    steps = []
    for message in messages:
        steps.append(node.step(Receive(message), now_ms))
        sync(node)
    return steps


def talk(node: RawNode, follower: RawNode, beats: int) -> list[str]:
    """Let both speak for some heartbeats, beside s2 which holds everything; return the notes."""
    notes: list[str] = []
    for _ in range(beats):
        now_ms = node.view.now_ms + OPTIONS.heartbeat_ms
        steps = [node.step(Tick(), now_ms)]
        while steps:
            effects = steps.pop(0)
            notes += effects.notes
            if effects.append:
                sync(node)
                steps.append(acknowledge(node, "s2"))
            for said in answers(follower, to_s3(effects), now_ms):
                notes += said.notes
                for answer in said.messages():
                    if node.view.is_leader:
                        steps.append(node.step(Receive(answer), now_ms))
        acknowledge(node, "s2")
        if node.view.applying > node.view.applied:
            applied(node)
    return notes


def has_vote(node: RawNode) -> bool:
    """Whether a server would vote for a candidate that holds as much as it does."""
    log, term = node.view.log, node.view.term + 1
    question = request(term, (log.last_index, log.last_term), sender="s2", to="s3", pre_vote=True)
    effects = node.step(Receive(question), node.view.now_ms + 2 * TIMEOUT_MS)
    (answer,) = [one for one in effects.messages() if isinstance(one, RequestVoteReply)]
    return answer.granted


def test_a_build_that_does_not_know_the_words_catches_up_and_keeps_its_vote() -> None:
    node, follower = leader(level=LOSSES - 1), older()
    notes = talk(node, follower, 6)
    assert follower.view.log.last_index == node.view.log.last_index
    assert not follower.view.recovering
    assert any(note.startswith("[!] s3 lost entries") for note in notes)


def test_a_loss_is_found_once_it_is_known_how_to_tell_the_follower() -> None:
    node, follower = leader(), older()
    node.step(PeerLevel("s3", 0), node.view.now_ms)  # a new connection, on which nothing was said
    assert not any("lost entries" in note for note in talk(node, follower, 3))
    assert not follower.view.recovering
    node.step(PeerLevel("s3", LOSSES), node.view.now_ms)
    notes = talk(node, follower, 6)
    assert sum("lost entries" in note for note in notes) == 2
    assert has_vote(follower)


def test_late_words_about_a_loss_change_nothing_at_a_follower_that_holds_the_entry() -> None:
    follower = node_of("s3", 1, 1, 1, vote="s1")
    follower.step(Receive(append(1, (3, 1), commit=3, to="s3")), 10)
    told = replace(append(1, (3, 1), commit=3, number=2, to="s3"), lost_index=3)
    effects = follower.step(Receive(told), 20)
    assert not effects.forgot
    assert has_vote(follower)


def test_the_loss_is_on_the_disk_before_any_answer_shows_it() -> None:
    follower = older()
    told = replace(append(1, (KEPT, 1), number=2, to="s3"), lost_index=ENTRIES)
    effects = follower.step(Receive(told), 20)
    assert effects.forgot
    assert (effects.send, effects.send_past_entries) == ([], [])
    (answer,) = effects.send_after_save
    assert isinstance(answer, AppendAccepted)
    assert answer.without_vote == 77


def test_a_follower_whose_files_are_older_than_the_log_of_its_leader_is_noticed() -> None:
    node, follower = leader(), older(2)
    node._state.options = replace(TOLD, trailing_bytes=0)
    node.step(Propose([f"set b {number}" for number in range(8)]), node.view.now_ms)
    sync(node)
    acknowledge(node, "s2")
    applied(node)
    last = node.view.log.last_index
    node.step(SnapshotTaken(Snapshot(last, 1, 8, 1)), node.view.now_ms)
    node.view.progress["s3"].heard_at_ms -= 10 * TIMEOUT_MS
    while compact(node, last):
        pass
    notes, follower_said = [], []
    effects = node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms)
    for _ in range(4):
        for said in answers(follower, to_s3(effects), node.view.now_ms):
            follower_said += said.notes
            for answer in said.messages():
                effects = node.step(Receive(answer), node.view.now_ms)
                notes += effects.notes
    assert any(note.startswith("[!] s3 lost entries") for note in notes)
    node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms)
