"""Level 2, votes: which candidates get votes, and which one leads."""

from __future__ import annotations

from raftline.raft.messages import AppendEntries, Message, RequestVote, RequestVoteReply
from raftline_course.conform.checks.checks import check
from raftline_course.conform.played.rules import denier, grant, pre_voter, voter
from raftline_course.conform.played.wires import silent
from raftline_course.conform.scene import Scene

FIGURE_2 = "Raft §5.2, Figure 2"
ELECTIONS = 3


def is_vote(message: Message) -> bool:
    """Return whether it requests a vote, and not a PreVote."""
    return isinstance(message, RequestVote) and not message.pre_vote


def never_led(scene: Scene, term: int, since: int, why: str) -> None:
    """Wait until the node stands again, and fail if it led. An election may be over before its
    answers come, on a slow machine, so some more are judged."""
    for lost in range(term, term + ELECTIONS):
        scene.await_message(
            RequestVote,
            f"s1 does not stand again after term {lost}, which it did not win",
            lambda message, lost=lost: message.term > lost,  # type: ignore[misc]
            since,
        )
        led = [append.term for append in scene.messages(AppendEntries) if append.term >= term]
        scene.expect(not led, f"s1 leads term {min(led, default=0)} {why}")


@check(2, "pre-vote", "A PreVote changes neither the term nor the vote.", "thesis §9.6")
def pre_vote(scene: Scene) -> None:
    scene.start()
    reply = scene.asked(RequestVoteReply, "s2", "PreVote 5-0-0")
    scene.expect(reply.granted and reply.pre_vote and reply.term == 5, "no PreVote for term 5")
    scene.granted("s3", 1)
    scene.denied("s2", 1, why=", in which it voted for s3")


@check(2, "one-vote", "A server votes for at most one candidate in a term.", FIGURE_2)
def one_vote(scene: Scene) -> None:
    with_log(scene)  # a newborn of raftline denies the second vote by another rule
    scene.granted("s2", 9, (3, 2))
    reply = scene.denied("s3", 9, (3, 2), ", in which it voted for s2")
    scene.expect(reply.term == 9, f"the denial names term {reply.term}")


@check(2, "same-vote-again", "A candidate that asks again gets the same vote.", FIGURE_2)
def same_vote_again(scene: Scene) -> None:
    scene.start()
    scene.granted("s2", 1)
    scene.denied("s3", 1)
    scene.granted("s2", 1)


@check(2, "free-in-a-new-term", "The vote is free again in a new term.", FIGURE_2)
def free_in_a_new_term(scene: Scene) -> None:
    scene.start()
    scene.granted("s2", 1)
    scene.granted("s3", 2)
    scene.denied("s2", 2, why=", in which it voted for s3")


