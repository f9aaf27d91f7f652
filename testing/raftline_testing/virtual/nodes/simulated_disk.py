"""A simulated node's disk: the real file code over a folder in memory that dies and forgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry
from raftline.raft.node import RawNode
from raftline.storage.disk import DiskFailed, FilesRefused
from raftline.storage.recovery import Recovered

from ...files.faulty_folder import Beside, Died, Fault, Kind, MemoryFolder
from ...files.memory_file import MemoryFile
from ...invariants import InvariantError
from ..world.world import World, format_entry
from .manager import Manager

DEATHS = (Kind.DIE_BEFORE, Kind.DIE_AFTER, Kind.TEAR, Kind.TEAR_WITH_HOLE)
FAILURES = (Kind.EIO, Kind.ENOSPC)
STEPS_MAX = 10  # a fault strikes within this many steps of the disk


class Copy(NamedTuple):
    """A copy of a node's files at one of its stops."""

    files: dict[str, bytes]
    promised: tuple[int, int]


class Disk:
    """The disk of a node, and the data that it has promised to keep."""

    def __init__(self, world: World, name: str) -> None:
        self.folder = MemoryFolder()
        self.whole = True  # False: the node lost its memory and has not caught up yet
        self.newborn = False  # the node has not taken part in anything yet
        self.is_held = False  # nothing is written until it is released
        # lost promised data, including term and vote, since its last start
        self.lost_promise = False
        self.is_full = False  # no file can grow
        self.beside: Beside | None = None  # how writes of files fail that are not in force yet
        self.is_hung = False  # no write or sync ever returns, until the next start
        self.went_back = False  # its files are older, and the node hasn't learned that yet
        self.is_foreign = False  # its files belong to another cluster
        self._taken: MemoryFile | None = None  # the log that was taken from the running node
        self._refused_log: str | None = None  # the rest of that log, which may be invalid
        self._copies: list[Copy] = []
        self._world = world
        self._name = name
        self._promised = (0, 0)  # index and term of the last entry reported durable
        self._was_robbed = False
        self._may_be_whole = False  # the node died while it recorded that it had caught up
        # The mark of a log cut at a line's end is not synced: a power cut may lose it.
        self._mark_is_there = True

    def persist(self, manager: Manager, works: Sequence[Effects]) -> tuple[int, int] | None:
        """Make step 2 of these durable.

        Raises:
            DiskFailed: the disk failed, as `fail_soon` requested.
        """
        durable = manager.persist(works)
        if durable is not None:
            self._promised = durable
        for work in works:
            self.whole = (self.whole and not work.forgot) or work.recovered
            self.newborn = self.newborn and not (work.forgot or work.recovered)
            if work.forgot or work.append or work.install is not None:
                self.went_back = False
        return durable

    def bring(self, entries: Sequence[Entry]) -> None:
        """Start the node with a hand-written log."""
        lines = "".join(f"{format_entry(entry)}\n" for entry in entries)
        self.folder = MemoryFolder({f"{self._name}.log": lines.encode()})

    def fill(self, members: Mapping[str, str], state: HardState, entries: list[Entry]) -> None:
        """Start the node as a voter, with this term, vote and log."""
        manager = Manager(self._name, self.folder, members)
        manager.recover()
        manager.persist([Effects(save=state, append=entries, recovered=True)])
        self._leave(power_cut=False)

    def recover(
        self, members: Mapping[str, str], *, never_ran: bool = False, joins: bool = False
    ) -> tuple[Manager, Recovered]:
        """Recover everything, after one or two deaths during recovery, and check that the promised
        data is there. An operator's word that was denied is not repeated."""
        while True:
            manager = Manager(self._name, self.folder, members)
            if self._world.chance(0.05):
                self._strike(DEATHS + FAILURES, within=2 * STEPS_MAX)
            try:
                recovered = manager.recover(never_ran=never_ran, joins=joins)
            except (Died, FilesRefused) as error:
                if self.folder.fault is None and self._refused_log is not None:
                    left = self.folder.contents()
                    left.pop(self._refused_log, None)
                    self._refused_log, self.folder = None, MemoryFolder(left)
                    continue
                if self.folder.fault is None and not str(error).startswith("--new says "):
                    self._leave(power_cut=False)
                    raise
                # it may be recorded on the disk
                self._may_be_whole = self._may_be_whole or never_ran
                never_ran = False
                if self.folder.fault is None:
                    continue
                self._world.counts["deaths while recovering"] += 1
                self._leave(power_cut=not self._was_robbed and self._world.chance(0.5))
                continue
            self.folder.fault = self._refused_log = None
            if never_ran:
                self._world.counts["said to be new"] += 1
                self.whole = True
            self._check(recovered)
            return manager, recovered

    def die(
        self,
        manager: Manager,
        writing: Sequence[Effects],
        unsaved: Sequence[Effects],
        node: RawNode,
        *,
        power_cut: bool,
    ) -> None:
        """Become the disk after a kill or a power cut, with `writing` done fully, partly or not at
        all."""
        cuts = [work.cut_after for work in (*writing, *unsaved) if work.cut_after is not None]
        if writing and cuts and min(cuts) < self._promised[0]:
            self._promised = (min(cuts), node.view.log.term_at(min(cuts)) or 0)
        installs = [work.install.index for work in writing if work.install is not None]
        if installs and max(installs) < self._promised[0]:
            self._promised = (0, 0)  # the log may be lost; no entry of its tail was committed
        self._may_be_whole = any(work.recovered or work.forgot for work in writing)
        if any(work.forgot for work in writing):
            self.whole = False
        if writing and self._world.chance(0.7):
            self._strike(DEATHS)
            try:
                manager.persist(writing)
            except (Died, DiskFailed):
                self._world.counts["writes torn or cut off"] += 1
        self._leave(power_cut=power_cut)

    def _leave(self, *, power_cut: bool) -> None:
        folder, taken, is_gone = self.folder, self._taken, self.log_is_gone
        self._taken, self.is_hung = None, False
        self.folder = folder.crash(self._world.random) if power_cut else folder.kill()
        if is_gone or (taken is not None and self._is_back(taken)):
            self.whole, self._was_robbed = False, True
            self._refused_log = f"{self._name}.log"
        self.folder.is_full, self.folder.beside = self.is_full, self.beside
        self._mark_is_there = not power_cut
        if self.whole and not (self.newborn or self.went_back or self.is_foreign):
            self._copies.append(Copy(self.folder.contents(), self._promised))

    def die_soon(self) -> None:
        """Make one of the next writes or syncs the last."""
        self._strike(DEATHS, within=2 * STEPS_MAX)

    def be_full(self, is_full: bool) -> None:
        """Fill the disk, or make room again."""
        self.is_full = self.folder.is_full = is_full

    def spoil_beside(self, beside: Beside | None) -> None:
        """Make writes of files that are not in force yet fail, or succeed again."""
        self.beside = self.folder.beside = beside

    def judge_stop(self, failure: DiskFailed) -> None:
        """Check a stop of the node for a failure of its disk.

        Raises:
            InvariantError: all files in force could be written.
        """
        folder = self.folder
        if folder.beside is not None and folder.fault is None and not folder.is_full:
            raise InvariantError(f"{self._name} stops without need: {failure}")

    def fail_soon(self) -> None:
        """Make one of the next writes or syncs fail."""
        self._strike(FAILURES)

    def _strike(self, kinds: Sequence[Kind], within: int = STEPS_MAX) -> None:
        chance = self._world.random
        step = self.folder.steps + chance.randint(1, within)
        self.folder.fault = Fault(step, chance.choice(kinds))

    @property
    def has_vote(self) -> bool:
        """Whether the node can vote when it is up; a newborn may yet find that it can't."""
        is_itself = not (self.went_back or self.is_foreign)
        can_write = not (self.is_hung or self.log_is_gone)
        return self.whole and not self.newborn and is_itself and can_write

    @property
    def has_entries(self) -> bool:
        """Whether anything remains that shows other nodes that the cluster has a history."""
        left = self.folder.contents()
        has_snapshot = f"{self._name}.state_machine" in left
        if self.newborn:
            return False  # a hand-written log shows nothing
        return has_snapshot or b"\n1 " in left.get(f"{self._name}.log", b"")

    @property
    def log_is_gone(self) -> bool:
        """Whether the log that the running node writes no longer has its name."""
        return self._taken is not None and self.folder.lacks(f"{self._name}.log", self._taken)

    def _is_back(self, taken: MemoryFile) -> bool:
        """Whether a power cut undid the name of the new log, so that the rest of the one that was
        taken away is there again, or no log."""
        left = self.folder.contents().get(f"{self._name}.log")
        if left is None:
            return True
        return b" base" not in left.partition(b"\n")[0] and bytes(taken.data).startswith(left)

    def take_log(self, way: str) -> None:
        """Remove, rename or truncate the log of the running node, or append to it."""
        self._taken = self.folder.take_away(f"{self._name}.log", way)

    def go_back(self, acknowledged: int) -> bool:
        """Restore the stopped node's files of an earlier stop, without some entries up to
        `acknowledged`; return whether there is such a copy."""
        older = [copy for copy in self._copies if copy.promised[0] < acknowledged]
        if not older or self._promised[0] < acknowledged:
            return False
        copy = self._world.random.choice(older)
        self.folder, self._promised = MemoryFolder(copy.files), copy.promised
        self.went_back = self.lost_promise = self._was_robbed = True
        return True

    def take_away(self) -> Copy:
        """Delete all files of the stopped node, and return them."""
        copy = Copy(self.folder.contents(), self._promised)
        self.lose_all(trace=True)
        return copy

    def bring_back(self, copy: Copy) -> None:
        """Give the stopped node the files that were taken away. Its acts without them were done
        without a vote."""
        self.folder, self._promised = MemoryFolder(copy.files), copy.promised
        self.whole, self.newborn = True, False
        self.lost_promise = self._was_robbed = True

    def become_foreign(self, files: Mapping[str, bytes]) -> None:
        """Give the stopped node the files of another cluster."""
        self.folder, self._promised = MemoryFolder(files), (0, 0)
        self.is_foreign = self.whole = True

    def lose_storage(self) -> None:
        """Delete or corrupt the stopped node's term and vote."""
        name, left = f"{self._name}.storage", self.folder.contents()
        if name in left:
            self.whole, self._was_robbed, self.lost_promise = False, True, True
            left[name] = left[name][1:]
            if self._world.chance(0.7):
                del left[name]
            self.folder = MemoryFolder(left)

    def lose_all(self, *, trace: bool) -> None:
        """Delete all files of the stopped node, including the trace that it existed."""
        self.is_foreign = self.went_back = False
        left = self.folder.contents()
        if f"{self._name}.storage" in left:
            self.whole, self._was_robbed, self.lost_promise = False, True, True
            kept = {name: data for name, data in left.items() if name.endswith(".born")}
            self.folder = MemoryFolder({} if trace else kept)

    def lose_log(self, *, snapshot: bool = False) -> None:
        """Delete the log of the stopped node, empty it, or cut its last lines; and delete its
        snapshot."""
        name, chance = f"{self._name}.log", self._world.random
        left = self.folder.contents()
        if name not in left:
            return
        self.whole, self._was_robbed = False, True
        if snapshot:
            left.pop(f"{self._name}.state_machine", None)
        way = chance.randrange(3 if self._mark_is_there else 2)
        if way == 0:
            del left[name]
        elif way == 1:
            left[name] = b""
        else:
            lines = left[name].splitlines(keepends=True)
            checksums = [at for at, line in enumerate(lines) if b" synced, crc32 " in line]
            left[name] = b"".join(lines[: chance.choice([0, *checksums]) + 1])
        self.folder = MemoryFolder(left)

    def loses_state(self) -> None:
        """Note that the next start leaves out the log and the snapshot, since their state differs
        from that of the other nodes."""
        self.whole, self._was_robbed = False, True

    def _check(self, recovered: Recovered) -> None:
        """Check that entries reported durable are there, or that the node knows of the loss.

        Raises:
            InvariantError: neither.
        """
        index, term = self._promised
        log = recovered.log
        holds = log.term_at(index) == term or index < log.base_index  # a snapshot holds it
        remembers = not (recovered.recovering or (recovered.newborn and self._was_robbed))
        if not holds and (remembers or self.whole):
            raise InvariantError(
                f"{self._name} lost entry {index} of term {term}, which was durable, and its log "
                f"ends at {recovered.log.last_index}; "
                + ("it does not notice" if remembers else "nobody took it away")
            )
        if recovered.recovering and self.whole:
            raise InvariantError(f"{self._name} recovers, and lost nothing")
        forgets = recovered.recovering or recovered.newborn
        if not (forgets or self.whole or self._was_robbed or self._may_be_whole):
            raise InvariantError(f"{self._name} was a recovering server, and forgot that")
        self.newborn = recovered.newborn
        if not (recovered.newborn and not self.whole):
            self.whole = not recovered.recovering
        self._was_robbed = self._may_be_whole = False
        self._promised = (recovered.log.last_index, recovered.log.last_term)
