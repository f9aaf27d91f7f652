"""Changing the members, small cases: paper §6, thesis §4, and the correction of 2015."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from raftline.raft.change import Change
from raftline.raft.effects import Effects, HardState, Settled
from raftline.raft.inputs import ChangeMembers, Propose, Receive, Tick
from raftline.raft.log import Log, SafetyError, Snapshot
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendAccepted,
    RequestVoteReply,
)
from raftline.raft.node import RawNode, node_from_disk
from raftline.raft.progress import Mode, Sending
from raftline.raft.reconfiguration import PATIENCE
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    beat,
    established,
    leader_of,
    node_of,
    sync,
)

ADD = Change("add", "s4", "s4:1")


def members(*voters: str, learners: tuple[str, ...] = ()) -> Membership:
    names = (*voters, *learners)
    return Membership(voters, learners, (), {name: f"{name}:1" for name in names})


def led(*voters: str, learners: tuple[str, ...] = ()) -> RawNode:
    """Return a leader s1 that has committed its no-op with these members."""
    return established("s1", voters=members(*voters, learners=learners))


def change(node: RawNode, *words: Any, token: str = "t") -> Effects:
    asked = Change(*words) if len(words) > 2 else Change(*words, address="")  # type: ignore[misc]
    return node.step(ChangeMembers(asked, token), node.view.now_ms)


def outcomes(effects: Effects) -> list[str]:
    return [outcome for _, outcome, _ in effects.settled]


def everybody_holds(node: RawNode) -> Effects:
    """Make each peer acknowledge all the leader has, and its disk too; return the last Effects."""
    last = sync(node)
    for peer in list(node.view.progress):
        if node.view.is_leader and peer in node.view.progress:
            last = acknowledge(node, peer)
    return last


def test_a_follower_refuses_a_change_of_members() -> None:
    with pytest.raises(SafetyError):
        change(node_of("s1"), "remove", "s2")


# thesis §4.2.1: a fixed number of rounds
def test_after_ten_slow_rounds_it_stays_a_learner() -> None:
    node = led("s1", "s2", "s3")
    node.step(ChangeMembers(ADD, "t"), node.view.now_ms)
    sync(node)
    acknowledge(node, "s2")
    settled: list[str] = []
    for _ in range(10):
        target = node.view.log.last_index
        node.step(Propose(["set a 4"]), node.view.now_ms)
        late = node.view.now_ms + OPTIONS.election_timeout_ms
        for peer in ("s2", "s4"):  # s2 keeps this server in its place
            effects = node.step(
                Receive(AppendAccepted(peer, "s1", node.view.term, target, node.view.round)), late
            )
            settled += [text for _, _, text in effects.settled]
    assert len(settled) == 1
    assert "s4 is a learner without a vote, since it lags behind after 10 rounds" in settled[0]
    assert node.view.membership.learners == ("s4",)


def catching_up(node: RawNode, for_ms: int, *, held: int, moves: int = 0) -> list[str]:
    """Pass time by heartbeats. s2 holds all, and s4 so many entries; after each election
    timeout it holds a few more. Return the outcomes of changes."""
    settled: list[str] = []
    begin_ms = node.view.now_ms
    while node.view.is_leader and node.view.now_ms < begin_ms + for_ms and not settled:
        steps = [node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms), sync(node)]
        timeouts = (node.view.now_ms - begin_ms) // OPTIONS.election_timeout_ms
        steps += [acknowledge(node, "s2"), acknowledge(node, "s4", held + moves * timeouts)]
        settled += [text for effects in steps for _, _, text in effects.settled]
    return settled


@pytest.mark.parametrize("name", ["s1", "s2", "s4"])
def test_update_is_one_entry_that_changes_an_address_alone(name: str) -> None:
    """The member that moves need not answer: with s2 the quorum holds without it."""
    node = led("s1", "s2", "s3", learners=("s4",))
    before, index = node.view.membership, node.view.log.last_index
    node.step(ChangeMembers(Change("update", name, "h:9"), "t"), node.view.now_ms)
    sync(node)
    settled = acknowledge(node, "s3").settled
    assert settled == [Settled("t", "done", f"{name} is at h:9 from entry {index + 1}")]
    after = node.view.membership
    assert after == replace(before, addresses={**before.addresses, name: "h:9"})
    assert node.view.log.last_index == index + 1


def test_a_change_ends_if_its_candidate_takes_no_entries() -> None:
    """A server whose disk hangs answers heartbeats forever, but stores nothing new."""
    node = led("s1", "s2", "s3", learners=("s4",))
    node.step(Propose(["set a 4"]), node.view.now_ms)
    change(node, "promote", "s4")
    patience_ms = 2 * PATIENCE * OPTIONS.election_timeout_ms
    assert catching_up(node, patience_ms, held=1) == []
    (text,) = catching_up(node, 2 * OPTIONS.election_timeout_ms, held=1)
    assert text == (
        "s4 is a learner without a vote, since it takes no entries. "
        "Once it has caught up: promote s4; to give it up: remove s4"
    )
    assert outcomes(change(node, "demote", "s3")) != ["refused"]


def test_a_candidate_that_catches_up_slowly_keeps_its_change() -> None:
    node = led("s1", "s2", "s3", learners=("s4",))
    node.step(Propose([f"set a {number}" for number in range(100)]), node.view.now_ms)
    change(node, "promote", "s4")
    assert catching_up(node, 60 * OPTIONS.election_timeout_ms, held=1, moves=1) == []


@pytest.mark.parametrize(("size", "waits"), [(1000, False), (1 << 30, True)])
def test_a_long_snapshot_may_be_checked_for_long(size: int, waits: bool) -> None:
    """Once the snapshot has arrived, nothing shows how far its check has come."""
    node = led("s1", "s2", "s3", learners=("s4",))
    node.step(Propose(["set a 4"]), node.view.now_ms)
    progress = node._state.progress["s4"]
    change(node, "promote", "s4")
    progress.mode = Mode.SNAPSHOT
    progress.sending = Sending(Snapshot(2, 1, size, 0), size, size)
    settled = catching_up(node, 60 * OPTIONS.election_timeout_ms, held=1)
    assert bool(settled) != waits


def test_a_change_ends_if_its_candidate_refuses_each_snapshot() -> None:
    """Each snapshot arrives, is refused and sent again; later ones are longer."""
    node = led("s1", "s2", "s3", learners=("s4",))
    node.step(Propose(["set a 4"]), node.view.now_ms)
    change(node, "promote", "s4")
    progress, settled = node._state.progress["s4"], 0
    progress.mode = Mode.SNAPSHOT
    for size in range(1000, 1060):
        for held in (0, size // 2, size):
            progress.sending = Sending(Snapshot(size, 1, size, 0), held, size)
            settled += len(catching_up(node, OPTIONS.election_timeout_ms, held=1))
    assert settled == 1


def test_change_ends_though_newer_snapshots_are_offered() -> None:
    """The leader compacts its log in the meantime, so it offers newer and newer snapshots."""
    node = led("s1", "s2", "s3", learners=("s4",))
    node.step(Propose(["set a 4"]), node.view.now_ms)
    change(node, "promote", "s4")
    progress, settled = node._state.progress["s4"], 0
    progress.mode = Mode.SNAPSHOT
    for index in range(40, 40 + 3 * PATIENCE):
        progress.sending = Sending(Snapshot(index, 1, 500, 0), 0, 500)
        settled += len(catching_up(node, OPTIONS.election_timeout_ms, held=1))
    assert settled == 1


def test_a_removed_member_is_notified_and_then_forgotten() -> None:
    node = led("s1", "s2", "s3")
    change(node, "remove", "s3")
    everybody_holds(node)
    sync(node)
    acknowledge(node, "s2")
    assert node.view.configurations.index <= node.view.commit_index
    assert node.view.contacts == {"s2": "s2:1", "s3": "s3:1"}
    acknowledge(node, "s3")
    assert "s3" in {message.to for message in beat(node).send}
    assert acknowledge(node, "s3").members_changed
    assert node.view.contacts == {"s2": "s2:1"}


def test_an_address_that_no_entry_can_hold_is_refused() -> None:
    odd = Membership(("s1", "s2"), addresses={"s1": "a,b:1", "s2": "h:2"})
    node = established("s1", voters=odd)
    refused = node.step(ChangeMembers(ADD, "t"), node.view.now_ms)
    assert outcomes(refused) == ["refused"]
    assert refused.append == []


# thesis §4.2.2
def test_removed_server_campaigns_until_its_removal_commits() -> None:
    log = Log()
    log.append(1, "members s1=s1:1,voter s2=s2:1,voter | s2=s2:1,voter")
    log.append(1, "members s2=s2:1,voter")
    node = node_from_disk(
        "s1", members("s1", "s2"), log, HardState(1, None), OPTIONS, lambda: TIMEOUT_MS, 0
    )
    assert node.view.contacts == {"s2": "s2:1"}
    asked = node.step(Tick(), TIMEOUT_MS)
    assert [message.to for message in asked.send_after_save] == ["s2"]
    late_ms = 4 * OPTIONS.election_timeout_ms
    assert node.wake_at_ms == 2 * TIMEOUT_MS + late_ms  # those who stay go first
    node.step(Receive(append(2, (2, 1), 2, commit=2, sender="s2", to="s1")), TIMEOUT_MS)
    assert node.view.contacts == {}
    node._state.leader_heard_at_ms = None
    assert not node.step(Tick(), node.view.election_at_ms).send_after_save


def test_change_waits_for_an_inherited_change_to_complete() -> None:
    log = Log()
    log.append(1, "members s1=s1:1,voter s2=s2:1,voter | s1=s1:1,voter")
    voters = members("s1", "s2")
    node = node_from_disk("s1", voters, log, HardState(1, None), OPTIONS, lambda: TIMEOUT_MS, 0)
    node.step(Tick(), TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s2", "s1", 2, True, pre_vote=True)), TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s2", "s1", 2, True)), TIMEOUT_MS)
    assert node.view.is_leader
    early = change(node, "add", "s9", "s9:1")
    assert early.settled == early.append == []
    sync(node)
    acknowledge(node, "s2")  # the joint one is committed by the no-op: C_new is appended
    assert node.view.membership == members("s1")
    sync(node)
    assert node.view.membership == members("s1", learners=("s9",))


def test_change_waits_for_a_commit_in_the_leaders_term() -> None:
    node = leader_of("s1", voters=members("s1", "s2", "s3"))
    early = change(node, "remove", "s3", token="first")
    late = change(node, "demote", "s2", token="second")
    assert early.settled == late.settled == early.append == late.append == []
    effects = acknowledge(node, "s2")
    assert [entry.command for entry in effects.append] == [
        members("s1", "s2", "s3").joint_to(members("s1", "s2")).format()
    ]
    assert [(token, outcome) for token, outcome, _ in effects.settled] == [("second", "refused")]
    assert "remove s3 is under way" in effects.settled[0].text


@pytest.mark.parametrize("without_vote", [0, 7])
def test_answers_from_before_a_removal_count_for_nothing(without_vote: int) -> None:
    """A member that is added again may have lost its files in the meantime, or may still have them
    all."""
    node = led("s1", "s2", "s3", "s4")

    def answer() -> AppendAccepted:
        state = node.view
        index, term = state.log.last_index, state.term
        return AppendAccepted("s4", "s1", term, index, state.round, without_vote=without_vote)

    late = [answer()]
    change(node, "remove", "s4")
    while node.view.commit_index < node.view.log.last_index or "s4" in node.view.membership.names:
        beat(node)
        sync(node)
        for peer in ("s2", "s3", "s4"):
            acknowledge(node, peer)
    late.append(answer())
    change(node, "add", "s4", "s4:1")
    for each in late:
        effects = node.step(Receive(each), node.view.now_ms)
        assert node.view.progress["s4"].match_index == 0
        assert node.view.progress["s4"].is_counted
        assert not effects.notes
