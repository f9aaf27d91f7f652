"""PreVotes on the console: a cluster without a leader asks for them for ever, and says so once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from raftline.raft.messages import Message, RequestVote, RequestVoteReply
from raftline.raft.spelling import spell
from raftline.raft.view import NodeView

REMINDED_FIRST = 4  # rounds of questions; twice as many each time, so the first lines come early
REMINDED_EVERY_MAX = 128
LINES_KEPT_MAX = 256  # of peers' choosing in part
_GIVEN_OR_DENIED = re.compile(r"\[\*\] \S+ (?:gives|denies) its PreVote ")


def is_pre_vote(message: Message) -> bool:
    """Return whether this is a question for a PreVote, or the answer to one."""
    return isinstance(message, RequestVote | RequestVoteReply) and message.pre_vote


class PreVotes:
    """Tells what is news about PreVotes in one term under one leader, or none.

    Whoever calls `follow` and `asked` holds the driver's `core` lock; any thread calls the rest.
    """

    def __init__(self) -> None:
        self._moment: tuple[int, str | None] | None = None
        self._lines: set[tuple[str, ...]] = set()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._lines.clear()
        self._answers: dict[str, RequestVoteReply] = {}  # to the last round of questions
        self._rounds = 0
        self._remind_at = REMINDED_FIRST
        self._last: Mapping[str, bool] = {}  # who answered the round before it
        self._told: Mapping[str, bool] | None = None

    def follow(self, view: NodeView) -> None:
        """Begin anew in a new term, or where the leader changes."""
        moment = view.term, view.leader
        if self._moment is not None and moment != self._moment:
            self._begin_anew()
        self._moment = moment

    def is_news(self, way: str, peer: str, message: Message) -> bool:
        """Return whether a message is worth a line: of PreVotes only what was not said yet."""
        return not is_pre_vote(message) or self._is_new((way, peer, spell(message)))

    def is_new_note(self, note: str) -> bool:
        """Return whether a note of the core is worth a line."""
        return _GIVEN_OR_DENIED.match(note) is None or self._is_new((note,))

    def heard(self, message: Message) -> None:
        """Take note of an answer."""
        if isinstance(message, RequestVoteReply) and message.pre_vote:
            self._answers[message.sender] = message

    def asked(self, questions: Iterable[Message]) -> str:
        """Take note of a round of questions; return what to say of those before it, or "".

        That is who answers: when it has changed, for two rounds, and now and then.
        """
        asked = [one for one in questions if isinstance(one, RequestVote) and one.pre_vote]
        if not asked:
            return ""
        answers, self._answers = self._answers, {}
        found = {name: vote.granted for name, vote in answers.items()}
        is_steady, self._last = found == self._last, found
        self._rounds += 1
        is_due = self._rounds >= self._remind_at
        if is_due:
            self._remind_at += min(self._rounds, REMINDED_EVERY_MAX)
        elif self._told is None or not is_steady or found == self._told:
            return ""
        self._told = found
        term = asked[0].term
        begin = f"[*] Still no leader: asked {self._rounds} times for PreVotes for term {term}. "
        return begin + _sorted_by_answer([one.to for one in asked], answers)

    def _is_new(self, line: tuple[str, ...]) -> bool:
        if line in self._lines:
            return False
        if len(self._lines) >= LINES_KEPT_MAX:
            self._lines.clear()
        self._lines.add(line)
        return True


def _sorted_by_answer(names: Iterable[str], answers: Mapping[str, RequestVoteReply]) -> str:
    """Return who would vote, who would not and why, and who does not answer."""
    groups: dict[str, list[str]] = {"Yes": [], "No": [], "No answer": []}
    for name in names:
        vote = answers.get(name)
        if vote is None:
            groups["No answer"].append(name)
        elif vote.granted:
            groups["Yes"].append(name)
        else:
            groups["No"].append(f"{name} ({vote.reason})")
    return ". ".join(f"{group}: {' '.join(each)}" for group, each in groups.items() if each)
