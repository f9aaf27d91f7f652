"""Files that a node reads again at SIGHUP, each by a function of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

from raftline.common import notify
from raftline.common.config import ConfigError, complaint
from raftline.common.signals import threads_without_signals
from raftline.common.wakeup import Wakeup


class Reload:
    """The functions that read files again. A signal handler may `ask`; a thread does it."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say
        self._readers: dict[str, Callable[[], str]] = {}
        self._asked = Wakeup()

    def add(self, what: str, read: Callable[[], str]) -> None:
        """Have `read` called at each SIGHUP. It returns what to say of it, "" for nothing, and
        raises ConfigError or OSError where all stays as it was."""
        self._readers[what] = read

    def begin(self) -> None:
        """Obey from now on."""
        with threads_without_signals():
            threading.Thread(target=self._run, name=f"{self._name} reload", daemon=True).start()

    def ask(self) -> None:
        """Ask for it, from any thread or a signal handler."""
        self._asked.set()

    def _run(self) -> None:
        while self._asked.wait():
            notify.notify(notify.reloading())
            self.read_again()
            notify.notify(notify.READY)

    def read_again(self) -> None:
        """Call each function; one that fails keeps no other from being called."""
        done = []
        for what, read in self._readers.items():
            try:
                said = read()
            except (ConfigError, OSError) as error:
                why = complaint(error) if isinstance(error, OSError) else str(error)
                self._say(f"[!] {self._name}: {what} can't be read again, and stay: {why}")
            else:
                done.append(f"{what} ({said})" if said else what)
        if done:
            self._say(f"[*] {self._name} has read again: {', '.join(done)}")
