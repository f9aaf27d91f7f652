"""A node that lost its log: no vote and no weight until it holds what it once helped to commit.
Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.effects import HardState
from raftline.raft.inputs import PeerDisconnected, PeerLevel, Propose, Receive, Tick, Transfer
from raftline.raft.log import Entry
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Message,
    PeerError,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline.raft.roles import Role
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    established,
    node_of,
    request,
    sync,
    terms_of,
)


def loss(leader: RawNode, peer: str = "s3", index: int = 0, incarnation: int = 1) -> AppendRejected:
    """Return what a follower answers that has just lost its memory."""
    state = leader.view
    return AppendRejected(
        peer, state.name, state.term, index, state.round, without_vote=incarnation
    )


def heartbeat(leader: RawNode) -> list[Message]:
    """Let time pass until the leader opens its next round; return what it sends."""
    before = leader.view.round
    sent: list[Message] = []
    while leader.view.round == before:
        sent = leader.step(Tick(), leader.wake_at_ms).send
    return sent


def says_vote_again(messages: list[Message], to: str = "s3") -> bool:
    return any(
        isinstance(message, AppendEntries) and message.to == to and message.vote_again
        for message in messages
    )


def catch_up(leader: RawNode, peer: str = "s3", incarnation: int = 1) -> list[Message]:
    """Let the follower acknowledge the whole log, still without a vote; return what is sent."""
    state = leader.view
    answer = AppendAccepted(
        peer, "s1", state.term, state.log.last_index, state.round, without_vote=incarnation
    )
    sync(leader)
    return leader.step(Receive(answer), state.now_ms).send


# --- the node that lost its log ------------------------------------------------------------


def test_a_recovering_node_denies_its_vote_with_the_reason() -> None:
    node = node_of("s3", term=4, recovering=True)
    for pre_vote in (True, False):
        effects = node.step(Receive(request(5, (9, 4), to="s3", pre_vote=pre_vote)), 10)
        (answer,) = effects.send_after_save
        assert isinstance(answer, RequestVoteReply)
        assert not answer.granted
        assert answer.reason == "I lost my memory and catch up without a vote"
        assert node.view.vote is None


def test_a_recovering_node_never_stands() -> None:
    node = node_of("s3", term=4, recovering=True)
    for _ in range(10):
        effects = node.step(Tick(), node.wake_at_ms)
        assert (effects.send_after_save, effects.save) == ([], None)
    assert node.view.term == 4


def test_a_lone_recovering_node_does_not_lead_an_empty_log() -> None:
    node = node_of("s1", term=4, voters=("s1",), recovering=True)
    node.step(Tick(), node.wake_at_ms)
    assert not node.view.is_leader


def test_a_recovering_node_still_learns_of_higher_terms() -> None:
    node = node_of("s3", term=4, vote="s1", recovering=True)
    effects = node.step(Receive(request(9, (9, 4), to="s3")), 10)
    assert effects.save == HardState(9, None)


def test_a_recovering_node_marks_its_answers_as_without_vote() -> None:
    node = node_of("s3", term=1, recovering=True)
    assert node.step(Receive(append(1, (2, 1), to="s3")), 10).send_after_save == [
        AppendRejected("s3", "s1", 1, 0, 1, without_vote=1)
    ]
    assert node.step(Receive(append(1, (0, 0), 1, 1, to="s3")), 10).send_after_save == [
        AppendAccepted("s3", "s1", 1, 2, 1, without_vote=1)
    ]


def test_a_recovering_node_saves_its_regained_vote_before_it_answers() -> None:
    node = node_of("s3", term=1, recovering=True)
    node.step(Receive(append(1, (0, 0), 1, 1, to="s3")), 10)
    effects = node.step(Receive(append(1, (2, 1), number=3, to="s3", vote_again=1)), 20)
    assert effects.recovered
    assert effects.wants_disk
    assert effects.send == []
    assert effects.send_after_save == [AppendAccepted("s3", "s1", 1, 2, 3)]
    later = node.step(Receive(request(2, (2, 1), sender="s2", to="s3")), 20 + TIMEOUT_MS)
    (vote,) = later.send_after_save
    assert isinstance(vote, RequestVoteReply)
    assert vote.granted


def test_a_vote_again_on_a_mismatched_append_is_ignored() -> None:
    node = node_of("s3", term=1, recovering=True)
    effects = node.step(Receive(append(1, (2, 1), to="s3", vote_again=1)), 10)
    assert not effects.recovered
    assert node.view.recovering


# --- its leader ----------------------------------------------------------------------------


def test_a_leader_resets_the_progress_of_a_recovering_node() -> None:
    leader = established("s1", 1, 1)
    effects = leader.step(Receive(loss(leader)), TIMEOUT_MS)
    assert leader.view.progress["s3"].match_index == 0
    (sent,) = [m for m in effects.send if m.to == "s3"]
    assert isinstance(sent, AppendEntries)
    assert (sent.to, sent.prev_index, len(sent.entries)) == ("s3", 0, 3)
    assert "[*] s3 lost its memory: it catches up without a vote" in effects.notes


def test_a_node_without_a_vote_counts_for_no_commit() -> None:
    leader = established("s1")
    leader.step(Receive(loss(leader)), TIMEOUT_MS)
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    sync(leader)
    catch_up(leader)
    assert leader.view.commit_index == 1
    acknowledge(leader, "s2")
    assert leader.view.commit_index == 3  # the fence, and what was proposed


def test_a_late_acknowledgement_from_before_the_loss_counts_for_nothing() -> None:
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    sync(leader)
    before = leader.view.round
    leader.step(Receive(loss(leader)), TIMEOUT_MS)
    acknowledge(leader, "s3", 2, before)
    assert leader.view.commit_index == 1
    assert leader.view.progress["s3"].match_index == 0


def test_a_leader_alone_with_such_nodes_steps_down() -> None:
    leader = established("s1")
    leader.step(Receive(loss(leader)), TIMEOUT_MS)
    for _ in range(20):
        if not leader.view.is_leader:
            break
        leader.step(Tick(), leader.wake_at_ms)
        if leader.view.is_leader:
            catch_up(leader)
    assert not leader.view.is_leader


def test_a_node_votes_again_only_once_a_quorum_of_others_and_it_hold_the_fence() -> None:
    leader = established("s1")
    effects = leader.step(Receive(loss(leader)), TIMEOUT_MS)
    assert effects.append == [Entry(2, 1, "noop")]
    sync(leader)
    assert not says_vote_again(catch_up(leader))
    assert not says_vote_again(heartbeat(leader))
    assert not says_vote_again(catch_up(leader))  # it holds all, but s2 has not the fence yet
    assert not says_vote_again(acknowledge(leader, "s2", 1).send)
    assert leader.view.commit_index == 1
    assert says_vote_again(acknowledge(leader, "s2", 2).send)


def test_a_node_must_hold_the_committed_fence_before_it_votes_again() -> None:
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    leader.step(Receive(loss(leader)), TIMEOUT_MS)
    sync(leader)
    heartbeat(leader)
    assert not says_vote_again(acknowledge(leader, "s2").send)
    assert leader.view.commit_index == 3
    state = leader.view
    half = AppendAccepted("s3", "s1", 1, 2, state.round, without_vote=1)
    assert not says_vote_again(leader.step(Receive(half), state.now_ms).send)
    assert says_vote_again([*catch_up(leader), *heartbeat(leader)])


def test_an_entry_from_before_the_loss_is_no_fence() -> None:
    """A vote for a log that was long before the loss is reported by a later one."""
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    sync(leader)
    leader.step(Receive(loss(leader)), TIMEOUT_MS)
    catch_up(leader)
    assert not says_vote_again(acknowledge(leader, "s2", 2).send)
    assert leader.view.commit_index == 2


def test_a_leader_in_a_transfer_appends_no_fence() -> None:
    leader = established("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    acknowledge(leader, "s2")
    leader.step(Transfer("s2"), leader.view.now_ms)
    assert leader.view.transfer is not None
    assert leader.step(Receive(loss(leader)), leader.view.now_ms).append == []
    leader.step(PeerDisconnected("s2"), leader.view.now_ms)
    assert leader.view.transfer is None
    assert leader.view.log.last_index == 2


def made_whole(incarnation: int = 1) -> RawNode:
    """Return a leader whose follower s3 lost its memory and votes again."""
    leader = established("s1")
    leader.step(Receive(loss(leader, incarnation=incarnation)), TIMEOUT_MS)
    sync(leader)
    heartbeat(leader)
    catch_up(leader, incarnation=incarnation)
    acknowledge(leader, "s2")
    acknowledge(leader, "s3")
    assert leader.view.progress["s3"].is_counted
    return leader


def test_a_node_counts_again_once_it_answers_without_the_mark() -> None:
    leader = made_whole()
    index = leader.view.commit_index
    leader.step(Propose(["set a 4"]), leader.view.now_ms)
    sync(leader)
    acknowledge(leader, "s3")
    assert leader.view.commit_index == index + 1


def test_a_loss_repeated_by_a_late_answer_changes_nothing() -> None:
    leader = made_whole()
    assert leader.step(Receive(loss(leader)), leader.view.now_ms).send == []
    assert leader.view.progress["s3"].is_counted


def test_a_second_loss_is_noted() -> None:
    leader = made_whole()
    heartbeat(leader)
    late = AppendAccepted("s3", "s1", 1, leader.view.commit_index, leader.view.round)
    effects = leader.step(Receive(loss(leader, incarnation=2)), leader.view.now_ms)
    assert "[*] s3 lost its memory: it catches up without a vote" in effects.notes
    assert leader.view.progress["s3"].match_index == 0
    leader.step(Receive(late), leader.view.now_ms)  # of the incarnation before
    assert not leader.view.progress["s3"].is_counted


def test_a_second_loss_before_the_first_is_mended_begins_anew() -> None:
    leader = established("s1")
    leader.step(Receive(loss(leader)), TIMEOUT_MS)
    sync(leader)
    catch_up(leader)
    heartbeat(leader)
    late = AppendAccepted("s3", "s1", 1, 2, leader.view.round, without_vote=1)
    leader.step(Receive(loss(leader, incarnation=2)), leader.view.now_ms)
    leader.step(Receive(late), leader.view.now_ms)
    assert leader.view.progress["s3"].match_index == 0
    sent = acknowledge(leader, "s2", 2).send
    assert leader.view.commit_index == 2
    assert not says_vote_again([*sent, *heartbeat(leader)])


# --- votes that were forgotten -------------------------------------------------------------


def test_a_vote_again_for_an_earlier_incarnation_is_ignored() -> None:
    node = node_of("s3", 1, 1, term=1, recovering=True, incarnation=8)
    node.step(Receive(append(1, (2, 1), to="s3", vote_again=7)), 10)
    assert node.view.recovering
    node.step(Receive(append(1, (2, 1), to="s3", vote_again=8)), 20)
    assert not node.view.recovering


def test_a_vote_it_may_have_given_is_spent_on_the_leader_of_the_term() -> None:
    node = node_of("s3", 1, 1, term=1, recovering=True)
    effects = node.step(Receive(append(4, (2, 1), to="s3", vote_again=1)), 10)
    assert effects.save == HardState(4, "s1")
    assert not node.view.recovering
    (vote,) = node.step(Receive(request(4, (2, 1), sender="s2", to="s3")), 9999).send_after_save
    assert isinstance(vote, RequestVoteReply)
    assert not vote.granted


@pytest.mark.parametrize("evidence", ["append", "request", "prevote"])
def test_a_newborn_that_finds_a_history_has_no_vote(evidence: str) -> None:
    node = node_of("s3", newborn=True)
    if evidence == "append":
        effects = node.step(Receive(append(4, (0, 0), to="s3")), 10)
        (answer,) = effects.send_after_save
        assert isinstance(answer, AppendAccepted)
        assert answer.without_vote == 1
    else:
        question = request(4, (1, 1), to="s3", pre_vote=evidence == "prevote")
        effects = node.step(Receive(question), 10)
        (answer,) = effects.send_after_save
        assert isinstance(answer, RequestVoteReply)
        assert not answer.granted
    assert effects.forgot
    assert effects.wants_disk
    assert node.view.recovering


def test_a_joiner_gives_no_vote_to_a_member_with_a_history() -> None:
    # s2's whole folder is gone. It had acknowledged entry 9, which s3 lacks: with s2's vote, s3
    # would lead without it.
    node = node_of("s2", newborn=True, voters=())
    effects = node.step(Receive(request(6, (8, 5), sender="s3", to="s2")), 10)
    (vote,) = effects.send_after_save
    assert isinstance(vote, RequestVoteReply)
    assert not vote.granted
    assert effects.forgot


def test_a_joiner_refuses_a_candidate_with_an_empty_log() -> None:
    node = node_of("s2", newborn=True, voters=())
    with pytest.raises(PeerError, match="s3 is not a peer"):
        node.step(Receive(request(6, (0, 0), sender="s3", to="s2")), 10)
    assert node.view.newborn


def test_a_node_regains_no_vote_before_its_configuration_is_committed() -> None:
    node = node_of("s2", newborn=True, voters=(), incarnation=7)
    node.step(Receive(append(1, (0, 0), 1, commit=1, vote_again=7)), 10)
    assert node.view.recovering
    who = Entry(2, 1, "members s1=h:1,voter s2=h:2,voter s3=h:3,voter")
    tells = AppendEntries("s1", "s2", 1, 1, 1, [who], 1, 2, vote_again=7)
    node.step(Receive(tells), 20)
    assert node.view.recovering  # that entry may be cut off yet
    assert node.step(Receive(append(1, (2, 1), commit=2, number=3, vote_again=7)), 30).recovered
    assert not node.view.recovering


def test_a_candidate_that_finds_a_history_is_not_elected() -> None:
    node = node_of("s3", newborn=True)
    node.step(Tick(), node.wake_at_ms)
    now_ms = node.view.now_ms
    assert node.step(Receive(request(4, (1, 1), to="s3", pre_vote=True)), now_ms).forgot
    granted = RequestVoteReply(
        "s2", "s3", 1, granted=True, pre_vote=True
    )  # by another that has nothing
    assert node.step(Receive(granted), now_ms).save is None
    assert (node.view.role, node.view.term) == (Role.FOLLOWER, 0)


def test_a_newborn_that_votes_in_the_first_election_keeps_its_vote() -> None:
    node = node_of("s3", newborn=True)
    pre_vote = node.step(Receive(request(1, (0, 0), to="s3", pre_vote=True)), 10)
    assert not pre_vote.recovered
    effects = node.step(Receive(request(1, (0, 0), to="s3")), 20)
    (vote,) = effects.send_after_save
    assert isinstance(vote, RequestVoteReply)
    assert vote.granted
    assert effects.recovered
    node.step(Receive(append(1, (0, 0), to="s3")), 30)
    assert not node.view.recovering


def test_a_newborn_that_wins_its_prevotes_keeps_its_vote() -> None:
    node = node_of("s3", newborn=True)
    node.step(Tick(), node.wake_at_ms)
    node.step(
        Receive(RequestVoteReply("s2", "s3", 1, granted=True, pre_vote=True)), node.view.now_ms
    )
    granted = RequestVoteReply("s1", "s3", 1, granted=True, pre_vote=True)
    assert node.step(Receive(granted), node.view.now_ms).recovered
    assert not node.view.newborn


def test_a_term_alone_is_no_history() -> None:
    node = node_of("s3", newborn=True)
    node.step(Receive(RequestVoteReply("s1", "s3", 7, granted=False, reason="no")), 10)
    assert node.view.term == 7
    assert node.view.newborn


@pytest.mark.parametrize("size", [3, 5])
def test_a_recovery_between_leader_and_node_comes_to_an_end(size: int) -> None:
    voters = [f"s{number}" for number in range(1, size + 1)]
    leader = established("s1", 1, 1, 1, voters=voters)
    node = node_of(voters[-1], term=leader.view.term, voters=voters, recovering=True)
    play_out(leader, node)
    assert not node.view.recovering
    assert terms_of(node) == terms_of(leader)
    assert leader.view.progress[node.view.name].is_counted


@pytest.mark.parametrize("listed", [("s5", "s4", "s3"), ("s5", "s6", "s7", "s8", "s9")])
def test_a_node_votes_again_by_the_members_of_the_log_and_not_of_its_file(
    listed: tuple[str, ...],
) -> None:
    """Else it would lead, and commit, with others than a majority of those who are members: s1, s2
    and s3 elect another, which lacks that. No entry named the members before."""
    voters, options = ("s1", "s2", "s3", "s4", "s5"), replace(OPTIONS, level=2)
    leader = established("s1", 1, 1, 1, voters=voters, options=options)
    for peer in voters[1:]:
        leader.step(PeerLevel(peer, 2), leader.view.now_ms)
    node = node_of("s5", voters=listed, recovering=True, options=options)
    play_out(leader, node)
    assert not node.view.recovering
    assert node.view.membership == leader.view.membership
    assert node.view.configurations.at(node.view.commit_index).voters == voters
    again = node_of("s5", voters=listed, recovering=True, incarnation=2, options=options)
    play_out(leader, again)
    assert not again.view.recovering
    said = [entry for entry in leader.view.log.commands if entry.startswith("members")]
    assert len(said) == 1  # one entry is enough


def play_out(leader: RawNode, node: RawNode) -> None:
    """Play a loss out with both cores, the others only echoing rounds."""
    others = [name for name in leader.view.peers if name != node.view.name]
    now_ms = leader.view.now_ms
    for _ in range(10):
        now_ms = max(now_ms, leader.wake_at_ms)
        pending = leader.step(Tick(), now_ms).send
        for peer in others:
            pending += acknowledge(leader, peer).send
        while pending:
            message = pending.pop(0)
            if message.to == node.view.name:
                for answer in node.step(Receive(message), now_ms).send_after_save:
                    pending += leader.step(Receive(answer), now_ms).send
                sync(leader)
            elif isinstance(message, AppendEntries) and message.entries:
                pending += acknowledge(leader, message.to).send
