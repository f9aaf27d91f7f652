"""Twenty misunderstandings about Raft, each with a moment of the lab at which it can be seen, and
what happens next. `questions_page.py` makes docs/learn/questions.html of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .lab import Lab
from .plan import read_plan
from .stories import BY_NAME, STEADY

WRITE = "300ms s1 <- client4@set b 5\n"


class Said(NamedTuple):
    """The reason that a node gave, or the reply that a client got."""

    by: str
    text: str
    section: str  # of the paper or of the thesis; "" for an answer to a client


@dataclass(frozen=True)
class Question:
    """A moment of a run, and the question what happens next."""

    name: str  # in the page's address
    belief: str  # what many say
    question: str
    answer: str
    plan: str
    at_ms: int  # the moment of the question
    until_ms: int  # the answer has been seen by then
    by: str  # the node or the client whose words are the answer
    says: str  # a part of these words

    def lab(self) -> Lab:
        """Return the run at the moment of the question."""
        lab = Lab(read_plan(self.plan))
        lab.run_until(self.at_ms)
        return lab

    def said_in(self, lab: Lab) -> Said | None:
        """Run on until the answer has been seen; return the words in which it is given."""
        lab.facts()  # what was said before does not count
        lab.run_until(self.until_ms)
        facts = lab.facts()
        for event in facts["events"]:
            for text, section, *_ in event.get("why", ()):
                if event["node"] == self.by and self.says in text:
                    return Said(self.by, text, section)
        for line in facts["answers"]:
            if line.startswith(f"{self.by} <- ") and self.says in line:
                return Said(self.by, line.removeprefix(f"{self.by} <- "), "")
        return None


def _plan_of(story: str) -> str:
    return BY_NAME[story].plan


QUESTIONS = (
    Question(
        "majority-of-disks",
        "An entry that is on a majority of disks is committed.",
        "s1 leads term 4. Its entry 2, of term 2, is now on four of five disks. "
        "Will s1 count it as committed?",
        "No. s5 could still win with its entry of term 3 and overwrite it. s1 must first commit an "
        "entry of its own term, which no later leader can lack.",
        _plan_of("figure-8"), 229, 234, "s1", "must commit it",
    ),
    Question(
        "vote-on-disk",
        "A vote is a message: it can be sent at once.",
        "s1 asks for votes; s3 can't hear it, and the disk of s2 hangs. When does s2 answer?",
        "When its disk has the vote. A node that forgets its vote in a crash could vote again in "
        "the same term, and two leaders could win.",
        "before timeouts s1 150 900 s2 9000 s3 9000\nbefore network 10 10\n"
        "0ms hold disk s2\n0ms cut s1 | s3\n400ms release disk s2",
        390, 430, "s1", "so I lead",
    ),
    Question(
        "one-vote",
        "A node votes once.",
        "s3 voted for s1 in term 1, and s1 has crashed. May s3 vote for s2?",
        "Yes, since s2 asks in term 2. A node votes once in each term, so that each term has at "
        "most one leader.",
        f"{STEADY}400ms crash s1", 760, 900, "s3", "granted: I gave no other vote",
    ),
    Question(
        "longer-log",
        "The longest log wins the election.",
        "s1 has four entries, and s2 and s3 have two. s1 asks for votes. Will it get them?",
        "No. The logs of s2 and s3 end with a later term, and that counts first: entry 2 of term "
        "2 may be committed. The length counts only between logs that end with the same term.",
        "before log s1 1 1 1 1\nbefore log s2 1 2\nbefore log s3 1 2\n"
        "before timeouts s1 150 900 s2 400 s3 9000\nbefore network 10 10",
        155, 400, "s2", "denied: log not up to date",
    ),
    Question(
        "split-vote",
        "If all votes are split, the cluster is stuck.",
        "All three stood at the same time, and each voted for itself. What happens next?",
        "Each waits again, for a time that it draws by chance. The one with the shortest time "
        "stands in the next term, and wins.",
        _plan_of("split-vote"), 200, 600, "s1", "so I lead",
    ),
    Question(
        "two-leaders",
        "There is never more than one leader.",
        "s1 and s2 both lead. s1 is cut off, and a client sends it a write. Can s1 commit it?",
        "No. Each term has one leader, but two terms may have one at the same time. Only the one "
        "that reaches a majority can commit, and that is s2.",
        _plan_of("stale-read").replace(
            "1650ms s1 <- reader@get b", "1650ms s1 <- client1@set b 9\n1660ms s2 <- client2@incr n"
        ),
        1655, 1750, "client2", "INCR response: 1",
    ),
    Question(
        "old-leader",
        "A leader that comes back leads again.",
        "s2 leads term 2. s1, the leader of term 1, was cut off and is connected again. "
        "Who gives way?",
        "s1. Each message carries a term, and whoever hears of a later one follows in it.",
        f"{STEADY}300ms cut s1\n1200ms heal", 1190, 1400, "s1", "is newer than mine",
    ),
    Question(
        "new-leader-knows",
        "A new leader knows what is committed.",
        "s1 committed `set b 5`, told its client so, and crashed before it told another node. s2 "
        "leads now and holds the entry. Does s2 know that it is committed?",
        "No. It appends an empty entry of its own term. Once a majority has that one, all entries "
        "before it are committed, too.",
        f"{STEADY}{WRITE}323ms crash s1", 755, 900, "s2", "a majority, so it is committed",
    ),
    Question(
        "uncommitted",
        "What a leader has in its log stays there.",
        "s1 led a minority, and appended `set x two`. s3 leads the majority. The partition is "
        "about to heal. What becomes of this entry?",
        "It is dropped. No majority ever had it, so its client was never told that it is done.",
        _plan_of("partition"), 1290, 1500, "s1", "so I drop",
    ),
    Question(
        "no-answer",
        "A write without an answer was not done.",
        "client4 sent `set b 5` to s1, which crashed before it answered. A client asks the new "
        "leader for b. What does it get?",
        "5. The entry had reached a majority. Without an answer a client can't know: the write "
        "may be done or not.",
        f"{STEADY}{WRITE}315ms crash s1\n1000ms s2 <- reader@get b",
        990, 1200, "reader", "GET response: 5",
    ),
    Question(
        "all-must-answer",
        "A leader waits for all followers.",
        "s3 has crashed. A client sends a write to s1. When is it committed?",
        "As soon as s1 and s2 have it: two of three are a majority. s3 gets it when it is back.",
        f"{STEADY}250ms crash s3\n{WRITE}", 305, 400, "s1", "2 of 3: a majority",
    ),
    Question(
        "two-of-five",
        "The nodes that are left go on.",
        "Three of five nodes have crashed. s1, the leader, and s2 are left. What will s1 do?",
        "It steps down. Two of five can commit nothing, and the other three may come back with a "
        "leader of their own.",
        "nodes s1 s2 s3 s4 s5\nbefore timeouts s1 150 s2 400 s3 500 s4 500 s5 500\n"
        "before network 10 10\n300ms crash s3\n300ms crash s4\n300ms crash s5",
        320, 700, "s1", "no majority, so I give up",
    ),
    Question(
        "four-nodes",
        "Four nodes survive more than three.",
        "The network cuts s1 and s2 off from s3 and s4. Which half can commit a write?",
        "Neither: a majority of four is three. Four nodes survive the loss of one, as three do.",
        "nodes s1 s2 s3 s4\nbefore timeouts s1 150 s2 400 s3 500 s4 600\nbefore network 10 10\n"
        "300ms cut s1 s2 | s3 s4", 320, 700, "s1", "no majority, so I give up",
    ),
    Question(
        "apply",
        "A follower applies an entry once it is on its disk.",
        "s2 has `set b 5` on its disk. When does it apply it?",
        "When its leader says that it is committed. Until then, another leader could replace it.",
        f"{STEADY}{WRITE}", 315, 400, "s2", "the leader says that entries up to 2 are committed",
    ),
    Question(
        "own-disk",
        "The leader's own disk must have an entry first.",
        "The disk of s1, the leader, hangs. s2 and s3 have the entry. Can s1 commit it?",
        "Yes. Any majority counts: s2 and s3 are two of three. s1 counts itself only when its own "
        "disk has the entry.",
        f"{STEADY}290ms hold disk s1\n{WRITE}", 315, 340, "s1", "is held by s2 s3, 2 of 3",
    ),
    Question(
        "stale-read",
        "A leader may answer a read from its memory.",
        "s1 believes that it leads, and holds b = 1. A client asks it for b. What does s1 do?",
        "First it sends a round of heartbeats, and waits until a majority has answered. Here none "
        "will: s2 leads by now, and b is 2.",
        _plan_of("stale-read"), 1645, 1700, "s1", "a round of heartbeats confirms first",
    ),
    Question(
        "prevote",
        "A node that was cut off comes back with a high term, and disturbs the leader.",
        "s3 was cut off for 2.7 s, and its election timer ran out again and again. In which term "
        "does it come back?",
        "In term 1. In the paper's Raft it is as many say. With PreVote (thesis §9.6) it only "
        "asked whether it could win, and raises its term only when a majority says yes.",
        _plan_of("prevote"), 2990, 3300, "s3", "so my election timer restarts",
    ),
    Question(
        "lost-log",
        "A node that lost its disk is as good as a new one.",
        "s3 acknowledged `set b 5` and lost its log. s1 has crashed, and s2 asks s3 for its vote. "
        "Does it get it?",
        "No. s3 can't know what it acknowledged. If such votes counted, a leader without a "
        "committed entry could be elected.",
        f"{STEADY}{WRITE}400ms crash s1\n401ms lose log s3", 750, 1000, "s3", "denied",
    ),
    Question(
        "retry",
        "A write that is sent twice is done twice.",
        "client4 has added 1 to n, and n is 1. It sends the same request again, with the same "
        "number, as after a lost answer. What is n then?",
        "1. The state machine remembers the number of each client's last request, and only repeats "
        "its answer.",
        f"{STEADY}300ms s1 <- client4@session\n400ms s1 <- client4#2@incr n\n"
        "500ms s1 <- client4#2@incr n", 490, 600, "client4", "INCR response: 1",
    ),
    Question(
        "new-member",
        "A new member counts at once.",
        "s4 is added to s1, s2 and s3, and has caught up. Is a majority of the new four enough?",
        "Not yet. Until the change is committed, a majority of the old three and a majority of the "
        "new four must agree, so that the two can never decide apart.",
        _plan_of("members"), 366, 400, "s1", "the configuration is joint",
    ),
)  # fmt: skip
