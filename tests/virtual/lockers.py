"""Simulated programs that take locks, as raftline's own clients do, in schedules of faults.

Turns of callers, getting and holding a lock (`kv/claims.py`), leases and their renewals
(`kv/renewals.py`), watches (`kv/following.py`) and requests are those of the clients. Here is what
their steps do in virtual time. One holder at a time, tokens that grow, no lease that is believed
in after its end, and each call ends in time.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from random import Random
from typing import Any, TypeVar

from raftline.clients.connection import ClientError, Deadline
from raftline.clients.search import NodeTurns, search, text_of
from raftline.clients.steps import carry_out_awaiting
from raftline.kv.callers import Callers
from raftline.kv.calls import CALLS, Ask, Call
from raftline.kv.claims import AwaitTurn, BaseClaim, Claiming, ClaimStep, LetGo, Look
from raftline.kv.codec import TEXT
from raftline.kv.contest import LOCKS, LockKeys
from raftline.kv.errors import LeaseLost
from raftline.kv.events import WatchCursor
from raftline.kv.following import (
    BaseWatch,
    Connect,
    HangUp,
    NextLine,
    Rest,
    Send,
    WatchMachine,
    WatchStep,
)
from raftline.kv.lease_timer import BaseLease, LeaseTimer
from raftline.kv.liveness import MEMBERS_ID
from raftline.kv.renewals import Renewals, UntilDue, keeping
from raftline.logmanager import LogManager
from raftline.wire.replies import Reply
from tests.virtual.client_request import ClientRequest
from tests.virtual.coroutines import Cancelled, Promise, Task, shielded, slept
from tests.virtual.history import History
from tests.virtual.host import Host
from tests.virtual.plan import Plan
from tests.virtual.searchers import ATTEMPTS, LATE_S, Searcher
from tests.virtual.searchers import Call as SearchCall
from tests.virtual.watchlines import LinesHeard
from tests.virtual.world import World

Result = TypeVar("Result")
NAMES = ("door", "door", "gate")
HOLDER_PERMILLE = 1001  # of a holder's clock: the fastest node's is not a tenth faster than it
LOOK_MS = 20  # between two looks at a connection that is silent
ENDS = ("releases", "releases", "releases", "checks", "dies", "is broken")


class LockCheck:
    """Compares what programs believe of their locks with each other, and with the nodes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens: dict[str, int] = {}  # the highest, by the name of the lock
        self._held: dict[str, list[SimulatedLease]] = {}
        self._timers: dict[str, SimulatedLease] = {}
        self._there: set[str] = set()
        self._latest = 0

    def won(self, name: str, token: int, lease: SimulatedLease) -> None:
        """A program gets a lock.

        Raises:
            AssertionError: the token does not grow, or another program holds the lock for certain.
        """
        last = self._tokens.get(name, 0)
        assert token > last, f"{name} has token {token} after {last}"
        self._tokens[name] = token
        others = [each for each in self._held.get(name, []) if each.is_held and not each.is_broken]
        assert not others, f"{name} is got with {token}, and {others} hold it for certain"
        self._held[name] = [lease]
        self._world.counts["locks got"] += 1

    def granted(self, lease: SimulatedLease) -> None:
        """A program has a lease granted."""
        self._timers = {name: each for name, each in self._timers.items() if each.is_held}
        self._timers[lease.id] = lease

    def applied(self, manager: LogManager) -> None:
        """A node has applied entries.

        Raises:
            AssertionError: a lease is gone there, and its holder holds it still.
        """
        if manager.applied.index <= self._latest:
            return
        self._latest = manager.applied.index
        there = set(manager.store.leases.granted)
        for name in self._there - there:
            lease = self._timers.get(name)
            assert lease is None or not lease.is_held, f"{lease} is believed in after its end"
        self._there = there


class _Over:
    def set(self) -> None:
        """Nobody waits for the end of a simulated lease."""


class SimulatedLease(BaseLease[_Over]):
    """A lease of a simulated program."""

    is_broken = False  # an operator has deleted the key that it guards

    def __init__(self, program: Locker, seconds: int, on_end: Any = None) -> None:
        super().__init__(program.keeper, seconds, None, True, on_end, program.lease_s)

    def _new_event(self) -> _Over:
        return _Over()

    def _call_apart(self, on_lost: Any) -> None:
        raise AssertionError("a lock reports its loss by itself")


