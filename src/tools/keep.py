"""`raftline lease SECONDS --keep`: a lease that is renewed for as long as this program runs."""

from __future__ import annotations

import argparse
import json
import sys

from raftline.clients.connection import ClientError
from raftline.clients.options import ClientAccess, clients_of
from raftline.clients.streams import say
from raftline.clients.where import by_address
from raftline.kv.codec import TEXT
from raftline.kv.errors import LeaseLost
from raftline.kv.store import KV
from raftline.tools.guarded import Interrupted, Signals
from raftline.wire.protocol import error

EXIT_LOST = 124  # as `raftline lock` has it


def keep(seconds: int, options: argparse.Namespace) -> int:
    """Get a lease granted, print its name, and renew it until a signal comes; then end it. Return
    128 and the number of the signal, 124 if the lease was lost, else the client's exit code.

    Raises:
        ConfigError: no node is named anywhere.
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
        from raftline.tools.statusreport import explained  # only a failure needs it

        nodes = by_address(clients.addresses.known)
        access = ClientAccess(clients.credentials, clients.tls)
        failure = explained(problem, nodes, access)
        return _failure(failure.at_the_shell, int(failure.outcome), options)
    return EXIT_LOST  # not reached: the end of `with` raises the loss


def _say_granted(lease: str, seconds: int, options: argparse.Namespace) -> None:
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
