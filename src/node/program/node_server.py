"""A node: its parts, the methods for its connections and its driver, its start and its stop."""

from __future__ import annotations

import json
import os
import secrets
import ssl
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import cast

from ...access.login import Access
from ...access.secret import NO_AUTH, PeerAuth
from ...access.tls import Tls, check_names
from ...common.address import Address, canonical_host
from ...common.arguments import build
from ...common.config import Pace
from ...common.effects import own_parts
from ...common.identities import Build
from ...common.interpreter import interpreter_facts
from ...common.process.allocator import Tidy
from ...common.process.console import Console
from ...common.process.guarded_thread import report_lost
from ...common.process.signals import WAIT_S_MAX, threads_without_signals
from ...common.process.wakeup import Wakeup
from ...common.version import VERSION
from ...logmanager import LogManager
from ...net.connections.listener import Listener
from ...net.peers.build_exchange import Builds, Foreigners, ask_build
from ...net.peers.opening import why_not_accepted
from ...net.peers.peers import Peer, PeerBook, Speakers
from ...net.protocol.doors import doors_at
from ...net.protocol.host import Batch, Orders, Origin, ReplySink, RequestRoom
from ...net.protocol.refusal_counts import RefusalCounts
from ...net.protocol.turns import CALLS_AT_ONCE, Turns
from ...net.reply_budget import ReplyRoom
from ...net.state_copies import Backups
from ...raft.change import Change
from ...raft.effects import Effects
from ...raft.identity import CannotApply
from ...raft.log import Snapshot
from ...raft.messages import AppendEntries, InstallSnapshot, Message
from ...raft.node import RawNode
from ...state.commands.user_commands import may_add_first_admin
from ...state.user_table import UserTable
from ...state.work import is_quick, needs_trial
from ...storage.disk import EXIT_FILES, StorageError, exit_status_of
from ...wire.commands.member_commands import membership_facts
from ...wire.commands.parsing import ReadSettings
from ...wire.commands.rights import LeaseKeys
from ...wire.limits import (
    GARBAGE_BYTES,
    HISTORY_BYTES,
    HISTORY_EVENTS,
    PAIRS_BYTES,
    WATCHES_MAX,
)
from ...wire.operands.operands import Limits
from ...wire.peer_lines import append_line, are_one_line, format_message, pieces_of
from ...wire.refusal import (
    AT_FLOOR,
    NO_IDENTITY,
    NO_LEADER,
    NO_QUORUM,
    NOT_CHANGED,
    NOT_REACHED,
    RequestRefused,
    not_leader,
)
from ..clock import SYSTEM
from ..disk_room import DiskRoom, DiskSpace, disk_of, spares
from ..loop.driver import Driver
from ..loop.measures import disk_hangs
from ..loop.parts import KnownParts
from ..loop.quota import Quota
from ..snapshots.file_check import FileCheck
from ..snapshots.snapshot_threads import SnapshotThreads
from ..snapshots.snapshots import COMPACT_BYTES
from ..watches.watch_registry import WatchRegistry
from .observation import observers_of, recorded
from .slow_disk import SlowDisk
from .startup import Startup, node_of
from .traffic_log import TrafficLog

EXIT_BROKEN = 70
GIVE_BACK_CHECKS = 10  # waits of WAIT_S_MAX each, after which freed memory is given back
_ADDS_USER = "user-add "
LONGEST_SENDER = 128  # characters before the command of an entry, and its first word
CHECK_S = 0.1  # between two checks of a request that waits for the identity


