"""The holder of a lock, whose work must succeed during the attacks (attacks/users_at_work.py)."""

from __future__ import annotations

import threading

import raftline

LOCK_S = 20
HELD_S = 30


def hold(kv: raftline.KV[str], end: threading.Event) -> None:
    """Hold a lock for a while, and check each second that it is held."""
    with kv.lock("ann/lock", ttl=LOCK_S) as held:
        for _ in range(HELD_S):
            if end.wait(1):
                return
            held.check()


HOLDERS = (("lock holder", hold),)
