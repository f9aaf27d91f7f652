"""The picture of a run that continues: a page takes what is new after each look."""

from __future__ import annotations

from raftline.picture.harness.judging.collected import Collector, draw_event
from raftline.picture.observe.facts import Step
from raftline.picture.view.picture import Event, Picture

KEPT = 200  # gathered events that a failure may still change


class LivePicture(Collector):
    """Gathers the steps of nodes that share one clock, and draws those that are new."""

    def __init__(self, *, names_places: bool = True) -> None:
        super().__init__(one_clock=True, names_places=names_places)
        self.notable = 0  # steps, except heartbeats and ignored messages
        self._picture = Picture(one_clock=True)
        self._taken = 0  # of the gathered events

    @property
    def last_s(self) -> float:
        """The time at which the last step is drawn."""
        return self._last_s

    def take(self, step: Step) -> None:
        self.notable += not (step.is_idle or step.is_pulse or step.is_ignored)
        super().take(step)

    def news(self) -> list[Event]:
        """Return what happened since the last call, for the model of a page."""
        news: list[Event] = []
        for at_s, name, one in self._events[self._taken :]:
            drawn = draw_event(self._picture, at_s, name, one)
            if "why" in one and not self._names_places:
                drawn[0]["why"] = [[*why[:2], "", *why[3:]] for why in one["why"]]
            news += drawn
        del self._events[:-KEPT]
        self._taken = len(self._events)
        list(self._picture.lost(self._ends_s()))  # forgets the messages that arrived
        return news