class Server:
    """A node: the core and its driver, its peers, its listener, and its console lines. It is the
    `net.protocol.host.Host` of its connections; that protocol documents its methods."""

    # These belong to the current start. An order that restarts the node replaces them.
    node: RawNode
    driver: Driver
    quota: Quota
    mark_ready: Callable[[ReplySink], None]
    submit: Callable[..., None]
    transfer: Callable[[str | None], Batch]
    begin_without: Callable[[Sequence[str]], str]
    peer_disconnected: Callable[[str], None]
    watchers: WatchRegistry
    logmanager: LogManager
    book: PeerBook
    speakers: Speakers
    builds: Builds  # announced by the peers
    _first: Batch | None = None  # the entry that adds the first admin
    _noted_users: UserTable | None = None  # for which the connections were looked at
    _users_come_at = 0  # the last entry that may add the first admin
    on_stop: Callable[[], object] = bool  # bounds the time until its process has ended
    exit_status = 0
    checks_files = True  # write a file again if another program removed it

    def __init__(
        self,
        startup: Startup,
        pace: Pace,
        console: Console,
        *,
        readings: ReadSettings,
        compact_bytes: int = COMPACT_BYTES,
        history: tuple[int, int] = (HISTORY_EVENTS, HISTORY_BYTES),
        watches_max: int = WATCHES_MAX,
        max_bytes: int = PAIRS_BYTES,
        course_console: bool = False,
        record: Path | None = None,
        access: Access | None = None,
        peer_auth: PeerAuth = NO_AUTH,
        tls: Tls | None = None,
    ) -> None:
        """Prepare a node. `history` is the number of events to keep, and the number of their bytes;
        `max_bytes` is the bound for the keys; `record` is the file of the recording; `access` has
        the users of this node, if any; `peer_auth` is the proof that members need.

        Raises:
            ConfigError: a member has a name that a TLS handshake can't use.
        """
        if tls is not None:
            check_names(startup.configuration.members)
        self.name = startup.name
        self.pace = pace
        self.clock = SYSTEM
        self.slowest_ms = pace.election_timeout_ms + pace.election_spread_ms
        self.patience_ms = 4 * self.slowest_ms + 5000
        self.patience_s = self.patience_ms / 1000
        self.limits = Limits()
        self.readings = readings
        self.orders: Orders | None = None
        self.access: Access | None = Access() if access is None else access
        self.peer_auth, self.tls = peer_auth, tls
        self.is_down = False
        self._stopping = False
        self._identity_comes = threading.Condition(threading.Lock())
        self._was_at_floor = True
        self.reply_room, self.backups, self.refusals = ReplyRoom(), Backups(spares), RefusalCounts()
        self.doors = doors_at(self.limits, self.clock.day_s, self.new_token)
        self.calls = Turns(CALLS_AT_ONCE, self.clock.reader_s())
        self._slow_disk = SlowDisk(pace.election_timeout_ms / 1000)
        self.traffic_log = TrafficLog(console, course=course_console, is_private=startup.is_private)
        self.observers = observers_of(self.name, console.say, self.clock)
        self.foreigners = Foreigners(
            self.name, lambda: self.node.view.cluster, console.say, self.clock.now_s
        )
        self._startup = startup
        self._compact_bytes = compact_bytes
        self._history, self._watches_max, self._max_bytes = history, watches_max, max_bytes
        self._record, self._console = record, console
        self._formatted: tuple[AppendEntries | None, list[str], bytes] = (None, [], b"")  # the last
        self._end = Wakeup()  # set to stop: a signal handler may do that
        self.rest: Callable[[Wakeup], bool] = lambda end: end.wait(WAIT_S_MAX)

    def recover(self) -> None:
        """Recover from the files, and make the parts of the node; `start` starts them.

        Raises:
            StorageError: the node can't start from these files.
        """
        logmanager, recovered = self._startup.recover()
        self.logmanager = logmanager
        if self.access is not None:
            self.access.follow(logmanager.store.users, has_begun=not recovered.newborn)
            logmanager.store.on_users = self.access.follow
        self._noted_users = logmanager.store.users
        self._find_users(recovered.log.base_index + 1, recovered.log.commands)
        self.speakers = Speakers(self.pace.election_timeout_ms / 1000, self.clock.reader_s())
        self.node = node_of(
            self._startup,
            recovered,
            self.pace,
            self.clock,
            heartbeat_ms=self.heartbeat_ms(),
            leased=self.readings.mode == "lease",
            compact_bytes=self._compact_bytes,
        )
        if self._record is not None:
            self.node = recorded(self.node, self._record, self._console.say)
        self._print_lease(recovered.hard_state.lease_ms)
        disk = DiskSpace(partial(disk_of, logmanager.folder_path))
        self.quota = quota = Quota(logmanager.store, disk, self._max_bytes, say=self._console.say)
        hold_ms, clock = 2 * self.slowest_ms, self.clock
        parts = KnownParts(self.node.view, own_parts(), lambda name: self._build(name).version)
        self.driver = driver = Driver(self.node, logmanager, self, hold_ms, clock, quota, parts)
        self.mark_ready, self.submit = driver.ready_sinks.append, driver.submit
        self.transfer, self.begin_without = driver.transfer, driver.begin_without
        self.peer_disconnected, self.watchers = driver.peer_disconnected, driver.watchers
        self.builds = Builds(driver.peer_build)
        self.observers.follow(self.node, driver.core)
        driver.watchers.feed.history.bound(*self._history)
        driver.watchers.watches_max = self._watches_max
        self.book = PeerBook(self._startup.configuration.members, self._peer)
        self._follow_contacts("*")
        self._watch_files(driver, disk)

    def _watch_files(self, driver: Driver, disk: DiskSpace) -> None:
        """Prepare the threads that take and send snapshots, and the check for lost files."""
        say = self._console.say
        self._snapshot_threads = SnapshotThreads(
            driver, self.logmanager, self._post, say, self._compact_bytes
        )
        self.snapshots = snapshots = self._snapshot_threads.work
        self._file_check = FileCheck(self.logmanager, snapshots.write_again, say)
        snapshots.disk, snapshots.is_disk_short = disk.look, partial(disk.is_short, 2)
        self.disk_room = DiskRoom(self.logmanager, lambda: snapshots.growth_bytes, disk)

    def _print_lease(self, lease_ms: int) -> None:
        """Report a promise from before this start that outlasts the election timeout."""
        if lease_ms > self.pace.election_timeout_ms:
            self._console.say(
                f"[*] {self.name} may have promised its vote to a leader for {lease_ms / 1000:g} s "
                "at another pace (--reads lease): for that time it does not stand for election"
            )

    def _peer(self, peer: str, address: Address) -> Peer:
        """Return a connection to a member; it is not started yet."""
        return Peer(
            self.name,
            peer,
            address,
            self._answered,
            self.peer_disconnected,
            self._console.say,
            self.builds.record if self.announces_build else None,
            self.peer_auth,
            self.tls,
            self.foreigners,
        )

    # --- the methods for the driver (stepper.NodeRim) -------------------------------------------

    def send(self, message: Message) -> None:
        """Send a message to its peer."""
        if isinstance(message, InstallSnapshot):
            self.snapshots.send(message)
        elif isinstance(message, AppendEntries):
            self._send(message, self._append_line(message))
        else:
            self._post(message)

    def _append_line(self, message: AppendEntries) -> bytes:
        """Return the line of an AppendEntries. Peers at the same index share one line; others share
        at least the encoded entries."""
        last, entries, line = self._formatted
        if last is None or message.entries is not last.entries:
            entries = pieces_of(message.entries)
        elif are_one_line(message, last):
            return line
        line = append_line(message, entries)
        self._formatted = (message, entries, line)
        return line

    def _post(self, message: Message) -> None:
        self._send(message, f"{self.name}@{format_message(message)}\n".encode())

    def _send(self, message: Message, line: bytes) -> None:
        self.book.send(message.to, line)

    def wrote(self, arrived: Snapshot | None) -> None:
        """Check whether a snapshot is due, or a whole one has arrived."""
        self.snapshots.wrote(arrived)

    def give_up_late(self, now: int) -> None:
        """Refuse requests that waited too long, and let the writer check the files; with the
        driver's `core` held, once a second."""
        self.listener.give_up_late(now - self.patience_ms)
        if self.checks_files:
            self.driver.look_between_writes(self._file_check.look)
        self._name_slow_disk()

    def _name_slow_disk(self) -> None:
        measures = self.driver.measures
        longest_s, measures.longest_write_s = measures.longest_write_s, 0.0
        warning = self._slow_disk.look(self.clock.now_s(), measures.disk_since_s, longest_s)
        if warning:
            self.warn(warning)

    def report(self, effects: Effects) -> None:
        """Print what a step did; connect to new members, and disconnect from removed ones."""
        if effects.members_changed:
            self._follow_contacts("!")
        if effects.cluster is not None:
            self.book.announce()
        if effects.append:
            self._find_users(effects.append[0].index, map(itemgetter(2), effects.append))
        if effects.notes:
            self.driver.measures.stepped(self.node.view, effects)
            self._announce_leader()
        self.traffic_log.carried_out(effects, self.node.view)

    def _announce_leader(self) -> None:
        """Tell the clients that wait for a new leader, in a thread that no step waits for."""
        view = self.node.view
        leader = view.leader or ""
        if leader not in view.membership.addresses:
            return
        address = str(self.book.address(leader) or view.membership.addresses[leader])
        for door in self.doors:
            if door.is_led_from(address, is_here=view.is_leader):
                self.listener.run_soon(door.announce_leader)

    def _follow_contacts(self, mark: str) -> None:
        """Keep connections to the members that the core talks to.

        Print each member whose address in the file differs from the log: if the member has moved,
        the line in the file is stale, and leads nowhere or to the old node.
        """
        contacts, configuration = self.node.view.contacts, self._startup.configuration
        for name in self.book.follow(contacts):
            self._console.say(
                f"[{mark}] {name} is at {contacts[name]} according to the log, but "
                f"{configuration.path} says {configuration.members[name]}: this node dials the "
                f"latter. If {name} has moved, correct the file and restart this node"
            )

    def fail(self, error: BaseException) -> None:
        """Stop, because the state and the writes of this node can no longer be trusted."""
        if self._stopping:
            return
        otherwise = EXIT_FILES if isinstance(error, CannotApply) else EXIT_BROKEN
        self.exit_status = exit_status_of(error, otherwise)
        is_plain = isinstance(error, StorageError | CannotApply)
        kind = "" if is_plain else f"{type(error).__name__}: "
        try:
            self._console.say(f"[!] {self.name} stops: {kind}{error}")
            if not is_plain:  # an error of the program: a report of it needs the place
                for line in "".join(traceback.format_tb(error.__traceback__)).splitlines():
                    self._console.say(line)
        finally:
            self.stop()

    def new_token(self, size: int) -> str:
        return secrets.token_hex(size)

    def warn(self, what: str) -> None:
        """Print a warning about something that failed; the node continues."""
        self._console.say(f"[!] {self.name}: {what}")

    # --- requests ---------------------------------------------------------------------------

    def members(self) -> dict[str, object]:
        with self.driver.core:
            view = self.node.view
            return self._with_dialed(membership_facts(view.configurations, view.commit_index))

    def _with_dialed(self, facts: Mapping[str, object]) -> dict[str, object]:
        """Return facts with the members' addresses as this node dials them: a line of its file
        outranks the log."""
        members = cast(Mapping[str, str], facts["members"])
        dialed = {name: str(self.book.address(name) or where) for name, where in members.items()}
        return {**facts, "members": dialed}

    def status(self) -> str:
        facts = self._with_dialed(self.driver.status())
        facts["sessions"] = len(self.logmanager.state.sessions)
        facts |= {"reads": self.readings.mode, "pid": os.getpid(), "build": build()}
        facts |= {"bytes": self.logmanager.store.bytes, "max_bytes": self.quota.bytes_max}
        facts |= self.room_facts()
        facts["lacks_users"] = self.lacks_users
        if accounts := self.quota.accounts():
            facts["accounts"] = accounts
        facts |= interpreter_facts()
        facts |= {"version": VERSION, "versions": self.versions()}
        facts["needs"] = self.logmanager.state.needs
        facts |= {"cluster": self.node.view.cluster, "foreign": self.foreigners.seen()}
        facts["time"] = round(self.clock.day_s(), 3)
        facts["lost_files"] = self.lost_files
        waits_ms = self.driver.measures.disk_waits_ms
        facts["disk_hangs"] = disk_hangs(waits_ms, self.pace.election_timeout_ms)
        if self.orders is not None:
            facts |= self.orders.facts()
        if self.tls is not None:
            facts["certificates_end"] = self.tls.ends()
            facts["certificates_refused"] = {} if self.is_down else self.book.without_tls()
        if self.peer_auth.secret:
            facts["secret"] = "require" if self.peer_auth.is_required else "offer"
            facts["unproven"] = [] if self.is_down else self.book.unproven()
        return "STATUS response: " + json.dumps(facts)

    def room_facts(self) -> dict[str, object]:
        """Return what this node lacks room for: writes, entries of a leader, connections."""
        self.quota.check_disk()
        return {
            "lacks_room_for": self.quota.lacks,
            "refuses_entries": self.disk_room.lacks,
            "connections": self.listener.traffic()[0],
            "max_connections": self.listener.connections_max,
        }

    @property
    def has_all_connections(self) -> bool:
        """Whether no connection is left for clients."""
        return self.listener.traffic()[0] >= self.listener.connections_max

    @property
    def lost_files(self) -> list[str]:
        """The files of this node that other programs removed or cut, and that are not written again
        yet."""
        return self._file_check.lost

    @property
    def lacks_users(self) -> bool:
        """Whether clients have to log in to change the users, and nobody can."""
        return self.access is not None and self.access.lacks_users

    def versions(self) -> dict[str, str | None]:
        """Return the version of each member's build; None if it announces none, or is not heard."""
        builds = {name: self._build(name) for name in self.node.view.membership.names}
        return {
            name: build.version if build.is_heard and not build.is_at_floor else None
            for name, build in builds.items()
        }

    @property
    def request_room(self) -> RequestRoom:
        return self.driver.request_room

    @property
    def is_at_floor(self) -> bool:
        return self.logmanager.store.is_at_floor

    @property
    def announces_build(self) -> bool:
        return not self._startup.is_at_floor

    def applied(self) -> None:
        """Record that entries were applied; with the driver's `core` held."""
        if self.is_at_floor != self._was_at_floor:
            with self._identity_comes:
                self._was_at_floor = self.is_at_floor
                self._identity_comes.notify_all()
        before, users = self._noted_users, self.logmanager.store.users
        self._noted_users = users
        if users is not before and (users or before):
            self.listener.run_soon(self.listener.rights_changed)
        access = self.access
        if access is None:
            return
        if access.awaits_users and self.logmanager.applied.index >= self._users_come_at:
            access.await_users(False)  # they are known, or the entry was refused or replaced
        if access.first_admin and self.node.view.knows_committed:
            self._add_first_admin(access)

    def _find_users(self, first: int, commands: Iterable[str]) -> None:
        """Admit nobody without a login while an entry of the log may add the first user, an admin,
        and is not applied yet. Until then this node does not know the users, and a new leader would
        take requests of anybody. `first` is the index of the first command."""
        access = self.access
        if access is None or (access.is_on and not access.awaits_users):
            return
        for index, command in enumerate(commands, first):
            if _ADDS_USER in command[:LONGEST_SENDER] and may_add_first_admin(command):
                self._users_come_at = index
                access.await_users(True)

    def _add_first_admin(self, access: Access) -> None:
        """Propose the first admin, if the cluster has no users. This leader has applied all
        committed entries, so an admin who was removed is not added again."""
        if self.logmanager.store.users:
            access.first_admin = ""
        elif not self.is_at_floor and (self._first is None or self._first.is_answered):
            self._first = Batch([access.first_admin], is_read=False)
            self.driver.queue(self._first)

    def is_quick(self, commands: Sequence[str]) -> bool:
        return is_quick(self.logmanager.store, commands)

    def needs_trial(self, command: str, grown: int) -> bool:
        return needs_trial(self.logmanager.store, command, grown)

    def why_at_floor(self) -> str:
        """Return the refusal of a request beyond the floor.

        If the identity is about to be applied, as after each start, wait as for a leader. Return
        "" once it is.
        """
        end_s = self.clock.now_s() + 2 * self.slowest_ms / 1000
        with self._identity_comes:
            while (why := self._why_at_floor()) is NO_IDENTITY:
                left_s = end_s - self.clock.now_s()
                if left_s <= 0 or self.is_down or self._stopping:
                    break
                self._identity_comes.wait(min(left_s, CHECK_S))
        return why

    def _why_at_floor(self) -> str:
        """Return which members keep this cluster at the floor, "" if it is above it. If this node
        knows of no such member, another node may, or this one will soon."""
        if not self.is_at_floor:
            return ""
        if not self.announces_build:
            return AT_FLOOR("its nodes were started with --floor")
        view = self.node.view
        names = [name for name in view.membership.names if self._build(name).is_at_floor]
        if view.identity.is_at_floor and names:
            return AT_FLOOR(f"start {' and '.join(names)} with raftline and without --floor")
        leader = view.leader
        return NO_IDENTITY if leader is None or leader == self.name else self.not_leader(leader)

    def _build(self, name: str) -> Build:
        if name == self.name:
            return Build(VERSION)
        return self.builds.of(name)

    def why_elsewhere(self, change: Change) -> str:
        configuration = self._startup.configuration
        here = configuration.members.get(change.name)
        if here is None or not change.address or not self.node.view.is_leader:
            return ""
        given = Address.parse(change.address)
        if (canonical_host(given.host), given.port) == (canonical_host(here.host), here.port):
            return ""
        return (
            f"{configuration.path} of {self.name} says that {change.name} is at {here}, and nodes "
            f"dial that instead of {given}. Give that address, or first correct the line in this "
            "file on each node, and restart these nodes one after another"
        )

    def with_build(self, change: Change) -> Change:
        view = self.node.view
        is_new = change.verb in ("add", "replace")
        if not is_new or not view.is_leader or view.identity.is_at_floor:
            return change
        address = Address.parse(change.address)  # the book may still have that of an earlier member
        try:
            build = ask_build(self.name, address, change.name, self.tls)
        except ssl.SSLError as problem:
            why = f"{change.name} at {address}: {why_not_accepted(problem, self.name)}"
            mend = f"Give {change.name} a certificate for its name by the CA of {self.name}"
            raise RequestRefused(
                NOT_CHANGED(f"{why}. {mend} (raftline certs), and ask again. Nothing was changed")
            ) from None
        if build is None:
            return change
        applies = build.applies or None  # a node with a secret tells members alone
        return change._replace(
            cluster=build.cluster, applies=applies, is_at_floor=build.is_at_floor
        )

    def keys_of_lease(self, lease: str) -> LeaseKeys | None:
        with self.driver.core:
            if not self.node.view.knows_committed:
                return None
        with self.logmanager.client_lock:
            return self.logmanager.store.keys_of(lease)

    def without_machine(self, command: str) -> str:
        """Return the refusal of a command for a state machine that this node lacks, "" if it has
        the machine. Another leader may have it; here the command must never become an entry."""
        why = self.logmanager.state.machines.why_not(command.split(" ", 2)[1])
        if not why:
            return ""
        return why if self.node.view.leader == self.name else self.not_here()

    def not_here(self) -> str:
        leader = self.node.view.leader
        if leader == self.name:
            return NO_QUORUM(leader)
        return NO_LEADER if leader is None else self.not_leader(leader)

    def not_confirmed(self) -> str:
        leader = self.node.view.leader
        return NO_LEADER if leader is None else NO_QUORUM(leader)

    def why_late(self) -> str:
        return NO_QUORUM(self.name) if self.driver.commits_nothing else NOT_REACHED

    def not_leader(self, leader: str) -> str:
        """Return the reply that sends a client on to `leader`."""
        address = self.book.address(leader)
        if address is None:  # no entry has its address yet
            return NO_LEADER
        return not_leader(leader, address.host, address.port)

    # --- peers ------------------------------------------------------------------------------

    def is_peer(self, name: str) -> bool:
        return name in self.book or name == self.node.view.leader != self.name

    def hears_from_leader(self) -> bool:
        with self.driver.core:
            return self.node.view.hears_from_leader

    def peer_refusal(self, sender: str, message: Message | None) -> str:
        """Return why messages from `sender` are refused; "" for a peer, and for a stranger's
        message that the core accepts (reconfiguration)."""
        if sender in self.book or self.is_peer(sender):
            return ""
        with self.driver.core:  # to read several facts of the same moment
            if message is not None and self.node.accepts(message):
                return ""
            return self.why_no_peer(sender)

    def why_no_peer(self, name: str) -> str:
        """Return why messages of `name`, which is not a peer, are refused; with `core` held."""
        removed_by = self.node.view.configurations.removed_by(name)
        if removed_by:
            return f"{name} was removed from the cluster by entry {removed_by}"
        base = self.node.view.log.base_index  # earlier entries were compacted
        removed = f" (it may have been removed before entry {base + 1})" if base else ""
        return f"{name} is not a peer of {self.name}{removed}"

    def hear(self, received: Sequence[Message], origin: Origin | None) -> list[str]:
        """Step messages of peers that this node accepts; return a complaint for each refused
        message."""
        if self.is_down:
            return []
        refusals = self.disk_room.refusals(received)
        if not any(refusals):
            return self.driver.receive(received, origin)
        accepted = [one for one, why in zip(received, refusals, strict=True) if not why]
        return [*filter(None, refusals), *self.driver.receive(accepted, origin)]

    # --- life ------------------------------------------------------------------------------

    def begin(self, listener: Listener) -> None:
        """Serve from now on."""
        self.listener = listener
        self.start()
        with threads_without_signals():
            listener.open(self, self.doors)

    def wait(self) -> int:
        """Serve until asked to stop; then stop, and return the exit status."""
        tidy = Tidy(GARBAGE_BYTES, GIVE_BACK_CHECKS)
        while not self.rest(self._end):  # a pending signal is handled between two waits
            tidy.look()
            report_lost()
        if self.exit_status == 0 and not self.is_down:
            self.driver.hand_over(self.pace.election_timeout_ms)
        self._console.end_traffic()
        self._console.say(f"[*] {self.name}: server is shutting down.")
        self.listener.close()
        if not self.is_down:
            self.halt(patience_s=2.0)
        self.listener.end_connections()
        if self.exit_status == 0:
            self._console.say(f"[*] {self.name}: has shut down cleanly.")
        return self.exit_status

    def start(self) -> None:
        """Start the threads of this run."""
        with threads_without_signals():
            self.book.start()  # before the members can change
            self.driver.start(self.name)
            self._snapshot_threads.start()

    def halt(self, patience_s: float) -> None:
        """End this run: stop its threads, close its connections to peers, release the files."""
        self._snapshot_threads.stop()
        self.driver.stop(patience_s)
        self.book.stop()

    def heartbeat_ms(self) -> int:
        """Return the time between two heartbeats at the beginning of this run."""
        return self.pace.heartbeat_ms

    def stop(self) -> None:
        """Ask the node to stop; any thread may call this, and so may a signal handler."""
        self.on_stop()
        self._stopping = True
        self._end.set()

    def _answered(self, answers: Sequence[Message]) -> None:
        for answer in answers:
            self.traffic_log.received(answer.sender, None, answer)
        for complaint in self.hear(answers, None):
            self._console.say(f"[!] {self.name} does not take an answer: {complaint}")
