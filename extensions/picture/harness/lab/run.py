"""A run that the page shows: forth and back in virtual time, and the facts of the moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from raftline_testing.virtual.failing import draw_failure, words_of
from raftline_testing.virtual.nodes.simulated_node import Host
from raftline_testing.virtual.world.network import Links
from raftline_testing.virtual.world.world import World

from .acts import ActRefused
from .live_picture import LivePicture
from .plan import EVENTS_MAX

QUIET_EVENTS = 400  # after so many heartbeats, a step until something happens ends
Moment = tuple[int, int]  # events, acts


class Run:
    """A run up to some moment.

    A moment is a number of events of the world and a number of acts.
    """

    picture: LivePicture
    world: World
    hosts: Mapping[str, Host]
    links: Links

    def __init__(self) -> None:
        """Start the servers.

        Raises:
            ActRefused: they can't start so.
        """
        self._begin()

    def _begin(self) -> None:
        """Start again."""
        self.broken = ""  # the broken rule, in words; then nothing happens any more
        self._acts_done = 0
        self._moments: list[Moment] = []  # at which something was to be seen
        self._is_anew = True
        self._make_world()
        self._watched(self._start)
        self._note_moment()

    def _make_world(self) -> None:
        """Set `picture`, `world`, `hosts` and `links`."""
        raise NotImplementedError

    def _start(self) -> None:
        """Start the servers."""
        raise NotImplementedError

    def _run_event(self) -> None:
        """Run the next event."""
        raise NotImplementedError

    def act(self, act: str) -> None:
        """Do an act of a person now.

        Raises:
            ActRefused: it can't be done; nothing happened.
        """
        raise NotImplementedError

    @property
    def moment(self) -> Moment:
        """The present moment."""
        return self.world.events, self._acts_done

    # --- forth and back -----------------------------------------------------------------------

    def step(self, *, until_notable: bool = False, until_ms: float = inf) -> bool:
        """Run until a node takes a step, or an act of the plan is done, by this virtual time; with
        `until_notable`, heartbeats do not count. Return whether that happened."""
        before = self._seen(until_notable)
        for _ in range(QUIET_EVENTS):
            if not self._has_more_by(until_ms) or not self._advance():
                break
            if self._seen(until_notable) != before:
                return True
        return False

    def _seen(self, is_notable: bool) -> tuple[int, int]:
        picture = self.picture
        return picture.notable if is_notable else picture.count, self._acts_done

    def run_until(self, until_ms: int) -> bool:
        """Run all events that are due by this virtual time; return whether it can continue. The
        clock stays at the last event: the time of an act must follow from the plan."""
        while self._has_more_by(until_ms):
            if not self._advance():
                return False
        return not self.broken

    def _has_more_by(self, until_ms: float) -> bool:
        return self.world.next_ms <= until_ms or self._is_act_due_by(until_ms)

    def go_to_ms(self, at_ms: int) -> None:
        """Go back or forth to a virtual time: all that is due by then has happened."""
        if at_ms < self.world.now_ms:
            self._begin()
        self.run_until(at_ms)

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
        if self.broken or self.world.events >= EVENTS_MAX or not self._can_go_on():
            return False
        before = (self.picture.count, self._acts_done)
        if self._is_act_due():
            self._do_due_act()
        else:
            self._watched(self._run_event)
        if (self.picture.count, self._acts_done) != before or self.broken:
            self._note_moment()
        return True

    def _can_go_on(self) -> bool:
        return self._is_act_due() or self.world.next_ms != inf

    def _is_act_due(self) -> bool:
        return False

    def _is_act_due_by(self, until_ms: float) -> bool:
        return False

    def _do_due_act(self) -> None:
        """Do the next act of the plan."""

    def _note_moment(self) -> None:
        if not self._moments or self._moments[-1] < self.moment:
            self._moments.append(self.moment)

    def _watched(self, act: Callable[[], object]) -> None:
        """Run a part of the world. A broken rule, or any other error, ends the run."""
        world = self.world
        world.acting = ""
        try:
            act()
        except ActRefused:
            raise
        except Exception as error:
            self.broken = self._words(error)
            draw_failure(self.picture, error, world.acting)

    def _words(self, error: Exception) -> str:
        return words_of(error, self.world.acting or "the act")

    # --- facts --------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """Return the present facts, and the events since the last call, as a page shows them."""
        is_anew, self._is_anew = self._is_anew, False
        world = self.world
        return {
            "anew": is_anew,
            "events": self.picture.news(),
            "members": list(self.hosts),
            "offsets": {},
            "left_out": 0,
            "now_ms": world.now_ms,
            "next_ms": None if world.next_ms == inf else world.next_ms,
            "moment": list(self.moment),
            "nodes": {name: self._node(name) for name in self.hosts},
            "flights": [],
            "acts": [],
            "replies": [],
            "cuts": self._cuts(),
            "answers": self._answers(),
            "broken": self.broken,
            "refused": "",
            "forged": False,
            "acts_ahead": 0,
            "address": self._address(),
        }

    def _answers(self) -> list[str]:
        """Return what clients were told, and other lines, since the last call."""
        raise NotImplementedError

    def _address(self) -> str:
        """Return the present moment as the part of an address after `#`."""
        raise NotImplementedError

    def _cuts(self) -> list[list[str]]:
        return [list(link) for link in self.links.cuts]

    def _node(self, name: str) -> dict[str, Any]:
        host = self.hosts[name]
        files = {
            file: data.decode("utf-8", "replace")
            for file, data in sorted(host.disk.folder.contents().items())
            if not file.startswith(".")
        }
        disk = "held" if host.disk.is_held else "slow" if host.slow_ms else ""
        return {"up": host.node is not None, "paused": host.paused, "disk": disk, "files": files}
