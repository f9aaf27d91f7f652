"""The explanation of each kind of decision, by the state on both sides of a step."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raftline.picture.harness.judging.laws import LAWS
from raftline.picture.harness.observed import observed_step
from raftline.picture.observe.consequences import CONSEQUENCES
from raftline.picture.observe.explain import DECISIONS
from raftline.picture.observe.facts import Rule, Step, facts_of
from raftline.picture.observe.step_lines import Thinning, explained, json_of, start_of, text_of
from raftline.raft import inputs, messages
from raftline.raft.change import Change
from raftline.raft.effects import Effects
from raftline.raft.inputs import (
    Applied,
    ChangeMembers,
    Input,
    PeerBuild,
    PeerDisconnected,
    Propose,
    Receive,
    Synced,
    Tick,
)
from raftline.raft.messages import AppendAccepted, AppendRejected, RequestVoteReply, TimeoutNow
from raftline.raft.node import RawNode
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    applied,
    candidate_of,
    established,
    leader_of,
    node_of,
    request,
    sync,
)

CORE = Path(__file__).parents[4] / "src" / "raft"
SECTION = re.compile(r"(thesis )?§[0-9.]+|Figure (2|3|7|8|13)|(course/)?docs/[a-z/]+\.md")


def line(node: RawNode, taken: Input, now_ms: int = 0) -> str:
    return text_of(explained(observed_step(node, taken, now_ms))).removeprefix("OBSERVED 1.500000 ")


def rows() -> list[Rule]:
    return [rule for rules in DECISIONS.values() for rule in rules] + list(CONSEQUENCES)


def test_last_rule_of_every_input_and_message_always_fits() -> None:
    """Every input and every message has rules, the last of which always fits."""
    kinds = {*inputs.Input.__args__, *messages.Message.__args__} - {Receive}
    assert set(DECISIONS) == kinds
    for kind, rules in DECISIONS.items():
        assert rules[-1].when(None) is True, kind  # type: ignore[arg-type]


@pytest.mark.parametrize("place", sorted({rule.place for rule in rows() + list(LAWS)}))
def test_the_place_of_a_rule_is_a_function_of_the_core(place: str) -> None:
    module, function = place.split(".")
    tree = ast.parse((CORE / f"{module}.py").read_text(encoding="utf-8"))
    assert function in {part.name for part in ast.walk(tree) if isinstance(part, ast.FunctionDef)}


def test_section_of_a_rule_is_in_paper_thesis_or_a_page() -> None:
    """The section of a rule is of the paper the thesis or a page."""
    for rule in rows() + list(LAWS):
        for section in rule.section.split(", "):
            assert SECTION.fullmatch(section), rule.section
            assert not section.endswith(".md") or (CORE.parents[1] / section).is_file()


@pytest.mark.parametrize(
    ("node", "message", "begins"),
    [
        (
            lambda: node_of("s2", 1, 1, 2, 3),
            request(5, (3, 2)),
            "RequestVote 5-3-2 of s1 denied: log not up to date, mine ends at 4 of term 3 (§5.4.1)",
        ),
        (
            lambda: node_of("s2", 1),
            request(2, (1, 1)),
            "RequestVote 2-1-1 of s1 granted: I gave no other vote, and its log ends at 1 of term "
            "1, mine at 1 of term 1 (§5.2, §5.4.1); term 2 is newer than mine, 1, so I follow in "
            "it (§5.1) | changed: term 1 → 2, vote none → s1",
        ),
        (
            lambda: node_of("s2", term=4, vote="s3"),
            request(4),
            "RequestVote 4-0-0 of s1 denied: already voted for s3 in term 4 (§5.2)",
        ),
        (
            lambda: node_of("s2", term=4, vote="s1"),
            request(4),
            "RequestVote 4-0-0 of s1 granted again: my vote of term 4 is its own already (§5.2)",
        ),
        (
            lambda: node_of("s2", term=4),
            request(3),
            "RequestVote 3-0-0 of s1 denied: term 3 is over, I am in term 4 (§5.1)",
        ),
        (
            lambda: node_of("s2", recovering=True),
            request(3, pre_vote=True),
            "PreVote 3-0-0 of s1 denied: I lost my memory and catch up without a vote "
            "(docs/repair.md)",
        ),
        (
            lambda: node_of("s2", 1),
            request(2, (1, 1), pre_vote=True),
            "PreVote 2-1-1 of s1 granted: I would vote for it in term 2, and its log ends at 1 of "
            "term 1, mine at 1 of term 1 (thesis §9.6, §5.4.1) | sent to s1: Count on me",
        ),
        (
            lambda: node_of("s2", 1),
            append(1, (4, 1)),
            "AppendEntries 1-4-1-[] commit 0 round 1 of s1: refused: my log ends at 1, it has no "
            "entry 4 (§5.3) | changed: leader none → s1 | sent to s1: GiveEntriesAfterIndex 1",
        ),
        (
            lambda: node_of("s2", 1, 1, term=3),
            append(3, (2, 2)),
            "AppendEntries 3-2-2-[] commit 0 round 1 of s1: refused: my entry 2 is of term 1, not "
            "of term 2 (§5.3)",
        ),
        (
            lambda: node_of("s2", 1, 1, 1, term=2),
            append(2, (1, 1), 2),
            'AppendEntries 2-1-1-[{"index": 2, "term": 2, "command": "set x 2.2"}] commit 0 round '
            "1 of s1: accepted: my entry 2 is of term 1, the leader's of term 2, so I drop entries "
            "2-3 and take its own (§5.3, Figure 7) | changed: leader none → s1, log end 3 → 2",
        ),
        (
            lambda: node_of("s2", 1),
            append(1, (1, 1), 1, commit=2),
            'AppendEntries 1-1-1-[{"index": 2, "term": 1, "command": "set x 2.1"}] commit 2 round '
            "1 of s1: accepted: it fits after my entry 1, which is of term 1, too, so I append "
            "entry 2 (§5.3); the leader says that entries up to 2 are committed (§5.3); entries "
            "1-2 handed to my state machine (§5.3)",
        ),
        (
            lambda: node_of("s2", term=3),
            append(2, (0, 0), 2),
            'AppendEntries 2-0-0-[{"index": 1, "term": 2, "command": "set x 1.2"}] commit 0 round '
            "1 of s1: refused: term 2 is over, I am in term 3 (§5.1) | sent",
        ),
    ],
)
def test_a_message_from_a_candidate_or_a_leader(
    node: Callable[[], RawNode], message: messages.Message, begins: str
) -> None:
    assert line(node(), Receive(message)).startswith(begins)


def test_an_election_from_the_silence_to_the_first_commit() -> None:
    node = node_of("s1", 1)
    assert line(node, Tick(), TIMEOUT_MS) == (
        "Tick: my election timer has run out, so I ask who would vote for me in term "
        "2 (thesis §9.6) | changed: role follower → pre-candidate | sent to s2 s3: PreVote 2-1-1"
    )
    assert line(node, Receive(RequestVoteReply("s2", "s1", 2, True, pre_vote=True))).startswith(
        "Count on me term 2 prevote of s2: counted: 2 of 3 votes are a majority, of s1 s2, so I "
        "stand in term 2 (thesis §9.6) | changed: role pre-candidate → candidate, term 1 → 2"
    )
    late = RequestVoteReply("s3", "s1", 2, True, pre_vote=True)
    assert "ignored: I no longer ask for this vote (§5.2)" in line(node, Receive(late))
    denial = RequestVoteReply("s3", "s1", 2, False, reason="already voted for s2 in term 2")
    assert "counted: s3 denies: already voted for s2" in line(node, Receive(denial))
    won = line(node, Receive(RequestVoteReply("s2", "s1", 2, True)))
    assert "2 of 3 votes are a majority, of s1 s2, so I lead (§5.2); as leader of term 2 I " in won
    assert "append the empty entry 2 (§8)" in won
    assert "Synced: entries up to 2 are on my disk" in line(node, Synced(2, 2))
    accepted = AppendAccepted("s3", "s1", 2, 2, 1)
    assert line(node, Receive(accepted)).startswith(
        "I am up to date term 2 index 2 round 1 of s3: counted: s3 holds my log up to 2 (§5.3); "
        "entry 2 of my term 2 is held by s1 s3, 2 of 3: a majority, so it is committed (§5.3, "
        "§5.4.2); entries 1-2 handed to my state machine (§5.3) | changed: commit 0 → 2, match of "
        "s3 0 → 2"
    )
    assert line(node, Applied(2)) == (
        "Applied: my state machine has applied entries up to 2 (§5.3) | changed: applied 0 → 2"
    )


def test_first_leader_names_the_entry_of_the_identity() -> None:
    options = replace(OPTIONS, cluster_if_new="9f86d081884c7d65")
    node = candidate_of("s1", options=options)
    won = observed_step(node, Receive(RequestVoteReply("s2", "s1", node.view.term, True)))
    (first,) = won.effects.append
    assert first.command == "cluster 9f86d081884c7d65 level 1"
    assert "I append the entry 1, the cluster's identity (§8)" in text_of(explained(won))


def test_entry_of_an_earlier_term_on_a_majority_is_uncommitted() -> None:
    """An entry of an earlier term on a majority is not committed."""
    node = leader_of("s1", 1, 2)
    said = line(node, Receive(AppendAccepted("s2", "s1", node.view.term, 2, 1)))
    assert (
        "s1 s2, 2 of 3, hold entry 2, but it is of term 2: an entry of term 3 must commit it "
        "(§5.4.2, Figure 8)" in said
    )
    assert node.view.commit_index == 0


def test_a_leader_goes_back_once_for_one_reason() -> None:
    node = established("s1", 1, 1)
    behind = AppendRejected("s2", "s1", node.view.term, 1, node.view.round)
    said = line(node, Receive(behind))
    assert "the log of s2 does not fit, so I go back to nextIndex" in said
    assert "ignored: I already went back for this reason" in line(node, Receive(behind))


def test_a_leader_that_hears_nobody_gives_up() -> None:
    node = established("s1")
    said = [line(node, Tick(), time_ms) for time_ms in range(250, 1000, 50)]
    assert any(
        "of 3 only s1 answered within an election timeout, no majority, so I give up (thesis §6.2)"
        in one
        for one in said
    )


def test_what_clients_and_peers_do_is_explained() -> None:
    node = established("s1")
    assert line(node, Propose(["set a 5", "set b 6"])).startswith(
        "Propose set a 5 and 1 more: I append entries 2-3 (§5.3) | changed: log end 1 → 3"
    )
    assert "PeerDisconnected s2: it did not lead" in line(node, PeerDisconnected("s2"))
    for build, said in (
        (PeerBuild("s2", frozenset()), "s2 announces its build"),
        (PeerBuild("s2", frozenset(), is_at_floor=True), "s2 announces no build"),
        (PeerBuild("s2", None), "the connection to s2 is gone, so its build is unknown"),
    ):
        assert said in line(node, build)
    follower = node_of("s2", 1)
    follower.step(Receive(append(1, (1, 1))), 5)
    assert line(follower, PeerDisconnected("s1")).startswith(
        "PeerDisconnected s1: it led, so I ask for votes soon, and do not wait out my election "
        "timeout (docs/develop/divergence.md)"
    )
    follower = node_of("s2", 1)
    follower.step(Receive(append(1, (1, 1))), 5)
    assert "obeyed: the leader gives way, so I stand in term 2 (thesis §3.10)" in line(
        follower, Receive(TimeoutNow("s1", "s2", 1))
    )
    assert "ignored: it is not the leader's word" in line(
        follower, Receive(TimeoutNow("s3", "s2", 2))
    )


def test_a_refused_message_is_explained_with_the_refusal() -> None:
    node = candidate_of("s1")
    facts = facts_of(node.view)
    taken = Receive(append(1, (0, 0), sender="s9", to="s1"))
    refused = Step("s1", 2.0, facts, taken, node.step(Tick(), 0), facts, "s9 is not a peer of s1")
    assert "refused: s9 is not a peer of s1 (docs/use/protocol.md)" in text_of(explained(refused))


def test_a_value_cannot_break_a_line_of_a_program() -> None:
    node = established("s1")
    said = json_of(explained(observed_step(node, Propose(['set a "}<script>\\n']))), 3)
    assert "\n" not in said
    assert '"append": [[2, 1, "set a \\"}<script>\\\\n"]]' in said
    assert '"left_out": 3' in said


def test_steady_heartbeats_are_thinned_and_counted() -> None:
    node = node_of("s2")
    node.step(Receive(append(1, (0, 0))), 5)
    pulses = [observed_step(node, Receive(append(1, (0, 0))), 10, at / 10) for at in range(10, 40)]
    some, every = Thinning(is_all=False), Thinning(is_all=True)
    taken = [pulse.at_s for pulse in pulses if some.takes(pulse)]
    assert taken == [1.0, 2.0, 3.0]
    assert (some.count(), some.count()) == (27, 0)
    assert all(every.takes(pulse) for pulse in pulses)


def test_a_tick_that_did_nothing_is_never_explained() -> None:
    idle = observed_step(node_of("s2"), Tick(), 1)
    assert not Thinning(is_all=True).takes(idle)
    assert not Thinning(is_all=False).takes(idle)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"term": 2}, "denied: term 2 is over, I am in term 3 (§5.1)"),
        (
            {"term": 4, "last_index": 0, "last_term": 0},
            "denied: log not up to date, mine ends at 1 of term 1 (§5.4.1)",
        ),
        ({"term": 3}, "denied: already voted for s3 in term 3 (§5.2)"),
        ({"term": 4}, "denied: no reason was given"),
    ],
)
def test_denied_vote_without_a_reason_is_not_shown_as_granted(
    asked: dict[str, Any], why: str
) -> None:
    """A server of lab 7 answers `Not this time` without a reason."""
    node = node_of("s1", 1, term=3, vote="s3")
    message = replace(request(3, (1, 1), sender="s2", to="s1"), **asked)
    before = facts_of(node.view)
    denied = Effects(send_after_save=[RequestVoteReply("s1", "s2", 3, granted=False)])
    told = text_of(explained(Step("s1", 1.5, before, Receive(message), denied, before)))
    assert why in told
    assert "granted:" not in told


def test_candidate_without_a_prevote_stands_on_its_timer() -> None:
    """A candidate without a PreVote stands because its timer has run out."""
    before = facts_of(node_of("s1", term=3).view)
    after = before._replace(role="candidate", term=4, vote="s1")
    told = text_of(explained(Step("s1", 1.5, before, Tick(), Effects(), after)))
    assert "my election timer has run out, so I stand in term 4 (§5.2)" in told
    assert "nobody answered" not in told


def test_a_denial_without_a_reason_is_counted_without_one() -> None:
    before = facts_of(node_of("s1", term=3).view)._replace(role="candidate", votes={"s1": True})
    answer = RequestVoteReply("s2", "s1", 3, granted=False)
    told = text_of(explained(Step("s1", 1.5, before, Receive(answer), Effects(), before)))
    assert "counted: s2 denies (§5.2)" in told


def test_an_answer_without_a_vote_is_not_told_as_counted() -> None:
    leader = established("s1")
    rejected = AppendRejected("s2", "s1", leader.view.term, 0, leader.view.round, without_vote=7)
    told = line(leader, Receive(rejected))
    assert "not counted: s2 lost its memory, so it has no vote until it has caught up" in told
    fence = leader.view.log.last_index
    assert f"entry {fence} is the fence of s2:" in told
    accepted = AppendAccepted("s2", "s1", leader.view.term, 1, leader.view.round, without_vote=7)
    told = line(leader, Receive(accepted))
    assert "not counted: s2" in told
    assert "it holds my log up to 1" in told


def test_a_voter_that_may_be_new_is_not_told_as_lost() -> None:
    leader = leader_of("s1")
    acknowledge(leader, "s3")
    applied(leader)
    term, new = leader.view.term, {"without_vote": 7, "may_be_new": True}
    rejected = AppendRejected("s2", "s1", term, 0, leader.view.round, **new)  # type: ignore[arg-type]
    told = line(leader, Receive(rejected))
    assert "not counted: s2 may be new, so it has no vote until it has caught up" in told
    fence = leader.view.log.last_index
    leader.step(Synced(fence, term), 0)
    acknowledge(leader, "s3")
    held = AppendAccepted("s2", "s1", term, fence, leader.view.round, **new)  # type: ignore[arg-type]
    assert "s2 holds all up to its fence, which is committed: it may vote" in line(
        leader, Receive(held)
    )
    follower = node_of("s2", recovering=True, may_be_new=True, incarnation=7)
    again = messages.AppendEntries("s1", "s2", 1, 0, 0, vote_again=7)
    assert "I hold all up to my fence, so I have a vote (" in line(follower, Receive(again))


def test_the_return_of_a_vote_is_told_by_both_sides() -> None:
    leader = established("s1")
    term = leader.view.term
    leader.step(Receive(AppendRejected("s2", "s1", term, 0, leader.view.round, 7)), 0)
    fence = leader.view.log.last_index
    leader.step(Synced(fence, term), 0)
    acknowledge(leader, "s3")
    last = AppendAccepted("s2", "s1", term, fence, leader.view.round, 7)
    told = line(leader, Receive(last))
    assert "s2 holds all up to its fence, which is committed: it votes again" in told
    follower = node_of("s2", recovering=True, incarnation=7)
    told = line(follower, Receive(messages.AppendEntries("s1", "s2", 1, 0, 0, vote_again=7)))
    assert "I hold all up to my fence, so I have a vote again" in told


def without_vote(
    leader: RawNode, name: str, kind: type[AppendAccepted | AppendRejected]
) -> Receive:
    """Return the answer of a server that lost its memory and now holds all of the log."""
    state = leader.view
    return Receive(kind(name, "s1", state.term, state.log.last_index, state.round, 7))


def hold(leader: RawNode, *names: str) -> None:
    """Make the leader's disk and these followers hold the log."""
    sync(leader)
    for name in names:
        acknowledge(leader, name)


