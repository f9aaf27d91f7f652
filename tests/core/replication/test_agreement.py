"""Replicas compare their sums, and one that differs serves nobody until its state was replaced."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.agreement import SAID_TIMEOUTS
from raftline.raft.effects import Effects
from raftline.raft.identity import identity_command
from raftline.raft.inputs import (
    Applied,
    AskLeader,
    PeerBuild,
    Propose,
    Receive,
    SnapshotChecked,
    StateSummed,
    Tick,
)
from raftline.raft.log import Snapshot
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    Difference,
    InstallSnapshot,
    RequestVote,
    SumKind,
    Sums,
)
from raftline.raft.node import RawNode
from raftline.wire.peer_lines import format_message, read
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    append,
    beat,
    established,
    members_of,
    node_of,
    sync,
)

IDENTITY = "9f86d081884c7d65"
ABOVE_FLOOR = replace(OPTIONS, cluster_if_new=IDENTITY)
CHAIN, OTHER = 0x1FF08C67, 0x8D6DBE85


def leader(*peers: str, received_index: int = 0) -> RawNode:
    """Return a leader above the floor that has applied entries with the chain CHAIN."""
    voters = ("s1", *(peers or ("s2", "s3")))
    node = established("s1", options=ABOVE_FLOOR, voters=voters, received_index=received_index)
    for name in voters[1:]:
        node.step(PeerBuild(name, frozenset()), TIMEOUT_MS)
    node.step(Propose(["set a 1"]), node.view.now_ms)
    sync(node)
    for name in voters[1:]:
        answer(node, name, None)
    node.step(Applied(node.view.applying, CHAIN), node.view.now_ms)
    return node


def answer(node: RawNode, name: str, sums: Sums | None, incarnation: int = 0) -> Effects:
    view = node.view
    message = AppendAccepted(
        name, "s1", view.term, view.log.last_index, view.round, incarnation, sums=sums
    )
    return node.step(Receive(message), view.now_ms)


def sums_of(node: RawNode, chain: int = CHAIN, *, differs: int = 0, received: int = 0) -> Sums:
    return Sums(node.view.applied, chain, differs=differs, received=received)


def sent(effects: Effects, name: str) -> AppendEntries:
    return next(one for one in effects.send if isinstance(one, AppendEntries) and one.to == name)


def told(effects: Effects, name: str) -> Difference | None:
    return sent(effects, name).differs


def follower(*, is_at_floor: bool = False) -> RawNode:
    """Return s2, which has applied three entries with the chain OTHER."""
    node = node_of("s2", options=ABOVE_FLOOR)
    message = append(1, (0, 0), 1, 1, 1, commit=3)
    if not is_at_floor:
        first = message.entries[0]._replace(command=identity_command(IDENTITY))
        message.entries = [first, *message.entries[1:]]
    node.step(Receive(message), 0)
    sync(node)
    node.step(Applied(3, OTHER), 0)
    return node


def heartbeat(difference: Difference | None = None, *, vote_again: int = 0) -> Receive:
    message = append(1, (3, 1), commit=3, number=2, vote_again=vote_again)
    message.differs = difference
    return Receive(message)


def answer_in(effects: Effects) -> AppendAccepted:
    (one,) = [one for one in effects.messages() if isinstance(one, AppendAccepted)]
    return one


def test_an_answer_to_a_heartbeat_reports_the_sums() -> None:
    node = follower()
    node.step(StateSummed(3, 77), 0)
    assert answer_in(node.step(heartbeat(), 0)).sums == Sums(3, OTHER, 3, 77)


def test_an_answer_to_entries_reports_no_sums() -> None:
    node = follower()
    effects = node.step(Receive(append(1, (3, 1), 1, commit=3, number=2)), 0)
    assert answer_in(effects).sums is None


def test_no_sums_are_reported_at_the_floor() -> None:
    """At the floor, the leader may be another implementation."""
    assert answer_in(follower(is_at_floor=True).step(heartbeat(), 0)).sums is None


def test_equal_sums_say_nothing() -> None:
    node = leader()
    for name in ("s2", "s3"):
        assert answer(node, name, sums_of(node)).notes == []
    assert node.view.differing == {}


def test_an_index_that_the_leader_does_not_know_says_nothing() -> None:
    node = leader()
    assert answer(node, "s2", Sums(1, OTHER)).notes == []
    assert answer(node, "s2", Sums(node.view.applied + 1, OTHER)).notes == []
    assert node.view.differing == {}


def test_a_follower_that_differs_is_told_and_not_counted() -> None:
    node = leader()
    answer(node, "s3", sums_of(node))
    index = node.view.applied
    effects = answer(node, "s2", sums_of(node, OTHER))
    assert effects.notes[0].startswith("[!] s2 differs from s1: the entries that it applied up to")
    assert node.view.differing == {"s2": index}
    assert not node.view.progress["s2"].is_counted
    effects = beat(node)
    assert told(effects, "s2") == Difference(index, SumKind.ENTRIES, CHAIN)
    assert told(effects, "s3") is None


def test_a_state_that_differs_is_told_with_its_sum() -> None:
    node = leader()
    index = node.view.applied
    node.step(StateSummed(index, 1), node.view.now_ms)
    answer(node, "s3", Sums(index, CHAIN, index, 1))
    answer(node, "s2", Sums(index, CHAIN, index, 2))
    assert told(beat(node), "s2") == Difference(index, SumKind.STATE, 1)


def test_the_verdict_waits_for_the_other_voters() -> None:
    node = leader()
    assert answer(node, "s2", sums_of(node, OTHER)).notes == []
    assert node.view.differing == {}
    assert answer(node, "s3", sums_of(node)).notes != []
    assert node.view.differing == {"s2": node.view.applied}


def later(node: RawNode, timeouts: int, *silent: str, sums: dict[str, Sums]) -> list[str]:
    """Pass election timeouts, in which all but the silent followers answer, with these sums or
    with the last; return what the leader says."""
    said: list[str] = []
    until_ms = node.view.now_ms + timeouts * TIMEOUT_MS
    while node.view.now_ms < until_ms and node.view.is_leader:
        said += node.step(Tick(), min(until_ms, node.wake_at_ms)).notes
        for name in node.view.progress if node.view.is_leader else ():
            if name not in silent and node.view.is_leader:
                said += answer(node, name, sums.get(name)).notes
    return said


@pytest.mark.parametrize("voters", [("s2", "s3"), ("s2", "s3", "s4", "s5")], ids=["3", "5"])
def test_nobody_is_condemned_without_a_quorum_of_sums(voters: tuple[str, ...]) -> None:
    """One follower differs, and enough are away that the leader's own sum makes no quorum. Either
    of the two may be wrong."""
    node = leader(*voters)
    away = voters[-(len(voters) // 2) :]
    sums = {name: sums_of(node, OTHER if name == "s2" else CHAIN) for name in voters}
    if len(voters) == 4:
        sums["s3"] = sums_of(node, OTHER)
    index = node.view.applied
    answer(node, "s2", sums["s2"])
    assert node.view.undecided == {"s2": index}  # at once
    said = later(node, 300, *away, sums=sums)
    assert (node.view.is_leader, node.view.differing) == (True, {})
    assert all(each.is_counted for each in node.view.progress.values())
    differ = "s2 and s1" if len(voters) == 2 else "s2 s3 and s1"
    [line] = [line for line in said if line.startswith(f"[!] {differ} differ: ")]
    assert f"up to entry {index} are not the same. Nobody knows which is right" in line
    assert f"Start {' '.join(away)} (docs/repair.md)" in line


def test_the_console_says_once_that_no_quorum_decides() -> None:
    node = leader()
    sums = {"s2": sums_of(node, OTHER)}
    assert later(node, SAID_TIMEOUTS - 1, "s3", sums=sums) == []
    assert len(later(node, 10 * SAID_TIMEOUTS, "s3", sums=sums)) == 1


def test_three_states_of_three_servers_condemn_nobody() -> None:
    """A state machine that is not deterministic. The two followers are a quorum that differs from
    the leader, and not one that agrees."""
    node = leader()
    sums = {"s2": sums_of(node, OTHER), "s3": sums_of(node, OTHER + 1)}
    said = later(node, 300, sums=sums)
    assert (node.view.is_leader, node.view.differing) == (True, {})
    assert set(node.view.undecided) == {"s2", "s3"}
    assert "All voters answer: find out which is right" in said[0]


def test_the_missing_voter_decides_against_the_leader() -> None:
    node = leader()
    differs = {"s2": sums_of(node, OTHER)}
    later(node, 30, "s3", sums=differs)
    effects = answer(node, "s3", sums_of(node, OTHER))
    assert effects.notes[0].startswith("[!] s1 differs from s2 s3, which are a quorum")
    assert not node.view.is_leader


def test_the_missing_voter_decides_against_the_follower() -> None:
    node = leader()
    later(node, 30, "s3", sums={"s2": sums_of(node, OTHER)})
    answer(node, "s3", sums_of(node))
    assert node.view.differing == {"s2": node.view.applied}
    assert node.view.undecided == {}


def test_a_voter_that_went_away_is_not_a_witness() -> None:
    """s3 agreed, and is away. Without the vote of s2 the leader would have no quorum."""
    node = leader()
    index = node.view.applied
    node.step(StateSummed(index, 1), node.view.now_ms)
    answer(node, "s3", Sums(index, CHAIN, index, 1))
    equal = {"s2": Sums(index, CHAIN, 0, 0)}
    later(node, 3, "s3", sums=equal)
    answer(node, "s2", Sums(index, CHAIN, index, 2))
    assert (node.view.differing, node.view.undecided) == ({}, {"s2": index})


@pytest.mark.parametrize("why", ["without a vote", "in quarantine"])
def test_a_server_without_a_vote_is_not_a_witness(why: str) -> None:
    """The servers that are left after a verdict must be able to elect a leader."""
    node = leader()
    index = node.view.applied
    answer(node, "s3", sums_of(node, differs=index * (why == "in quarantine")), incarnation=7)
    answer(node, "s2", sums_of(node, OTHER))
    answer(node, "s3", sums_of(node), incarnation=7)
    assert "s2" in node.view.undecided
    assert node.view.progress["s2"].is_counted


def test_a_difference_that_is_over_is_dropped() -> None:
    """s2 was restarted, and its sums are the leader's again, before the third returns."""
    node = leader()
    later(node, 2, "s3", sums={"s2": sums_of(node, OTHER)})
    answer(node, "s2", sums_of(node))
    assert node.view.undecided == {}
    assert answer(node, "s3", sums_of(node)).notes == []
    assert node.view.differing == {}


