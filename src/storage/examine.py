"""Find the problems of a node's files, only by reading them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ..raft.levels import is_foreign
from ..raft.membership import Configurations
from .birth import is_hand_written, trace
from .disk import CorruptLog, DamagedStorage, FilesRefused
from .folder import Folder
from .hard_state import HardStateFile, LogState, Mark, Promise
from .log_reader import LogRead, LogReader
from .snapshot_file import SnapshotFile
from .snapshot_lines import HEAD, LoadedSnapshot

_CATCHES_UP = "the node catches up from the others, without a vote until then"
_ALONE = "; where it is the only member: raftline recover"
_RESTORE = "; where it is the only member: restore all its files from one backup"
_EMPTY = "; where it is the only member: restore all its files, or remove {} and start over"


class Cure(Enum):
    """What `repair` does about a problem."""

    NONE = "nothing: a person must decide"
    TAKE_VOTE = "record that the node has no vote, as a start would"
    CUT_TAIL = "cut the tail off"
    CUT_LOG = "keep the log aside, and its sound part in its place"
    DROP_SNAPSHOT = "keep the snapshot aside"
    DROP_LOG_AND_SNAPSHOT = "keep the log and the snapshot aside"
    DROP_STORAGE = "keep the file aside"


@dataclass
class Problem:
    """One problem: what is wrong, what it means, and what to do."""

    file: str
    what: str
    means: str
    cure: Cure
    good_bytes: int = 0  # the sound part of a log
    costs_the_vote: bool = False  # the cure leaves the node without a vote until it has caught up

    def __str__(self) -> str:
        comma = "" if self.what.startswith((" ", ":")) else ", "
        return f"{self.file}{comma}{self.what}. {self.means}"


@dataclass
class Findings:
    """The contents of one node's files, and their problems."""

    node: str
    promise: Promise | None = None
    log: LogRead | None = None
    snapshot: LoadedSnapshot | None = None
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # lines to print that are not problems

    @property
    def cluster(self) -> str:
        """The identity of the cluster from NAME.storage, or "" if it is not known."""
        return self.promise.cluster if self.promise is not None else ""


def nodes_in(names: list[str]) -> list[str]:
    """Return the nodes that these files belong to."""
    ends = (".log", ".storage", ".state_machine")
    nodes = {name.removesuffix(end) for name in names for end in ends if name.endswith(end)}
    born = {name[1:].removesuffix(".born") for name in names if name == trace(name[1:-5])}
    return sorted(nodes | born)  # a node may have lost all files but the trace of its birth


