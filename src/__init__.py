"""raftline: a key-value store replicated by Raft, whose every byte a person can read."""

from raftline import exports

TYPE_CHECKING = False
if TYPE_CHECKING:  # for type checkers: at run time each is loaded at its first use
    from raftline.client import Client as Client
    from raftline.clients.connection import ClientError as ClientError
    from raftline.clients.connection import NoLeader as NoLeader
    from raftline.clients.connection import OutcomeUnknown as OutcomeUnknown
    from raftline.clients.connection import Refused as Refused
    from raftline.clients.connection import Unreachable as Unreachable
    from raftline.objects.base import LockLost as LockLost
    from raftline.objects.base import NodeError as NodeError
    from raftline.objects.base import WrongKind as WrongKind
    from raftline.objects.client_pool import Clients as Clients
    from raftline.objects.dict_and_set import ReplicatedDict as ReplicatedDict
    from raftline.objects.dict_and_set import ReplicatedSet as ReplicatedSet
    from raftline.objects.embedded_node import Node as Node
    from raftline.objects.embedded_server import Leader as Leader
    from raftline.objects.list_and_queue import ReplicatedList as ReplicatedList
    from raftline.objects.list_and_queue import ReplicatedQueue as ReplicatedQueue
    from raftline.objects.lock import ReplicatedLock as ReplicatedLock
    from raftline.objects.values import Replicated as Replicated
    from raftline.objects.values import ReplicatedCounter as ReplicatedCounter
    from raftline.objects.values import ReplicatedMachine as ReplicatedMachine
    from raftline.state.machines import Rejected as Rejected
    from raftline.state.machines import StateMachine as StateMachine
else:  # hidden from those, which would take it for a promise of any name
    __getattr__ = exports.exported
__dir__ = exports.names
__all__ = exports.names()
