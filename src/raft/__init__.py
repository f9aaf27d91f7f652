"""Consensus as a pure state machine, without I/O, clocks or randomness: the core as a library.

A program gives inputs and the time to a `RawNode`, and carries out the Effects that come back:
docs/use/core.md. Nothing of the store is loaded with it, and each name is loaded at its first use.
To read the code, start in node.py.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # for type checkers
    from typing import Any

    from ..wire import peer_lines as _lines
    from . import membership as _membership
    from .change import Change as Change
    from .effects import Chunk as Chunk
    from .effects import Effects as Effects
    from .effects import HardState as HardState
    from .effects import ReadReady as ReadReady
    from .effects import Settled as Settled
    from .inputs import Applied as Applied
    from .inputs import AskLeader as AskLeader
    from .inputs import Begin as Begin
    from .inputs import ChangeMembers as ChangeMembers
    from .inputs import Compact as Compact
    from .inputs import Input as Input
    from .inputs import NeedParts as NeedParts
    from .inputs import PeerBuild as PeerBuild
    from .inputs import PeerDisconnected as PeerDisconnected
    from .inputs import Propose as Propose
    from .inputs import Read as Read
    from .inputs import Receive as Receive
    from .inputs import SnapshotChecked as SnapshotChecked
    from .inputs import SnapshotGone as SnapshotGone
    from .inputs import SnapshotRejected as SnapshotRejected
    from .inputs import SnapshotTaken as SnapshotTaken
    from .inputs import StateSummed as StateSummed
    from .inputs import Stop as Stop
    from .inputs import Synced as Synced
    from .inputs import Tick as Tick
    from .inputs import Transfer as Transfer
    from .log import Entry as Entry
    from .log import Log as Log
    from .log import SafetyError as SafetyError
    from .log import Snapshot as Snapshot
    from .membership import Membership as Membership
    from .membership import all_vote as all_vote
    from .messages import AppendAccepted as AppendAccepted
    from .messages import AppendEntries as AppendEntries
    from .messages import AppendRejected as AppendRejected
    from .messages import Difference as Difference
    from .messages import InstallSnapshot as InstallSnapshot
    from .messages import InstallSnapshotReply as InstallSnapshotReply
    from .messages import Message as Message
    from .messages import PeerError as PeerError
    from .messages import ReadIndex as ReadIndex
    from .messages import ReadIndexReply as ReadIndexReply
    from .messages import RequestVote as RequestVote
    from .messages import RequestVoteReply as RequestVoteReply
    from .messages import SumKind as SumKind
    from .messages import Sums as Sums
    from .messages import TimeoutNow as TimeoutNow
    from .newborn import BeginRefused as BeginRefused
    from .node import RawNode as RawNode
    from .node import StepObserver as StepObserver
    from .node import node_from_disk as node_from_disk
    from .node_view import NodeView as NodeView
    from .roles import Role as Role
    from .state import Options as Options
    from .transfer import TransferRefused as TransferRefused

    is_one_line, read_message = _lines.is_one_line, _lines.read
    format_message, read_membership = _lines.format_message, _membership.read

_NAMES = {  # the names of each module, as in the imports above: a test compares the two
    "raft.change": "Change",
    "raft.effects": "Chunk Effects HardState ReadReady Settled",
    "raft.inputs": "Applied AskLeader Begin ChangeMembers Compact Input NeedParts PeerDisconnected "
    "PeerBuild Propose Read Receive SnapshotChecked SnapshotGone SnapshotRejected SnapshotTaken "
    "StateSummed Stop Synced Tick Transfer",
    "raft.log": "Entry Log SafetyError Snapshot",
    "raft.membership": "Membership all_vote read_membership:read",
    "raft.messages": "AppendAccepted AppendEntries AppendRejected Difference InstallSnapshot "
    "InstallSnapshotReply Message PeerError ReadIndex ReadIndexReply RequestVote RequestVoteReply "
    "SumKind Sums TimeoutNow",
    "raft.newborn": "BeginRefused",
    "raft.node": "RawNode StepObserver node_from_disk",
    "raft.node_view": "NodeView",
    "raft.roles": "Role",
    "raft.state": "Options",
    "raft.transfer": "TransferRefused",
    "wire.peer_lines": "format_message is_one_line read_message:read",
}
_HOMES = {  # the module of each public name, and its name there
    public: (module, inner or public)
    for module, names in _NAMES.items()
    for public, _, inner in [name.partition(":") for name in names.split()]
}

__all__ = sorted(_HOMES)


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # hidden from type checkers, which would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            message = f"module 'raftline.raft' has no attribute {name!r}"
            raise AttributeError(message, name=name)
        from importlib import import_module

        module, inner = _HOMES[name]
        return getattr(import_module(f"raftline.{module}"), inner)
