"""A node's reports to systemd, over the socket that NOTIFY_SOCKET names (sd_notify).

With a watchdog, systemd restarts a node that does not report in time that it is healthy.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

from raftline.common.process.guarded_thread import begin_thread
from raftline.common.process.signals import threads_without_signals
from raftline.node.program.node_server import Server

from .endpoints import unhealthy_reason

SOCKET = "NOTIFY_SOCKET"
READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def notify(*states: str) -> bool:
    """Send these states to systemd. Return whether it took them. This never waits, so a signal
    handler may call it."""
    path = os.environ.get(SOCKET, "")
    if path[:1] not in ("/", "@"):
        return False
    address = "\0" + path[1:] if path[0] == "@" else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
        teller.setblocking(False)
        teller.sendto("\n".join(states).encode(), address)
        return True
    return False


def reloading() -> str:
    """Return the state of a service that reloads its files."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_s() -> float | None:
    """Return the seconds within which systemd expects the next report, or None without a
    watchdog."""
    asked, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not asked.isdigit() or (process and process != str(os.getpid())):
        return None
    return int(asked) / 1e6 or None


def begin_watchdog(server: Server) -> bool:
    """Report to systemd, from a thread, that this node is healthy. Return whether systemd requires
    it."""
    within_s = watchdog_s()
    if within_s is None:
        return False
    with threads_without_signals():
        begin_thread(
            lambda: _notify(server, within_s / 3),
            f"{server.name} watchdog",
            lambda error: server.warn(f"systemd no longer hears that it is well: {error!r}"),
        )
    return True


def _notify(server: Server, pause_s: float) -> None:
    while True:
        if not unhealthy_reason(server):
            notify(WATCHDOG)
        time.sleep(pause_s)
