"""Two or three of a kind at once: rounds, windows, complaints, reads, snapshots, removals.

A rule that holds for one alone may fail if the next begins before the first has ended.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.node.loop.measures import node_facts
from raftline.raft.change import Change
from raftline.raft.effects import Effects, ReadReady
from raftline.raft.inputs import (
    AskLeader,
    ChangeMembers,
    Propose,
    Read,
    Receive,
    SnapshotChecked,
    SnapshotGone,
    SnapshotRejected,
    SnapshotTaken,
    Synced,
    Tick,
    Transfer,
)
from raftline.raft.log import Snapshot
from raftline.raft.membership import Configurations, Membership
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
    ReadIndex,
    ReadIndexReply,
    RequestVoteReply,
)
from raftline.raft.node import RawNode
from raftline.raft.roles import STARTS_MAX, Role
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    beat,
    compact,
    established,
    log_of,
    node_of,
    request,
    sync,
)
from tests.core.test_snapshot import MEMBERS, SMALL, fall_behind, leader_with_snapshot

FIVE = ("s1", "s2", "s3", "s4", "s5")
LEASES = replace(OPTIONS, lease=True)
LEASE_MS = OPTIONS.election_timeout_ms * 9 // 10


def entries_to(effects: Effects, peer: str) -> list[list[int]]:
    return [
        [entry.index for entry in message.entries]
        for message in effects.send
        if isinstance(message, AppendEntries) and message.to == peer
    ]


# --- rounds and reads ----------------------------------------------------------------------


@pytest.mark.parametrize("late_round", [1, 2])
def test_a_late_answer_cancels_no_confirmation(late_round: int) -> None:
    node = established("s1", voters=FIVE)
    before = node.view.round
    for number in (1, 2, 3):
        node.step(Read([number]), TIMEOUT_MS)
    served: list[ReadReady] = []
    for peer, rounds in (("s2", (2, late_round)), ("s3", (1, 2))):
        for number in rounds:
            served += acknowledge(node, peer, number=before + number).reads
    assert [ready.token for ready in served] == [1, 2]


def test_an_answer_confirms_the_rounds_up_to_its_own() -> None:
    node = established("s1")
    before = node.view.round
    for number in (1, 2):
        node.step(Read([number]), TIMEOUT_MS)
    assert [one.token for one in acknowledge(node, "s2", number=before + 1).reads] == [1]
    assert [one.token for one in acknowledge(node, "s3", number=before + 1).reads] == []
    assert [one.token for one in acknowledge(node, "s3", number=before + 2).reads] == [2]


def follower() -> RawNode:
    """Return a follower of s1 with three entries, of which one is committed."""
    node = node_of("s2")
    node.step(Receive(append(1, (0, 0), 1, 1, 1, commit=1)), 100)
    sync(node)
    applied(node)
    return node


def test_reads_of_two_read_index_requests_may_wait_to_be_applied_together() -> None:
    node = follower()
    effects = node.step(AskLeader(["get a"]), 100)
    for index, further in ((2, "get b"), (3, "get c"), (3, "")):
        (question,) = effects.send_after_save
        assert isinstance(question, ReadIndex)
        if further:
            assert node.step(AskLeader([further]), 100).send_after_save == []
        effects = node.step(Receive(ReadIndexReply("s1", "s2", 1, index, question.round)), 110)
        assert effects.reads == []
    node.step(Receive(append(1, (3, 1), commit=3, number=2)), 120)
    assert applied(node, 2).reads == [ReadReady("get a", 2)]
    assert applied(node, 3).reads == [ReadReady("get b", 3), ReadReady("get c", 3)]


def test_an_answer_to_an_earlier_read_index_request_serves_no_read() -> None:
    node = follower()
    rounds = []
    for name in "abc":
        node.step(AskLeader([name]), 100)
        rounds.append(node._state.forwarded_reads.round)
        effects = node.step(Receive(ReadIndexReply("s1", "s2", 1, 1, rounds[-1])), 110)
        assert effects.reads == [ReadReady(name, 1)]
    node.step(AskLeader(["d"]), 120)
    for late in rounds:
        assert node.step(Receive(ReadIndexReply("s1", "s2", 1, 1, late)), 130).reads == []
    last = ReadIndexReply("s1", "s2", 1, 1, node._state.forwarded_reads.round)
    assert node.step(Receive(last), 130).reads == [ReadReady("d", 1)]


def test_a_leader_sends_no_read_index_request() -> None:
    assert established("s1").step(AskLeader(["get a"]), TIMEOUT_MS).refused == ["get a"]


# --- leases --------------------------------------------------------------------------------


def beats(node: RawNode, count: int) -> list[tuple[int, int]]:
    """Let a leader open that number of rounds 10 ms apart; return number and beginning of each."""
    begun = []
    for _ in range(count):
        now_ms = node.view.now_ms + 10
        node._state.as_leader.heartbeat_at_ms = now_ms
        node._state.as_leader.quorum_check_at_ms = now_ms + 100
        node.step(Tick(), now_ms)
        begun.append((node.view.round, now_ms))
    return begun


def promise(node: RawNode, number: int, *, missing: bool = False) -> None:
    """Let s2 answer a round with a promise, at the time that it is."""
    kind = AppendRejected if missing else AppendAccepted
    node.step(Receive(kind("s2", "s1", 1, 1, number, 0, 150)), node.view.now_ms)


@pytest.mark.parametrize("back", [1, 2, 3])
@pytest.mark.parametrize("missing", [False, True])
def test_a_promise_counts_from_the_round_that_it_answers(back: int, *, missing: bool) -> None:
    node = established("s1", options=LEASES)
    number, began_ms = beats(node, 3)[-back]
    promise(node, number, missing=missing)
    assert node.view.lease_until_ms == began_ms + LEASE_MS


def test_a_late_promise_shortens_no_lease() -> None:
    node = established("s1", options=LEASES)
    begun = beats(node, 3)
    for number, _ in reversed(begun):
        promise(node, number)
    assert node.view.lease_until_ms == begun[-1][1] + LEASE_MS


def test_when_old_rounds_are_forgotten_the_last_ones_are_not() -> None:
    node = established("s1", options=LEASES)
    beats(node, STARTS_MAX - 2)
    for _ in range(4):
        begun = beats(node, 1)
        number, began_ms = begun[0]
        promise(node, number)
        assert node.view.lease_until_ms == began_ms + LEASE_MS


def test_a_longer_promise_than_the_disk_knows_of_is_written_down_first() -> None:
    node = node_of("s2", lease_ms=100, options=LEASES)
    effects = node.step(Receive(append(1, (0, 0), 1)), 100)
    assert effects.save is not None
    assert effects.save.lease_ms == 150
    assert node.step(Receive(append(1, (1, 1), number=2)), 110).save is None


# --- windows and complaints ----------------------------------------------------------------


def test_an_answer_to_the_last_message_of_a_window_frees_all_of_it() -> None:
    node = established("s1")
    window = node.view.options.window
    for number in range(2 * window):
        node.step(Propose([f"set a {number}"]), TIMEOUT_MS)
    acknowledge(node, "s2", 1 + window)  # the answers to the others are lost
    assert len(node.view.progress["s2"].in_flight) == 1  # all that waited, in one
    sent = [node.step(Propose(["set b"]), TIMEOUT_MS) for _ in range(window)]
    assert [len(entries_to(effects, "s2")) for effects in sent] == [1] * (window - 1) + [0]


# §5.3, end
def test_a_lost_window_does_not_block_the_next_messages() -> None:
    node = established("s1")
    window = node.view.options.window
    for number in range(window):
        node.step(Propose([f"set a {number}"]), TIMEOUT_MS)
    effects = node.step(Receive(AppendRejected("s2", "s1", 1, 1, node.view.round)), TIMEOUT_MS)
    assert entries_to(effects, "s2") == [[*range(2, window + 2)]]
    acknowledge(node, "s2", window + 1)
    sent = [node.step(Propose(["set b"]), TIMEOUT_MS) for _ in range(window)]
    assert [len(entries_to(effects, "s2")) for effects in sent] == [1] * window


# §5.3, end
def test_a_rejection_of_an_earlier_window_sets_no_progress_back() -> None:
    node = established("s1")
    for number in range(3):
        node.step(Propose([f"set a {number}"]), TIMEOUT_MS)
    first = node.view.round
    node.step(Receive(AppendRejected("s2", "s1", 1, 1, first)), TIMEOUT_MS)
    acknowledge(node, "s2", 4)
    for number in range(3):
        node.step(Propose([f"set b {number}"]), TIMEOUT_MS)
    second = node.view.round
    effects = node.step(Receive(AppendRejected("s2", "s1", 1, 4, second)), TIMEOUT_MS)
    assert entries_to(effects, "s2") == [[5, 6, 7]]
    for late in (first, second):
        assert node.step(Receive(AppendRejected("s2", "s1", 1, 4, late)), TIMEOUT_MS).send == []


def test_at_most_one_probe_is_in_flight() -> None:
    node = established("s1")
    effects = node.step(Receive(AppendRejected("s2", "s1", 1, 1, node.view.round)), TIMEOUT_MS)
    assert entries_to(effects, "s2") == [[]]  # there is nothing after entry 1
    assert entries_to(node.step(Propose(["set a 1"]), TIMEOUT_MS), "s2") == []
    assert entries_to(acknowledge(node, "s2", 1), "s2") == [[2]]


def test_a_late_report_of_an_earlier_write_lowers_no_index() -> None:
    node = established("s1")
    for number in range(3):
        node.step(Propose([f"set a {number}"]), TIMEOUT_MS)
    for index in (2, 4, 3):
        node.step(Synced(index, 1), TIMEOUT_MS)
    assert acknowledge(node, "s2").apply[-1].index == 4


# --- snapshots -----------------------------------------------------------------------------

EARLIER, LATER = Snapshot(5, 1, 8, 4), Snapshot(7, 2, 8, 5)


def taking(*pieces: InstallSnapshot, now_ms: int = 0) -> RawNode:
    node = node_of("s2", options=SMALL)
    for piece in pieces:
        node.step(Receive(piece), now_ms)
    return node


def piece(offset: int, of: Snapshot = LATER, term: int = 2, sender: str = "s1") -> InstallSnapshot:
    """Return four bytes of a snapshot."""
    return InstallSnapshot(sender, "s2", term, of, offset, 4, 3, "a 4\n")


def test_a_snapshot_that_was_checked_is_not_installed_once_another_has_arrived() -> None:
    node = taking(piece(0, EARLIER), piece(4, EARLIER), piece(0), piece(4))
    assert node.step(SnapshotChecked(EARLIER, MEMBERS), 10).install is None
    assert node.step(SnapshotChecked(LATER, MEMBERS), 10).install == LATER
    assert node.step(SnapshotChecked(LATER, MEMBERS), 20).install is None  # once
    assert node_facts(node.view, 20)["arriving_bytes"] == 0


def test_a_failed_snapshot_check_drops_no_snapshot_that_arrives_since() -> None:
    node = taking(piece(0, EARLIER), piece(4, EARLIER), piece(0))
    assert node.step(SnapshotRejected(EARLIER, "it is damaged"), 10).notes == []
    (answer,) = node.step(Receive(piece(4)), 10).send_after_save
    assert isinstance(answer, InstallSnapshotReply)
    assert answer.offset == 8


def test_late_pieces_do_not_displace_a_second_leader_s_snapshot() -> None:
    node = taking(piece(0))
    node.step(Receive(piece(4, term=3, sender="s3")), 10)
    assert node.step(Receive(piece(0, EARLIER, 3, "s3")), 20).chunks == []
    assert node.step(SnapshotChecked(LATER, MEMBERS), 30).install == LATER


def test_a_node_that_became_leader_installs_no_snapshot() -> None:
    node = taking(piece(0), piece(4))
    node.step(Tick(), node.view.election_at_ms)
    for pre_vote in (True, False):
        node.step(Receive(RequestVoteReply("s3", "s2", 3, True, pre_vote)), node.view.now_ms)
    assert node.view.is_leader
    assert node.step(SnapshotChecked(LATER, MEMBERS), node.view.now_ms).install is None


def test_a_snapshot_that_the_log_has_overtaken_no_longer_arrives() -> None:
    node = taking(piece(0))
    node.step(Receive(append(2, (0, 0), 1, 1, 1, 1, 1, 2, 2, commit=7)), 10)
    node.step(Receive(piece(4)), 20)
    assert node_facts(node.view, 20)["arriving_bytes"] == 0


def test_a_piece_of_a_snapshot_counts_as_a_message_of_the_leader() -> None:
    node = taking(piece(0), now_ms=100)
    assert node.wake_at_ms == 100 + TIMEOUT_MS
    question = request(9, (99, 8), sender="s3", pre_vote=True)
    (answer,) = node.step(Receive(question), 110).send_after_save
    assert isinstance(answer, RequestVoteReply)
    assert answer.reason == "I hear from leader s1 of term 2"


def sending() -> RawNode:
    """Return a leader whose follower s2 holds 10 of the 25 bytes of its snapshot."""
    node = leader_with_snapshot()
    fall_behind(node)
    held(node, 10)
    return node


def held(node: RawNode, offset: int, number: int | None = None, of: int = 3) -> list[int]:
    """Let s2 say how far it is with a snapshot; return the places of the pieces it is sent."""
    state = node.view
    number = state.round if number is None else number
    term = state.log.term_at(of) or 1
    answer = InstallSnapshotReply("s2", "s1", state.term, of, term, offset, number)
    return places(node.step(Receive(answer), state.now_ms))


def places(effects: Effects) -> list[int]:
    return [m.offset for m in effects.send_after_save if isinstance(m, InstallSnapshot)]


def test_a_loss_reported_by_several_answers_counts_once() -> None:
    node = sending()
    before = node.view.round
    beat_at_ms = node._state.as_leader.heartbeat_at_ms
    node.step(Tick(), beat_at_ms)
    assert node.view.round == before + 1
    assert held(node, 0, before) == [0, 10]
    assert held(node, 0, before + 1) == []  # sent before the first word of the loss had come
    assert held(node, 20) == [20]


def test_a_snapshot_transfer_continues_at_the_byte_that_the_follower_names() -> None:
    node = leader_with_snapshot(size=95)
    fall_behind(node)
    places_sent = []
    for offset in (40, 50, 20, 70):  # an earlier leader sent it some; it began anew; it heard so
        node._state.as_leader.round += 1
        places_sent.append(held(node, offset))
    assert places_sent == [[40, 50], [60], [20, 30], [70, 80]]


def test_a_late_answer_about_an_earlier_snapshot_is_ignored() -> None:
    node = sending()
    later = Snapshot(5, 3, 50, 8)
    applied(node)
    node.step(SnapshotTaken(later), node.view.now_ms)
    earlier = Snapshot(3, 1, 25, 7)
    assert places(node.step(SnapshotGone("s2", earlier), node.view.now_ms)) == [0, 10]
    assert held(node, 20, of=3) == []
    assert places(node.step(SnapshotGone("s2", earlier), node.view.now_ms)) == []
    assert places(node.step(SnapshotGone("s2", later), node.view.now_ms)) == []  # it is in force
    assert held(node, 10, of=5) == [20]


def test_a_silent_follower_amid_a_snapshot_is_probed_once_an_election_timeout() -> None:
    node = sending()
    asked = []
    for _ in range(10):
        node._state.as_leader.quorum_check_at_ms = node._state.as_leader.heartbeat_at_ms + 1
        asked.append(places(beat(node)))
    assert asked == [[], [], [10], [], [], [10], [], [], [10], []]


def test_an_answering_follower_amid_a_snapshot_is_not_probed() -> None:
    node = sending()
    for offset in (20, 25, 25):
        node._state.as_leader.quorum_check_at_ms = node._state.as_leader.heartbeat_at_ms + 1
        assert places(beat(node)) == []
        held(node, offset)


def test_entries_kept_after_a_snapshot_are_bounded_by_their_length() -> None:
    options = replace(OPTIONS, trailing_bytes=2500)
    node = established("s1", options=options)
    node.step(Propose(["x" * 1000] * 5), TIMEOUT_MS)
    sync(node)
    acknowledge(node, "s2")
    acknowledge(node, "s3")
    applied(node)
    node.step(SnapshotTaken(Snapshot(6, 1, 10, 0)), TIMEOUT_MS)
    assert node.view.compaction_index == 3


# --- followers -----------------------------------------------------------------------------


def test_each_message_of_a_leader_renews_the_promise_in_full() -> None:
    node = node_of("s2")
    for number in range(5):
        now_ms = 100 * number
        node.step(Receive(append(1, (0, 0), number=number)), now_ms)
        question = request(2, (9, 1), sender="s3", pre_vote=True)
        (answer,) = node.step(Receive(question), now_ms + 99).send_after_save
        assert isinstance(answer, RequestVoteReply)
        assert not answer.granted, number


# §5.3, end
def test_a_rejection_names_the_commit_index_if_that_is_nearer() -> None:
    node = node_of("s2", *[1] * 6)
    node.step(Receive(append(1, (6, 1), commit=3)), 10)
    (answer,) = node.step(Receive(append(2, (5, 2), 2, sender="s3")), 20).send_after_save
    assert isinstance(answer, AppendRejected)
    assert answer.index == 3


def test_entries_across_a_snapshots_end_are_taken_from_the_first_new_one() -> None:
    node = node_of("s2", *[1] * 4)
    node.step(Receive(append(1, (4, 1), commit=4)), 10)
    applied(node)
    node.step(SnapshotTaken(Snapshot(3, 1, 8, 4)), 10)
    while compact(node, 3):
        pass
    effects = node.step(Receive(append(1, (1, 1), 1, 1, 1, 1, number=2)), 20)
    assert [entry.index for entry in effects.append] == [5]
    assert effects.cut_after is None
    (answer,) = effects.send_after_save
    assert isinstance(answer, AppendAccepted)
    assert answer.index == 5


# --- the log and its configurations --------------------------------------------------------


@pytest.mark.parametrize("base", range(10))
def test_a_log_compacted_over_several_terms_gives_the_same_terms(base: int) -> None:
    terms = (1, 2, 2, 4, 5, 5, 5, 6, 6)
    whole, compacted = log_of(*terms), log_of(*terms)
    compacted.compact(base)
    for index in range(base + 1, len(terms) + 1):
        first = max(whole.first_index_of_term_at(index), base + 1)
        assert compacted.first_index_of_term_at(index) == first
        assert compacted.entries(index, len(terms)) == whole.entries(index, len(terms))


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_cut_takes_all_configurations_after_it_and_no_other(cut: int) -> None:
    members = [Membership(FIVE[:count], addresses={}) for count in (1, 2, 3, 4)]
    commands = ["noop"] * 6
    for index, one in zip((2, 3, 5), members[1:], strict=True):
        where = {name: f"{name}:1" for name in one.voters}
        commands[index - 1] = Membership(one.voters, addresses=where).spell()
    known = Configurations(0, members[0], commands)
    known.cut_after(cut)
    expected = members[sum(index <= cut for index in (2, 3, 5))]
    assert known.latest.voters == expected.voters
    known.append(cut + 1, commands[4])
    assert known.at(cut).voters == expected.voters
    assert known.latest.voters == members[3].voters


# --- removals ------------------------------------------------------------------------------


def test_a_member_removed_a_second_time_reports_it_again() -> None:
    names = {name: f"{name}:1" for name in ("s1", "s2", "s3")}
    whole = Membership(tuple(names), addresses=names)
    others = Membership(("s1", "s3"), addresses={name: names[name] for name in ("s1", "s3")})
    node = node_of("s2", voters=whole)
    said: list[list[str]] = []
    for number, members in enumerate((others, whole, others)):
        message = append(1, (number, min(number, 1)), 1, commit=number + 1, number=number + 1)
        entry = message.entries[0]._replace(command=members.spell())
        effects = node.step(Receive(replace(message, entries=[entry])), 10)
        said.append([note for note in effects.notes if "was removed" in note])
    assert [len(notes) for notes in said] == [1, 0, 1]
    assert "by entry 3:" in said[2][0]


def test_a_removed_member_is_notified_again_once_its_removal_commits() -> None:
    where = {name: f"{name}:1" for name in FIVE}
    node = established("s1", voters=Membership(FIVE, addresses=where))
    node.step(ChangeMembers(Change("remove", "s5"), "t"), TIMEOUT_MS)
    sync(node)
    for peer in ("s2", "s3", "s4"):  # commits the joint configuration; C_new follows
        acknowledge(node, peer)
    sync(node)
    for _ in range(2):  # s5 answers first, and everything
        acknowledge(node, "s5")
        beat(node)
    assert "s5" in node.view.contacts
    for peer in ("s2", "s3"):
        acknowledge(node, peer)
    assert node.view.configurations.index <= node.view.commit_index
    acknowledge(node, "s5", number=node.view.round - 1)
    assert "s5" in node.view.contacts
    beat(node)
    acknowledge(node, "s5")
    assert "s5" not in node.view.contacts


def test_of_two_removed_members_each_is_notified_of_its_own_entry() -> None:
    where = {name: f"{name}:1" for name in FIVE}
    node = established("s1", voters=Membership(FIVE, addresses=where))
    for name in ("s4", "s5"):
        node.step(ChangeMembers(Change("remove", name), name), TIMEOUT_MS)
        for _ in range(2):
            sync(node)
            for peer in ("s2", "s3"):
                acknowledge(node, peer)
    assert {"s4", "s5"} <= set(node.view.contacts)
    beat(node)
    acknowledge(node, "s5")
    beat(node)
    acknowledge(node, "s5")
    assert set(node.view.contacts) == {"s2", "s3", "s4"}
    assert node.view.role is Role.LEADER


def led_with(*voters: str, learner: str = "") -> RawNode:
    names = (*voters, learner) if learner else voters
    where = {name: f"{name}:1" for name in names}
    members = Membership(voters, (learner,) if learner else (), (), where)
    return established("s1", voters=members)


def test_a_learner_is_not_removed_before_its_addition_is_committed() -> None:
    node = led_with("s1", "s2", "s3")
    node.step(ChangeMembers(Change("add", "s4", "s4:1"), "add"), TIMEOUT_MS)
    (refused,) = node.step(ChangeMembers(Change("remove", "s4"), "remove"), TIMEOUT_MS).settled
    assert (refused.token, refused.outcome) == ("remove", "refused")
    sync(node)
    acknowledge(node, "s2")
    settled = node.step(ChangeMembers(Change("remove", "s4"), "remove"), TIMEOUT_MS).settled
    assert [(one.token, one.outcome) for one in settled] == [("add", "refused")]
    assert node.view.membership.learners == ()


def test_a_lost_learner_that_a_quorum_needs_may_be_promoted() -> None:
    node = led_with("s1", learner="s2")
    lost = AppendRejected("s2", "s1", 1, 0, node.view.round, without_vote=1)
    node.step(Receive(lost), TIMEOUT_MS)
    assert node.step(ChangeMembers(Change("promote", "s2"), "t"), TIMEOUT_MS).settled == []
    assert node.view.membership.voters == ("s1",)
    held = AppendAccepted("s2", "s1", 1, 1, node.view.round, without_vote=1)
    node.step(Receive(held), TIMEOUT_MS)
    beat(node)
    acknowledge(node, "s2")
    assert node.view.membership.voters == ("s1", "s2")


# thesis §3.10
def test_a_transfer_prefers_the_longer_log_to_the_later_answer() -> None:
    node = established("s1")
    node.step(Propose(["set a 1"]), TIMEOUT_MS)
    sync(node)
    acknowledge(node, "s2", 2)
    beat(node)
    acknowledge(node, "s3", 1)
    node.step(Transfer(None), node.view.now_ms)
    assert node.view.transfer is not None
    assert node.view.transfer.to == "s2"
