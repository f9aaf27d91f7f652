"""A node that reports its actions in the words of the course's program: `node.py --course-words`.

A node of ours prints the line of that program when the event happens. words.py has the events that
only their text distinguishes. Indexes are ours: the first entry is 1, and a no-op also has an
index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TextIO

from labs.repair.watchful import WatchfulServer
from labs.repair.words import Words, value_of
from raftline.common.process.console import Console
from raftline.raft.effects import Effects
from raftline.raft.log import Entry
from raftline.raft.messages import AppendEntries, AppendRejected, Message, RequestVote
from raftline.raft.node_view import NodeView
from raftline.raft.roles import Role

# entries of one step that are printed: the last ones of those appended or applied
ENTRIES_SAID = 30
QUESTIONS_KEPT = 64  # unanswered requests of a leader


class SeedConsole(Console):
    """A console that prints our own lines in the course's words, and no traffic."""

    def __init__(self, name: str, stream: TextIO, verbose: bool, **more: Any) -> None:
        self._words = Words(name)
        super().__init__(stream, verbose, **more)

    def say(self, text: str) -> None:
        for line in self._words.of(text):
            super().say(line)

    def traffic(self, kind: str, text: str, *arguments: object) -> None:
        """Print nothing: `SeedLines` prints the results."""


class SeedServer(WatchfulServer):
    """A node that `SeedLines` follows through all its starts."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._lines: SeedLines | None = None

    def recover(self) -> None:
        super().recover()
        is_first = self._lines is None
        self._lines = SeedLines(self.node.view, self._console.say)
        self._lines.begin(self.node.view, is_first=is_first)

    def hear(self, received: Sequence[Message], origin: Any) -> list[str]:
        if self._lines is not None and not self.is_down:
            self._lines.heard(received)
        return super().hear(received, origin)

    def report(self, effects: Effects) -> None:
        super().report(effects)
        if self._lines is not None:
            self._lines.stepped(self.node.view, effects, skips=self.faults.table.skips_replication)


class SeedLines:
    """The lines that the course's program would print, for one start of a node, step by step."""

    def __init__(self, view: NodeView, say: Callable[[str], None]) -> None:
        self._say = say
        self._name = view.name
        self._role = view.role
        self._commit_index = view.commit_index
        self._timeout_s = 0.0  # the last election timeout that was picked
        self._held: dict[str, int] = {}  # of a leader: the match index of each follower
        self._prev_indexes: dict[tuple[str, int], int] = {}  # by leader and round

    def begin(self, view: NodeView, *, is_first: bool) -> None:
        """Print the state of the log file."""
        name, count = self._name, view.log.last_index
        if is_first and count:
            self._say(f"{name} loaded log from file with {count} entries.")
        elif is_first:
            self._say(f"{name} log file not found. Starting with an empty log.")
        elif count:
            self._say(f"{name}: Log refreshed from file with {count} entries.")
        else:
            self._say(f"{name}: Log file not found. Resetting to empty log.")

    def heard(self, messages: Sequence[Message]) -> None:
        """Record the requests of peers, before the node answers."""
        for message in messages:
            if isinstance(message, RequestVote) and not message.pre_vote:
                self._say(
                    f"Received vote request from {message.sender} for term {message.term} with "
                    f"last_log_term {message.last_term}, last_log_index {message.last_index}"
                )
            elif isinstance(message, AppendEntries):
                if len(self._prev_indexes) >= QUESTIONS_KEPT:
                    self._prev_indexes.clear()
                self._prev_indexes[message.sender, message.round] = message.prev_index

    def stepped(self, view: NodeView, effects: Effects, *, skips: bool) -> None:
        """Print the effects of one step; `skips`: this node was ordered to replicate nothing."""
        name = self._name
        self._elected(view, effects)
        if effects.cut_after is not None:
            self._say(f"{name}: Truncated conflicting entries from index {effects.cut_after + 1}.")
        self._appended(view, effects.append, skips=skips)
        for message in effects.send_after_save:
            if isinstance(message, AppendRejected) and message.round:
                self._missing(view, message)
        self._replicated(view)
        self._committed(view, effects.apply)

    def _elected(self, view: NodeView, effects: Effects) -> None:
        """Print the timeouts around an election, and begin to count as a leader."""
        before, self._role = self._role, view.role
        if view.role is before:
            return
        if view.role is Role.CANDIDATE:
            self._say(f"{self._name} is requesting votes for term {view.term}")
            self._timeout_s = (view.election_at_ms - view.now_ms) / 1000
            self._say(f"time out set for {self._name} to {self._timeout_s:.3f}")
        elif before in (Role.CANDIDATE, Role.LEADER) and view.role is Role.FOLLOWER:
            self._timeout_s = (view.election_at_ms - view.now_ms) / 1000
            self._say(f"election timeout {self._timeout_s:.3f}")
        elif view.role is Role.LEADER:
            self._say(f"election timeout {self._timeout_s:.3f}")
            self._held = dict.fromkeys(view.progress, view.log.last_index - len(effects.append))

    def _appended(self, view: NodeView, entries: Sequence[Entry], *, skips: bool) -> None:
        leads = view.role is Role.LEADER
        for index, term, command in self._last(entries, "appended"):
            value = f"{term},{value_of(command)}"
            if leads:
                self._say(f"{self._name} appended log entry: {value}")
            else:
                self._say(f"{self._name}: Appended entry at index {index}: {value}")
        if entries and leads and skips:
            for peer in view.progress:
                self._say(f"Replication to {peer} skipped due to simulation.")

    def _missing(self, view: NodeView, message: AppendRejected) -> None:
        prev_index = self._prev_indexes.get((message.to, message.round), 0)
        if prev_index > view.log.last_index:  # else a note has reported that the logs differ
            self._say(
                f"{self._name}: Missing entry at prev_log_index {prev_index}. "
                "Leader will backtrack."
            )

    def _replicated(self, view: NodeView) -> None:
        """Print which followers hold more of this leader's log, and for which it stepped back."""
        if view.role is not Role.LEADER:
            return
        for peer, progress in view.progress.items():
            match_index = self._held.setdefault(peer, progress.match_index)
            if progress.next_index - 1 < match_index:
                match_index = progress.next_index - 1
                self._say(
                    f"Backtracking nextIndex for {peer} to {progress.next_index} due to mismatch."
                )
            if progress.match_index > match_index:
                new = progress.match_index - match_index
                self._say(f"Successfully updated {peer} with {new} entries.")
            self._held[peer] = max(match_index, progress.match_index)

    def _committed(self, view: NodeView, applied: Sequence[Entry]) -> None:
        before, self._commit_index = self._commit_index, view.commit_index
        if view.commit_index > before and view.role is Role.LEADER:
            self._say(f"Leader {self._name} committed entry at index {view.commit_index}")
        elif view.commit_index > before:
            self._say(f"{self._name}: Updated commit index from {before} to {view.commit_index}")
        for index, term, command in self._last(applied, "applied"):
            self._say(f"{self._name} applying entry {index} (term {term}): {value_of(command)}")

    def _last(self, entries: Sequence[Entry], what: str) -> Sequence[Entry]:
        """Return the entries that get a line each, and print how many earlier ones don't."""
        if len(entries) > ENTRIES_SAID:
            self._say(f"{self._name}: {len(entries) - ENTRIES_SAID} entries before these {what}.")
        return entries[-ENTRIES_SAID:]
