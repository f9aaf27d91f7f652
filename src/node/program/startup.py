"""The start of a node: recover its files, and make its core from them.

A process does this when it starts, and again when its node was shut down and has to come back.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from ...common.address import is_loopback, split
from ...common.config import Configuration, Pace
from ...common.effects import applies, own_parts
from ...common.identities import new_cluster
from ...logmanager import LogManager
from ...raft.change import advice
from ...raft.effects import Effects, HardState
from ...raft.newborn import PATIENCE
from ...raft.node import RawNode, node_from_disk
from ...raft.node_view import NodeView
from ...raft.state import Options
from ...state.commands.machines import Machines
from ...storage.birth import brings_entries, have_begun, is_hand_written
from ...storage.disk import DamagedFiles, FilesRefused
from ...storage.folder import Folder, can_be_written_by_others
from ...storage.recovery import Recovered
from ...storage.repair import repair_before_start
from ..clock import Clock

TRAILING_BYTES = 4 << 20  # of entries that are in the snapshot, but stay in memory
INCARNATION_MAX = 2**32  # numbers that distinguish one start of a node from another
ALONE_AND_LOST = (
    "{name} has lost files, or a part of them, and is the only member: there is no node "
    "to catch up from. Restore all its files from one backup; {alternative}or remove {name}.log, "
    "{name}.storage, {name}.state_machine and .{name}.born, and start again with an empty node. If "
    "others were added since, move {name}.log and {name}.state_machine away and start with --join "
    "HOST:PORT of one of them"
)
ALTERNATIVE = "or continue with what is left: raftline recover {name}; "


class Startup:
    """Recovers one node from its files; it may do so several times."""

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
        floor: bool = False,
    ) -> None:
        """`never_ran` is an operator's claim about the first start only (storage/recovery.py). With
        `is_private`, only the owner may read the node's files. With `floor`, it announces no
        build."""
        self.name = name
        self.configuration = configuration
        self._say = say
        self._joins = joins
        self.first_term = 0  # the term in which a newborn node begins
        self._machines = machines
        self._never_ran = never_ran
        self.is_private = is_private
        self.is_at_floor = floor

    def folder(self) -> Folder:
        """Return the folder of the node's files, not locked yet."""
        return Folder(self.configuration.folder, is_private=self.is_private)

    def recover(self) -> tuple[LogManager, Recovered]:
        """Return the manager that keeps the files open from now on, and their content.

        Raises:
            StorageError: the node must not start from these files; one line explains why.
        """
        members = self.configuration.members
        addresses = {} if self._joins else {name: str(where) for name, where in members.items()}
        folder = self.folder()
        logmanager = LogManager(self.name, folder, addresses, self._machines)
        never_ran, self._never_ran = self._never_ran, False
        if self._joins:
            _check_that_it_brings_nothing(folder, self.name)
        recovered = self._recovered(logmanager, never_ran)
        if recovered.not_ours:
            logmanager.close()
            raise FilesRefused(recovered.not_ours)
        if self.is_at_floor and recovered.last_cluster:
            logmanager.close()
            raise FilesRefused(
                f"{self.name}: its log has an identity, {recovered.last_cluster}: start it without "
                "--floor, which is for a cluster that has begun with it"
            )
        if recovered.hard_state.term < self.first_term and recovered.log.last_index == 0:
            recovered.hard_state = HardState(self.first_term, None)
            logmanager.persist([Effects(save=recovered.hard_state)])
        for note in recovered.notes:
            self._say(note)
        if self.is_private and can_be_written_by_others(folder.path):
            self._say(
                f"[!] {folder.path} can be written by other users of this machine, who may replace "
                f"the files of {self.name}: chmod go-w {folder.path}"
            )
        return logmanager, recovered

    def patience(self, recovered: Recovered) -> int | None:
        """Return after how many election timeouts a newborn begins without silent members
        (raft/newborn.py). None, for never, unless all members are on this machine, where a person
        sees which of them run. A member whose files lie in this folder is not taken for new there.
        """
        addresses = recovered.members.addresses
        if not all(is_loopback(split(address)[0]) for address in addresses.values()):
            return None
        ran = have_begun(self.folder(), [name for name in addresses if name != self.name])
        if ran and recovered.newborn:
            files = f"has files in {self.configuration.folder}"
            self._say(f"[*] {self.name} has no files, and {' and '.join(ran)} {files}: it waits")
        return None if ran else PATIENCE

    def _recovered(self, logmanager: LogManager, never_ran: bool) -> Recovered:
        """Read the files. If there are other members to catch up from, set damaged files aside: the
        node then has no vote until it has caught up (raft/recovering.py).

        Raises:
            FilesRefused: the node must not start from these files.
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
    """Check that a joiner has no log that was written by hand: its entries must come from its
    cluster, and the terms of such a log may exceed all terms there.

    Raises:
        FilesRefused: the log was written by hand.
    """
    log = f"{name}.log"
    if folder.exists(f"{name}.storage"):
        return  # the node ran before: a log without its base line is damaged
    if folder.exists(log) and is_hand_written(folder, log):
        raise brings_entries(log, "the file")


def node_of(
    startup: Startup,
    recovered: Recovered,
    pace: Pace,
    clock: Clock,
    *,
    heartbeat_ms: int,
    leased: bool,
    compact_bytes: int,
) -> RawNode:
    """Return the core, restored from its files."""
    options = Options(
        pace.election_timeout_ms,
        heartbeat_ms,
        lease=leased,
        trailing_bytes=min(TRAILING_BYTES, compact_bytes // 2),
        cluster_if_new="" if startup.is_at_floor else new_cluster(),
        applies=applies(),
        own_parts=tuple(f"{part}={digest}" for part, digest in own_parts().items()),
        patience=startup.patience(recovered),
    )
    return node_from_disk(
        startup.name,
        recovered.members,
        recovered.log,
        recovered.hard_state,
        options,
        _picker(pace),
        clock.now_ms(),
        recovering=recovered.recovering,
        newborn=recovered.newborn,
        may_be_new=recovered.may_be_new,
        differs=recovered.differs,
        received_index=recovered.received,
        incarnation=random.SystemRandom().randrange(1, INCARNATION_MAX),
        snapshot=recovered.snapshot,
        base_cluster=recovered.base_cluster,
        cluster=recovered.cluster,
        needs=recovered.needs,
    )


def _picker(pace: Pace) -> Callable[[], int]:
    """Return the random source of election timeouts; the core itself uses no randomness."""
    chance = random.Random()  # seeded by the kernel; used at every heartbeat
    return lambda: pace.election_timeout_ms + int(chance.random() * pace.election_spread_ms)


def check_member(view: NodeView, configuration: Configuration) -> list[str]:
    """Return what to print about a node's place in the cluster, according to its log.

    Raises:
        FilesRefused: the node has lost entries that no other member can have.
    """
    name, configurations, members = view.name, view.configurations, view.membership
    if not members.names:
        return [f"[*] {name} knows no members yet: it waits until a leader adds it"]
    names = " ".join(members.names)
    is_known = configurations.has_known(name)
    if view.recovering and set(members.names) == {name}:
        raise _refused_alone(view)
    notes = []
    if not is_known:  # its log or snapshot is from before it was added, or long after it left
        notes.append(
            f"[!] {name} is not a member as far as its log goes ({names}): it waits for a leader "
            "that knows more, or adds it"
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


def _refused_alone(view: NodeView) -> FilesRefused:
    """Return the refusal to start a single member that lost files. Without an entry and a term,
    nothing is left that `recover` could use."""
    alternative = ALTERNATIVE.format(name=view.name) if view.log.last_index or view.term else ""
    return FilesRefused(ALONE_AND_LOST.format(name=view.name, alternative=alternative))


def _about_the_list(configuration: Configuration, members: Sequence[str]) -> list[str]:
    """Return a warning if the file lists other members than the log, which is authoritative."""
    names, file_members = " ".join(members), configuration.members
    if configuration.unread:
        return [
            f"[!] {configuration.unread}. The members are those of the log: {names}. Let this user "
            "read the file, or remove it"
        ]
    if file_members and set(members) != set(file_members):
        return [
            f"[!] the log says the members are {names}, {configuration.path} says "
            f"{' '.join(file_members)}: the log holds"
        ]
    return []