class Examination:
    """Examines the files of one node. Call `run` once."""

    def __init__(self, folder: Folder, node: str) -> None:
        self._folder = folder
        self._found = Findings(node)
        self._storage = HardStateFile(folder, node)
        self._snapshots = SnapshotFile(folder, node)
        self._log_name = f"{node}.log"

    def run(self) -> Findings:
        """Return the findings.

        Raises:
            FilesRefused: a file can't be read.
        """
        self._look_at_storage()
        self._look_at_snapshot()
        if not self._folder.exists(self._log_name) or not self._folder.size(self._log_name):
            self._without_log()
        elif self._will_be_adopted():
            self._found.notes.append(
                f"{self._log_name} was written by hand; the node adopts it when it starts"
            )
        else:
            self._look_at_log()
        self._compare_clusters()
        self._look_for_strays()
        return self._found

    def _compare_clusters(self) -> None:
        """Report files of two clusters."""
        name, findings = self._found.node, self._found
        promised = findings.cluster
        in_log = findings.log.levels.clusters.latest if findings.log is not None else ""
        in_snapshot = findings.snapshot.cluster if findings.snapshot is not None else ""
        for file, theirs in ((self._log_name, in_log), (self._snapshots.name, in_snapshot)):
            if is_foreign(promised, theirs):
                self._add(
                    file,
                    f" is of cluster {theirs}, and {self._storage.name} of cluster {promised}",
                    f"If `raftline recover {name}` was interrupted, run it again; otherwise "
                    f"restore all files of {name} from one copy",
                    Cure.NONE,
                )

    def _add(
        self,
        file: str,
        what: str,
        means: str,
        cure: Cure,
        good_bytes: int = 0,
        *,
        costs_the_vote: bool = False,
    ) -> None:
        problem = Problem(file, what, means, cure, good_bytes, costs_the_vote)
        self._found.problems.append(problem)

    def _alone(self, good_bytes: int) -> str:
        """Return the advice for a sole member whose log has this many sound bytes."""
        return _ALONE if good_bytes or self._found.snapshot is not None else _RESTORE

    def _look_at_storage(self) -> None:
        name = self._storage.name
        try:
            self._found.promise = self._storage.load()
        except DamagedStorage as damage:
            self._add(
                name,
                str(damage).removeprefix(name),
                f"The node's term and vote are lost: {_CATCHES_UP}{_ALONE}",
                Cure.DROP_STORAGE,
                costs_the_vote=True,
            )
            return
        except FilesRefused as refused:
            self._add(name, str(refused).removeprefix(name), "It is left alone", Cure.NONE)
            return
        if self._found.promise is None and not self._will_be_adopted():
            node = self._found.node
            other_files = (self._log_name, self._snapshots.name)
            is_empty = not any(self._folder.exists(file) for file in other_files)
            if not is_empty or self._folder.exists(trace(node)):
                alone = _EMPTY.format(trace(node)) if is_empty else _ALONE
                self._add(
                    name,
                    " is gone",
                    f"The node's term and vote are lost: {_CATCHES_UP}{alone}",
                    Cure.TAKE_VOTE,
                    costs_the_vote=True,
                )

    def _will_be_adopted(self) -> bool:
        """Return whether a start adopts the log as a hand-written one (`recovery.Recovery`).

        Only a node that has not begun does so. For other nodes, a log without a base line is
        damaged.
        """
        promise, log = self._found.promise, self._log_name
        if promise is None:
            begins = not self._has(Cure.DROP_STORAGE) and not self._folder.exists(
                self._snapshots.name
            )
        else:
            begins = promise.state is LogState.ADOPTING
        return begins and self._folder.exists(log) and is_hand_written(self._folder, log)

    def _look_at_snapshot(self) -> None:
        name = self._snapshots.name
        if not self._folder.exists(name):
            return
        try:
            loaded = self._found.snapshot = self._snapshots.read()
            self._compare_terms(name, loaded.snapshot.term)
        except ValueError as error:
            self._add(name, str(error), "The snapshot can't be trusted", Cure.DROP_SNAPSHOT)

    def _without_log(self) -> None:
        promise = self._found.promise
        if promise is not None and promise.state is LogState.RECOVERING:
            self._note_lost_memory("has lost files, and")
        elif promise is not None and promise.term > 0:
            self._add(
                self._log_name,
                " is gone, or empty",
                f"Acknowledged entries are lost: {_CATCHES_UP}{self._alone(0)}",
                Cure.TAKE_VOTE,
                costs_the_vote=True,
            )
        for problem in self._found.problems:
            if problem.cure is Cure.DROP_SNAPSHOT:
                problem.cure, problem.costs_the_vote = Cure.DROP_LOG_AND_SNAPSHOT, True
                problem.means = (
                    f"Without a log, nothing else holds the state: {_CATCHES_UP}{_RESTORE}"
                )

    def _look_at_log(self) -> None:
        findings, promise = self._found, self._found.promise
        covered = 0 if findings.snapshot is None else findings.snapshot.snapshot.index
        mark = Mark(0, 0) if promise is None else promise.mark
        try:
            findings.log = LogReader(self._folder, self._log_name, mark, covered).read()
        except CorruptLog as damage:
            sound = f"entries up to {damage.last_index}" if damage.good_bytes else "nothing"
            self._add(
                self._log_name,
                damage.where,
                f"Entries that were acknowledged are damaged; sound before it: {sound}. With that "
                f"alone {_CATCHES_UP}{self._alone(damage.good_bytes)}",
                Cure.CUT_LOG,
                damage.good_bytes,
                costs_the_vote=True,
            )
            self._judge_snapshot(None)
            return
        self._judge_snapshot(findings.log)
        self._judge_log(findings.log, promise, covered)

    def _judge_log(self, log: LogRead, promise: Promise | None, covered: int) -> None:
        name, last, node = self._log_name, log.log.last_index, self._found.node
        configurations = Configurations(log.log.base_index, log.members, log.log.commands)
        if log.members.names and log.log.base_index == 0 and not configurations.has_known(node):
            self._add(
                name,
                f" is of a cluster that {node} never was a member of",
                "Was another node's file put here? It names " + " ".join(log.members.names),
                Cure.NONE,
            )
        if log.torn_bytes:
            self._add(
                name,
                f" ends in {log.torn_bytes:,} torn bytes, after entry {last}",
                "A batch that was never acknowledged: nothing is lost without it",
                Cure.CUT_TAIL,
                log.good_bytes,
            )
        if log.log.base_index > covered and not self._has(Cure.DROP_LOG_AND_SNAPSHOT):
            self._add(
                name,
                f" begins after entry {log.log.base_index}",
                f"{self._snapshots.name} must hold the earlier entries, and does not: {_CATCHES_UP}"
                + _RESTORE,
                Cure.DROP_LOG_AND_SNAPSHOT,
                costs_the_vote=True,
            )
        if promise is None:
            return
        if promise.state is LogState.RECOVERING:
            self._note_lost_memory("has lost files, and")
            return
        if promise.state is LogState.UNKNOWN:
            self._note_lost_memory("may be new or may have lost everything, and has")
        self._compare_terms("the log", log.log.last_term)
        self._judge_mark(log, promise)

    def _judge_mark(self, log: LogRead, promise: Promise) -> None:
        """Report a log that lacks the last entry that NAME.storage calls synced."""
        if not log.holds_mark:
            self._add(
                self._log_name,
                f" lacks entry {promise.mark.index} of term {promise.mark.term}, which was synced",
                f"It was cut, or replaced by an older one: {_CATCHES_UP}{_ALONE}",
                Cure.TAKE_VOTE,
                costs_the_vote=True,
            )

    def _compare_terms(self, holder: str, term: int) -> None:
        """Report a promised term that is lower than the term of an entry: no node writes that."""
        promise = self._found.promise
        if promise is None or promise.state is LogState.RECOVERING or term <= promise.term:
            return
        if self._has(Cure.DROP_STORAGE):
            return
        self._add(
            self._storage.name,
            f" says term {promise.term}, and {holder} has an entry of term {term}",
            f"One of the two is from another time: {_CATCHES_UP}",
            Cure.DROP_STORAGE,
            costs_the_vote=True,
        )

    def _note_lost_memory(self, why: str) -> None:
        self._found.notes.append(f"{self._found.node} {why} no vote until it has caught up")

    def _judge_snapshot(self, log: LogRead | None) -> None:
        """Report the effect of a damaged snapshot, which depends on the contents of the log."""
        for problem in self._found.problems:
            if problem.cure is not Cure.DROP_SNAPSHOT:
                continue
            index = self._claimed_index()
            if log is not None and log.log.base_index == 0:
                problem.costs_the_vote = not 0 < index <= log.log.last_index
                problem.means = "The log holds all its entries, so it is not needed"
                if problem.costs_the_vote:
                    problem.means = f"It may have held more than the log does: {_CATCHES_UP}"
            else:
                problem.cure, problem.costs_the_vote = Cure.DROP_LOG_AND_SNAPSHOT, True
                problem.means = f"The log lacks its entries: {_CATCHES_UP}{_RESTORE}"

    def _claimed_index(self) -> int:
        """Return the last index that a damaged snapshot claims to cover, or 0 if it can't be
        read."""
        with self._folder.read(self._snapshots.name) as file:
            head = HEAD.fullmatch(file.readline(1 << 20))
        return int(head[1]) if head is not None else 0

    def _has(self, cure: Cure) -> bool:
        return any(problem.cure is cure for problem in self._found.problems)

    def _look_for_strays(self) -> None:
        node = self._found.node
        for end in (
            ".log.tmp",
            ".log.new",
            ".storage.tmp",
            ".state_machine.tmp",
            ".state_machine.part",
        ):
            if self._folder.exists(node + end):
                self._found.notes.append(
                    f"{node}{end} was left by an interruption; the node removes it when it starts"
                )
