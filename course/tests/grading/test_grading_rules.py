"""The rules of a hand-in's runs, each broken by one step, and the sentence that a student reads."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from raftline.raft.effects import Effects, HardState, ReadReady
from raftline.raft.inputs import Input, Receive
from raftline.raft.log import Entry, Log
from raftline.raft.membership import Membership
from raftline.raft.messages import AppendEntries
from raftline.raft.node import RawNode, node_from_disk
from raftline.raft.state import Options
from raftline.storage.disk import FilesRefused
from raftline_course.grading.rules import CoreInvariants
from raftline_testing.broken_rules import sentence
from raftline_testing.invariants import InvariantError, Invariants

NAMES = ("s1", "s2", "s3")
MEMBERS = Membership(NAMES, addresses=dict.fromkeys(NAMES, "localhost:10000"))


def follower(terms: Sequence[int]) -> tuple[RawNode, CoreInvariants]:
    """Return s2 with a log of entries of these terms, and the rules that watch it."""
    log = Log()
    for term in terms:
        log.append(term, f"set a {term}")
    state = HardState(max(terms, default=0), None)
    node = node_from_disk("s2", MEMBERS, log, state, Options(), lambda: 150, 0)
    rules = CoreInvariants(MEMBERS)
    rules.started(node)
    return node, rules


def sent(prev: tuple[int, int], *terms: int, term: int = 3) -> Input:
    """Return the leader's message with entries of these terms after `prev`, index and term."""
    entries = [Entry(prev[0] + n, one, f"set a {one}") for n, one in enumerate(terms, start=1)]
    return Receive(AppendEntries("s1", "s2", term, *prev, entries, 0, 1))


def test_follower_dropping_matching_entries_is_named_by_step() -> None:
    """A follower that drops entries that match is named with its step."""
    node, rules = follower([1, 1, 3, 3])
    node._state.log.cut_after(2)
    with pytest.raises(InvariantError) as broken:
        rules.stepped(node, sent((2, 1)), Effects(cut_after=2))
    assert sentence(broken.value) == (
        "only what differs is dropped (§5.3, Figure 2): s2 drops entry 3 of term 3, which the "
        "message of s1 does not contradict"
    )


@pytest.mark.parametrize("event", [sent((1, 1), 2), sent((3, 2)), sent((2, 2))])
def test_a_follower_may_drop_what_differs_and_what_follows_it(event: Input) -> None:
    node, rules = follower([1, 1, 3, 3])
    node._state.log.cut_after(1)
    rules._keeps_what_agrees(node, event, Effects(cut_after=1))


def test_what_is_dropped_and_appended_again_is_kept() -> None:
    node, rules = follower([1, 1, 3])
    again = [Entry(2, 1, "set a 1"), Entry(3, 3, "set a 3")]
    event = sent((1, 1), 1, 3)
    rules._keeps_what_agrees(node, event, Effects(cut_after=1, append=again))
    with pytest.raises(InvariantError, match="s2 drops entry 3 of term 3, which"):
        rules._keeps_what_agrees(node, sent((1, 1), 1), Effects(cut_after=1, append=again[:1]))


def test_ignoring_a_newer_term_is_named_by_its_rule() -> None:
    """A server that ignores a leader's term is told that rule."""
    node, rules = follower([1])
    entry = Entry(2, 3, "set a 3")
    node._state.log.append(3, entry.command)
    with pytest.raises(InvariantError) as broken:
        rules.stepped(node, sent((1, 1), 3), Effects(append=[entry]))
    assert sentence(broken.value) == (
        "a later term is taken over, and saved before its entries (§5.1, Figure 2): s2 appends an "
        "entry of term 3, and stays in term 1"
    )


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        ("s4: cut after 0, but 13 is committed", "what is committed stays (§5.4.3, Figure 3)"),
        ("s1 lost 3 of the reads that it was given", "each read is answered once, or refused (§8)"),
        ("s1 keeps 2 reads that no client waits for",
         "each read is answered once, or refused (§8)"),
        ("s3 refuses AppendRejected(…): round 15 was never sent",
         "an answer is to a round that was sent (thesis §6.4)"),
        ("s3 took RequestVote(…) from a non-member",
         "a newborn hears its members alone (docs/repair.md)"),
    ],
)  # fmt: skip
def test_what_a_mutant_of_the_core_broke_is_named_with_its_rule(seen: str, rule: str) -> None:
    assert sentence(InvariantError(seen)) == f"{rule}: {seen}"


def test_lost_reads_are_counted_apart_from_pending_ones() -> None:
    """Reads that were lost are counted apart from those that are left over."""
    (node, _), rules = follower([1]), Invariants()
    node._state.confirmed_reads.append(ReadReady("kept", 0))
    rules.keeps_reads(node._state, {"kept"})
    with pytest.raises(InvariantError, match="s2 keeps 1 reads that no client waits for"):
        rules.keeps_reads(node._state, set())
    with pytest.raises(InvariantError, match="s2 lost 1 of the reads that it was given"):
        rules.keeps_reads(node._state, {"kept", "asked"})


def test_a_student_reads_no_advice_for_operators() -> None:
    error = FilesRefused(
        "s2.storage says term 4, but s2.log has an entry of term 5. One of the two is from another "
        "time or node: the node catches up from the others, without a vote until then. s2 does not "
        "start before its files are repaired: raftline fsck --repair s2"
    )
    assert sentence(error) == (
        "a later term is taken over, and saved before its entries (§5.1, Figure 2): s2.storage "
        "says term 4, but s2.log has an entry of term 5"
    )
