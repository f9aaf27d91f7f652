"""The arguments of a node, and the values that follow from them before the node exists."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import NoReturn

from ...access.secret import MODES
from ...common import config
from ...common.address import as_endpoint, is_loopback
from ...common.arguments import Parser, Typed, as_host, as_number, program
from ...common.config import PACES, ConfigError, Configuration, as_option
from ...common.process.log_records import FORMATS, LEVELS
from ...net.connections.shared_reader import IO_MODES
from ...wire.commands.command_table import READ_MODES
from ...wire.commands.identity import ANONYMOUS
from ...wire.limits import HISTORY_BYTES, HISTORY_EVENTS, MEMORY_BYTES, PAIRS_BYTES
from ..snapshots.snapshots import COMPACT_BYTES
from . import joining
from .access_settings import AccessSettings
from .joining import joining_address, reached_address, settle_configuration
from .memory import Shares, shares_of
from .observation import check_recording

_BYTES = as_number("number of bytes", 1)


def log_level(arguments: argparse.Namespace) -> str:
    """Return the level of the console. A person who watches a node also sees its traffic; a log
    that is kept has only events."""
    if arguments.log_level is None and not arguments.verbose:
        return "traffic" if arguments.log_format == "console" else "info"
    return str(arguments.log_level or "debug")


def start_settings(arguments: argparse.Namespace) -> tuple[int, Configuration]:
    """Return the port to listen on and the configuration to start with.

    Raises:
        ConfigError: an argument can't be used; the message explains what to do.
    """
    port = config.port_number(arguments.port, "PORT")
    if arguments.new and arguments.join:
        raise ConfigError("a node that joins needs no --new: it gets its vote from its leader")
    if arguments.record is not None:
        check_recording(arguments.record)
    if not is_loopback(arguments.host) and not arguments.open_to_network:
        raise ConfigError(
            f"--host {arguments.host} lets other machines reach this node; if this is intended, "
            "add --open-to-network. Without --host only this machine can"
        )
    access_settings(arguments).check()
    folder, name = arguments.dir, arguments.name
    if arguments.register:
        return port, joining.register(config.locate(folder), name, port, arguments.advertise)
    return port, settle_configuration(folder, name, arguments.host, port, joins=arguments.join)


def access_settings(arguments: argparse.Namespace) -> AccessSettings:
    """Return the access settings. Each has the name of its argument; messages use the name of the
    environment variable if that set it."""
    names = (field.name for field in dataclasses.fields(AccessSettings) if field.name != "called")
    variables = getattr(arguments, "variables", {})  # the settings that the environment gave

    def called(setting: str) -> str:
        return f"${variables[setting]}" if setting in variables else as_option(setting)

    return AccessSettings(**{name: getattr(arguments, name) for name in names}, called=called)


def shares(arguments: argparse.Namespace) -> Shares:
    """Return the bounds that follow from --memory. Raises ConfigError."""
    return shares_of(
        arguments.memory,
        arguments.history_bytes,
        arguments.max_connections,
        has_tls=arguments.tls_cert is not None,
    )


def parser() -> Parser:
    """Return the parser of the arguments of a node."""
    parser = Parser(
        prog=program("server.py", "raftline-server", "raftline server"),
        description="Run one raftline node. It talks lines of text: try `nc localhost PORT`.",
        epilog="RAFTLINE_SERVER_NAME, RAFTLINE_SERVER_PORT, … in the environment and raftline.toml"
        " set the same: an argument overrides the environment, which overrides the file.",
    )
    _add_place(parser)
    _add_access(parser)
    _add_tls(parser)
    _add_service(parser)
    _add_membership(parser)
    _add_output(parser)
    _add_settings(parser)
    parser.add_version()
    return parser


def _add_place(parser: Parser) -> None:
    """Add the arguments for the node's name, its port and its folder."""
    add = parser.add_argument
    add("name", metavar="NAME", help="which line of the configuration: s1")
    add("port", metavar="PORT", help="where to listen: 10000")
    add("--dir", help="folder of server-configuration.txt and of the node's files")
    add("--host", type=as_host, default="localhost", help="where to listen (default: localhost)")
    add("--open-to-network", action="store_true", help="allow a --host that others can reach")
    add(
        "--advertise",
        type=reached_address,
        metavar="HOST:PORT",
        help="the address where others reach this node, if it differs from the one it listens on:"
        " behind a proxy, in a container, on every address",
    )


