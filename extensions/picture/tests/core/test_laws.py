"""The laws that a step may break: each is seen in a step of a sound core that was falsified, and
nothing that the step says justifies it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from raftline.picture.harness.judging.answers import with_answers
from raftline.picture.harness.judging.cluster_facts import Cluster
from raftline.picture.harness.judging.judged import broken, judged
from raftline.picture.harness.judging.laws import LAWS
from raftline.picture.harness.observed import observed_step as seen
from raftline.picture.observe.facts import Facts, Step, facts_of
from raftline.picture.observe.step_lines import json_of, text_of
from raftline.raft.effects import Effects, HardState, ReadReady
from raftline.raft.inputs import Read, Receive, Synced, Tick
from raftline.raft.log import Entry
from raftline.raft.messages import (
    AppendAccepted,
    AppendRejected,
    Denial,
    RequestVoteReply,
)
from raftline_testing.doubles.cores import (
    acknowledge,
    append,
    candidate_of,
    established,
    leader_of,
    log_of,
    node_of,
    request,
)

FOUR = ("s1", "s2", "s3", "s4")


def falsified(one: Step, *, effects: dict[str, Any] | None = None, **after: Any) -> Step:
    """Return a step of a core that did otherwise."""
    changed = replace(one.effects, **(effects or {}))
    return replace(one, effects=changed, after=one.after._replace(**after))


def reply(
    granted: bool, term: int = 2, word: Denial | None = None, **more: object
) -> RequestVoteReply:
    return RequestVoteReply("s2", "s1", term, granted, word=word, **more)  # type: ignore[arg-type]


def gives_its_vote(**before: Any) -> Step:
    """Return a step in which s2 votes for s1 in term 2."""
    one = seen(node_of("s2", 1), Receive(request(2, (1, 1))))
    return replace(one, before=one.before._replace(**before))


def denies(word: Denial) -> Step:
    one = seen(node_of("s2", 1, term=2), Receive(request(2, (1, 1))))
    saying = {"send_after_save": [reply(False, word=word)], "save": None}
    return falsified(one, effects=saying, vote=None)


def wins(**more: object) -> Step:
    """Return a step in which s1 wins term 1 by the vote of s2."""
    node = candidate_of("s1", **more)
    return seen(node, Receive(RequestVoteReply("s2", "s1", node.view.term, True)))


def counts(term: int = 1) -> Step:
    """Return a step in which a candidate of four counts a vote, and does not win."""
    node = candidate_of("s1", voters=FOUR)
    return seen(node, Receive(RequestVoteReply("s2", "s1", term, True)))


def takes(**message: object) -> Step:
    """Return a step in which s2 takes entry 2 after its entry 1."""
    one = seen(node_of("s2", 1), Receive(append(1, (1, 1), 1, commit=1)))
    assert isinstance(one.event, Receive)
    return replace(one, event=Receive(replace(one.event.message, **message)))  # type: ignore[arg-type]


def drops() -> Step:
    """Return a step in which s2 drops entries 2 and 3, which differ."""
    return seen(node_of("s2", 1, 1, 1, term=2), Receive(append(2, (1, 1), 2)))


def commits(term: int = 1) -> Step:
    """Return a step in which s1 of three commits its empty entry by the answer of s2."""
    node = leader_of("s1")
    one = seen(node, Receive(AppendAccepted("s2", "s1", 1, 1, 1)))
    return replace(one, after=one.after._replace(runs=((0, 0), (1, term))))


def looks_for_a_quorum() -> Step:
    """Return a step in which a leader gives up that nobody answers, told as if it led on."""
    node = established("s1")
    late_ms = node.view.quorum_check_at_ms + 200
    before = facts_of(node.view)
    node.step(Tick(), before.quorum_check_at_ms - 1)
    one = Step("s1", 1.0, before, Tick(), Effects(), before._replace(now_ms=late_ms))
    return replace(one, before=before._replace(quorum_check_at_ms=late_ms))


def reads(number: int = 0) -> Step:
    node = established("s1")
    before = facts_of(node.view)
    effects = Effects(reads=[ReadReady("token", before.applied + number)])
    return Step("s1", 1.0, before, Read(["token"]), effects, before)


def confirms() -> Step:
    """Return a step in which a leader takes reads of round 9 for confirmed, which nobody
    answered."""
    node = established("s1")
    after = facts_of(node.view)
    answer = AppendAccepted("s2", "s1", after.term, 1, 1)
    return Step("s1", 1.0, after._replace(read_round=9), Receive(answer), Effects(), after)


CASES: list[tuple[Callable[[], Step], str]] = [
    (lambda: falsified(gives_its_vote(), term=0), "goes back from term 1 to 0"),
    (lambda: gives_its_vote(term=3), "votes in term 2, which is over: it is in term 3"),
    (
        lambda: gives_its_vote(term=2, vote="s3"),
        "votes for s1 in term 2, in which it voted for s3",
    ),
    (
        lambda: gives_its_vote(last_index=1, last_term=2),
        "votes for s1, whose log ends at 1 of term 1: its own ends at 1 of term 2",
    ),
    (lambda: gives_its_vote(has_memory=False), "votes for s1, though it lost its log"),
    (
        lambda: falsified(gives_its_vote(), vote=None),
        "votes for s1 in term 2 and keeps no such vote, so it may vote again: vote none",
    ),
    (
        lambda: falsified(gives_its_vote(), effects={"save": HardState(2, None)}),
        "votes for s1 in term 2 and keeps no such vote, so it may vote again: vote s1, on the disk "
        "none",
    ),
    (
        lambda: denies(Denial.VOTED),
        "denies for a vote of term 2, in which it has given none to anybody else",
    ),
    (
        lambda: denies(Denial.BEHIND),
        "denies as not up to date a log that ends at 1 of term 1: its own ends at 1 of term 1",
    ),
    (
        lambda: falsified(
            seen(node_of("s1", voters=("s1",)), Tick(), 200),
            effects={"save": HardState(1, None)},
        ),
        "stands in term 1 without its own vote on the disk",
    ),
    (
        lambda: falsified(
            seen(node_of("s2", 1, term=1, vote="s3"), Receive(append(2, (1, 1)))),
            vote="s3",
        ),
        "takes its vote for s3 of term 1 into term 2",
    ),
    (
        lambda: falsified(
            seen(node_of("s2", 1, term=1, vote="s3"), Receive(append(1, (1, 1)))),
            vote="s1",
        ),
        "takes back its vote for s3 in term 1",
    ),
    (
        lambda: falsified(gives_its_vote(), effects={"send": [reply(True)], "send_after_save": []}),
        "sends its vote before that is on its disk",
    ),
    (
        lambda: falsified(
            takes(),
            effects={"send": [AppendAccepted("s2", "s1", 1, 2, 1)], "send_after_save": []},
        ),
        "acknowledges entry 2 before that is on its disk",
    ),
    (
        lambda: falsified(counts(7), votes={"s1": True, "s2": True}),
        "counts s2's vote of term 7 in its election of term 1",
    ),
    (
        lambda: falsified(counts(), role="leader"),
        "leads term 1 by the votes of s1 s2, 2 of 4: no majority",
    ),
    (
        lambda: replace(takes(term=1), before=takes().before._replace(term=2)),
        "obeys s1, the leader of term 1, in term 2",
    ),
    (lambda: takes(prev_index=4), "accepts entries after entry 4: its own log ends at 1"),
    (
        lambda: takes(prev_term=3),
        "accepts entries after entry 1 of term 3: its own entry 1 is of term 1, so the logs differ",
    ),
    (
        lambda: falsified(
            seen(node_of("s2", 1), Receive(append(1, (1, 1)))),
            effects={"send_after_save": [AppendRejected("s2", "s1", 1, 0, 1)]},
        ),
        "refuses, though its entry 1 is of term 1, too",
    ),
    (
        lambda: falsified(takes(), effects={"send_after_save": []}),
        "does not answer, so its leader never learns that its log ends at 2",
    ),
    (
        lambda: replace(drops(), event=Receive(append(2, (1, 1)))),
        "drops entries 2-3, which nothing in this message contradicts",
    ),
    (
        lambda: replace(drops(), event=Receive(append(2, (1, 1), 1))),
        "drops entries 2-3: entry 2 is of term 1, as the leader's is",
    ),
    (
        lambda: replace(drops(), before=drops().before._replace(commit_index=2)),
        "drops entry 2, which it knows to be committed",
    ),
    (
        lambda: falsified(commits(), effects={"cut_after": 0}),
        "drops entries after 0 of its own log, though it leads",
    ),
    (
        lambda: falsified(
            takes(), effects={"send_after_save": [AppendAccepted("s2", "s1", 1, 9, 1)]}
        ),
        "acknowledges entry 9: this message shows equal logs only up to 2",
    ),
    (
        lambda: falsified(
            commits(),
            followers={
                **commits().after.followers,
                "s2": commits().after.followers["s2"]._replace(match_index=5),
            },
        ),
        "counts s2 for entries up to 5: its answer names entry 1",
    ),
    (
        lambda: replace(commits(), event=Receive(AppendAccepted("s2", "s1", 1, 0, 1))),
        "commits entry 1, held by s1 alone of 3: no majority",
    ),
    (
        lambda: commits(term=0),
        "commits entry 1 of term 0 by counting, leading term 1: an entry of term 1 must commit it",
    ),
    (
        lambda: falsified(commits(), commit_index=0),
        "does not commit entry 1 of its term 1, though s1 s2 hold it, 2 of 3: a majority",
    ),
    (looks_for_a_quorum, "still leads, though of 3 only s1 answered within an election timeout"),
    (
        lambda: falsified(takes(), commit_index=5),
        "treats entry 5 as committed: this message shows equal logs up to 2",
    ),
    (
        lambda: falsified(takes(), commit_index=2),
        "treats entry 2 as committed: the leader has committed 1",
    ),
    (
        lambda: falsified(seen(node_of("s2", 1), Synced(1, 1)), commit_index=1),
        "treats entry 1 as committed without a leader's message",
    ),
    (
        lambda: replace(takes(), before=takes().before._replace(commit_index=3)),
        "commit index falls from 3 to 1",
    ),
    (
        lambda: falsified(takes(), effects={"apply": [Entry(2, 1, "set a 1")]}),
        "applies entry 2: entries up to 0 were handed out before",
    ),
    (
        lambda: falsified(takes(), commit_index=0),
        "applies entry 1: entries up to 0 are committed",
    ),
    (
        lambda: replace(takes(), before=takes().before._replace(applied=3)),
        "goes back: applied was 3, and is 0",
    ),
    (reads, "serves a read at once: no lease holds, and no majority confirmed that it leads"),
    (lambda: reads(3), "serves a read of entry 4: applied is 1"),
    (confirms, "serves reads by round 9, which s1 alone confirmed, 1 of 3: no majority"),
]


@pytest.mark.parametrize(("make", "says"), CASES, ids=[says for _, says in CASES])
def test_step_that_breaks_a_law_claims_nothing_of_it(make: Callable[[], Step], says: str) -> None:
    """A step that breaks a law says so and claims nothing of it."""
    one = make()
    found = [finding for finding in broken(one) if finding.text.startswith(says)]
    assert len(found) == 1, [finding.text for finding in broken(one)]
    assert [found[0].text, found[0].section, found[0].place, True] in [
        list(reason) for reason in judged(one).reasons
    ]
    assert json_of(judged(one))


def test_each_law_is_broken_by_a_case() -> None:
    met = {law.check for make, _ in CASES for law in LAWS if law.check(make())}
    assert [law.check.__name__ for law in LAWS if law.check not in met] == []


def test_what_is_broken_is_justified_by_no_sentence() -> None:
    """The words of bug 5: the leader commits what it alone holds."""
    one = replace(commits(), event=Receive(AppendAccepted("s2", "s1", 1, 0, 1)))
    said = text_of(judged(one))
    assert "commits entry 1, held by s1 alone of 3: no majority (§5.3)" in said
    assert "so it is committed" not in said
    assert "handed to my state machine" not in said
    assert "so I lead" not in text_of(judged(falsified(counts(), role="leader")))
    assert "accepted" not in text_of(judged(takes(prev_term=3)))
    assert "granted" not in text_of(judged(gives_its_vote(term=2, vote="s3")))


@pytest.mark.parametrize(
    "make",
    [gives_its_vote, wins, counts, takes, drops, commits],
    ids=lambda make: make.__name__,
)
def test_a_sound_step_breaks_no_law(make: Callable[[], Step]) -> None:
    assert broken(make()) == []


def test_core_without_reports_has_the_votes_of_its_messages() -> None:
    """A hand-in reports neither. Its picture shows what came to it, and no more."""

    def hidden(facts: Facts) -> Facts:
        return facts._replace(votes={}, followers={})

    node = node_of("s1", 1)
    node.step(Tick(), 200)
    before = with_answers("s1", hidden(facts_of(node.view)), Tick(), hidden(facts_of(node.view)))
    for message in (
        reply(True, pre_vote=True),
        reply(True),
        AppendAccepted("s2", "s1", 2, 2, 1),
    ):
        taken = Receive(message)
        effects = node.step(taken, 200)
        after = with_answers("s1", before, taken, hidden(facts_of(node.view)))
        if isinstance(message, AppendAccepted):
            assert after.followers["s2"][:2] == (2, 3)
            assert after.followers["s3"].match_index == 0
        else:
            assert after.given == (["s1"] if message.pre_vote else ["s1", "s2"])
        assert broken(Step("s1", 1.0, before, taken, effects, after)) == []
        before = after


# --- what others know of a step -------------------------------------------------------------------


def cluster_of(*terms: int) -> Cluster:
    """Return three servers that hold a log of these terms."""
    cluster = Cluster()
    log = log_of(*terms)
    for name in ("s1", "s2", "s3"):
        facts = facts_of(node_of(name, *terms).view)
        assert cluster.started(name, facts, log.entries(1, log.last_index)) == []
    return cluster


def test_entry_held_by_word_alone_is_not_held() -> None:
    """An entry that others hold only by their word is not held."""
    cluster, node = cluster_of(), leader_of("s1")
    assert cluster.stepped(replace(wins(), at_s=0.5)) == []
    one = seen(node, Receive(AppendAccepted("s2", "s1", 1, 1, 1)))
    (found,) = cluster.stepped(one)
    assert found.text == "commits entry 1, held by s1 alone of 3: no majority"
    assert "so it is committed" not in text_of(judged(one, [found]))


def test_two_leaders_and_an_incomplete_leader_are_named() -> None:
    """Two leaders of a term and one without a committed entry are named."""
    cluster = cluster_of(1)
    assert cluster.stepped(seen(node_of("s2", 1), Receive(append(1, (1, 1), commit=1)))) == []
    assert cluster.stepped(wins()) != []  # without entry 1
    second = replace(wins(), name="s3")
    texts = [finding.text for finding in cluster.stepped(second)]
    assert "leads term 1, which s1 leads, too: Election Safety" in texts


def test_another_entry_of_the_same_index_and_term_is_named() -> None:
    cluster = cluster_of(1)
    one = falsified(takes(), effects={"append": [Entry(1, 1, "set x other")]}, commit_index=0)
    assert [finding.text for finding in cluster.stepped(one)] == [
        "entry 1 of term 1 is `set x other` here, and `set x 1.1` at s1: Log Matching"
    ]


def test_another_entry_that_is_taken_for_committed_is_named() -> None:
    cluster = cluster_of(1)
    assert cluster.stepped(seen(node_of("s2", 1), Receive(append(1, (1, 1), commit=1)))) == []
    other = seen(node_of("s3", 2), Receive(append(2, (1, 2), commit=1, to="s3")))
    cluster.started("s3", other.before, log_of(2).entries(1, 1))
    (found,) = cluster.stepped(other)
    assert found.text.endswith("s2 committed `set x 1.1` of term 1 there: State Machine Safety")


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ({"term": 1}, "starts in term 1, though it answered in term 2"),
        ({"term": 2, "vote": None}, "starts without its vote for s1 of term 2"),
        (
            {"term": 2, "vote": "s1", "last_index": 0, "durable_index": 0},
            "starts with a log that ends at 0: entries up to 1 were on its disk",
        ),
        (
            {"term": 2, "vote": "s1", "commit_index": 1},
            "starts with entries up to 1 committed, and no leader said so",
        ),
        ({"term": 2, "vote": "s1"}, ""),
        ({"term": 0, "last_index": 0, "durable_index": 0}, ""),  # its files are gone
    ],
)
def test_start_is_compared_with_what_the_disk_had(start: dict[str, object], says: str) -> None:
    """A start is held against what the disk is known to have had."""
    cluster = cluster_of(1)
    node = candidate_of("s1", 1)
    cluster.stepped(seen(node, Receive(reply(True))))
    facts = facts_of(node_of("s2", 1).view)._replace(**start)  # type: ignore[arg-type]
    found = cluster.started("s2", facts, log_of(1).entries(1, facts.last_index))
    assert [finding.text.startswith(says) for finding in found] == ([True] if says else [])


def test_a_leader_that_the_others_bear_out_breaks_nothing() -> None:
    cluster, node = cluster_of(), candidate_of("s1")
    assert cluster.stepped(seen(node, Receive(reply(True, term=1)))) == []
    taken = append(1, (0, 0), number=1)
    taken = replace(taken, entries=node.view.log.entries(1, 1))
    assert cluster.stepped(seen(node_of("s2"), Receive(taken))) == []
    node.step(Synced(1, 1), 200)
    before = facts_of(node.view)
    effects = acknowledge(node, "s2")
    event = Receive(AppendAccepted("s2", "s1", 1, 1, 1))
    one = Step("s1", 1.0, before, event, effects, facts_of(node.view))
    assert cluster.stepped(one) == []
    assert "is held by s1 s2, 2 of 3: a majority, so it is committed" in text_of(judged(one))
