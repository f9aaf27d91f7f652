"""The arguments of a node, and what they settle before anything of it exists."""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from raftline.common import config
from raftline.common.address import HOST
from raftline.common.arguments import Parser, as_port, program
from raftline.common.config import PACES, ConfigError, Configuration
from raftline.controller.control import CONTROLLER
from raftline.controller.udp import PORT as DATAGRAM_PORT
from raftline.controller.udp import UdpListener
from raftline.node import joining
from raftline.node.joining import joining_address, settle_configuration
from raftline.node.recorder import check_path
from raftline.node.snapshots import COMPACT_BYTES
from raftline.wire.commands import READ_MODES

CONTROLLER_FIRST_TERM = 1  # of a node that is born with --controller-lines, as in the course


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; None: those of the process. Ends the process with 2 where they are
    wrong, and with 0 behind --help."""
    return parser().parse_args(argv)


def settle(arguments: argparse.Namespace) -> tuple[int, Configuration]:
    """Return the port to listen on and the configuration to start with.

    Raises:
        ConfigError: one of them can't be used; the message says what to do.
    """
    port = config.port_number(arguments.port, "PORT")
    _check_controller(arguments)
    if arguments.new and arguments.join:
        raise ConfigError("a node that joins needs no --new: it gets its vote from its leader")
    if arguments.record is not None:
        check_path(arguments.record)
    _check_host(arguments.host, open_to_network=arguments.open_to_network)
    return port, _configuration(arguments, arguments.name, port)


def datagram_listener(arguments: argparse.Namespace) -> UdpListener | None:
    """Return the listener for a controller's datagrams, its port taken; None where none is wanted.

    Raises:
        PortRefused: the port can't be had.
    """
    if arguments.controller_udp is None:
        return None
    return UdpListener(arguments.host, arguments.controller_udp)


def _configuration(arguments: argparse.Namespace, name: str, port: int) -> Configuration:
    if arguments.register:
        return joining.register(config.locate(arguments.dir), name, port)
    return settle_configuration(arguments.dir, name, arguments.host, port, joins=arguments.join)


def _check_controller(arguments: argparse.Namespace) -> None:
    if arguments.controller:
        if arguments.name == CONTROLLER:
            raise ConfigError(f"a node that obeys {CONTROLLER} can't be called so; rename it")
    elif arguments.controller_udp is not None:
        raise ConfigError("--controller-udp is a door for orders; add --controller to obey them")
    elif arguments.controller_from:
        raise ConfigError("--controller-from allows orders; add --controller to obey them")


def _check_host(host: str, *, open_to_network: bool) -> None:
    if not _is_loopback(host) and not open_to_network:
        raise ConfigError(
            f"--host {host} lets everybody on the network speak as a peer, unauthenticated; "
            "where that is meant, add --open-to-network. Without --host only this machine can"
        )


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; all of 127.0.0.0/8 is so."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def parser() -> Parser:
    """Return what reads the arguments of a node."""
    parser = Parser(
        prog=program("server.py", "raftline-server", "raftline server"),
        description="Run one raftline node. It talks lines of text: try `nc localhost PORT`.",
    )
    parser.add_argument("name", metavar="NAME", help="which line of the configuration: s1")
    parser.add_argument("port", metavar="PORT", help="where to listen: 10000")
    parser.add_argument("--dir", help="folder of server-configuration.txt and of the node's files")
    parser.add_argument(
        "--host", type=_host, default="localhost", help="where to listen (default: localhost)"
    )
    parser.add_argument(
        "--open-to-network", action="store_true", help="allow a --host that others can reach"
    )
    parser.add_argument(
        "--pace", choices=sorted(PACES), default="fast",
        help="class: elections take 2 to 4 s; human: 10 to 18 s",
    )  # fmt: skip
    parser.add_argument(
        "--reads", choices=READ_MODES, default="index",
        help="index: a round of heartbeats confirms each read; lease: no round, trusting clocks;"
        " log: each get is an entry; local: from this node's own state, may be stale",
    )  # fmt: skip
    parser.add_argument(
        "--follower-reads", action="store_true",
        help="as a follower, ask the leader for its read index instead of sending clients there",
    )  # fmt: skip
    parser.add_argument(
        "--compact-at", type=_bytes, default=COMPACT_BYTES, metavar="BYTES",
        help="take a snapshot when the log is so long, and twice the last one (default: 8388608)",
    )  # fmt: skip
    parser.add_argument(
        "--cores", choices=("one", "any"), default="one",
        help="one: a busy node keeps its threads on one core, and moves where another has more to"
        " give; any: wherever the kernel likes",
    )  # fmt: skip
    parser.add_argument("--register", action="store_true", help="add NAME to the configuration")
    parser.add_argument(
        "--join", metavar="HOST:PORT", type=joining_address,
        help="be added to the cluster of the node there; NAME need not be in the configuration",
    )  # fmt: skip
    parser.add_argument(
        "--new", action="store_true",
        help="NAME never ran before, on no machine: it votes at once. Type it by hand, once: a"
        " script that says it of a node that lost its disk loses acknowledged writes",
    )  # fmt: skip
    parser.add_argument(
        "--controller", action="store_true",
        help="obey a controller: shut down, restart, cut off, … by a line of text; for teaching",
    )  # fmt: skip
    parser.add_argument(
        "--controller-from", type=_place, action="append", default=[], metavar="HOST",
        help="a host or network (10.0.0.0/8) beside this machine that a controller may speak from",
    )  # fmt: skip
    parser.add_argument(
        "--controller-udp", type=as_port, nargs="?", const=DATAGRAM_PORT, metavar="PORT",
        help="listen for a controller's datagrams as well, Message.json of the course (5555)",
    )  # fmt: skip
    parser.add_argument(
        "--controller-lines", action="store_true",
        help="print the course's lines (Current State is: …), and begin, newborn, in its term 1",
    )  # fmt: skip
    parser.add_argument(
        "--record", type=Path, metavar="FILE",
        help="write down each step of the core, for `raftline replay` and a bug report; FILE holds"
        " keys and values",
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="print each heartbeat, too")
    parser.add_argument("--log-times", action="store_true", help="print the time before each line")
    parser.add_argument(
        "--course-console", action="store_true",
        help="print a bare `Sending message`, and votes as a table only, as the course's figures",
    )  # fmt: skip
    parser.add_argument(
        "--max-connections", type=_connections, default=4096, metavar="N", help="default: 4096"
    )
    parser.tell_version()
    return parser


def _host(text: str) -> str:
    if not HOST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no host name or address")
    return text


def _place(text: str) -> str:
    if "/" not in text:
        return _host(text)
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no network such as 10.0.0.0/8") from None


def _connections(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of connections, 1 to 999999")
    return int(text)


def _bytes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:19]) >= 1 and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes, 1 or more")
    return int(text)
