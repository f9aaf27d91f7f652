"""systemd's watchdog: it is told again and again that this node is well, and restarts one that
is not."""

from __future__ import annotations

import threading
import time

from raftline.common.notify import WATCHDOG, notify, watchdog_s
from raftline.common.signals import threads_without_signals
from raftline.monitoring.pages import why_unwell
from raftline.node.server import Server


def begin_watchdog(server: Server) -> bool:
    """Tell systemd, from a thread, that this node is well, if it asks; return whether it does."""
    within_s = watchdog_s()
    if within_s is None:
        return False
    with threads_without_signals():
        threading.Thread(
            target=_tell, args=(server, within_s / 3), name=f"{server.name} watchdog", daemon=True
        ).start()
    return True


def _tell(server: Server, pause_s: float) -> None:
    while True:
        if not why_unwell(server):
            notify(WATCHDOG)
        time.sleep(pause_s)
