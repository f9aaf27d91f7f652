"""A server that begins with nothing: which messages tell it that the cluster has a history."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.effects import Effects, HardState
from raftline.raft.inputs import Receive, Tick
from raftline.raft.log import Snapshot
from raftline.raft.membership import Membership
from raftline.raft.messages import (
    AppendAccepted,
    InstallSnapshot,
    Message,
    PeerError,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline.raft.roles import Role
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    append,
    established,
    node_of,
    request,
    sync,
    terms_of,
)
from raftline_testing.orders import Campaign, OrderRefused, obey

SNAPSHOT = InstallSnapshot("s2", "s1", 1, Snapshot(5, 1, 10, 0), 0, 0, 1)
DENIED = RequestVoteReply("s2", "s1", 1, False, True, "I hear from leader s3 of term 1")
HISTORY: dict[str, Message] = {
    "a leader's entries": append(1, (0, 0), 1, sender="s2", to="s1"),
    "a leader's heartbeat": append(1, (0, 0), sender="s2", to="s1"),
    "a leader's snapshot": SNAPSHOT,
    "a candidate with entries": request(2, (3, 1), sender="s2", to="s1"),
    "a pre-candidate with entries": request(2, (3, 1), sender="s2", to="s1", pre_vote=True),
    "a member that hears a leader": DENIED,
    "a member with a promise": replace(
        DENIED, reason="I promised a leader to vote for nobody else yet"
    ),
    "a member that lost its memory": replace(
        DENIED, reason="I lost my memory and catch up without a vote"
    ),
    "a member without a vote that has entries": replace(
        DENIED,
        reason="I may be new or may have lost everything, so I catch up without a vote, mine holds "
        "a cluster's entries",
    ),
    "a member that holds more": replace(
        DENIED, reason="log not up to date: it ends at 0 of term 0, mine at 9 of term 1"
    ),
    "a member that denies a hand-written log": replace(
        DENIED, reason="the log of s1 was written by hand, mine holds a cluster's entries"
    ),
}
NO_HISTORY = {
    "a candidate without entries": request(1, sender="s2", to="s1", pre_vote=True),
    "a hand-written log": RequestVote("s2", "s1", 9, 3, 2, True, newborn=True),
    "a denial for another reason": replace(DENIED, reason="already voted for s3 in term 1"),
    "a PreVote granted": RequestVoteReply("s2", "s1", 1, True, True),
}


def newborn(*terms: int) -> RawNode:
    """Return s1 at its first start; entries of these terms were written by hand."""
    return node_of("s1", *terms, newborn=True)


@pytest.mark.parametrize("message", HISTORY.values(), ids=HISTORY)
@pytest.mark.parametrize("terms", [(), (1,)], ids=["empty", "hand-written"])
def test_a_newborn_loses_its_vote_if_a_member_reports_a_history(
    message: Message, terms: tuple[int, ...]
) -> None:
    node = newborn(*terms)
    effects = node.step(Receive(message), 10)
    state = node.view
    assert (state.newborn, state.recovering, state.may_be_new) == (False, True, True)
    assert effects.forgot
    assert effects.cut_after == (0 if terms else None)
    assert any("can't tell whether it is new" in note for note in effects.notes)


@pytest.mark.parametrize("message", NO_HISTORY.values(), ids=NO_HISTORY)
def test_a_newborn_keeps_its_vote_if_no_message_reports_a_history(message: Message) -> None:
    node = newborn()
    effects = node.step(Receive(message), 10)
    assert (node.view.recovering, effects.forgot) == (False, False)


@pytest.mark.parametrize("message", [*HISTORY.values(), *NO_HISTORY.values()])
def test_a_message_of_a_name_that_is_no_member_changes_nothing(message: Message) -> None:
    node = newborn()
    stranger = replace(message, sender="s9", term=5)
    assert not node.accepts(stranger)
    with pytest.raises(PeerError, match="s9 is not a peer of s1"):
        node.step(Receive(stranger), 10)
    state = node.view
    assert (state.newborn, state.recovering, state.term, state.vote) == (True, False, 0, None)
    assert state.log.last_index == 0


def test_a_joiner_knows_no_members_and_listens_to_every_leader() -> None:
    node = node_of("s1", newborn=True, voters=())
    node.step(Receive(append(1, (0, 0), 1, sender="s9", to="s1")), 10)
    assert (node.view.leader, node.view.may_be_new) == ("s9", True)


def test_a_joiner_answers_the_leader_of_an_earlier_term() -> None:
    """It heard a candidate of a later one that was not elected: else it refuses the leader that
    added it for ever."""
    node = node_of("s1", newborn=True, voters=())
    node.step(Receive(append(2, (8, 2), commit=8, sender="s9", to="s1")), 0)
    added = append(1, (0, 0), 1, sender="b1", to="s1")
    with pytest.raises(PeerError):
        node.step(Receive(added), OPTIONS.election_timeout_ms - 1)
    (answer,) = node.step(Receive(added), OPTIONS.election_timeout_ms).send_after_save
    assert (answer.to, answer.term) == ("b1", 2)
    assert terms_of(node) == []


def test_a_newborn_takes_an_unknown_leader_once_a_member_reports_one() -> None:
    node = newborn()
    node.step(Receive(DENIED), 10)
    node.step(Receive(append(1, (0, 0), 1, sender="s9", to="s1")), 20)
    assert (node.view.leader, terms_of(node)) == ("s9", [1])


def test_a_newborn_that_finds_a_history_ends_its_candidacy() -> None:
    node = newborn(1)
    node.step(Tick(), 0)
    assert node.view.role is Role.PRE_CANDIDATE
    node.step(Receive(HISTORY["a pre-candidate with entries"]), 10)
    assert node.view.role is Role.FOLLOWER
    node.step(Receive(RequestVoteReply("s3", "s1", 2, True, True)), 20)  # it was on its way
    assert node.view.role is Role.FOLLOWER


# --- a log that was written by hand ------------------------------------------------------------


def asked(node: RawNode, at_ms: int) -> list[RequestVote]:
    """Let the node's time pass until then; return what it asks."""
    effects = node.step(Tick(), at_ms)
    return [one for one in effects.send_after_save if isinstance(one, RequestVote)]


