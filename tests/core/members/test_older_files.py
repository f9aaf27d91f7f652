"""A follower that comes back with an older copy of its files: its leader is the only witness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from raftline.raft.effects import Effects
from raftline.raft.inputs import PeerBuild, Propose, Receive, SnapshotTaken, Synced, Tick
from raftline.raft.log import Snapshot
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
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
TOLD = replace(OPTIONS, cluster_if_new="9f86d081884c7d65")


def leader(entries: int = ENTRIES, *, is_at_floor: bool = False) -> RawNode:
    """Return a leader whose followers acknowledged so many entries."""
    node = established("s1", options=OPTIONS if is_at_floor else TOLD)
    for name in ("s2", "s3"):
        node.step(PeerBuild(name, frozenset(), is_at_floor), TIMEOUT_MS)
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
    """Make s3 take messages, and its disk follow at once."""
    steps = []
    for message in messages:
        steps.append(node.step(Receive(message), now_ms))
        sync(node)
    return steps


def talk(node: RawNode, follower: RawNode, beats: int) -> list[str]:
    """Make both speak for some heartbeats, with s2, which holds everything; return the notes."""
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


def test_follower_with_older_files_catches_up_with_a_reason() -> None:
    node, follower = leader(), older()
    notes = talk(node, follower, 6)
    assert follower.view.log.last_index == node.view.log.last_index > ENTRIES
    warnings = [note for note in notes if note.startswith("[!]")]
    assert [f"s{who} lost entries" in note for who, note in zip((3, 3), warnings, strict=True)]


# FAST 2018, src/raft/recovering.py: until the fence is committed and held
def test_a_follower_with_older_files_has_no_vote_until_the_fence() -> None:
    node, follower = leader(), older()
    effects = node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms)
    for _ in range(3):  # it refuses, is asked right after what it acknowledged, and refuses that
        (message, *_) = to_s3(effects)
        (said,) = answers(follower, [message], node.view.now_ms)
        effects = node.step(Receive(said.messages()[0]), node.view.now_ms)
    assert follower.view.recovering
    assert not has_vote(follower)
    follower = older()
    talk(node, follower, 6)
    assert not follower.view.recovering
    assert has_vote(follower)


def test_older_vote_elects_nobody_without_acknowledged_entries() -> None:
    node, follower = leader(), older()
    talk(node, follower, 1)
    short = request(2, (KEPT + 1, 1), sender="s2", to="s3")  # s2 lacks what s1 and s3 committed
    effects = follower.step(Receive(short), follower.view.now_ms + 3 * TIMEOUT_MS)
    (answer,) = [one for one in effects.messages() if isinstance(one, RequestVoteReply)]
    assert not answer.granted


def test_a_follower_with_older_files_counts_for_no_commit() -> None:
    node, follower = leader(), older()
    effects = node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms)
    for _ in range(2):
        (said,) = answers(follower, to_s3(effects)[:1], node.view.now_ms)
        effects = node.step(Receive(said.messages()[0]), node.view.now_ms)
    node.step(Propose(["set a 9"]), node.view.now_ms)
    sync(node)
    before = node.view.commit_index
    last = AppendAccepted("s3", "s1", 1, node.view.log.last_index, node.view.round)
    node.step(Receive(replace(last, without_vote=77)), node.view.now_ms)
    assert node.view.commit_index == before
    acknowledge(node, "s2")
    assert node.view.commit_index > before


def test_loss_is_not_told_at_the_floor() -> None:
    """Another implementation may not know the words: it catches up and keeps its vote."""
    node, follower = leader(is_at_floor=True), older()
    notes = talk(node, follower, 6)
    assert follower.view.log.last_index == node.view.log.last_index
    assert not follower.view.recovering
    assert any(note.startswith("[!] s3 lost entries") for note in notes)


def test_follower_with_files_older_than_the_log_is_noticed() -> None:
    """The leader's log begins after the end of the follower's."""
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


@pytest.mark.parametrize("round_of", ["before", "same"])
def test_a_late_complaint_is_not_a_proof(round_of: str) -> None:
    node = leader()
    late = node.view.round
    acknowledge(node, "s3")
    acknowledged = node.view.progress["s3"].match_index
    if round_of == "before":
        node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms)
    effects = node.step(Receive(AppendRejected("s3", "s1", 1, 2, late)), node.view.now_ms)
    effects = node.step(Receive(AppendRejected("s3", "s1", 1, 2, late)), node.view.now_ms)
    assert not any(note.startswith("[!]") for note in effects.notes)
    assert node.view.progress["s3"].match_index == acknowledged


def test_loss_found_on_a_broken_connection_is_told_later() -> None:
    """The rejection was in transit when the leader's connection to s3 broke."""
    node, follower = leader(), older()
    effects = node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms)
    (said,) = answers(follower, to_s3(effects)[:1], node.view.now_ms)
    node.step(PeerBuild("s3", None), node.view.now_ms)
    effects = node.step(Receive(said.messages()[0]), node.view.now_ms)
    assert to_s3(effects) == []
    assert talk(node, follower, 3) == []
    assert not follower.view.recovering
    node.step(PeerBuild("s3", frozenset()), node.view.now_ms)
    notes = talk(node, follower, 6)
    assert sum("lost entries" in note for note in notes) == 2
    assert has_vote(follower)


def test_late_notice_of_a_loss_does_not_affect_a_whole_follower() -> None:
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


# --- a snapshot for one entry --------------------------------------------------------------------


def test_a_follower_that_agrees_at_the_base_gets_no_snapshot() -> None:
    """It has one extra entry, of a term that began before the leader's log."""
    options = replace(OPTIONS, trailing_bytes=0)
    node = established("s1", *[1] * 10, options=options)
    node.step(SnapshotTaken(Snapshot(8, 1, 8, 1)), node.view.now_ms)
    while compact(node, 8):
        pass
    follower = node_of("s2", *[1] * 11, vote="s1", term=2)
    progress = node.view.progress["s2"]
    progress.match_index, progress.next_index = 0, 12
    messages = [one for one in node.step(Tick(), node.wake_at_ms).send if one.to == "s2"]
    sent: list[object] = []
    while messages:
        sent += messages
        (message, *messages) = messages
        effects = follower.step(Receive(message), node.view.now_ms)
        follower.step(Synced(follower.view.log.last_index, follower.view.log.last_term), 0)
        for answer in effects.messages():
            more = node.step(Receive(answer), node.view.now_ms)
            messages += [one for one in more.messages() if one.to == "s2"]
    assert not any(isinstance(one, InstallSnapshot) for one in sent)
    assert follower.view.log.last_term == node.view.log.last_term
    assert follower.view.log.last_index == node.view.log.last_index
