"""Hand-ins that would get points without the rule: test cases for the grader itself.

Each is the model solution with some lines changed. A cheat leaves out a rule, and compensates with
knowledge that no server has: the public transcripts, the other servers, a memory that outlives a
crash. A mistake is one that students often make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raftline_course.grading.handin import read
from raftline_course.grading.milestones import SOLUTION

Edit = tuple[str, str]  # these lines, and their replacement


@dataclass(frozen=True)
class Cheat:
    """A hand-in that must lose points in one milestone, only by its schedules."""

    name: str
    milestone: int
    edits: tuple[Edit, ...]
    after: str = ""  # more lines at the end of raft.py

    def files(self) -> Mapping[str, str]:
        """Return its files.

        Raises:
            LookupError: the model solution has changed, so an edit doesn't fit.
        """
        files = edited(self.name, self.edits)
        return {**files, "raft.py": files["raft.py"] + self.after}


def edited(name: str, edits: Sequence[Edit]) -> Mapping[str, str]:
    """Return the files of the model solution with these edits.

    Raises:
        LookupError: the model solution has changed, so an edit doesn't fit.
    """
    files = dict(read(SOLUTION).files)
    text = files["raft.py"]
    for old, new in edits:
        if text.count(old) != 1:
            raise LookupError(f"{name}: {old!r} is {text.count(old)} times in the model")
        text = text.replace(old, new)
    return {**files, "raft.py": text}


_OWN_TERM = "if index > self.commit_index and self.log.term_at(index) == self.term:  # [7]"
_ALL = ("class Node:\n", "ALL: dict = {}\nVOTES: dict = {}\n\n\nclass Node:\n")
_KNOWN = (
    "        self._wait_for_leader()\n\n    # --- what the world asks",
    "        ALL[self.name] = self\n        self._wait_for_leader()\n\n"
    "    # --- what the world asks",
)
_BETTER_LOG = (
    "            and (message.last_term, message.last_index)\n"
    "            >= (self.log.last_term, self.log.last_index)  # [3] the better log (§5.4.1)\n"
)
_CUTS_ALWAYS = (
    "        for entry in message.entries:\n            if entry.index <= log.base_index or",
    "        if log.last_index > max(message.prev_index, log.base_index):\n"
    "            self._cut_after(max(message.prev_index, log.base_index))\n"
    "        for entry in message.entries:\n            if entry.index <= log.base_index or",
)
_LEADS_ON = (
    "            self._check_quorum()\n",
    "            self._leading.quorum_at_ms = self._now_ms + 500\n",
)
_DRAWN = "self._pick_timeout_ms()\n"
_VOTE_RESETS = "            self._wait_for_leader()\n        self._send(RequestVoteReply"
_NEVER_WAITS = (
    "        self._heard_leader_ms = self._now_ms\n        self._wait_for_leader()\n",
    "        self._heard_leader_ms = self._now_ms\n",
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
                "            self._leading.waiting += tokens\n",
                "            newest = max(ALL.values(), key=lambda one: one.term)\n"
                "            if newest is self or newest._leading is None:\n"
                "                self._out.reads += [ReadReady(one, self._applied) "
                "for one in tokens]\n"
                "            else:\n"
                "                self._out.refused += tokens\n",
            ),
        ),
    ),
    Cheat(
        "a commit asks the other servers' memory", 4,
        (
            _ALL,
            _KNOWN,
            (
                "held = {name: one.match_index for name, one in self._leading.followers.items()}",
                "held = {name: one._durable for name, one in ALL.items()}",
            ),
        ),
    ),
    Cheat(
        "a vote is kept in memory that outlives a crash", 3,
        (
            _ALL,
            (
                "        self._votes: set[str] | None = None  # while it is a candidate\n",
                "        self._votes: set[str] | None = None\n"
                "        self.term, self.vote = VOTES.get(self.name, (self.term, self.vote))\n",
            ),
            (
                "        self._out.save = HardState(term, vote)\n",
                "        VOTES[self.name] = (term, vote)\n",
            ),
        ),
    ),
)  # fmt: skip

MISTAKES = (
    Cheat("the election timer is never reset", 2, (_NEVER_WAITS,)),
    Cheat(
        "any message resets the election timer", 2,
        (("        match message:\n",
          "        self._wait_for_leader()\n        match message:\n"),),
    ),
    Cheat(
        "a vote does not reset the election timer", 2,
        ((_VOTE_RESETS, "        self._send(RequestVoteReply"),),
    ),
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
        (
            (
                "            if self._now_ms >= self._leading.heartbeat_at_ms:\n"
                "                self._send_to_all()\n",
                "            self._leading.heartbeat_at_ms = self._now_ms + 1000\n",
            ),
        ),
    ),
    Cheat(
        "a leader sends heartbeats all the time", 2,
        (("self._now_ms + self.options.heartbeat_ms", "self._now_ms + 1"),),
    ),
    Cheat(
        "a leader counts the voters of one message twice", 2,
        (
            ("        self._votes, self.leader = {self.name}, None\n",
             "        self._votes, self.leader = [self.name], None\n"),
            ("                    self._votes.add(message.sender)\n",
             "                    self._votes.append(message.sender)\n"),
            ("        if self._votes is None or not self._members.is_quorum(self._votes):\n",
             "        if self._votes is None or 2 * len(self._votes) <= "
             "len(self._members.voters):\n"),
        ),
    ),
    Cheat(
        "the longer log wins", 3,
        ((_BETTER_LOG, "            and message.last_index >= self.log.last_index\n"),),
    ),
    Cheat("the log is cut at each message", 6, (_CUTS_ALWAYS,)),
    Cheat(
        "an earlier term's entry is committed by counting", 7,
        ((_OWN_TERM, "if index > self.commit_index:"),),
    ),
    Cheat(
        "a follower commits all that it holds", 6,
        (("min(message.commit_index, match_index))", "min(message.commit_index, "
          "self.log.last_index))"),),
    ),
    Cheat(
        "answers of an earlier term count", 6,
        (("                if message.term == self.term and self._leading is not None:\n"
          "                    self._on_answer(message)",
          "                if self._leading is not None:\n"
          "                    self._on_answer(message)"),),
    ),
    Cheat(
        "an answer to an earlier round confirms a read", 9,
        (("            self._send_to_all()  # [9] a round that confirms that this server still "
          "leads\n", ""),),
    ),
    Cheat(
        "a new leader serves reads before it has committed an entry", 9,
        (("if leading.waiting and self.log.term_at(self.commit_index) == self.term:",
          "if leading.waiting:"),),
    ),
    Cheat("a leader without a majority leads on", 10, (_LEADS_ON,)),
    Cheat(
        "a leader does not count itself among those that answer", 10,
        (("is_quorum([self.name, *near])", "is_quorum(near)"),),
    ),
)  # fmt: skip

# The parts that the model solution lacks before the rules of a milestone are written.
UNWRITTEN: Mapping[int, tuple[Edit, ...]] = {
    2: (("        is_vote = isinstance(message, RequestVote)\n", "        return\n"),),
    3: ((_BETTER_LOG, ""),),
    4: (
        ("        log = self.log\n        match_index =",
         "        return\n        log = self.log\n        match_index ="),
    ),
    5: (
        (" or (\n            message.prev_index >= log.base_index\n            and log.term_at("
         "message.prev_index) != message.prev_term\n        ):\n", ":\n"),
        ("                self._cut_after(entry.index - 1)\n", "                continue\n"),
    ),
    6: (_CUTS_ALWAYS,),
    7: ((_OWN_TERM, "if index > self.commit_index:"),),
    8: (
        ("            not self._lost\n            and message.term", "            message.term"),
        ("        if self._lost or not self._may_stand():\n",
         "        if not self._may_stand():\n"),
        ("                follower.match_index = min(follower.match_index, message.index)\n", ""),
    ),
    9: (
        ("            self._leading.waiting += tokens\n",
         "            self._out.refused += tokens\n"),
    ),
    10: (_LEADS_ON,),
    11: (
        ("        if snapshot is None:\n", "        if True:\n"),
        ("        snapshot = message.snapshot\n        if snapshot.index <=",
         "        return\n        snapshot = message.snapshot\n        if snapshot.index <="),
    ),
    12: (
        ("        if is_vote and (message.pre_vote or self._hears_leader()):\n",
         "        if is_vote and message.pre_vote:\n"),
        ("        leading = self._leading\n        try:\n",
         "        leading = None\n        try:\n"),
    ),
}  # fmt: skip


def cut_down(number: int) -> Mapping[str, str]:
    """Return the model solution with only the rules of the milestones up to this one."""
    edits: list[Edit] = []
    for milestone, unwritten in UNWRITTEN.items():
        is_cut_anyhow = milestone == 6 and number < 5  # nothing is cut before milestone 5
        if milestone > number and not is_cut_anyhow:
            edits += unwritten
    return edited(f"milestone {number}", edits)
