"""A server inside a program, and its view of the leader for waiting calls and callbacks.

The server's output goes to the program's log.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from raftline.clients.requests.health import report_error
from raftline.clients.requests.times import Seconds
from raftline.common.process.guarded_thread import begin_thread
from raftline.common.process.wakeup import Wakeup
from raftline.common.public import public
from raftline.net.connections.listener import Listener
from raftline.node.program.node_server import Server
from raftline.raft.effects import Effects
from raftline.raft.node_view import NodeView

from .waiting import Waiting

LOG = logging.getLogger("raftline")


@public("raftline.api")
class Leader(NamedTuple):
    """The leader and its address, which is also its text."""

    name: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class LeadershipView(NamedTuple):
    """A node's belief about the leadership at one moment; "" means that it knows no leader."""

    leader: str
    term: int


OnView = Callable[[LeadershipView], None]


class Leadership:
    """Tracks a node's view of the leader, and makes callbacks in order, in a thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._view = LeadershipView("", 0)  # the view last reported to the listeners
        self._seen = LeadershipView("", 0)  # the core's view, perhaps not yet reported
        self._news: deque[LeadershipView | OnView] = deque()  # in order, including new listeners
        self._listeners: list[OnView] = []
        self._changed = threading.Condition()
        self._wakeup = Wakeup()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"{name} leadership", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Report that the node neither leads nor follows; report nothing after that."""
        with self._changed:
            self._seen = LeadershipView("", self._seen.term)
            self._news.append(self._seen)
            self._stopping = True  # set after the last news, which must be reported first
            self._changed.notify_all()
        self._wakeup.set()

    def look(self, node: NodeView) -> None:
        """Record the core's state. This is called after each of its steps, so it must not wait
        long."""
        view = LeadershipView(node.leader or "", node.term)
        if view.leader != self._seen.leader or (view.leader and view != self._seen):
            self._news.append(view)
            self._wakeup.set()
            with self._changed:  # held only to read the view, never during a callback
                self._seen = view
                self._changed.notify_all()

    @property
    def view(self) -> LeadershipView:
        """The core's belief after its last step."""
        return self._seen

    def listen(self, listener: OnView) -> None:
        """Call `listener` with the current view, then with each new view."""
        self._news.append(listener)
        self._wakeup.set()

    def on_role(self, call: Callable[[], object], *, leads: bool) -> None:
        """Call `call` each time the node becomes the leader, or with `leads=False` a follower: a
        node that hears of a leader, or has lost the leadership. So the two calls alternate."""
        was: list[bool | None] = [None]

        def changed(view: LeadershipView) -> None:
            before = was[0]
            if view.leader or before:  # a node that never knew a leader is neither
                was[0] = view.leader == self._name
            if was[0] is leads and before is not leads:
                call()

        self.listen(changed)

    def wait_for(self, holds: Callable[[LeadershipView], bool], timeout: Seconds | None) -> bool:
        """Wait until `holds` is true of the view; return whether that happened in time. A callback
        may call this; that delays later callbacks, but no other wait."""
        waiting = Waiting(timeout=timeout)
        with self._changed:
            waiting.until(self._changed, lambda: self._stopping or holds(self._seen))
            return holds(self._seen) and not self._stopping

    def _run(self) -> None:
        while not self._stopping or self._news:
            self._wakeup.wait()
            while self._news:
                news = self._news.popleft()
                if isinstance(news, LeadershipView):
                    self._view = news
                    for each in self._listeners:
                        self._call(each)
                else:
                    self._listeners.append(news)
                    self._call(news)

    def _call(self, listener: OnView) -> None:
        try:
            listener(self._view)
        except (Exception, SystemExit):  # SystemExit would silently end this thread
            report_error("%s: a callback for a change of the leader failed", self._name)


class LogStream(io.TextIOBase):
    """Writes a console's lines to the logger "raftline"; lines that begin with [!] are warnings."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            try:
                LOG.log(logging.WARNING if line.startswith("[!]") else logging.INFO, "%s", line)
            except Exception as error:  # from a filter of the program; the next line may pass
                print(f"{line}\n[!] that line could not be logged: {error!r}", file=sys.stderr)
        return len(text)

    def fileno(self) -> int:
        raise io.UnsupportedOperation("no file")


class EmbeddedServer(Server):
    """A `Server` that reports its leadership, and whose state file follows its state."""

    def __init__(
        self,
        *arguments: Any,
        leadership: Leadership,
        state_file_every: float | None,
        **options: Any,
    ) -> None:
        self._leadership = leadership
        self._state_file_every = state_file_every
        self._applied = Wakeup()
        self._is_over = threading.Event()
        super().__init__(*arguments, **options)

    def report(self, effects: Effects) -> None:
        super().report(effects)
        self._leadership.look(self.node.view)

    def applied(self) -> None:
        super().applied()
        if self._state_file_every is not None:
            self._applied.set()

    def begin(self, listener: Listener) -> None:
        super().begin(listener)
        if self._state_file_every is not None:
            every_s = self._state_file_every
            begin_thread(lambda: self._write_states(every_s), f"{self.name} state file", self.fail)

    def wait(self) -> int:
        try:
            return super().wait()
        finally:
            self._is_over.set()
            self._applied.set()
            if self.exit_status and self.driver.has_written:
                # A failed server leaves this to the end of its process; a program keeps running,
                # and may start the node again.
                self.logmanager.close()

    def _write_states(self, every_s: float) -> None:
        """Write the state after changes, at most once every `every_s` seconds."""
        while not self._is_over.wait(every_s):
            self._applied.wait()
            if not self._is_over.is_set():
                self.snapshots.ask()