def test_a_state_that_was_lost_in_a_restart_is_dropped() -> None:
    """A server that began again has summed no state yet, and was found to differ at a later one."""
    node = leader()
    index = node.view.applied
    node.step(StateSummed(index, 1), node.view.now_ms)
    answer(node, "s2", Sums(index, CHAIN, index, 2))
    assert node.view.undecided == {"s2": index}
    answer(node, "s2", Sums(index, CHAIN))
    assert node.view.undecided == {}


def test_a_late_answer_revives_no_difference() -> None:
    node = leader()
    late = AppendAccepted("s2", "s1", 1, node.view.log.last_index, node.view.round)
    late.sums = sums_of(node, OTHER)
    beat(node)
    answer(node, "s2", sums_of(node))
    node.step(Receive(late), node.view.now_ms)
    assert node.view.undecided == {}


def test_the_told_difference_is_that_of_the_last_report() -> None:
    """A server remembers a number of its sums, and can't check an old one."""
    node = leader()
    answer(node, "s2", sums_of(node, OTHER))
    first = node.view.applied
    node.step(Propose(["set a 2"]), node.view.now_ms)
    sync(node)
    answer(node, "s3", sums_of(node))
    assert node.view.progress["s2"].is_told
    node.step(Applied(node.view.applying, CHAIN + 1), node.view.now_ms)
    assert node.view.applied > first
    beat(node)
    answer(node, "s2", sums_of(node, OTHER + 1))
    expected = Difference(node.view.applied, SumKind.ENTRIES, CHAIN + 1)
    assert told(beat(node), "s2") == expected
    answer(node, "s2", sums_of(node, OTHER + 1, differs=node.view.applied), incarnation=7)
    assert told(beat(node), "s2") is None  # it has acknowledged that


