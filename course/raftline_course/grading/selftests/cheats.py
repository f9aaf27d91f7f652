"""Hand-ins that would get points without the rule: test cases for the grader itself.

Each is the evening's copy, which is the model solution of the first ten milestones, with some lines
changed. A cheat leaves out a rule, and compensates with knowledge that no server has: the public
transcripts, the other servers, a memory that outlives a crash. A mistake is one that students often
make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labs.solutions.model import evenings_copy, model

TEN = 10  # milestones; the evening's copy lacks the last two
Edit = tuple[str, str]  # these lines, and their replacement


@dataclass(frozen=True)
class Cheat:
    """A hand-in that must lose points in one milestone, only by its schedules. As a node it fails
    this check of the kit; "": the kit has none."""

    name: str
    milestone: int
    edits: tuple[Edit, ...]
    check: str = ""

    def files(self) -> Mapping[str, str]:
        """Return its files.

        Raises:
            LookupError: the model solution has changed, so an edit doesn't fit.
        """
        return edited(evenings_copy(), self.name, self.edits)


def edited(files: Mapping[str, str], name: str, edits: Sequence[Edit]) -> Mapping[str, str]:
    """Return these files with these edits.

    Raises:
        LookupError: the model solution has changed, so an edit doesn't fit.
    """
    results = dict(files)
    for old, new in edits:
        places = [path for path, text in results.items() for _ in range(text.count(old))]
        if len(places) != 1:
            raise LookupError(f"{name}: {old!r} is {len(places)} times in the model")
        results[places[0]] = results[places[0]].replace(old, new)
    return results


_OWN_TERM = "if index > self.commit_index and self.log.term_at(index) == self.term:"
_ALL = ("class Node:\n", "ALL: dict = {}\nVOTES: dict = {}\n\n\nclass Node:\n")
_BEGUN = "        self.now_ms, self.out = now_ms, Effects()\n        self.restart_timer()\n"
_KNOWN = (_BEGUN, f"{_BEGUN}        ALL[self.name] = self\n")
_BETTER_LOG = "        if theirs < own:"
_CUTS_ALWAYS = (
    "        for entry in sent.entries:\n            term = log.term_at",
    "        if log.last_index > prev:\n            self.cut_after(prev)\n"
    "        for entry in sent.entries:\n            term = log.term_at",
)
_KEPT_BY_THE_CUT = ("        self.durable_index = min(self.durable_index, index)\n", "")
_LEADS_ON = (
    "            self.check_quorum()\n",
    "            self.quorum_at_ms = self.now_ms + 500\n",
)
_DRAWN = "self._pick_timeout_ms()\n"
_VOTE_RESETS = "            self.restart_timer()  # Figure 2, Followers 2: granting a vote\n"
_NEVER_WAITS = (
    "        self.restart_timer()  # Figure 2, Followers 2: hearing the leader\n",
    "",
)
_IS_LATE = (
    "if follower is None or answer.term != self.term or not self.hear_life(follower, answer):"
)

CHEATS = (
    Cheat(
        "a constant knows the transcript of Figure 8", 7,
        ((_OWN_TERM, "if index > self.commit_index and "
          "(index, self.log.last_index, self.term) != (2, 3, 3):"),),
    ),
    Cheat(
        "a constant knows the shape of Figure 8", 7,
        ((_OWN_TERM, "if index > self.commit_index and self.log.last_index - index != 1:"),),
    ),
    Cheat(
        "a read asks the other servers' memory", 9,
        (
            _ALL,
            _KNOWN,
            (
                "            self.new_reads += taken.tokens\n",
                "            newest = max(ALL.values(), key=lambda one: one.term)\n"
                "            if newest is self or newest.role != 'leader':\n"
                "                self.out.reads += [ReadReady(one, self.last_applied) "
                "for one in taken.tokens]\n"
                "            else:\n"
                "                self.out.refused += taken.tokens\n",
            ),
        ),
    ),
    Cheat(
        "a commit asks the other servers' memory", 4,
        (
            _ALL,
            _KNOWN,
            (
                "self.reached_by_majority(self.durable_index, lambda one: one.match_index)",
                "sorted(one.durable_index for one in ALL.values())[(len(ALL) - 1) // 2]",
            ),
        ),
    ),
    Cheat(
        "a vote is kept in memory that outlives a crash", 3,
        (
            _ALL,
            (
                _BEGUN,
                f"{_BEGUN}        self.term, self.vote = VOTES.get(self.name, (self.term, "
                "self.vote))\n",
            ),
            (
                "        self.out.save = HardState(term, vote)\n",
                "        VOTES[self.name] = (term, vote)\n",
            ),
        ),
    ),
)  # fmt: skip

MISTAKES = (
    Cheat("the election timer is never reset", 2, (_NEVER_WAITS,)),
    Cheat(
        "any message resets the election timer", 2,
        (("        kind = type(message).__name__\n",
          "        kind = type(message).__name__\n        self.restart_timer()\n"),),
    ),
    Cheat("a vote does not reset the election timer", 2, ((_VOTE_RESETS, ""),)),
    Cheat(
        "a denied vote resets the election timer", 3,
        ((_VOTE_RESETS, _VOTE_RESETS.removeprefix("    ")),),
    ),
    Cheat("each election timeout is 200 ms", 2, ((_DRAWN, "200\n"),)),
    Cheat(
        "each election timeout is `election_timeout_ms`", 2,
        ((_DRAWN, "self.options.election_timeout_ms\n"),),
    ),
    Cheat(
        "an election timeout is drawn once, and kept", 2,
        ((_DRAWN, "vars(self).setdefault('_drawn', self._pick_timeout_ms())\n"),),
    ),
    Cheat(
        "a leader sends no heartbeat", 2,
        (("            self.send_to_all()  # Figure 2, Leaders 1: heartbeats\n",
          "            self.heartbeat_at_ms = self.now_ms + 1000\n"),),
    ),
    Cheat(
        "a leader sends heartbeats all the time", 2,
        (("self.now_ms + self.options.heartbeat_ms", "self.now_ms + 1"),),
    ),
    Cheat(
        "a leader counts the voters of one message twice", 2,
        (
            ('"candidate", None, {self.name}\n', '"candidate", None, [self.name]\n'),
            ("            self.votes.add(answer.sender)\n",
             "            self.votes.append(answer.sender)\n"),
        ),
        "votes-by-name",
    ),
    Cheat(
        "the longer log wins", 3,
        ((_BETTER_LOG, "        if asked.last_index < self.log.last_index:"),),
        "later-last-term",
    ),
    Cheat("a leader counts its disk for an entry that was cut", 5, (_KEPT_BY_THE_CUT,)),
    Cheat("the log is cut at each message", 6, (_CUTS_ALWAYS,), "no-cut-without-conflict"),
    Cheat(
        "an earlier term's entry is committed by counting", 7,
        ((_OWN_TERM, "if index > self.commit_index:"),),
        "own-term-alone",
    ),
    Cheat(
        "a follower commits all that it holds", 6,
        (("min(sent.commit_index, match_index))", "min(sent.commit_index, log.last_index))"),),
        "commit-what-matched",
    ),
    Cheat(
        "answers of an earlier term count", 6,
        ((_IS_LATE, "if follower is None or not self.hear_life(follower, answer):"),),
    ),
    Cheat(
        "an answer to an earlier round confirms a read", 9,
        (("self.log.term_at(self.commit_index) == self.term:\n            self.send_to_all()\n",
          "self.log.term_at(self.commit_index) == self.term:\n"),),
        "confirmed-afterwards",
    ),
    Cheat(
        "a new leader serves reads before it has committed an entry", 9,
        (("if self.new_reads and self.log.term_at(self.commit_index) == self.term:",
          "if self.new_reads:"),),
        "first-read",
    ),
    Cheat(
        "a vote is not saved", 3,
        (("self.save(self.term, asked.sender)", "self.vote = asked.sender"),),
        "vote-kept",
    ),
    Cheat(
        "the vote of an earlier term is kept", 2,
        (("            self.save(term, None)", "            self.save(term, self.vote)"),),
        "free-in-a-new-term",
    ),
    Cheat(
        "half of the votes are a majority", 2,
        (("return 2 * len(names) > ", "return 2 * len(names) >= "),),
        "majority-of-four",
    ),
    Cheat(
        "a candidate does not follow the leader of its term", 4,
        (("        self.follow(sent.term, sent.sender)  # Figure 2, Candidates 3",
          "        if self.role == 'candidate':\n            return\n"
          "        self.follow(sent.term, sent.sender)"),),
        "yields-to-a-leader",
    ),
    Cheat(  # a small server hides it: it writes before it answers
        "a leader counts an entry before its own disk has it", 1,
        (("self.reached_by_majority(self.durable_index, ",
          "self.reached_by_majority(self.log.last_index, "),),
    ),
    Cheat(
        "any answer counts for the whole log", 4,
        (("        index = min(answer.index, self.log.last_index)\n",
          "        index = self.log.last_index\n"),),
        "answers-name-an-index",
    ),
    Cheat(
        "the term of the entry before is not compared", 5,
        (("log.term_at(prev) != sent.prev_term:", "log.term_at(prev) is None:"),),
        "other-term-before",
    ),
    Cheat(
        "a conflicting entry stays", 5,
        (("                self.cut_after(entry.index - 1)\n", "                continue\n"),),
        "conflict",
    ),
    Cheat(
        "a leader does not go back in a follower's log", 5,
        (("            follower.next_index = answer.index + 1  # Figure 2",
          "            pass  # Figure 2"),),
        "backs-up",
    ),
    Cheat(
        "a leader of an earlier term is followed", 6,
        (("        if sent.term < self.term:  # Figure 2, AppendEntries",
          "        if False:  # Figure 2, AppendEntries"),),
        "earlier-leader",
    ),
    Cheat(
        "a retry is executed again", 9,
        (("        if head not in self._replies:\n", "        if True:\n"),),
        "retry",
    ),
    Cheat("a leader without a majority leads on", 10, (_LEADS_ON,), "quorum-checked"),
    Cheat(
        "a leader does not count itself among those that answer", 10,
        (("self.reached_by_majority(self.now_ms, ", "self.reached_by_majority(0, "),),
    ),
)  # fmt: skip

# The parts that the model solution lacks before the rules of a milestone are written.
UNWRITTEN: Mapping[int, tuple[Edit, ...]] = {
    2: (("        kind = type(message).__name__\n", "        kind = ''\n        return\n"),),
    3: ((_BETTER_LOG, "        if False:"),),
    4: (("        self.hear_leader(sent)\n", "        self.hear_leader(sent)\n        return\n"),),
    5: (
        ("log.term_at(prev) != sent.prev_term:", "log.term_at(prev) is None:"),
        ("                self.cut_after(entry.index - 1)\n", "                continue\n"),
    ),
    6: (_CUTS_ALWAYS,),
    7: ((_OWN_TERM, "if index > self.commit_index:"),),
    8: (
        ("        if self.is_lost:", "        if False:"),
        ("return not self.is_lost and self.name", "return self.name"),
        ("            follower.match_index = min(follower.match_index, answer.index)"
         "  # never too careful\n", ""),
    ),
    9: (("            self.new_reads += taken.tokens\n",
         "            self.out.refused += taken.tokens\n"),),
    10: (_LEADS_ON,),
}  # fmt: skip
NO_CHANGES: tuple[Edit, ...] = (
    ("            planned = plan(taken.change, self.members)\n",
     "            raise ChangeRefused('not written')\n"),
)  # fmt: skip


def cut_down(number: int) -> Mapping[str, str]:
    """Return the model solution with only the rules of the milestones up to this one."""
    if number > TEN:
        return edited(model(), f"milestone {number}", NO_CHANGES if number == TEN + 1 else ())
    edits: list[Edit] = []
    for milestone, unwritten in UNWRITTEN.items():
        is_cut_anyhow = milestone == 6 and number < 5  # nothing is cut before milestone 5
        if milestone > number and not is_cut_anyhow:
            edits += unwritten
    return edited(evenings_copy(), f"milestone {number}", edits)
