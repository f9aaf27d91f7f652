"""A cluster that a person drives: `Lab.step`, `Lab.act`, `Lab.facts`, and `Lab.go_to` to go back.

The same plan gives the same events, one by one, in each Python on each machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from raftline.raft.membership import Membership
from raftline.raft.node import RawNode, node_from_disk
from raftline.wire.commands.summaries import abridged
from raftline.wire.peer_lines import read

from .acts import ActRefused, LabPlayer
from .bugs import FEWEST_ACTS
from .cluster import LabCluster
from .laws import LabInvariants
from .live_picture import LivePicture
from .liveness import Liveness
from .plan import Act, Plan
from .run import Run


class Lab(Run):
    """A run of a plan. An act of the plan happens when the run reaches its number of events."""

    def __init__(
        self,
        plan: Plan,
        make_node: Callable[..., RawNode] = node_from_disk,
        make_invariants: Callable[[Membership], LabInvariants] = LabInvariants,
    ) -> None:
        """Start the servers, with raftline's core or another one.

        Raises:
            ActRefused: they can't start so.
        """
        self.plan = plan
        self._make_node, self._make_invariants = make_node, make_invariants
        super().__init__()

    def _make_world(self) -> None:
        self.picture = LivePicture(names_places=self._make_node is node_from_disk)
        self.cluster = LabCluster(self.plan.seed, self.picture, self._make_invariants)
        self.cluster.make_node = self._make_node
        self.world, self.hosts = self.cluster.world, self.cluster.hosts
        self.links = self.cluster.network
        self.refused = ""  # why the last act of the plan could not be done
        self._player = LabPlayer(self.cluster, self.picture)
        self._acts_seen: list[dict[str, Any]] = []  # since the last look
        self._liveness = Liveness(self.cluster)

    def _start(self) -> None:
        self._player.set_up(self.plan.before, self.plan.nodes)
        self.cluster.world.said.clear()  # a first start has nothing to recover

    def _run_event(self) -> None:
        self.world.step()
        self._liveness.check()

    # --- acts ---------------------------------------------------------------------------------

    def act(self, act: str) -> None:
        """Do an act now, in place of the later acts of the plan.

        Raises:
            ActRefused: it can't be done; nothing happened.
        """
        if self.broken:
            raise ActRefused("a rule is broken, and the run has ended: go back first")
        events, done = self.moment
        self._do(act)
        acts = [*self.plan.acts[:done], Act(events, act)]
        self.plan = replace(self.plan, acts=acts, at=0, done=None)
        self._acts_done += 1
        self._note_moment()

    def _is_act_due(self) -> bool:
        events, done = self.moment
        acts = self.plan.acts
        return done < len(acts) and acts[done].is_due(events, self.world.next_ms)

    def go_to_start(self) -> None:
        """Go to the moment that the plan shows first."""
        if self.plan.done is None:
            self.go_to_events(self.plan.at)
        else:
            self.go_to((self.plan.at, self.plan.done))

    def _is_act_due_by(self, until_ms: float) -> bool:
        done = self._acts_done
        is_by_time = done < len(self.plan.acts) and self.plan.acts[done].in_ms
        return is_by_time and self.plan.acts[done].due <= until_ms

    def _do_due_act(self) -> None:
        """Do the next act, which may not fit if the program or the plan was changed."""
        act = self.plan.acts[self._acts_done].text
        self._acts_done += 1
        try:
            self._do(act)
        except ActRefused as error:
            self.refused = f"{act}: {error}"

    def _do(self, act: str) -> None:
        at_s = max(self.world.now_ms / 1000, self.picture.last_s)
        self._watched(lambda: self._player.do(act))
        self._liveness.acted()
        paused = [name for name, host in self.hosts.items() if host.paused]
        self._acts_seen.append({"at": at_s, "text": act, "cuts": self._cuts(), "paused": paused})

    # --- facts --------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        bug = self.plan.bug
        fewest = {"fewest_acts": FEWEST_ACTS[bug]} if self.broken and bug in FEWEST_ACTS else {}
        return {
            **super().facts(),
            **fewest,
            "flights": self._flights(),
            "acts": self._acts(),
            "replies": self._replies(),
            "refused": self.refused,
            "forged": self.cluster.invariants.is_forged,
            "acts_ahead": len(self.plan.acts) - self._acts_done,
        }

    def _answers(self) -> list[str]:
        said = self.cluster.world.said
        answers = [text for kind, text in said if kind in ("answer", "start")]
        said.clear()
        return answers

    def _address(self) -> str:
        events, done = self.moment
        return replace(self.plan, at=events, done=done if self._is_act_due() else None).address()

    def _acts(self) -> list[dict[str, Any]]:
        """Return the acts since the last call, with the cut links and paused servers after each."""
        acts, self._acts_seen = self._acts_seen, []
        return acts

    def _replies(self) -> list[dict[str, Any]]:
        """Return the answers to clients since the last call, with their times."""
        replies, self.cluster.world.replies = self.cluster.world.replies, []
        return [{"at": now_ms / 1000, "text": text} for now_ms, text in replies]

    def _flights(self) -> list[dict[str, Any]]:
        return [
            {
                "number": number,
                "from": flight.line[0],
                "to": flight.line[1],
                "line": abridged(read(*flight.line)),
                "sent_ms": flight.sent_ms,
                "due_ms": flight.due_ms,
                "held": flight.is_held,
            }
            for number, flight in self.cluster.network.flights.items()
        ]