def test_a_quorum_that_agrees_decides_at_once() -> None:
    node = leader("s2", "s3", "s4", "s5")
    answer(node, "s3", sums_of(node))
    answer(node, "s4", sums_of(node))
    answer(node, "s2", sums_of(node, OTHER))
    assert node.view.differing == {"s2": node.view.applied}


def test_a_leader_that_differs_from_a_quorum_steps_down() -> None:
    node = leader()
    index = node.view.applied
    answer(node, "s2", sums_of(node, OTHER))
    effects = answer(node, "s3", sums_of(node, OTHER))
    assert effects.notes[0].startswith("[!] s1 differs from s2 s3, which are a quorum, at entry")
    assert (node.view.is_leader, node.view.recovering, node.view.differs) == (False, True, index)
    assert effects.differs == index
    node.step(Tick(), node.wake_at_ms)
    assert node.view.role.value == "follower"  # it stands for no election


@pytest.mark.parametrize(
    "difference",
    [Difference(3, SumKind.ENTRIES, CHAIN), Difference(3, SumKind.STATE, 78)],
    ids=["entries", "state"],
)
def test_a_follower_that_differs_has_no_vote_from_then_on(difference: Difference) -> None:
    node = follower()
    node.step(StateSummed(3, 77), 0)
    effects = node.step(heartbeat(difference), 0)
    assert effects.notes[0].startswith("[!] s2 differs from its leader s1: ")
    assert (effects.differs, node.view.differs, node.view.recovering) == (3, 3, True)
    reply = answer_in(effects)
    assert reply in effects.send_after_save  # the mark is on disk before
    assert (reply.without_vote, reply.sums) == (1, Sums(3, OTHER, 3, 77, 3))
    asked = RequestVote("s3", "s2", 2, 9, 1)
    answers = node.step(Receive(asked), 10 * TIMEOUT_MS).messages()
    assert not any(getattr(one, "granted", False) for one in answers)


