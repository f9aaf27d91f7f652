"""The console lines about a node's traffic, in the words of the course's figures."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from ...common.process.console import Console
from ...net.protocol.host import Traffic
from ...raft.effects import Effects
from ...raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    RequestVote,
    RequestVoteReply,
)
from ...raft.node_view import LogView, NodeView
from ...wire.commands.redaction import without_values, without_verifiers
from ...wire.commands.summaries import abridged, counted
from ...wire.limits import TRAFFIC_LINES
from ...wire.peer_lines import format_message

REMINDED_FIRST = 4  # rounds of requests; the interval doubles, so the first lines come early
REMINDED_EVERY_MAX = 128
_GIVEN_OR_DENIED = re.compile(r"\[\*\] \S+ (?:gives|denies) its PreVote ")


class TrafficLog(Traffic):
    """Prints connections, requests and the messages between servers.

    Idle heartbeats and their answers, and repeated PreVotes, are printed only with `--verbose`. All
    of these lines are traffic: the console prints a few dozen of them a second, and sums up the
    rest.
    """

    def __init__(
        self,
        console: Console,
        *,
        course: bool = False,
        is_private: bool = False,
    ) -> None:
        """With `course`, print no more about messages and votes than the figures show. If
        the node `is_private`, values are printed only with `--verbose`."""
        self._console = console
        self._is_private = is_private
        self._course = course
        self.is_cut_off: Callable[[str], bool] | None = None  # print nothing about these peers
        self._acknowledged: dict[str, int] = {}  # by peer: the last index that was printed
        self._pre_votes = PreVotes()

    def connected(self, address: object) -> None:
        self._console.traffic("connections", "[*] Connection from %s", address)

    def requested(self, sender: str, text: str) -> None:
        if self._console.has_room("requests"):  # most requests are not printed
            text = self._shown(text)
            self._console.traffic("requests", "[*] Received from %s : %s", sender or "client", text)

    def shows_requests(self, count: int) -> bool:
        """Whether the console prints any of `count` requests; if not, it counts them as omitted."""
        return self._console.has_room("requests", count)

    @property
    def _hides_values(self) -> bool:
        return self._is_private and not self._console.verbose

    def _shown(self, command: str) -> str:
        """Return a line or a command in the form in which it may be printed."""
        return without_values(command) if self._hides_values else without_verifiers(command)

    def ignored(self, source: str, why: str) -> None:
        """Print that a datagram is not answered."""
        self._console.traffic("datagrams", "[*] Ignored a datagram from %s: %s", source, why)

    def received(self, sender: str, text: str | None, message: Message) -> None:
        """Print a peer's message, unless it is routine: a heartbeat or a repeated PreVote."""
        if self.is_cut_off is not None and self.is_cut_off(sender):
            return
        if isinstance(message, RequestVoteReply):
            self._pre_votes.heard(message)
        if not self._console.verbose:
            is_of_votes = isinstance(message, RequestVote | RequestVoteReply)
            if is_of_votes and not self._pre_votes.is_news("from", sender, message):
                return
            if self._is_pulse(message):
                return
        if not self._console.has_room("messages"):
            return
        if self._hides_values and isinstance(message, AppendEntries):
            text = counted(message)
        elif text is None:
            text = format_message(message)
        if isinstance(message, InstallSnapshot):
            text = text[: text.index(" data ")]
        text = without_verifiers(text)
        self._console.traffic("messages", "[*] Received from %s : %s", sender, text)

    def carried_out(self, effects: Effects, view: NodeView) -> None:
        """Print what a step did: its notes in any case, its messages and entries as traffic. `view`
        shows the node after that step."""
        questions: Sequence[Message] = effects.messages()
        votes = is_news = False
        for one in questions:
            if isinstance(one, AppendEntries):
                is_news = is_news or len(one.entries) > 0
            elif isinstance(one, RequestVote | RequestVoteReply):
                votes = is_news = True
            elif not isinstance(one, AppendAccepted | InstallSnapshot | InstallSnapshotReply):
                is_news = True
        if effects.notes or votes or effects.save is not None:  # a new leader comes with a note
            self._say_notes(effects, view)
        if votes:
            questions = self._of_votes(questions)
        if questions and (is_news or self._console.verbose):
            self._sends(questions, view.log)
        if effects.append and not effects.send and self._console.has_room("entries"):
            index, term, command = effects.append[-1]
            command = self._shown(command)
            self._console.traffic("entries", "Last log: %d %d %s", index, term, command)

    def _say_notes(self, effects: Effects, view: NodeView) -> None:
        self._pre_votes.follow(view)
        for note in effects.notes:
            if self._console.verbose or self._pre_votes.is_new_note(note):
                self._console.say(note)

    def _of_votes(self, questions: Sequence[Message]) -> Sequence[Message]:
        """Print a reminder about repeated PreVotes; return the messages that are worth a line."""
        if reminder := self._pre_votes.asked(questions):
            self._console.say(reminder)
        if self._console.verbose:
            return questions
        return [one for one in questions if self._pre_votes.is_news("to", one.to, one)]

    def _sends(self, questions: Sequence[Message], log: LogView) -> None:
        """Print each message with its receiver; or, like the course's figures, without details."""
        if isinstance(questions[0], AppendEntries):
            if not self._console.has_room("messages", 1 + len(questions)):
                return
            self._console.traffic("messages", "Sending heartbeat...")
        lacks = isinstance(questions[0], AppendRejected) and questions[0].round > 0
        if lacks:
            self._console.traffic("messages", "%s", format_message(questions[0]))
        for one in questions:
            if self._course:
                self._console.traffic("messages", "Sending message")
            elif self._console.has_room("messages"):  # before it is encoded
                text = counted(one) if self._hides_values else abridged(one)
                self._console.traffic("messages", "Sending message to %s: %s", one.to, text)
        if lacks:
            # The end of the log of a follower that can't take the entries it was sent (the course's
            # Figures 2 and 7). The command is missing if the entry is in a snapshot, or if the log
            # is empty.
            last = f"{log.last_index} {log.last_term}"
            commands = map(self._shown, log.commands[-1:])
            self._console.traffic("entries", "Last log: %s", " ".join([last, *commands]))

    def _is_pulse(self, message: Message) -> bool:
        if isinstance(message, AppendAccepted):
            last_index = self._acknowledged.get(message.sender, 0)
            self._acknowledged[message.sender] = message.index
            return message.index == last_index
        if isinstance(message, AppendEntries):
            return not message.entries
        return isinstance(message, InstallSnapshot | InstallSnapshotReply)


