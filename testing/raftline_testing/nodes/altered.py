"""Nodes whose program is altered at its start: a disk that fails, another system, …"""

from __future__ import annotations

import sys
from pathlib import Path

from .cluster import SERVER, NodeProcess

_MAIN = """
import runpy, sys
sys.path.insert(0, {source!r})
runpy.run_path({script!r}, run_name="__main__")
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
from raftline.raft.inputs import Propose
from raftline.raft.node import RawNode
really = RawNode.step
def step(self, taken, now_ms):
    if isinstance(taken, Propose) and any("break the core" in one for one in taken.commands):
        raise RuntimeError("a bug that no test has met")
    return really(self, taken, now_ms)
RawNode.step = step
"""

_HANGING_APPLIER = """
import sys, threading
sys.path.insert(0, {source!r})
import os
from raftline.node.loop.driver import Driver
really = Driver._applied_offloaded
def applied(self):
    if os.path.exists({flag!r}):
        threading.Event().wait()
    return really(self)
Driver._applied_offloaded = applied
"""

_WRONG_STATE = """
import os, sys
sys.path.insert(0, {source!r})
from raftline.state.store import Store
really = Store.write
def write(self, key, value):
    really(self, key, "wrong" if os.path.exists({flag!r}) else value)
Store.write = write
"""

_NEVER_ENDING = """
import sys, threading
sys.path.insert(0, {source!r})
from raftline.common.process import signals
from raftline.node.program import service
from raftline.net.connections.listener import Listener
signals.END_S = service.END_S = 0.5
def end_connections(self, **_):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
Listener.end_connections = end_connections
"""

_IMPATIENT = """
import sys
sys.path.insert(0, {source!r})
import raftline.wire.limits
raftline.wire.limits.LINE_S = raftline.wire.limits.PEER_S = {seconds}  # before others take them
"""

# The names that Linux has and macOS lacks; and macOS's one call for a sync that reaches the disk.
_AS_ON_MACOS = """
import fcntl, os, select, signal, socket, subprocess, sys, tempfile, threading, time
lacking = {{
    os: ["sched_getaffinity", "sched_setaffinity", "fdatasync", "posix_fadvise", "posix_fallocate",
         "pidfd_open", "pipe2", "memfd_create", "eventfd", "splice", "accept4"],
    select: ["epoll"],
    signal: ["sigtimedwait", "sigwaitinfo", "SIGRTMIN"],
    socket: ["TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_QUICKACK", "SOCK_CLOEXEC", "SO_PEERCRED"],
    time: ["CLOCK_BOOTTIME", "CLOCK_TAI"],
}}
for module, names in lacking.items():
    for name in names:
        vars(module).pop(name, None)
sys.platform = "darwin"
fcntl.F_FULLFSYNC = 51
really = fcntl.fcntl
def call(descriptor, command, *rest):
    if command != fcntl.F_FULLFSYNC:
        return really(descriptor, command, *rest)
    with open({flag!r}, "a") as file:
        file.write("called\\n")
    os.fsync(descriptor)
    return 0
fcntl.fcntl = call
"""


def alter(node: NodeProcess, code: str, **facts: object) -> None:
    """Run this before the node's program, with the facts in their places."""
    program = (code + _MAIN).format(source=str(SERVER.parent), script=node.command[1], **facts)
    node.program = [sys.executable, "-c", program]


def fail_syncs(node: NodeProcess, flag: Path) -> None:
    """Make each fdatasync fail while the file `flag` exists; each failed call adds a line to it."""
    alter(node, _FAILING_SYNC, flag=str(flag))


def break_core(node: NodeProcess) -> None:
    """Make a command that contains `break the core` raise an error in the core, as a bug would."""
    alter(node, _BROKEN_CORE)


def hang_applier(node: NodeProcess, flag: Path) -> None:
    """Make the thread for long entries hang at the next one once the file `flag` exists."""
    alter(node, _HANGING_APPLIER, flag=str(flag))


def err(node: NodeProcess, flag: Path) -> None:
    """Make each `set` set another value in the node's state while the file `flag` exists."""
    alter(node, _WRONG_STATE, flag=str(flag))


def never_end(node: NodeProcess, *, breaks: bool = False) -> None:
    """Make the end of the node wait for ever for a lock that a thread holds; see `break_core`."""
    alter(node, _NEVER_ENDING + _BROKEN_CORE * breaks)


def hurry(node: NodeProcess, seconds: float) -> None:
    """Shorten the node's time limits for half lines and deaf readers."""
    alter(node, _IMPATIENT, seconds=seconds)


def live_on_macos(node: NodeProcess, flag: Path) -> None:
    """Remove the functions that macOS lacks from the node's Python; each F_FULLFSYNC adds a line to
    `flag`."""
    alter(node, _AS_ON_MACOS, flag=str(flag))
