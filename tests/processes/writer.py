"""A writer in the background of a test, which checks that writes continue during the test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from raftline import connect
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import eventually


class Writer:
    """A thread that writes 1, 2, 3 …, each after the reply to the previous one."""

    def __init__(self, write: Callable[[int], None]) -> None:
        """Create it; `write` raises an error if a write is refused, which ends this thread."""
        self.written = 0
        self._write = write
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._write(self.written + 1)
            self.written += 1

    def goes_on(self, more: int = 10) -> None:
        """Wait until this many more writes are done; fail if one was refused."""
        reached = self.written + more
        eventually(lambda: self.written > reached or not self._thread.is_alive(), "writes go on")
        assert self._thread.is_alive(), f"write {self.written + 1} was refused"


@contextlib.contextmanager
def writer_of(cluster: Cluster, key: str) -> Iterator[Writer]:
    """Write a key by `raftline.connect` while the context is active."""
    with (
        connect(",".join(f"localhost:{node.port}" for node in cluster.nodes)) as kv,
        Writer(lambda number: kv.set(key, str(number))) as writer,
    ):
        yield writer
