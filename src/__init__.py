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
    from raftline.objects.client_pool import Clients as Clients
    from raftline.objects.embedded_node import Node as Node
    from raftline.objects.errors import LockLost as LockLost
    from raftline.objects.errors import NodeError as NodeError
    from raftline.objects.errors import WrongKind as WrongKind
    from raftline.objects.leadership import Leader as Leader
    from raftline.objects.lock import ReplicatedLock as ReplicatedLock
    from raftline.objects.mapping import ReplicatedDict as ReplicatedDict
    from raftline.objects.queues import ReplicatedQueue as ReplicatedQueue
    from raftline.objects.sequence import ReplicatedList as ReplicatedList
    from raftline.objects.sets import ReplicatedSet as ReplicatedSet
    from raftline.objects.values import Replicated as Replicated
    from raftline.objects.values import ReplicatedCounter as ReplicatedCounter
    from raftline.objects.values import ReplicatedMachine as ReplicatedMachine
    from raftline.state.machines import Rejected as Rejected
    from raftline.state.machines import StateMachine as StateMachine
else:  # hidden from those, which would take it for a promise of any name
    __getattr__ = exports.exported
__dir__ = exports.names
__all__ = exports.names()
