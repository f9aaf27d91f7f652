"""A cluster that a person drives: `Lab.step`, `Lab.act`, `Lab.facts`, and `Lab.go_to` to go back.

The same plan gives the same events, one by one, in each Python on each machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

from raftline.observe.step_lines import abridged
from raftline.raft.membership import Membership
from raftline.raft.node import RawNode, node_from_disk
from raftline.wire.peer_lines import read

from ..virtual.failing import draw_failure, words_of
from .acts import ActRefused, LabPlayer
from .cluster import LabCluster
from .laws import LabInvariants
from .live_picture import LivePicture
from .liveness import Liveness
from .plan import EVENTS_MAX, Act, Plan

QUIET_EVENTS = 400  # after so many heartbeats, a step until something happens ends
Moment = tuple[int, int]  # events, acts


class Lab:
    """A run of a plan, up to some moment.

    A moment is a number of events of the world and a number of acts. An act of the plan happens
    when the run reaches its number of events.
    """

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
        self._begin()

    def _begin(self) -> None:
        self.picture = LivePicture(names_places=self._make_node is node_from_disk)
        self.cluster = LabCluster(self.plan.seed, self.picture, self._make_invariants)
        self.cluster.make_node = self._make_node
        self.broken = ""  # the broken rule, in words; then nothing happens any more
        self.refused = ""  # why the last act of the plan could not be done
        self._acts_done = 0
        self._moments: list[Moment] = []  # at which something was to be seen
        self._is_anew = True
        self._player = LabPlayer(self.cluster, self.picture)
        self._liveness = Liveness(self.cluster)
        self._watched(lambda: self._player.set_up(self.plan.before, self.plan.nodes))
        self.cluster.world.said.clear()  # a first start has nothing to recover
        self._note_moment()

    @property
    def moment(self) -> Moment:
        """The present moment."""
        return self.cluster.world.events, self._acts_done

    # --- forth and back -----------------------------------------------------------------------

    def step(self, *, until_notable: bool = False) -> bool:
        """Run until a node takes a step, or an act of the plan is done; with `until_notable`,
        heartbeats do not count. Return whether that happened."""
        before = self._seen(until_notable)
        for _ in range(QUIET_EVENTS):
            if not self._advance():
                break
            if self._seen(until_notable) != before:
                return True
        return False

    def _seen(self, is_notable: bool) -> tuple[int, int]:
        picture = self.picture
        return picture.notable if is_notable else picture.count, self._acts_done

    def run_until(self, until_ms: int) -> bool:
        """Run all events that are due by this virtual time; return whether the run can go on. The
        clock stays at the last event: the time of an act must follow from the plan."""
        while self.cluster.world.next_ms <= until_ms or self._is_act_due_by(until_ms):
            if not self._advance():
                return False
        return not self.broken

    def go_to(self, moment: Moment) -> None:
        """Go back or forth to a moment; to go back is to run the plan again."""
        if moment < self.moment:
            self._begin()
        while self.moment < moment and self._advance():
            pass

    def go_to_events(self, events: int) -> None:
        """Go forth to a number of events, and do the acts that are due then."""
        while (self.moment[0] < events or self._is_act_due()) and self._advance():
            pass

    def back(self) -> bool:
        """Go back to the last moment at which something was to be seen; return whether there is
        one."""
        earlier = [one for one in self._moments if one < self.moment]
        if earlier:
            self.go_to(earlier[-1])
        return bool(earlier)

    def _advance(self) -> bool:
        """Do the act of the plan that is due, or run the next event."""
        events, done = self.moment
        if self.broken or events >= EVENTS_MAX:
            return False
        count = self.picture.count
        if self._is_act_due():
            self._acts_done += 1
            self._do(self.plan.acts[done].text)
        elif self.cluster.world.next_ms == inf:
            return False
        else:
            self._watched(self._run_event)
        if (self.picture.count, self._acts_done) != (count, done) or self.broken:
            self._note_moment()
        return True

    def _run_event(self) -> None:
        self.cluster.world.step()
        self._liveness.check()

    def _is_act_due_by(self, until_ms: int) -> bool:
        done = self._acts_done
        is_by_time = done < len(self.plan.acts) and self.plan.acts[done].in_ms
        return is_by_time and self.plan.acts[done].due <= until_ms

    def _is_act_due(self) -> bool:
        events, done = self.moment
        acts = self.plan.acts
        return done < len(acts) and acts[done].is_due(events, self.cluster.world.next_ms)

    def _note_moment(self) -> None:
        if not self._moments or self._moments[-1] < self.moment:
            self._moments.append(self.moment)

    # --- acts ---------------------------------------------------------------------------------

    def act(self, act: str) -> None:
        """Do an act now, in place of the later acts of the plan.

        Raises:
            ActRefused: it can't be done; nothing happened.
        """
        if self.broken:
            raise ActRefused("a rule is broken, and the run has ended: go back first")
        events, done = self.moment
        self._watched(lambda: self._player.do(act))
        self._liveness.acted()
        acts = [*self.plan.acts[:done], Act(events, act)]
        self.plan = replace(self.plan, acts=acts, at=0)
        self._acts_done += 1
        self._note_moment()

    def _do(self, act: str) -> None:
        """Do an act of the plan, which may not fit if the program or the plan was changed."""
        try:
            self._watched(lambda: self._player.do(act))
            self._liveness.acted()
        except ActRefused as error:
            self.refused = f"{act}: {error}"

    def _watched(self, act: Callable[[], object]) -> None:
        """Run a part of the world. A broken rule, or any other error, ends the run."""
        world = self.cluster.world
        world.acting = ""
        try:
            act()
        except ActRefused:
            raise
        except Exception as error:
            self.broken = words_of(error, world.acting or "the act")
            draw_failure(self.picture, error, world.acting)

    # --- facts --------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """Return the present facts, and the events since the last call, as a page shows them."""
        is_anew, self._is_anew = self._is_anew, False
        said, world = self.cluster.world.said, self.cluster.world
        answers = [text for kind, text in said if kind in ("answer", "start")]
        said.clear()
        events, done = self.moment
        return {
            "anew": is_anew,
            "events": self.picture.news(),
            "members": list(self.cluster.hosts),
            "offsets": {},
            "left_out": 0,
            "now_ms": world.now_ms,
            "next_ms": None if world.next_ms == inf else world.next_ms,
            "moment": [events, done],
            "nodes": {name: self._node(name) for name in self.cluster.hosts},
            "flights": self._flights(),
            "cuts": [list(link) for link in self.cluster.network.cuts],
            "answers": answers,
            "broken": self.broken,
            "refused": self.refused,
            "plan": replace(self.plan, at=events).text(),
            "address": replace(self.plan, at=events).address(),
            "acts_ahead": len(self.plan.acts) - done,
        }

    def _node(self, name: str) -> dict[str, Any]:
        host = self.cluster.hosts[name]
        files = {
            file: data.decode("utf-8", "replace")
            for file, data in sorted(host.disk.folder.contents().items())
            if not file.startswith(".")
        }
        disk = "held" if host.disk.is_held else "slow" if host.slow_ms else ""
        return {"up": host.node is not None, "paused": host.paused, "disk": disk, "files": files}

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
