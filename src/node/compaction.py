"""Steps of compaction in a node that goes on working: docs/develop/how-a-write-travels.md.

Files are touched between two writes, by the writer thread; memory under the driver's `core`
lock, a little at a time.
"""

from __future__ import annotations

import threading

from raftline.logmanager import LogManager
from raftline.node.writer import Writer
from raftline.raft.entries import Entry, Snapshot
from raftline.raft.inputs import Compact
from raftline.raft.node import RawNode
from raftline.storage.logfile import LogFile, LogRewrite


class Compaction:
    """Puts a snapshot in force and drops the entries that it covers; for one thread at a time."""

    def __init__(
        self, node: RawNode, logmanager: LogManager, core: threading.Lock, writer: Writer
    ) -> None:
        self._node = node
        self._logmanager = logmanager
        self._core = core
        self._writer = writer

    def publish(self, snapshot: Snapshot) -> bool:
        """Put a snapshot of this node's own in force; False if a later one arrived.

        One that arrived and waits to be put in force is written first, or else it would displace
        this one, which holds more; so is the term of its last entry.
        """
        published = [False]

        def publish() -> bool:
            with self._core:
                if self._writer.queue.goes_first:
                    return False
            published[0] = self._logmanager.snapshots.publish(snapshot)
            return True

        return self._writer.between_writes(publish) and published[0]

    def committed_entries(self, first: int, count: int) -> list[Entry]:
        """Return entries from `first` on that are committed and on this node's disk."""
        with self._core:
            durable = self._node.view.durable_index - first + 1
            return self._node.committed(first, min(count, durable))

    def finish_rewrite(self, rewrite: LogRewrite) -> bool:
        """Let the log written again take the old one's place; False if a snapshot arrived
        meanwhile, which the new log knows nothing of.

        What is left is copied from the log in memory, which may be ahead of the disk, or have cut
        what the disk still has: then what waits is written first.
        """
        finished: list[LogFile | None] = []

        def finish() -> bool:
            with self._core:
                view, last = self._node.view, self._logmanager.last_written
                if view.snapshot != rewrite.snapshot:
                    return True
                if last + 1 < rewrite.next_index or self._writer.queue.goes_first:
                    return False
                rest = view.log.entries(rewrite.next_index, last)
            finished.append(self._logmanager.finish_rewrite(rewrite, rest))
            return True

        done = self._writer.between_writes(finish) and bool(finished)
        for old in finished:
            if old is not None:
                old.close()  # frees its bytes, which takes long; no write waits here
        return done

    def compaction_index(self) -> int:
        """Return the last index that may be dropped from memory."""
        with self._core:
            return self._node.view.compaction_index

    def compact(self, index: int) -> bool:
        """Drop some thousand entries from memory, `index` the last; return whether more remain.
        Pause before the next call: no other thread gets a lock that is taken again at once."""
        with self._core:
            self._node.step(Compact(index), self._node.view.now_ms)
            return self._node.view.log.base_index < index
