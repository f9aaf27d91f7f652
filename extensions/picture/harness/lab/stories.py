"""The stories of the lab: a plan, three sentences, and a question that the world answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raftline.raft.node_view import NodeView

from .lab import Lab
from .plan import Plan, PlanError, read_plan

STEADY = "before timeouts s1 150 s2 400 s3 500\nbefore network 10 10\n"
FIVE = "nodes s1 s2 s3 s4 s5\n"


@dataclass(frozen=True)
class Story:
    """A run with a question about its end."""

    name: str  # in an address
    title: str
    section: str  # of the paper, or of the thesis
    plan: str
    sentences: tuple[str, str, str]
    question: str
    choices: Sequence[str]
    end_ms: int
    answer_of: Callable[[Lab], str]  # reads the answer from the lab at `end_ms`
    because: str  # the reason of the right answer, in the plan's own run
    begin_ms: int = 0  # where the story opens

    def read_plan(self) -> Plan:
        """Return the plan."""
        return read_plan(self.plan)

    def as_shown(self) -> dict[str, object]:
        """Return what the page shows."""
        return {
            "name": self.name,
            "title": self.title,
            "section": self.section,
            "sentences": list(self.sentences),
            "question": self.question,
            "choices": list(self.choices),
            "begin_ms": self.begin_ms,
            "end_ms": self.end_ms,
            "because": self.because,
        }

    def answer(self, lab: Lab) -> str:
        """Run a lab at its beginning to the story's end, and return the answer.

        Raises:
            PlanError: the acts of a reader have left no answer, or none of the choices.
        """
        lab.run_until(self.end_ms)
        if lab.broken:
            raise PlanError(f"a rule is broken before {self.end_ms} ms, so there is no answer")
        answer = self.answer_of(lab)
        if answer not in self.choices:
            raise PlanError(f"none of these is right in your own run at {self.end_ms} ms: {answer}")
        return answer


def _term(name: str) -> Callable[[Lab], str]:
    return lambda lab: str(_view(lab, name).term)


def _value(name: str, key: str) -> Callable[[Lab], str]:
    def value_of(lab: Lab) -> str:
        _view(lab, name)
        said = lab.cluster.hosts[name].manager.read([f"get {key}"])[0]
        return said.removeprefix("GET response: ")

    return value_of


def _term_of_entry(name: str, index: int) -> Callable[[Lab], str]:
    return lambda lab: str(_view(lab, name).log.term_at(index) or "none")


def _first_led_term(lab: Lab) -> str:
    return str(min(lab.cluster.invariants.leaders, default="nobody has led"))


def _leader_at_the_end(lab: Lab) -> str:
    views = [host.node.view for host in lab.cluster.hosts.values() if host.node is not None]
    leaders = {view.term: view.name for view in views if view.is_leader}
    return leaders[max(leaders)] if leaders else "nobody leads"


def _majority_of_voters(lab: Lab) -> str:
    return str(len(_view(lab, "s1").membership.voters) // 2 + 1)


def _may_vote(name: str) -> Callable[[Lab], str]:
    return lambda lab: "no" if _view(lab, name).recovering else "yes"


def _last_reply(client: str) -> Callable[[Lab], str]:
    """Return what the last answer to this client says: a value, or that there is none."""

    def reply_of(lab: Lab) -> str:
        replies = [text for _, text in lab.cluster.world.said if text.startswith(f"{client} <- ")]
        value = re.search(r"@GET response: (.*)", replies[-1]) if replies else None
        return f"the value {value[1]}" if value else "no value"

    return reply_of


def _view(lab: Lab, name: str) -> NodeView:
    host = lab.cluster.hosts[name]
    if host.node is None:
        raise PlanError(f"{name} is down at the end of your own run, so there is no answer")
    return host.node.view


STORIES = (
    Story(
        "election", "An election", "§5.2", STEADY,
        (
            "Three nodes start, and nobody leads.",
            "Each waits for a time of its own, and s1 waits for the shortest time.",
            "It asks whether it could win, then for votes, and leads with two of three.",
        ),
        "s3 never stood for election. In which term is it at 400 ms?", ("0", "1", "2"),
        400, _term("s3"), "s3 took the term from the request of s1 for its vote.",
    ),
    Story(
        "split-vote", "A split vote", "§5.2",
        "before timeouts s1 150 220 s2 150 300 s3 150 380\nbefore network 10 10",
        (
            "All three election timeouts end at 150 ms.",
            "Each node votes for itself, so that nobody has two votes.",
            "Each draws another timeout, and the shortest one breaks the tie.",
        ),
        "In which term is the first leader elected?", ("1", "2", "3"), 1000, _first_led_term,
        "In term 1, each of the three votes was given to another candidate.",
    ),
    Story(
        "crash", "The leader crashes", "§5.2, §5.3",
        f"{STEADY}300ms s1 <- client4@set b 5\n400ms crash s1\n1200ms restart s1",
        (
            "s1 leads, commits a write, and crashes at 400 ms.",
            "s2 hears nothing more, stands for election, and wins with the vote of s3.",
            "s1 comes back at 1200 ms with the files that it left.",
        ),
        "Who leads at 1800 ms?", ("s1", "s2", "s3"), 1800, _leader_at_the_end,
        "s1 came back in term 1, heard of term 2 from s2, and follows it.", 299,
    ),
    Story(
        "figure-7", "Figure 7", "§5.3",
        "nodes s1 s2 s3 s4 s5 s6 s7\n"
        "before log s1 1 1 1 4 4 5 5 6 6 6\n"
        "before log s2 1 1 1 4 4 5 5 6 6\n"
        "before log s3 1 1 1 4\n"
        "before log s4 1 1 1 4 4 5 5 6 6 6 6\n"
        "before log s5 1 1 1 4 4 5 5 6 6 6 7 7\n"
        "before log s6 1 1 1 4 4 4 4\n"
        "before log s7 1 1 1 2 2 2 3 3 3 3 3\n"
        "before state s1 7\n"
        "before timeouts s1 150 s2 900 s3 900 s4 900 s5 900 s6 900 s7 900\n"
        "before network 10 10",
        (
            "s1 wins term 8; s2 to s7 hold the logs (a) to (f) of the figure.",
            "A follower that lacks the entry before the sent ones refuses, and s1 goes back.",
            "Where they agree, the follower drops what differs, and takes the entries of s1.",
        ),
        "s5 holds two entries of term 7. Entry 11 of which term does it hold at 800 ms?",
        ("6", "7", "8"), 800, _term_of_entry("s5", 11),
        "s5 dropped both, and entry 11 is the noop with which s1 began term 8.", 194,
    ),
    Story(
        "figure-8", "Figure 8", "§5.4.2",
        f"{FIVE}"
        "before log s1 1 2\nbefore log s2 1 2\nbefore log s3 1\nbefore log s4 1\n"
        "before log s5 1 3\n"
        "before state s1 3\nbefore state s2 3\nbefore state s3 3 s5\nbefore state s4 3 s5\n"
        "before state s5 3 s5\n"
        "before timeouts s1 150 900 s2 9000 s3 9000 s4 9000 s5 400\n"
        "before network 10 10\nbefore batch 1\n"
        "0ms cut s1 | s5\n0ms cut s1 | s2\n225ms cut s1 -> s3 s4\n235ms crash s1\n240ms heal\n"
        "1500ms restart s1",
        (
            "At moment (c), s1 has won term 4 and sends its entry 2 of term 2 to s3 and s4.",
            "Four of five disks hold it, but s1 may not count it: it is of an earlier term.",
            "s5 has an entry 2 of term 3, which is later than term 2, so it can win.",
        ),
        "Entry 2 of which term does s3 hold in the end?", ("2", "3", "none"),
        2500, _term_of_entry("s3", 2),
        "s5 won with the later last term, and s3 took its entry 2 in place of that of term 2.",
        219,
    ),
    Story(
        "partition", "A partition that heals", "§5.4.1",
        f"{FIVE}before timeouts s1 150 s2 900 s3 400 s4 900 s5 900\nbefore network 10 10\n"
        "300ms s1 <- client1@set x one\n"
        "400ms cut s1 s2 | s3 s4 s5\n410ms s1 <- client1@set x two\n"
        "1100ms s3 <- client3@set x three\n1300ms heal",
        (
            "The network cuts s1, which leads, and s2 off from the other three.",
            "s1 appends a write that it can't commit; s3 is elected and commits another one.",
            "The partition heals at 1300 ms.",
        ),
        "Which value does x have at s1 at 2000 ms?", ("one", "two", "three"),
        2000, _value("s1", "x"),
        "s1 dropped its write, which no majority held, and took the log of s3.", 299,
    ),
    Story(
        "lost-log", "A lost log", "Figure 2",
        f"{STEADY}300ms s1 <- client4@set b 5\n400ms cut s3\n410ms lose log s3",
        (
            "s3 acknowledged an entry that is committed.",
            "It is cut off, its log is lost, and it starts again.",
            "It can't know what it acknowledged before.",
        ),
        "May s3 vote at 800 ms, while it is cut off?", ("yes", "no"), 800, _may_vote("s3"),
        "It may have forgotten what it acknowledged, so it must first catch up with a leader.",
        299,
    ),
    Story(
        "transfer", "A transfer of the leadership", "thesis §3.10",
        f"{STEADY}300ms s1 hands over to s3",
        (
            "s1 leads, and is asked to hand over to s3.",
            "It waits until s3 holds its whole log, and tells s3 to stand at once.",
            "No election timeout has to pass.",
        ),
        "In which term does s3 lead?", ("1", "2", "3"), 600, _term("s3"),
        "s3 stood in the term after that of s1, and won it at once.", 299,
    ),
    Story(
        "members", "A change of the members", "§6",
        f"{STEADY}300ms join s4\n310ms s1 <- admin@add s4",
        (
            "s4 starts without a member list, and s1 is asked to add it.",
            "s4 is a learner at first: it gets the log, and counts in no majority.",
            "Then a joint configuration makes it a voter: both the old majority and the new agree.",
        ),
        "How many voters are a majority at 2000 ms?", ("2", "3", "4"), 2000, _majority_of_voters,
        "s4 votes now, and more than half of four is three.", 299,
    ),
    Story(
        "stale-read", "A stale read that ReadIndex prevents", "§8",
        "before timeouts s1 40 900 s2 400 s3 900\nbefore clock s1 20\nbefore network 10 10\n"
        "300ms s1 <- client1@set b 1\n1000ms cut s1\n"
        "1600ms s2 <- client2@set b 2\n1650ms s1 <- reader@get b",
        (
            "The clock of s1 runs at a fifth of the true pace, so that it steps down late.",
            "While s1 is cut off and believes that it leads, s2 is elected and sets b to 2.",
            "Then a client asks s1, which holds b = 1, for b.",
        ),
        "What does the client get from s1 by 2200 ms?",
        ("the value 1", "the value 2", "no value"), 2200, _last_reply("reader"),
        "s1 answers only when a majority has confirmed that it leads, and none can.", 299,
    ),
    Story(
        "prevote", "PreVote", "thesis §9.6",
        f"{STEADY}300ms cut s3\n3000ms heal",
        (
            "s3 is cut off, and its election timeout ends again and again.",
            "It only asks whether it could win, and nobody answers.",
            "So it does not raise its term, and disturbs nobody when it comes back.",
        ),
        "In which term is s3 at 3500 ms?", ("1", "2", "7"), 3500, _term("s3"),
        "No PreVote raised a term, so s3 came back in term 1 and follows s1.", 299,
    ),
    Story(
        "lease", "A read by a lease", "thesis §6.4.1",
        f"{STEADY}before leases\n300ms s1 <- client4@set b 5\n500ms cut s1\n"
        "502ms s1 <- reader@get b read lease",
        (
            "Each follower promises in its answers to elect nobody else for a while.",
            "s1 is cut off at 500 ms, and is asked for b right after that.",
            "No message can confirm that it still leads.",
        ),
        "What does the reader get from s1?", ("the value 5", "no value"),
        800, _last_reply("reader"),
        "The promises of its followers still held, so nobody else could lead, and s1 answered.",
        299,
    ),
)  # fmt: skip
BY_NAME = {story.name: story for story in STORIES}
