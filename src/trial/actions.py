"""The actions of a trial on its servers: each at its trigger point, or as soon as it can be."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable

from raftline.harness.proxy import Network
from raftline.trial.metrics import Action, Metrics
from raftline.trial.record import Event, Record
from raftline.trial.servers import Health, Servers
from raftline.trial.watch import Watch


class Actions:
    """Strikes when told the time. An action that needs a leader waits for one, and those
    behind it wait for it."""

    def __init__(
        self, metrics: Metrics, servers: Servers, network: Network, watch: Watch, record: Record
    ) -> None:
        self._todo = list(metrics.actions)
        self._endings: list[tuple[float, int, str, str]] = []  # (when, order, what, server)
        self._servers = servers
        self._network = network
        self._watch = watch
        self._record = record
        self._chance = random.Random(f"{metrics.seed} actions")
        self._now = 0.0
        self._handlers: dict[str, Callable[[Action], bool]] = {
            "fail leader": self._fail_leader,
            "fail follower": self._fail_follower,
            "restart": self._restart,
            "pause": self._pause,
            "drop": self._drop,
            "part easy": self._part,
            "part hard": self._part,
            "part end": self._part_end,
        }

    def run_due(self, now: float) -> None:
        """Do all that is due, `now` seconds after the start."""
        self._now = now
        while self._endings and self._endings[0][0] <= now:
            self._end(*heapq.heappop(self._endings)[2:])
        while self._todo and self._todo[0].trigger_point <= now:
            if not self._handlers[self._todo[0].category](self._todo[0]):
                return
            self._todo.pop(0)

    def not_done(self) -> list[str]:
        """Return the actions that found no occasion."""
        return [f"{each.category} at {each.trigger_point:g}" for each in self._todo]

    def _leader(self) -> str | None:
        leader = self._watch.leader
        return leader if leader in self._servers.active else None

    def _follower(self) -> str | None:
        leader = self._leader()
        followers = [server for server in self._servers.active if server != leader]
        return self._chance.choice(followers) if leader and followers else None

    def _fail_leader(self, action: Action) -> bool:
        return self._fail(action, self._leader())

    def _fail_follower(self, action: Action) -> bool:
        return self._fail(action, self._follower())

    def _fail(self, action: Action, server: str | None) -> bool:
        if server is None:
            return False
        self._watch.gone(server, time.monotonic())  # first: another may lead at once
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

        Those that are down are put where they take nobody's quorum away.
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
        """Forget such an ending that is still to come: what it was to end is over, or replaced."""
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
        self._record.events.append(Event(self._now, category, servers, text))

    def _changed(self, server: str, health: Health) -> None:
        self._record.health.append((self._now, server, health))
