"""The plan of a start: what a node's files hold, and what is wrong with them. It only reads.

A start carries the plan out, or ends with the plan's refusal (recovery.py). `raftline fsck` prints
the plan, and `--repair` applies its cures (repair.py). Nothing else judges these files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ..common.effects import applies, own_parts
from ..raft.identity import is_foreign, name_of_part, why_lacking
from ..raft.log import Log
from ..raft.membership import Configurations
from . import birth
from .disk import (
    EARLIER,
    OF_AN_EARLIER_BUILD,
    BuildRefused,
    CorruptLog,
    DamagedFiles,
    DamagedStorage,
    FilesRefused,
)
from .folder import Folder
from .hard_state import STARTS_OVER, HardStateFile, LogState, Mark, Promise
from .log_file import beside
from .log_reader import LogRead, LogReader
from .snapshot_file import SnapshotFile
from .snapshot_lines import HEAD, LoadedSnapshot
from .sums import chained

_FIRST = 1000  # entries among which a build before the first release wrote its level
_CATCHES_UP = "the node catches up from the others, without a vote until then"
_ALONE = "; where it is the only member: raftline recover"
_RESTORE = "; where it is the only member: restore all its files from one backup"
_EMPTY = "; where it is the only member: restore all its files, or remove {} and start over"
MAY_BE_NEW = "{} may be new or may have lost everything: it has no vote until it has caught up"

DIVERGED = (
    "the state of {} differs from that of the others. Its next start keeps its log and its "
    "snapshot aside, and gets the state again from them"
)
QUARANTINED = (
    "the state of {} differs from that of the others. It keeps its files, and has no vote and "
    "serves no reads, until a leader shows that a quorum of the others holds all its entries"
)


class Cure(Enum):
    """The way in which `repair` mends a problem."""

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
    costs_the_vote: bool = False  # the node then has no vote until it has caught up
    refusal: type[FilesRefused] | None = None  # the error of a start before a repair
    cause: BaseException | None = None  # of a file that can't be read; it decides the exit status

    def __str__(self) -> str:
        return f"{self.subject}. {self.means}" if self.means else self.subject

    @property
    def subject(self) -> str:
        """The file, and what is wrong with it."""
        comma = "" if self.what.startswith((" ", ":")) else ", "
        return f"{self.file}{comma}{self.what}"


@dataclass
class Plan:
    """The contents of one node's files, and their problems."""

    node: str
    promise: Promise | None = None
    has_log: bool = False  # the log is there, and not empty
    log: LogRead | None = None
    by_hand: Log | None = None  # the entries of a hand-written log, which a start adopts
    snapshot: LoadedSnapshot | None = None
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # lines to print that are not problems
    strays: list[str] = field(default_factory=list)  # left by an interruption

    @property
    def cluster(self) -> str:
        """The identity of the cluster from NAME.storage, or "" if it is not known."""
        return self.promise.cluster if self.promise is not None else ""

    @property
    def held(self) -> Mark:
        """The last entry of the snapshot."""
        return Mark(0, 0) if self.snapshot is None else Mark(*self.snapshot.snapshot[:2])

    @property
    def chain(self) -> int:
        """The chain at the last entry of the log, recomputed from its base (sums.py)."""
        if self.log is None:
            return 0
        log = self.log.log
        first = log.base_index + 1
        return chained(self.log.chain, log.base_term, log.entries(first, log.last_index))

    @property
    def losses(self) -> list[Problem]:
        """The problems that leave the node without a vote."""
        return [problem for problem in self.problems if problem.costs_the_vote]

    @property
    def has_vote(self) -> bool:
        """Whether a node that starts from these files, perhaps after their repair, has a vote."""
        states = (*STARTS_OVER, LogState.UNKNOWN, LogState.QUARANTINED)
        return not self.losses and (self.promise is None or self.promise.state not in states)

    def has(self, cure: Cure) -> bool:
        """Return whether a problem has this cure."""
        return any(problem.cure is cure for problem in self.problems)

    def check(self) -> None:
        """Raise FilesRefused if a start needs a repair first, or a person."""
        for problem in self.problems:
            if problem.refusal is not None:
                repair = (
                    f". {self.node} does not start before its files are repaired: "
                    f"raftline fsck --repair {self.node}"
                )
                text = f"{problem}{repair if problem.cure is not Cure.NONE else ''}"
                raise problem.refusal(text) from problem.cause

    def check_that_it_never_ran(self) -> None:
        """Compare the operator's claim with the files.

        Raises:
            FilesRefused: the files contradict it.
        """
        promise, why = self.promise, ""
        if promise is None:
            why = "it left traces here" if self.losses else ""
        elif promise.state in (LogState.WHOLE, LogState.QUARANTINED):
            why = "it has begun here before"
        elif promise.state in STARTS_OVER or (self.losses and not self.has_log):
            why = "it has lost files"
        elif self.losses:
            why = self.losses[0].subject
        if why:
            raise FilesRefused(
                f"--new says that {self.node} never ran before, but {why}. Start it without --new"
            )

    @property
    def not_ours(self) -> str:
        """Why the sound files are not this node's, or not of one cluster; "" if they are. No node
        runs with them, but `raftline recover` uses them: an interrupted one leaves such files."""
        left = (one for one in self.problems if one.cure is Cure.NONE and one.refusal is None)
        return str(next(left, ""))


