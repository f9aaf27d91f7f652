"""Nodes whose program is altered on its way in: a disk that fails, a shorter patience."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.e2e.node import SERVER, Node

_MAIN = """
sys.path.insert(0, {source!r})
from raftline.server import main
sys.exit(main())
"""

_FAILING_SYNC = """
import os, sys
really = os.fdatasync
def fdatasync(descriptor):
    if os.path.exists({flag!r}):
        with open({flag!r}, "a") as file:
            file.write("called\\n")
        raise OSError(5, "Input/output error")
    really(descriptor)
os.fdatasync = fdatasync
"""

_BROKEN_CORE = """
import sys
sys.path.insert(0, {source!r})
from raftline.raft.node import Node
really = Node.propose
def propose(self, commands, now_ms):
    if any("break the core" in command for command in commands):
        raise RuntimeError("a bug that no test has met")
    return really(self, commands, now_ms)
Node.propose = propose
"""

_IMPATIENT = """
import sys
sys.path.insert(0, {source!r})
import raftline.net.connection, raftline.net.peers
raftline.net.connection.PATIENCE_S = raftline.net.peers.PATIENCE_S = {seconds}
"""


def _alter(node: Node, code: str, **facts: object) -> None:
    source = str(SERVER.parent)
    program = (code + _MAIN).format(source=source, **facts)
    node.program = [sys.executable, "-c", program]


def fail_syncs(node: Node, flag: Path) -> None:
    """Make each fdatasync fail while the file `flag` exists; each failed call is a line in it."""
    _alter(node, _FAILING_SYNC, flag=str(flag))


def break_core(node: Node) -> None:
    """Make a command that holds `break the core` raise in the core, as a bug would."""
    _alter(node, _BROKEN_CORE)


def hurry(node: Node, seconds: float) -> None:
    """Make the node's patience with half lines and deaf readers this short."""
    _alter(node, _IMPATIENT, seconds=seconds)