@check(2, "term-heard-of", "A term that is heard of is taken, without a vote in it.", FIGURE_2)
def term_heard_of(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1")])
    # Term 4 has another leader, so the node hasn't voted in it.
    scene.append("s3", 4, (1, 1))
    reply = scene.denied("s2", 3, (1, 1), ", an earlier one than its own, 4")
    scene.expect(reply.term == 4, f"the denial names term {reply.term}, not 4")


@check(2, "earlier-term", "A candidate of an earlier term is denied, and gets the term.", FIGURE_2)
def earlier_term(scene: Scene) -> None:
    scene.start()
    scene.granted("s2", 7)
    reply = scene.denied("s3", 6, why=", after term 7")
    scene.expect(reply.term == 7, f"the denial names term {reply.term}, not 7")


def with_log(scene: Scene) -> None:
    """Give the node entries of the terms 1, 1 and 2, and a leader that is silent afterwards."""
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1"), (1, "set a 2")])
    scene.append("s3", 2, (2, 1), [(2, "set a 3")])
    scene.restart()  # so it has heard no leader recently


@check(
    2,
    "later-last-term",
    "A log that ends in a later term is the better one, however short.",
    "Raft §5.4.1",
)
def later_last_term(scene: Scene) -> None:
    with_log(scene)
    scene.denied("s2", 9, (8, 1), " with a longer log, which ends in an earlier term")
    scene.granted("s3", 10, (1, 3))


@check(
    2,
    "longer-log",
    "Of logs that end in the same term the longer is the better one.",
    "Raft §5.4.1",
)
def longer_log(scene: Scene) -> None:
    with_log(scene)
    scene.denied("s2", 9, (2, 2), " with a shorter log")
    scene.granted("s3", 10, (3, 2))


@check(2, "majority-of-three", "One vote of two others makes a leader of three.", FIGURE_2)
def majority_of_three(scene: Scene) -> None:
    scene.follow()
    scene.all_do(denier)
    scene.peers["s3"].rule = voter
    term = scene.await_leader(scene.let_stand("s2", 1))
    scene.expect(term > 1, f"it leads term {term}")


@check(2, "majority-of-four", "Two votes of four make no leader; three do.", FIGURE_2, size=4)
def majority_of_four(scene: Scene) -> None:
    scene.follow()
    scene.all_do(denier)
    scene.peers["s3"].rule = voter
    mark = scene.let_stand("s2", 1)
    asked = scene.await_candidate(mark)
    never_led(scene, asked.term, mark, "with two votes of four")
    scene.all_do(voter)
    scene.await_leader(mark)


@check(2, "votes-by-name", "A vote that comes twice counts once.", FIGURE_2, size=5)
def votes_by_name(scene: Scene) -> None:
    scene.follow()
    scene.all_do(denier)
    twice = scene.peers["s3"]

    def twice_over(message: Message) -> str | None:
        if not isinstance(message, RequestVote):
            return None
        return grant(message) + (f"\ns3@{grant(message)}" * 2 if is_vote(message) else "")

    twice.rule = twice_over
    mark = scene.let_stand("s2", 1)
    asked = scene.await_candidate(mark)
    never_led(scene, asked.term, mark, "with two votes of five, one of which came three times")


@check(2, "late-vote", "A vote counts for the term that it names.", FIGURE_2)
def late_vote(scene: Scene) -> None:
    scene.follow()
    scene.all_do(pre_voter)
    mark = scene.let_stand("s2", 1)
    first = scene.await_candidate(mark)
    second = scene.await_candidate(mark, first.term)
    for name in scene.peers:
        scene.answer_late(
            name,
            mark,
            lambda message: is_vote(message) and message.term == second.term,
            f"Count on me term {first.term}",
        )
    never_led(scene, second.term, mark, f"with votes of term {first.term}")


@check(2, "yields-to-a-leader", "A candidate follows the leader of its own term.", "Raft §5.2")
def yields_to_a_leader(scene: Scene) -> None:
    scene.follow()
    scene.all_do(pre_voter)
    asked = scene.await_candidate(scene.let_stand("s2", 1))
    scene.append("s3", asked.term, (0, 0), [(asked.term, "set a 1")])
    scene.transcript.is_calm = True
    does = scene.client().ask("set a 2")
    scene.expect(
        does.startswith("Sorry, I am not the leader"),
        f"s3 leads term {asked.term}, and s1, which stood in it, answers a write {does!r}",
    )


@check(2, "yields-to-a-term", "A candidate that hears of a later term takes it.", "Raft §5.1")
def yields_to_a_term(scene: Scene) -> None:
    scene.follow()
    scene.all_do(pre_voter)
    mark = scene.let_stand("s2", 1)
    asked = scene.await_candidate(mark)
    scene.answer_late(
        "s3", mark, is_vote, f"Not this time term {asked.term + 7} old-term: my term is later"
    )
    scene.await_candidate(mark, asked.term + 7)


@check(2, "stands-alone", "A server that hears nobody asks for votes again and again.", "Raft §5.2")
def stands_alone(scene: Scene) -> None:
    scene.start(silent)
    first = scene.await_message(RequestVote, "s1 hears nobody, and never asks for a vote")
    scene.await_line(
        lambda line: isinstance(line.message, RequestVote) and line.at_s > 0,
        "it asks once, and never again",
        scene.transcript.end,
    )
    scene.expect((first.last_index, first.last_term) == (0, 0), "it has an empty log")
