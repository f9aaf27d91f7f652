"""The names of `import raftline`, each loaded at its first use: a server needs none of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Client": "client",
    "ClientError": "link",
    "Clients": "replicated.clients",
    "Leader": "replicated.leadership",
    "LockLost": "replicated.errors",
    "NoLeader": "link",
    "Node": "replicated.node",
    "NodeError": "replicated.errors",
    "OutcomeUnknown": "link",
    "Refused": "link",
    "Rejected": "machines",
    "Replicated": "replicated.values",
    "ReplicatedCounter": "replicated.values",
    "ReplicatedDict": "replicated.mapping",
    "ReplicatedList": "replicated.sequence",
    "ReplicatedLock": "replicated.lock",
    "ReplicatedMachine": "replicated.values",
    "ReplicatedQueue": "replicated.queues",
    "ReplicatedSet": "replicated.sets",
    "StateMachine": "machines",
    "Unreachable": "link",
    "WrongKind": "replicated.errors",
}


def exported(name: str) -> Any:
    """Return what `raftline.NAME` is. Raises AttributeError where there is no such name."""
    if name not in _HOMES:
        raise AttributeError(f"module 'raftline' has no attribute {name!r}")
    return getattr(import_module(f"raftline.{_HOMES[name]}"), name)


def names() -> list[str]:
    """Return all these names."""
    return sorted(_HOMES)
