"""A server that begins with nothing: which messages tell it that the cluster has a history."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.raft.effects import Effects, HardState
from raftline.raft.identity import identity_command
from raftline.raft.inputs import Begin, PeerBuild, Receive, Tick
from raftline.raft.log import Log, Snapshot
from raftline.raft.messages import (
    AppendAccepted,
    Denial,
    InstallSnapshot,
    Message,
    PeerError,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.newborn import PATIENCE, PROVES_HISTORY, BeginRefused
from raftline.raft.node import RawNode, node_from_disk
from raftline.raft.roles import Role
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    append,
    members_of,
    node_of,
    request,
    sync,
    terms_of,
)
from raftline_testing.orders import Campaign, OrderRefused, obey

SNAPSHOT = InstallSnapshot("s2", "s1", 1, Snapshot(5, 1, 10, 0), 0, 0, 1)


def denial_of(word: Denial, sender: str = "s2", term: int = 1) -> RequestVoteReply:
    """Return a denied PreVote; the leader of HEARS is s3."""
    leader = "s3" if word is Denial.HEARS else ""
    return RequestVoteReply(sender, "s1", term, False, True, word, leader=leader)


def words_that_prove(history: bool | None) -> list[Denial]:
    return [word for word, proves in PROVES_HISTORY.items() if proves is history]


HISTORY: dict[str, Message] = {
    "a leader's entries": append(1, (0, 0), 1, sender="s2", to="s1"),
    "a leader's heartbeat": append(1, (0, 0), sender="s2", to="s1"),
    "a leader's snapshot": SNAPSHOT,
    "a candidate with entries": request(2, (3, 1), sender="s2", to="s1"),
    "a pre-candidate with entries": request(2, (3, 1), sender="s2", to="s1", pre_vote=True),
    "a stranger that leads": append(1, (0, 0), 1, sender="s9", to="s1"),
    "a stranger's snapshot": replace(SNAPSHOT, sender="s9"),
    "a stranger with entries": request(2, (3, 1), sender="s9", to="s1", pre_vote=True),
    **{f"a denial: {word.value}": denial_of(word) for word in words_that_prove(True)},
}


ON_ONE_MACHINE = replace(OPTIONS, patience=PATIENCE)


def newborn(*terms: int) -> RawNode:
    """Return s1 at its first start; entries of these terms were written by hand."""
    return node_of("s1", *terms, newborn=True, options=ON_ONE_MACHINE)


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


def asked(node: RawNode, at_ms: int) -> list[RequestVote]:
    """Pass the node's time until then; return what it asks."""
    effects = node.step(Tick(), at_ms)
    return [one for one in effects.send_after_save if isinstance(one, RequestVote)]


def pre_voted(node: RawNode) -> Effects:
    """Make both others grant the PreVote that was just asked for."""
    term = node.view.term + 1
    node.step(Receive(RequestVoteReply("s2", "s1", term, True, True)), node.view.now_ms)
    return node.step(Receive(RequestVoteReply("s3", "s1", term, True, True)), node.view.now_ms)


def test_first_leader_saves_it_is_not_newborn_before_sending() -> None:
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


def vote_by_hand(node: RawNode) -> None:
    """Make it vote for s2, which has a longer hand-written log; s3 has no history either."""
    node.step(Receive(RequestVote("s3", "s1", 3, 0, 0, pre_vote=True)), 9)
    node.step(Receive(RequestVote("s2", "s1", 3, 2, 2, newborn=True)), 10)


def test_voter_with_handwritten_log_is_whole_under_its_leader() -> None:
    node = newborn(1)
    vote_by_hand(node)
    assert (node.view.vote, node.view.newborn) == ("s2", True)
    effects = node.step(Receive(append(3, (0, 0), 2, 2, 3, sender="s2", to="s1")), 20)
    assert (node.view.newborn, node.view.recovering) == (False, False)
    assert (effects.recovered, effects.forgot) == (True, False)
    assert terms_of(node) == [2, 2, 3]