def _add_access(parser: Parser) -> None:
    """Add the options for access."""
    add = parser.add_argument
    add("--users", type=_no_file_of_users, metavar="FILE", help=argparse.SUPPRESS)
    add(
        "--anonymous",
        choices=ANONYMOUS,
        metavar="ROLE",
        help="the role of clients that are not logged in, once logins are required: none (default),"
        " reader, writer, admin",
    )
    _add_first_admin(parser)
    add(
        "--insecure",
        action="store_true",
        help="start although others can reach this node and could pose as a member of the cluster",
    )
    add(
        "--secret",
        type=Path,
        metavar="FILE",
        help="members prove to each other that they know the secret in FILE (raftline secret FILE"
        " makes one)",
    )
    add(
        "--secret-mode",
        choices=MODES,
        help="require (default): members have to prove themselves; offer: members without a proof"
        " are accepted as well, while the secret is turned on node by node",
    )


def _no_file_of_users(_: str) -> NoReturn:
    """Refuse the setting of earlier builds."""
    raise argparse.ArgumentTypeError(
        "users are no longer in a file of each node: name the first admin by --first-admin FILE, "
        "and take the others over by raftline user import (docs/use/users.md)"
    )


def _add_first_admin(parser: Parser) -> None:
    parser.add_argument(
        "--first-admin",
        type=Path,
        metavar="FILE",
        help="require clients to log in; while the cluster has no users, its leader adds the admin"
        " in FILE (`raftline user first NAME FILE` writes it)",
    )


def _add_tls(parser: Parser) -> None:
    """Add the options for TLS."""
    add = parser.add_argument
    add(
        "--tls-cert",
        type=Path,
        metavar="FILE",
        help="speak TLS with this certificate, along with plain lines on the same port",
    )
    add("--tls-key", type=Path, metavar="FILE", help="the key of that certificate")
    add(
        "--tls-ca",
        type=Path,
        metavar="FILE",
        help="the CA of the other members' certificates, and of clients'",
    )
    add(
        "--tls-only",
        action="store_true",
        help="speak only TLS; with --tls-ca a member proves itself by its certificate",
    )
    add(
        "--tls-require",
        action="store_true",
        help="answer nobody without a certificate of --tls-ca, not even clients",
    )
    add(
        "--tls-crl",
        type=Path,
        metavar="FILE",
        help="the list of certificates that the CA of --tls-ca revoked, in PEM; it is read again on"
        " SIGHUP",
    )


def _add_service(parser: Parser) -> None:
    """Add the options for elections, reads and snapshots."""
    add = parser.add_argument
    add(
        "--pace",
        choices=sorted(PACES),
        default="fast",
        help="class: elections take 2 to 4 s, for a slow network; human: 10 to 18 s, to watch",
    )
    add(
        "--reads",
        choices=READ_MODES,
        default="index",
        help="index: a round of heartbeats confirms each read; lease: no round, trusting clocks;"
        " log: each get is an entry; local: from this node's own state, may be stale",
    )
    add(
        "--follower-reads",
        action="store_true",
        help="as a follower, ask the leader for its read index instead of sending clients there",
    )
    add(
        "--compact-at",
        type=_BYTES,
        default=COMPACT_BYTES,
        metavar="BYTES",
        help="take a snapshot when the log has this size and twice that of the last snapshot"
        " (default: 8388608)",
    )
    _add_bounds(parser)


