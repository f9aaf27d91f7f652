"""The sends of a leader, and the commit of entries: §5.3, §5.4.2, thesis §10.2.1."""

from __future__ import annotations

import pytest

from raftline.raft.effects import Effects
from raftline.raft.inputs import Propose, Receive, Synced, Tick
from raftline.raft.log import Entry, SafetyError
from raftline.raft.messages import AppendAccepted, AppendEntries, AppendRejected, Message, PeerError
from raftline.raft.progress import Mode
from raftline.raft.state import Options
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    acknowledge,
    append,
    established,
    leader_of,
    node_of,
    sync,
    terms_of,
)


def appends(messages: list[Message], to: str) -> list[AppendEntries]:
    return [m for m in messages if isinstance(m, AppendEntries) and m.to == to]


def entries(messages: list[Message], to: str) -> list[list[tuple[int, int]]]:
    """Return (index, term) of the entries of each AppendEntries to one follower."""
    return [[(e.index, e.term) for e in m.entries] for m in appends(messages, to)]


def test_a_new_leader_appends_a_no_op_of_its_term() -> None:
    node = leader_of("s1", 1, 1)
    assert terms_of(node) == [1, 1, 2]
    assert node.view.log.entries(3, 3) == [Entry(3, 2, "noop")]


# thesis §10.2.1
def test_a_leader_sends_before_it_syncs_and_counts_itself_only_afterwards() -> None:
    node = established("s1")
    effects = node.step(Propose(["set a 4"]), TIMEOUT_MS)
    assert [message.to for message in effects.send] == ["s2", "s3"]
    assert [entry.index for entry in effects.append] == [2]
    assert acknowledge(node, "s2").apply == []
    assert [entry.index for entry in sync(node).apply] == [2]


# thesis §10.2.1
def test_two_followers_of_three_commit_while_the_leaders_disk_is_busy() -> None:
    node = established("s1")
    node.step(Propose(["set a 4"]), TIMEOUT_MS)
    acknowledge(node, "s2")
    assert [entry.index for entry in acknowledge(node, "s3").apply] == [2]