class SimulatedLock(BaseClaim[SimulatedLease, Promise]):
    """A lock object of a simulated program."""

    def __init__(self, program: Locker, name: str, seconds: int) -> None:
        self._program = program
        self._mutex = nullcontext()
        self._all_callers: Callers[SimulatedLease, Promise] = Callers(lambda one: one.settle(True))
        make = partial(SimulatedLease, program, seconds)
        super().__init__(make, program.watch, LockKeys(LOCKS, name), program.lost)

    @property
    def _callers(self) -> Callers[SimulatedLease, Promise]:
        return self._all_callers

    def _caller(self) -> object:
        return Task.current or self

    def _new_waiter(self) -> Promise:
        return Promise()

    def _has_turn(self, waiter: Promise) -> bool:
        return waiter.answer is True

    def _now(self) -> float:
        return self._program.now_s()

    def _call_apart(self, on_lost: Any) -> None:
        on_lost()

    async def carry_out(self, steps: Claiming[Result]) -> Result:
        return await carry_out_awaiting(steps, self._do)

    async def _do(self, step: ClaimStep) -> object:
        if isinstance(step, Ask):
            answer = await self._program.ask(step.call, step.limit_s)
            if step.call.command.startswith("lease "):
                self._program.world.counts["leases of lockers"] += 1
            return answer
        if isinstance(step, Look):
            return await step.watch.step(step.until_s)
        if isinstance(step, AwaitTurn):
            if step.until_s is not None:
                self._program.at(step.until_s, partial(step.waiter.settle, False))
            self._program.world.counts["turns that are waited for"] += 1
            return await step.waiter
        assert isinstance(step, LetGo)
        return await shielded(self.carry_out(step.steps))


