"""The start of a node: its files recovered, its core as it was by them.

Done by a process that starts, and again by one whose node was shut down and is to come back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from ..common.config import ConfigError, Configuration, Pace
from ..common.level import LEVEL, new_cluster
from ..logmanager import LogManager
from ..raft.change import advice
from ..raft.effects import Effects, HardState
from ..raft.levels import is_foreign
from ..raft.node import RawNode, node_from_disk
from ..raft.state import Options
from ..raft.view import NodeView
from ..state.machines import Machines
from ..storage.birth import brings_entries, is_hand_written
from ..storage.disk import DamagedFiles, FilesRefused
from ..storage.folder import Folder, can_be_written_by_others
from ..storage.recovery import Recovered
from ..storage.repair import repair_before_start
from .clock import Clock

TRAILING_BYTES = 4 << 20  # of entries that a snapshot holds, kept in memory
INCARNATION_MAX = 2**32  # numbers that distinguish one start of a node from another
ALONE_AND_LOST = (
    "{name} has lost files, or a part of them, and is the only member: there is nobody "
    "to catch up from. Restore all its files from one backup; {go_on}or remove {name}.log, "
    "{name}.storage, {name}.state_machine and .{name}.born, and begin anew and empty. If others "
    "were added since, move {name}.log and {name}.state_machine away and start with --join "
    "HOST:PORT of one of them"
)
GO_ON = "or go on with what is left: raftline recover {name}; "
OF_TWO_CLUSTERS = (
    "{name}.storage is of cluster {known}, and {name}.log or {name}.state_machine of cluster "
    "{in_log}. If `raftline recover {name}` was interrupted, run it again; else put all files of "
    "{name} back from one copy"
)


class Startup:
    """Recovers one node from its files, as often as it is asked to."""

    def __init__(
        self,
        name: str,
        configuration: Configuration,
        say: Callable[[str], None],
        *,
        joins: bool = False,
        machines: Machines | None = None,
        never_ran: bool = False,
        is_private: bool = False,
    ) -> None:
        """Prepare; `never_ran` is an operator's word for the first start alone
        (storage/recovery.py). The files of a node that `is_private` are for their owner alone."""
        self.name = name
        self.configuration = configuration
        self._say = say
        self._joins = joins
        self.first_term = 0  # in which a node begins that was just born
        self._machines = machines
        self._never_ran = never_ran
        self.is_private = is_private

    def folder(self) -> Folder:
        """Return the folder of the node's files, not locked yet."""
        return Folder(self.configuration.folder, is_private=self.is_private)

    def recover(self) -> tuple[LogManager, Recovered]:
        """Return what the files hold, and the manager that holds them open from now on.

        Raises:
            StorageError: the node must not start from them; one line explains why.
        """
        members = self.configuration.members
        known = {} if self._joins else {name: str(where) for name, where in members.items()}
        folder = self.folder()
        logmanager = LogManager(self.name, folder, known, self._machines)
        never_ran, self._never_ran = self._never_ran, False
        if self._joins:
            _check_that_it_brings_nothing(folder, self.name)
        recovered = self._recovered(logmanager, never_ran)
        if recovered.hard_state.term < self.first_term and recovered.log.last_index == 0:
            recovered.hard_state = HardState(self.first_term, None)
            logmanager.persist([Effects(save=recovered.hard_state)])
        for note in recovered.notes:
            self._say(note)
        if self.is_private and can_be_written_by_others(folder.path):
            self._say(
                f"[!] {folder.path} can be written by others of this machine, who may replace the "
                f"files of {self.name}: chmod go-w {folder.path}"
            )
        return logmanager, recovered

    def _recovered(self, logmanager: LogManager, never_ran: bool) -> Recovered:
        """Read the files. Damaged ones are kept aside where others are there to catch up from:
        without a vote until that is done (raft/recovering.py).

        Raises:
            FilesRefused: the node must not start from them.
        """
        try:
            return logmanager.recover(never_ran=never_ran, joins=self._joins)
        except DamagedFiles:
            if never_ran or not set(self.configuration.members) - {self.name}:
                raise
        for line in repair_before_start(self.folder(), self.name):
            self._say(f"[!] {line}")
        return logmanager.recover(joins=self._joins)