def test_an_entry_is_committed_once_a_majority_holds_it_not_all() -> None:
    node = established("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    node.step(Propose(["set a 4"]), TIMEOUT_MS)
    assert sync(node).apply == []
    assert acknowledge(node, "s2").apply == []
    assert [entry.command for entry in acknowledge(node, "s5").apply] == ["set a 4"]


def test_a_leader_does_not_commit_older_terms_by_counting() -> None:
    node = leader_of("s1", 1, 2, term=3)
    for peer in ("s2", "s3"):
        assert acknowledge(node, peer, 2).apply == []
    assert node.view.commit_index == 0
    assert [entry.index for entry in acknowledge(node, "s2").apply] == [1, 2, 3]


def test_an_acknowledged_heartbeat_commits_no_entry_sent_after_it() -> None:
    node = established("s1")
    node.step(Propose(["set a 4"]), TIMEOUT_MS)
    sync(node)
    assert acknowledge(node, "s2", 1).apply == []
    assert acknowledge(node, "s3", 1).apply == []
    assert node.view.commit_index == 1


@pytest.mark.parametrize(
    "answer", [AppendAccepted("s2", "s1", 1, 3, 1), AppendRejected("s2", "s1", 1, 0, 1)]
)
def test_an_answer_to_an_earlier_term_counts_for_nothing(answer: AppendAccepted) -> None:
    node = leader_of("s1", 1, term=1)
    node.step(Propose(["set a 4"]), TIMEOUT_MS)
    sync(node)
    progress = node.view.progress["s2"]
    before = (progress.match_index, progress.next_index, progress.acked_round)
    heard_at_ms = progress.heard_at_ms
    effects = node.step(Receive(answer), TIMEOUT_MS + 40)
    assert (progress.match_index, progress.next_index, progress.acked_round) == before
    assert progress.heard_at_ms == heard_at_ms
    assert (effects.send, effects.apply) == ([], [])


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


@pytest.mark.parametrize(
    "answer", [AppendAccepted("s2", "s1", 1, 9, 1), AppendAccepted("s2", "s1", 1, 1, 99)]
)
def test_an_answer_to_a_message_never_sent_is_refused(answer: AppendAccepted) -> None:
    node = established("s1")
    progress = node.view.progress["s2"]
    before = (progress.match_index, progress.acked_round, progress.heard_at_ms)
    with pytest.raises(PeerError):
        node.step(Receive(answer), TIMEOUT_MS + 40)
    assert (progress.match_index, progress.acked_round, progress.heard_at_ms) == before


def test_a_request_goes_to_every_follower_at_once_and_many_share_one_message() -> None:
    node = established("s1", voters=("s1", "s2", "s3", "s4"))
    effects = node.step(Propose(["set a 1", "set b 2", "delete a"]), TIMEOUT_MS)
    assert [message.to for message in effects.send] == ["s2", "s3", "s4"]
    sent = [message.entries for message in effects.send if isinstance(message, AppendEntries)]
    assert [entry.command for entry in sent[0]] == ["set a 1", "set b 2", "delete a"]
    assert effects.append == [*sent[0]]
    assert [entry.index for entry in effects.append] == [2, 3, 4]
    # The next index follows the log's end, not what is committed
    assert [entry.index for entry in node.step(Propose(["set c 3"]), TIMEOUT_MS).append] == [5]
    assert all(batch is sent[0] for batch in sent)  # so that the rim spells it once


def test_only_a_leader_appends_proposals() -> None:
    node = node_of("s2")
    with pytest.raises(SafetyError):
        node.step(Propose(["set a 4"]), 10)
    assert terms_of(node) == []


def test_a_follower_of_unknown_state_is_probed_with_one_message_at_a_time() -> None:
    node = leader_of("s1", 1, 1)
    assert node.view.progress["s2"].mode is Mode.PROBE
    assert node.step(Propose(["set a 4"]), TIMEOUT_MS).send == []
    effects = acknowledge(node, "s2", 3)
    assert entries(effects.send, "s2") == [[(4, 2)]]


def test_a_leader_sends_ahead_up_to_its_window_then_waits() -> None:
    node = established("s1")
    window = node.view.options.window
    sent = [
        node.step(Propose([f"set a {number}"]), TIMEOUT_MS).send for number in range(window + 5)
    ]
    assert [len(appends(messages, "s2")) for messages in sent] == [1] * window + [0] * 5
    effects = acknowledge(node, "s2", 2)
    assert entries(effects.send, "s2") == [[(index, 1) for index in range(window + 2, window + 7)]]


def test_messages_hold_a_bounded_number_of_entries_and_bytes_but_always_one() -> None:
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


# §5.3, end
def test_a_rejection_sets_the_next_index_back_once_per_window() -> None:
    node = established("s1")
    for number in range(4):
        node.step(Propose([f"set a {number}"]), TIMEOUT_MS)
    complaint = AppendRejected("s2", "s1", 1, 1, node.view.round)
    effects = node.step(Receive(complaint), TIMEOUT_MS)
    assert entries(effects.send, "s2") == [[(2, 1), (3, 1), (4, 1), (5, 1)]]
    for _ in range(3):
        assert node.step(Receive(complaint), TIMEOUT_MS).send == []


# §5.3, end
def test_a_leader_steps_back_over_a_whole_term_at_a_time() -> None:
    leader = leader_of("s1", *[1] * 3, *[6] * 40)
    follower = node_of("s2", *[1] * 3, *[2] * 20, *[3] * 20)
    answers = 0
    message: Message = AppendEntries("s1", "s2", leader.view.term, 43, 6, [], 0, 1)
    while not isinstance(
        answer := follower.step(Receive(message), 10).send_after_save[0], AppendAccepted
    ):
        (message,) = appends(leader.step(Receive(answer), TIMEOUT_MS).send, "s2")
        answers += 1
    assert terms_of(follower) == terms_of(leader)
    assert answers <= 3


def test_heartbeats_repeat_a_lost_probe() -> None:
    node = leader_of("s1", 1, 1)
    effects = node.step(Tick(), node.wake_at_ms)
    assert [(m.prev_index, m.round) for m in appends(effects.send, "s2")] == [(2, 2)]


def test_a_leader_never_cuts_its_own_log() -> None:
    node = established("s1", 1, 1)
    with pytest.raises(SafetyError):
        node._state.cut_after(2)
    assert terms_of(node) == [1, 1, 2]


def test_a_committed_entry_is_never_cut() -> None:
    node = node_of("s2", 1, 1, 1)
    node.step(Receive(append(1, (3, 1), commit=3)), 10)
    with pytest.raises(SafetyError):
        node._state.cut_after(2)


def test_a_late_report_of_an_entry_that_was_cut_counts_for_nothing() -> None:
    node = node_of("s2", 1)
    node.step(Receive(append(2, (1, 1), 2, 2)), 10)
    node.step(Receive(append(3, (1, 1), 3, number=1)), 20)
    node.step(Synced(3, 2), 30)
    node.step(Synced(2, 2), 30)
    assert node.view.durable_index == 1
    node.step(Synced(2, 3), 30)
    assert node.view.durable_index == 2


def test_no_message_leaves_before_its_term_is_on_the_disk() -> None:
    node = established("s1")
    state = node._state
    state.out.send.append(AppendRejected("s1", "s2", 1, 0, 0))
    with pytest.raises(SafetyError):
        state.save(2, None)


def test_a_message_that_may_leave_early_waits_for_an_unsaved_term() -> None:
    state = established("s1")._state
    state.out = Effects()
    message = AppendRejected("s1", "s2", 2, 0, 0)
    state.send_early(message)
    assert state.out.send == [message]
    state.out = Effects()
    state.save(2, None)
    state.send_early(message)
    assert (state.out.send, state.out.send_after_save) == ([], [message])


def test_a_saved_term_or_vote_never_goes_back() -> None:
    state = node_of("s1", term=5, vote="s2")._state
    for term, vote in ((4, None), (5, "s3"), (5, None)):
        with pytest.raises(SafetyError):
            state.save(term, vote)


def test_the_same_inputs_make_the_same_effects() -> None:
    def run() -> list[str]:
        node = node_of("s2", 1, 1)
        inputs = [append(2, (2, 1), 2, commit=2), append(3, (2, 1), 3), append(3, (9, 3))]
        return [repr(node.step(Receive(message), 10)) for message in inputs]

    assert run() == run()
