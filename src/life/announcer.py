"""What a node says on its console about its traffic, in the lines of the seed's figures."""

from __future__ import annotations

from raftline.console import Console
from raftline.raft.chunks import InstallSnapshot, SnapshotHeld
from raftline.raft.effects import Effects
from raftline.raft.log import Log
from raftline.raft.messages import Appended, AppendEntries, Message, Missing, RequestVote, spell


class Announcer:
    """Says who connects, who asks and what servers tell each other.

    Steady heartbeats and their answers, and the PreVotes of who asks again and again, are said
    only with `--verbose`; everything here is traffic, of which the console prints some tens of
    lines a second and sums up the rest.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._acknowledged: dict[str, int] = {}  # by peer: the last index that was said

    def connected(self, address: object) -> None:
        self._console.traffic("connections", "[*] Connection from %s", address)

    def requested(self, sender: str, text: str) -> None:
        self._console.traffic("requests", "[*] Received from %s : %s", sender or "client", text)

    def ignored(self, source: str, why: str) -> None:
        """Say that a datagram is not answered: whoever sent it hears nothing."""
        self._console.traffic("datagrams", "[*] Ignored a datagram from %s: %s", source, why)

    def received(self, sender: str, text: str | None, message: Message) -> None:
        """Say what a peer said, unless it is the pulse of a cluster at rest."""
        if not self._console.verbose and self._is_pulse(message):
            return
        if not self._console.has_room("messages"):
            return
        if text is None:
            text = spell(message)
        if isinstance(message, InstallSnapshot):
            text = text[: text.index(" data ")]
        self._console.traffic("messages", "[*] Received from %s : %s", sender, text)

    def carried_out(self, effects: Effects, log: Log) -> None:
        """Say what one step did: its notes in any case, sends and entries as traffic. `log` is as
        that step left it."""
        for note in effects.notes:
            self._console.say(note)
        questions = effects.send or effects.send_after_save
        again = not effects.notes and all(map(_is_pre_vote, questions))  # nobody answered, so far
        if questions and (self._console.verbose or not (again or all(map(_is_empty, questions)))):
            if isinstance(questions[0], AppendEntries):
                self._console.traffic("messages", "Sending heartbeat...")
            lacks = isinstance(questions[0], Missing) and questions[0].round > 0
            if lacks:
                self._console.traffic("messages", "%s", spell(questions[0]))
            for _ in questions:
                self._console.traffic("messages", "Sending message")
            if lacks:
                self._tell_last(log)
        if effects.append and not effects.send:
            self._console.traffic("entries", "Last log: %d %d %s", *effects.append[-1])

    def _tell_last(self, log: Log) -> None:
        """Say where the log ends of a follower that can't take what it was sent (the seed's
        Figures 2 and 7); without a command where that entry is in a snapshot, or there is none."""
        last = f"{log.last_index} {log.last_term}"
        self._console.traffic("entries", "Last log: %s", " ".join([last, *log.commands[-1:]]))

    def _is_pulse(self, message: Message) -> bool:
        if isinstance(message, Appended):
            known = self._acknowledged.get(message.sender, 0)
            self._acknowledged[message.sender] = message.index
            return message.index == known
        return _is_empty(message)


def _is_pre_vote(message: Message) -> bool:
    return isinstance(message, RequestVote) and message.pre_vote


def _is_empty(message: Message) -> bool:
    return isinstance(message, Appended | InstallSnapshot | SnapshotHeld) or (
        isinstance(message, AppendEntries) and not message.entries
    )