class SimulatedKeeper:
    """Renews leases one after the other, as a client of threads does, or each by itself."""

    def __init__(self, program: Locker, is_shared: bool) -> None:
        self._program = program
        self._is_shared = is_shared
        self._all: dict[LeaseTimer, Renewals] = {}
        self._shared = Renewals()
        self._changed = Promise()

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

    def die(self) -> None:
        """Renew nothing more, as a program that was killed."""
        for timer in list(self._all):
            self.drop(timer)

    async def _do(self, renewals: Renewals, step: Ask | UntilDue) -> object:
        if isinstance(step, Ask):
            self._program.world.counts["renewals of lockers"] += 1
            return await self._program.ask(step.call, step.limit_s)
        if renewals:
            self._changed = Promise()
            left_s = max(0.0, renewals.due_s - self._program.lease_s())
            self._program.at(self._program.now_s() + left_s, self._changed.settle)
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

    async def _do(self, step: WatchStep) -> object:
        connection = self._connection
        if isinstance(step, Connect):
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
            delay_ms = max(1, math.ceil(min(LOOK_MS, 1000 * left_s)))
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
        self._tasks: dict[Task, None] = {}
        self._at_all = list(hosts)
        super().__init__(world, plan, name, hosts, history)
        seconds = chance.choice((1, 1, 2))
        self._locks = {each: SimulatedLock(self, each, seconds) for each in dict.fromkeys(NAMES)}
        self._others = {each: SimulatedLock(self, each, seconds) for each in dict.fromkeys(NAMES)}

    # --- the world --------------------------------------------------------------------------------

    @property
    def nodes(self) -> NodeTurns:
        return self._nodes

    def now_s(self) -> float:
        return self.world.now_ms / 1000

    def lease_s(self) -> float:
        """Return the time by the clock of leases."""
        return self.world.now_ms * HOLDER_PERMILLE / 1_000_000

    def host_at(self, address: Any) -> Host | None:
        return self._hosts.get(address)

    def members_at(self, host: Host) -> str:
        return "Sorry, down" if host.node is None else self._status(host)

    def breaks(self) -> bool:
        return self.chance.random() < self._plan.loss / 10

    def watch(self, prefix: str) -> SimulatedWatch:
        self.world.counts["watches of lockers"] += 1
        return SimulatedWatch(self, prefix)

    def at(self, until_s: float, act: Any) -> None:
        delay_ms = max(0, math.ceil(1000 * until_s - self.world.now_ms))
        self.world.beside(min(delay_ms, 10**9), self.chance.random(), act)

    async def sleep(self, seconds: float) -> None:
        await slept(self.world, math.ceil(1000 * seconds), self.chance.random())

    def lost(self) -> None:
        self.world.counts["locks lost"] += 1

    def ended(self, _: Any, error: BaseException | None) -> None:
        """Take the end of a task. Raises what it raised."""
        if error is not None and not isinstance(error, Cancelled):
            raise error

    async def ask(self, call: Call[Result], limit_s: float | None) -> Result:
        limit_s = self.limit_s if limit_s is None else limit_s
        deadline = Deadline(limit_s, attempt_s=limit_s / ATTEMPTS, now=self.now_s)
        steps = search(self._nodes, self._sessions, self.name, call.command, deadline)
        until_ms = self.world.now_ms + 1000 * limit_s
        latest_ms = until_ms + 3000 * LATE_S * (len(self._hosts) + 1)
        request = ClientRequest(self, "get", call.command, None, 0, False, "index", None)
        asked = SearchCall(request, steps, until_ms, latest_ms, Promise())
        self._go_on(asked, None)
        try:
            answer = call.read(text_of(await asked.ended))
            self.found += 1
            return answer
        except ClientError as error:
            raise call.failure(error) from None

    def _end(self, call: SearchCall, reply: Reply) -> None:
        call.ended.settle(reply)

    def _fail(self, call: SearchCall, error: ClientError) -> None:
        call.ended.settle(None, error)

    # --- what it does -----------------------------------------------------------------------------

    def _begin(self) -> None:
        if self.stopped:
            return
        self._under_way += 1
        task: Task | None = None

        def end(_: Any, error: BaseException | None) -> None:
            self._tasks.pop(task, None)  # type: ignore[arg-type]
            self.ended(None, error)
            self._ended()

        task = Task(self._takes_a_lock(), end)
        if not task.is_over:
            self._tasks[task] = None
            if self.chance.random() < 0.15:
                self.at(self.now_s() + 2 * self.chance.random(), task.cancel)

    def stop(self) -> None:
        super().stop()
        for task in list(self._tasks):
            task.cancel()
        self.keeper.die()

    async def _takes_a_lock(self) -> None:
        name = self.chance.choice(NAMES)
        lock = self.chance.choice((self._locks, self._locks, self._others))[name]
        wait_s = self.chance.choice((0.0, 0.5, 5.0, 5.0, None))
        began_s = self.now_s()
        try:
            token = await lock.carry_out(lock._getting(f"{self.name} {os.name}", wait_s))
        except ClientError:
            self.world.counts["locks in vain"] += 1
            token = None
        if wait_s is not None:
            self._is_in_time(began_s + wait_s, f"acquire({wait_s})")
        if token is not None:
            await self._holds(lock, name, token)

    def _is_in_time(self, until_s: float, what: str) -> None:
        """A call may take the time of its last requests: grant, try, release."""
        late_s = self.now_s() - until_s - 3 * (self.limit_s + 3 * LATE_S * (len(self._hosts) + 1))
        assert late_s <= 0, f"{self.name}: {what} ends {late_s:.1f} s late"

    async def _holds(self, lock: SimulatedLock, name: str, token: int) -> None:
        lease = lock._my_lease()
        assert lock.token == token
        self.check.won(name, token, lease)
        self.check.granted(lease)
        end = self.chance.choice(ENDS)
        try:
            await self.sleep(3 * self.chance.random())
            if end == "is broken":
                lease.is_broken = True
                await self.ask(CALLS.delete(lock._keys.held), None)
            if end in ("checks", "is broken"):
                assert await lock.carry_out(lock._checking()) == token
                assert not lease.is_broken, "a broken lock is confirmed"
                self.world.counts["locks confirmed"] += 1
        except LeaseLost:
            assert not lease.is_held
        except ClientError:
            pass
        finally:
            if end == "dies":
                self.keeper.die()
                lease._lose()
            try:
                await shielded(lock.carry_out(lock._giving(lock._caller())))
            except (ClientError, RuntimeError):
                assert not lease.is_held