def nodes_in(names: list[str]) -> list[str]:
    """Return the nodes that these files belong to."""
    ends = (".log", ".storage", ".state_machine")
    nodes = {name.removesuffix(end) for name in names for end in ends if name.endswith(end)}
    born = {name[1:].removesuffix(".born") for name in names if name == birth.trace(name[1:-5])}
    return sorted(nodes | born)  # a node may have lost all files but the trace of its birth


def read_plan(folder: Folder, node: str, snapshots: SnapshotFile | None = None) -> Plan:
    """Return the plan of a node's start. A start gives the snapshot file that it will use.

    Raises:
        FilesRefused: a file can't be read.
        BuildRefused: a build from before the first release wrote the log or the snapshot, or this
            build does not apply their entries.
    """
    return _Reading(folder, node, snapshots or SnapshotFile(folder, node)).run()


class _Reading:
    """Reads the files of one node into its plan."""

    def __init__(self, folder: Folder, node: str, snapshots: SnapshotFile) -> None:
        self._folder = folder
        self._plan = Plan(node)
        self._storage = HardStateFile(folder, node)
        self._snapshots = snapshots
        self._log_name = f"{node}.log"

    def run(self) -> Plan:
        plan, log = self._plan, self._log_name
        plan.has_log = self._folder.exists(log) and self._folder.size(log) > 0
        is_by_hand = plan.has_log and birth.is_hand_written(self._folder, log)
        self._read_storage(is_by_hand=is_by_hand)
        self._read_snapshot()
        promise = plan.promise
        if not plan.has_log:
            self._judge_missing_log()
        elif is_by_hand and self._adopts():
            self._read_by_hand()
        else:
            self._read_log()
        self._judge_terms()
        if promise is not None and promise.state is LogState.UNKNOWN:
            plan.notes.append(MAY_BE_NEW.format(plan.node))
        elif promise is not None and promise.state is LogState.RECOVERING:
            plan.notes.append(f"{plan.node} has lost files, and no vote until it has caught up")
        elif promise is not None and promise.state is LogState.DIVERGED:
            plan.notes.append(DIVERGED.format(plan.node))
        elif promise is not None and promise.state is LogState.QUARANTINED:
            plan.notes.append(QUARANTINED.format(plan.node))
        self._compare_clusters()
        self._judge_needs()
        self._find_strays()
        return plan

    def _add(
        self,
        file: str,
        what: str,
        means: str,
        cure: Cure,
        good_bytes: int = 0,
        *,
        refusal: type[FilesRefused] | None = None,
        cause: BaseException | None = None,
    ) -> None:
        costs_the_vote = cure not in (Cure.NONE, Cure.CUT_TAIL)
        problem = Problem(file, what, means, cure, good_bytes, costs_the_vote, refusal, cause)
        self._plan.problems.append(problem)

    def _read_storage(self, *, is_by_hand: bool) -> None:
        plan, name = self._plan, self._storage.name
        try:
            plan.promise = self._storage.load()
        except DamagedStorage as damage:
            self._add(
                name,
                str(damage).removeprefix(name),
                f"The node's term and vote are lost: {_CATCHES_UP}{_ALONE}",
                Cure.DROP_STORAGE,
            )
            return
        except FilesRefused as refused:
            what = str(refused).removeprefix(name)
            cause = refused.__cause__
            self._add(name, what, "", Cure.NONE, refusal=type(refused), cause=cause)
            return
        if plan.promise is None and self._has_traces(is_by_hand=is_by_hand):
            self._judge_missing_storage()

    def _adopts(self) -> bool:
        """Return whether the node adopts a hand-written log: it has not begun, or began to adopt
        it. For other nodes, a log without a base line is damaged."""
        if self._plan.promise is not None:
            has_snapshot = self._folder.exists(self._snapshots.name)
            return self._plan.promise.state is LogState.ADOPTING and not has_snapshot
        return all(problem.file != self._storage.name for problem in self._plan.problems)

    def _has_traces(self, *, is_by_hand: bool) -> bool:
        """Return whether the files other than NAME.storage show that this node began before."""
        if self._folder.exists(self._snapshots.name):
            return True
        if is_by_hand:
            return False  # an initial log
        return self._folder.exists(birth.trace(self._plan.node)) or (
            self._plan.has_log and not birth.is_as_born(self._folder, self._log_name)
        )

    def _judge_missing_storage(self) -> None:
        plan = self._plan
        has_snapshot = self._folder.exists(self._snapshots.name)
        trace = birth.trace(plan.node)
        self._add(
            self._storage.name,
            " is gone" if plan.has_log else f" and {self._log_name} are gone",
            f"The node's term and vote are lost: {_CATCHES_UP}"
            f"{_ALONE if plan.has_log or has_snapshot else _EMPTY.format(trace)}",
            Cure.TAKE_VOTE,
        )

    def _read_snapshot(self) -> None:
        name = self._snapshots.name
        if not self._folder.exists(name):
            return
        try:
            self._plan.snapshot = self._snapshots.read()
        except ValueError as error:
            means = "The snapshot can't be trusted"
            self._add(name, str(error), means, Cure.DROP_SNAPSHOT, refusal=DamagedFiles)

    def _judge_missing_log(self) -> None:
        plan, promise = self._plan, self._plan.promise
        for problem in plan.problems:
            if problem.cure is Cure.DROP_SNAPSHOT:
                problem.cure = Cure.DROP_LOG_AND_SNAPSHOT
                problem.means = (
                    f"Without a log, nothing else holds the state: {_CATCHES_UP}{_RESTORE}"
                )
        if promise is None or promise.state in STARTS_OVER:
            return
        held, mark = plan.held.index, promise.mark.index
        if mark > held or promise.term > 0:
            lost = f" ends at entry {held}, but entry {mark} was synced before"
            self._add(
                self._log_name,
                lost if mark > held else " is gone, and its entries are unknown",
                f"It is missing or empty: {_CATCHES_UP}{self._alone(0)}",
                Cure.TAKE_VOTE,
            )

    def _alone(self, good_bytes: int) -> str:
        """Return the advice for a sole member whose log has this many sound bytes."""
        return _ALONE if good_bytes or self._plan.snapshot is not None else _RESTORE

    def _read_by_hand(self) -> None:
        log = self._log_name
        try:
            self._plan.by_hand = birth.read_by_hand(self._folder, log)
        except birth.NotByHand as error:
            self._add(log, error.what, error.means, Cure.NONE, refusal=FilesRefused)
            return
        self._plan.notes.append(f"{log} was written by hand; the node adopts it when it starts")

    def _read_log(self) -> None:
        plan, promise = self._plan, self._plan.promise
        mark = Mark(0, 0) if promise is None else promise.mark
        try:
            plan.log = LogReader(self._folder, self._log_name, mark, plan.held.index).read()
        except CorruptLog as damage:
            sound = f"entries up to {damage.last_index}" if damage.good_bytes else "nothing"
            self._add(
                self._log_name,
                damage.where,
                f"Entries that were acknowledged are damaged; sound before it: {sound}. With that "
                f"alone {_CATCHES_UP}{self._alone(damage.good_bytes)}",
                Cure.CUT_LOG,
                damage.good_bytes,
                refusal=DamagedFiles,
            )
            self._judge_snapshot(None)
            return
        self._judge_snapshot(plan.log)
        self._judge_log(plan.log)
        self._judge_base(plan.log.log)
        is_recovering = promise is not None and promise.state in STARTS_OVER
        if not (plan.log.holds_mark or is_recovering):
            self._judge_mark(plan.log.log, mark)

    def _judge_log(self, log: LogRead) -> None:
        """Judge the members and the end of a sound log.

        Raises:
            BuildRefused: an entry is of a build from before the first release.
        """
        name, last = self._log_name, log.log.last_index
        for command in log.log.commands[:_FIRST]:  # NAME.storage may be lost
            if EARLIER.fullmatch(command.encode()):
                raise BuildRefused(f"{name}: {OF_AN_EARLIER_BUILD}")
        self._judge_members(log)
        if log.torn_bytes:
            self._add(
                name,
                f" ends in {log.torn_bytes:,} torn bytes, after entry {last}",
                "A batch that was never acknowledged: nothing is lost without it",
                Cure.CUT_TAIL,
                log.good_bytes,
            )

    def _judge_members(self, log: LogRead) -> None:
        """Report a whole log, from its first entry on, of a cluster without this node."""
        node, members = self._plan.node, log.members
        configurations = Configurations(log.log.base_index, members, log.log.commands)
        is_whole = log.log.base_index == 0 and self._plan.snapshot is None
        if is_whole and members.names and not configurations.has_known(node):
            self._add(
                self._log_name,
                f" is of a cluster that {node} never was a member of ({' '.join(members.names)})",
                f"Is this the log of another node? Put {node}'s own back, or start it elsewhere",
                Cure.NONE,
            )

    def _judge_base(self, log: Log) -> None:
        """Report a log that begins after a snapshot if the snapshot is missing."""
        base, held = Mark(log.base_index, log.base_term), self._plan.held
        fits = base.index < held.index or base == held
        if fits or self._plan.has(Cure.DROP_LOG_AND_SNAPSHOT):
            return
        what = f"covers entries up to {held.index} of term {held.term}"
        if self._plan.snapshot is None:
            what = "is missing"
        self._add(
            self._log_name,
            f" begins after entry {base.index} of term {base.term}",
            f"{self._snapshots.name}, the snapshot with the earlier entries, {what}: "
            f"{_CATCHES_UP}{_RESTORE}",
            Cure.DROP_LOG_AND_SNAPSHOT,
            refusal=DamagedFiles,
        )

    def _judge_mark(self, log: Log, mark: Mark) -> None:
        """Report a log that lacks the last entry that NAME.storage calls synced."""
        what = f" lacks entry {mark.index} of term {mark.term}, which was synced before"
        if log.last_index < mark.index:
            what = f" ends at entry {log.last_index}, but entry {mark.index} was synced before"
        means = f"It was cut, or replaced by an older one: {_CATCHES_UP}{_ALONE}"
        self._add(self._log_name, what, means, Cure.TAKE_VOTE)

    def _judge_terms(self) -> None:
        """Report a promised term that is lower than the term of an entry: no node writes that."""
        plan, promise = self._plan, self._plan.promise
        if promise is None or promise.state in STARTS_OVER:
            return
        # A start that adopts a log takes its term over.
        term = promise.term if plan.by_hand is None else plan.by_hand.last_term
        in_log = 0 if plan.log is None else plan.log.log.last_term
        highest = max(in_log, plan.held.term)
        if term < highest:
            holder = self._log_name if in_log == highest else self._snapshots.name
            self._add(
                self._storage.name,
                f" says term {term}, but {holder} has an entry of term {highest}",
                f"One of the two is from another time or node: {_CATCHES_UP}",
                Cure.DROP_STORAGE,
                refusal=FilesRefused,
            )

    def _judge_snapshot(self, log: LogRead | None) -> None:
        """Report the effect of a damaged snapshot, which depends on the contents of the log."""
        for problem in self._plan.problems:
            if problem.cure is not Cure.DROP_SNAPSHOT:
                continue
            index = self._claimed_index()
            if log is not None and log.log.base_index == 0:
                problem.costs_the_vote = not 0 < index <= log.log.last_index
                problem.means = "The log holds all its entries, so it is not needed"
                if problem.costs_the_vote:
                    problem.means = f"It may have held more than the log does: {_CATCHES_UP}"
            else:
                problem.cure = Cure.DROP_LOG_AND_SNAPSHOT
                problem.means = f"The log lacks its entries: {_CATCHES_UP}{_RESTORE}"

    def _claimed_index(self) -> int:
        """Return the last index that a damaged snapshot claims to cover, or 0 if it can't be
        read."""
        with self._folder.read(self._snapshots.name) as file:
            head = HEAD.fullmatch(file.readline(1 << 20))
        return int(head[1]) if head is not None else 0

    def _compare_clusters(self) -> None:
        """Report files of two clusters."""
        plan = self._plan
        in_log = plan.log.identity.latest if plan.log is not None else ""
        in_snapshot = plan.snapshot.cluster if plan.snapshot is not None else ""
        for file, theirs in ((self._log_name, in_log), (self._snapshots.name, in_snapshot)):
            if is_foreign(plan.cluster, theirs):
                self._add(
                    file,
                    f" is of cluster {theirs}, and {self._storage.name} of cluster {plan.cluster}",
                    f"If `raftline recover {plan.node}` was interrupted, run it again; otherwise "
                    f"restore all files of {plan.node} from one copy",
                    Cure.NONE,
                )

    def _judge_needs(self) -> None:
        """Check that this build applies the entries of these files, and later ones, as the others
        do. A member that is alone differs from nobody, so it needs the extensions alone.

        Raises:
            BuildRefused: it does not.
        """
        plan = self._plan
        held, log = plan.snapshot, plan.log
        needs = {self._snapshots.name: held.needs if held is not None else ""}
        if log is not None:
            needs[self._log_name] = log.identity.needs.latest
        for name, need in needs.items():
            why = why_lacking(need, applies()) if need else ""
            if why and self._is_alone():
                why = why_lacking(
                    need, [each for each in need.split() if name_of_part(each) in own_parts()]
                )
            if why:
                raise BuildRefused(
                    f"{name}: its entries {why} (docs/operate/upgrades.md). Nothing was changed"
                )

    def _is_alone(self) -> bool:
        """Whether these files name no other member."""
        held, log = self._plan.snapshot, self._plan.log
        members = held.members if held is not None else None
        if log is not None:
            own = Configurations(log.log.base_index, members or log.members, log.log.commands)
            members = own.latest
        return members is not None and members.names == (self._plan.node,)

    def _find_strays(self) -> None:
        log, storage, snapshot = self._log_name, self._storage.name, self._snapshots.name
        ends = (f"{log}.tmp", beside(self._plan.node), f"{log}.seed.tmp", f"{storage}.tmp")
        for name in (*ends, f"{snapshot}.tmp", f"{snapshot}.part"):
            if self._folder.exists(name):
                self._plan.strays.append(name)
                self._plan.notes.append(
                    f"{name} was left by an interruption; the node removes it when it starts"
                )