def _check_that_it_brings_nothing(folder: Folder, name: str) -> None:
    """A joiner's entries are those of its cluster: a person's terms may be beyond all of them.

    Raises:
        FilesRefused: its log was written by hand.
    """
    log = f"{name}.log"
    if folder.exists(f"{name}.storage"):
        return  # it began before: a log without its base line is damaged
    if folder.exists(log) and is_hand_written(folder, log):
        raise brings_entries(log, "the file")


def node_of(
    name: str,
    recovered: Recovered,
    pace: Pace,
    clock: Clock,
    *,
    heartbeat_ms: int,
    leased: bool,
    compact_bytes: int,
) -> RawNode:
    """Return the core as it was by its files."""
    options = Options(
        pace.election_timeout_ms,
        heartbeat_ms,
        lease=leased,
        trailing_bytes=min(TRAILING_BYTES, compact_bytes // 2),
        level=LEVEL,
        cluster_if_new=new_cluster(),
    )
    return node_from_disk(
        name,
        recovered.members,
        recovered.log,
        recovered.hard_state,
        options,
        _picker(pace),
        clock.now_ms(),
        recovering=recovered.recovering,
        newborn=recovered.newborn,
        may_be_new=recovered.may_be_new,
        incarnation=random.SystemRandom().randrange(1, INCARNATION_MAX),
        snapshot=recovered.snapshot,
        level=recovered.level,
        base_cluster=recovered.base_cluster,
        cluster=recovered.cluster,
    )


def _picker(pace: Pace) -> Callable[[], int]:
    """Return the source of election timeouts: chance, which the core itself never uses."""
    chance = random.Random()  # seeded by the kernel; asked at every heartbeat
    return lambda: pace.election_timeout_ms + int(chance.random() * pace.election_spread_ms)


def check_member(view: NodeView, configuration: Configuration) -> list[str]:
    """Return what to print about a node's place in the cluster, as its log has it.

    Raises:
        ConfigError: the log begins with a cluster that this node was not born in, nor ever added
            to.
        FilesRefused: it has lost entries, and no other member can have them; or its files are of
            two clusters.
    """
    name, configurations, members = view.name, view.configurations, view.membership
    if not members.names:
        return [f"[*] {name} knows no members yet: it waits until a leader adds it"]
    _check_cluster(view)
    known = " ".join(members.names)
    is_known = configurations.has_known(name)
    if not is_known and view.log.base_index == 0 and configurations.at(0).names:
        raise ConfigError(
            f"{name} is no member of the cluster in its log ({known}): is this the "
            f"log of another node? Put its own {name}.log back, or start it elsewhere"
        )
    if view.recovering and set(members.names) == {name}:
        raise _refused_alone(view)
    notes = []
    if not is_known:  # a snapshot, or entries, from before it was added, or long after it left
        notes.append(
            f"[!] {name} is no member as far as its log goes ({known}): it waits for a leader "
            "that knows better, or adds it"
        )
    elif name not in members.names:
        removed_by = configurations.removed_by(name)
        notes.append(
            f"[!] {name} was removed from the cluster by entry {removed_by} of its log. "
            "Stop it; to have it back, add it again"
        )
    notes += _about_the_list(configuration, members.names)
    if name in members.voters and (warning := advice(len(members.voters))):
        notes.append(f"[!] {warning}")
    return notes


def _check_cluster(view: NodeView) -> None:
    """Raise FilesRefused if NAME.storage is of another cluster than the other files."""
    known, in_log = view.cluster, view.levels.clusters.latest
    if is_foreign(known, in_log):
        raise FilesRefused(OF_TWO_CLUSTERS.format(name=view.name, known=known, in_log=in_log))


def _refused_alone(view: NodeView) -> FilesRefused:
    """Return the refusal of an only member that lost files. Without an entry and a term, nothing
    is left that `recover` could go on with."""
    go_on = GO_ON.format(name=view.name) if view.log.last_index or view.term else ""
    return FilesRefused(ALONE_AND_LOST.format(name=view.name, go_on=go_on))


def _about_the_list(configuration: Configuration, members: Sequence[str]) -> list[str]:
    """Return a warning if the list of members is not the one of the log, by which a node goes."""
    known, listed = " ".join(members), configuration.members
    if configuration.unread:
        return [
            f"[!] {configuration.unread}. The members are those of the log: {known}. Let this user "
            "read the file, or remove it"
        ]
    if listed and set(members) != set(listed):
        return [
            f"[!] the log says the members are {known}, {configuration.path} says "
            f"{' '.join(listed)}: the log holds"
        ]
    return []