def pre_voted(node: RawNode) -> Effects:
    """Let both others grant the PreVote that was just asked for."""
    term = node.view.term + 1
    node.step(Receive(RequestVoteReply("s2", "s1", term, True, True)), node.view.now_ms)
    return node.step(Receive(RequestVoteReply("s3", "s1", term, True, True)), node.view.now_ms)


def test_the_owner_of_a_hand_written_log_asks_at_once_as_newborn() -> None:
    node = newborn(1, 2)
    assert node.wake_at_ms == 0
    first = asked(node, 0)
    assert [(one.to, one.last_index, one.pre_vote) for one in first] == [
        ("s2", 2, True),
        ("s3", 2, True),
    ]
    assert all(one.newborn for one in first)
    assert node.wake_at_ms <= 150 // 4  # before anybody else's shortest timeout is over


def test_the_owner_of_a_hand_written_log_stays_newborn_through_its_candidacy() -> None:
    node = newborn(1, 2)
    node.step(Tick(), 0)
    effects = pre_voted(node)
    assert node.view.role is Role.CANDIDATE
    assert effects.save == HardState(3, "s1")
    assert not effects.recovered
    assert all(one.newborn for one in effects.send_after_save if isinstance(one, RequestVote))
    assert all(one.newborn for one in asked(node, node.wake_at_ms))


def test_a_first_leader_saves_that_it_is_no_newborn_before_it_sends() -> None:
    node = newborn(1, 2)
    node.step(Tick(), 0)
    pre_voted(node)
    effects = node.step(Receive(RequestVoteReply("s2", "s1", 3, True)), 20)
    assert node.view.is_leader
    assert not node.view.newborn
    assert effects.recovered
    assert effects.save == HardState(3, "s1")
    assert effects.send == []
    assert len(effects.send_after_save) == 2
    heartbeats = node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms)  # its disk is slow
    assert (len(heartbeats.send), len(heartbeats.send_after_save)) == (0, 2)
    sync(node)
    assert len(node.step(Tick(), node.view.now_ms + OPTIONS.heartbeat_ms).send) == 2


def test_a_voter_with_a_hand_written_log_is_complete_under_its_elected_leader() -> None:
    node = newborn(1)
    node.step(Receive(RequestVote("s2", "s1", 3, 2, 2, newborn=True)), 10)
    assert (node.view.vote, node.view.newborn) == ("s2", True)
    effects = node.step(Receive(append(3, (0, 0), 2, 2, 3, sender="s2", to="s1")), 20)
    assert (node.view.newborn, node.view.recovering) == (False, False)
    assert (effects.recovered, effects.forgot) == (True, False)
    assert terms_of(node) == [2, 2, 3]


