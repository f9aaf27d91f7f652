"""Terms that leap: they are bounded, and a server far from the others returns by itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import pytest

from raftline.raft.effects import HardState
from raftline.raft.far_terms import TERM_FAR_MAX, TERM_LEAP_MAX, TERM_MAX, TERM_STEP_MAX
from raftline.raft.inputs import Applied, Input, Receive, Synced, Tick
from raftline.raft.membership import Membership
from raftline.raft.messages import AppendRejected, Message, PeerError, RequestVoteReply
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    append,
    established,
    members_of,
    node_of,
    request,
)

LEAP = 2**48 - 1


def leap(node: RawNode, *, with_entries: bool = False) -> None:
    """Take a follower as far as forged lines of a silent member can, in one go."""

    def forged(term: int) -> Receive:
        return Receive(append(term, (1, 1), *([term] * with_entries), to="s2", sender="s3"))

    first = LEAP + node.view.term
    node.step(forged(first), 10)
    assert (node.view.term, node.view.log.last_term) == (first, first if with_entries else 1)
    for more in (LEAP, 2**20, 2**16, 1000, 2):
        with pytest.raises(PeerError, match="is too far ahead of mine"):
            node.step(forged(first + more), 10)


def test_terms_of_forged_entries_do_not_add_up_either() -> None:
    """The cluster follows the jump, and its leader replaces the forged entry."""
    follower = node_of("s2", 1)
    follower.step(Receive(append(1, (1, 1), commit=1)), 5)
    leap(follower, with_entries=True)
    term = 2 + LEAP
    follower.step(Receive(append(term, (1, 1), term, commit=2)), 10 + TIMEOUT_MS)
    assert (follower.view.leader, follower.view.commit_index) == ("s1", 2)
    follower.step(Receive(append(term + LEAP, (2, term), sender="s3")), 20 + TIMEOUT_MS)
    assert follower.view.term == term + LEAP  # what is committed was moved by a leap


@pytest.mark.parametrize("term", [2**48 + 5, 2**60])
def test_empty_log_accepts_a_leader_of_any_far_term(term: int) -> None:
    node = node_of("s2")
    for pre_vote in (True, False):
        with pytest.raises(PeerError, match="is too far ahead of mine"):
            node.step(Receive(request(term, (9, term - 1), pre_vote=pre_vote)), 10)
    node.step(Receive(append(term, (9, term))), 10)
    assert (node.view.term, node.view.leader) == (term, "s1")
    with pytest.raises(PeerError, match="is too far ahead of mine"):
        node.step(Receive(append(2**63 - 1, (0, 0))), 10_000)


# --- the way back -------------------------------------------------------------------------------


class Cluster:
    """Servers that hear one another, with time that passes when nothing else is left to do."""

    def __init__(self, *nodes: RawNode) -> None:
        self.nodes = {node.view.name: node for node in nodes}
        self._now_ms = 0
        self.notes: list[str] = []

    def step(self, node: RawNode, event: Input) -> list[Message]:
        """Step a server, write its log, and return what it sends."""
        try:
            effects = node.step(event, self._now_ms)
        except PeerError:
            return []
        self.notes += effects.notes
        sent = effects.messages()
        if effects.append:
            sent += self.step(node, Synced(node.view.log.last_index, node.view.log.last_term))
        if effects.apply:
            sent += self.step(node, Applied(effects.apply[-1].index))
        return sent

    def hear(self, messages: Sequence[Message], up: Collection[str]) -> None:
        """Deliver messages, and the answers to them, among the servers that are up."""
        queue = list(messages)
        while queue:
            message = queue.pop(0)
            if message.to in up and message.sender in up:
                queue += self.step(self.nodes[message.to], Receive(message))

    def run(self, timeouts: int, *up: str) -> None:
        """Pass this many election timeouts while only these servers are up; all by default."""
        names = up or tuple(self.nodes)
        until_ms = self._now_ms + timeouts * 2 * TIMEOUT_MS
        while self._now_ms < until_ms:
            name = min(names, key=lambda each: self.nodes[each].wake_at_ms)
            self._now_ms = max(self._now_ms + 1, self.nodes[name].wake_at_ms)
            self.hear(self.step(self.nodes[name], Tick()), names)

    def leap(self, name: str, *up: str) -> None:
        """Take a server as far as one forged line can, while these are up."""
        node = self.nodes[name]
        committed = node.view.log.term_at(node.view.commit_index) or 0
        liar = next(each for each in node.view.membership.voters if each != name)
        far = RequestVoteReply(liar, name, committed + TERM_LEAP_MAX, False, reason="no")
        self.hear(self.step(node, Receive(far)), up or (name,))
        assert node.view.term == committed + TERM_LEAP_MAX

    def follows(self, *names: str) -> bool:
        """Whether these servers follow one leader, in its term and up to its last commit."""
        views = [self.nodes[name].view for name in names or self.nodes]
        leaders = {(view.term, view.leader, view.commit_index) for view in views}
        (state, *more) = leaders
        return not more and state[1] is not None


def cluster_of(*nodes: RawNode) -> Cluster:
    """Return a cluster that has elected and committed."""
    cluster = Cluster(*nodes)
    cluster.run(4)
    assert cluster.follows()
    return cluster


def leap_away_from(cluster: Cluster, *away: str, leaps: int = 1) -> None:
    """Leap the other servers while these are down, and let them commit in the new terms."""
    others = [name for name in cluster.nodes if name not in away]
    for _ in range(leaps):
        cluster.leap(others[0], *others)
        cluster.run(6, *others)
        assert cluster.follows(*others)


def voters(count: int = 3, members: Membership | None = None) -> list[RawNode]:
    """Return servers with different election timeouts."""
    names = [f"s{number}" for number in range(1, count + 1)]
    return [
        node_of(name, 1, voters=members or names, timeout_ms=TIMEOUT_MS + 40 * place)
        for place, name in enumerate(names)
    ]


@pytest.mark.parametrize("leaps", [1, 3])
def test_a_voter_that_was_away_during_leaps_returns(leaps: int) -> None:
    cluster = cluster_of(*voters())
    leap_away_from(cluster, "s3", leaps=leaps)
    cluster.run(4 + 2 * leaps)
    assert cluster.follows()
    assert any("following to term" in note for note in cluster.notes)


@pytest.mark.parametrize("leaps", [1, 3])
def test_a_learner_that_was_away_during_leaps_returns(leaps: int) -> None:
    names = members_of("s1", "s2", "s3", "s4")
    members = replace(names, voters=("s1", "s2", "s3"), learners=("s4",))
    cluster = cluster_of(*voters(4, members))
    leap_away_from(cluster, "s4", leaps=leaps)
    cluster.run(4 + 2 * leaps)
    assert cluster.follows()
    assert not cluster.nodes["s4"].view.membership.is_quorum(["s4"])


def test_recovering_server_votes_again_after_a_missed_leap() -> None:
    *others, lost = voters()
    cluster = cluster_of(*others, lost)
    leap_away_from(cluster, "s3")
    cluster.nodes["s3"] = again = node_of("s3", 1, recovering=True, incarnation=7)
    cluster.run(8)
    assert cluster.follows()
    assert not again.view.recovering


def test_two_of_three_elect_although_one_missed_a_leap() -> None:
    cluster = cluster_of(*voters())
    leap_away_from(cluster, "s2")
    assert not cluster.follows("s1", "s2")
    cluster.run(8, "s1", "s2")  # s3 is gone for good
    assert cluster.follows("s1", "s2")


@pytest.mark.parametrize("leaps", [1, 3])
def test_a_follower_that_was_carried_away_on_its_own_is_fetched(leaps: int) -> None:
    cluster = cluster_of(*voters())
    node = cluster.nodes["s3"]
    cluster.run(2, "s1", "s2")
    cluster.leap("s3")
    for _ in range(leaps):  # nobody else is heard there
        cluster.run(2, "s3")
        far = RequestVoteReply("s1", "s3", node.view.term + TERM_LEAP_MAX, False, reason="no")
        cluster.hear(cluster.step(node, Receive(far)), ["s3"])
    cluster.run(2, "s3")
    assert node.view.term > leaps * TERM_LEAP_MAX
    cluster.run(8 + 8 * leaps)
    assert cluster.follows()
    assert any("I give way" in note for note in cluster.notes)


# --- its limits ---------------------------------------------------------------------------------


FAR = 2**48 + 7


def away_during_a_leap() -> RawNode:
    """Return s3 in term 100; its committed entry is of term 1, and it has just heard a leader."""
    node = node_of("s3", 1, term=100)
    node.step(Receive(append(100, (1, 1), commit=1, to="s3")), 5)
    return node


def far(node: RawNode, message: Message, now_ms: int = 0) -> None:
    """Make a server hear a term that it refuses."""
    before = (node.view.term, node.view.vote)
    with pytest.raises(PeerError, match="is too far ahead of mine"):
        node.step(Receive(message), now_ms)
    assert (node.view.term, node.view.vote) == before


def silence(node: RawNode) -> HardState | None:
    """Pass an election timeout; return the term and vote that are saved."""
    return node.step(Tick(), node.wake_at_ms).save


def test_far_term_is_followed_only_after_a_silent_timeout() -> None:
    node = away_during_a_leap()
    far(node, append(FAR, (1, 1), to="s3"), 10)  # a leader was just heard
    assert silence(node) is None
    far(node, append(FAR, (1, 1), to="s3"))
    assert silence(node) == HardState(FAR, None)
    node.step(Receive(append(FAR + 1, (1, 1), to="s3", sender="s2")), node.view.now_ms)
    assert (node.view.term, node.view.leader) == (FAR + 1, "s2")


def test_a_leader_that_is_heard_ends_that() -> None:
    node = away_during_a_leap()
    silence(node)
    far(node, append(FAR, (1, 1), to="s3"))
    node.step(Receive(append(100, (1, 1), to="s3")), node.view.now_ms)
    assert silence(node) is None


def test_a_term_that_was_reached_otherwise_delays_no_election() -> None:
    node = away_during_a_leap()
    silence(node)
    node.step(Receive(request(1 + TERM_LEAP_MAX, (1, 1), sender="s2", to="s3")), node.view.now_ms)
    far(node, append(node.view.term + TERM_STEP_MAX + 1, (1, 1), to="s3"), node.view.now_ms)
    for _ in range(2):
        ahead = request(node.view.term + TERM_STEP_MAX, (1, 1), sender="s2", to="s3")
        node.step(Receive(ahead), node.view.now_ms)
    assert node.step(Tick(), node.wake_at_ms).messages()  # it asks for votes


def test_a_prevote_names_a_term_that_its_sender_has_not_entered() -> None:
    node = away_during_a_leap()
    silence(node)
    far(node, request(FAR + 1, (1, 1), sender="s2", to="s3", pre_vote=True))
    assert silence(node) == HardState(FAR, None)


def test_term_leaps_once_a_timeout_up_to_a_limit() -> None:
    node = away_during_a_leap()
    silence(node)
    for count in range(1, TERM_FAR_MAX // TERM_LEAP_MAX):
        far(node, append(1 + TERM_FAR_MAX, (1, 1), to="s3"))
        assert silence(node) == HardState(100 + count * TERM_LEAP_MAX, None)
    for term in (2 + TERM_FAR_MAX, TERM_MAX, 2**63 - 1):
        far(node, append(term, (1, 1), to="s3"))
        assert silence(node) is None


def test_leader_steps_down_once_a_term_for_a_possible_far_term() -> None:
    leader = established("s1")
    for term in (TERM_MAX + 1, 2**63 - 1):
        far(leader, AppendRejected("s3", "s1", term, 0, 0), TIMEOUT_MS)
    for sender in ("s2", "s3"):
        far(leader, request(FAR, (1, 1), sender=sender, to="s1"), TIMEOUT_MS)
    assert leader.view.is_leader
    effects = leader.step(Receive(AppendRejected("s3", "s1", 3 * FAR, 0, 0)), TIMEOUT_MS)
    assert effects.save == HardState(1 + TERM_LEAP_MAX - 2**16, None)
    assert not leader.view.is_leader