@pytest.mark.parametrize("teller", ["s2", "s3"])
def test_a_denial_that_names_the_elected_leader_is_not_a_history(teller: str) -> None:
    """The denial may arrive before that leader's first message. Otherwise, two nodes without a vote
    would be stuck forever."""
    node = newborn(1)
    vote_by_hand(node)
    denial = RequestVoteReply(teller, "s1", 3, False, True, Denial.HEARS, leader="s2")
    effects = node.step(Receive(denial), 20)
    assert (node.view.recovering, effects.forgot, terms_of(node)) == (False, False, [1])
    effects = node.step(Receive(append(3, (0, 0), 2, 2, 3, sender="s2", to="s1")), 30)
    assert (effects.forgot, terms_of(node)) == (False, [2, 2, 3])


def test_a_pre_candidate_that_gives_its_vote_ends_its_candidacy() -> None:
    node = node_of("s1", term=3, newborn=True)
    node.step(Tick(), TIMEOUT_MS)
    node.step(Receive(request(3, sender="s3", to="s1", pre_vote=True)), TIMEOUT_MS)
    node.step(Receive(request(3, sender="s2", to="s1")), TIMEOUT_MS + 1)
    assert (node.view.vote, node.view.role) == ("s2", Role.FOLLOWER)
    for peer in ("s2", "s3"):  # its own PreVotes, granted late
        node.step(Receive(RequestVoteReply(peer, "s1", 4, True, True)), TIMEOUT_MS + 2)
    assert node.view.term == 3


def answer(node: RawNode, message: Message, now_ms: int) -> RequestVoteReply:
    """Return the node's answer to a vote request."""
    sent = node.step(Receive(message), now_ms).send_after_save
    (reply,) = [one for one in sent if isinstance(one, RequestVoteReply)]
    return reply


PATIENCE_MS = PATIENCE * OPTIONS.election_timeout_ms


def test_newborn_asks_the_others_when_a_candidate_stands() -> None:
    """A controller's TIMEOUT, or an implementation without PreVote, requests votes at once."""
    node = newborn()
    effects = node.step(Receive(request(1, sender="s2", to="s1")), 10)
    asked_now = [one.to for one in effects.messages() if isinstance(one, RequestVote)]
    assert asked_now == ["s2", "s3"]
    assert node.view.role is Role.FOLLOWER
    node.step(Receive(RequestVoteReply("s3", "s1", 1, True, True)), 11)
    assert answer(node, request(2, sender="s2", to="s1"), 12).granted


@pytest.mark.parametrize("pre_vote", [False, True])
def test_newborn_votes_after_its_patience(pre_vote: bool) -> None:
    """s3 is silent: it may hold entries that s1 acknowledged before s1 lost its disk."""
    node = newborn()
    wanted = request(1, sender="s2", to="s1", pre_vote=pre_vote)
    early = answer(node, wanted, PATIENCE_MS - 1)
    assert early.word is Denial.LOOKS
    assert (node.view.newborn, node.view.vote) == (True, None)
    assert answer(node, wanted, PATIENCE_MS).granted


def test_newborn_stands_after_its_patience() -> None:
    node, stood_ms = newborn(), 0
    while not stood_ms:
        asked(node, node.wake_at_ms)
        term = node.view.term + 1
        node.step(Receive(RequestVoteReply("s2", "s1", term, True, True)), node.view.now_ms)
        stood_ms = node.view.now_ms if node.view.role is Role.CANDIDATE else 0
    assert PATIENCE_MS <= stood_ms <= PATIENCE_MS + TIMEOUT_MS // 5