def _add_bounds(parser: Parser) -> None:
    """Add the options for the events that are kept, for processors and for threads."""
    add = parser.add_argument
    add(
        "--history-events",
        type=as_number("number of events", 1),
        default=HISTORY_EVENTS,
        metavar="N",
        help="how many of the latest events are kept, for watches that resume (default: 100000)",
    )
    add(
        "--history-bytes",
        type=_BYTES,
        default=HISTORY_BYTES,
        metavar="BYTES",
        help=f"how many bytes of them are kept in memory (default: {HISTORY_BYTES})",
    )
    _add_memory(parser)
    add(
        "--cores",
        choices=("one", "any"),
        default="one",
        help="one: a busy node keeps its threads on one core, and moves to another that has more"
        " idle time; any: the kernel chooses",
    )
    add(
        "--io",
        choices=IO_MODES,
        default="auto",
        help="threads: one reading thread for each connection; shared: one for all clients;"
        " auto: shared while many are busy",
    )


def _add_memory(parser: Parser) -> None:
    """Add the options that bound the memory for the keys and the other memory of a node."""
    add = parser.add_argument
    add(
        "--max-bytes",
        type=_BYTES,
        default=PAIRS_BYTES,
        metavar="BYTES",
        help="how many bytes keys, values and leases may take in memory; beyond it only commands"
        f" that free some are accepted. The leader's setting counts (default: {PAIRS_BYTES})",
    )
    add(
        "--memory",
        type=_BYTES,
        metavar="BYTES",
        help="the sum of the memory bounds of this node, without its keys; it accepts as many"
        f" connections and watches as fit (default: {MEMORY_BYTES}, or what --max-connections and"
        " --history-bytes need)",
    )


def _add_membership(parser: Parser) -> None:
    """Add the options for a node that is not known yet."""
    add = parser.add_argument
    add("--register", action="store_true", help="add NAME to the configuration")
    add(
        "--join",
        metavar="HOST:PORT",
        type=joining_address,
        help="ask the node at this address to be added to its cluster; NAME need not be in the"
        " configuration",
    )
    add(
        "--new",
        action=Typed,
        help="NAME never ran before, on any machine: it votes at once. Type this by hand, once: a"
        " script that uses it for a node that lost its disk loses acknowledged writes",
    )
    add(
        "--floor",
        action="store_true",
        help="begin a cluster in which other implementations take part, which announce no level:"
        " every raftline node of it needs this, and serves only what they understand",
    )


def _add_output(parser: Parser) -> None:
    """Add the options for what a node records and prints."""
    add = parser.add_argument
    add(
        "--record",
        type=Path,
        metavar="FILE",
        help="record each step of the core, for `raftline replay` and a bug report; FILE holds"
        " keys and values",
    )
    add(
        "--http",
        type=as_endpoint,
        metavar="PORT",
        help="serve /health, /ready, /metrics and /status over HTTP there: PORT on localhost,"
        " HOST:PORT, or unix:PATH",
    )
    add("--verbose", action="store_true", help="also print each heartbeat")
    add(
        "--log-format",
        choices=FORMATS,
        default="console",
        help="console: the lines as they are; text and json: with time, level, node and term",
    )
    add(
        "--log-level",
        choices=LEVELS,
        help="debug: everything, with requests, messages and heartbeats; info: what happens to the"
        " node (default of text and json); warning: only what somebody has to fix",
    )
    add("--log-times", action="store_true", help="print the time before each line")
    add(
        "--course-console",
        action="store_true",
        help="print a bare `Sending message`, and votes only as a table, like the course's figures",
    )


def _add_settings(parser: Parser) -> None:
    """Add the options for the settings of this node as a whole."""
    add = parser.add_argument
    add(
        "--max-connections",
        type=as_number("number of connections", 1, 999_999),
        metavar="N",
        help="default: 4096, or as many as fit --memory",
    )
    add(
        "--config",
        metavar="FILE",
        help="the file of settings (default: raftline.toml in the folder of --dir, else here)",
    )
    add("--print-config", action=Typed, help="show each setting and where it comes from")
