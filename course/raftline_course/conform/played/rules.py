"""The rules of the peers that the kit plays: a follower as the paper has it, and faulty ones."""

from __future__ import annotations

from raftline.raft.messages import AppendEntries, InstallSnapshot, Message, RequestVote


def grant(message: RequestVote) -> str:
    """Return the answer that gives the vote."""
    return f"Count on me term {message.term}" + " prevote" * message.pre_vote


def voter(message: Message) -> str | None:
    """Grant each requested vote, and answer nothing else."""
    return grant(message) if isinstance(message, RequestVote) else None


def denier(message: Message) -> str | None:
    """Grant a PreVote, so that the node becomes a candidate, but no vote."""
    if not isinstance(message, RequestVote):
        return None
    if message.pre_vote:
        return grant(message)
    return f"Not this time term {message.term} voted: already voted for another"


def pre_voter(message: Message) -> str | None:
    """Grant PreVotes, and don't answer a request for a vote."""
    is_pre = isinstance(message, RequestVote) and message.pre_vote
    return grant(message) if is_pre and isinstance(message, RequestVote) else None


class KitFollower:
    """A follower that keeps a log in memory and gives each vote (paper, Figure 2)."""

    def __init__(self, entries: list[tuple[int, str]] | None = None) -> None:
        # (term, command), from index 1 on
        self.entries: list[tuple[int, str]] = list(entries or [])
        self.ack_max: int | None = None  # it acknowledges no index above this one
        self.is_silent = False

    @staticmethod
    def deaf(entries: list[tuple[int, str]]) -> KitFollower:
        """Return a follower that gives votes, and never answers a leader."""
        follower = KitFollower(entries)
        follower.is_silent = True
        return follower

    def __call__(self, message: Message) -> str | None:
        if isinstance(message, RequestVote):
            return grant(message)
        if self.is_silent:
            return None
        if isinstance(message, AppendEntries):
            return self._append(message)
        if isinstance(message, InstallSnapshot):
            held = message.offset + len(message.raw)
            snapshot = message.snapshot
            return (
                f"GiveSnapshotAfterByte {held} of {snapshot.index}-{snapshot.term} "
                f"term {message.term} round {message.round}"
            )
        return None

    def _append(self, message: AppendEntries) -> str:
        previous = message.prev_index
        if previous > len(self.entries):
            return self._missing(message, len(self.entries))
        if previous and self.entries[previous - 1][0] != message.prev_term:
            return self._missing(message, previous - 1)
        for entry in message.entries:
            if len(self.entries) >= entry.index and self.entries[entry.index - 1][0] != entry.term:
                del self.entries[entry.index - 1 :]
            if len(self.entries) < entry.index:
                self.entries.append((entry.term, entry.command))
        index = previous + len(message.entries)
        if self.ack_max is not None:
            index = min(index, self.ack_max)
        return f"I am up to date term {message.term} index {index} round {message.round}"

    def _missing(self, message: AppendEntries, index: int) -> str:
        return f"GiveEntriesAfterIndex {index} term {message.term} round {message.round}"