def test_a_denial_of_the_chosen_candidate_may_report_another_leader() -> None:
    node = newborn(1)
    node.step(Receive(RequestVote("s2", "s1", 3, 2, 2, newborn=True)), 10)
    denial = RequestVoteReply("s2", "s1", 3, False, True, "I hear from leader s3 of term 3")
    effects = node.step(Receive(denial), 20)
    assert (node.view.may_be_new, effects.cut_after) == (True, 0)


@pytest.mark.parametrize("teller", ["s2", "s3"])
def test_a_denial_that_names_the_elected_leader_is_no_history(teller: str) -> None:
    """It may come before that leader's first word. Two without votes were stuck for good."""
    node = newborn(1)
    node.step(Receive(RequestVote("s2", "s1", 3, 2, 2, newborn=True)), 10)
    reason = "I hear from leader s2 of term 3"
    effects = node.step(Receive(RequestVoteReply(teller, "s1", 3, False, True, reason)), 20)
    assert (node.view.recovering, effects.forgot, terms_of(node)) == (False, False, [1])
    effects = node.step(Receive(append(3, (0, 0), 2, 2, 3, sender="s2", to="s1")), 30)
    assert (effects.forgot, terms_of(node)) == (False, [2, 2, 3])


@pytest.mark.parametrize("named", ["s3 of term 3", "s2 of term 2", "s2 of term 4", "s2"])
def test_a_denial_that_names_another_leadership_is_a_history(named: str) -> None:
    node = newborn(1)
    node.step(Receive(RequestVote("s2", "s1", 3, 2, 2, newborn=True)), 10)
    denial = RequestVoteReply("s3", "s1", 3, False, True, f"I hear from leader {named}")
    assert node.step(Receive(denial), 20).forgot


def test_the_chosen_candidate_may_ask_again_with_an_entry_of_its_term() -> None:
    """It led, and died before anybody heard it: its no-op is the proof."""
    node = newborn(1)
    node.step(Receive(RequestVote("s2", "s1", 3, 2, 2, newborn=True)), 10)
    node.step(Receive(RequestVote("s2", "s1", 4, 3, 3, pre_vote=True)), 20)
    assert (node.view.newborn, node.view.recovering) == (False, False)
    assert terms_of(node) == [1]


def test_a_pre_candidate_that_gives_its_vote_ends_its_candidacy() -> None:
    node = node_of("s1", term=3, newborn=True)
    node.step(Tick(), TIMEOUT_MS)
    node.step(Receive(request(3, sender="s2", to="s1")), TIMEOUT_MS + 1)
    assert (node.view.vote, node.view.role) == ("s2", Role.FOLLOWER)
    for peer in ("s2", "s3"):  # its own PreVotes, granted late
        node.step(Receive(RequestVoteReply(peer, "s1", 4, True, True)), TIMEOUT_MS + 2)
    assert node.view.term == 3


def test_a_leader_other_than_the_chosen_candidate_is_a_history() -> None:
    node = newborn(1)
    node.step(Receive(RequestVote("s2", "s1", 3, 2, 2, newborn=True)), 10)
    effects = node.step(Receive(append(3, (1, 1), 3, sender="s3", to="s1")), 20)
    assert node.view.may_be_new
    assert (effects.cut_after, terms_of(node)) == (0, [])  # its entry 1 of term 1 is another one


@pytest.mark.parametrize("pre_vote", [True, False])
def test_a_server_with_cluster_entries_denies_a_hand_written_log_its_vote(pre_vote: bool) -> None:
    node = node_of("s1", 1, 1)
    effects = node.step(Receive(RequestVote("s2", "s1", 9, 5, 8, pre_vote, newborn=True)), 10)
    (answer,) = effects.send_after_save
    assert isinstance(answer, RequestVoteReply)
    assert not answer.granted
    assert answer.reason == "the log of s2 was written by hand, mine holds a cluster's entries"


@pytest.mark.parametrize("is_newborn", [True, False])
def test_a_server_without_entries_gives_a_hand_written_log_its_vote(is_newborn: bool) -> None:
    node = node_of("s1", newborn=is_newborn)
    node.step(Receive(RequestVote("s2", "s1", 9, 5, 8, newborn=True)), 10)
    assert node.view.vote == "s2"
    assert not node.view.newborn


