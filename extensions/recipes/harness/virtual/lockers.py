"""Simulated programs that take locks, as raftline's own clients do, in schedules of faults.

Getting and holding a lock (`recipes/locks/claims.py`, `held.py`), leases and their renewals
(`clients/leases/renewals.py`), watches (`clients/watches/watch_machine.py`) and requests are those
of the clients. This module carries out their steps in virtual time. It checks that there is one
holder at a time, that tokens grow, that no program believes in a lease after its end, and that each
call ends in time.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any, TypeVar

from raftline.clients.calls.calls import CALLS, Ask, Call, Steps
from raftline.clients.calls.kv_errors import LeaseLost
from raftline.clients.calls.transaction import Transaction, itself
from raftline.clients.calls.value_codec import TEXT
from raftline.clients.connections.node_connection import ClientError, Deadline
from raftline.clients.leases.base_lease import BaseLease, Joining, SendOff
from raftline.clients.leases.gates import AwaitTurn, Gates, GateTurn
from raftline.clients.leases.kept_leases import GivingUp, KeptLeases
from raftline.clients.leases.lease_timer import LeaseTimer
from raftline.clients.leases.renewals import Renewals, UntilDue, keeping
from raftline.clients.requests.one_node import Connect, HangUp, NextLine, NodeStep, Rest, Send
from raftline.clients.requests.pool import PARTS
from raftline.clients.requests.search import NodeTurns, search, text_of
from raftline.clients.steps import carry_out_awaiting
from raftline.clients.watches.liveness import MEMBERS_ID
from raftline.clients.watches.watch_events import WatchCursor
from raftline.clients.watches.watch_machine import BaseWatch, WatchMachine
from raftline.harness.virtual.searchers import LATE_S, Attempt, ProgramCall, Searcher
from raftline.recipes.locks.claim_steps import (
    Claiming,
    ClaimStep,
    Look,
    Pause,
    Shielded,
)
from raftline.recipes.locks.claims import BaseClaim
from raftline.recipes.locks.held import BaseHeld
from raftline.recipes.locks.lock_keys import LOCKS, LockKeys, SharedKeys, Slots
from raftline.wire.replies.replies import Reply
from raftline_testing.virtual.nodes.simulated_node import Host
from raftline_testing.virtual.watches.watchlines import LinesHeard
from raftline_testing.virtual.world.coroutines import Cancelled, Promise, Task, shielded, slept
from raftline_testing.virtual.world.plan import Plan
from raftline_testing.virtual.world.world import World
from raftline_testing.workloads.client_history import History
from raftline_testing.workloads.client_request import ClientRequest

from .lockchecks import BY_HAND, NAMES, LockCheck

Result = TypeVar("Result")
# of a holder's clock, so that the fastest node's clock is less than a tenth faster
HOLDER_PERMILLE = 1001
CHECK_MS = 20  # between two checks of a silent connection
ENDS = ("releases", "releases", "checks", "dies", "is broken", "is revoked", "forgets", "by hand")
# Faults of the network between a program and all nodes.
WEATHERS = ("fair", "fair", "fair", "fair", "slow", "away")
SLOW_MS = 900  # the longest delay of a reply then
ROUNDING_S = 1e-6  # a sum of floats may exceed the same sum in milliseconds
WAITS_S = (0.0, 0.5, 5.0, 5.0, None)
HOLD_S = 2.0
BY_HAND_S = 0.004  # between two tries to set a key by hand
SOON_S = 0.25  # after a failed renewal
CONNECT_S = 0.05  # time in which a watch connects
SHORT_S = 0.02  # time for which a lock is held in the end
LOCKS_SHARE = 0.85  # share of programs' requests; the rest are leases without a lock


class _Over:
    def set(self) -> None:
        """Do nothing: no thread waits for the end of a simulated lease."""


class SimulatedLease(BaseLease[_Over]):
    """A lease of a simulated program."""

    is_broken = False  # an operator may have deleted its key, or revoked it
    is_surely_broken = False  # that has happened
    is_reported = False  # the lock that it guarded has reported its loss

    def __init__(
        self,
        program: Locker,
        keeper: SimulatedKeeper,
        seconds: int,
        keep: bool = True,
    ) -> None:
        super().__init__(program, keeper, seconds, None, keep, program.lease_s)
        self.program = program

    @property
    def was_lost(self) -> bool:
        return self._timer is not None and self._timer.was_lost

    def _new_event(self) -> _Over:
        return _Over()

    @staticmethod
    def _call_apart(on_lost: Callable[[], object]) -> None:
        on_lost()

    def _begin_holding(
        self, on_lost: Callable[[], object] | None, turn: GateTurn | None = None
    ) -> bool:
        return super()._begin_holding(self._report_loss, turn)

    def _report_loss(self) -> None:
        """Take the report of a loss, once."""
        assert self.was_lost, f"{self} is not lost, and reported so"
        assert not self.is_reported, f"the loss of {self} is reported twice"
        self.is_reported = True
        self.program.world.counts["locks lost"] += 1

    def _granting(self) -> Steps[str]:
        name = yield from super()._granting()
        assert self.is_held, f"{name} is taken, though its time was over"
        self.program.world.counts["leases of lockers"] += 1
        self.program.has(self)
        return name

    def _joining(self, giving_up: GivingUp, until_s: float | None) -> Joining[str | None]:
        name = yield from super()._joining(giving_up, until_s)
        if name is not None:
            self.program.world.counts["claims of lockers"] += 1
            self.program.has(self)
        return name

    def _sharing(self, other: BaseLease[Any]) -> None:
        super()._sharing(other)
        self.program.has(self)


class SimulatedHeld(BaseHeld[SimulatedLease]):
    """The holding of a simulated program."""


class SimulatedLock(BaseClaim[SimulatedLease, SimulatedHeld]):
    """A lock, a shared lock or a semaphore of a simulated program."""

    _lease_class = SimulatedLease
    _held_class = SimulatedHeld

    def __init__(self, program: Locker, keys: LockKeys, seconds: int) -> None:
        self._program = program
        wait_release = program.chance.random() < 0.7
        super().__init__(
            program, program.keeper, program.watch, keys, seconds, wait_release=wait_release
        )

    def _now(self) -> float:
        return self._program.now_s()

    def won(self, held: SimulatedHeld) -> None:
        """Record that the running task has it."""
        shares = isinstance(self._keys, SharedKeys)
        limit = self._keys.limit if isinstance(self._keys, Slots) else 1
        self._program.check.won(self.name, held.token, held._lease, shares, limit)
        changed = self._program.last_change(held._key, held.token)
        assert changed >= held.token, (
            f"{self.name} is got with {held.token}, and its key was last set by {changed}"
        )

    async def carry_out(self, steps: Claiming[Result]) -> Result:
        return await carry_out_awaiting(steps, self._do)

    async def _do(self, step: ClaimStep | SendOff) -> object:
        if isinstance(step, Ask):
            return await self._program._ask_step(step)
        if isinstance(step, Look):
            return await step.watch.step(step.until_s)
        if isinstance(step, AwaitTurn):
            admitted = Promise()
            step.turn.when_admitted(admitted.settle)
            if step.until_s is not None:
                self._program.at(step.until_s, admitted.settle)
            await admitted
            return step.turn.is_admitted
        if isinstance(step, SendOff):
            return self._program.send_off(step)
        if isinstance(step, Pause):
            await self._program.sleep(max(0.0, step.until_s - self._now()))
            return None
        assert isinstance(step, Shielded)
        return await shielded(self.carry_out(step.steps))


class SimulatedKeeper:
    """The renewals of leases: one after the other, as in a threaded client, or each separately."""

    def __init__(self, program: Locker, is_shared: bool) -> None:
        self._program = program
        self._is_shared = is_shared
        self._all: dict[LeaseTimer, Renewals] = {}
        self._shared = Renewals()
        self._unanswered: dict[Renewals, float] = {}  # how long a lease was held before the request
        self._changed = Promise()
        self.kept = KeptLeases()
        self.leaving: set[str] = set()

    def keep(self, timer: LeaseTimer) -> None:
        renewals = self._shared if self._is_shared else Renewals()
        self._all[timer] = renewals
        renewals.add(timer)
        self._changed.settle()
        if not renewals.is_carried_out:
            renewals.is_carried_out = True
            steps = keeping(renewals, self._program.lease_s, nullcontext())
            Task(carry_out_awaiting(steps, partial(self._do, renewals)), self._program.ended)

    def drop(self, timer: LeaseTimer) -> None:
        if timer in self._all:
            self._all.pop(timer).drop(timer)
            self._changed.settle()

    def hurry(self, timer: LeaseTimer) -> None:
        if timer in self._all:
            timer.retry_soon(self._program.lease_s())
            self._all[timer].put_back(timer)
            self._changed.settle()

    def die(self) -> None:
        """Stop renewing, like a killed program."""
        for timer in list(self._all):
            self.drop(timer)

    def _held_until_s(self, renewals: Renewals) -> float:
        """Return how long the only lease that these renew is held."""
        held = (timer.until_s for timer, each in self._all.items() if each is renewals)
        return next(held, math.inf)

    async def _do(self, renewals: Renewals, step: Ask | UntilDue) -> object:
        """Do a step.

        Raises:
            AssertionError: it pauses for long, though the last renewal failed.
        """
        program = self._program
        if isinstance(step, Ask) and not step.call.command.startswith("renew "):
            program.world.counts["requests of lockers sent again"] += 1
            return await program.ask(step.call, step.limit_s)
        if isinstance(step, Ask):
            program.world.counts["renewals of lockers"] += 1
            lease, now_s = step.call.command.removeprefix("renew "), program.lease_s()
            held = (timer.lease == lease and timer.is_held(now_s) for timer in self._all)
            program.check.renews(lease, any(held))
            self._unanswered[renewals] = self._held_until_s(renewals)
            answer = await program.ask(step.call, step.limit_s)
            del self._unanswered[renewals]
            return answer
        if renewals:
            self._changed = Promise()
            left_s = max(0.0, renewals.due_s - program.lease_s())
            if left_s > SOON_S and not self._is_shared:
                # Its holder may have renewed it by its own `check`.
                has_failed = self._unanswered.get(renewals) == self._held_until_s(renewals)
                assert not has_failed, f"{program.name} asks again in {left_s:.2f} s"
            program.at(program.now_s() + left_s, self._changed.settle)
            await self._changed
        return None


class SimulatedWatch(BaseWatch[str]):
    """A watch of a simulated program."""

    def __init__(self, program: Locker, prefix: str) -> None:
        self._program = program
        addresses = program.nodes.addresses
        cursor = WatchCursor(TEXT, prefix, None)
        super().__init__(
            WatchMachine(addresses, program.name, cursor, program.limit_s, now=program.now_s)
        )
        order = program.chance.sample(addresses.named, len(addresses.named))
        self._machine._nodes = NodeTurns(order, addresses)
        self._connection: WatchLines | None = None

    async def step(self, until_s: float | None = None) -> bool:
        return await carry_out_awaiting(self._machine.take_line(until_s), self._do)

    def close(self) -> None:
        self._machine.is_closed = True
        self._hang_up()

    async def _do(self, step: NodeStep) -> object:
        connection = self._connection
        if isinstance(step, Connect):
            await self._program.sleep(CONNECT_S * self._program.chance.random())
            host = self._program.host_at(step.address)
            if host is None or host.node is None:
                raise ConnectionRefusedError("nobody listens there")
            self._connection = WatchLines(host, self._program)
            return step.address
        elif isinstance(step, HangUp):
            self._hang_up()
        elif isinstance(step, Rest):
            await self._program.sleep(step.seconds)
        elif connection is None:
            raise ConnectionResetError("this watch was closed")
        elif isinstance(step, Send):
            connection.send(step.line)
        else:
            assert isinstance(step, NextLine)
            return await connection.read(step.until_s)
        return None

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave()


class WatchLines:
    """The connection of one watch."""

    def __init__(self, host: Host, program: Locker) -> None:
        self._host = host
        self._program = program
        self._lines: deque[bytes] = deque()
        self._reader: Promise | None = None
        self._until_s = math.inf
        self._connection = LinesHeard(host, self._hear)

    def send(self, line: bytes) -> None:
        if f"#{MEMBERS_ID}@".encode() in line:
            self._hear(f"{self._host.name}#{MEMBERS_ID}@{self._program.members_at(self._host)}")
        else:
            tie = self._program.chance.random()
            self._host.beside(0, tie, self._connection.receive, line + b"\n")

    async def read(self, until_s: float | None) -> bytes:
        if not self._lines:
            reader = self._reader = Promise()
            self._until_s = math.inf if until_s is None else until_s
            self._look()
            await reader
        return self._lines.popleft()

    def leave(self) -> None:
        self._end(ConnectionAbortedError("closed"))
        self._host.beside(0, self._program.chance.random(), self._connection.hang_up)

    def _look(self) -> None:
        reader = self._reader
        if reader is None:
            return
        left_s = self._until_s - self._program.now_s()
        if self._connection.is_over or self._program.breaks():
            self._end(ConnectionResetError("the connection broke"))
        elif left_s <= 0:
            self._end(TimeoutError())
        else:
            delay_ms = max(1, math.ceil(min(CHECK_MS, 1000 * left_s)))
            self._program.world.beside(delay_ms, 0.5, self._look_for, reader)

    def _look_for(self, reader: Promise) -> None:
        if self._reader is reader:
            self._look()

    def _end(self, error: Exception) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.settle(None, error)

    def _hear(self, line: str) -> None:
        self._lines.append(line.encode())
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.settle()


class Locker(Searcher):
    """A program with some tasks that share the objects of a few locks."""

    ends: tuple[str, ...] = ENDS
    last_requests = 3  # requests that a call may make after its time

    def __init__(
        self,
        world: World,
        plan: Plan,
        name: str,
        hosts: Sequence[Host],
        history: History,
        check: LockCheck,
        chance: Random,
    ) -> None:
        self.world = world
        self.chance = chance
        self.check = check
        self.limit_s = plan.options.election_timeout_ms * chance.choice((10, 30)) / 1000
        self.keeper = SimulatedKeeper(self, chance.random() < 0.5)
        self.gates = Gates()
        self._leases: dict[SimulatedLease, None] = {}  # that it may hold
        self._revoked: set[str] = set()
        self._tasks: dict[Task, None] = {}
        self._last_round: list[SimulatedLock] | None = None  # locks to be taken once more
        self._weather = "fair"
        super().__init__(world, plan, name, hosts, history)
        seconds = chance.choice((1, 1, 2))
        self._locks, self._others = (
            {each: SimulatedLock(self, LockKeys(LOCKS, each), seconds) for each in NAMES}
            for _ in range(2)
        )
        self._change_weather()

    # --- the world --------------------------------------------------------------------------------

    @property
    def nodes(self) -> NodeTurns:
        return self._nodes

    @property
    def timeout(self) -> float:
        return self.limit_s

    @property
    def was_served(self) -> bool:
        return self.found > 0

    def now_s(self) -> float:
        return self.world.now_ms / 1000

    def lease_s(self) -> float:
        """Return the time on the clock of leases."""
        return self.world.now_ms * HOLDER_PERMILLE / 1_000_000

    def host_at(self, address: Any) -> Host | None:
        return self._hosts.get(address)

    def last_change(self, key: str, index: int) -> int:
        """Return the entry that last changed a key, by the node that has applied most; `index` if
        the key is gone there, or that entry is not applied yet."""
        running = [host.manager for host in self._hosts.values() if host.node is not None]
        latest = max(running, key=lambda manager: manager.applied.index, default=None)
        if latest is None or latest.applied.index < index:
            return index
        facts = latest.store.facts(key)
        return index if facts is None else facts.changed

    def members_at(self, host: Host) -> str:
        return "Sorry, down" if host.node is None else self._status(host)

    def breaks(self) -> bool:
        return self._weather == "away" or self.chance.random() < self._plan.loss / 10

    def _change_weather(self) -> None:
        if self._last_round is None:
            self._weather = self.chance.choice(WEATHERS)
            self.at(self.now_s() + 0.2 + 2 * self.chance.random(), self._change_weather)

    def _arrive(self, attempt: Attempt) -> None:
        """Deliver the request to its node, or lose it."""
        if self._weather != "away":
            super()._arrive(attempt)

    def answered(self, attempt: Attempt, reply: str) -> None:
        """Deliver the node's reply, delay it, or lose it."""
        if self._weather == "slow":
            delay_ms = self.chance.randint(1, SLOW_MS)
            self.world.beside(delay_ms, self.chance.random(), super().answered, attempt, reply)
        elif self._weather == "fair":
            super().answered(attempt, reply)

    def watch(self, prefix: str) -> SimulatedWatch:
        self.world.counts["watches of lockers"] += 1
        return SimulatedWatch(self, prefix)

    def at(self, until_s: float, act: Any) -> None:
        delay_ms = max(0, math.ceil(1000 * until_s - self.world.now_ms))
        self.world.beside(min(delay_ms, 10**9), self.chance.random(), act)

    async def sleep(self, seconds: float) -> None:
        await slept(self.world, math.ceil(1000 * seconds), self.chance.random())

    def ended(self, _: Any, error: BaseException | None) -> None:
        """Handle the end of a task; raise its error, if any."""
        if error is not None and not isinstance(error, Cancelled):
            raise error

    async def ask(self, call: Call[Result], limit_s: float | None) -> Result:
        limit_s = self.limit_s if limit_s is None else limit_s
        deadline = Deadline(limit_s, attempt_s=limit_s / PARTS, now=self.now_s)
        steps = search(self._nodes, self._sessions, self.name, call.command, deadline)
        until_ms = self.world.now_ms + 1000 * limit_s
        latest_ms = until_ms + 3000 * LATE_S * (len(self._hosts) + 1)
        request = ClientRequest(self, "get", call.command, None, 0, False, "index", None)
        asked = ProgramCall(request, steps, until_ms, latest_ms, Promise())
        self._go_on(asked, None)
        try:
            answer = call.read(text_of(await asked.ended))
            self.found += 1
            return answer
        except ClientError as error:
            raise call.failure(error) from None

    async def _ask_step(self, step: Ask) -> object:
        return await self.ask(step.call, step.limit_s)

    def send_off(self, step: SendOff) -> bool:
        """Send a request whose answer nobody awaits, or say that no connection is there."""
        if self.chance.random() < 0.3:
            return False

        def settle(text: str | None, error: BaseException | None) -> None:
            step.settled(None if error else text)

        Task(self.ask(Call(step.command, str), None), settle)
        self.world.counts["releases sent off"] += 1
        return True

    def _end(self, call: ProgramCall, reply: Reply) -> None:
        call.ended.settle(reply)

    def _fail(self, call: ProgramCall, error: ClientError) -> None:
        call.ended.settle(None, error)

    def has(self, lease: SimulatedLease) -> None:
        """Record a lease or a claim of this program."""
        self._leases = {each: None for each in self._leases if each.is_held}
        self._leases[lease] = None
        lease.is_broken = lease.id in self._revoked
        self.check.granted(lease)

    # --- its tasks ------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._last_round:
            self._carry_on(self._takes(self._last_round.pop(), None))
        elif self._last_round is None and not self.stopped:
            takes = self.chance.random() < LOCKS_SHARE
            task = self._carry_on(self._takes_a_lock() if takes else self._takes_a_lease())
            if not task.is_over and self.chance.random() < 0.15:
                self.at(self.now_s() + 2 * self.chance.random(), task.cancel)

    def _carry_on(self, coroutine: Coroutine[Promise, Any, Any]) -> Task:
        self._under_way += 1

        task: Task | None = None

        def end(_: Any, error: BaseException | None) -> None:
            self._tasks.pop(task, None)  # type: ignore[arg-type]
            self.ended(None, error)
            self._ended()

        task = Task(coroutine, end)
        if not task.is_over:
            self._tasks[task] = None
        return task

    def begin_last_round(self) -> None:
        """Take each lock once more, without faults: each waiting caller must get it in time."""
        self._last_round = [*self._locks.values(), *self._others.values()]
        self._weather, self._plan = "fair", replace(self._plan, loss=0)

    @property
    def is_through(self) -> bool:
        """Whether the last round is over, and no caller waits any more."""
        return not (self._last_round or self._under_way)

    def stop(self) -> None:
        super().stop()
        self._last_round = []
        for task in list(self._tasks):  # of programs that know no member
            task.cancel()
        self.keeper.die()

    async def _takes_a_lock(self) -> None:
        name = self.chance.choice((NAMES[0], *NAMES))
        lock = self.chance.choice((self._locks, self._locks, self._others))[name]
        await self._takes(lock, self.chance.choice(WAITS_S))

    async def _takes(self, lock: SimulatedLock, wait_s: float | None) -> None:
        began_s, held = self.now_s(), None
        try:
            value = f"{self.name} {os.name}"
            held = await lock.carry_out(lock._acquiring(value, wait_s, -1))
            until_s = math.inf if wait_s is None else began_s + wait_s - ROUNDING_S
            is_early = held is None and self.now_s() < until_s
            assert not is_early, f"{self.name}: acquire({wait_s}) ends too early"
        except ClientError:
            self.world.counts["locks in vain"] += 1
        if wait_s is not None:
            self._is_in_time(began_s + wait_s, f"acquire({wait_s})")
        if held is not None:
            await self._holds(lock, held)
        elif self._last_round is not None and wait_s is None:
            self._last_round.append(lock)

    def _is_in_time(self, until_s: float, what: str) -> None:
        """Whether a call ended in time, which includes its last requests: grant, try, release."""
        last_s = self.last_requests * (self.limit_s + 3 * LATE_S * (len(self._hosts) + 1))
        late_s = self.now_s() - until_s - last_s
        assert late_s <= 0, f"{self.name}: {what} ends {late_s:.1f} s late"

    async def _holds(self, lock: SimulatedLock, held: SimulatedHeld) -> None:
        lock.won(held)
        lease, token = held._lease, held.token
        is_last = self._last_round is not None
        end = "releases" if is_last else self.chance.choice(self.ends)
        try:
            is_short = is_last or end == "checks"
            await self.sleep((SHORT_S if is_short else HOLD_S) * self.chance.random())
            if end == "is broken":
                await self._break(held)
            elif end in ("is revoked", "forgets"):
                await self._revoke(lease)
                await self.sleep(HOLD_S * self.chance.random())
            elif end == "by hand":
                self._carry_on(self._set_by_hand(lock))
                await self.sleep(5 * SHORT_S)
            if end == "checks" or (end == "is broken" and self.chance.random() < 0.5):
                assert await lock.carry_out(held._checking()) == token
                assert not lease.is_surely_broken, "a broken lock is confirmed"
                assert lease.is_held, "a lock whose time is over is confirmed"
                self.world.counts["locks confirmed"] += 1
        except LeaseLost:
            assert not lease.is_held
        except ClientError:
            pass
        finally:
            if end == "dies":
                lease._granted().timer.lose()
            if end != "forgets" or not lease.is_surely_broken:
                await shielded(self._release(lock, held))

    async def _release(self, lock: SimulatedLock, held: SimulatedHeld) -> None:
        lease = held._lease
        was_held = lease.is_held
        try:
            await lock.carry_out(held._releasing())
        except ClientError:
            assert not lease.is_held
        else:
            is_lost = lease.is_surely_broken or not was_held
            is_known = held._waits_for_release
            assert not (is_lost and is_known), f"{lease} was lost, and its release reports no loss"
        assert lease.is_reported or not lease.was_lost, f"the loss of {lease} is not reported"

    # --- other actors ---------------------------------------------------------------------------

    async def _break(self, held: SimulatedHeld) -> None:
        """Delete the key of a held lock, as an operator may do."""
        lease, key = held._lease, held._key
        lease.is_broken = True
        broken = Transaction(TEXT, itself).if_.unchanged(key, held.token).then.delete(key).commit()
        lease.is_surely_broken = (await self.ask(broken, None)).succeeded

    async def _revoke(self, lease: SimulatedLease) -> None:
        """End a lease that another task holds, and with it what others hold under it."""
        self._revoked.add(lease.id)
        revoked = [each for each in self._leases if each.is_held and each.id == lease.id]
        for each in revoked:
            each.is_broken = True
        await self.ask(CALLS.release(lease.id), None)
        for each in revoked:
            each.is_surely_broken = True

    async def _set_by_hand(self, lock: SimulatedLock) -> None:
        """Set the key of a lock for a moment as soon as it is free. The holding task releases the
        lock meanwhile."""
        lease, keys = SimulatedLease(self, self.keeper, 1, keep=False), lock._keys
        with contextlib.suppress(ClientError):
            await carry_out_awaiting(lease._granting(), self._ask_step)
            while lease.is_held:
                taken = Transaction(TEXT, itself).if_.none_under(keys.prefix).then
                asked = taken.set(keys.seat_prefix(lease.id), BY_HAND, lease=lease).commit()
                if (await self.ask(asked, None)).succeeded:
                    self.check.set_by_hand(lock.name, lease)
                    await self.sleep(SHORT_S)
                    break
                await self.sleep(BY_HAND_S * self.chance.random())
            await carry_out_awaiting(lease._releasing(), self._ask_step)

    async def _takes_a_lease(self) -> None:
        """Hold a lease that doesn't guard a lock."""
        lease = SimulatedLease(self, self.keeper, 1)
        try:
            await carry_out_awaiting(lease._granting(), self._ask_step)
            await self.sleep(HOLD_S * self.chance.random())
            if self.chance.random() < 0.3:
                await self._revoke(lease)
            else:
                await self._check(lease)
            was_held = lease.is_held
            await carry_out_awaiting(lease._releasing(), self._ask_step)
            is_lost = lease.is_surely_broken or not was_held
            assert not is_lost, f"{lease} was lost, and its release reports no loss"
        except LeaseLost:
            assert not lease.is_held
        except ClientError:
            pass
        finally:
            await shielded(carry_out_awaiting(lease._dropping(), self._ask_step))

    async def _check(self, lease: SimulatedLease) -> None:
        """Confirm a lease. Now and then the answer is late, and it is the last one for a long
        time."""
        is_last = self._last_round is None and self.chance.random() < 0.5
        self._weather = "slow" if is_last else self._weather
        await carry_out_awaiting(lease._checking(None), self._ask_step)
        assert lease.is_held, "a lease whose time is over is confirmed"
        if is_last and self._last_round is None:
            self._weather = "away"
            await self.sleep(HOLD_S / 2)
