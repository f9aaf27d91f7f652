"""The console's lines about a node's traffic, in the words of the course program's figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from raftline.common.console import Console
from raftline.node.traffic_log import PreVotes
from raftline.raft.effects import Effects
from raftline.raft.entries import Entry, spell_entries
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
)
from raftline.raft.roles import Role
from raftline.raft.spelling import spell, spell_append
from raftline.raft.view import LogView, NodeView

COMMAND_CHARACTERS_MAX = 60  # of an entry that is sent


class TrafficLog:
    """Says who connects, who asks and what servers tell each other.

    Steady heartbeats and their answers, and the PreVotes of who asks again and again, are said
    only with `--verbose`; everything here is traffic, of which the console prints some tens of
    lines a second and sums up the rest.
    """

    def __init__(
        self,
        console: Console,
        *,
        course: bool = False,
        is_cut_off: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Prepare; `course` is to say no more of a message, or of votes, than the figures do.
        Nothing is said of a peer that `is_cut_off` by a fault."""
        self._console = console
        self._course = course
        self._is_cut_off = is_cut_off
        self._acknowledged: dict[str, int] = {}  # by peer: the last index that was said
        self._pre_votes = PreVotes()
        self._led_term = 0  # the last one whose votes were told

    def connected(self, address: object) -> None:
        self._console.traffic("connections", "[*] Connection from %s", address)

    def requested(self, sender: str, text: str) -> None:
        self._console.traffic("requests", "[*] Received from %s : %s", sender or "client", text)

    def ignored(self, source: str, why: str) -> None:
        """Say that a datagram is not answered: whoever sent it hears nothing."""
        self._console.traffic("datagrams", "[*] Ignored a datagram from %s: %s", source, why)

    def received(self, sender: str, text: str | None, message: Message) -> None:
        """Say what a peer said, unless it is the pulse of a cluster at rest, or an election's."""
        if self._is_cut_off(sender):
            return
        self._pre_votes.heard(message)
        if not self._console.verbose and (
            self._is_pulse(message) or not self._pre_votes.is_news("from", sender, message)
        ):
            return
        if not self._console.has_room("messages"):
            return
        if text is None:
            text = spell(message)
        if isinstance(message, InstallSnapshot):
            text = text[: text.index(" data ")]
        self._console.traffic("messages", "[*] Received from %s : %s", sender, text)

    def carried_out(self, effects: Effects, view: NodeView) -> None:
        """Say what one step did: its notes in any case, sends and entries as traffic. `view` is
        as that step left it."""
        self._pre_votes.follow(view)
        for note in effects.notes:
            if self._console.verbose or self._pre_votes.is_new_note(note):
                self._console.say(note)
        self._tell_votes(view)
        questions = effects.send or effects.send_after_save
        if reminder := self._pre_votes.asked(questions):
            self._console.say(reminder)
        if not self._console.verbose:
            questions = [one for one in questions if self._pre_votes.is_news("to", one.to, one)]
        if questions and (self._console.verbose or not all(map(_is_empty, questions))):
            self._sends(questions, view.log)
        if effects.append and not effects.send:
            self._console.traffic("entries", "Last log: %d %d %s", *effects.append[-1])

    def _sends(self, questions: Sequence[Message], log: LogView) -> None:
        """Say to whom each message goes, and what it says; to the course's figures, that one
        goes."""
        if isinstance(questions[0], AppendEntries):
            self._console.traffic("messages", "Sending heartbeat...")
        lacks = isinstance(questions[0], AppendRejected) and questions[0].round > 0
        if lacks:
            self._console.traffic("messages", "%s", spell(questions[0]))
        for one in questions:
            if self._course:
                self._console.traffic("messages", "Sending message")
            elif self._console.has_room("messages"):  # before it is spelled
                text = abridged(one)
                self._console.traffic("messages", "Sending message to %s: %s", one.to, text)
        if lacks:
            self._tell_last(log)

    def _tell_votes(self, view: NodeView) -> None:
        """Say who elected a new leader, beside the course's table of votes."""
        if view.role is not Role.LEADER or view.term == self._led_term:
            return
        self._led_term = view.term
        electors = view.membership.electors
        given = [name for name in electors if view.votes.get(name)]
        if not self._course:
            self._console.say(f"votes: {' '.join(given)} of {' '.join(electors)}")

    def _tell_last(self, log: LogView) -> None:
        """Say where the log ends of a follower that can't take what it was sent (the course's
        Figures 2 and 7); without a command where that entry is in a snapshot, or there is none."""
        last = f"{log.last_index} {log.last_term}"
        self._console.traffic("entries", "Last log: %s", " ".join([last, *log.commands[-1:]]))

    def _is_pulse(self, message: Message) -> bool:
        if isinstance(message, AppendAccepted):
            known = self._acknowledged.get(message.sender, 0)
            self._acknowledged[message.sender] = message.index
            return message.index == known
        return _is_empty(message)


def abridged(message: Message) -> str:
    """Return what a message says; of entries the first and how many follow, of a snapshot's
    piece all but its data."""
    if isinstance(message, InstallSnapshot):
        return spell(replace(message, data="")).removesuffix(' data ""')
    if not isinstance(message, AppendEntries) or not message.entries:
        return spell(message)
    index, term, command = message.entries[0]
    if len(command) > COMMAND_CHARACTERS_MAX:
        command = command[: COMMAND_CHARACTERS_MAX - 1] + "…"
    entries = spell_entries([Entry(index, term, command)])
    if len(message.entries) > 1:
        entries = f"{entries[:-1]}, … {len(message.entries) - 1:,} more]"
    return spell_append(message, entries)


def _is_empty(message: Message) -> bool:
    return isinstance(message, AppendAccepted | InstallSnapshot | InstallSnapshotReply) or (
        isinstance(message, AppendEntries) and not message.entries
    )