@pytest.mark.parametrize("word", words_that_prove(False))
def test_newborn_need_not_wait_for_members_heard(word: Denial) -> None:
    node = newborn()
    node.step(Tick(), TIMEOUT_MS)
    for peer in ("s2", "s3"):
        node.step(Receive(denial_of(word, peer, 0)), TIMEOUT_MS)
    assert answer(node, request(1, sender="s2", to="s1"), TIMEOUT_MS + 1).granted


@pytest.mark.parametrize("word", words_that_prove(None))
def test_newborn_waits_if_a_denial_shows_nothing(word: Denial) -> None:
    """A member in a later term may hold entries. One that may be new has heard of a history."""
    node = newborn()
    node.step(Tick(), TIMEOUT_MS)
    node.step(Receive(denial_of(word, "s3", 0)), TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s2", "s1", 1, True, True)), TIMEOUT_MS)
    assert node.view.role is Role.PRE_CANDIDATE
    assert not answer(node, request(1, sender="s2", to="s1"), TIMEOUT_MS + 1).granted


MINE, THEIRS = "0123456789abcdef", "fedcba9876543210"
ABOVE = replace(OPTIONS, cluster_if_new=MINE)


def led_with_identity(known: str) -> tuple[RawNode, list[Message]]:
    """Return a new leader of term 2, whose log holds the identity MINE and one more entry, and what
    it sends first."""
    log = Log()
    log.append(1, identity_command(MINE))
    log.append(1, "set a 4")
    members, disk = members_of("s1", "s2", "s3"), HardState(1, "s1")
    node = node_from_disk("s1", members, log, disk, ABOVE, lambda: TIMEOUT_MS, 0, cluster=known)
    node.step(PeerBuild("s2", frozenset()), 0)
    node.step(Tick(), TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s2", "s1", 2, True, True)), TIMEOUT_MS)
    effects = node.step(Receive(RequestVoteReply("s2", "s1", 2, True)), TIMEOUT_MS)
    assert node.view.is_leader
    return node, effects.messages()


@pytest.mark.parametrize(("known", "next_index"), [("", 1), (MINE, 3)])
def test_leader_sends_an_identity_it_is_not_sure_of(known: str, next_index: int) -> None:
    node, _ = led_with_identity(known)
    assert node.view.progress["s2"].next_index == next_index


def test_follower_refuses_a_leader_of_another_cluster() -> None:
    """The entries of both have the same index and term, so the logs seem to match."""
    log = Log()
    log.append(1, identity_command(THEIRS))
    log.append(1, "set a 7")
    members, disk = members_of("s1", "s2", "s3"), HardState(1, "s2")
    node = node_from_disk("s2", members, log, disk, ABOVE, lambda: 900, 0, cluster=THEIRS)
    _, sent = led_with_identity("")
    (entries,) = [one for one in sent if one.to == "s2"]
    with pytest.raises(PeerError, match=f"of cluster {MINE}, and this is cluster {THEIRS}"):
        node.step(Receive(entries), 10)


def test_lone_newborn_waits_as_others_do() -> None:
    """Others may have joined since its configuration was written, and it may have lost its disk."""
    node = node_of("s1", newborn=True, voters=("s1",), options=ON_ONE_MACHINE)
    node.step(Tick(), PATIENCE_MS - 1)
    assert not node.view.is_leader
    while not node.view.is_leader:
        node.step(Tick(), node.wake_at_ms)
    assert PATIENCE_MS <= node.view.now_ms <= PATIENCE_MS + TIMEOUT_MS // 5


def test_a_node_that_may_be_new_reports_just_that() -> None:
    node = node_of("s1", recovering=True, may_be_new=True, incarnation=7)
    (denial,) = node.step(Receive(request(1, sender="s2", to="s1")), 10).send_after_save
    assert isinstance(denial, RequestVoteReply)
    assert denial.word is Denial.MAY_BE_NEW
    (answer,) = node.step(Receive(append(1, (0, 0), 1, sender="s2", to="s1")), 20).send_after_save
    assert isinstance(answer, AppendAccepted)
    assert (answer.without_vote, answer.may_be_new) == (7, True)
    with pytest.raises(OrderRefused, match="may be new or may have lost everything"):
        obey(node, Campaign(), 30)


WAYS = (
    "or when one that never ran before is started once with --new (had it run, writes that no "
    "other disk holds would be lost), or by `raftline recover` (docs/repair.md)"
)


def denied(node: RawNode, sender: str, word: Denial) -> None:
    node.step(Receive(denial_of(word, sender)), node.view.now_ms)


def silence(node: RawNode) -> list[str]:
    return [note for note in node.step(Tick(), node.wake_at_ms).notes if note.startswith("[!]")]


@pytest.mark.parametrize("unsure", [Denial.MAY_BE_NEW, Denial.HOLDS_ENTRIES])
def test_candidate_names_voters_without_a_vote_once(unsure: Denial) -> None:
    """It also names the remedy."""
    node = node_of("s1", 1, voters=("s1", "s2", "s3", "s4"))
    node.step(Tick(), TIMEOUT_MS)
    denied(node, "s2", unsure)
    denied(node, "s3", Denial.LOST_MEMORY)
    why = (
        "s2 has no vote, since it may be new or may have lost everything. s3 lost its memory. "
        f"This ends when s4 answers, {WAYS}"
    )
    assert silence(node) == [f"[!] No leader is heard: {why}"]
    assert node.view.no_leader_because == why
    for peer, word in (("s2", unsure), ("s3", Denial.LOST_MEMORY)):
        denied(node, peer, word)
    assert silence(node) == []
    node.step(Receive(append(1, (1, 1), sender="s4", to="s1")), node.view.now_ms)
    assert node.view.no_leader_because == ""


def test_no_wait_is_reported_if_the_answering_voters_could_elect() -> None:
    node = node_of("s1", 1)
    node.step(Tick(), TIMEOUT_MS)
    denied(node, "s2", Denial.MAY_BE_NEW)
    denied(node, "s3", Denial.VOTED)
    assert silence(node) == []


def test_a_granted_vote_cancels_a_report_of_no_vote() -> None:
    node = node_of("s1", 1, voters=("s1", "s2", "s3", "s4", "s5"))
    node.step(Tick(), TIMEOUT_MS)
    denied(node, "s2", Denial.MAY_BE_NEW)
    node.step(Receive(RequestVoteReply("s2", "s1", 2, True, True)), node.view.now_ms)
    assert silence(node) == []


def test_newborn_accepts_a_leader_that_a_member_reports() -> None:
    """It has not heard from this leader itself."""
    node = newborn()
    node.step(Receive(denial_of(Denial.HEARS)), 10)
    node.step(Receive(append(1, (0, 0), 1, sender="s9", to="s1")), 20)
    assert (node.view.leader, terms_of(node)) == ("s9", [1])


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


@pytest.mark.parametrize(("named", "term"), [("s3", 3), ("s2", 2), ("s2", 4)])
def test_a_denial_that_names_another_leadership_is_a_history(named: str, term: int) -> None:
    node = newborn(1)
    vote_by_hand(node)
    denial = RequestVoteReply("s3", "s1", term, False, True, Denial.HEARS, leader=named)
    assert node.step(Receive(denial), 20).forgot


FOREVER_MS = 1000 * PATIENCE_MS


def waiting(*names: str) -> RawNode:
    """Return newborn s1 of three, without a limit for its wait, which has heard these members."""
    node = node_of("s1", newborn=True)
    for name in names:
        node.step(Receive(request(1, sender=name, to="s1", pre_vote=True)), 0)
    return node


def test_no_time_ends_the_wait_for_a_silent_member() -> None:
    """A silent member may hold entries that this server acknowledged and lost."""
    node = waiting("s2")
    node.step(Tick(), FOREVER_MS)
    node.step(Receive(RequestVoteReply("s2", "s1", 1, True, True)), FOREVER_MS)
    assert node.view.role is Role.PRE_CANDIDATE
    assert not answer(node, request(1, sender="s2", to="s1"), FOREVER_MS).granted
    node.step(Receive(request(1, sender="s3", to="s1", pre_vote=True)), FOREVER_MS)
    assert answer(node, request(1, sender="s2", to="s1"), FOREVER_MS).granted


def test_lone_newborn_waits_for_a_word() -> None:
    node = node_of("s1", newborn=True, voters=("s1",))
    node.step(Tick(), FOREVER_MS)
    assert not node.view.is_leader
    assert "raftline begin --at s1:1" in node.view.no_leader_because
    node.step(Begin([]), FOREVER_MS)
    node.step(Tick(), node.wake_at_ms)
    assert node.view.is_leader


def test_the_wait_is_said_once_with_the_word_to_type() -> None:
    node = waiting("s2")
    why = (
        "s1 has no files, and waits until it hears that s3 has none either. "
        "If it never ran: raftline begin --without s3 --at s1:1"
    )
    assert silence(node) == [f"[!] No leader is heard: {why}"]
    assert silence(node) == []
    assert (node.view.no_leader_because, node.view.no_leader_for) == (why, ["s3"])


def test_a_claim_stands_for_the_silent_member() -> None:
    node = waiting("s2")
    node.step(Begin(["s3"]), 10)
    sent = node.step(Tick(), 10).send_after_save
    assert {one.never_ran for one in sent if isinstance(one, RequestVote)} == {("s3",)}
    node.step(Receive(RequestVoteReply("s2", "s1", 1, True, True)), 20)
    assert node.view.role is Role.CANDIDATE


def test_newborn_takes_over_a_claim_from_a_request() -> None:
    node = waiting()
    heard = replace(request(1, sender="s2", to="s1", pre_vote=True), never_ran=("s3", "s1"))
    assert answer(node, heard, 10).granted
    assert {one.never_ran for one in asked(node, TIMEOUT_MS)} == {("s3",)}


def test_a_history_ends_a_claim() -> None:
    node = waiting("s2")
    node.step(Begin(["s3"]), 10)
    node.step(Receive(request(2, (3, 1), sender="s3", to="s1", pre_vote=True)), 11)
    assert (node.view.newborn, node.view.may_be_new) == (False, True)
    with pytest.raises(BeginRefused, match="a cluster with entries exists"):
        node.step(Begin(["s3"]), 12)


@pytest.mark.parametrize(
    ("heard", "without", "why"),
    [
        ([], ["s9"], "the configuration of s1 does not name s9"),
        (["s2"], ["s2"], "s2 answers, and is new"),
        (["s2"], ["s1"], "s1 answers, and is new"),
        (["s2"], [], "name the members that never ran: s1 waits for s3"),
        ([], ["s2", "s3"], "s1 would be no majority of s1, s2 and s3"),
    ],
)
def test_wrong_claim_is_refused(heard: list[str], without: list[str], why: str) -> None:
    node = waiting(*heard)
    with pytest.raises(BeginRefused, match=why):
        node.step(Begin(without), 10)
    assert all(one.never_ran == () for one in asked(node, TIMEOUT_MS))


def test_claim_is_refused_the_second_time() -> None:
    node = waiting("s2")
    node.step(Begin(["s3"]), 10)
    with pytest.raises(BeginRefused, match="s1 already begins without s3"):
        node.step(Begin(["s3"]), 11)


def test_claims_add_up_to_less_than_a_majority() -> None:
    """With one claim after the other, each half of a cluster could begin without the other."""
    node = node_of("s1", newborn=True, voters=("s1", "s2", "s3", "s4"))
    node.step(Begin(["s3"]), 10)
    with pytest.raises(BeginRefused, match="s1 and s2 would be no majority of s1, s2, s3 and s4"):
        node.step(Begin(["s4"]), 11)


@pytest.mark.parametrize("vote_first", [False, True])
def test_claim_is_refused_once_the_cluster_has_begun(vote_first: bool) -> None:
    node = waiting("s2", "s3")
    if vote_first:
        assert answer(node, request(1, sender="s2", to="s1"), 5).granted
    else:
        node = node_of("s1", 1)
    with pytest.raises(BeginRefused, match="s1 is part of a cluster that has begun"):
        node.step(Begin(["s3"]), 10)


def test_newborn_may_have_voted_for_another_candidate() -> None:
    """s2 and s3 stand in term 1. Before s1 lost its disk, it may have given either its vote."""
    node = waiting()
    node.step(Receive(request(1, sender="s3", to="s1")), 1)
    reply = answer(node, request(1, sender="s2", to="s1"), 2)
    assert (reply.granted, reply.word) == (False, Denial.MAY_HAVE_VOTED)
    assert not answer(node, request(1, sender="s3", to="s1"), 3).granted
    assert answer(node, request(2, sender="s2", to="s1"), 4).granted


def test_newborn_stands_after_each_term_that_it_is_shown() -> None:
    """It may have voted in term 4, where s2 stood, so it must not vote for itself there."""
    node = waiting("s3")
    node.step(Receive(request(5, sender="s2", to="s1", pre_vote=True)), 1)
    assert node.view.term == 4
    asked(node, TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s3", "s1", 5, True, True)), TIMEOUT_MS)
    assert (node.view.role, node.view.term) == (Role.CANDIDATE, 5)


def test_newborn_catches_up_from_a_leader_it_does_not_know() -> None:
    """The members changed after its configuration was written, and it lost its disk."""
    node = waiting("s2", "s3")
    effects = node.step(Receive(append(1, (0, 0), 1, sender="s9", to="s1")), 20)
    assert (effects.forgot, effects.messages(), terms_of(node)) == (True, [], [])
    node.step(Receive(append(1, (0, 0), 1, sender="s9", to="s1")), 30)
    assert (node.view.leader, terms_of(node), node.view.recovering) == ("s9", [1], True)


@pytest.mark.parametrize("newborn", [False, True])
def test_stranger_without_history_is_refused(newborn: bool) -> None:
    node = waiting("s2", "s3")
    message = RequestVote("s9", "s1", 3, 2 * newborn, 2 * newborn, newborn=newborn)
    assert not node.accepts(message)
    with pytest.raises(PeerError, match="s9 is not a peer of s1"):
        node.step(Receive(message), 10)
    assert (node.view.newborn, node.view.term) == (True, 0)


def test_newborn_does_not_compete_with_a_better_log() -> None:
    """The owner of a log written by hand asks several times in an election timeout. Until it is
    silent for one, no server with an empty log is elected."""
    node = waiting("s3")
    better = RequestVote("s2", "s1", 3, 4, 2, pre_vote=True, newborn=True)
    node.step(Receive(better), 5)
    asked(node, node.wake_at_ms)
    soon_ms = node.view.now_ms + 1
    node.step(Receive(better), soon_ms)
    node.step(Receive(RequestVoteReply("s3", "s1", 3, True, True)), soon_ms)
    assert node.view.role is Role.PRE_CANDIDATE
    assert not answer(node, request(3, sender="s3", to="s1", pre_vote=True), soon_ms).granted
    assert answer(node, better, soon_ms).granted


def test_newborn_waits_an_election_timeout_for_a_better_log() -> None:
    node = waiting("s3")
    node.step(Receive(RequestVote("s2", "s1", 3, 4, 2, pre_vote=True, newborn=True)), 5)
    late = request(3, sender="s3", to="s1", pre_vote=True)
    assert not answer(node, late, 4 + OPTIONS.election_timeout_ms).granted
    assert answer(node, late, 5 + OPTIONS.election_timeout_ms).granted
