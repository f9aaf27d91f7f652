"""Recovery: carry out the plan of a node's start (start_plan.py), or refuse its files.

The order of steps makes a crash at any point harmless. NAME.storage promises nothing that the log
does not hold. No line of the log is removed before NAME.storage stops promising it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..raft.effects import HardState
from ..raft.log import Log, Snapshot
from ..raft.membership import Membership
from . import birth
from .disk import DamagedStorage, DiskFailed, FilesRefused
from .folder import Folder, copied
from .hard_state import HardStateFile, LogState, Mark, Promise
from .log_file import LogFile, crc_left_open, whole_file
from .log_reader import LogRead, LogReader
from .snapshot_file import SnapshotFile
from .snapshot_lines import LoadedSnapshot
from .start_plan import MAY_BE_NEW, QUARANTINED, Cure, Plan, read_plan


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
    may_be_new: bool = False  # with `recovering`: perhaps nothing is lost
    base_cluster: str = ""  # the identity at the beginning of `log`
    cluster: str = ""  # the identity that the node knows
    chain: int = 0  # of the entries before `log` (sums.py)
    differs: int = 0  # the entry at which its state differs from that of the others
    received: int = 0  # the snapshot by which its state came, until the others confirmed it
    not_ours: str = ""  # why no node may run with these files (start_plan.py)
    last_cluster: str = ""  # the identity at the end of `log`
    needs: str = ""  # of entries at the beginning of `log` (raft/identity.py)


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
        self._plan = Plan(name)
        self.notes = ["[*] Recovering logs..."]
        self._trace = birth.trace(name)

    @property
    def loaded(self) -> LoadedSnapshot | None:
        """The content of the snapshot."""
        return self._plan.snapshot

    def run(self) -> tuple[Recovered, LogFile]:
        """Return the node's state, and the log file after its last good line.

        Raises:
            FilesRefused: the files are in use by another process, damaged, unreadable or not
                writable.
        """
        try:
            self._folder.lock(self._node)
            self._leave_diverged_files()
            plan = self._plan = read_plan(self._folder, self._node, self.snapshots)
            plan.check()
            if self._never_ran:
                plan.check_that_it_never_ran()
            for name in plan.strays:
                self._folder.remove(name)
            promise = self._promise()
            contents = self._contents(promise)
            if plan.by_hand is not None:
                promise = self.storage.promise  # adopted with the log
            file = self._carry_out(promise, contents)
            if not self._folder.exists(self._trace):
                self._folder.replace(self._trace, [birth.format_trace(self._node)])
            return self._recovered(contents), file
        except DiskFailed as error:
            raise FilesRefused(str(error)) from error

    def _leave_diverged_files(self) -> None:
        """Keep the log and the snapshot aside if their state differs from that of the other nodes
        (raft/agreement.py). Then this node is one that lost its memory."""
        try:
            promise = self.storage.load()
        except DamagedStorage:
            return  # the plan reports it
        if promise is None or promise.state is not LogState.DIVERGED:
            return
        for name in (self._log_name, self.snapshots.name):
            if self._folder.exists(name):
                aside = self._folder.put_aside(name, "differs")
                self.notes.append(f"[*] {name} differs from the others' and is kept as {aside}")
        self.storage.save(
            promise._replace(state=LogState.RECOVERING, mark=Mark(0, 0), differs=0, received=0)
        )

    def _promise(self) -> Promise:
        """Return the content of NAME.storage, where the loss of a file is noted first: after a
        crash in between, the next start must not treat this node as new."""
        plan, promise = self._plan, self._plan.promise
        if promise is None and not plan.losses:
            born = LogState.WHOLE if self._never_ran else LogState.NEWBORN
            return Promise(0, None, born, Mark(0, 0))
        if plan.has(Cure.DROP_STORAGE):
            aside = self._folder.free_name(self.storage.name)
            self._folder.replace(aside, copied(self._folder, self.storage.name))
            self.notes.append(f"[*] {self.storage.name} is kept as {aside}")
        promise = promise or Promise(0, None, LogState.RECOVERING, Mark(0, 0))
        if plan.losses:
            self.storage.save(promise.without_vote())
        return promise

    def _contents(self, promise: Promise) -> LogRead:
        """Return the contents of the log. A missing log is written, and a hand-written one is
        rewritten in our form."""
        plan, name = self._plan, self._log_name
        if plan.log is not None:
            return plan.log
        if plan.by_hand is not None:
            note = birth.adopt(self._folder, name, plan.by_hand, self.storage, self._members)
            self.notes.append(note)
        else:
            begin = plan.snapshot or LoadedSnapshot(Snapshot(0, 0, 0, 0), self._members)
            log = Log(*plan.held)
            whole = whole_file(begin.members, log, begin.cluster, begin.chain)
            self._folder.replace(name, whole)
        return LogReader(self._folder, name, promise.mark, plan.held.index).read()

    def _recovered(self, contents: LogRead) -> Recovered:
        """Return the state that the files now hold."""
        promise = self.storage.promise
        self.notes.append(f"[*] Current term: {promise.term}")
        return Recovered(
            contents.log,
            HardState(promise.term, promise.vote, promise.lease_ms),
            promise.state in (LogState.RECOVERING, LogState.UNKNOWN, LogState.QUARANTINED),
            promise.state is LogState.NEWBORN,
            contents.members,
            self.notes,
            self.snapshots.current,
            promise.state is LogState.UNKNOWN,
            contents.cluster,
            promise.cluster or contents.cluster,
            contents.chain,
            promise.differs,
            promise.received,
            self._plan.not_ours if contents.members.names else "",
            contents.identity.latest,
            self.loaded.needs if self.loaded is not None else "",
        )

    def _carry_out(self, promise: Promise, contents: LogRead) -> LogFile:
        """Make the files consistent, and return the log file after its last good line."""
        log, name = contents.log, self._log_name
        if promise.mark != (log.last_index, log.last_term):
            # The sync of the last batch may have failed. Then the system may have dropped it from
            # its write queue: it can be read, but another sync would not write it.
            self._folder.write_again(name, contents.before_bytes, contents.good_bytes)
        file = self._folder.open_append(name)
        if contents.torn_bytes:
            file.truncate(contents.good_bytes)
            self.notes.append(
                f"[!] {name}: dropped {contents.torn_bytes:,} bytes after entry {log.last_index}: "
                "a batch that was never acknowledged (torn write)"
            )
        if (loaded := self.loaded) is not None:
            contents.begin_after(loaded)
            self.snapshots.use(loaded)
            keys = len(loaded.pairs)
            self.notes.append(
                f"[*] {self.snapshots.name}: {keys:,} key{'s' * (keys != 1)}, the state after "
                f"entry {loaded.snapshot.index}"
            )
        self._settle(promise, contents)
        if self._joins:
            self._forget_first_members(contents)
        if contents.void_lines:
            file.close()
            whole = whole_file(contents.members, log, contents.cluster, contents.chain)
            self._folder.replace(name, whole)
            file = self._folder.open_append(name)
            contents.open_crc = crc_left_open(contents.members, log, contents.cluster)
        return LogFile(file, log.copy(), contents.open_crc, self._folder.size(name))

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
        log, losses = contents.log, self._plan.losses
        lost = [loss.subject for loss in losses]
        if promise.state is LogState.RECOVERING and not lost:
            lost = [f"{self._log_name} has not caught up yet after a loss"]
        self.notes += [
            f"[!] {subject}: this node rejoins without a vote until it has caught up"
            for subject in lost
        ]
        state = promise.without_vote().state if lost else self._sound_state(promise, log)
        if lost and promise.term < log.last_term:  # unknown; this is the lowest possible one
            promise = promise._replace(term=log.last_term, vote=None)
        mark = Mark(log.last_index, log.last_term)
        self.storage.save(promise._replace(state=state, mark=mark))

    def _sound_state(self, promise: Promise, log: Log) -> LogState:
        """Return the state of a log without losses."""
        state = promise.state
        is_newborn = state is LogState.NEWBORN and (log.last_index or not self._never_ran)
        is_alone = self._members.names == (self._node,)
        brings_entries = state is LogState.ADOPTING and not (is_alone and self._never_ran)
        if brings_entries or is_newborn:
            if self._never_ran and not is_alone:
                self.notes.append(
                    f"[*] --new changes nothing: {self._log_name} was written by hand, and the "
                    "others decide whether its entries win (docs/repair.md)"
                )
            return LogState.NEWBORN
        if state is LogState.UNKNOWN and not self._never_ran:
            self.notes.append(f"[!] {MAY_BE_NEW.format(self._node)}")
            return LogState.UNKNOWN
        if state is LogState.QUARANTINED:
            self.notes.append(f"[!] {QUARANTINED.format(self._node)}")
            return state
        if self._never_ran:
            self.notes.append(f"[*] {self._node} votes at once: it never ran before (--new)")
        return LogState.WHOLE
