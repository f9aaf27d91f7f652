"""The arguments of a node, and what they settle before anything of it exists."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from raftline import config
from raftline.config import PACES, ConfigError, Configuration
from raftline.joining import joining_address, settle_configuration
from raftline.peerbook import address_of
from raftline.protocol import READ_MODES
from raftline.snapshots import COMPACT_BYTES

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments; None: those of the process. Ends the process with 2 where they are
    wrong, and with 0 behind --help."""
    return _parser().parse_args(argv)


def settle(arguments: argparse.Namespace) -> tuple[int, Configuration]:
    """Return the port to listen on and the configuration to start with.

    Raises:
        ConfigError: one of them can't be used; the message says what to do.
    """
    port = config.port_number(arguments.port, "PORT")
    _check_host(arguments.host, open_to_network=arguments.open_to_network)
    return port, _configuration(arguments, arguments.name, port)


def port_notes(
    name: str, port: int, configuration: Configuration, members: Mapping[str, str]
) -> list[str]:
    """Return what to say about a port on which nobody will look for this node; `members` are
    those of its log, name to host:port."""
    address, source = configuration.members.get(name), str(configuration.path)
    if address is None and name in members:
        address, source = address_of(members[name]), "the log"
    if address is None or address.port == port:
        return []
    return [
        f"[!] {source} says that others reach {name} on port {address.port}, and it "
        f"listens on {port}: right behind a proxy, else nobody will find it"
    ]


def _configuration(arguments: argparse.Namespace, name: str, port: int) -> Configuration:
    if arguments.register:
        return config.register(config.locate(arguments.dir), name, port)
    return settle_configuration(arguments.dir, name, arguments.host, port, joins=arguments.join)


def _check_host(host: str, *, open_to_network: bool) -> None:
    if host not in LOOPBACK and not open_to_network:
        raise ConfigError(
            f"--host {host} lets everybody on the network speak as a peer, unauthenticated; "
            "where that is meant, add --open-to-network. Without --host only this machine can"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=Path(sys.argv[0]).name if sys.argv else "server.py",
        description="Run one raftline node. It talks lines of text: try `nc localhost PORT`.",
    )
    parser.add_argument("name", metavar="NAME", help="which line of the configuration: s1")
    parser.add_argument("port", metavar="PORT", help="where to listen: 10000")
    parser.add_argument("--dir", help="folder of server-configuration.txt and of the node's files")
    parser.add_argument("--host", default="localhost", help="where to listen (default: localhost)")
    parser.add_argument(
        "--open-to-network", action="store_true", help="allow a --host that others can reach"
    )
    parser.add_argument(
        "--pace", choices=sorted(PACES), default="fast", help="human: elections take 10 to 18 s"
    )
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
    parser.add_argument("--verbose", action="store_true", help="print each heartbeat, too")
    parser.add_argument("--max-connections", type=int, default=4096, help="default: 4096")
    return parser


def _bytes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:19]) >= 1 and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes, 1 or more")
    return int(text)
