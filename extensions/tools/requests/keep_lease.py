"""`raftline lease SECONDS --keep`: renew a lease while this program runs."""

from __future__ import annotations

import argparse
import json
import sys

from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.address_options import by_address
from raftline.clients.connections.node_connection import ClientError
from raftline.clients.kv.kv import KV
from raftline.clients.terminal.exit_status import exit_status_of
from raftline.clients.terminal.streams import say
from raftline.wire.refusal import error

from ..asking import explain
from ..asking_options import clients_of
from .held_command import Interrupted, Signals

EXIT_LOST = 124  # the same as for `raftline lock`


def keep(seconds: float, options: argparse.Namespace) -> int:
    """Obtain a lease, print its name, and renew it until a signal arrives. Then end the lease.
    Return 128 plus the signal's number, 124 if the lease was lost, or else the client's exit code.

    Raises:
        ConfigError: no option, variable or file names a node.
    """
    clients = clients_of(options)
    try:
        with Signals(), KV(clients, TEXT) as kv, kv.lease(seconds) as lease:
            _say_granted(lease.id, seconds, options)
            lease.wait_lost()
    except Interrupted as stop:
        return stop.status
    except LeaseLost as loss:
        return _failure(str(loss), EXIT_LOST, options)
    except ClientError as problem:
        failure = explain(by_address(clients.addresses.known), clients.access, problem)
        return _failure(failure.at_the_shell, exit_status_of(failure), options)
    return EXIT_LOST  # not reached: the end of `with` raises LeaseLost


def _say_granted(lease: str, seconds: float, options: argparse.Namespace) -> None:
    if options.json:
        say(json.dumps({"ok": True, "verb": "lease", "lease": lease, "seconds": seconds}))
    else:
        say(lease if options.quiet else f"LEASE response: {lease} for {seconds} s")


def _failure(text: str, code: int, options: argparse.Namespace) -> int:
    if options.json:
        say(json.dumps({"ok": False, "verb": "lease", "error": text, "code": code}))
    else:
        print(error(text), file=sys.stderr)
    return code
