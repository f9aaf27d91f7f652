"""The names of `import raftline`, each loaded at its first use: a server needs none of them."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # every command loads this first: nothing slow, such as typing itself
    from typing import Any

_HOMES = {
    "Client": "client",
    "ClientError": "clients.connection",
    "Clients": "objects.client_pool",
    "Leader": "objects.embedded_server",
    "LockLost": "objects.base",
    "NoLeader": "clients.connection",
    "Node": "objects.embedded_node",
    "NodeError": "objects.base",
    "OutcomeUnknown": "clients.connection",
    "Refused": "clients.connection",
    "Rejected": "state.machines",
    "Replicated": "objects.values",
    "ReplicatedCounter": "objects.values",
    "ReplicatedDict": "objects.dict_and_set",
    "ReplicatedList": "objects.list_and_queue",
    "ReplicatedLock": "objects.lock",
    "ReplicatedMachine": "objects.values",
    "ReplicatedQueue": "objects.list_and_queue",
    "ReplicatedSet": "objects.dict_and_set",
    "StateMachine": "state.machines",
    "Unreachable": "clients.connection",
    "WrongKind": "objects.base",
}


def exported(name: str) -> Any:
    """Return what `raftline.NAME` is. Raises AttributeError where there is no such name."""
    if name not in _HOMES:
        said = f"module 'raftline' has no attribute {name!r}"
        raise AttributeError(said, name=name, obj=sys.modules["raftline"])  # for "Did you mean"
    from importlib import import_module

    return getattr(import_module(f"raftline.{_HOMES[name]}"), name)


def names() -> list[str]:
    """Return all these names."""
    return sorted(_HOMES)
