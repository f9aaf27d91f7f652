"""A node as a service of its machine: its log, signals, SIGHUP, and those that watch it."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from ...common.address import Address
from ...common.config import ConfigError, complaint
from ...common.extensions import joined
from ...common.process.console import Console
from ...common.process.guarded_thread import begin_thread
from ...common.process.log_records import Records
from ...common.process.signals import END_S, Interrupts, threads_without_signals
from ...common.process.wakeup import Wakeup
from . import boot
from .node_server import EXIT_BROKEN, Server
from .reload import readers_of
from .settings import PREFIX, Settings

AT_ONCE = ("log-level", "log-format", "verbose")  # settings that a running node can change


class Supervisor(Protocol):
    """One that watches a node from outside, and is told of its life."""

    def open_door(
        self, arguments: argparse.Namespace, listed: Address | None, say: Callable[[str], None]
    ) -> None:
        """Start answering over HTTP, if that was requested, before the node reads its files.
        `listed` is the node's address in the file of members. Raises PortRefused."""

    def began(self, server: Server) -> None:
        """The node serves."""

    def reloads(self) -> None:
        """The node begins to read its files again."""

    def reloaded(self) -> None:
        """The node has read its files again."""

    def stops(self) -> None:
        """The node is asked to stop, maybe by a signal handler, so this never waits."""

    def close(self) -> None:
        """Stop answering over HTTP."""


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
        self._supervisors: Sequence[Supervisor]
        self._supervisors = [module.supervisor() for module in joined("supervision")]
        self.reload = Reload(settings.arguments.name, console.answer, self._supervisors)
        self.reload.add("settings", self._take_settings)
        self._set_log()
        for variable in settings.unknown:
            warning = f"{variable} is not a setting of a node, as {PREFIX}… are; it is ignored"
            console.say(f"[!] {warning}")

    def open_door(self, listed: Address | None) -> None:
        """Start answering over HTTP, if that was requested, before the node reads its files.
        `listed` is the node's address in the file of members.

        Raises:
            PortRefused, ConfigError: the port or path can't be used, or this build has no pages.
        """
        arguments = self.arguments
        if arguments.http is not None and not self._supervisors:
            raise ConfigError(f"--http {arguments.http}: this build has no pages of figures")
        for supervisor in self._supervisors:
            supervisor.open_door(arguments, listed, self._console.say)

    def attach(self, server: Server, interrupts: Interrupts) -> None:
        """Direct signals to a node that has recovered."""
        self._server = server

        def stop() -> None:
            for supervisor in self._supervisors:
                supervisor.stops()
            server.stop()

        interrupts.stop_with(stop, lambda: cut_off(server))
        server.on_stop = interrupts.bound_end
        for what, read in readers_of(server).items():
            self.reload.add(what, read)
        interrupts.read_again_with(self.reload.ask)

    def began(self, server: Server) -> None:
        """Report that the node serves. Handle SIGHUP, including an earlier one."""
        for supervisor in self._supervisors:
            supervisor.began(server)
        self.reload.begin()

    def close(self) -> None:
        """Stop answering over HTTP."""
        for supervisor in self._supervisors:
            supervisor.close()

    # --- the log, and reloaded settings ---------------------------------------------------------

    def _set_log(self) -> None:
        arguments = self.arguments
        self._console.set_level(boot.log_level(arguments))
        before, self._records = self._records, None
        if arguments.log_format != "console":
            name = arguments.name
            self._records = Records(arguments.log_format, name, self._stamp, self._term)
        self._console.format_by(self._records.lines_of if self._records is not None else None)
        if before is not None:
            before.close()

    def lines_of(self, line: str) -> list[str]:
        """Return the lines of a message in the form of the log, if the console is closed."""
        return [line] if self._records is None else self._records.lines_of(line)

    def _term(self) -> int | None:
        return self._server.node.view.term if self._server is not None else None

    def _take_settings(self) -> str:
        """Reload the settings. Return a remark that names the settings for the next start."""
        new = self._read_settings()
        later = _changed(self._settings, new.arguments)
        self.arguments = new.arguments
        self._set_log()
        return f"at the next start: {' '.join(later)}" if later else ""


def cut_off(server: Server) -> None:
    """End the process of a node that does not end by itself. Acknowledged writes are on disk."""
    line = (
        f"[!] {server.name} did not end within {END_S:g} s, since a thread waits for ever: its "
        "process ends now, and what it acknowledged is on its disk. Start it again as usual\n"
    )
    with contextlib.suppress(OSError):
        os.write(sys.stderr.fileno(), line.encode())
    os._exit(server.exit_status or EXIT_BROKEN)


def _changed(old: Settings, new: argparse.Namespace) -> Sequence[str]:
    return [
        name
        for name, action in old.actions.items()
        if name not in AT_ONCE and getattr(old.arguments, action.dest) != getattr(new, action.dest)
    ]


class Reload:
    """The functions that reload files. A signal handler may `ask`; a thread does the work."""

    def __init__(
        self, name: str, say: Callable[[str], None], supervisors: Sequence[Supervisor] = ()
    ) -> None:
        self._name = name
        self._say = say
        self._supervisors = supervisors
        self._readers: dict[str, Callable[[], str]] = {}
        self._asked = Wakeup()

    def add(self, what: str, read: Callable[[], str]) -> None:
        """Call `read` at each SIGHUP. It returns a line to print, or "". It raises ConfigError or
        OSError if it changed nothing."""
        self._readers[what] = read

    def begin(self) -> None:
        """Start handling requests."""
        with threads_without_signals():
            begin_thread(self._run, f"{self._name} reload", self._ended_by)

    def _ended_by(self, error: Exception) -> None:
        self._say(f"[!] {self._name} can no longer reload files: {error!r}")

    def ask(self) -> None:
        """Request a reload, from any thread or a signal handler."""
        self._asked.set()

    def _run(self) -> None:
        while self._asked.wait():
            for supervisor in self._supervisors:
                supervisor.reloads()
            self.read_again()
            for supervisor in self._supervisors:
                supervisor.reloaded()

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
