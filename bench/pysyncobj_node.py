"""One PySyncObj node and, if it leads, its callers: they are in its process, without a socket
between.

`python pysyncobj_node.py FOLDER NUMBER ADDRESS…`. Reads lines of JSON from stdin (how many callers,
for how long; an empty object asks for the leader) and writes the result of each to FOLDER/answer.
PySyncObj's journal is a mapped file that it does not fsync.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated  # pyright: ignore[reportMissingImports]

TICK_S = 0.001  # with its defaults, 0.05 and 0.1, one caller gets some 10 sets a second


class Store(SyncObj):
    """The pairs, kept by every node."""

    def __init__(self, address: str, others: list[str], folder: Path) -> None:
        configuration = SyncObjConf(
            autoTickPeriod=TICK_S,
            appendEntriesPeriod=TICK_S,
            journalFile=str(folder / "journal"),
            fullDumpFile=str(folder / "dump"),
        )
        super().__init__(address, others, configuration)
        self.pairs: dict[str, str] = {}

    @replicated
    def put(self, key: str, value: str) -> None:
        self.pairs[key] = value


class Callers:
    """Callers that each set a key, wait until it is applied, and set the next one."""

    def __init__(self, store: Store, count: int, order: dict[str, Any]) -> None:
        self._store, self._value = store, "v" * int(order["value_bytes"])
        self._begin = time.monotonic() + order["warm_up"]
        self._end = self._begin + order["seconds"]
        self._left, self._keys, self._asked = count, int(order["keys"]), 0
        self.waits: list[float] = []
        self.errors = 0
        self.over = threading.Event()
        for _ in range(count):
            self._ask()

    def _ask(self) -> None:
        self._asked += 7919  # a prime: visits all keys
        key = f"k{self._asked % self._keys:015}"
        self._store.put(key, self._value, callback=partial(self._done, time.monotonic()))

    def _done(self, since: float, result: object, trouble: int) -> None:
        now = time.monotonic()
        if trouble:
            self.errors += 1
        elif self._begin <= now < self._end:
            self.waits.append(1000 * (now - since))
        if now < self._end and self.errors < 1000:
            self._ask()
            return
        self._left -= 1
        if not self._left:
            self.over.set()


def carry_out(store: Store, order: dict[str, Any]) -> dict[str, object]:
    """Return the leader, or the figures of a load."""
    if not order:
        return {"leader": str(store._getLeader()), "ready": bool(store.isReady())}
    callers = Callers(store, order["callers"], order)
    callers.over.wait(order["warm_up"] + order["seconds"] + 30)
    waits = sorted(callers.waits) or [0.0]
    figures: dict[str, object] = {
        name: waits[int(share * (len(waits) - 1))]
        for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999))
    }
    return figures | {"per_s": len(callers.waits) / order["seconds"], "errors": callers.errors}


def main() -> None:
    folder, number, addresses = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    own = addresses.pop(number)
    store = Store(own, addresses, folder)
    for line in sys.stdin:
        answer = json.dumps(carry_out(store, json.loads(line)))
        folder.joinpath("answer.tmp").write_text(answer)
        folder.joinpath("answer.tmp").rename(folder / "answer")


if __name__ == "__main__":
    main()