@pytest.mark.parametrize(
    "difference",
    [Difference(3, SumKind.ENTRIES, OTHER), Difference(2, SumKind.ENTRIES, CHAIN),
     Difference(2, SumKind.STATE, 1)],
    ids=["equal by now", "unknown entry", "unknown state"],
)  # fmt: skip
def test_a_difference_that_is_not_proved_changes_nothing(difference: Difference) -> None:
    node = follower()
    assert node.step(heartbeat(difference), 0).notes == []
    assert node.view.differs == 0


def test_a_follower_that_differs_does_not_regain_its_vote() -> None:
    """The fence is committed without it: its next start may begin with nothing, and not before."""
    node = follower()
    assert not node.step(heartbeat(Difference(3, SumKind.ENTRIES, CHAIN)), 0).begins_again
    assert not node.step(heartbeat(vote_again=9), 0).begins_again  # of an earlier start
    effects = node.step(heartbeat(vote_again=1), 0)
    assert (effects.begins_again, effects.recovered) == (True, False)
    assert effects.notes[0].startswith("[*] The others hold all entries that s2 acknowledged")
    assert node.view.recovering
    assert not node.step(heartbeat(vote_again=1), 0).begins_again


def test_a_quarantine_continues_after_a_restart() -> None:
    node = node_of("s2", 1, 1, 1, recovering=True, differs=3, incarnation=5, options=ABOVE_FLOOR)
    assert (node.view.differs, node.view.recovering) == (3, True)
    effects = node.step(heartbeat(vote_again=5), 0)
    assert (effects.begins_again, effects.recovered) == (True, False)


