"""The jobs of a simulated node that take snapshots and check its files, in virtual time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from raftline.common.process.wakeup import no_pause
from raftline.logmanager import LogManager
from raftline.node.loop.writer import WriteQueue
from raftline.node.snapshots import snapshots
from raftline.node.snapshots.file_check import FileCheck
from raftline.node.snapshots.snapshots import SPREAD, Turn, Turns, When
from raftline.raft.inputs import Input, SnapshotRejected, SnapshotTaken, StateSummed
from raftline.raft.log import Snapshot
from raftline.raft.messages import InstallSnapshot, Message
from raftline.raft.node import RawNode
from raftline.storage.disk import StorageError
from raftline.storage.log_file import LogFile
from raftline.storage.snapshot_lines import lines_of
from raftline.storage.sums import state_sum

from ...files.faulty_folder import Died
from ...invariants import InvariantError
from ..world.world import World
from .manager import Manager
from .simulated_disk import Disk

CHECK_S = 1.0  # between two checks of the files
LAST_STEPS = 0.1  # the share of actions between writes during which the node dies


class Rim(Protocol):
    """The node around its snapshots."""

    name: str
    manager: Manager
    disk: Disk
    writes: WriteQueue

    def step(self, taken: Input) -> None: ...
    def later(self, delay_ms: int, act: Callable[[RawNode], None]) -> None: ...
    def within(self, longest_ms: int, act: Callable[[RawNode], None]) -> None: ...
    def between_writes(self, act: Callable[[], bool], then: Callable[[bool], None]) -> None: ...
    def while_nothing_is_offloaded(
        self, act: Callable[[], bool], then: Callable[[bool], None]
    ) -> None: ...
    def post(self, message: Message) -> None: ...

    @property
    def without_core(self) -> AbstractContextManager[None]: ...


class Snapshots:
    """The `SnapshotRim` of a node that is simulated, while it is up."""

    def __init__(self, world: World, compact_bytes: int, pause_ms: int, rim: Rim) -> None:
        self.core = contextlib.nullcontext()
        self._world = world
        self._compact_bytes = compact_bytes
        self._pause_ms = pause_ms
        self._rim = rim
        self._taker: Job | None = None
        self._sender: Job | None = None
        self._looker: Job | None = None
        self.checks_files = False  # otherwise no chance is drawn for it
        self.work: snapshots.Snapshots

    def started(self, node: RawNode) -> None:
        """Handle a start of the node."""
        rim = self._rim
        self._taker = self._sender = None
        self.work = work = snapshots.Snapshots(
            node, rim.manager, rim.writes, self, self._compact_bytes
        )
        kept = rim, self._world, self._pause_ms, self.is_idle
        self._taker = Job(*kept, work.take_and_check())
        self._sender = Job(*kept, work.send_pieces())
        if self.checks_files:
            check = FileCheck(rim.manager, work.write_again, self.say)
            self._looker = Job(*kept, looks_at_files(check))

    def stopped(self) -> None:
        """Handle the death of the node; nothing more reaches its disk."""
        for job in (self._taker, self._sender, self._looker):
            if job is not None:
                job.end()
        self._taker = self._sender = self._looker = None

    def is_idle(self, job: Job) -> None:
        """Check an idle job: memory holds no declined snapshot, nor the pairs that an installed
        snapshot replaced.

        Raises:
            InvariantError: something is left.
        """
        manager = self._rim.manager
        declined = manager._is_declined and manager.arrived_snapshot
        if job is self._taker and (declined or manager._replaced):
            raise InvariantError(f"{self._rim.name} keeps leftovers of a snapshot in memory")

    # --- the jobs' calls (SnapshotRim) --------------------------------------------

    def step(self, taken: Input) -> None:
        if isinstance(taken, SnapshotTaken):
            index, term = taken.snapshot[:2]
            self._world.counts["snapshots taken"] += 1
            self._world.tell(
                "disk", f"{self._rim.name} takes a snapshot up to entry {index} of term {term}"
            )
        self._world.counts["snapshots refused"] += isinstance(taken, SnapshotRejected)
        self._rim.step(taken)

    def post(self, message: InstallSnapshot) -> None:
        self._world.counts["pieces sent"] += 1
        self._rim.post(message)

    def say(self, line: str) -> None:
        self._world.counts["lost files written again"] += " are whole again" in line
        self._world.counts["logs begun anew"] += " begins after entry " in line
        self._world.counts["snapshots not taken"] += " could take no snapshot: " in line
        self._world.tell("snapshot", line)

    def pause(self) -> None:
        """Do nothing: only work done in turns takes time."""

    def spread(self) -> float:
        return 1 + (SPREAD - 1) * self._world.random.random()

    def wake_taker(self) -> None:
        if self._taker is not None:
            self._taker.wake()

    def wake_sender(self) -> None:
        if self._sender is not None:
            self._sender.wake()


def looks_at_files(check: FileCheck) -> Turns[None]:
    """Check the files repeatedly, as the owner of a real node asks its writer to do."""
    while True:
        yield Turn(When.WOKEN, limit_s=CHECK_S)
        yield Turn(When.BETWEEN_WRITES, check.look)


def state_summed(manager: LogManager) -> StateSummed:
    """Return the sum of a state.

    Raises:
        StateRefused: the state differs from that of the other nodes.
    """
    state = manager.freeze()
    summing = state_sum(lines_of(state))
    try:
        while True:
            next(summing)
    except StopIteration as end:
        return StateSummed(state.index, end.value, state.chain)
    finally:
        state.release(no_pause)


class Job:
    """One of the two jobs, as its thread runs it."""

    def __init__(
        self,
        rim: Rim,
        world: World,
        pause_ms: int,
        is_idle: Callable[[Job], None],
        turns: Turns[None],
    ) -> None:
        """Create a job; it calls `is_idle` when it has nothing to do."""
        self._is_idle = is_idle
        self._rim = rim
        self._pause_ms = pause_ms
        self._world = world
        self._turns = turns
        self._is_woken = False
        self._sleeps = 0  # the number of this sleep; 0: it is awake
        self._slept = 0
        self._go_on(next(turns))

    def wake(self) -> None:
        if self._sleeps:
            self._sleeps = 0
            self._go_on_soon(True)
        else:
            self._is_woken = True

    def end(self) -> None:
        with contextlib.suppress(Died, StorageError):
            self._turns.close()

    def _go_on_soon(self, result: bool) -> None:
        self._rim.within(self._pause_ms, lambda _: self._has_come(result))

    def _has_come(self, result: bool) -> None:
        with self._rim.without_core:
            turn = self._turns.send(result)
        self._go_on(turn)

    def _go_on(self, turn: Turn | None) -> None:
        """Wait as the job requests."""
        if turn is None:
            self._go_on_soon(True)
        elif turn.when is When.NOTHING_OFFLOADED:
            self._rim.while_nothing_is_offloaded(turn.act, self._has_come)
        elif turn.when is When.BETWEEN_WRITES:
            self._rim.between_writes(lambda: self._perhaps_the_last(turn.act), self._go_on_soon)
        elif self._is_woken:
            self._is_woken = False
            self._go_on_soon(True)
        else:
            self._sleep(turn.limit_s)

    def _sleep(self, limit_s: float) -> None:
        self._is_idle(self)
        self._slept += 1
        self._sleeps = number = self._slept

        def wake(_: RawNode) -> None:
            if self._sleeps == number:
                self._sleeps = 0
                self._has_come(False)

        if limit_s >= 0:
            self._rim.later(int(1000 * limit_s), wake)

    def _in_force(self) -> tuple[Snapshot | None, LogFile | None]:
        manager = self._rim.manager
        return manager.snapshots.current, manager._logfile

    def _perhaps_the_last(self, act: Callable[[], bool]) -> bool:
        """Now and then let the node die during this action.

        Raises:
            InvariantError: a snapshot or a rewritten log gets its name before the writes that must
                precede it.
        """
        disk, waits = self._rim.disk, self._rim.writes.goes_first
        before = self._in_force()
        if dies := self._world.chance(LAST_STEPS):
            disk.die_soon()
        is_done = act()
        if waits and self._in_force() != before:
            raise InvariantError(
                f"{self._rim.name} publishes files before the writes that must precede them"
            )
        if dies:
            disk.folder.fault = None
        return is_done
