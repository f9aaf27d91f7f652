"""raftline: a key-value store replicated by Raft, whose every byte a person can read."""

from typing import TYPE_CHECKING

from raftline.exports import exported as __getattr__
from raftline.exports import names as __dir__

if TYPE_CHECKING:  # for type checkers: at run time each is loaded at its first use
    from raftline.client import Client as Client
    from raftline.link import ClientError as ClientError
    from raftline.link import NoLeader as NoLeader
    from raftline.link import OutcomeUnknown as OutcomeUnknown
    from raftline.link import Refused as Refused
    from raftline.link import Unreachable as Unreachable
    from raftline.machines import Rejected as Rejected
    from raftline.machines import StateMachine as StateMachine
    from raftline.replicated.clients import Clients as Clients
    from raftline.replicated.errors import LockLost as LockLost
    from raftline.replicated.errors import NodeError as NodeError
    from raftline.replicated.errors import WrongKind as WrongKind
    from raftline.replicated.leadership import Leader as Leader
    from raftline.replicated.lock import ReplicatedLock as ReplicatedLock
    from raftline.replicated.mapping import ReplicatedDict as ReplicatedDict
    from raftline.replicated.node import Node as Node
    from raftline.replicated.queues import ReplicatedQueue as ReplicatedQueue
    from raftline.replicated.sequence import ReplicatedList as ReplicatedList
    from raftline.replicated.sets import ReplicatedSet as ReplicatedSet
    from raftline.replicated.values import Replicated as Replicated
    from raftline.replicated.values import ReplicatedCounter as ReplicatedCounter
    from raftline.replicated.values import ReplicatedMachine as ReplicatedMachine

__all__ = ["__dir__", "__getattr__"]
