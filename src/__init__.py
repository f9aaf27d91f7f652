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
    from .common.pure_python import prefer_source

    prefer_source()

TYPE_CHECKING = False
if TYPE_CHECKING:  # for type checkers; every command loads this file first, so it must be fast
    from typing import Any

    __version__: str

    from . import aio as aio
    from .client import Client as Client
    from .clients.connection import ClientError as ClientError
    from .clients.connection import Closed as Closed
    from .clients.connection import LoginFailed as LoginFailed
    from .clients.connection import NoLeader as NoLeader
    from .clients.connection import NotAllowed as NotAllowed
    from .clients.connection import NotLeader as NotLeader
    from .clients.connection import OutcomeUnknown as OutcomeUnknown
    from .clients.connection import Refused as Refused
    from .clients.connection import TimedOut as TimedOut
    from .clients.connection import Unreachable as Unreachable
    from .clients.pool import Clients as Clients
    from .clients.tls import ClientTls as ClientTls
    from .common.errors import RaftlineError as RaftlineError
    from .kv.calls import Stat as Stat
    from .kv.connecting import connect as connect
    from .kv.errors import EventsGone as EventsGone
    from .kv.errors import LeaseLost as LeaseLost
    from .kv.errors import NotUnderstood as NotUnderstood
    from .kv.errors import TooManyWatches as TooManyWatches
    from .kv.events import Event as Event
    from .kv.events import KVSnapshot as KVSnapshot
    from .kv.lease import Lease as Lease
    from .kv.lock import Election as Election
    from .kv.lock import Lock as Lock
    from .kv.lock import Semaphore as Semaphore
    from .kv.pipeline import Pending as Pending
    from .kv.pipeline import Pipeline as Pipeline
    from .kv.store import KV as KV
    from .kv.transaction import Outcome as Outcome
    from .kv.transaction import Transaction as Transaction
    from .kv.watch import Watch as Watch
    from .objects.base import LockLost as LockLost
    from .objects.base import NodeError as NodeError
    from .objects.base import WrongKind as WrongKind
    from .objects.dict_and_set import ReplicatedDict as ReplicatedDict
    from .objects.dict_and_set import ReplicatedSet as ReplicatedSet
    from .objects.embedded_node import Node as Node
    from .objects.embedded_server import Leader as Leader
    from .objects.list_and_queue import ReplicatedList as ReplicatedList
    from .objects.list_and_queue import ReplicatedQueue as ReplicatedQueue
    from .objects.lock import ReplicatedLock as ReplicatedLock
    from .objects.values import Replicated as Replicated
    from .objects.values import ReplicatedCounter as ReplicatedCounter
    from .objects.values import ReplicatedMachine as ReplicatedMachine
    from .state.machines import Rejected as Rejected
    from .state.machines import StateMachine as StateMachine

_NAMES = {  # the names of each module, as in the imports above: a test compares the two
    "client": "Client",
    "clients.connection": "ClientError Closed LoginFailed NoLeader "
    "NotAllowed NotLeader OutcomeUnknown Refused TimedOut Unreachable",
    "clients.pool": "Clients",
    "clients.tls": "ClientTls",
    "common.errors": "RaftlineError",
    "kv.calls": "Stat",
    "kv.connecting": "connect",
    "kv.errors": "EventsGone LeaseLost NotUnderstood TooManyWatches",
    "kv.events": "Event KVSnapshot",
    "kv.lease": "Lease",
    "kv.lock": "Election Lock Semaphore",
    "kv.pipeline": "Pending Pipeline",
    "kv.store": "KV",
    "kv.transaction": "Outcome Transaction",
    "kv.watch": "Watch",
    "objects.base": "LockLost NodeError WrongKind",
    "objects.dict_and_set": "ReplicatedDict ReplicatedSet",
    "objects.embedded_node": "Node",
    "objects.embedded_server": "Leader",
    "objects.list_and_queue": "ReplicatedList ReplicatedQueue",
    "objects.lock": "ReplicatedLock",
    "objects.values": "Replicated ReplicatedCounter ReplicatedMachine",
    "state.machines": "Rejected StateMachine",
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
