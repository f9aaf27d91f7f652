"""A server inside a program: who leads is told on, and what it prints goes to the program's log."""

from __future__ import annotations

import io
import logging
import threading
from typing import Any

from raftline.common.wakeup import Wakeup
from raftline.controller.udp import UdpListener
from raftline.net.listener import Listener
from raftline.node.server import Server
from raftline.objects.leadership import Leadership
from raftline.raft.effects import Effects


class LogStream(io.TextIOBase):
    """Takes a console's lines for the logger "raftline"; those that begin with [!] as warnings."""

    def write(self, text: str) -> int:
        log = logging.getLogger("raftline")
        for line in text.splitlines():
            log.log(logging.WARNING if line.startswith("[!]") else logging.INFO, "%s", line)
        return len(text)

    def fileno(self) -> int:
        raise io.UnsupportedOperation("no file")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class EmbeddedServer(Server):
    """A `Server` whose leadership is watched, and whose state file follows its state."""

    def __init__(
        self,
        *arguments: Any,
        leadership: Leadership,
        state_file_every: float | None,
        **named: Any,
    ) -> None:
        self._leadership = leadership
        self._state_file_every = state_file_every
        self._applied = Wakeup()
        self._is_over = threading.Event()
        super().__init__(*arguments, **named)

    def report(self, effects: Effects) -> None:
        super().report(effects)
        self._leadership.look(self.node.view)
        if effects.apply and self._state_file_every is not None:
            self._applied.set()

    def begin(self, listener: Listener, datagrams: UdpListener | None = None) -> None:
        if self._state_file_every is not None:
            threading.Thread(
                target=self._write_states, args=(self._state_file_every,),
                name=f"{self.name} state file", daemon=True,
            ).start()  # fmt: skip
        super().begin(listener, datagrams)

    def wait(self) -> int:
        try:
            return super().wait()
        finally:
            self._is_over.set()
            self._applied.set()
            if self.exit_status and self.driver.has_written:
                # A server that failed leaves this to the end of its process; a program goes on,
                # and may start the node anew.
                self.logmanager.close()

    def _write_states(self, every_s: float) -> None:
        """Have the state written when something was applied, at most so often."""
        while not self._is_over.wait(every_s):
            self._applied.wait()
            if not self._is_over.is_set():
                self.snapshots.ask()
