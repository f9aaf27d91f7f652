"""The lease under which the keys of one Patroni stand.

No thread renews it: the loop of Patroni does. So if the loop hangs, the keys go, and another member
takes over. `kv.lease(keep=False)` is such a lease.
"""

from __future__ import annotations

import math
import threading

import raftline
from raftline_patroni.deadline import Deadline

STORE_COUNTS_MORE = 1.1  # the leader of raftline ends a lease a tenth after its time
WATCHDOG_MARGIN_S = 5  # Patroni's watchdog ends a primary that hangs so long before `ttl`


def seconds_for(ttl: int, loop_wait: float, retry_timeout: float) -> int:
    """Return the seconds of a lease whose end leaves a `loop_wait` of Patroni's `ttl` for the
    promotion of another member.

    It is longer where Patroni relies on that. A primary relies on its key for `loop_wait` and two
    `retry_timeout` after it was renewed, which is Patroni's own rule. One that hangs is ended by
    the watchdog, where there is one, which comes first as well.
    """
    wanted = int((ttl - loop_wait) / STORE_COUNTS_MORE)
    relied_on = math.ceil(loop_wait + 2 * retry_timeout)
    return max(1, min(ttl, max(wanted, relied_on, ttl - WATCHDOG_MARGIN_S)))


class Holding:
    """The lease of this member: granted when it is first needed, and again when it is lost."""

    def __init__(self, kv: raftline.KV[str]) -> None:
        self._kv = kv
        self._lock = threading.RLock()  # Patroni's loop, and threads of its own
        self._lease: raftline.api.Lease | None = None
        self._seconds = 0
        self._is_due = True

    def due(self) -> None:
        """Renew it at the next use, however fresh it is."""
        self._is_due = True

    def drop(self) -> None:
        """Use it no more: the store has forgotten it."""
        with self._lock:
            self._lease = None

    def fresh(self, seconds: int, at_least: float, deadline: Deadline) -> str:
        """Return the name of a lease of `seconds`. It is renewed where it is due, or has been
        renewed longer than `at_least` seconds ago.

        Raises:
            raftline.ClientError: the store does not answer in time.
        """
        with self._lock:
            if self._lease is not None and self._seconds == seconds:
                is_fresh = seconds - self._lease.left < at_least
                if (is_fresh and not self._is_due) or self._is_confirmed(self._lease, deadline):
                    return self._lease.id
            # The keys under the old one, if it is still there, are moved to this one in time.
            lease = self._kv.within(deadline.left).lease(seconds, keep=False)
            self._lease, self._seconds = lease.grant(), seconds
            self._is_due = False
            return lease.id

    def _is_confirmed(self, lease: raftline.api.Lease, deadline: Deadline) -> bool:
        try:
            lease.check(deadline.left)
        except raftline.LeaseLost:
            return False
        self._is_due = False
        return True
