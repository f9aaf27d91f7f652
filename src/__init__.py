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

    from raftline import aio as aio
    from raftline import api as api
    from raftline import errors as errors
    from raftline.clients.calls.kv_errors import LeaseLost as LeaseLost
    from raftline.clients.connections.client_tls import ClientTls as ClientTls
    from raftline.clients.connections.node_connection import ClientError as ClientError
    from raftline.clients.connections.node_connection import LoginFailed as LoginFailed
    from raftline.clients.connections.node_connection import NoLeader as NoLeader
    from raftline.clients.connections.node_connection import NotAllowed as NotAllowed
    from raftline.clients.connections.node_connection import OutcomeUnknown as OutcomeUnknown
    from raftline.clients.connections.node_connection import Refused as Refused
    from raftline.clients.connections.node_connection import Unreachable as Unreachable
    from raftline.objects.base import NodeError as NodeError
    from raftline.objects.dict_and_set import ReplicatedDict as ReplicatedDict
    from raftline.objects.dict_and_set import ReplicatedSet as ReplicatedSet
    from raftline.objects.embedded_node import Node as Node
    from raftline.objects.list_and_queue import ReplicatedList as ReplicatedList
    from raftline.objects.list_and_queue import ReplicatedQueue as ReplicatedQueue
    from raftline.objects.values import Replicated as Replicated
    from raftline.objects.values import ReplicatedCounter as ReplicatedCounter
    from raftline.objects.values import ReplicatedMachine as ReplicatedMachine
    from raftline.threads import KV as KV
    from raftline.threads import connect as connect

    from .common.errors import RaftlineError as RaftlineError
    from .state.commands.machines import StateMachine as StateMachine

_NAMES = {  # the names of each module, as in the imports above: a test compares the two
    "clients.connections.node_connection": "ClientError LoginFailed NoLeader NotAllowed "
    "OutcomeUnknown Refused Unreachable",
    "clients.connections.client_tls": "ClientTls",
    "common.errors": "RaftlineError",
    "clients.calls.kv_errors": "LeaseLost",
    "objects.base": "NodeError",
    "objects.dict_and_set": "ReplicatedDict ReplicatedSet",
    "objects.embedded_node": "Node",
    "objects.list_and_queue": "ReplicatedList ReplicatedQueue",
    "objects.values": "Replicated ReplicatedCounter ReplicatedMachine",
    "state.commands.machines": "StateMachine",
    "threads": "KV connect",
}
_MODULES = ("aio", "api", "errors")
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}


__all__ = sorted([*_HOMES, *_MODULES])


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


if not TYPE_CHECKING:  # hidden from type checkers, which would accept any name

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            from importlib import import_module

            return import_module(f"raftline.{name}")
        if name == "__version__":
            from importlib import import_module

            return import_module("raftline.common.version").VERSION
        message = f"module 'raftline' has no attribute {name!r}"
        if name not in _HOMES:
            raise AttributeError(message, name=name, obj=sys.modules["raftline"])  # "Did you mean"
        from importlib import import_module

        try:
            return getattr(import_module(f"raftline.{_HOMES[name]}"), name)
        except ModuleNotFoundError as error:
            if not import_module("raftline.common.extensions").is_missing(error):
                raise
            raise AttributeError(message, name=name, obj=sys.modules["raftline"]) from None
