"""LogManager: the key-value state machine, the lock that guards it, and its open files.

The client's line, the log entry and the executed command are the same text. Keys and values stay in
their escaped wire form, so no stored value can break or forge a line.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from .common.identities import continuing
from .common.mypyc_compat import mypyc_attr
from .common.process.wakeup import PauseFunction, give_way, no_pause
from .raft.effects import Effects, HardState
from .raft.identity import ClusterIdentity, identity_command, read
from .raft.log import Entry, SafetyError, Snapshot
from .raft.membership import Membership, all_vote
from .state.commands.key_commands import TRIALS, execute
from .state.commands.machines import Machines
from .state.commands.replicated_state import ReplicatedState
from .state.key_events import TakenEvents
from .state.key_pages import LINES, KeyPage, read_selection, take_page
from .state.lease_table import Leases, format_granted, read_granted
from .state.pairs import StillPairs, free, layered
from .state.sessions import SessionTable, entry_number
from .state.store import Pairs, PairSizes, sizes_of
from .state.user_table import UserTable, read_users
from .storage.birth import format_trace, trace
from .storage.disk import (
    DiskFailed,
    FilesRefused,
    StateRefused,
    StorageError,
    disk_failed,
)
from .storage.folder import Folder
from .storage.hard_state import DIFFERS, HardStateFile, LogState, Mark, Promise
from .storage.log_file import LogFile, LogRewrite, crc_left_open, install, whole_file
from .storage.lost_files import FileState, Identity, compare, foreign_files, lost_files
from .storage.recovery import Recovered, Recovery
from .storage.snapshot_file import SnapshotFile
from .storage.snapshot_lines import LoadedSnapshot, MachineState
from .storage.sums import chained
from .wire.limits import PAIR_BYTES
from .wire.refusal import DIVERGED, HALF_APPLIED, STOPPING, Refusal

EVERY = 1 << 62  # characters: no reply is omitted
CHECK_S = 0.01  # between a reader's checks of whether long entries are being applied


class Parts(NamedTuple):
    """The parts of a snapshot that its lines hold."""

    sessions: SessionTable
    leases: Leases
    users: UserTable
    sizes: PairSizes | None = None


def no_parts() -> Parts:
    """Return the parts of an empty state."""
    return Parts(SessionTable(), Leases(), UserTable())


def parts_of(loaded: LoadedSnapshot, pause: PauseFunction = no_pause) -> Parts:
    """Return the parts of a checked snapshot.

    Raises:
        ValueError: its lines of sessions, leases or users are invalid.
    """
    return Parts(
        SessionTable.load(loaded.sessions, pause),
        read_granted(loaded.leases),
        read_users(loaded.users),
    )


@mypyc_attr(allow_interpreted_subclasses=True)
class LogManager:
    """The state machine and its lock, on top of the node's files.

    `client_lock` guards `state` and `applied`. No slow work is done while it is held. NAME.log,
    NAME.storage and NAME.state_machine have no lock: one thread at a time calls `recover`,
    `persist` and `close`. The writes of several steps become durable as one batch.
    """

    def __init__(
        self,
        name: str,
        folder: Folder,
        members: Mapping[str, str],
        machines: Machines | None = None,
    ) -> None:
        """Prepare a node. `members` (name -> host:port) are written into a new log."""
        self.name = name
        self.snapshots = SnapshotFile(folder, name)
        self.arrived_snapshot: LoadedSnapshot | None = None  # checked, but not installed yet
        self._folder = folder
        self._storage: HardStateFile | None = None
        self._logfile: LogFile | None = None
        self._unmarked: Mark | None = None  # on disk, but not yet in NAME.storage
        self._failed = False
        self.client_lock = threading.Lock()
        self.state = ReplicatedState(all_vote(members), machines or Machines())
        self.store = self.state.store  # the pairs and their facts
        self.is_offloaded = False  # long entries are being applied
        self.applied = Mark(0, 0)  # the last entry whose effect they hold
        self.chain = 0  # of the entries up to there (storage/sums.py)
        # Why they are not read: they match no entry, or differ from those of the other nodes.
        self._refusal: Refusal | None = None
        self._replaced: Pairs = {}  # pairs from before a snapshot
        # From the last checked snapshot:
        self._arrived = no_parts()
        self._is_declined = False  # whether that snapshot was not taken over

    @property
    def members(self) -> Membership:
        """The members after the last applied entry."""
        return self.state.members

    def recover(self, *, never_ran: bool = False, joins: bool = False) -> Recovered:
        """Lock the folder and restore the node's knowledge from its files. Nothing is executed yet.

        `never_ran` is the operator's claim that nothing ran under this name before these files.
        `joins` means that this start joins a cluster.

        Raises:
            FilesRefused: the files are in use, damaged, unreadable or not writable, or contradict
                the operator's claim. One line explains what to do.
        """
        recovered, loaded = self.open(self.members, never_ran=never_ran, joins=joins)
        self.state.members, self.chain = recovered.members, recovered.chain
        self.state.cluster = recovered.base_cluster
        self.store.is_at_floor = not recovered.base_cluster
        if loaded is not None:
            try:
                self._load(loaded, parts_of(loaded))
            except ValueError as error:
                self.close()
                raise FilesRefused(
                    f"{self.snapshots.name}: {error}; a newer version may have written it"
                ) from None
        if recovered.differs:
            self.refuse_reads(DIVERGED)
        return recovered

    def apply(
        self,
        entries: Sequence[Entry],
        now_s: Callable[[], float] | None = None,
        end_s: float = 0.0,
        *,
        answers: bool = True,
    ) -> list[str]:
        """Execute committed entries in order and return their replies; see `ReplicatedState`.

        An entry that raises leaves pairs that match no entry. From then on, they are not read, held
        or frozen.
        """
        with self.client_lock:
            try:
                replies = self.state.apply(entries, now_s, end_s, answers=answers)
            except BaseException:
                self._refusal = HALF_APPLIED
                raise
            if replies:
                done = entries if len(replies) == len(entries) else entries[: len(replies)]
                last = done[-1]
                self.chain = chained(self.chain, self.applied.term, done)
                self.applied = Mark(last.index, last.term)
            return replies

    def refuse_reads(self, refusal: Refusal) -> None:
        """Answer reads with this refusal, and freeze nothing, until a snapshot replaces the pairs:
        they differ from those of the other nodes."""
        self._refusal = self._refusal or refusal

    @property
    def state_lines(self) -> int:
        """The number of lines in the state: pairs, leases and remembered requests."""
        state = self.state
        return len(state.store) + len(state.store.leases.granted) + state.sessions.requests

    def apply_offloaded(
        self,
        entries: Sequence[Entry],
        now_s: Callable[[], float] | None = None,
        end_s: float = 0.0,
    ) -> list[str]:
        """Do the same with entries that take a long time, and announce that to callers that must
        not wait."""
        self.is_offloaded, self.store.pause = True, give_way
        try:
            return self.apply(entries, now_s, end_s)
        finally:
            self.is_offloaded, self.store.pause = False, no_pause

    def take_events(self) -> TakenEvents:
        """Return the key changes since the last call. `store.notes_events` must be set. Watches get
        events in log order."""
        with self.client_lock:
            return self.store.take_events()

    def read(
        self,
        commands: Sequence[str],
        room: int = EVERY,
        pause: PauseFunction = give_way,
        *,
        waits: bool = True,
    ) -> list[str]:
        """Return the replies to `get` and `show` commands, without logging them.

        Commands are answered in order, until the values have `room` characters, and no later one
        by older pairs. Replies stop while long entries are being applied, unless the caller
        `waits`."""
        replies: list[str] = []
        while True:
            while not self.client_lock.acquire(timeout=CHECK_S):
                if self.is_offloaded and not waits:
                    return replies
            try:
                if self._refusal is not None and (refusal := self._why_unreadable(commands)):
                    return [refusal] * len(commands)
                room, page = self._read_some(commands, replies, room)
            finally:
                self.client_lock.release()
            if page is not None:
                replies.append(page.format())
            if room <= 0 or len(replies) == len(commands):
                return replies
            pause()

    def try_out(self, entry: str) -> str:
        """Return why a command is too much for one entry, judged by the present pairs; "" if it is
        not, or nobody knows. Nothing changes. It is written as in the log. A refusal counts once
        the caller has confirmed that this state is the latest. It holds no lock."""
        with self.client_lock:
            asked = None if self._refusal is not None else self.state.command_of(entry)
        if asked is None:
            return ""
        command, user = asked
        verb, _, operands = command.partition(" ")
        trial = TRIALS.get(verb)
        if trial is None:
            return ""
        return trial.why_refused(self.store, self.client_lock, operands, user)

    def _why_unreadable(self, commands: Sequence[str]) -> Refusal | None:
        """Return the refusal of these reads, or None. The lines of a state that differs are shown,
        to find out where."""
        if self._refusal is HALF_APPLIED:
            return STOPPING
        return None if commands[0].startswith(LINES) else self._refusal

    def _read_some(
        self, commands: Sequence[str], replies: list[str], room: int
    ) -> tuple[int, KeyPage | None]:
        """Add the next replies up to a `show`. Return the room left, and the page of that `show`,
        unless many keys must be sorted first. The caller holds `client_lock`."""
        for command in commands[len(replies) :] if replies else commands:
            if command.startswith(("show", LINES)):
                selection = read_selection(command)
                if selection is not None:
                    must_wait = self.store.sort_some()
                    page = None if must_wait else take_page(self.store, selection)
                    return room, page and page._replace(applied=self.applied.index)
            reply = execute(self.store, command)
            replies.append(reply)
            room -= len(reply)
            if room <= 0:
                break
        return room, None

    def hold(self) -> tuple[Mark, StillPairs]:
        """Freeze the pairs, and return them with the last applied entry. `release` must follow.

        Raises:
            StateRefused: they match no entry, or differ from those of the other nodes.
        """
        with self.client_lock:
            self._refuse_unreadable()
            return self.applied, self._hold()

    def release(self, still: StillPairs, pause: PauseFunction) -> None:
        """Record that a reader of the pairs has finished. The last reader turns them into a plain
        dict again, bit by bit."""
        above = still.layered
        with self.client_lock:
            above.release()
        while True:
            with self.client_lock:
                if not above.move_down():
                    if self.store.held is above and not above.readers:
                        self.store.held = above.base
                    return
            pause()

    # --- snapshots and compaction --------------------------------------------------------------

    def freeze(self, *, even_differing: bool = False) -> MachineState:
        """Return the current state machine, frozen until the caller releases it.

        Nothing is copied here, and nothing waits: the pairs are frozen (state/pairs.py), and a
        session is copied when it changes.

        Raises:
            StateRefused: it matches no entry, or differs from that of the other nodes, unless the
                caller takes `even_differing` states.
        """
        with self.client_lock:
            if not even_differing or self._refusal is HALF_APPLIED:
                self._refuse_unreadable()
            still, sessions = self._hold(), self.state.sessions.dump()
            applied, members, chain = self.applied, self.members, self.chain
            granted, cluster = self.store.leases.copy(), self.state.cluster
            users, removals = self.store.users, dict(self.store.removals)
            needs = self.state.needs
        return MachineState(
            *applied,
            members,
            sessions,
            still,
            lambda pause: self.release(still, pause),
            format_granted(granted),
            cluster,
            users.format(),
            chain,
            removals,
            needs,
        )

    def arrived(self, loaded: LoadedSnapshot, pause: PauseFunction = no_pause) -> None:
        """Keep a checked snapshot for `take_over` and `persist`.

        Raises:
            ValueError: its lines of sessions, leases or users are invalid.
        """
        parts = parts_of(loaded, pause)
        self._arrived = parts._replace(sizes=_sizes_of(loaded, pause))
        self.arrived_snapshot, self._is_declined = loaded, True

    def take_over(self, snapshot: Snapshot) -> None:
        """Replace the state machine with the received snapshot. `free_left` frees the old state
        later."""
        self._is_declined = False
        self._replaced = self._load(self.checked(snapshot), self._arrived)
        self._refusal = None

    def free_left(self) -> Iterator[None]:
        """Free, in pieces, the pairs from before a snapshot, or the pairs of a snapshot that the
        core no longer needed."""
        old, self._replaced = self._replaced, {}
        if self._is_declined and self.arrived_snapshot is not None:
            old, self.arrived_snapshot = self.arrived_snapshot.pairs, None
            self._arrived = no_parts()
        return free(old)

    def _load(self, loaded: LoadedSnapshot, parts: Parts) -> Pairs:
        index, term = loaded.snapshot[:2]
        with self.client_lock:
            self.state.sessions, self.state.members = parts.sessions, loaded.members
            self.state.cluster, self.state.needs = loaded.cluster, loaded.needs
            self.applied, self.chain = Mark(index, term), loaded.chain
            self.store.is_at_floor = not loaded.cluster
            return self.store.replace(
                loaded.pairs,
                parts.leases,
                loaded.leased,
                entry_number(index, term),
                parts.sizes or _sizes_of(loaded),
                parts.users,
                loaded.removals,
            )

    def _refuse_unreadable(self) -> None:
        if self._refusal:
            raise StateRefused(self._refusal)

    def _hold(self) -> StillPairs:
        """Freeze the pairs for a reader. The caller holds `client_lock`."""
        self.store.held = above = layered(self.store.held)
        return above.hold()

    # --- files: one thread at a time writes them -----------------------------------------------

    def open(
        self, members: Membership, *, never_ran: bool, joins: bool
    ) -> tuple[Recovered, LoadedSnapshot | None]:
        """Lock the folder, and read the node's state and its snapshot.

        Raises:
            FilesRefused: see `recover`.
        """
        recovery = Recovery(self._folder, self.name, members, never_ran=never_ran, joins=joins)
        try:
            recovered, self._logfile = recovery.run()
        except StorageError:
            self._folder.close()
            raise
        self._storage, self.snapshots = recovery.storage, recovery.snapshots
        return recovered, recovery.loaded

    def close(self) -> None:
        """Close the files, and release the lock."""
        if self._logfile is not None:
            self._logfile.close()
            self._logfile = None
        self.snapshots.close()
        self._folder.close()

    @property
    def log_bytes(self) -> int:
        """The bytes of NAME.log."""
        log = self._logfile  # read once: another thread may be in `close`
        return log.size if log is not None else 0

    @property
    def folder_path(self) -> str:
        """The path of the folder."""
        return self._folder.path

    @property
    def last_written(self) -> int:
        """The index of the last entry in NAME.log."""
        return self._logfile.last.index if self._logfile is not None else 0

    def persist(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        """Call `write`, and then `note_mark`."""
        durable = self.write(works)
        self.note_mark()
        return durable

    def write(self, works: Sequence[Effects]) -> tuple[int, int] | None:
        """Make step 2 of several Effects durable, in order, with one sync of the log.

        Returns the index and term of the last durable entry of the log, or None if no work changed
        the log.

        Raises:
            DiskFailed: the node must stop. Nothing that waited for this write may be acknowledged.
        """
        if self._failed or self._storage is None or self._logfile is None:
            raise DiskFailed(f"{self.name}: its files are closed or have failed; start it again")
        try:
            return self._write(works, self._storage, self._logfile)
        except BaseException:  # it is unknown which part was written
            self._failed = True
            raise

    def note_mark(self) -> None:
        """Record in NAME.storage how far the log is synced. Only the thread that calls `persist`
        may call it.

        It is separate, so that a write need not wait for it. The mark reveals a truncated or
        deleted log, even if the mark is one write old.

        Raises:
            DiskFailed: the node must stop.
        """
        mark, self._unmarked = self._unmarked, None
        if mark is not None and self._storage is not None and not self._failed:
            try:
                self._storage.move_mark(mark)
            except BaseException:
                self._failed = True
                raise

    def file_states(self) -> dict[str, FileState] | None:
        """Compare each file of this node with the file that has its name now. Return None if that
        is unknown. Only the thread that calls `persist` may call it.

        Raises:
            DiskFailed: another file has one of the names. It stays, so the node must stop.
        """
        storage, born = self._storage, trace(self.name)
        if self._failed or storage is None:
            return None
        try:
            states = self._states_of_long_files()
            states[storage.name] = storage.state_of_file()
            is_born = self._folder.find(born) is not None
            states[born] = FileState.WHOLE if is_born else FileState.GONE
        except (OSError, FilesRefused):
            return None
        self._refuse_foreign(states)
        return states

    @property
    def long_files(self) -> tuple[str, str]:
        """The names of the files that take long to write again."""
        return f"{self.name}.log", self.snapshots.name

    @property
    def log_identity(self) -> Identity | None:
        """The identity of the open log, another one once it was written again; None: no log."""
        return None if self._logfile is None else self._logfile.identity

    def check_places(self) -> None:
        """Check before a rename that the log and the snapshot still have their names. Only the
        thread that calls `persist` may call it.

        Raises:
            DiskFailed: another file has one of the names. It is not overwritten.
        """
        with contextlib.suppress(OSError):
            self._refuse_foreign(self._states_of_long_files())

    def _states_of_long_files(self) -> dict[str, FileState]:
        name, log = f"{self.name}.log", self._logfile
        states = {self.snapshots.name: self.snapshots.state_of_file()}
        if log is not None:
            states[name] = compare(self._folder.find(name), log.identity, log.size)
        return states

    def _refuse_foreign(self, states: Mapping[str, FileState]) -> None:
        if foreign := foreign_files(states):
            self._failed = True
            raise DiskFailed(
                f"{', '.join(foreign)}: another program put a file of this name into "
                f"{self._folder.path} while the node ran. It is not overwritten, and the node "
                "stops. Move that file away, then start the node again: it catches up from the "
                "others (docs/repair.md)"
            )

    def write_small_again(self, states: Mapping[str, FileState]) -> None:
        """Write the small files again. Only the thread that calls `persist` may call it.

        A truncated or extended log is put aside. Until the log is written again, a start finds
        NAME.storage without a log, and so treats the node as one that lost its memory.

        Raises:
            StorageError: unless it has `changed_nothing`, the node must stop. To stop without need
                would lose what only its memory has.
        """
        lost, storage, born = lost_files(states), self._storage, trace(self.name)
        if storage is None:
            return
        try:
            self._folder.make_again(self.name)
            for name in lost:
                file = self._folder.find(name) if states[name] is not FileState.GONE else None
                if file is not None and file.size:
                    self._folder.put_aside(name, states[name].value)
            storage.save(storage.promise)
            if born in lost:
                self._folder.replace(born, [format_trace(self.name)])
        except OSError as error:
            path = self._folder.path
            raise disk_failed(path, "read", error, changed_nothing=True) from error
        except BaseException as error:
            self._failed = not _is_harmless(error)
            raise

    def begin_rewrite(self, snapshot: Snapshot) -> LogRewrite:
        """Begin rewriting the log after `snapshot`, the published one. If another snapshot arrives
        meanwhile, the new file is never used (Compaction.finish_rewrite)."""
        published = self.snapshots
        return LogRewrite(
            self._folder,
            self.name,
            snapshot,
            published.members,
            published.cluster,
            published.chain,
        )

    def finish_rewrite(self, rewrite: LogRewrite, rest: Sequence[Entry]) -> LogFile | None:
        """Replace the old log with the new one, and return the old one. Close it while no write
        waits, since that frees its bytes. As with `persist`, one thread at a time may call this.

        Raises:
            DiskFailed: unless it has `changed_nothing`, the node must stop.
        """
        old = self._logfile
        self.check_places()
        try:
            rewrite.copy(rest)
            rewrite.sync()
            if old is not None and old.holds_void_lines and self._storage is not None:
                # A mark is not synced. After a power cut, an earlier mark may reappear, which names
                # an entry in a void line. These lines are removed now.
                self._storage.save(self._storage.promise)
            self._logfile = rewrite.finish()
        except BaseException as error:
            self._failed = not _is_harmless(error)
            raise
        return old

    def rename_cluster(self, recovered: Recovered) -> None:
        """Replace the identity in the files of a stopped node by one that continues it. If this is
        interrupted, no start accepts the files, and `recover` repeats it.

        Raises:
            DiskFailed: the files may hold both identities.
        """
        storage, log = self._storage, recovered.log
        in_log = ClusterIdentity(0, commands=log.commands).latest or recovered.base_cluster
        if storage is None or self._logfile is None or not (recovered.cluster or in_log):
            return  # its first leader draws an identity
        cluster = continuing(in_log or recovered.cluster)  # the log is renamed last
        storage.save(storage.promise._replace(cluster=cluster))
        if recovered.base_cluster:
            recovered.base_cluster = self.state.cluster = cluster
        if self.snapshots.current is not None:
            self.snapshots.publish(_run(self.snapshots.writing(self.freeze(), no_pause)))
        for place, command in enumerate(log.commands):
            if (content := read(command)).cluster:
                log.commands[place] = identity_command(cluster, content.needs)
        name = f"{self.name}.log"
        whole = whole_file(recovered.members, log, recovered.base_cluster, recovered.chain)
        self._folder.replace(name, whole)
        self._logfile.close()
        file = self._folder.open_append(name)
        left = crc_left_open(recovered.members, log, recovered.base_cluster)
        self._logfile = LogFile(file, log.copy(), left, self._folder.size(name))

    def checked(self, snapshot: Snapshot) -> LoadedSnapshot:
        """Return the received snapshot that passed its checks.

        Raises:
            SafetyError: another snapshot arrived.
        """
        loaded = self.arrived_snapshot
        if loaded is None or loaded.snapshot != snapshot:
            raise SafetyError(f"{self.name} was told to install {snapshot}, which was not checked")
        return loaded

    def _write(
        self, works: Sequence[Effects], storage: HardStateFile, log: LogFile
    ) -> tuple[int, int] | None:
        save, cluster, recovered = _asked(works)
        lost = _lost(works)
        forgot = lost is LogState.RECOVERING
        mark = None
        # Until a snapshot has replaced a state that differs, a start must not trust the files.
        differed = forgot and (storage.promise.state in DIFFERS or _found_at(works) > 0)
        born = storage.promise.state is LogState.NEWBORN
        if forgot and born and log.last.index:
            # Hand-written entries are removed before the flag is set: after it, they would count as
            # a cluster's entries.
            mark = log.append([Effects(cut_after=0)])
        if cluster and not storage.promise.cluster:
            storage.save(storage.promise._replace(cluster=cluster))
        promise = _promised(works, storage.promise, lost, save, differed=differed)
        if recovered and promise.state is LogState.NEWBORN:  # its first vote: one write for both
            promise = promise._replace(state=LogState.WHOLE)
        if save is not None or promise != storage.promise:
            storage.save(promise)
        begin = 0
        for position, work in enumerate(works):
            for chunk in work.chunks:
                self.snapshots.write_chunk(chunk)
            if work.install is not None:  # this voids earlier entries of the batch
                loaded, self.arrived_snapshot = self.checked(work.install), None
                log = install(self._folder, self.name, loaded, self.snapshots, storage, log)
                self._logfile = log
                mark, begin = Mark(*work.install[:2]), position
        mark = log.append(works[begin:]) or mark
        self._unmarked = mark or self._unmarked
        if differed:
            storage.save(storage.promise._replace(state=LogState.RECOVERING))
        # This comes last: a node that calls its log whole must already hold its entries.
        if recovered and storage.promise.state is not LogState.WHOLE:
            storage.save(storage.promise._replace(state=LogState.WHOLE))
        return mark


def _run(writing: Generator[None, None, Snapshot]) -> Snapshot:
    """Write a snapshot without pauses."""
    try:
        while True:
            next(writing)
    except StopIteration as end:
        return cast("Snapshot", end.value)


def _asked(works: Sequence[Effects]) -> tuple[HardState | None, str, bool]:
    """Return the last term and vote, the identity, and whether any step recovered."""
    save: HardState | None = None
    cluster, recovered = "", False
    for work in works:
        save = work.save or save
        cluster = cluster or work.cluster or ""
        recovered = recovered or work.recovered
    return save, cluster, recovered


def _lost(works: Sequence[Effects]) -> LogState | None:
    """Return the state of a log whose server lost its memory, or has another state than the others,
    by the last of these steps that says so."""
    lost: LogState | None = None
    for work in works:
        if work.differs:
            lost = LogState.QUARANTINED
        elif work.begins_again:
            lost = LogState.DIVERGED
        elif work.forgot:
            lost = LogState.RECOVERING
    return lost


def _promised(
    works: Sequence[Effects],
    before: Promise,
    lost: LogState | None,
    save: HardState | None,
    *,
    differed: bool,
) -> Promise:
    """Return the content of NAME.storage after these steps, before their entries are written. A
    snapshot that is installed is noted before it is in force."""
    promise = before._replace(**save._asdict()) if save else before
    for work in works:
        if work.received is not None:
            promise = promise._replace(received=work.received)
    if lost is None:
        return promise
    if lost is LogState.RECOVERING and before.state is LogState.NEWBORN:
        return promise._replace(state=LogState.UNKNOWN)
    state = LogState.DIVERGED if differed else lost
    found_at = _found_at(works) if state is LogState.QUARANTINED else 0
    return promise._replace(state=state, differs=found_at)


def _found_at(works: Sequence[Effects]) -> int:
    """Return the entry at which one of these steps found that the state differs; 0: none did."""
    return max([work.differs for work in works])


def _is_harmless(error: BaseException) -> bool:
    """Whether all files in force are as before this error."""
    return isinstance(error, DiskFailed) and error.changed_nothing


def _sizes_of(loaded: LoadedSnapshot, pause: PauseFunction = no_pause) -> PairSizes:
    """Return what `sizes_of` the pairs of a snapshot returns; its reader has counted most."""
    pairs, others = loaded.pairs, loaded.others
    if not loaded.plain_characters:
        return sizes_of(pairs, pause)
    sizes = sizes_of({key: pairs[key] for key in others}, pause)
    plain = loaded.plain_characters + PAIR_BYTES * (len(pairs) - len(others))
    return sizes._replace(bytes=sizes.bytes + plain)
