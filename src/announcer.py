"""What a node says on its console about its traffic, in the lines of the seed's figures."""

from __future__ import annotations

from raftline.console import Console
from raftline.raft.chunks import InstallSnapshot, SnapshotHeld
from raftline.raft.effects import Effects
from raftline.raft.messages import Appended, AppendEntries, Message, spell


class Announcer:
    """Says who connects, who asks and what servers tell each other.

    Steady heartbeats and their answers are said only with `--verbose`; everything here is
    traffic, of which the console prints some tens of lines a second and sums up the rest.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._acknowledged: dict[str, int] = {}  # by peer: the last index that was said

    def connected(self, address: object) -> None:
        self._console.traffic("connections", "[*] Connection from %s", address)

    def requested(self, sender: str, text: str) -> None:
        self._console.traffic("requests", "[*] Received from %s : %s", sender or "client", text)

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

    def carried_out(self, effects: Effects) -> None:
        """Say what one step did: its notes in any case, sends and entries as traffic."""
        for note in effects.notes:
            self._console.say(note)
        questions = effects.send or effects.send_after_save
        if questions and (self._console.verbose or not all(map(_is_empty, questions))):
            if isinstance(questions[0], AppendEntries):
                self._console.traffic("messages", "Sending heartbeat...")
            for _ in questions:
                self._console.traffic("messages", "Sending message")
        if effects.append and not effects.send:
            self._console.traffic("entries", "Last log: %d %d %s", *effects.append[-1])

    def _is_pulse(self, message: Message) -> bool:
        if isinstance(message, Appended):
            known = self._acknowledged.get(message.sender, 0)
            self._acknowledged[message.sender] = message.index
            return message.index == known
        return _is_empty(message)


def _is_empty(message: Message) -> bool:
    return isinstance(message, Appended | InstallSnapshot | SnapshotHeld) or (
        isinstance(message, AppendEntries) and not message.entries
    )
