"""AppendEntries on both sides, and when an entry is committed: §5.3, §5.4.2, thesis §10.2.1."""

from __future__ import annotations

import pytest

from raftline.raft.effects import Entry, SafetyError
from raftline.raft.messages import Appended, AppendEntries, Message, Missing, PeerError
from raftline.raft.progress import Mode
from raftline.raft.state import APPLY_MAX, Options
from tests.unit.cores import (
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


# --- the follower's side -------------------------------------------------------------------


# mistake 5
def test_a_follower_acknowledges_behind_its_own_disk_write() -> None:
    node = node_of("s2")
    effects = node.receive(append(1, (0, 0), 1, 1), 10)
    assert [entry.index for entry in effects.append] == [1, 2]
    assert effects.send == []
    assert effects.send_after_save == [Appended("s2", "s1", 1, 2, 1)]


# seed 004-20
# seed 004-21
# mistake 14
def test_a_follower_says_where_its_log_ends_and_numbers_are_compared_as_numbers() -> None:
    node = node_of("s2", 2, 3, 3, 3, 4, 5, 5, 5, 5, term=6)
    effects = node.receive(append(7, (11, 6)), 10)
    assert effects.send_after_save == [Missing("s2", "s1", 7, 9, 1)]
    effects = node.receive(append(7, (9, 5), 6, 6, number=2), 10)
    assert effects.send_after_save == [Appended("s2", "s1", 7, 11, 2)]


# mistake 12
# fault F56
def test_a_late_shorter_append_erases_nothing() -> None:
    node = node_of("s2", 1, 1, 1, 1)
    for message in (append(1, (0, 0)), append(1, (0, 0), 1), append(1, (1, 1), 1, 1)):
        effects = node.receive(message, 10)
        assert (effects.cut_after, effects.append) == (None, [])
    assert terms_of(node) == [1, 1, 1, 1]


# mistake 13
# seed 003-12
def test_only_what_conflicts_is_cut() -> None:
    node = node_of("s2", 1, 1, 2, 2, 2)
    effects = node.receive(append(3, (1, 1), 1, 2, 3), 10)
    assert effects.cut_after == 3
    assert [(entry.index, entry.term) for entry in effects.append] == [(4, 3)]
    assert terms_of(node) == [1, 1, 2, 3]


# mistake 13
# seed 003-12
def test_equal_length_is_not_agreement() -> None:
    node = node_of("s2", 1, 2, 2)
    effects = node.receive(append(3, (3, 1)), 10)
    assert effects.send_after_save == [Missing("s2", "s1", 3, 1, 1)]
    assert "[*] s2 differs from s1 at entry 3" in effects.notes


# mistake 15
@pytest.mark.parametrize(
    ("message", "index"),
    [
        (append(2, (2, 1)), 2),  # a heartbeat speaks for what is before it
        (append(2, (1, 1), 1), 2),
        (append(2, (0, 0)), 0),
        (append(2, (4, 1), 2), 5),
    ],
)
def test_an_acknowledgement_names_what_matched_not_what_lies_in_the_log(
    message: AppendEntries, index: int
) -> None:
    node = node_of("s2", 1, 1, 1, 1)
    assert node.receive(message, 10).send_after_save == [Appended("s2", "s1", 2, index, 1)]


# mistake 11
def test_a_heartbeat_tells_the_commit_index() -> None:
    node = node_of("s2", 1, 1)
    effects = node.receive(append(1, (2, 1), commit=2), 10)
    assert [entry.index for entry in effects.apply] == [1, 2]


# mistake 11
def test_a_heartbeat_that_does_not_match_commits_nothing() -> None:
    node = node_of("s2", 1, 1)
    effects = node.receive(append(3, (2, 2), commit=2), 10)
    assert (effects.apply, node.state.commit_index) == ([], 0)


# mistake 11
def test_a_follower_commits_no_further_than_the_message_matched() -> None:
    node = node_of("s2", 1, 1, 1, 1)
    node.receive(append(2, (2, 1), commit=4), 10)
    assert node.state.commit_index == 2


# mistake 19
def test_each_entry_is_applied_once_and_in_order_whatever_is_said_twice() -> None:
    node = node_of("s2")
    applied = []
    for message in [
        append(1, (0, 0), 1, 1, commit=1),
        append(1, (0, 0), 1, 1, commit=1),
        append(1, (0, 0), commit=2),
        append(1, (0, 0), 1, 1, commit=2),
        append(1, (2, 1), 1, commit=3),
        append(1, (1, 1), 1, commit=1),
    ]:
        applied += node.receive(message, 10).apply
    assert applied == [Entry(index, 1, f"set x {index}.1") for index in (1, 2, 3)]


def test_commit_and_applied_indexes_never_fall() -> None:
    node = node_of("s2", 1, 1, 1)
    node.receive(append(1, (3, 1), commit=3), 10)
    node.receive(append(1, (3, 1), commit=0), 10)
    assert (node.state.commit_index, node.state.last_applied) == (3, 3)


# mistake 28
def test_entries_keep_the_index_and_term_they_came_with() -> None:
    node = node_of("s2", 1)
    effects = node.receive(append(4, (1, 1), 2, 4), 10)
    assert effects.append == [Entry(2, 2, "set x 2.2"), Entry(3, 4, "set x 3.4")]
    assert node.state.term == 4


# fault F95
@pytest.mark.parametrize(
    "message",
    [
        append(9, (2, 5), 9),  # other entries where some are committed
        append(9, (1, 1), 5),
        append(9, (0, 0), 1, 5),
        append(1, (3, 1), sender="s3"),  # a second leader in one term
    ],
)
def test_what_no_sound_cluster_sends_is_refused_and_changes_nothing(
    message: AppendEntries,
) -> None:
    node = node_of("s2", 1, 1, 1)
    node.receive(append(1, (3, 1), commit=2), 10)
    before = (node.state.term, node.state.leader, terms_of(node), node.wake_at_ms)
    with pytest.raises(PeerError):
        node.receive(message, 50)
    assert (node.state.term, node.state.leader, terms_of(node), node.wake_at_ms) == before
    assert not node.state.out.wants_disk


def test_committed_entries_are_handed_out_in_portions() -> None:
    node = node_of("s2", *[1] * (APPLY_MAX + 10))
    effects = node.receive(append(1, (APPLY_MAX + 10, 1), commit=APPLY_MAX + 10), 10)
    assert len(effects.apply) == APPLY_MAX
    assert node.wake_at_ms <= 10
    assert [entry.index for entry in node.pass_time(10).apply] == [
        *range(APPLY_MAX + 1, APPLY_MAX + 11)
    ]
    assert node.wake_at_ms > 10


# --- the leader's side ---------------------------------------------------------------------


# mistake 17
def test_a_new_leader_appends_a_no_op_of_its_term() -> None:
    node = leader_of("s1", 1, 1)
    assert terms_of(node) == [1, 1, 2]
    assert node.state.log.entries(3, 3) == [Entry(3, 2, "noop")]


# thesis §10.2.1
# mistake 5
# mistake 18
def test_a_leader_sends_before_it_syncs_and_counts_itself_only_afterwards() -> None:
    node = established("s1")
    effects = node.propose(["set a 4"], TIMEOUT_MS)
    assert [message.to for message in effects.send] == ["s2", "s3"]
    assert [entry.index for entry in effects.append] == [2]
    assert acknowledge(node, "s2").apply == []
    assert [entry.index for entry in sync(node).apply] == [2]


# thesis §10.2.1
def test_two_followers_of_three_commit_while_the_leaders_disk_is_busy() -> None:
    node = established("s1")
    node.propose(["set a 4"], TIMEOUT_MS)
    acknowledge(node, "s2")
    assert [entry.index for entry in acknowledge(node, "s3").apply] == [2]


# mistake 18
# seed 000-14
def test_nothing_is_committed_before_a_majority_has_it_and_nobody_waits_for_all() -> None:
    node = established("s1", voters=("s1", "s2", "s3", "s4", "s5"))
    node.propose(["set a 4"], TIMEOUT_MS)
    assert sync(node).apply == []
    assert acknowledge(node, "s2").apply == []
    assert [entry.command for entry in acknowledge(node, "s5").apply] == ["set a 4"]


# mistake 16
def test_old_leader_cannot_commit_by_counting() -> None:
    node = leader_of("s1", 1, 2, term=3)
    for peer in ("s2", "s3"):
        assert acknowledge(node, peer, 2).apply == []
    assert node.state.commit_index == 0
    assert [entry.index for entry in acknowledge(node, "s2").apply] == [1, 2, 3]


# mistake 15
def test_an_acknowledged_heartbeat_does_not_commit_what_was_sent_after_it() -> None:
    node = established("s1")
    node.propose(["set a 4"], TIMEOUT_MS)
    sync(node)
    assert acknowledge(node, "s2", 1).apply == []
    assert acknowledge(node, "s3", 1).apply == []
    assert node.state.commit_index == 1


# mistake 7
# mistake 33
# fault F55
@pytest.mark.parametrize("answer", [Appended("s2", "s1", 1, 3, 1), Missing("s2", "s1", 1, 0, 1)])
def test_an_answer_to_an_earlier_term_counts_for_nothing(answer: Appended) -> None:
    node = leader_of("s1", 1, term=1)
    node.propose(["set a 4"], TIMEOUT_MS)
    sync(node)
    progress = node.state.progress["s2"]
    before = (progress.match_index, progress.next_index, progress.acked_round)
    heard_at_ms = progress.heard_at_ms
    effects = node.receive(answer, TIMEOUT_MS + 40)
    assert (progress.match_index, progress.next_index, progress.acked_round) == before
    assert progress.heard_at_ms == heard_at_ms
    assert (effects.send, effects.apply) == ([], [])


# mistake 33
def test_a_late_answer_never_lowers_what_has_matched() -> None:
    node = established("s1")
    node.propose(["set a 4", "set b 5"], TIMEOUT_MS)
    acknowledge(node, "s2", 3)
    progress = node.state.progress["s2"]
    acknowledge(node, "s2", 1)
    assert (progress.match_index, progress.next_index) == (3, 4)
    node.receive(Missing("s2", "s1", 1, 0, node.state.round), TIMEOUT_MS)
    assert progress.match_index == 3
    assert progress.next_index == 4


# fault F95
@pytest.mark.parametrize("answer", [Appended("s2", "s1", 1, 9, 1), Appended("s2", "s1", 1, 1, 99)])
def test_an_answer_to_what_was_never_sent_is_refused_and_changes_nothing(answer: Appended) -> None:
    node = established("s1")
    progress = node.state.progress["s2"]
    before = (progress.match_index, progress.acked_round, progress.heard_at_ms)
    with pytest.raises(PeerError):
        node.receive(answer, TIMEOUT_MS + 40)
    assert (progress.match_index, progress.acked_round, progress.heard_at_ms) == before


# seed 004-27
def test_a_request_goes_to_every_follower_at_once_and_many_share_one_message() -> None:
    node = established("s1", voters=("s1", "s2", "s3", "s4"))
    effects = node.propose(["set a 1", "set b 2", "delete a"], TIMEOUT_MS)
    assert [message.to for message in effects.send] == ["s2", "s3", "s4"]
    sent = [message.entries for message in effects.send if isinstance(message, AppendEntries)]
    assert [entry.command for entry in sent[0]] == ["set a 1", "set b 2", "delete a"]
    assert all(batch is sent[0] for batch in sent)  # so that the rim spells it once


def test_who_does_not_lead_appends_nothing() -> None:
    node = node_of("s2")
    with pytest.raises(SafetyError):
        node.propose(["set a 4"], 10)
    assert terms_of(node) == []


def test_a_follower_of_unknown_state_is_probed_with_one_message_at_a_time() -> None:
    node = leader_of("s1", 1, 1)
    assert node.state.progress["s2"].mode is Mode.PROBE
    assert node.propose(["set a 4"], TIMEOUT_MS).send == []
    effects = acknowledge(node, "s2", 3)
    assert entries(effects.send, "s2") == [[(4, 2)]]


def test_a_leader_sends_ahead_up_to_its_window_then_waits() -> None:
    node = established("s1")
    window = node.state.options.window
    sent = [node.propose([f"set a {number}"], TIMEOUT_MS).send for number in range(window + 5)]
    assert [len(appends(messages, "s2")) for messages in sent] == [1] * window + [0] * 5
    effects = acknowledge(node, "s2", 2)
    assert entries(effects.send, "s2") == [[(index, 1) for index in range(window + 2, window + 7)]]


def test_messages_hold_a_bounded_number_of_entries_and_bytes_but_always_one() -> None:
    options = Options(election_timeout_ms=150, heartbeat_ms=50, batch_entries=3, batch_bytes=20)
    node = established("s1", options=options)
    effects = node.propose(["x" * 8, "x" * 8, "x" * 8, "x" * 99, "a", "b", "c", "d"], TIMEOUT_MS)
    assert entries(effects.send, "s2") == [
        [(2, 1), (3, 1)],
        [(4, 1)],
        [(5, 1)],
        [(6, 1), (7, 1), (8, 1)],
        [(9, 1)],
    ]


# §5.3, end
# seed 004-31
def test_a_complaint_sets_the_leader_back_once_however_many_sends_failed() -> None:
    node = established("s1")
    for number in range(4):
        node.propose([f"set a {number}"], TIMEOUT_MS)
    complaint = Missing("s2", "s1", 1, 1, node.state.round)
    effects = node.receive(complaint, TIMEOUT_MS)
    assert entries(effects.send, "s2") == [[(2, 1), (3, 1), (4, 1), (5, 1)]]
    for _ in range(3):
        assert node.receive(complaint, TIMEOUT_MS).send == []


# §5.3, end
# mistake 13
def test_a_leader_steps_back_over_a_whole_term_at_a_time() -> None:
    leader = leader_of("s1", *[1] * 3, *[6] * 40)
    follower = node_of("s2", *[1] * 3, *[2] * 20, *[3] * 20)
    answers = 0
    message: Message = AppendEntries("s1", "s2", leader.state.term, 43, 6, [], 0, 1)
    while not isinstance(answer := follower.receive(message, 10).send_after_save[0], Appended):
        (message,) = appends(leader.receive(answer, TIMEOUT_MS).send, "s2")
        answers += 1
    assert terms_of(follower) == terms_of(leader)
    assert answers <= 3


def test_heartbeats_repeat_a_lost_probe() -> None:
    node = leader_of("s1", 1, 1)
    effects = node.pass_time(node.wake_at_ms)
    assert [(m.prev_index, m.round) for m in appends(effects.send, "s2")] == [(2, 2)]


def test_a_leader_never_cuts_its_own_log() -> None:
    node = established("s1", 1, 1)
    with pytest.raises(SafetyError):
        node.state.cut_after(2)
    assert terms_of(node) == [1, 1, 2]


def test_nothing_committed_is_ever_cut() -> None:
    node = node_of("s2", 1, 1, 1)
    node.receive(append(1, (3, 1), commit=3), 10)
    with pytest.raises(SafetyError):
        node.state.cut_after(2)


# fault F18
def test_a_late_report_of_an_entry_that_was_cut_counts_for_nothing() -> None:
    node = node_of("s2", 1)
    node.receive(append(2, (1, 1), 2, 2), 10)
    node.receive(append(3, (1, 1), 3, number=1), 20)
    node.synced(3, 2, 30)
    node.synced(2, 2, 30)
    assert node.state.durable_index == 1
    node.synced(2, 3, 30)
    assert node.state.durable_index == 2


# mistake 5
def test_a_message_may_not_leave_ahead_of_a_term_on_its_way_to_the_disk() -> None:
    node = established("s1")
    state = node.state
    state.out.send.append(Missing("s1", "s2", 1, 0, 0))
    with pytest.raises(SafetyError):
        state.save(2, None)


def test_a_saved_term_or_vote_never_goes_back() -> None:
    state = node_of("s1", term=5, vote="s2").state
    for term, vote in ((4, None), (5, "s3"), (5, None)):
        with pytest.raises(SafetyError):
            state.save(term, vote)


def test_the_same_inputs_make_the_same_effects() -> None:
    def run() -> list[str]:
        node = node_of("s2", 1, 1)
        inputs = [append(2, (2, 1), 2, commit=2), append(3, (2, 1), 3), append(3, (9, 3))]
        return [repr(node.receive(message, 10)) for message in inputs]

    assert run() == run()
