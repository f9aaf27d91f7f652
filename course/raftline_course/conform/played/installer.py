"""A follower that the kit plays, which takes a snapshot."""

from __future__ import annotations

from raftline.raft.log import Snapshot
from raftline.raft.messages import AppendEntries, InstallSnapshot, Message, RequestVote
from raftline_course.conform.played.rules import grant


class Installer:
    """A follower with an empty log, which takes a snapshot and the entries after it."""

    def __init__(self, *, loses: int = 0) -> None:
        self.snapshot: Snapshot | None = None
        self.data = b""
        self.entries_after: list[int] = []  # indexes of entries after it
        self.went_back = False  # it lost half of its bytes once
        self._loses = loses

    @property
    def is_whole(self) -> bool:
        return self.snapshot is not None and len(self.data) == self.snapshot.size

    def __call__(self, message: Message) -> str | None:
        if isinstance(message, RequestVote):
            return grant(message)
        if isinstance(message, InstallSnapshot):
            return self._take(message)
        if not isinstance(message, AppendEntries):
            return None
        end = message.prev_index + len(message.entries)
        held = self.snapshot.index if self.is_whole and self.snapshot is not None else 0
        if not held or message.prev_index < held:
            return f"GiveEntriesAfterIndex {held} term {message.term} round {message.round}"
        self.entries_after += [entry.index for entry in message.entries]
        return f"I am up to date term {message.term} index {end} round {message.round}"

    def _take(self, message: InstallSnapshot) -> str | None:
        if self.snapshot is None:
            self.snapshot = message.snapshot
        if message.raw and message.offset == len(self.data) and message.snapshot == self.snapshot:
            if self._loses and message.offset:
                self._loses -= 1
                self.data = self.data[: len(self.data) // 2]
                self.went_back = True
            else:
                self.data += message.raw
        if self.is_whole:
            index = self.snapshot.index
            return f"I am up to date term {message.term} index {index} round {message.round}"
        held, at = len(self.data), self.snapshot
        return (
            f"GiveSnapshotAfterByte {held} of {at.index}-{at.term} term {message.term} "
            f"round {message.round}"
        )
