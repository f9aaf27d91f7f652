"""Recovery: make a node's files consistent at its start, or refuse them.

The order of steps makes a crash at any point harmless. NAME.storage promises nothing that the log
does not hold. No line of the log is removed before NAME.storage stops promising it.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from ..common.build_level import LEVEL
from ..raft.effects import HardState
from ..raft.levels import FIRST
from ..raft.log import Log, Snapshot
from ..raft.membership import Membership
from . import birth
from .disk import (
    DamagedFiles,
    DamagedStorage,
    DiskFailed,
    FilesRefused,
    LevelRefused,
)
from .folder import CATCH_UP, Folder, copied
from .hard_state import HardStateFile, LogState, Mark, Promise
from .log_file import LogFile, beside, whole_file
from .log_lines import base_line
from .log_reader import LogRead, LogReader
from .snapshot_file import SnapshotFile
from .snapshot_lines import LoadedSnapshot


@dataclass
class Recovered:
    """A node's state at its start. `notes` are console lines, in order."""

    log: Log
    hard_state: HardState
    recovering: bool  # a promise is lost: no vote until it has caught up
    newborn: bool  # it never voted, and got no entries from a leader
    members: Membership  # from the snapshot, or from the log's base line
    notes: list[str]
    snapshot: Snapshot | None = None  # the initial state of the state machine; `log` follows it
    level: int = FIRST  # the level at the beginning of `log`
    may_be_new: bool = False  # with `recovering`: perhaps nothing is lost
    base_cluster: str = ""  # the identity at the beginning of `log`
    cluster: str = ""  # the identity that the node knows