def received(node: RawNode, name: str, chain: int = CHAIN) -> Effects:
    """Make a follower report these sums, and that its state came by the leader's snapshot."""
    return answer(node, name, sums_of(node, chain, received=node.view.applied))


def test_a_state_from_a_snapshot_is_not_a_witness() -> None:
    """The leader may have sent its wrong state to s3: s2 may be the only one that is right."""
    node = leader()
    received(node, "s3")
    answer(node, "s2", sums_of(node, OTHER))
    received(node, "s3")
    assert (node.view.differing, list(node.view.undecided)) == ({}, ["s2"])
    answer(node, "s3", sums_of(node))  # confirmed
    assert list(node.view.differing) == ["s2"]


def test_two_states_of_one_snapshot_condemn_no_leader() -> None:
    """An earlier leader may have sent its wrong state to both."""
    node = leader()
    answer(node, "s2", sums_of(node, OTHER))
    received(node, "s3", OTHER)
    assert node.view.is_leader
    answer(node, "s3", sums_of(node, OTHER))
    assert not node.view.is_leader


def test_a_leader_with_a_received_state_is_not_a_witness() -> None:
    """A restart forgets from whom the state came, and not that it was received."""
    node = leader(received_index=3)
    answer(node, "s3", sums_of(node))
    answer(node, "s2", sums_of(node, OTHER))
    assert (node.view.differing, list(node.view.undecided)) == ({}, ["s2"])


def test_a_snapshot_of_before_the_difference_harms_no_witness() -> None:
    """The one that differs had the leader's sum at that entry or later."""
    node = leader()
    index = node.view.applied
    received(node, "s3")
    answer(node, "s2", sums_of(node))
    node.step(StateSummed(index, 1), node.view.now_ms)
    node.step(Propose(["set a 2"]), node.view.now_ms)
    sync(node)
    answer(node, "s3", None)
    node.step(Applied(node.view.applying, OTHER), node.view.now_ms)
    answer(node, "s3", Sums(index + 1, OTHER, received=index))
    answer(node, "s2", Sums(index + 1, CHAIN))
    assert list(node.view.differing) == ["s2"]


def test_equal_sums_of_all_voters_confirm_a_snapshot() -> None:
    """From then on a later difference has nothing to do with it, also under the next leader."""
    node = leader()
    index = node.view.applied
    node.step(StateSummed(index, 1), node.view.now_ms)
    sums = Sums(index, CHAIN, index, 1)
    answer(node, "s3", sums._replace(received=index))
    assert sent(beat(node), "s3").agreed_index == 0
    answer(node, "s2", sums)
    effects = beat(node)
    assert [sent(effects, name).agreed_index for name in ("s2", "s3")] == [0, index]


def test_a_confirmed_snapshot_is_forgotten_on_disk() -> None:
    node = node_of("s2", 1, 1, 1, received_index=2, options=ABOVE_FLOOR)
    for number, (agreed, expected) in enumerate([(1, None), (2, 0), (2, None)], start=2):
        message = append(1, (3, 1), commit=3, number=number)
        message.agreed_index = agreed
        effects = node.step(Receive(message), 0)
        assert (effects.received, effects.wants_disk) == (expected, expected == 0)


def test_an_installed_snapshot_is_reported() -> None:
    node = node_of("s2", options=ABOVE_FLOOR)
    snapshot = Snapshot(7, 1, 8, 5)
    node.step(Receive(InstallSnapshot("s1", "s2", 1, snapshot, 0, 8, 3, "12345678")), 0)
    effects = node.step(SnapshotChecked(snapshot, members_of("s1", "s2", "s3"), IDENTITY), 0)
    assert effects.received == 7
    node.step(Applied(7, CHAIN), 0)
    later = node.step(Receive(append(1, (7, 1), commit=7, number=4)), 0)
    assert answer_in(later).sums == Sums(7, CHAIN, received=7)


