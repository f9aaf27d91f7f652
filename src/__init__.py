"""raftline: a key-value store replicated by Raft, whose every byte is human-readable.

Each public name is loaded at its first use, because a server needs none of them.
"""

from __future__ import annotations

import os
import sys

if sys.version_info < (3, 10):  # noqa: UP036 - an uninstalled clone may run on any Python
    sys.stderr.write(
        "raftline needs Python 3.10 or newer, and this is {}.{}.{} ({}). "
        "Run another one, such as python3.12\n".format(*sys.version_info[:3], sys.executable)
    )
    raise SystemExit(2)

if os.environ.get("RAFTLINE_PURE") == "1":
    from .common.process.pure_python import prefer_source

    prefer_source()

TYPE_CHECKING = False
if TYPE_CHECKING:  # for type checkers; every command loads this file first, so it must be fast
    from typing import Any

    __version__: str

    from . import aio as aio
    from .client import Client as Client
    from .clients.calls.calls import Stat as Stat
    from .clients.calls.kv_errors import EventsGone as EventsGone
    from .clients.calls.kv_errors import LeaseLost as LeaseLost
    from .clients.calls.kv_errors import NotUnderstood as NotUnderstood
    from .clients.calls.kv_errors import TooManyWatches as TooManyWatches
    from .clients.calls.pipeline import Pending as Pending
    from .clients.calls.pipeline import Pipeline as Pipeline
    from .clients.calls.transaction import Outcome as Outcome
    from .clients.calls.transaction import Transaction as Transaction
    from .clients.kv.connecting import connect as connect
    from .clients.kv.kv import KV as KV
    from .clients.locks.lease import Lease as Lease
    from .clients.locks.lock import Election as Election
    from .clients.locks.lock import Held as Held
    from .clients.locks.lock import Lock as Lock
    from .clients.locks.lock import Semaphore as Semaphore
    from .clients.requests.client_tls import ClientTls as ClientTls
    from .clients.requests.node_connection import ClientError as ClientError
    from .clients.requests.node_connection import Closed as Closed
    from .clients.requests.node_connection import LoginFailed as LoginFailed
    from .clients.requests.node_connection import NoLeader as NoLeader
    from .clients.requests.node_connection import NotAllowed as NotAllowed
    from .clients.requests.node_connection import NotLeader as NotLeader
    from .clients.requests.node_connection import OutcomeUnknown as OutcomeUnknown
    from .clients.requests.node_connection import Refused as Refused
    from .clients.requests.node_connection import TimedOut as TimedOut
    from .clients.requests.node_connection import Unreachable as Unreachable
    from .clients.requests.pool import Clients as Clients
    from .clients.watches.watch import Watch as Watch
    from .clients.watches.watch_events import Event as Event
    from .clients.watches.watch_events import KVSnapshot as KVSnapshot
    from .common.errors import RaftlineError as RaftlineError
    from .objects.base import NodeError as NodeError
    from .objects.base import WrongKind as WrongKind
    from .objects.dict_and_set import ReplicatedDict as ReplicatedDict
    from .objects.dict_and_set import ReplicatedSet as ReplicatedSet
    from .objects.embedded_node import Node as Node
    from .objects.embedded_server import Leader as Leader
    from .objects.list_and_queue import ReplicatedList as ReplicatedList
    from .objects.list_and_queue import ReplicatedQueue as ReplicatedQueue
    from .objects.values import Replicated as Replicated
    from .objects.values import ReplicatedCounter as ReplicatedCounter
    from .objects.values import ReplicatedMachine as ReplicatedMachine
    from .state.commands.machines import Rejected as Rejected
    from .state.commands.machines import StateMachine as StateMachine

_NAMES = {  # the names of each module, as in the imports above: a test compares the two
    "client": "Client",
    "clients.requests.node_connection": "ClientError Closed LoginFailed NoLeader "
    "NotAllowed NotLeader OutcomeUnknown Refused TimedOut Unreachable",
    "clients.requests.pool": "Clients",
    "clients.requests.client_tls": "ClientTls",
    "common.errors": "RaftlineError",
    "clients.calls.calls": "Stat",
    "clients.kv.connecting": "connect",
    "clients.calls.kv_errors": "EventsGone LeaseLost NotUnderstood TooManyWatches",
    "clients.watches.watch_events": "Event KVSnapshot",
    "clients.locks.lease": "Lease",
    "clients.locks.lock": "Election Held Lock Semaphore",
    "clients.calls.pipeline": "Pending Pipeline",
    "clients.kv.kv": "KV",
    "clients.calls.transaction": "Outcome Transaction",
    "clients.watches.watch": "Watch",
    "objects.base": "NodeError WrongKind",
    "objects.dict_and_set": "ReplicatedDict ReplicatedSet",
    "objects.embedded_node": "Node",
    "objects.embedded_server": "Leader",
    "objects.list_and_queue": "ReplicatedList ReplicatedQueue",
    "objects.values": "Replicated ReplicatedCounter ReplicatedMachine",
    "state.commands.machines": "Rejected StateMachine",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}


__all__ = sorted([*_HOMES, "aio"])


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


if not TYPE_CHECKING:  # hidden from type checkers, which would accept any name

    def __getattr__(name: str) -> Any:
        if name == "aio":
            from importlib import import_module

            return import_module("raftline.aio")
        if name == "__version__":
            from importlib import import_module

            return import_module("raftline.common.version").VERSION
        if name not in _HOMES:
            message = f"module 'raftline' has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules["raftline"])  # "Did you mean"
        from importlib import import_module

        return getattr(import_module(f"raftline.{_HOMES[name]}"), name)
