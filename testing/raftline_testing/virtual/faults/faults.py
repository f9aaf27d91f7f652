"""The faults of a schedule: which faults happen, and when they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from raftline.raft.inputs import PeerDisconnected, Transfer

from ...files.faulty_folder import Beside
from ...orders import Campaign, Order, StepDown
from ..clients.crowds import Crowds
from ..nodes.simulated_disk import FAILURES
from ..nodes.simulated_node import Host, leaders
from ..world.network import Network
from ..world.plan import ALL_FAULTS, Plan
from ..world.world import World
from .births import Births
from .churn import can_lose
from .diskfaults import DiskFaults
from .hungdisks import ARRIVING, HungDisks
from .leaps import Leaps
from .lost_majority import LostMajority
from .wrongfiles import WrongFiles

BESIDE = (".log.new", ".state_machine.tmp", ARRIVING)  # files that are not in force yet


class Faults:
    """The injector of planned faults, one after another, until asked to stop."""

    def __init__(self, world: World, plan: Plan, network: Network, hosts: Sequence[Host]) -> None:
        self._world = world
        self._plan = plan
        self._network = network
        self._hosts = hosts
        self._names = [host.name for host in hosts]
        self._over = False
        self._handed = 0  # requested transfers
        # Whether each log has an identity, so that two clusters are told apart.
        self.may_begin_again = False
        self.disks = DiskFaults(world, plan, network, hosts)
        self.crowds = Crowds(world, plan, hosts)
        self._files = WrongFiles(world, plan, network, hosts)
        self._leaps = Leaps(world, plan, network, hosts)
        self.births = Births(world, plan, hosts)
        self.hung = HungDisks(world, plan, network, hosts)
        self.majority = LostMajority(world, plan, hosts)
        acts: tuple[Callable[[], None], ...] = (
            self._cut_one_way,
            self._isolate,
            self._deafen,
            self._mute,
            self._split,
            self._bridge,
            self._depose,
            self._heal,
            self._pause,
            self._power_cut,
            self._kill,
            self._kill_all,
            lambda: self._lose("log"),
            lambda: self._lose("storage"),
            self._wipe,
            self._slow_disk,
            self._failing_disk,
            self._lose_connection,
            self._hand_over,
            self._die_writing,
            self._regain,
            self._pause_for_long,
            self._failing_machine,
            self._full_disk,
            lambda: self.disks.hang(self._some()),
            self.disks.slow_down,
            lambda: self.disks.take_log(self._some()),
            self._files.put_back,
            self._files.put_foreign,
            lambda: self.crowds.come(self._some()),
            self._wipe_at_birth,
            self._leaps.leap,
            self._full_beside,
            self.hung.hang_majority,
            self.hung.hang_candidate,
            self.hung.refuse_snapshots,
            lambda: self.majority.wipe(self._tell_lost),
        )
        self._acts = dict(zip(ALL_FAULTS, acts, strict=True))
        self._wait()

    def stop(self) -> None:
        """Stop injecting faults, and end all lasting ones except hung disks."""
        self._over = True
        self.disks.stop()
        self._files.stop()
        self._leaps.stop()
        self.births.stop()
        self.hung.stop()
        self.majority.stop()
        self.crowds.leave()
        self._network.calm_down()
        for host in self._hosts:
            host.disk_ms = min(self._plan.disk_ms, 5)
            host.long_ms = 0
            host.disk.be_full(False)
            if host is not self.hung.refusing:
                host.disk.spoil_beside(None)
            host.disk.folder.fault = None
            if host.node is not None:
                host.manager.fails = False
            host.resume()
            host.start()
        self._say_who_is_new()

    def _say_who_is_new(self) -> None:
        """If too few have a vote to elect, start those that never ran before with `--new`; look
        again in a while."""
        self._world.after(4 * self._plan.options.election_timeout_ms, self._say_who_is_new)
        if any(host.view is None for host in self._hosts) or can_lose(self._hosts, ""):
            return
        for host in self._hosts:
            view = host.view
            if host.may_be_said_new and view is not None and view.recovering:
                self._tell(f"new {host.name}")
                self._world.counts["said to be new, to end a wait"] += 1
                host.stop(power_cut=False)
                host.start(never_ran=True)

    def _wait(self) -> None:
        self._world.after(self._world.random.randint(1, 2 * self._plan.fault_every_ms), self._next)

    def _next(self) -> None:
        if self._over:
            return
        others = (self.births, self.hung, self.majority)
        if self._files.is_guarding or any(each.are_calm for each in others):
            self._wait()
            return
        kind = self._world.random.choice(self._plan.faults)
        for host in self._hosts:
            host.status()
            host.back_up()
        self._world.counts[f"fault: {kind}"] += 1
        self.disks.struck(kind)
        self._acts[kind]()
        self._wait()

    def _tell(self, act: str) -> None:
        self._world.tell("act", f"> {act}")

    def _some(self) -> Host:
        """Return any node; half the time a leader, where faults hurt most."""
        leading = [host for host, _ in leaders(self._hosts)]
        return self._world.random.choice(
            leading if leading and self._world.chance(0.5) else list(self._hosts)
        )

    def _a_while_ms(self) -> int:
        timeout_ms = self._plan.options.election_timeout_ms
        return self._world.random.randint(1, timeout_ms * self._world.random.choice([1, 3, 10]))

    def _mend_later(self, cut: Counter[tuple[str, str]]) -> None:
        self._world.after(self._a_while_ms(), self._network.mend, cut)

    def _hand_over(self) -> None:
        """Make a leader hand over to another node, fit or not; half the time it is cut off shortly
        after, so that it doesn't learn the outcome."""
        chance = self._world.random
        to = chance.choice([None, self._some().name])
        for host, view in leaders(self._hosts):
            self._tell(f"{host.name} hands over to {to or 'anybody'}")
            before = view.transfer
            host.take(Transfer(to))
            self._world.counts["transfers begun"] += view.transfer is not before
            self._handed += 1
            if self._handed % 3 == 0 and view.transfer is not None:  # a third node may lead then
                delay_ms = 1 + self._handed % (2 * self._plan.delay_ms)
                self._world.beside(delay_ms, 0.5, self._kill_named, view.transfer.to)
            if chance.random() < 0.5:
                delay_ms = chance.randint(0, 2 * self._plan.delay_ms)
                self._world.after(delay_ms, self._cut_off, host.name)

    def _kill_named(self, name: str) -> None:
        if not self._over:
            self._crash(next(host for host in self._hosts if host.name == name), power_cut=False)

    def _regain(self) -> None:
        """Order a leader to follow, to stand, or to stand as soon as it follows: mostly it leads
        again at once, with the same clients and followers."""
        chance = self._world.random
        for host, _ in leaders(self._hosts):
            ways: list[list[Order]] = [[StepDown()], [Campaign()], [StepDown(), Campaign()]]
            for order in chance.choice(ways):
                self._tell(f"order {host.name} {type(order).__name__}")
                host.order(order)

    def _cut_off(self, name: str) -> None:
        if not self._over:
            self._tell(f"cut {name}")
            self._mend_later(self._network.split([name]))

    # --- the network ------------------------------------------------------------------------

    def _cut_one_way(self) -> None:
        one, other = self._some().name, self._some().name
        self._tell(f"cut {one} -> {other}")
        self._mend_later(self._network.cut([one], [other]))

    def _isolate(self) -> None:
        one = self._some().name
        self._tell(f"cut {one}")
        self._mend_later(self._network.split([one]))

    def _deafen(self) -> None:
        one = self._some().name
        self._tell(f"cut all -> {one}")
        self._mend_later(self._network.cut(self._names, [one]))

    def _mute(self) -> None:
        one = self._some().name
        self._tell(f"cut {one} -> all")
        self._mend_later(self._network.cut([one], self._names))

    def _split(self) -> None:
        chance = self._world.random
        one = chance.sample(self._names, chance.randint(0, len(self._names)))
        self._tell(f"cut {' '.join(one)}")
        self._mend_later(self._network.split(one))

    def _bridge(self) -> None:
        """Cut all links except those from one node to the others."""
        bridge = self._some().name
        others = [name for name in self._names if name != bridge]
        self._tell(f"cut all but {bridge} from one another")
        self._mend_later(self._network.cut(others, others))

    def _depose(self) -> None:
        """Cut off a leader, alone or with a few nodes, and let the others know at once: they elect
        while it still leads, or is paused and will believe that it leads when it resumes."""
        chance = self._world.random
        for host, _ in leaders(self._hosts):
            others = [name for name in self._names if name != host.name]
            few = chance.sample(others, chance.randint(0, max(0, (len(self._names) - 3) // 2)))
            self._tell(f"cut {' '.join([host.name, *few])}")
            self._mend_later(self._network.split([host.name, *few]))
            if chance.random() < 0.3:
                self._pause_for_a_while(host)
            for other in self._hosts:
                if other.name not in few:
                    self._world.within(20, other.take, PeerDisconnected(host.name))

    def _heal(self) -> None:
        if not self._over:
            self._tell("heal")
            self._network.heal()

    def _lose_connection(self) -> None:
        """Break the connection to an otherwise healthy node."""
        self._tell_lost(self._some())

    def _tell_lost(self, lost: Host) -> None:
        for host in self._hosts:
            if host is not lost and self._world.chance(0.7):
                self._world.within(20, host.take, PeerDisconnected(lost.name))

    # --- the nodes --------------------------------------------------------------------------

    def _pause(self) -> None:
        self._pause_for_a_while(self._some())

    def _pause_for_a_while(self, host: Host) -> None:
        self._pause_for(host, self._a_while_ms())

    def _pause_for_long(self) -> None:
        """Pause a node, like a stopped process or a suspended machine whose clock runs on."""
        self._pause_for(self._some(), self._world.random.randint(2000, 30_000))

    def _pause_for(self, host: Host, while_ms: int) -> None:
        self._tell(f"pause {host.name}")
        host.pause()
        self._world.after(while_ms, host.resume)

    def _power_cut(self) -> None:
        self._crash(self._some(), power_cut=True)

    def _kill(self) -> None:
        self._crash(self._some(), power_cut=False)

    def _kill_all(self) -> None:
        power_cut = self._world.chance(0.5)
        for host in self._hosts:
            self._crash(host, power_cut=power_cut)

    def _crash(self, host: Host, *, power_cut: bool) -> None:
        if host.node is None:
            return
        self._tell(f"{'crash' if power_cut else 'kill'} {host.name}")
        host.stop(power_cut=power_cut)
        self._tell_lost(host)
        self._world.after(self._a_while_ms(), host.start)

    def _lose(self, what: str) -> None:
        """Delete the log, or the term and vote, of a node that is down, if the cluster can still
        elect in the end."""
        host = self._some()
        if not host.disk.is_foreign and can_lose(self._hosts, host.name):
            self._crash_and_lose(host, what)

    def _crash_and_lose(self, host: Host, what: str) -> None:
        self._crash(host, power_cut=False)
        if host.node is None:
            self._tell(f"lose {what} {host.name}")
            self._world.counts[f"{what} lost"] += 1
            host.may_be_said_new = False
            if what == "log":
                host.disk.lose_log()
            elif what == "storage":
                host.disk.lose_storage()
            else:
                self._lose_all(host)

    def _wipe(self) -> None:
        """Delete all files of a node, for good, as long as a majority of the members have their
        files or never ran before; lost_majority.py goes further. Counts show what is not done."""
        host, counts = self._some(), self._world.counts
        if host.disk.is_foreign or host.view is None:
            return
        if not can_lose(self._hosts, host.name, with_new=self.may_begin_again):
            counts["wipes not done: of a majority"] += 1
            return
        counts["wipes beside members that never ran"] += not can_lose(self._hosts, host.name)
        self._crash_and_lose(host, "all")

    def _wipe_at_birth(self) -> None:
        if self.may_begin_again:
            self.births.wipe(self._tell_lost)

    def _lose_all(self, host: Host) -> None:
        """Delete all files of a stopped node, including the trace that it existed. At the floor,
        the trace stays if the others would not know that there is a history: nothing tells two
        clusters apart there. A node that is started to join votes in neither case; one whose
        configuration names nobody else must be, as it would begin a cluster at once."""
        others = [other for other in self._hosts if other is not host]
        is_named = all(other.disk.has_entries for other in others) and host.was_born_with_others
        joins = self._world.chance(0.4) or [*host.members] == [host.name]
        leaves_trace = not (joins or is_named or self.may_begin_again)
        self._world.counts["wipes that left a trace, at the floor"] += leaves_trace
        host.disk.lose_all(trace=not leaves_trace)
        if joins:
            self._world.counts["started to join without files"] += 1
            host.is_joiner = True

    def _slow_disk(self) -> None:
        host = self._some()
        self._tell(f"hold disk {host.name}")
        host.disk_ms = self._a_while_ms()
        self._world.after(self._a_while_ms(), self._release_disk, host)

    def _release_disk(self, host: Host) -> None:
        host.disk_ms = min(self._plan.disk_ms, host.disk_ms)

    def _failing_disk(self) -> None:
        host = self._some()
        if host.node is not None:
            self._tell(f"break disk {host.name}")
            host.disk.fail_soon()

    def _full_disk(self) -> None:
        """Fill a node's disk for a while: it stops at its next write, and can't start."""
        host = self._some()
        self._tell(f"fill disk {host.name}")
        host.disk.be_full(True)
        self._world.after(self._a_while_ms(), host.disk.be_full, False)

    def _full_beside(self) -> None:
        """Prevent snapshots at a node for a while, or let no new log begin after
        one: it continues with its present files. A node that is cut off before is sent one."""
        host, chance = self._some(), self._world.random
        end = chance.choice(BESIDE)
        self._tell(f"spoil {host.name}{end}")
        if end == ARRIVING:
            self._mend_later(self._network.split([host.name]))
        host.disk.spoil_beside(Beside(chance.choice(FAILURES), end, chance.randint(0, 6)))
        self._world.after(10 * self._a_while_ms(), host.disk.spoil_beside, None)

    def _failing_machine(self) -> None:
        """Make the next entry fail at a node: it stops, and never continues without the entry."""
        host = self._some()
        if host.node is not None:
            self._tell(f"break machine {host.name}")
            host.manager.fails = True

    def _die_writing(self) -> None:
        """Make one of the next writes or syncs the last: of the log, of a snapshot that is taken or
        received, or of a renaming."""
        host = self._some()
        if host.node is not None:
            self._tell(f"die writing {host.name}")
            host.disk.die_soon()
