"""A leader whose build knows a level above that of the cluster."""

from __future__ import annotations

from dataclasses import replace

from raftline.raft.effects import Effects
from raftline.raft.inputs import PeerLevel
from raftline.raft.levels import LOWEST
from raftline.raft.membership import Membership
from raftline.raft.node import RawNode

from .cores import OPTIONS, acknowledge, established, sync

IDENTITY = "9f86d081884c7d65"
FIRST = replace(OPTIONS, level=LOWEST, cluster_if_new=IDENTITY, chunk_bytes=40)
NEWER = replace(FIRST, level=2)
ADDRESSES = {name: f"{name}:1" for name in ("s1", "s2", "s3", "s4")}
THREE = Membership(("s1", "s2", "s3"), addresses={n: ADDRESSES[n] for n in ("s1", "s2", "s3")})


def leader(voters: Membership = THREE, **more: object) -> RawNode:
    """Return s1, which leads a cluster of level 1 with a build of level 2; its peers have announced
    nothing."""
    return established("s1", voters=voters, options=NEWER, **more)


def tell(node: RawNode, peer: str, level: int = 2) -> Effects:
    return node.step(PeerLevel(peer, level), node.view.now_ms)


def raised(node: RawNode) -> RawNode:
    """Return a leader whose followers have announced level 2 and hold the entry of it."""
    for peer in node.view.peers:
        tell(node, peer)
    sync(node)
    for peer in node.view.peers:
        acknowledge(node, peer)
    return node