def is_pre_vote(message: Message) -> bool:
    """Return whether this is a request for a PreVote, or the answer to one."""
    return isinstance(message, RequestVote | RequestVoteReply) and message.pre_vote


class PreVotes:
    """Prints PreVotes once for each term and leader.

    Callers of `follow` and `asked` hold the driver's `core` lock; any thread calls the rest.
    """

    def __init__(self) -> None:
        self._moment: tuple[int, str | None] | None = None
        self._lines: set[tuple[str, ...]] = set()
        self._lock = threading.Lock()  # for `_answers`
        self._reset()

    def _reset(self) -> None:
        self._lines.clear()
        self._answers: dict[str, RequestVoteReply] = {}  # to the last round of requests
        self._rounds = 0
        self._remind_at = REMINDED_FIRST
        self._last: Mapping[str, bool] = {}  # the answers to the round before
        self._reported: Mapping[str, bool] | None = None

    def follow(self, view: NodeView) -> None:
        """Start over in a new term, or if the leader changes."""
        moment = view.term, view.leader
        if self._moment is not None and moment != self._moment:
            self._reset()
        self._moment = moment

    def is_news(self, way: str, peer: str, message: Message) -> bool:
        """Return whether a message is worth a line; a repeated PreVote is not."""
        return not is_pre_vote(message) or self._is_new((way, peer, format_message(message)))

    def is_new_note(self, note: str) -> bool:
        """Return whether a note of the core is worth a line."""
        return _GIVEN_OR_DENIED.match(note) is None or self._is_new((note,))

    def heard(self, message: Message) -> None:
        """Record an answer."""
        if isinstance(message, RequestVoteReply) and message.pre_vote:
            with self._lock:  # no answer is added while a round is being counted
                self._answers[message.sender] = message

    def asked(self, questions: Iterable[Message]) -> str:
        """Record a round of requests; return a line about the earlier ones, or "".

        The line shows who answers. It is due when that has changed and stayed for two rounds, and
        from time to time.
        """
        requests = [one for one in questions if isinstance(one, RequestVote) and one.pre_vote]
        if not requests:
            return ""
        with self._lock:
            answers, self._answers = self._answers, {}
        votes = {name: vote.granted for name, vote in answers.items()}
        is_steady, self._last = votes == self._last, votes
        self._rounds += 1
        is_due = self._rounds >= self._remind_at
        if is_due:
            self._remind_at += min(self._rounds, REMINDED_EVERY_MAX)
        elif self._reported is None or not is_steady or votes == self._reported:
            return ""
        self._reported = votes
        term = requests[0].term
        begin = f"[*] Still no leader: asked {self._rounds} times for PreVotes for term {term}. "
        return begin + _sorted_by_answer([one.to for one in requests], answers)

    def _is_new(self, line: tuple[str, ...]) -> bool:
        if line in self._lines:
            return False
        if len(self._lines) >= TRAFFIC_LINES:
            self._lines.clear()
        self._lines.add(line)
        return True


def _sorted_by_answer(names: Iterable[str], answers: Mapping[str, RequestVoteReply]) -> str:
    """Return the names that would vote, would not vote (with the reason), and do not answer."""
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
