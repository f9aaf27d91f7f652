"""The leader, as the lines between the servers show it; no server has to be asked for it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection

from raftline.trial.messages import UNKNOWN_LEADER, node_name

LEADER_SILENT_S = 1.0  # an election timeout: by then every follower has begun to look for another
_MARK = b"@AppendEntries "
_CANDIDATES = (b"@PreVote ", b"@RequestVote ")


class Watch:
    """Sees each AppendEntries and keeps the leaders in the order in which they came.

    A leader is known from its first AppendEntries that arrives; it is unknown again once its
    process has gone, or a quorum has heard nothing of it for an election timeout.
    """

    def __init__(self, servers: Collection[str], start_s: float) -> None:
        self.leaders: list[tuple[float, str]] = [(0.0, UNKNOWN_LEADER)]  # seconds, id
        self.gaps_s: list[float] = []  # between two AppendEntries of a leader to one follower
        self.two_leaders: str = ""  # what was seen where two led one term
        # (seconds, new leader, old one, how long no quorum had heard of it): of no killed one
        self.takeovers: list[tuple[float, str, str, float]] = []
        self.vote_requests: Counter[tuple[str, str]] = Counter()  # of whom, to whom
        self._servers = servers
        self._start_s = start_s
        self._term = 0
        self._gone_term = 0  # whoever led it is no more; what it sent may still be under way
        self._leader_of: dict[int, str] = {}
        self._since_s = 0.0
        self._heard_s: dict[str, float] = {}
        self._sent_s: dict[tuple[int, str], float] = {}  # (term, follower)
        self._lock = threading.Lock()

    @property
    def leader(self) -> str:
        """The id of the leader, or UNKNOWN_LEADER."""
        return self.leaders[-1][1]

    @property
    def leading_since_s(self) -> float:
        """The time at which the present state began, in seconds since the start."""
        return self.leaders[-1][0]

    def start_at(self, start_s: float) -> None:
        """Count seconds from here on."""
        self._start_s = start_s

    def saw(self, speaker: str, hearer: str, line: bytes, arrives: bool, now_s: float) -> None:
        """Take note of a line between two servers."""
        name = node_name(speaker).encode()
        if line.startswith(_CANDIDATES, len(name)):
            self.vote_requests[speaker, hearer] += 1
        if not line.startswith(name + _MARK):
            return
        start = len(name) + len(_MARK)
        number, dash, _ = line[start : start + 24].partition(b"-")
        if not (dash and number.isdigit()):
            return
        with self._lock:
            self._saw_leader(speaker, hearer, int(number), arrives, now_s)

    def _saw_leader(
        self, speaker: str, hearer: str, term: int, arrives: bool, now_s: float
    ) -> None:
        other = self._leader_of.setdefault(term, speaker)
        if other != speaker:
            self.two_leaders = f"{other} and {speaker} both led term {term}"
        before_s = self._sent_s.get((term, hearer))
        self._sent_s[term, hearer] = now_s
        if before_s is not None:
            self.gaps_s.append(now_s - before_s)
        if not arrives or term < self._term or term <= self._gone_term:
            return
        if term > self._term:
            if self._term > self._gone_term:
                silent_s = now_s - max(self._quorum_heard_s(), self._since_s)
                old = self._leader_of[self._term]
                self.takeovers.append((self._seconds(now_s), speaker, old, silent_s))
            self._term, self._since_s = term, now_s
            self._heard_s = {}
        self._heard_s[hearer] = now_s
        # Also a leader that was silent, and is heard again before another was elected.
        if self.leader != speaker and (self._since_s == now_s or self._is_heard(now_s)):
            self._note(speaker, now_s)

    def gone(self, server: str, now_s: float) -> None:
        """Take note that the process of a server has ended."""
        with self._lock:
            self._sent_s = {key: when for key, when in self._sent_s.items() if key[1] != server}
            if self.leader == server:
                self._note(UNKNOWN_LEADER, now_s)
                self._gone_term = self._term

    def look(self, now_s: float) -> None:
        """Take note where a quorum has heard nothing for too long."""
        with self._lock:
            young = now_s - self._since_s < LEADER_SILENT_S
            if self.leader != UNKNOWN_LEADER and not young and not self._is_heard(now_s):
                self._note(UNKNOWN_LEADER, now_s)

    def _is_heard(self, now_s: float) -> bool:
        """Whether a quorum heard of the leader within an election timeout."""
        return now_s - self._quorum_heard_s() < LEADER_SILENT_S

    def _quorum_heard_s(self) -> float:
        """Return when a quorum, the leader among it, had last heard of it."""
        others = len(self._servers) // 2
        heard = sorted(self._heard_s.values(), reverse=True)
        return heard[others - 1] if len(heard) >= others else float("-inf")

    def _note(self, leader: str, now_s: float) -> None:
        self.leaders.append((self._seconds(now_s), leader))

    def _seconds(self, now_s: float) -> float:
        return max(0.0, now_s - self._start_s)
