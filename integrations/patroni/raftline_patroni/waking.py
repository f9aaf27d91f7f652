"""A thread that watches the keys of the cluster and wakes the loop of Patroni at a change.

Its sight decides nothing: the loop then reads the keys again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import raftline
from raftline.errors import Closed

logger = logging.getLogger(__name__)
PAUSE_S = 1.0


class Waker(threading.Thread):
    """Calls `wake` where the leader or the configuration has changed; where this member does not
    lead, also at each change of the status, so that replicas work in step with the primary."""

    def __init__(
        self, kv: raftline.KV[str], prefix: str, name: str, wake: Callable[[], object]
    ) -> None:
        super().__init__(name="raftline watch", daemon=True)
        self._kv = kv
        self._prefix = prefix
        self._member = name
        self._wake = wake
        self._values: dict[str, str | None] = {}

    def run(self) -> None:
        while True:
            try:
                with self._kv.watch(self._prefix) as watch:
                    for event in watch:
                        self._take(event.key.removeprefix(self._prefix), event.value)
                return  # the client was closed
            except Closed:
                return  # so it was while the watch began again
            except raftline.ClientError as problem:
                logger.warning("the watch of %s begins anew: %s", self._prefix, problem)
            except Exception:
                logger.exception("the watch of %s begins anew", self._prefix)
            time.sleep(PAUSE_S)

    def _take(self, key: str, value: str | None) -> None:
        if key not in ("leader", "config", "status"):
            return
        before, self._values[key] = self._values.get(key), value
        if before == value:
            return
        if key == "config" and (before is None or value is None):
            return
        if key == "status" and (value is None or self._values.get("leader") == self._member):
            return
        self._wake()
