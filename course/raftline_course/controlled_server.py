"""A node that obeys a controller: `python3 course/server.py s1 10000 --controller`.

It is the store's node with further arguments. Orders come as lines and datagrams. Faults act where
messages to peers leave and arrive. Without one of the arguments it is the store's node itself.
"""

from __future__ import annotations

import argparse
import functools
import ipaddress
import sys
from collections.abc import Callable, Sequence
from typing import Any

from raftline import server
from raftline.common.address import Address
from raftline.common.arguments import Parser, as_host, as_port
from raftline.common.config import ConfigError, Pace
from raftline.common.process.console import Console
from raftline.net.connections.listener import Listener
from raftline.net.protocol.host import Origin
from raftline.node.program import boot
from raftline.node.program.node_server import Server
from raftline.node.program.startup import Startup, check_member
from raftline.raft.effects import Effects
from raftline.raft.log import Entry
from raftline.raft.messages import Message
from raftline.raft.node import RawNode
from raftline.raft.node_view import NodeView
from raftline.storage.folder import Folder
from raftline_course.controller.control import CONTROLLER, Control
from raftline_course.controller.faults import Faults
from raftline_course.controller.leader_orders import CourseLines
from raftline_course.controller.udp import PORT as DATAGRAM_PORT
from raftline_course.controller.udp import UdpListener
from raftline_testing.orders import Order, OrderRefused, obey

FIRST_TERM = 1  # of a node first started with --controller-lines, as in the course


class ControlledServer(Server):
    """A node that obeys a controller, with the faults that it causes."""

    def __init__(
        self,
        startup: Startup,
        pace: Pace,
        console: Console,
        *,
        settings: argparse.Namespace,
        **others: Any,
    ) -> None:
        """Create a node; `settings` are its arguments, `others` are the arguments of `Server`.

        Raises:
            PortRefused: the port for datagrams isn't available.
        """
        if settings.controller_lines:
            startup.first_term = FIRST_TERM
        super().__init__(startup, pace, console, **others)
        self.faults = Faults(self.name, say=console.say)
        self.traffic_log.is_cut_off = self.faults.cuts_off  # like messages from them
        allowed = settings.controller_from if settings.controller else None
        self.control = self.orders = Control(self, console.say, allowed)
        self._prints_course_lines = settings.controller_lines
        self._course: CourseLines | None = None
        self._datagrams: UdpListener | None = None
        if settings.controller_udp is not None:
            self._datagrams = UdpListener(settings.host, settings.controller_udp)

    # --- faults, and the course's lines ----------------------------------------------------------

    def heartbeat_ms(self) -> int:
        return self.faults.table.heartbeat_ms or super().heartbeat_ms()

    def recover(self) -> None:
        super().recover()
        self._course = CourseLines(self._console.say) if self._prints_course_lines else None

    def _send(self, message: Message, line: bytes) -> None:
        if self.faults.in_force:
            send = functools.partial(super()._send, message, line)
            self.faults.send(message, send, len(line))
        else:
            super()._send(message, line)

    def hear(self, received: Sequence[Message], origin: Origin | None) -> list[str]:
        if self.faults.in_force:
            received = [one for one in received if not self.faults.cuts_off(one.sender)]
            origin = self.faults.around(origin)
        return super().hear(received, origin)

    def report(self, effects: Effects) -> None:
        super().report(effects)
        if self._course is not None:
            self._course.stepped(self.node.view, effects)

    # --- life ------------------------------------------------------------------------------------

    def begin(self, listener: Listener) -> None:
        super().begin(listener)
        if self._datagrams is not None:
            self._datagrams.open(
                self.name, self.control, lambda: self.node.view.term, self.traffic_log.ignored
            )

    def wait(self) -> int:
        try:
            return super().wait()
        finally:
            if self._datagrams is not None:
                self._datagrams.close()

    def start(self) -> None:
        if self._course is not None:
            self._course.stepped(self.node.view, Effects())
        super().start()

    # --- for its controller: see controlled.ControlledNode --------------------------------------

    @property
    def view(self) -> NodeView:
        return self.node.view

    def peers(self) -> set[str]:
        leader = self.view.leader
        return {*self.book, *([leader] if leader and self.is_peer(leader) else [])}

    def address(self, name: str) -> Address | None:
        return self.book.address(name)

    def order(self, order: Order) -> None:
        refusals: list[OrderRefused] = []

        def step(node: RawNode, now_ms: int) -> Effects:
            try:
                return obey(node, order, now_ms)
            except OrderRefused as refusal:
                refusals.append(refusal)
                return Effects()

        self.driver.step_by(step)
        if refusals:
            raise refusals[0]

    def committed(self) -> tuple[int, list[Entry]]:
        with self.driver.core:
            base, last = self.view.log.base_index, self.view.commit_index
            return base, self.node.committed(base + 1, last - base)

    def check_member(self) -> list[str]:
        return check_member(self.view, self._startup.configuration)

    def folder(self) -> Folder:
        return self._startup.folder()

    def release_files(self) -> None:
        """Release the files of the previous start, which a long write kept open."""
        if self.driver.has_written:
            self.logmanager.close()

    def end_connections(self) -> None:
        self.listener.end_connections(but_controllers=True)


def main(
    argv: Sequence[str] | None = None,
    *,
    console_of: Callable[..., Console] = Console,
    server_of: Callable[..., ControlledServer] = ControlledServer,
) -> int:
    """Run one node; return its exit status, as the store's `server.main` does."""

    def chosen(arguments: argparse.Namespace) -> Callable[..., Server]:
        check(arguments)
        if arguments.controller or arguments.controller_lines:
            return functools.partial(server_of, settings=arguments)
        return Server

    return server.main(argv, parser_of=parser, console_of=console_of, server_of=chosen)


def check(arguments: argparse.Namespace) -> None:
    """Check the arguments about a controller.

    Raises:
        ConfigError: they do not go together.
    """
    if arguments.first_admin is not None and arguments.controller_udp is not None:
        raise ConfigError(
            "datagrams have no login; --controller-udp does not go with --first-admin"
        )
    if arguments.controller:
        if arguments.name == CONTROLLER:
            raise ConfigError(f"a node that obeys {CONTROLLER} can't be called so; rename it")
    elif arguments.controller_udp is not None:
        raise ConfigError("--controller-udp is a door for orders; add --controller to obey them")
    elif arguments.controller_from:
        raise ConfigError("--controller-from allows orders; add --controller to obey them")


def parser() -> Parser:
    """Return the argument parser: the store's parser, with the arguments about a controller."""
    parser = boot.parser()
    _add_controller(parser)
    return parser


def _add_controller(parser: Parser) -> None:
    """Add the options for a node that obeys a controller."""
    add = parser.add_argument
    add(
        "--controller",
        action="store_true",
        help="obey a controller: shut down, restart, cut off, … by a line of text; for teaching",
    )
    add(
        "--controller-from",
        type=_place,
        action="append",
        default=[],
        metavar="HOST",
        help="a host or network (10.0.0.0/8) besides this machine that may control",
    )
    add(
        "--controller-udp",
        type=as_port,
        nargs="?",
        const=DATAGRAM_PORT,
        metavar="PORT",
        help="listen for a controller's datagrams as well, Message.json of the course (5555)",
    )
    add(
        "--controller-lines",
        action="store_true",
        help="print the course's lines (Current State is: …), and begin, newborn, in its term 1",
    )


def _place(text: str) -> str:
    if "/" not in text:
        return as_host(text)
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a network such as 10.0.0.0/8") from None


if __name__ == "__main__":
    sys.exit(main())
