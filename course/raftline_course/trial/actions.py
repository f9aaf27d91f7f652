"""The leader of a trial's servers, and the actions of the trial on them.

The lines between the servers show the leader, so no server has to be asked. Each action happens at
its trigger point, or as soon as possible.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection

from raftline_course.trial.metrics_dictionary import Action, Metrics
from raftline_course.trial.record import Record, TrialEvent
from raftline_course.trial.servers import Health, Servers
from raftline_course.trial.trial_messages import UNKNOWN_LEADER, node_name
from raftline_testing.nodes.proxy import Network

LEADER_SILENT_S = 1.0  # an election timeout: by then every follower has begun an election
_MARK = b"@AppendEntries "
_CANDIDATES = (b"@PreVote ", b"@RequestVote ")


class LeaderTracker:
    """The tracker of leaders, in their order, by each AppendEntries.

    A leader is known from its first received AppendEntries; it is unknown again once its process
    has ended, or a quorum has heard nothing from it for an election timeout.
    """

    def __init__(self, servers: Collection[str], start_s: float) -> None:
        self.leaders: list[tuple[float, str]] = [(0.0, UNKNOWN_LEADER)]  # seconds, id
        self.terms: list[tuple[float, str, int]] = []  # seconds, leader, term
        self.gaps_s: list[float] = []  # between two AppendEntries of a leader to one follower
        self.two_leaders: str = ""  # the observation if two servers led one term
        # (seconds, new leader, old one, how long no quorum had heard from it), except for killed
        # leaders
        self.takeovers: list[tuple[float, str, str, float]] = []
        self.vote_requests: Counter[tuple[str, str]] = Counter()  # by candidate and receiver
        self._servers = servers
        self._start_s = start_s
        self._term = 0
        self._gone_term = 0  # its leader has ended; its messages may still be in flight
        self._leader_of: dict[int, str] = {}
        self._since_s = 0.0
        self._heard_s: dict[str, float] = {}
        self._sent_s: dict[tuple[int, str], float] = {}  # (term, follower)
        self._lock = threading.Lock()

    @property
    def leader(self) -> str:
        """The id of the leader, or UNKNOWN_LEADER."""
        return self.leaders[-1][1]

    def start_at(self, start_s: float) -> None:
        """Count seconds from now on; a leader elected before leads from second 0."""
        with self._lock:
            later_s, self._start_s = start_s - self._start_s, start_s
            first, *later = self.leaders  # the first one leads from the beginning, whenever that is
            self.leaders = [first, *((max(0.0, at - later_s), who) for at, who in later)]
            self.terms = [(max(0.0, at - later_s), who, term) for at, who, term in self.terms]
            self.takeovers = [
                (max(0.0, at - later_s), new, old, silent_s)
                for at, new, old, silent_s in self.takeovers
            ]

    def saw(self, speaker: str, hearer: str, line: bytes, arrives: bool, now_s: float) -> None:
        """Record a line between two servers."""
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
            self.terms.append((self._seconds(now_s), speaker, term))
            self._heard_s = {}
        self._heard_s[hearer] = now_s
        # This includes a silent leader that is heard again before another one is elected.
        if self.leader != speaker and (self._since_s == now_s or self._is_heard(now_s)):
            self._note(speaker, now_s)

    def gone(self, server: str, now_s: float) -> None:
        """Record that the process of a server has ended."""
        with self._lock:
            self._sent_s = {key: when for key, when in self._sent_s.items() if key[1] != server}
            if self.leader == server:
                self._note(UNKNOWN_LEADER, now_s)
                self._gone_term = self._term

    def look(self, now_s: float) -> None:
        """Record if a quorum has heard nothing for too long."""
        with self._lock:
            young = now_s - self._since_s < LEADER_SILENT_S
            if self.leader != UNKNOWN_LEADER and not young and not self._is_heard(now_s):
                self._note(UNKNOWN_LEADER, now_s)

    def _is_heard(self, now_s: float) -> bool:
        """Whether a quorum has heard from the leader within an election timeout."""
        return now_s - self._quorum_heard_s() < LEADER_SILENT_S

    def _quorum_heard_s(self) -> float:
        """Return when a quorum, including the leader, last heard from it."""
        others = len(self._servers) // 2
        heard = sorted(self._heard_s.values(), reverse=True)
        return heard[others - 1] if len(heard) >= others else float("-inf")

    def _note(self, leader: str, now_s: float) -> None:
        self.leaders.append((self._seconds(now_s), leader))

    def _seconds(self, now_s: float) -> float:
        return max(0.0, now_s - self._start_s)


class Actions:
    """The actions of a trial, carried out when due. An action that needs a leader waits for one,
    and later actions wait for it."""

    def __init__(
        self,
        metrics: Metrics,
        servers: Servers,
        network: Network,
        watch: LeaderTracker,
        record: Record,
    ) -> None:
        self._todo = list(metrics.actions)
        self._endings: list[tuple[float, int, str, str]] = []  # (time, order, category, server)
        self._servers = servers
        self._network = network
        self._watch = watch
        self._record = record
        self._chance = random.Random(f"{metrics.seed} actions")
        self._now = 0.0
        self._handlers: dict[str, Callable[[Action], bool]] = {
            "fail leader": lambda action: self._fail(action, self._leader()),
            "fail follower": lambda action: self._fail(action, self._follower()),
            "restart": self._restart,
            "pause": self._pause,
            "drop": self._drop,
            "part easy": self._part,
            "part hard": self._part,
            "part end": self._part_end,
        }

    def run_due(self, now: float) -> None:
        """Carry out all due actions, `now` seconds after the start."""
        self._now = now
        while self._endings and self._endings[0][0] <= now:
            self._end(*heapq.heappop(self._endings)[2:])
        while self._todo and self._todo[0].trigger_point <= now:
            if not self._handlers[self._todo[0].category](self._todo[0]):
                return
            self._todo.pop(0)

    def not_done(self) -> list[str]:
        """Return the actions that had no opportunity."""
        return [f"{each.category} at {each.trigger_point:g}" for each in self._todo]

    def _leader(self) -> str | None:
        leader = self._watch.leader
        return leader if leader in self._servers.active else None

    def _follower(self) -> str | None:
        leader = self._leader()
        followers = [server for server in self._servers.active if server != leader]
        return self._chance.choice(followers) if leader and followers else None

    def _fail(self, action: Action, server: str | None) -> bool:
        if server is None:
            return False
        self._watch.gone(server, time.monotonic())  # first: another server may lead at once
        self._servers.fail(server)
        self._record.failed += 1
        self._note(action.category, (server,), f"{server} was killed")
        self._changed(server, Health.FAILED)
        return True

    def _restart(self, action: Action) -> bool:
        down = self._servers.failed
        server = action.server or (down[0] if down else "")
        if server not in down:
            return False
        self._servers.launch(server)
        self._note("restart", (server,), f"{server} was started again from its files")
        self._changed(server, Health.UP)
        return True

    def _pause(self, action: Action) -> bool:
        named = {"leader": self._leader, "follower": self._follower}.get(action.server)
        server = named() if named else action.server
        if server not in self._servers.active or server is None:
            return False
        self._servers.pause(server)
        self._later(action, "resume", server)
        self._note("pause", (server,), f"{server} was paused for {action.seconds:g} s")
        self._changed(server, Health.PAUSED)
        return True

    def _drop(self, action: Action) -> bool:
        self._network.drop(action.fraction)
        self._supersede("drop end")
        self._later(action, "drop end")
        text = f"{action.fraction:.0%} of all lines between servers are lost"
        self._note("drop", (), text)
        return True

    def _part(self, action: Action) -> bool:
        """Cut the servers in two: `part easy` leaves the leader with a quorum, `part hard` not.

        Servers that are down are placed where they don't break a quorum.
        """
        leader = self._leader()
        if leader is None:
            return False
        everybody, hard = self._record.servers, action.category == "part hard"
        quorum = len(everybody) // 2 + 1
        others = [server for server in everybody if server != leader]
        self._chance.shuffle(others)
        others.sort(key=lambda server: (server in self._servers.active) == hard)
        with_leader = others[: (len(everybody) - quorum if hard else quorum) - 1]
        side = tuple(sorted([leader, *with_leader]))
        rest = tuple(server for server in everybody if server not in side)
        self._network.part(frozenset(side))
        self._supersede("part end")
        self._later(action, "part end")
        verb = "was" if len(side) == 1 else "were"
        text = f"{' '.join(side)} {verb} cut off from {' '.join(rest)}; {leader} led"
        self._note(action.category, side, text)
        return True

    def _part_end(self, _: Action) -> bool:
        self._supersede("part end")
        self._end("part end", "")
        return True

    def _later(self, action: Action, what: str, server: str = "") -> None:
        if action.seconds is not None:
            ending = (self._now + action.seconds, len(self._record.events), what, server)
            heapq.heappush(self._endings, ending)

    def _supersede(self, what: str) -> None:
        """Cancel a pending end of this kind: its fault is over, or replaced."""
        self._endings = [ending for ending in self._endings if ending[2] != what]
        heapq.heapify(self._endings)

    def _end(self, what: str, server: str) -> None:
        if what == "resume":
            if self._servers.resume(server):
                self._note("resume", (server,), f"{server} went on")
                self._changed(server, Health.UP)
        elif what == "drop end":
            self._network.drop(0.0)
            self._note(what, (), "no lines are lost any more")
        else:
            self._network.heal()
            self._note(what, (), "all servers reach each other again")

    def _note(self, category: str, servers: tuple[str, ...], text: str) -> None:
        self._record.events.append(TrialEvent(self._now, category, servers, text))

    def _changed(self, server: str, health: Health) -> None:
        self._record.health.append((self._now, server, health))
