"""Who leads, as a node inside a program sees it: told to those who wait and those who asked."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from raftline.bell import Bell
from raftline.raft.state import State

LOG = logging.getLogger("raftline")


class Leader(NamedTuple):
    """Who leads, and where; as text, the address."""

    name: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class View(NamedTuple):
    """What a node believes of the leadership at one moment; "": it knows of no leader."""

    leader: str
    term: int


Told = Callable[[View], None]


class Leadership:
    """Follows a node's view of who leads; calls back on one thread of its own, in order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._view = View("", 0)
        self._seen = View("", 0)  # by the core, already or not yet told
        self._news: deque[View | Told] = deque()  # in order; a Told is who wants to hear them
        self._told: list[Told] = []
        self._changed = threading.Condition()
        self._bell = Bell()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"{name} leadership", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Tell those who wait that nothing more comes."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._bell.ring()

    def look(self, state: State) -> None:
        """Take note of the core's state; called after each of its steps, so it never waits."""
        view = View(state.leader or "", state.term)
        if view.leader != self._seen.leader or (view.leader and view != self._seen):
            self._seen = view
            self._news.append(view)
            self._bell.ring()

    @property
    def view(self) -> View:
        """What the core believed after its last step."""
        return self._seen

    def tell(self, told: Told) -> None:
        """Call `told` with the view as it is, then with each new one."""
        self._news.append(told)
        self._bell.ring()

    def wait_for(self, holds: Callable[[View], bool], timeout_s: float | None) -> bool:
        """Wait until `holds` is true of a view; return whether it was in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or holds(self._view), timeout_s)
            return holds(self._view) and not self._stopping

    def _run(self) -> None:
        while not self._stopping:
            self._bell.wait()
            while self._news:
                news = self._news.popleft()
                if isinstance(news, View):
                    with self._changed:
                        self._view = news
                        self._changed.notify_all()
                    for each in self._told:
                        self._call(each)
                else:
                    self._told.append(news)
                    self._call(news)

    def _call(self, told: Told) -> None:
        try:
            told(self._view)
        except Exception:
            LOG.exception("%s: what is called when the leader changes", self._name)
