"""A node as a service of its machine: its log, its HTTP listener, systemd and SIGHUP."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..common.address import Address
from ..common.config import ConfigError, complaint
from ..common.process.console import Console
from ..common.process.guarded_thread import guarded_thread
from ..common.process.log_records import Records
from ..common.process.signals import Interrupts, threads_without_signals
from ..common.process.wakeup import Wakeup
from ..node.program import boot
from ..node.program.node_server import Server
from ..node.program.reload import readers_of
from ..node.program.settings import PREFIX, Settings
from .endpoints import Pages
from .systemd import READY, STOPPING, begin_watchdog, notify, reloading

if TYPE_CHECKING:
    from .http_listener import MonitorListener

AT_ONCE = ("log-level", "log-format", "verbose")  # settings that a running node can change


class Service:
    """The environment of one node, from its arguments to its end."""

    def __init__(
        self,
        settings: Settings,
        read_settings: Callable[[], Settings],
        console: Console,
        stamp: Callable[[], str],
    ) -> None:
        """Prepare the service. `read_settings` reads the settings again. `stamp` returns the time
        for the log."""
        self.arguments = settings.arguments
        self._settings = settings  # from the start
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
            warning = f"{variable} is not a setting of a node, as {PREFIX}… are; it is ignored"
            console.say(f"[!] {warning}")

    def open_door(self, listed: Address | None) -> None:
        """Start answering over HTTP, if that was requested, before the node reads its files.
        `listed` is the node's address in the file of members.

        Raises:
            PortRefused: the port or path can't be used.
        """
        place = self.arguments.http
        if place is None:
            return
        from .http_listener import MonitorListener

        outer = [one.host for one in (self.arguments.advertise, listed) if one is not None]
        names = {self.arguments.host, socket.gethostname(), *outer}
        self._door = MonitorListener(place, self._pages, names=names)
        if place.is_open_to_network:
            warning = f"[!] --http {place}: anyone on the network can read this node's figures"
            self._console.say(warning)
        self._door.open(self.arguments.name, self._console.say)

    def attach(self, server: Server, interrupts: Interrupts) -> None:
        """Direct signals to a node that has recovered."""
        self._server = server

        def stop() -> None:
            notify(STOPPING)
            server.stop()

        interrupts.stop_with(stop)
        for what, read in readers_of(server).items():
            self.reload.add(what, read)
        interrupts.read_again_with(self.reload.ask)

    def began(self, server: Server) -> None:
        """Report to systemd that the node serves. Handle SIGHUP, including an earlier one."""
        self._pages.serve(server)
        notify(READY)
        begin_watchdog(server)
        self.reload.begin()

    def close(self) -> None:
        """Stop answering over HTTP."""
        if self._door is not None:
            self._door.close()

    # --- the log, and reloaded settings ---------------------------------------------------------

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
        """Return the lines of a message in the form of the log, if the console is closed."""
        return [line] if self._records is None else self._records.spell(line)

    def _term(self) -> int | None:
        return self._server.node.view.term if self._server is not None else None

    def _take_settings(self) -> str:
        """Reload the settings. Return a remark that names the settings for the next start."""
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
    """The functions that reload files. A signal handler may `ask`; a thread does the work."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say
        self._readers: dict[str, Callable[[], str]] = {}
        self._asked = Wakeup()

    def add(self, what: str, read: Callable[[], str]) -> None:
        """Call `read` at each SIGHUP. It returns a line to print, or "". It raises ConfigError or
        OSError if it changed nothing."""
        self._readers[what] = read

    def begin(self) -> None:
        """Start handling requests."""
        with threads_without_signals():
            guarded_thread(self._run, f"{self._name} reload", self._ended_by).start()

    def _ended_by(self, error: Exception) -> None:
        self._say(f"[!] {self._name} can no longer reload files: {error!r}")

    def ask(self) -> None:
        """Request a reload, from any thread or a signal handler."""
        self._asked.set()

    def _run(self) -> None:
        while self._asked.wait():
            notify(reloading())
            self.read_again()
            notify(READY)

    def read_again(self) -> None:
        """Call each function, even after one that fails."""
        reloaded_files = []
        for what, read in self._readers.items():
            try:
                remark = read()
            except (ConfigError, OSError) as error:
                why = complaint(error) if isinstance(error, OSError) else str(error)
                self._say(f"[!] {self._name} did not reload {what}: {why}")
            except Exception as error:  # for example while it updates connections
                self._say(f"[!] {self._name} reloaded {what} only in part: {error!r}")
            else:
                reloaded_files.append(f"{what} ({remark})" if remark else what)
        if reloaded_files:
            self._say(f"[*] {self._name} has reloaded: {', '.join(reloaded_files)}")
