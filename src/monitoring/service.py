"""A node as a service of its machine: its log, its HTTP door, systemd, SIGHUP."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..common.address import Address
from ..common.config import ConfigError, complaint
from ..common.console import Console
from ..common.guarded_thread import guarded_thread
from ..common.logs import Records
from ..common.signals import Interrupts, threads_without_signals
from ..common.wakeup import Wakeup
from ..node import boot
from ..node.reading_again import readers_of
from ..node.server import Server
from ..node.settings import PREFIX, Settings
from .pages import Pages
from .systemd import READY, STOPPING, begin_watchdog, notify, reloading

if TYPE_CHECKING:
    from .listener import MonitorListener

AT_ONCE = ("log-level", "log-format", "verbose")  # settings that a running node takes over


class Service:
    """The surroundings of one node, from its arguments to its end."""

    def __init__(
        self,
        settings: Settings,
        read_settings: Callable[[], Settings],
        console: Console,
        stamp: Callable[[], str],
    ) -> None:
        """Prepare; `read_settings` reads them again, `stamp` gives the time for the log."""
        self.arguments = settings.arguments
        self._settings = settings  # those of the start
        self._read_settings = read_settings
        self._console = console
        self._stamp = stamp
        self._server: Server | None = None
        self._records: Records | None = None
        self._pages = Pages()
        self._door: MonitorListener | None = None
        self.reload = Reload(settings.arguments.name, console.answer)
        self.reload.add("settings", self._take_settings)
        self._set_log()
        for variable in settings.unknown:
            told = f"{variable} is no setting of a node, as {PREFIX}… are; it is ignored"
            console.say(f"[!] {told}")

    def open_door(self, listed: Address | None) -> None:
        """Answer over HTTP, if that was asked for; before the node reads its files. `listed` is
        its place in the file of members.

        Raises:
            PortRefused: the place can't be had.
        """
        place = self.arguments.http
        if place is None:
            return
        from .listener import MonitorListener

        outer = [one.host for one in (self.arguments.advertise, listed) if one is not None]
        names = {self.arguments.host, socket.gethostname(), *outer}
        self._door = MonitorListener(place, self._pages, names=names)
        if place.is_open_to_network:
            warning = f"[!] --http {place}: everybody on the network can read this node's figures"
            self._console.say(warning)
        self._door.open(self.arguments.name, self._console.say)

    def attach(self, server: Server, interrupts: Interrupts) -> None:
        """Let signals reach a node that has recovered."""
        self._server = server

        def stop() -> None:
            notify(STOPPING)
            server.stop()

        interrupts.stop_with(stop)
        for what, read in readers_of(server).items():
            self.reload.add(what, read)
        interrupts.read_again_with(self.reload.ask)

    def began(self, server: Server) -> None:
        """Report to systemd that the node serves; handle SIGHUP, also an earlier one."""
        self._pages.serve(server)
        notify(READY)
        begin_watchdog(server)
        self.reload.begin()

    def close(self) -> None:
        """Stop answering over HTTP."""
        if self._door is not None:
            self._door.close()

    # --- the log, and settings that are read again ----------------------------------------------

    def _set_log(self) -> None:
        arguments = self.arguments
        self._console.set_level(boot.log_level(arguments))
        before, self._records = self._records, None
        if arguments.log_format != "console":
            name = arguments.name
            self._records = Records(arguments.log_format, name, self._stamp, self._term)
        self._console.spell_by(self._records.spell if self._records is not None else None)
        if before is not None:
            before.close()

    def spelled(self, line: str) -> list[str]:
        """Return a line as the log has it, if the console is closed."""
        return [line] if self._records is None else self._records.spell(line)

    def _term(self) -> int | None:
        return self._server.node.view.term if self._server is not None else None

    def _take_settings(self) -> str:
        """Read the settings again; return those that take effect at the next start only."""
        new = self._read_settings()
        later = _changed(self._settings, new.arguments)
        self.arguments = new.arguments
        self._set_log()
        return f"at the next start: {' '.join(later)}" if later else ""


def _changed(old: Settings, new: argparse.Namespace) -> Sequence[str]:
    return [
        name
        for name, action in old.actions.items()
        if name not in AT_ONCE and getattr(old.arguments, action.dest) != getattr(new, action.dest)
    ]


class Reload:
    """The functions that read files again. A signal handler may `ask`; a thread does it."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say
        self._readers: dict[str, Callable[[], str]] = {}
        self._asked = Wakeup()

    def add(self, what: str, read: Callable[[], str]) -> None:
        """Have `read` called at each SIGHUP. It returns a line to print, "" for none. It
        raises ConfigError or OSError if it changed nothing."""
        self._readers[what] = read

    def begin(self) -> None:
        """Handle requests from now on."""
        with threads_without_signals():
            guarded_thread(self._run, f"{self._name} reload", self._ended_by).start()

    def _ended_by(self, error: Exception) -> None:
        self._say(f"[!] {self._name} reads no files again, whatever is asked: {error!r}")

    def ask(self) -> None:
        """Request it, from any thread or a signal handler."""
        self._asked.set()

    def _run(self) -> None:
        while self._asked.wait():
            notify(reloading())
            self.read_again()
            notify(READY)

    def read_again(self) -> None:
        """Call each function, even after one that fails."""
        done = []
        for what, read in self._readers.items():
            try:
                said = read()
            except (ConfigError, OSError) as error:
                why = complaint(error) if isinstance(error, OSError) else str(error)
                self._say(f"[!] {self._name}: {what} can't be read again, and stay: {why}")
            except Exception as error:  # amid the connections that it concerns, for example
                self._say(f"[!] {self._name}: {what} are read again in part: {error!r}")
            else:
                done.append(f"{what} ({said})" if said else what)
        if done:
            self._say(f"[*] {self._name} has read again: {', '.join(done)}")
