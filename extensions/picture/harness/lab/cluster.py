"""The servers of the lab: those of a transcript, in a world whose time and messages move by
themselves, by a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from raftline.picture.harness.judging.collected import Collector
from raftline.raft.membership import Membership, all_vote
from raftline.raft.messages import Message
from raftline_testing.virtual.nodes.simulated_disk import Disk
from raftline_testing.virtual.script import (
    ScriptedCluster,
    ScriptedHost,
    ScriptedRequest,
    ScriptedWorld,
)
from raftline_testing.virtual.world.chance import up_to
from raftline_testing.virtual.world.network import ScriptedNetwork

from .laws import LabInvariants
from .network import LabNetwork

TIMEOUT_MS = 150  # the shortest; each election timeout is drawn from here to twice this


class LabWorld(ScriptedWorld):
    """A world that also says what a recovery found, and when each client had its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.replies: list[tuple[int, str]] = []  # when, and `CLIENT <- NODE@LINE`

    def tell(self, kind: str, what: str | Message) -> None:
        if kind == "answer" and isinstance(what, str):
            self.replies.append((self.now_ms, what))
        if kind == "start" and isinstance(what, str):
            self.said.append((kind, what))
        else:
            super().tell(kind, what)


class LabCluster(ScriptedCluster):
    """Servers whose messages travel by themselves. The seed decides how long the messages take, and
    how long the servers wait for a leader."""

    world: LabWorld
    network: LabNetwork
    invariants: LabInvariants

    def __init__(
        self,
        seed: int,
        collector: Collector,
        make_invariants: Callable[[Membership], LabInvariants] = LabInvariants,
    ) -> None:
        self._make_invariants = make_invariants
        self.chance = Random(seed)
        self._drawn: set[str] = set()  # servers whose timeouts nobody set
        super().__init__(collector, LabWorld())

    def make_network(self) -> ScriptedNetwork:
        return LabNetwork(self.world, self.is_up, self.chance, lambda line: self.receive(*line))

    def make_disk(self, name: str) -> Disk:
        return Disk(self.world, name)

    def begin(self, names: list[str]) -> None:
        self.invariants = self._make_invariants(all_vote({name: f"{name}:1" for name in names}))
        super().begin(names)

    def set_timeouts(self) -> list[list[int]]:
        """Return the election timeouts that somebody set."""
        return [times for name, times in self.timeouts.items() if name not in self._drawn]

    def add(self, name: str, members: Mapping[str, str]) -> ScriptedHost:
        if name not in self.timeouts:
            self._drawn.add(name)
        return super().add(name, members)

    def timeouts_of(self, name: str, chance: Random, timeout_ms: int) -> Callable[[], int]:
        if name not in self._drawn:
            return super().timeouts_of(name, chance, timeout_ms)
        return lambda: TIMEOUT_MS + up_to(TIMEOUT_MS - 1, self.chance)

    def request(self, to: str, client: str, command: str) -> None:
        """Deliver a client's line; a listing of all pairs is not an entry either."""
        if command.split(" ")[0] == "show":
            host = self.hosts[to]
            host.submit(ScriptedRequest(host, client, command, in_log=False))
        else:
            super().request(to, client, command)