def test_a_better_hand_written_log_makes_a_newborn_give_way() -> None:
    node = node_of("s1", term=2, newborn=True)
    node.step(Tick(), TIMEOUT_MS)
    by_hand = "log not up to date: it ends at 0 of term 0, mine at 2 of term 2, written by hand"
    node.step(Receive(RequestVoteReply("s2", "s1", 2, False, True, by_hand)), TIMEOUT_MS + 1)
    assert (node.view.role, node.view.newborn) == (Role.FOLLOWER, True)
    node.step(Receive(RequestVoteReply("s3", "s1", 3, True, True)), TIMEOUT_MS + 2)
    assert node.view.role is Role.FOLLOWER
    assert node.wake_at_ms == TIMEOUT_MS + 1 + TIMEOUT_MS


def test_the_owner_of_a_hand_written_log_names_it_in_a_denial() -> None:
    (denial,) = newborn(1, 2).step(Receive(request(3, sender="s2", to="s1")), 10).send_after_save
    assert isinstance(denial, RequestVoteReply)
    assert denial.reason == (
        "log not up to date: it ends at 0 of term 0, mine at 2 of term 2, written by hand"
    )


# --- a newborn hears everybody before it stands -------------------------------------------------


def test_a_quorum_of_pre_votes_is_not_enough_while_a_member_may_have_entries() -> None:
    node = newborn()
    node.step(Tick(), TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s2", "s1", 1, True, True)), TIMEOUT_MS)
    assert node.view.role is Role.PRE_CANDIDATE
    has_entries = "log not up to date: it ends at 0 of term 0, mine at 9 of term 1"
    node.step(Receive(RequestVoteReply("s3", "s1", 0, False, True, has_entries)), TIMEOUT_MS + 10)
    assert (node.view.role, node.view.may_be_new) == (Role.FOLLOWER, True)


def test_a_newborn_stands_as_soon_as_all_members_have_answered() -> None:
    node = newborn()
    node.step(Tick(), TIMEOUT_MS)
    assert pre_voted(node).save == HardState(1, "s1")


def test_a_newborn_waits_half_an_election_timeout_for_an_absent_member() -> None:
    node = newborn()
    node.step(Tick(), TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s2", "s1", 1, True, True)), TIMEOUT_MS)
    assert node.wake_at_ms == TIMEOUT_MS + 150 // 2
    assert node.step(Tick(), node.wake_at_ms).save == HardState(1, "s1")


def test_a_server_that_voted_before_stands_without_a_wait() -> None:
    node = node_of("s1", term=1)
    node.step(Tick(), TIMEOUT_MS)
    effects = node.step(Receive(RequestVoteReply("s2", "s1", 2, True, True)), TIMEOUT_MS)
    assert effects.save == HardState(2, "s1")


# --- without a vote, and why -------------------------------------------------------------------

UNSURE = "I may be new or may have lost everything, so I catch up without a vote"


def test_a_node_that_may_be_new_reports_just_that() -> None:
    node = node_of("s1", recovering=True, may_be_new=True, incarnation=7)
    (denial,) = node.step(Receive(request(1, sender="s2", to="s1")), 10).send_after_save
    assert isinstance(denial, RequestVoteReply)
    assert denial.reason == UNSURE
    (answer,) = node.step(Receive(append(1, (0, 0), 1, sender="s2", to="s1")), 20).send_after_save
    assert isinstance(answer, AppendAccepted)
    assert (answer.without_vote, answer.may_be_new) == (7, True)
    with pytest.raises(OrderRefused, match="may be new or may have lost everything"):
        obey(node, Campaign(), 30)


def test_a_node_with_its_vote_again_no_longer_reports_that_it_may_be_new() -> None:
    node = node_of("s1", recovering=True, may_be_new=True, incarnation=7)
    last = append(1, (0, 0), 1, commit=1, sender="s2", to="s1", vote_again=7)
    (answer,) = node.step(Receive(last), 20).send_after_save
    assert isinstance(answer, AppendAccepted)
    assert (answer.without_vote, answer.may_be_new) == (0, False)


def test_a_leader_reports_a_follower_as_new_or_without_its_memory() -> None:
    leader = established("s1")
    leader.view.progress["s3"].match_index = 0
    unsure = AppendAccepted("s3", "s1", 1, 0, leader.view.round, 9, may_be_new=True)
    notes = leader.step(Receive(unsure), leader.view.now_ms).notes
    assert "[*] s3 is new, or lost its memory: it catches up without a vote" in notes


def test_a_leader_reports_the_loss_of_a_follower_whose_entries_it_knew() -> None:
    leader = established("s1")
    unsure = AppendAccepted("s3", "s1", 1, 0, leader.view.round, 9, may_be_new=True)
    notes = leader.step(Receive(unsure), leader.view.now_ms).notes
    assert "[*] s3 lost its memory: it catches up without a vote" in notes


WAYS = (
    "or when one that never ran before is started once with --new, or by `raftline recover` "
    "(docs/repair.md)"
)


def denied(node: RawNode, sender: str, reason: str) -> None:
    node.step(Receive(RequestVoteReply(sender, "s1", 1, False, True, reason)), node.view.now_ms)


def silence(node: RawNode) -> list[str]:
    return [note for note in node.step(Tick(), node.wake_at_ms).notes if note.startswith("[!]")]


def test_a_candidate_names_once_the_voters_without_a_vote_and_the_remedy() -> None:
    node = node_of("s1", 1, voters=("s1", "s2", "s3", "s4"))
    node.step(Tick(), TIMEOUT_MS)
    denied(node, "s2", UNSURE)
    denied(node, "s3", "I lost my memory and catch up without a vote")
    why = (
        "s2 has no vote, since it may be new or may have lost everything. s3 lost its memory. "
        f"This ends when s4 answers, {WAYS}"
    )
    assert silence(node) == [f"[!] No leader is heard: {why}"]
    assert node.view.no_leader_because == why
    for peer, reason in (("s2", UNSURE), ("s3", "I lost my memory and catch up without a vote")):
        denied(node, peer, reason)
    assert silence(node) == []
    node.step(Receive(append(1, (1, 1), sender="s4", to="s1")), node.view.now_ms)
    assert node.view.no_leader_because == ""
    assert node._state.without_vote_now == {}


def test_no_wait_is_reported_if_the_answering_voters_could_elect() -> None:
    node = node_of("s1", 1)
    node.step(Tick(), TIMEOUT_MS)
    denied(node, "s2", UNSURE)
    denied(node, "s3", "already voted for s3 in term 1")
    assert silence(node) == []


def test_the_wait_ends_when_enough_of_several_silent_voters_answer() -> None:
    node = node_of("s1", 1, voters=("s1", "s2", "s3", "s4", "s5"))
    node.step(Tick(), TIMEOUT_MS)
    denied(node, "s5", UNSURE)
    assert silence(node) == [
        "[!] No leader is heard: s5 has no vote, since it may be new or may have lost everything. "
        f"This ends when enough of s2, s3 and s4 answer, {WAYS}"
    ]


def test_a_denial_without_a_vote_tells_if_the_node_holds_entries() -> None:
    for terms, end in (((), "a vote"), ((1,), "a vote, mine holds a cluster's entries")):
        node = node_of("s1", *terms, recovering=True, may_be_new=True)
        (denial,) = node.step(Receive(request(9, sender="s2", to="s1")), 10).send_after_save
        assert isinstance(denial, RequestVoteReply)
        assert denial.reason.endswith(f"without {end}")


def test_a_granted_vote_cancels_a_report_of_no_vote() -> None:
    node = node_of("s1", 1, voters=("s1", "s2", "s3", "s4", "s5"))
    node.step(Tick(), TIMEOUT_MS)
    denied(node, "s2", UNSURE)
    node.step(Receive(RequestVoteReply("s2", "s1", 2, True, True)), node.view.now_ms)
    assert silence(node) == []


def test_a_node_without_a_vote_names_itself_in_the_reason() -> None:
    node = node_of("s1", recovering=True, may_be_new=True)
    why = (
        "s1 has no vote, since it may be new or may have lost everything. "
        "This ends when a leader is elected without it and reaches it at the address that "
        f"`raftline member` shows, {WAYS}"
    )
    assert silence(node) == [f"[!] No leader is heard: {why}"]
    assert silence(node) == []
    assert node.view.no_leader_because == why


def test_a_learner_has_no_vote_to_wait_for() -> None:
    members = Membership(("s2", "s3"), learners=("s1",))
    node = node_of("s1", recovering=True, may_be_new=True, voters=members)
    assert silence(node) == []
    assert silence(node_of("s1", recovering=True, may_be_new=True, voters=())) == []


def test_a_node_that_certainly_lost_its_log_reports_no_reason() -> None:
    assert silence(node_of("s1", 1, recovering=True)) == []
    node = node_of("s1", 1)
    node.step(Tick(), TIMEOUT_MS)
    denied(node, "s2", "I lost my memory and catch up without a vote")
    assert silence(node) == []
