"""The leader, as a node inside a program sees it: told to callers that wait and that asked."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from raftline.common.wakeup import Wakeup
from raftline.objects.waiting import Waiting
from raftline.raft.view import NodeView

LOG = logging.getLogger("raftline")


class Leader(NamedTuple):
    """The leader and its place; as text, the address."""

    name: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class View(NamedTuple):
    """A node's belief about the leadership at one moment; "": it knows of no leader."""

    leader: str
    term: int


Told = Callable[[View], None]


class Leadership:
    """Follows a node's view of who leads; calls back on one thread of its own, in order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._view = View("", 0)  # as it was told
        self._seen = View("", 0)  # by the core, already or not yet told
        self._news: deque[View | Told] = deque()  # in order; a Told is who wants to hear them
        self._told: list[Told] = []
        self._changed = threading.Condition()
        self._wakeup = Wakeup()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"{name} leadership", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Say a last time that the node leads no more, and follows nobody; then nothing comes."""
        with self._changed:
            self._seen = View("", self._seen.term)
            self._news.append(self._seen)
            self._stopping = True  # behind the last news: who sees this tells it before it ends
            self._changed.notify_all()
        self._wakeup.set()

    def look(self, node: NodeView) -> None:
        """Take note of the core's state; called after each of its steps, so it hardly waits."""
        view = View(node.leader or "", node.term)
        if view.leader != self._seen.leader or (view.leader and view != self._seen):
            self._news.append(view)
            self._wakeup.set()
            with self._changed:  # held for a look at the view only, and never while calling back
                self._seen = view
                self._changed.notify_all()

    @property
    def view(self) -> View:
        """The core's belief after its last step."""
        return self._seen

    def tell(self, told: Told) -> None:
        """Call `told` with the view as it is, then with each new one."""
        self._news.append(told)
        self._wakeup.set()

    def on_role(self, call: Callable[[], object], *, leads: bool) -> None:
        """Call `call` each time the node becomes the leader, or else a follower: one that hears of
        a leader, or has lost the leadership. So the two take turns, whoever leads the others."""
        was: list[bool | None] = [None]

        def told(view: View) -> None:
            before = was[0]
            if view.leader or before:  # a node that never knew a leader is neither yet
                was[0] = view.leader == self._name
            if was[0] is leads and before is not leads:
                call()

        self.tell(told)

    def wait_for(self, holds: Callable[[View], bool], timeout_s: float | None) -> bool:
        """Wait until `holds` is true of the view; return whether it was in time. Also within a
        callback, which holds up the later ones, and nobody who waits."""
        waiting = Waiting(timeout=timeout_s)
        with self._changed:
            waiting.until(self._changed, lambda: self._stopping or holds(self._seen))
            return holds(self._seen) and not self._stopping

    def _run(self) -> None:
        while not self._stopping or self._news:
            self._wakeup.wait()
            while self._news:
                news = self._news.popleft()
                if isinstance(news, View):
                    self._view = news
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
