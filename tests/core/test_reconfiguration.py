"""Changing the members, small cases: paper §6, thesis §4, and the correction of 2015."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.raft.change import Change
from raftline.raft.effects import Effects, HardState
from raftline.raft.inputs import ChangeMembers, Propose, Read, Receive, Tick
from raftline.raft.log import Log, SafetyError
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    PeerError,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.node import RawNode, node_from_disk
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    beat,
    established,
    leader_of,
    node_of,
    request,
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
    """Let each peer acknowledge all the leader has, and its disk too; return the last Effects."""
    last = sync(node)
    for peer in list(node.view.progress):
        if node.view.is_leader and peer in node.view.progress:
            last = acknowledge(node, peer)
    return last


# --- one at a time, and in its time ------------------------------------------------------


def test_a_second_change_is_refused_until_the_first_is_committed() -> None:
    node = led("s1", "s2", "s3")
    change(node, "remove", "s3")
    second = change(node, "demote", "s2", token="second")
    assert outcomes(second) == ["refused"]
    assert "remove s3 is under way" in second.settled[0].text
    assert second.append == []


def test_a_change_waits_at_a_new_leader_until_an_inherited_one_is_complete() -> None:
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
    assert node._state.as_leader.pending_change is None
    sync(node)
    assert node.view.membership == members("s1", learners=("s9",))
    work = node._state.as_leader.pending_change
    assert work is not None
    assert str(work.change) == "add s9"


def test_no_change_before_an_entry_of_the_leader_s_own_term_is_committed() -> None:
    node = leader_of("s1", voters=members("s1", "s2", "s3"))
    early = change(node, "remove", "s3", token="first")
    late = change(node, "demote", "s2", token="second")
    assert early.settled == late.settled == early.append == late.append == []
    effects = acknowledge(node, "s2")
    assert [entry.command for entry in effects.append] == [
        members("s1", "s2", "s3").joint_to(members("s1", "s2")).spell()
    ]
    assert [(token, outcome) for token, outcome, _ in effects.settled] == [("second", "refused")]
    assert "remove s3 is under way" in effects.settled[0].text


def test_a_change_that_waits_is_refused_when_the_leader_falls() -> None:
    node = leader_of("s1", voters=members("s1", "s2", "s3"))
    change(node, "remove", "s3")
    effects = node.step(Receive(append(9, (1, 1), commit=0, sender="s2")), 0)
    assert outcomes(effects) == ["refused"]
    assert effects.settled[0].text == (
        "remove s3: this server lost the leadership before it began. Nothing was changed"
    )
    assert not node.view.is_leader


def test_a_follower_refuses_a_change_of_members() -> None:
    with pytest.raises(SafetyError):
        change(node_of("s1"), "remove", "s2")


# --- joint consensus -----------------------------------------------------------------------


def test_a_configuration_is_used_from_its_append_on_not_from_its_commit() -> None:
    node = led("s1", "s2", "s3")
    change(node, "remove", "s3")
    assert node.view.membership.outgoing == ("s1", "s2", "s3")
    assert node.view.membership.voters == ("s1", "s2")
    assert node.view.commit_index < node.view.configurations.index


def test_the_new_configuration_follows_once_the_joint_one_is_committed() -> None:
    node = led("s1", "s2", "s3")
    change(node, "remove", "s3")
    sync(node)
    effects = acknowledge(node, "s2")
    assert [entry.command for entry in effects.append] == ["members s1=s1:1,voter s2=s2:1,voter"]


def test_a_change_is_answered_only_when_the_new_configuration_is_committed() -> None:
    node = led("s1", "s2", "s3")
    change(node, "remove", "s3")
    sync(node)
    assert outcomes(acknowledge(node, "s2")) == []  # the joint one is committed
    sync(node)
    assert outcomes(acknowledge(node, "s2")) == ["done"]


# paper §6: a new leader finishes what it finds
def test_a_leader_that_inherits_a_joint_configuration_appends_the_new_one() -> None:
    log = Log()
    log.append(1, "members s1=s1:1,voter s2=s2:1,voter s3=s3:1,voter | s1=s1:1,voter s2=s2:1,voter")
    node = node_from_disk(
        "s1", members("s1", "s2", "s3"), log, HardState(1, None), OPTIONS, lambda: TIMEOUT_MS, 0
    )
    node.step(Tick(), TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s2", "s1", 2, True, pre_vote=True)), TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s2", "s1", 2, True)), TIMEOUT_MS)
    sync(node)
    effects = acknowledge(node, "s2")
    assert effects.append[0].command == "members s1=s1:1,voter s2=s2:1,voter"


def test_a_candidate_needs_a_majority_of_each_half() -> None:
    log = Log()
    log.append(
        1,
        "members s1=s1:1,voter s2=s2:1,voter s3=s3:1,voter"
        " | s1=s1:1,voter s4=s4:1,voter s5=s5:1,voter",
    )
    node = node_from_disk(
        "s1", members("s1", "s2", "s3"), log, HardState(1, None), OPTIONS, lambda: TIMEOUT_MS, 0
    )
    asked = node.step(Tick(), TIMEOUT_MS)
    assert {message.to for message in asked.send_after_save} == {"s2", "s3", "s4", "s5"}
    for peer in ("s4", "s5"):
        node.step(Receive(RequestVoteReply(peer, "s1", 2, True, pre_vote=True)), TIMEOUT_MS)
    assert node.view.term == 1
    node.step(Receive(RequestVoteReply("s3", "s1", 2, True, pre_vote=True)), TIMEOUT_MS)
    assert node.view.term == 2


def test_a_read_needs_a_majority_of_each_half() -> None:
    node = led("s1", "s2", "s3", learners=("s4", "s5"))
    node.step(ChangeMembers(Change("promote", "s4"), "t"), node.view.now_ms)
    everybody_holds(node)
    everybody_holds(node)
    everybody_holds(node)
    assert node.view.membership.voters == ("s1", "s2", "s3", "s4")
    node.step(ChangeMembers(Change("replace", "s5", "s5:1", "s3"), "t"), node.view.now_ms)
    assert node.view.membership.outgoing == ("s1", "s2", "s3", "s4")
    applied(node)
    node.step(Read(["read"]), node.view.now_ms)
    number = node.view.round
    assert not acknowledge(node, "s5", 1, number).reads
    assert not acknowledge(node, "s4", 1, number).reads  # s1 s4 s5: 3 of the new, 2 of the old
    assert [ready.token for ready in acknowledge(node, "s2", 1, number).reads] == ["read"]


# --- the leader itself -----------------------------------------------------------------------


# Paper §6
def test_a_removed_leader_steps_down_only_after_the_commit() -> None:
    node = led("s1", "s2", "s3")
    change(node, "remove", "s1")
    everybody_holds(node)
    assert node.view.is_leader
    assert node.view.membership.voters == ("s2", "s3")
    sync(node)
    acknowledge(node, "s2")
    assert node.view.is_leader  # its own disk doesn't count: s2 is half of two
    effects = acknowledge(node, "s3")
    assert not node.view.is_leader
    assert outcomes(effects) == ["done"]
    assert any("s1 was removed from the cluster" in note for note in effects.notes)
    assert node.view.contacts == {}


def test_a_removed_node_does_not_stand() -> None:
    node = node_of("s3", voters=members("s1", "s2"))
    assert not node.step(Tick(), TIMEOUT_MS).send_after_save
    assert node.view.role.value == "follower"


def test_a_change_of_a_deposed_leader_has_an_unknown_outcome() -> None:
    node = led("s1", "s2", "s3")
    change(node, "remove", "s3")
    effects = node.step(Receive(AppendEntries("s2", "s1", 9, 1, 1)), node.view.now_ms)
    assert outcomes(effects) == ["unknown"]
    assert not node.view.is_leader


# --- learners --------------------------------------------------------------------------------


# thesis §4.2.1
def test_a_new_member_learns_before_it_votes() -> None:
    node = led("s1", "s2", "s3")
    effects = node.step(ChangeMembers(ADD, "t"), node.view.now_ms)
    assert effects.append[0].command.endswith("s4=s4:1,learner")
    sync(node)
    acknowledge(node, "s2")
    acknowledge(node, "s3")
    assert node.view.membership.voters == ("s1", "s2", "s3")
    acknowledge(node, "s4")
    assert "s4" in node.view.membership.voters


def test_an_answer_of_a_learner_counts_in_no_quorum() -> None:
    node = led("s1", "s2", "s3", learners=("s4", "s5"))
    node.step(Propose(["set a 4"]), node.view.now_ms)
    sync(node)
    acknowledge(node, "s4")
    acknowledge(node, "s5")
    assert node.view.commit_index < node.view.log.last_index
    acknowledge(node, "s2")
    assert node.view.commit_index == node.view.log.last_index


def test_a_learner_does_not_stand() -> None:
    node = node_of("s4", voters=members("s1", "s2", "s3", learners=("s4",)))
    assert not node.step(Tick(), TIMEOUT_MS).send_after_save


# thesis §4.2.1
def test_a_round_that_took_an_election_timeout_is_followed_by_another() -> None:
    node = led("s1", "s2", "s3")
    node.step(ChangeMembers(ADD, "t"), node.view.now_ms)
    sync(node)
    acknowledge(node, "s2")
    node.step(Propose(["set a 4"]), node.view.now_ms)
    work = node._state.as_leader.pending_change
    assert work is not None
    began, first = node.view.now_ms, work.round_index
    late = began + OPTIONS.election_timeout_ms
    node.step(Receive(AppendAccepted("s4", "s1", node.view.term, first, node.view.round)), late)
    assert "s4" not in node.view.membership.voters
    assert (work.rounds, work.round_index) == (2, first + 1)
    soon = late + OPTIONS.election_timeout_ms - 1
    node.step(Receive(AppendAccepted("s4", "s1", node.view.term, first + 1, node.view.round)), soon)
    assert "s4" in node.view.membership.voters


# thesis §4.2.1: a fixed number of rounds
def test_after_ten_slow_rounds_it_stays_a_learner() -> None:
    node = led("s1", "s2", "s3")
    node.step(ChangeMembers(ADD, "t"), node.view.now_ms)
    sync(node)
    acknowledge(node, "s2")
    settled: list[str] = []
    for _ in range(10):
        work = node._state.as_leader.pending_change
        assert work is not None
        target = work.round_index
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


def test_a_learner_without_its_log_does_not_get_a_vote() -> None:
    node = led("s1", "s2", "s3")
    node.step(ChangeMembers(ADD, "t"), node.view.now_ms)
    sync(node)
    acknowledge(node, "s2")
    state = node.view
    node.step(Receive(AppendRejected("s4", "s1", state.term, 0, state.round, True)), state.now_ms)
    last = state.log.last_index
    node.step(
        Receive(AppendAccepted("s4", "s1", state.term, last, state.round, True)), state.now_ms
    )
    assert "s4" not in state.membership.voters


def test_removing_a_learner_ends_its_catching_up() -> None:
    node = led("s1", "s2", "s3")
    node.step(ChangeMembers(ADD, "first"), node.view.now_ms)
    sync(node)
    acknowledge(node, "s2")
    effects = change(node, "remove", "s4", token="second")
    assert [(token, outcome) for token, outcome, _ in effects.settled] == [("first", "refused")]
    sync(node)
    effects = acknowledge(node, "s2")
    assert [(token, outcome) for token, outcome, _ in effects.settled] == [("second", "done")]


def test_a_replacement_that_does_not_answer_is_reported_with_both_ways_out() -> None:
    node = led("s1", "s2", "s3")
    change(node, "replace", "s4", "h:7", "s3")
    settled: list[str] = []
    for _ in range(60):  # heartbeats and more: ten election timeouts
        sync(node)
        acknowledge(node, "s2")
        settled += [text for _, _, text in node.step(Tick(), node.wake_at_ms).settled]
    assert settled == [
        "s4 is a learner without a vote, since it does not answer, and s3 votes as before. Once s4 "
        "is up: replace s3 s4 h 7; to give it up: remove s4"
    ]


@pytest.mark.parametrize("role", ["learner", "voter"])
def test_a_repeated_replacement_finishes_the_first_one(role: str) -> None:
    voters: tuple[str, ...] = ("s1", "s2", "s3")
    learners: tuple[str, ...] = ("s4",)
    if role == "voter":
        voters, learners = (*voters, *learners), ()
    node = led(*voters, learners=learners)
    settled = list(change(node, "replace", "s4", "s4:1", "s3").settled)
    for _ in range(3):
        settled += sync(node).settled
        settled += [one for name in ("s2", "s4") for one in acknowledge(node, name).settled]
    (done,) = settled
    text = f"s4 votes instead of s3 from entry {node.view.configurations.index}"
    assert done[1:] == ("done", text)
    assert node.view.membership == members("s1", "s2", "s4")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("replace", "s3", "s3:1", "s9"), "s3 votes and s9 is not a member, as before; "
         "entry {} repeats who the members are: voters s1 s2 s3, learners s4"),
        (("add", "s3", "s3:1"), "s3 is a voter as before, entry {} tells it who the others are"),
    ],
)  # fmt: skip
def test_a_change_already_reached_is_answered_once_its_entry_is_committed(
    words: tuple[str, ...], text: str
) -> None:
    node = led("s1", "s2", "s3", learners=("s4",))
    assert outcomes(change(node, *words)) == []  # a leader that was deposed can't say so
    index = node.view.configurations.index
    sync(node)
    effects = acknowledge(node, "s2")
    assert [one[1:] for one in effects.settled] == [("done", text.format(index))]
    assert (index, node.view.log.last_index) == (2, 2)
    assert node.view.membership == members("s1", "s2", "s3", learners=("s4",))


# A name that is used again may have voted in this term in an earlier life.
def test_a_learner_spends_its_vote_on_its_leader() -> None:
    node = node_of("s4", voters=Membership(()))
    effects = node.step(Receive(append(3, (0, 0), 1, sender="s1", to="s4")), 0)
    assert effects.save == HardState(3, "s1")
    node._state.leader_heard_at_ms = None
    answer = node.step(Receive(request(3, (9, 2), sender="s2", to="s4")), 0).send_after_save[0]
    assert isinstance(answer, RequestVoteReply)
    assert not answer.granted


# --- those who leave ---------------------------------------------------------------------------


def with_a_leaver() -> RawNode:
    """Return a leader that has removed s3, which has not heard of it."""
    node = led("s1", "s2", "s3")
    change(node, "remove", "s3")
    for _ in range(2):
        sync(node)
        acknowledge(node, "s2")
    return node


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


def test_a_removed_member_that_does_not_answer_is_forgotten_in_time() -> None:
    node = with_a_leaver()
    for _ in range(40):
        node.step(Tick(), node.wake_at_ms)
        acknowledge(node, "s2")
    assert node.view.is_leader
    assert node.view.contacts == {"s2": "s2:1"}
    with pytest.raises(PeerError):
        node.step(Receive(AppendAccepted("s3", "s1", node.view.term, 1, 1)), node.view.now_ms)


def test_a_removed_member_that_lost_the_end_of_its_log_still_hears_that_it_was_removed() -> None:
    node = with_a_leaver()
    term, number = node.view.term, node.view.round
    node.step(Receive(AppendRejected("s3", "s1", term, 1, number, 77)), node.view.now_ms)
    assert "s3" in node.view.contacts


def test_a_member_that_comes_back_while_it_leaves_is_a_member_again() -> None:
    node = with_a_leaver()
    assert node.view.contacts["s3"] == "s3:1"
    node.step(ChangeMembers(Change("add", "s3", "s3:2"), "t"), node.view.now_ms)
    assert node.view.contacts["s3"] == "s3:2"


# --- strangers -------------------------------------------------------------------------------


# thesis §4.1: servers don't ask their configuration who may lead
def test_a_voter_that_missed_changes_follows_an_unknown_leader() -> None:
    node = node_of("s3", 1, 1, voters=members("s1", "s2", "s3"))
    node.step(Receive(append(4, (2, 1), 4, sender="s7", to="s3")), 0)
    assert node.view.leader == "s7"


def test_a_stranger_of_an_earlier_term_gets_no_answer_and_no_term() -> None:
    """The old leader of a cluster that was recovered from one node: it must not learn a term
    beyond its own, in which its cluster would be heard again."""
    node = node_of("s1", 1, 1, term=1_000_001, voters=members("s1"))
    with pytest.raises(PeerError):
        node.step(Receive(append(7, (2, 1), sender="s2", to="s1")), 0)
    assert node.view.leader is None


def test_a_stranger_gets_a_vote_only_with_a_longer_log() -> None:
    node = node_of("s3", 1, 1, voters=members("s1", "s2", "s3"))
    with pytest.raises(PeerError):
        node.step(Receive(request(4, (2, 1), sender="s7", to="s3")), 0)
    answer = node.step(Receive(request(4, (3, 2), sender="s7", to="s3")), 0).send_after_save[0]
    assert isinstance(answer, RequestVoteReply)
    assert answer.granted


# Thesis §4.2.3
@pytest.mark.parametrize(
    "message",
    [
        RequestVote("s7", "s3", 9, 9, 8),
        RequestVote("s7", "s3", 9, 9, 8, pre_vote=True),
        AppendEntries("s7", "s3", 9, 0, 0),
    ],
    ids=lambda message: type(message).__name__,
)
def test_strangers_are_ignored_while_a_leader_is_heard(
    message: RequestVote | AppendEntries,
) -> None:
    node = node_of("s3", 1, voters=members("s1", "s2", "s3"))
    node.step(Receive(append(1, (1, 1), sender="s1", to="s3")), 0)
    with pytest.raises(PeerError):
        node.step(Receive(message), 10)
    assert node.view.term == 1


def test_check_quorum_needs_a_majority_of_each_half() -> None:
    node = led("s1", "s2", "s3", learners=("s4",))
    node.step(ChangeMembers(Change("replace", "s4", "s4:1", "s3"), "t"), node.view.now_ms)
    assert node.view.membership.outgoing == ("s1", "s2", "s3")
    heard_late = node._state.as_leader.quorum_check_at_ms
    node.step(
        Receive(AppendAccepted("s4", "s1", node.view.term, 1, node.view.round)), heard_late - 1
    )
    node.view.progress["s2"].heard_at_ms = -10_000
    node.view.progress["s3"].heard_at_ms = -10_000
    node.step(Tick(), heard_late)  # s1 and s4 are a majority of s1 s2 s4, not of s1 s2 s3
    assert not node.view.is_leader


def test_an_address_that_no_entry_can_hold_is_refused() -> None:
    odd = Membership(("s1", "s2"), addresses={"s1": "a,b:1", "s2": "h:2"})
    node = established("s1", voters=odd)
    refused = node.step(ChangeMembers(ADD, "t"), node.view.now_ms)
    assert outcomes(refused) == ["refused"]
    assert refused.append == []


# paper §6: any server of either configuration may lead while they are joint
def test_a_leaving_voter_may_still_be_elected_to_finish_the_change() -> None:
    log = Log()
    log.append(1, "members s1=s1:1,voter s2=s2:1,voter s3=s3:1,voter | s1=s1:1,voter s3=s3:1,voter")
    node = node_from_disk(
        "s2", members("s1", "s2", "s3"), log, HardState(1, None), OPTIONS, lambda: TIMEOUT_MS, 0
    )
    node.step(Receive(append(1, (1, 1), commit=1)), 0)  # it knows the joint one to be committed
    now = node.view.election_at_ms
    node.step(Tick(), now)
    for pre_vote in (True, False):
        for peer in ("s1", "s3"):
            node.step(Receive(RequestVoteReply(peer, "s2", 2, True, pre_vote=pre_vote)), now)
    assert node.view.is_leader
    for _ in range(2):
        everybody_holds(node)
    assert node.view.membership.voters == ("s1", "s3")
    assert not node.view.is_leader


# thesis §4.2.2
def test_a_removed_server_stands_until_it_knows_its_removal_to_be_committed() -> None:
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


def test_the_entries_of_a_lone_voter_wait_for_its_term_to_be_on_disk() -> None:
    node = node_of("s1", 1, voters=members("s1", learners=("s2",)))
    elected = node.step(Tick(), TIMEOUT_MS)
    assert node.view.is_leader
    assert elected.send == []
    heartbeat = node.step(Tick(), node.wake_at_ms)
    assert heartbeat.send == []
    assert heartbeat.send_after_save
    sync(node)
    assert node.step(Tick(), node.wake_at_ms).send
