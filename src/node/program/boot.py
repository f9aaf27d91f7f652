"""The arguments of a node, and the values that follow from them before the node exists."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

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

_FILE: Final = {"type": Path, "metavar": "FILE"}
_FLAG: Final = {"action": "store_true"}
_BYTES: Final = {"type": as_number("number of bytes", 1), "metavar": "BYTES"}
# Each argument, in the order of the help: its name, what argparse has to know of it, and its help.
_ARGUMENTS: Final[tuple[tuple[str, Mapping[str, Any], str], ...]] = (
    # the node's name, its port and its folder
    ("name", {"metavar": "NAME"}, "which line of the configuration: s1"),
    ("port", {"metavar": "PORT"}, "where to listen: 10000"),
    ("--dir", {}, "folder of server-configuration.txt and of the node's files"),
    ("--host", {"type": as_host, "default": "localhost"}, "where to listen (default: localhost)"),
    ("--open-to-network", _FLAG, "allow a --host that others can reach"),
    ("--advertise", {"type": reached_address, "metavar": "HOST:PORT"},
     "the address where others reach this node, if it differs from the one it listens on:"
     " behind a proxy, in a container, on every address"),
    # access
    ("--anonymous", {"choices": ANONYMOUS, "metavar": "ROLE"},
     "the role of clients that are not logged in, once logins are required: none (default),"
     " reader, writer, admin"),
    ("--first-admin", _FILE,
     "require clients to log in; while the cluster has no users, its leader adds the admin"
     " in FILE (`raftline user first NAME FILE` writes it)"),
    ("--insecure", _FLAG,
     "start although others can reach this node and could pose as a member of the cluster"),
    ("--secret", _FILE,
     "members prove to each other that they know the secret in FILE (raftline secret FILE"
     " makes one)"),
    ("--secret-mode", {"choices": MODES},
     "require (default): members have to prove themselves; offer: members without a proof"
     " are accepted as well, while the secret is turned on node by node"),
    # TLS
    ("--tls-cert", _FILE,
     "speak TLS with this certificate, along with plain lines on the same port"),
    ("--tls-key", _FILE, "the key of that certificate"),
    ("--tls-ca", _FILE, "the CA of the other members' certificates, and of clients'"),
    ("--tls-only", _FLAG,
     "speak only TLS; with --tls-ca a member proves itself by its certificate"),
    ("--tls-require", _FLAG, "answer nobody without a certificate of --tls-ca, not even clients"),
    ("--tls-crl", _FILE,
     "the list of certificates that the CA of --tls-ca revoked, in PEM; it is read again on"
     " SIGHUP"),
    # elections, reads and snapshots
    ("--pace", {"choices": sorted(PACES), "default": "fast"},
     "class: elections take 2 to 4 s, for a slow network; human: 10 to 18 s, to watch"),
    ("--reads", {"choices": READ_MODES, "default": "index"},
     "index: a round of heartbeats confirms each read; lease: no round, trusting clocks;"
     " log: each get is an entry; local: from this node's own state, may be stale"),
    ("--follower-reads", _FLAG,
     "as a follower, ask the leader for its read index instead of sending clients there"),
    ("--compact-at", {**_BYTES, "default": COMPACT_BYTES},
     "take a snapshot when the log has this size and twice that of the last snapshot"
     " (default: 8388608)"),
    # events that are kept, memory, processors and threads
    ("--history-events",
     {"type": as_number("number of events", 1), "default": HISTORY_EVENTS, "metavar": "N"},
     "how many of the latest events are kept, for watches that resume (default: 100000)"),
    ("--history-bytes", {**_BYTES, "default": HISTORY_BYTES},
     f"how many bytes of them are kept in memory (default: {HISTORY_BYTES})"),
    ("--max-bytes", {**_BYTES, "default": PAIRS_BYTES},
     "how many bytes keys, values and leases may take in memory; beyond it only commands"
     f" that free some are accepted. The leader's setting counts (default: {PAIRS_BYTES})"),
    ("--memory", _BYTES,
     "the sum of the memory bounds of this node, without its keys; it accepts as many"
     f" connections and watches as fit (default: {MEMORY_BYTES}, or what --max-connections and"
     " --history-bytes need)"),
    ("--cores", {"choices": ("one", "any"), "default": "one"},
     "one: a busy node keeps its threads on one core, and moves to another that has more"
     " idle time; any: the kernel chooses"),
    ("--io", {"choices": IO_MODES, "default": "auto"},
     "threads: one reading thread for each connection; shared: one for all clients;"
     " auto: shared while many are busy"),
    # a node that is not known yet
    ("--register", _FLAG, "add NAME to the configuration"),
    ("--join", {"type": joining_address, "metavar": "HOST:PORT"},
     "ask the node at this address to be added to its cluster; NAME need not be in the"
     " configuration"),
    ("--new", {"action": Typed},
     "NAME never ran before, on any machine: it votes at once. Type this by hand, once: a"
     " script that uses it for a node that lost its disk loses acknowledged writes"),
    ("--floor", _FLAG,
     "begin a cluster in which other implementations take part, which announce no build:"
     " every raftline node of it needs this, and serves only what they understand"),
    # what a node records and prints
    ("--record", _FILE,
     "record each step of the core, for `raftline replay` and a bug report; FILE holds"
     " keys and values"),
    ("--http", {"type": as_endpoint, "metavar": "PORT"},
     "serve /health, /ready, /metrics and /status over HTTP there: PORT on localhost,"
     " HOST:PORT, or unix:PATH"),
    ("--verbose", _FLAG, "also print each heartbeat"),
    ("--log-format", {"choices": FORMATS, "default": "console"},
     "console: the lines as they are; text and json: with time, level, node and term"),
    ("--log-level", {"choices": LEVELS},
     "debug: everything, with requests, messages and heartbeats; info: what happens to the"
     " node (default of text and json); warning: only what somebody has to fix"),
    ("--log-times", _FLAG, "print the time before each line"),
    ("--course-console", _FLAG,
     "print a bare `Sending message`, and votes only as a table, like the course's figures"),
    # the settings as a whole
    ("--max-connections", {"type": as_number("number of connections", 1, 999_999), "metavar": "N"},
     "default: 4096, or as many as fit --memory"),
    ("--config", {"metavar": "FILE"},
     "the file of settings (default: raftline.toml in the folder of --dir, else here)"),
    ("--print-config", {"action": Typed}, "show each setting and where it comes from"),
)  # fmt: skip


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
    for name, options, text in _ARGUMENTS:
        parser.add_argument(name, help=text, **options)
    parser.add_version()
    return parser