class Recovery:
    """Recovers one node's files. Call `run` once; it leaves the files open for writing."""

    def __init__(
        self,
        folder: Folder,
        name: str,
        members: Membership,
        *,
        never_ran: bool = False,
        joins: bool = False,
    ) -> None:
        """Prepare a recovery. `never_ran` is an operator's claim, which the files may contradict. A
        node that `joins` will be added to a cluster."""
        self._never_ran = never_ran
        self._joins = joins
        self._folder = folder
        self._node = name
        self._log_name = f"{name}.log"
        self._members = members
        self.storage = HardStateFile(folder, name)
        self.snapshots = SnapshotFile(folder, name)
        self.loaded: LoadedSnapshot | None = None
        self.notes = ["[*] Recovering logs..."]
        self._trace = birth.trace(name)
        self._lost_promise = False  # NAME.storage is gone, or damaged
        self._lost_log = False  # NAME.log is gone, which NAME.storage remembers

    def run(self) -> tuple[Recovered, LogFile]:
        """Return the node's state, and the log file after its last good line.

        Raises:
            FilesRefused: the files are in use by another process, damaged, unreadable or not
                writable.
        """
        try:
            self._folder.lock(self._node)
            for name in (self._log_name, self.storage.name, f"{self._log_name}.seed"):
                self._folder.remove(f"{name}.tmp")  # left by an interrupted `replace`
            self._folder.remove(beside(self._node))
            self._prepare()
            contents = self._read()
            if not self._folder.exists(self._trace):
                self._folder.replace(self._trace, [birth.spell_trace(self._node)])
            return contents
        except DiskFailed as error:
            raise FilesRefused(str(error)) from error

    def _prepare(self) -> None:
        """Make sure that NAME.storage exists, and a log in our form."""
        promise = self._load_promise()
        self.loaded = self.snapshots.load()
        # Our logs are never empty: the base line is written before a log gets its name.
        has_log = self._folder.exists(self._log_name) and self._folder.size(self._log_name) > 0
        if self._never_ran:
            left_traces = promise is None and self._was_here(has_log)
            birth.check_that_it_never_ran(
                self._node, promise, has_log=has_log, left_traces=left_traces
            )
        if promise is None and self._was_here(has_log):
            self._lose_promise(has_log)
            promise = self.storage.promise
        if has_log and (promise is None or promise.state is LogState.ADOPTING):
            if birth.is_hand_written(self._folder, self._log_name):
                self.notes.append(
                    birth.adopt(self._folder, self._log_name, self.storage, self._members)
                )
        elif not has_log:
            if promise is not None and promise.term > 0:
                # The flag comes before the new log: the other way round, a crash in between would
                # leave a log that looks as if this node had never acknowledged anything.
                self._lost_log = True
                self.storage.save(promise._replace(state=LogState.RECOVERING))
            begin = self.loaded or LoadedSnapshot(Snapshot(0, 0, 0, 0), self._members)
            whole = whole_file(begin.members, Log(*self._held), begin.level, begin.cluster)
            self._folder.replace(self._log_name, whole)
        if promise is None and self.storage.promise.state is LogState.WHOLE:
            knows = self._never_ran or self._is_alone()
            born = LogState.WHOLE if knows else LogState.NEWBORN
            self.storage.save(Promise(0, None, born, Mark(0, 0)))

    def _is_alone(self) -> bool:
        """Return whether it is the only member, so that no other member can report a history. A
        joiner is not."""
        return self._members.names == (self._node,)

    def _load_promise(self) -> Promise | None:
        """Return the content of NAME.storage, or None if it is missing or damaged. A damaged file
        is kept aside."""
        try:
            return self.storage.load()
        except DamagedStorage as damage:
            # The file stays until the flag replaces it: after a crash in between, the next start
            # must not treat this node as new.
            aside = self._folder.free_name(self.storage.name)
            self._folder.replace(aside, copied(self._folder, self.storage.name))
            self._lost_promise = True
            self.notes.append(f"[!] {damage}. It is kept as {aside}")
            return None

    def _was_here(self, has_log: bool) -> bool:
        """Return whether the remaining files show that this node began before."""
        if self._lost_promise or self.loaded is not None:
            return True
        if has_log and birth.is_hand_written(self._folder, self._log_name):
            return False  # an initial hand-written log
        return self._folder.exists(self._trace) or (
            has_log and not birth.is_as_born(self._folder, self._log_name)
        )

    def _lose_promise(self, has_log: bool) -> None:
        """Continue without a term and a vote, as a recovering server. The term is at least the term
        of the last entry. The real term and vote are unknown (raft/recovering.py)."""
        self._lost_promise = True
        self.storage.save(Promise(0, None, LogState.RECOVERING, Mark(0, 0)))
        gone = f"{self.storage.name} is gone"
        if not has_log:
            gone = f"{self._log_name} and {self.storage.name} are gone"
        self.notes.append(
            f"[!] {gone}, and {self._node} ran here before: its promises are unknown, "
            "so this node rejoins without a vote until it has caught up"
        )

    def _read(self) -> tuple[Recovered, LogFile]:
        mark = self.storage.promise.mark
        contents = LogReader(self._folder, self._log_name, mark, self._held.index).read()
        log = contents.log
        self._check_base(log)
        self._check_level(contents)
        promise = self._promise_for(log)
        if mark != (log.last_index, log.last_term):
            # The sync of the last batch may have failed. Then the system may have dropped it from
            # its write queue: it can be read, but another sync would not write it.
            self._folder.write_again(self._log_name, contents.before_bytes, contents.good_bytes)
        file = self._folder.open_append(self._log_name)
        if contents.torn_bytes:
            file.truncate(contents.good_bytes)
            self.notes.append(
                f"[!] {self._log_name}: dropped {contents.torn_bytes:,} bytes after entry "
                f"{log.last_index}: a batch that was never acknowledged (torn write)"
            )
        self._begin_after_snapshot(contents)
        self._settle(promise, contents)
        if self._joins:
            self._forget_first_members(contents)
        if contents.void_lines:
            file.close()
            whole = whole_file(contents.members, log, contents.level, contents.cluster)
            self._folder.replace(self._log_name, whole)
            file = self._folder.open_append(self._log_name)
            contents.open_crc = 0 if log.last_index else crc32(base_line(contents.members))
        file_now = LogFile(file, log.copy(), contents.open_crc, self._folder.size(self._log_name))
        return self._recovered(contents), file_now

    def _recovered(self, contents: LogRead) -> Recovered:
        """Return the state that the files now hold."""
        promise = self.storage.promise
        self.notes.append(f"[*] Current term: {promise.term}")
        return Recovered(
            contents.log,
            HardState(promise.term, promise.vote, promise.lease_ms),
            promise.state in (LogState.RECOVERING, LogState.UNKNOWN),
            promise.state is LogState.NEWBORN,
            contents.members,
            self.notes,
            self.snapshots.current,
            contents.level,
            promise.state is LogState.UNKNOWN,
            contents.cluster,
            promise.cluster or contents.cluster,
        )

    def _promise_for(self, log: Log) -> Promise:
        """Return the content of NAME.storage, which must fit the log and the snapshot.

        Raises:
            FilesRefused: the log or the snapshot has an entry of a later term.
        """
        promise = self.storage.promise
        held_term = max(log.last_term, self._held.term)
        if promise.state is LogState.RECOVERING and promise.term < held_term:
            promise = promise._replace(term=held_term, vote=None)  # the lowest possible term
        if promise.term < held_term:
            holder = self._log_name if log.last_term == held_term else self.snapshots.name
            raise FilesRefused(
                f"{self.storage.name} says term {promise.term}, but {holder} has an entry "
                f"of term {held_term}: one of the two is from another time or node. Older copies "
                "of both would forget its promises; "
                f"{CATCH_UP.removeprefix('or ')} {self._node}"
            )
        return promise

    @property
    def _held(self) -> Mark:
        """The last entry of the snapshot."""
        return Mark(0, 0) if self.loaded is None else Mark(*self.loaded.snapshot[:2])

    def _check_base(self, log: Log) -> None:
        """Refuse a log that begins after a snapshot if the snapshot is missing."""
        base, held = Mark(log.base_index, log.base_term), self._held
        if base.index > held.index or (base.index == held.index and base != held):
            what = f"covers entries up to {held.index} of term {held.term}"
            if self.loaded is None:
                what = "is missing"
            raise DamagedFiles(
                f"{self._log_name} begins after entry {base.index} of term {base.term}, but "
                f"{self.snapshots.name}, the snapshot with the earlier entries, {what}. Restore "
                f"both from one backup of this node; {CATCH_UP} {self._node}"
            )

    def _check_level(self, contents: LogRead) -> None:
        """Refuse a log with entries that this build can't execute. NAME.storage may not show their
        level, if an old build wrote it, or if one of the files is from a backup.

        Raises:
            LevelRefused: an entry raises the level above this build's level.
        """
        levels = contents.levels
        if levels.latest > LEVEL:
            raise LevelRefused(
                f"{self._log_name}: entry {levels.index} raises the cluster to level "
                f"{levels.latest}, and this build of raftline knows levels up to {LEVEL}. Start "
                "the node with a newer version"
            )

    def _begin_after_snapshot(self, contents: LogRead) -> None:
        """Make the log in memory begin after the snapshot.

        Entries up to there are skipped. After a crash between the two steps of taking or installing
        a snapshot, the log ends before that entry, or has another entry there. Then the whole log
        is void, and the file is rewritten (paper, Figure 13, 7).
        """
        if self.loaded is None:
            return
        log, snapshot = contents.log, self.loaded.snapshot
        contents.members, contents.level = self.loaded.members, self.loaded.level
        contents.cluster = self.loaded.cluster
        if log.term_at(snapshot.index) == snapshot.term:
            log.compact(snapshot.index)
        else:
            log.reset(snapshot.index, snapshot.term)
            contents.void_lines = True
        keys = len(self.loaded.pairs)
        self.notes.append(
            f"[*] {self.snapshots.name}: {keys:,} key{'s' * (keys != 1)}, the state after entry "
            f"{snapshot.index}"
        )

    def _forget_first_members(self, contents: LogRead) -> None:
        """Make a newborn that joins forget the members that its log began with. They may all have
        left, and it listens to no other leader (raft/newborn.py). It never voted, and holds no
        entry.

        Raises:
            FilesRefused: it holds hand-written entries, whose terms may be higher than the
                cluster's.
        """
        if self.storage.promise.state is not LogState.NEWBORN:
            return
        if contents.log.last_index:
            files = f"{self._log_name}, {self.storage.name}"
            raise birth.brings_entries(self._log_name, files, self._trace)
        if contents.members.names:
            names = " ".join(contents.members.names)
            self.notes.append(
                f"[*] {self._node} joins: it forgets the members that its log began with, {names}"
            )
            contents.members, contents.void_lines = Membership(()), True

    def _settle(self, promise: Promise, contents: LogRead) -> None:
        """Record the end of the log, and whether a promise is lost, in NAME.storage.

        The file is saved at every start. So the mark is durable before its lines are removed, and a
        folder that can't be written is noticed now, not at the first election.
        """
        log, mark = contents.log, promise.mark
        state = self._sound_state(promise, log)
        lost = ""
        if not contents.holds_mark and log.last_index < mark.index:
            lost = f"ends at entry {log.last_index}, but entry {mark.index} was synced before"
        elif not contents.holds_mark:
            lost = f"lacks entry {mark.index} of term {mark.term}, which was synced before"
        elif self._lost_log:  # all synced entries, if any, are in the snapshot
            lost = "is gone, and its entries are unknown"
        elif promise.state is LogState.RECOVERING:
            lost = "has not caught up yet after a loss"
        if lost:
            if self._never_ran:
                raise birth.denied(self._node, f"{self._log_name} {lost}")
            state = LogState.RECOVERING
        if lost and not self._lost_promise:  # that loss is printed already
            self.notes.append(
                f"[!] {self._log_name} {lost}: this node rejoins without a vote until it has "
                "caught up"
            )
        mark = Mark(log.last_index, log.last_term)
        level = max(contents.levels.latest, promise.level if lost or promise.cluster else FIRST)
        self.storage.save(promise._replace(state=state, mark=mark, level=level))

    def _sound_state(self, promise: Promise, log: Log) -> LogState:
        """Return the state of a log without losses."""
        state = promise.state
        brings_entries = state is LogState.ADOPTING and not self._is_alone()
        is_newborn = state is LogState.NEWBORN and (log.last_index or not self._never_ran)
        if brings_entries or is_newborn:
            if self._never_ran:
                self.notes.append(
                    f"[*] --new changes nothing: {self._log_name} was written by hand, and the "
                    "others decide whether its entries win (docs/repair.md)"
                )
            return LogState.NEWBORN
        if state is LogState.UNKNOWN and not self._never_ran:
            self.notes.append(
                f"[!] {self._node} may be new or may have lost everything: it has no vote until "
                "it has caught up"
            )
            return LogState.UNKNOWN
        if self._never_ran:
            self.notes.append(f"[*] {self._node} votes at once: it never ran before (--new)")
        return LogState.WHOLE