def remove(leader: RawNode, name: str, *others: str) -> None:
    """Remove a server by the last entry, which no other server holds yet."""
    leader.step(ChangeMembers(Change("remove", name), "t"), leader.view.now_ms)
    hold(leader, *others)
    assert not leader.view.membership.is_joint


def test_removed_member_without_a_vote_is_not_told_to_vote() -> None:
    """The leader lets it go in the step in which it sends it the end of its loss once more."""
    leader = established("s1")
    leader.step(without_vote(leader, "s3", AppendRejected), 0)
    hold(leader, "s2")
    remove(leader, "s3", "s2")
    hold(leader, "s2")
    told = line(leader, without_vote(leader, "s3", AppendAccepted))
    assert "s3 holds all up to its fence" not in told
    told = line(leader, without_vote(leader, "s3", AppendRejected))
    assert list(leader.view.progress) == ["s2"]
    assert ": counted: s3 still followed in round 3 (thesis §6.2) | sent to s3: App" in told
    assert told.endswith("vote again 7")


def test_leader_that_leaves_tells_whose_vote_returns() -> None:
    """It steps down in the step in which it sends the end of the loss."""
    leader = established("s1", voters=("s1", "s2", "s3", "s4"))
    leader.step(without_vote(leader, "s4", AppendRejected), 0)
    hold(leader, "s2", "s3")
    leader.step(without_vote(leader, "s4", AppendAccepted), 0)
    remove(leader, "s1", "s2", "s3")
    hold(leader, "s2")
    state = leader.view
    held = AppendAccepted("s3", "s1", state.term, state.log.last_index, state.round)
    told = line(leader, Receive(held))
    assert "I leave, and a follower that holds my whole log may stand at once" in told
    assert "s4 holds all up to its fence, which is committed: it votes again" in told


def test_start_of_a_node_that_lost_files_tells_it_has_no_vote() -> None:
    """The start of a server that lost files says that it has no vote."""
    facts = facts_of(node_of("s2", recovering=True).view)
    start = start_of(0.0, facts, [])
    assert "files are lost, so I have no vote until I have caught up" in str(start["why"])
    assert start["without_vote"] is True
    unsure = facts_of(node_of("s2", recovering=True, may_be_new=True).view)
    assert "I may be new, so I have no vote" in str(start_of(0.0, unsure, [])["why"])
    assert "without_vote" not in start_of(0.0, facts_of(node_of("s2").view), [])