def test_its_waiting_reads_are_given_back() -> None:
    node = follower()
    node.step(AskLeader(["read"]), 0)
    effects = node.step(heartbeat(Difference(3, SumKind.ENTRIES, CHAIN)), 0)
    assert effects.refused == ["read"]


def test_a_snapshot_replaces_the_state_that_differs() -> None:
    node = follower()
    node.step(heartbeat(Difference(3, SumKind.ENTRIES, CHAIN)), 0)
    snapshot = Snapshot(7, 1, 8, 5)
    message = InstallSnapshot("s1", "s2", 1, snapshot, 0, 8, 3, "12345678")
    node.step(Receive(message), 0)
    effects = node.step(SnapshotChecked(snapshot, members_of("s1", "s2", "s3"), IDENTITY), 0)
    assert (effects.install, effects.forgot) == (snapshot, True)
    assert (node.view.differs, node.view.recovering) == (0, True)
    node.step(Applied(7, CHAIN), 0)
    later = append(1, (7, 1), commit=7, number=4, vote_again=1)
    assert node.step(Receive(later), 0).recovered


def test_a_sum_of_a_state_that_was_replaced_is_ignored() -> None:
    node = node_of("s2", options=ABOVE_FLOOR)
    snapshot = Snapshot(7, 1, 8, 5)
    node.step(Receive(InstallSnapshot("s1", "s2", 1, snapshot, 0, 8, 3, "12345678")), 0)
    node.step(SnapshotChecked(snapshot, members_of("s1", "s2", "s3"), IDENTITY), 0)
    node.step(StateSummed(6, 1), 0)
    assert node.view.state_sums == {}


def test_leader_forgets_a_divergence_once_the_state_is_replaced() -> None:
    node = leader()
    answer(node, "s3", sums_of(node))
    answer(node, "s2", sums_of(node, OTHER))
    beat(node)
    answer(node, "s2", sums_of(node, OTHER, differs=node.view.applied), incarnation=7)
    assert node.view.differing == {"s2": node.view.applied}
    beat(node)
    answer(node, "s2", sums_of(node), incarnation=8)  # after a restart
    assert node.view.differing == {}
    assert told(beat(node), "s2") is None


def test_a_later_leader_names_the_member_by_its_report() -> None:
    node = leader()
    assert answer(node, "s2", sums_of(node, OTHER, differs=2), incarnation=7).notes[:1] == [
        "[*] s2 lost its memory: it catches up without a vote"
    ]
    assert node.view.differing == {"s2": 2}


@pytest.mark.parametrize(
    "message",
    [
        AppendAccepted("s2", "s1", 7, 9, 2, sums=Sums(9, 0x1FF)),
        AppendAccepted("s2", "s1", 7, 9, 2, 5, 500, sums=Sums(9, CHAIN, 4, 1 << 63, 3)),
        AppendAccepted("s2", "s1", 7, 9, 2, 5, 0, True, Sums(9, CHAIN, differs=3)),
        AppendEntries("s1", "s2", 7, 9, 2, [], 3, 2, differs=Difference(9, SumKind.STATE, 5)),
        AppendEntries("s1", "s2", 7, 9, 2, [], 3, 2, 5, 0, Difference(9, SumKind.ENTRIES, 5)),
        AppendEntries("s1", "s2", 7, 9, 2, [], 3, 2, 0, 0, Difference(9, SumKind.STATE, 5), 8),
        AppendEntries("s1", "s2", 7, 9, 2, [], 3, 2, agreed_index=8),
        AppendAccepted("s2", "s1", 7, 9, 2, sums=Sums(9, CHAIN, 4, 5, 3, 8)),
        AppendAccepted("s2", "s1", 7, 9, 2, sums=Sums(9, CHAIN, received=8)),
    ],
)
def test_a_line_carries_the_sums(message: AppendAccepted | AppendEntries) -> None:
    assert read(message.sender, message.to, format_message(message)) == message
