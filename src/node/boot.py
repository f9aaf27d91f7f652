"""The arguments of a node, and what they settle before anything of it exists."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from raftline.access.login import Access
from raftline.access.roles import ANONYMOUS
from raftline.access.secret import MODES, PeerRule, peer_rule
from raftline.access.tls import Files, Tls, tls_of_node
from raftline.common import config
from raftline.common.address import as_place, is_loopback
from raftline.common.arguments import Parser, Typed, as_host, as_number, program
from raftline.common.config import PACES, ConfigError, Configuration
from raftline.common.logs import FORMATS, LEVELS
from raftline.net.shared_reader import IO_MODES
from raftline.node import joining
from raftline.node.joining import joining_address, reached_address, settle_configuration
from raftline.node.recorder import check_path
from raftline.node.snapshots import COMPACT_BYTES
from raftline.state.history import BYTES_MAX, EVENTS_MAX
from raftline.wire.commands import READ_MODES

_PROOFS = "add --secret FILE (`raftline secret FILE` makes one), or --tls-only and --tls-ca FILE"
_BYTES = as_number("number of bytes", 1)


def log_level(arguments: argparse.Namespace) -> str:
    """Return the level of the console."""
    return str(arguments.log_level or ("debug" if arguments.verbose else "info"))


def settle(arguments: argparse.Namespace) -> tuple[int, Configuration]:
    """Return the port to listen on and the configuration to start with.

    Raises:
        ConfigError: one of them can't be used; the message explains what to do.
    """
    port = config.port_number(arguments.port, "PORT")
    if arguments.new and arguments.join:
        raise ConfigError("a node that joins needs no --new: it gets its vote from its leader")
    if arguments.record is not None:
        check_path(arguments.record)
    if not is_loopback(arguments.host) and not arguments.open_to_network:
        raise ConfigError(
            f"--host {arguments.host} lets other machines reach this node; if that is meant, add "
            "--open-to-network. Without --host only this machine can"
        )
    check_access(arguments)
    folder, name = arguments.dir, arguments.name
    if arguments.register:
        return port, joining.register(config.locate(folder), name, port, arguments.advertise)
    return port, settle_configuration(folder, name, arguments.host, port, joins=arguments.join)


def check_access(arguments: argparse.Namespace) -> None:
    """Check that nobody who is to be kept out can speak as a member, unless that was stated to be
    meant.

    Raises:
        ConfigError: members prove nothing, and others can reach the node, or its users are to be
            the only ones who may do something; or a setting is for users, and there are none.
    """
    if arguments.users is None and arguments.anonymous is not None:
        raise ConfigError("--anonymous is for those who are not logged in; it takes --users FILE")
    if proves_members(arguments) or arguments.insecure:
        return
    if not is_loopback(arguments.host):
        if arguments.secret is None:
            raise ConfigError(
                f"--host {arguments.host} lets others reach this node, and whoever does could speak"
                f" as a member: {_PROOFS}; where that is meant, add --insecure"
            )
        raise ConfigError(
            "--secret-mode offer hears members that prove nothing, and others can reach this node; "
            "leave it out, or add --insecure while the secret is turned on node by node"
        )
    if arguments.users is not None and _anonymous(arguments) != "admin":
        raise ConfigError(
            f"--anonymous {arguments.anonymous} keeps nobody of this machine out while members "
            "prove nothing: whoever speaks as one is asked for no right, and changes every key. "
            f"So {_PROOFS}; where that is meant, add --insecure"
        )


def proves_members(arguments: argparse.Namespace) -> bool:
    """Return whether nothing is taken in the name of a member that proved nothing."""
    if arguments.tls_only and arguments.tls_ca is not None:
        return True  # a member has to show a certificate
    return arguments.secret is not None and arguments.secret_mode != "offer"


def warnings(arguments: argparse.Namespace) -> Iterator[str]:
    """Yield what to print at the start of a node that is more open than its settings may seem."""
    if arguments.secret_mode == "offer":
        yield (
            "[!] --secret-mode offer hears members that prove nothing: this node is as open as "
            "without a secret. Leave it out once `unproven` in status is empty"
        )
    if arguments.users is None:
        if not is_loopback(arguments.host) and not arguments.insecure:
            who = "that reaches this node"
            if arguments.tls_require:
                who = "with a certificate of the CA"
            yield (
                f"[!] without --users every client {who} may do everything: read and change all "
                "keys, copy the state, remove members"
            )
        return
    if not proves_members(arguments) and _anonymous(arguments) != "admin":
        yield (
            "[!] members prove nothing (--insecure): whoever speaks as one is asked for no right, "
            "whatever --users says"
        )
    if arguments.anonymous is None and _anonymous(arguments) == "admin":
        yield (
            "[!] who is not logged in may do everything, as only this machine reaches this node; "
            "--anonymous none has everybody log in"
        )


def is_protected(arguments: argparse.Namespace) -> bool:
    """Return whether a node keeps anybody out: then its files and its console are for its owner."""
    return (arguments.users, arguments.secret, arguments.tls_cert) != (None, None, None)


def proofs_of(arguments: argparse.Namespace) -> tuple[PeerRule, Tls | None]:
    """Return what members have to prove to a node, and how it speaks TLS, None: it does not.

    Raises:
        ConfigError: a file for it can't be used, or a setting that goes with it is missing.
    """
    files = Files(arguments.tls_cert, arguments.tls_key, arguments.tls_ca)
    tls = tls_of_node(
        files,
        is_only=bool(arguments.tls_only),
        is_required=bool(arguments.tls_require),
        crl=arguments.tls_crl,
    )
    rule = peer_rule(arguments.secret, arguments.secret_mode)
    if tls is not None and tls.proves_members:
        rule = rule._replace(is_required=True)
    return rule, tls


def access_of(arguments: argparse.Namespace) -> Access | None:
    """Return the users of a node and what others may do; None if everybody may do everything.

    Raises:
        ConfigError: the file can't be used, or a library is not here.
    """
    if arguments.users is None:
        return None
    return Access(arguments.users, ANONYMOUS[_anonymous(arguments)])


def _anonymous(arguments: argparse.Namespace) -> str:
    """Return the role of who is not logged in."""
    return str(arguments.anonymous or ("admin" if is_loopback(arguments.host) else "none"))


def parser() -> Parser:
    """Return what reads the arguments of a node."""
    parser = Parser(
        prog=program("server.py", "raftline-server", "raftline server"),
        description="Run one raftline node. It talks lines of text: try `nc localhost PORT`.",
        epilog="RAFTLINE_NAME, RAFTLINE_PORT, RAFTLINE_MAX_CONNECTIONS, … and raftline.toml set the"
        " same: an argument outranks the environment, and that the file.",
    )
    add = parser.add_argument
    add("name", metavar="NAME", help="which line of the configuration: s1")
    add("port", metavar="PORT", help="where to listen: 10000")
    add("--dir", help="folder of server-configuration.txt and of the node's files")
    add("--host", type=as_host, default="localhost", help="where to listen (default: localhost)")
    add("--open-to-network", action="store_true", help="allow a --host that others can reach")
    add("--advertise", type=reached_address, metavar="HOST:PORT",
        help="where others reach this node, if that is not where it listens: behind a proxy, in"
        " a container, on every address")  # fmt: skip
    _add_access(parser)
    _add_tls(parser)
    _add_service(parser)
    _add_membership(parser)
    _add_output(parser)
    add(
        "--max-connections",
        type=as_number("number of connections", 1, 999_999),
        default=4096,
        metavar="N",
        help="default: 4096",
    )
    add(
        "--config",
        metavar="FILE",
        help="settings (default: raftline.toml in the folder of --dir, else here)",
    )
    add("--print-config", action=Typed, help="show each setting and where it comes from")
    parser.tell_version()
    return parser


def _add_access(parser: Parser) -> None:
    """Have the options for who may come in."""
    add = parser.add_argument
    add("--users", type=Path, metavar="FILE",
        help="clients log in, and may do what FILE allows (`raftline user` writes it); read again"
        " on SIGHUP")  # fmt: skip
    add("--anonymous", choices=ANONYMOUS, metavar="ROLE",
        help="what those may do who are not logged in: none, reader, writer, admin (default: admin"
        " where only this machine reaches the node, else none)")  # fmt: skip
    add(
        "--insecure",
        action="store_true",
        help="start though others can reach this node, and could speak as a member of the cluster",
    )
    add("--secret", type=Path, metavar="FILE",
        help="members prove to each other that they know the secret in FILE (raftline secret FILE"
        " makes one)")  # fmt: skip
    add("--secret-mode", choices=MODES,
        help="require (default): nothing is taken in the name of a member that proved nothing;"
        " offer: it is, while the secret is turned on node by node")  # fmt: skip


def _add_tls(parser: Parser) -> None:
    """Have the options for TLS."""
    add = parser.add_argument
    add(
        "--tls-cert",
        type=Path,
        metavar="FILE",
        help="speak TLS with this certificate, beside plain lines on the same port",
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
        help="speak TLS alone; with --tls-ca a member proves itself by its certificate",
    )
    add(
        "--tls-require",
        action="store_true",
        help="answer nobody without a certificate of --tls-ca, clients neither",
    )
    add("--tls-crl", type=Path, metavar="FILE",
        help="the list of certificates that the CA of --tls-ca revoked, in PEM; read again on"
        " SIGHUP")  # fmt: skip


def _add_service(parser: Parser) -> None:
    """Have the options for elections, reads, snapshots and processors."""
    add = parser.add_argument
    add(
        "--pace",
        choices=sorted(PACES),
        default="fast",
        help="class: elections take 2 to 4 s; human: 10 to 18 s",
    )
    add("--reads", choices=READ_MODES, default="index",
        help="index: a round of heartbeats confirms each read; lease: no round, trusting clocks;"
        " log: each get is an entry; local: from this node's own state, may be stale")  # fmt: skip
    add("--follower-reads", action="store_true",
        help="as a follower, ask the leader for its read index instead of sending"
        " clients there")  # fmt: skip
    add("--compact-at", type=_BYTES, default=COMPACT_BYTES, metavar="BYTES",
        help="take a snapshot when the log is so long, and twice the last one"
        " (default: 8388608)")  # fmt: skip
    add(
        "--history-events",
        type=_BYTES,
        default=EVENTS_MAX,
        metavar="N",
        help="how many of the latest events are kept, from which watches go on (default: 100000)",
    )
    add(
        "--history-bytes",
        type=_BYTES,
        default=BYTES_MAX,
        metavar="BYTES",
        help="how many bytes of them are kept in memory (default: 33554432)",
    )
    add("--cores", choices=("one", "any"), default="one",
        help="one: a busy node keeps its threads on one core, and moves where another has more to"
        " give; any: wherever the kernel likes")  # fmt: skip
    add("--io", choices=IO_MODES, default="auto",
        help="threads: a thread reads for each connection; shared: one reads for all clients;"
        " auto: shared while many are busy")  # fmt: skip


def _add_membership(parser: Parser) -> None:
    """Have the options for a node that is not known yet."""
    add = parser.add_argument
    add("--register", action="store_true", help="add NAME to the configuration")
    add("--join", metavar="HOST:PORT", type=joining_address,
        help="be added to the cluster of the node there; NAME need not be in the"
        " configuration")  # fmt: skip
    add("--new", action=Typed,
        help="NAME never ran before, on no machine: it votes at once. Type it by hand, once: a"
        " script that says it of a node that lost its disk loses acknowledged writes")  # fmt: skip


def _add_output(parser: Parser) -> None:
    """Have the options for what a node writes down and prints."""
    add = parser.add_argument
    add("--record", type=Path, metavar="FILE",
        help="write down each step of the core, for `raftline replay` and a bug report; FILE holds"
        " keys and values")  # fmt: skip
    add("--http", type=as_place, metavar="PORT",
        help="serve /health, /ready, /metrics and /status over HTTP there: PORT on localhost,"
        " HOST:PORT, or unix:PATH")  # fmt: skip
    add("--verbose", action="store_true", help="print each heartbeat, too")
    add(
        "--log-format",
        choices=FORMATS,
        default="console",
        help="console: the lines as they are; text and json: with time, level, node and term",
    )
    add(
        "--log-level",
        choices=LEVELS,
        help="debug: heartbeats, too; info (default); warning: only what somebody has to mend",
    )
    add("--log-times", action="store_true", help="print the time before each line")
    add("--course-console", action="store_true",
        help="print a bare `Sending message`, and votes as a table only, as the"
        " course's figures")  # fmt: skip
