"""All that can happen in a bounded world of the real core.

A world is one number: the remaining budget, the history, and for each server the number of its
Local. A move of a server is computed once; after that it is a sum: the difference of two Locals,
the cost to the budget, and for each receiver the difference that the messages make to its inbox.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from raftline.raft import inputs
from raftline.raft.change import Change
from raftline.raft.identity import is_foreign
from raftline.raft.log import Entry
from raftline.raft.membership import Membership, all_vote
from raftline.raft.messages import AppendEntries, Message
from raftline.raft.newborn import PATIENCE
from raftline.raft.state import Options

from ..invariants import InvariantError
from .budget import Budget
from .clocks import HEARTBEAT_MS, NOW_MS, T_MS, WAITS_MS
from .explored_server import (
    DOWN,
    START_MS,
    Core,
    Disk,
    Event,
    Local,
    Lost,
    Messages,
    Numbers,
    Server,
    Work,
    check_left,
    disks_of_a_write,
    tells_of_entries,
    with_vote,
    written,
)
from .facts import History, Other, Violation, check_others
from .scenes import SCENES

BUDGET_BITS, HISTORY_BITS, LOCAL_BITS = 10, 20, 24
BUDGET_MASK = (1 << BUDGET_BITS) - 1
LOCAL_MASK = (1 << LOCAL_BITS) - 1
HISTORY_MASK = (1 << HISTORY_BITS) - 1
CONTEXT_BITS = BUDGET_BITS + HISTORY_BITS
CONTEXT_MASK = (1 << CONTEXT_BITS) - 1
GROUP_BITS = 24
OPTIONS = Options(election_timeout_ms=T_MS, heartbeat_ms=HEARTBEAT_MS)

Choice = tuple[Any, ...]  # ("deliver", number of the message), ("write", 2), …


class Move(NamedTuple):
    """A move of one server: its addition to the world, and its messages."""

    delta: int
    send: tuple[tuple[dict[int, int], int, int, int], ...] | None  # by receiver: see `World.add`
    event: int  # 0: none


class Bad(NamedTuple):
    """A step that broke an invariant by itself, instead of an event."""

    why: str


class Made(NamedTuple):
    """The result of a choice."""

    local: Local
    left: Budget
    send: tuple[int, ...] = ()
    events: tuple[Event | Bad, ...] = ()


class Fact(NamedTuple):
    """The facts of a server against which other servers' events are checked, without the time: see
    `Other`."""

    disk: Disk
    cast: tuple[tuple[int, str], ...]
    leads: int
    log: tuple[Entry, ...]
    lease_until_ms: int
    starts: int
    lost: tuple[Lost, ...]
    has_heard: bool
    is_wrong: bool
    cluster: str


class Context:
    """The budget and the history, on which the moves of each server depend."""

    def __init__(self, servers: int) -> None:
        self.moves: list[dict[int, list[Move]]] = [{} for _ in range(servers)]


FREE_OF_CHARGE = ("apply", "stand", "confirm")  # the last two occur only in the first world
OF_A_PROCESS = ("crash", "wipe", "amnesia", "old", "corrupt", "start")
SPENDS = {"ask": "read", "break": "break_"}
INPUTS: dict[str, Callable[..., inputs.Input]] = {
    "tick": inputs.Tick,
    "command": lambda text: inputs.Propose([text]),
    "read": lambda must_see: inputs.Read([must_see]),
    "apply": inputs.Applied,
    "stand": inputs.Tick,
    "confirm": lambda must_see: inputs.Read([must_see]),
    "ask": lambda must_see: inputs.AskLeader([must_see]),
    "lease": lambda must_see: inputs.Read([must_see], by_lease=True),
    "transfer": inputs.Transfer,
    "change": lambda change: inputs.ChangeMembers(change, "change"),
    "break": inputs.PeerDisconnected,
    "word": inputs.Begin,
    "lie": inputs.Begin,
}


class World:
    """The moves of each world; `begin` is the first one."""

    DRIFT_PERCENT = OPTIONS.lease_drift_percent  # that leases tolerate

    def __init__(
        self,
        budget: Budget,
        names: int = 3,
        *,
        changes: tuple[Change, ...] = (),
        is_reduced: bool = False,
    ) -> None:
        self.budget = budget
        scene = self.scene = SCENES.get(budget.scene)
        self.loses_disks = scene is not None
        count = scene.servers if scene else names
        self.names = [f"s{number}" for number in range(1, count + 1)]
        addresses = {name: f"h{name[1:]}:10000" for name in self.names}
        configured = self.names[: scene.configured if scene else count]
        members = all_vote({name: addresses[name] for name in configured})
        self.is_reduced = is_reduced
        self.has_leases = budget.lease > 0
        options = replace(OPTIONS, lease=self.has_leases, lease_drift_percent=self.DRIFT_PERCENT)
        if self.loses_disks:
            patience = PATIENCE if budget.patience else None
            options = replace(options, patience=patience)
        self.messages = Messages()
        self.servers = [
            Server(
                name,
                members if name in configured else Membership(()),
                options,
                self.messages,
                applies_at_once=not budget.lag,
                is_reduced=is_reduced,
                loses_disks=self.loses_disks,
                peers=[other for other in self.names if other != name] if scene else (),
            )
            for name in self.names
        ]
        self.joins = [Change("add", name, addresses[name]) for name in self.names]
        self.places = {name: place for place, name in enumerate(self.names)}
        self.shifts = [CONTEXT_BITS + place * LOCAL_BITS for place in range(count)]
        self.changes = changes or (Change("remove", "s1"), Change("remove", self.names[-1]))
        self._locals = [Numbers(LOCAL_BITS) for _ in self.names]
        self.budgets = Numbers(BUDGET_BITS)
        self.histories = Numbers(HISTORY_BITS)
        self.events = Numbers()
        self.events.of(None)  # 0
        self._groups = Numbers(GROUP_BITS)  # of messages to one receiver
        self._adds: list[dict[int, int]] = [{} for _ in self.names]
        self._facts: list[list[int]] = [[] for _ in self.names]  # by the number of a Local
        self._fact_numbers = Numbers()
        self._judged: dict[tuple[int, ...], int] = {}
        self.contexts: dict[int, Context] = {}
        number = self.budgets.of(budget)
        self.begin = self._played(scene.acts, number) if scene else self._formed(number)

    # --- numbers ---------------------------------------------------------------------------

    def world_of(self, budget: int, history: History, locals_: list[Local]) -> int:
        """Return the number of a world."""
        number = budget | self.histories.of(history) << BUDGET_BITS
        for place, local in enumerate(locals_):
            number |= self._numbered(place, local) << self.shifts[place]
        return number

    def local(self, world: int, place: int) -> Local:
        """Return a server of a world."""
        local: Local = self._locals[place].values[world >> self.shifts[place] & LOCAL_MASK]
        return local

    def history(self, world: int) -> History:
        """Return the history of a world."""
        history: History = self.histories.values[world >> BUDGET_BITS & HISTORY_MASK]
        return history

    def left(self, world: int) -> Budget:
        """Return the remaining budget of a world."""
        left: Budget = self.budgets.values[world & BUDGET_MASK]
        return left

    def now_ms(self, place: int, left: Budget, starts: int) -> int:
        """Return the clock of a server: with leases the first server's clock is as slow as they
        tolerate. Each start sets it far ahead, as no number that a server drew from its clock may
        recur. Independent clocks stand still."""
        if self.loses_disks:
            return NOW_MS
        return NOW_MS + starts * START_MS + left.passed[place > 0]

    # --- the first world -------------------------------------------------------------------

    def _formed(self, budget: int) -> int:
        """Return a world in which the first server leads, and all know that its entry is committed;
        no message is in flight."""
        locals_ = []
        for place, server in enumerate(self.servers):
            now_ms = self.now_ms(place, self.budget, 1)
            begin_ms = now_ms - T_MS * (1 if place else 2)
            locals_.append(Local(server.start(Disk(), 1, begin_ms), 1, Disk()))
        world = self.world_of(budget, History(), locals_)
        world = self._settled(self.after(world, 0, ("stand",)))
        return self._settled(self.after(world, 0, ("confirm", 0)))

    def _played(self, acts: str, budget: int) -> int:
        """Return the world after the acts of a scene, with the whole budget still left."""
        files, scene, self.scene = Disk(mark="newborn"), self.scene, None
        world = self.world_of(budget, History(), [Local(DOWN, 0, files) for _ in self.names])
        for act in acts.split("; "):
            kind, *words = act.split()
            if kind == "settle":
                world = self._settled(world, [word.removeprefix("-") for word in words])
            elif kind == "lose":
                for place in range(len(self.names)):
                    world = self._with(world, place, self.local(world, place)._replace(inbox=()))
            else:
                world = self._acted(world, kind, self.places[words[0]], words[1:])
        self.scene = scene
        return world >> BUDGET_BITS << BUDGET_BITS | budget

    def _acted(self, world: int, kind: str, place: int, words: list[str]) -> int:
        """Return the world after one act of a server."""
        local = self.local(world, place)
        if kind == "copy":
            return self._with(world, place, local._replace(copy=local.disk))
        choice: Choice = (kind, *words)
        if kind in WAITS_MS:
            choice = ("tick", kind, self.budget.passed)
        elif kind == "crash":
            choice = (kind, local.disk)
        elif kind == "word":
            choice = (kind, tuple(words))
        elif kind == "change":
            choice = (kind, self.joins[self.places[words[0]]])
        elif kind == "deliver":
            sent = self.messages.sent
            numbers = [each for each in local.inbox if sent[each].sender == words[0]]
            choice = (kind, numbers[0])
        world = self.after(world, place, choice)
        while self.local(world, place).queue:
            world = self.after(world, place, ("write", 1))
        return world

    def _with(self, world: int, place: int, local: Local) -> int:
        """Return the world with another state of a server."""
        number = world >> self.shifts[place] & LOCAL_MASK
        return world + (self._numbered(place, local) - number << self.shifts[place])

    def _settled(self, world: int, without: Collection[str] = ()) -> int:
        """Return the world after everything is delivered and written, in order and once, except for
        what some servers send or are sent."""
        place, sent = 0, self.messages.sent
        while place < len(self.names):
            local = self.local(world, place)
            if local.core == DOWN or self.names[place] in without:
                place += 1
                continue
            arrives = [each for each in local.inbox if sent[each].sender not in without]
            applying = self.servers[place].cores[local.core].applying
            choice: Choice = ("apply", applying) if applying else ("deliver", *arrives[:1])
            choice = ("write", 1) if local.queue else choice
            if len(choice) == 1:
                place += 1
                continue
            world, place = self.after(world, place, choice), 0
        return world

    # --- moves -----------------------------------------------------------------------------

    def after(self, world: int, place: int, choice: Choice) -> int:
        """Return the world after a choice of a server.

        Raises:
            Violation: the world is impossible.
        """
        left = self.left(world)
        result = self._choose(place, self.local(world, place), left, choice)
        return self.follow(world, self._move(world, place, result))

    def sent(self, world: int, place: int, choice: Choice) -> tuple[int, ...]:
        """Return the numbers of the messages that leave by a choice of a server."""
        return self._choose(place, self.local(world, place), self.left(world), choice).send

    def follow(self, world: int, move: Move) -> int:
        """Return the world after a move.

        Raises:
            Violation: the world is impossible.
        """
        after = world + move.delta
        for added, shift, bits, to in move.send or ():
            inbox = world >> shift & LOCAL_MASK
            key = inbox << GROUP_BITS | bits
            after += added[key] if key in added else self.add(key, to)
        return self.judge(after, move.event) if move.event else after

    def add(self, key: int, to: int) -> int:
        """Return, and cache, the difference that a group of messages makes for each receiver."""
        number, group = key >> GROUP_BITS, self._groups.values[key & ((1 << GROUP_BITS) - 1)]
        local = self._locals[to].values[number]
        if self.loses_disks and local.core == DOWN:
            group = ()  # there is no connection
        inbox = tuple(sorted((*local.inbox, *group)))
        if self.loses_disks:
            inbox = tuple(dict.fromkeys(inbox))
        added = self._numbered(to, local._replace(inbox=inbox))
        delta = self._adds[to][key] = (added - number) << self.shifts[to]
        return delta

    def judge(self, world: int, number: int) -> int:
        """Return the world including an event in its history.

        Raises:
            Violation: the event contradicts the history or another server.
        """
        facts = [
            numbers[world >> shift & LOCAL_MASK]
            for numbers, shift in zip(self._facts, self.shifts, strict=True)
        ]
        key = world & CONTEXT_MASK, number, *facts
        delta = self._judged.get(key)
        if delta is None:
            delta = self._judged[key] = self._judge(world, number)
        return world + delta

    def _judge(self, world: int, number: int) -> int:
        """Return the difference that an event makes to a world."""
        facts = [
            numbers[world >> shift & LOCAL_MASK]
            for numbers, shift in zip(self._facts, self.shifts, strict=True)
        ]
        before = world >> BUDGET_BITS & HISTORY_MASK
        after = self.history_after(world & BUDGET_MASK, before, number, facts)
        return (after - before) << BUDGET_BITS

    def history_after(self, budget: int, history: int, number: int, facts: list[int]) -> int:
        """Return the number of a history that includes an event, next to servers with these facts.

        Raises:
            Violation: the event contradicts the history or another server.
        """
        event = self.events.values[number]
        if isinstance(event, Bad):
            raise Violation(event.why)
        left, others = self.budgets.values[budget], []
        for place, each in enumerate(facts):
            fact: Fact = self._fact_numbers.values[each]
            holds = self.now_ms(place, left, fact.starts) < fact.lease_until_ms
            others.append(
                Other(
                    self.names[place],
                    fact.disk,
                    fact.cast,
                    fact.leads,
                    fact.log,
                    fact.lost,
                    fact.has_heard,
                    fact.is_wrong,
                    fact.cluster,
                    holds,
                )
            )
        check_others(event, others)
        waits = not (self.budget.patience or self.budget.lie)
        return self.histories.of(self.histories.values[history].after(event, others, waits=waits))

    def _numbered(self, place: int, local: Local) -> int:
        """Return the number of a Local, and record its facts for the checks of other servers'
        events."""
        server = self.servers[place]
        if server.is_reduced and local.inbox:
            core, term = local.core, local.disk.term
            inbox = [each for each in local.inbox if not server.is_void(core, each, term)]
            local = local._replace(inbox=tuple(inbox))
        number = self._locals[place].of(local)
        if number == len(self._facts[place]):
            self._facts[place].append(self.fact_of(place, local))
        return number

    def fact_of(self, place: int, local: Local) -> int:
        """Return the number of a server's facts, against which other servers' events are
        checked."""
        core = None if local.core == DOWN else self.servers[place].cores[local.core]
        fact = Fact(
            local.disk,
            local.cast,
            core.leads if core else 0,
            core.log if core else (),
            core.lease_until_ms if core else 0,
            local.starts,
            local.lost,
            local.has_heard,
            local.is_wrong,
            core.identity if core else "",
        )
        return self._fact_numbers.of(fact)

    def moves(self, context: int, place: int, number: int) -> list[Move]:
        """Return, and cache, the moves of a server in a context (the low bits of a world)."""
        world = context | number << self.shifts[place]
        local, left = self.local(world, place), self.left(world)
        result = self.taken(place, local, left, self.choices(world, place))
        moves = [self._move(world, place, each) for each in result]
        # A choice that changes nothing isn't a move.
        moves = [move for move in moves if move != (0, None, 0)]
        self.contexts[context].moves[place][number] = moves
        return moves

    def taken(
        self, place: int, local: Local, left: Budget, choices: Iterable[Choice]
    ) -> list[Made]:
        """Return the results of choices. A reduced world leaves out a message whose arrival changes
        nothing: every continuation is also possible if it never arrives."""
        results = []
        for choice in choices:
            result = self._choose(place, local, left, choice)
            if self.is_reduced and choice[0] in ("deliver", "again"):
                kept = result.local._replace(inbox=local.inbox)
                if kept == local and not result.send and not result.events:
                    continue
            results.append(result)
        return results

    def moves_of(self, world: int) -> list[Move]:
        """Return all moves of all servers in a world."""
        low, moves = world & CONTEXT_MASK, []
        context = self.contexts.setdefault(low, Context(len(self.names)))
        for place, shift in enumerate(self.shifts):
            number = world >> shift & LOCAL_MASK
            cached = context.moves[place].get(number)
            moves += self.moves(low, place, number) if cached is None else cached
        return moves

    def choices(self, world: int, place: int) -> Iterator[Choice]:
        """Yield each choice that a server has in a world."""
        history = self.history(world)
        return self.open(place, self.local(world, place), self.left(world), history)

    def open(self, place: int, local: Local, left: Budget, history: History) -> Iterator[Choice]:
        """Yield the choices that a server has."""
        if local.core == DOWN:
            yield ("start",)
            return
        core = self.servers[place].cores[local.core]
        for number in dict.fromkeys(local.inbox):
            yield ("deliver", number)
            if left.twice:
                yield ("again", number)
        for count in range(1, len(local.queue) + 1):
            yield ("write", count)
        if core.applying:
            yield ("apply", core.applying)
        yield from self._ticks(place, local, left)
        if left.crash:
            yield from self._crashes(local)
        yield from self._asked(place, core, left, history)
        others = [name for name in self.names if name != self.names[place]]
        if self.loses_disks:
            yield from self._falls(local, left)
        if left.transfer and core.leads:
            yield from (("transfer", name) for name in others)
        if left.break_:
            yield from (("break", name) for name in others)

    def _asked(self, place: int, core: Core, left: Budget, history: History) -> Iterator[Choice]:
        """Yield the requests that people and programs may send to a server; a read must see what is
        committed."""
        must_see = len(history.of().committed)
        if left.command and core.takes_proposals:
            yield ("command", f"c{self.budget.command - left.command + 1}")
        if left.read and (core.leads or core.follows):
            yield ("read" if core.leads else "ask", must_see)
        if left.lease and core.leads:
            yield ("lease", must_see)
        if left.change and core.leads:
            yield from (("change", change) for change in self.changes)
        if core.looks:
            others = [name for name in self.names if name != self.names[place]]
            absent = [name for name in others if name not in history.ran]
            yield from (("word", (name,)) for name in absent if left.word)
            yield from (("lie", (name,)) for name in others if left.lie)

    def _ticks(self, place: int, local: Local, left: Budget) -> Iterator[Choice]:
        """Yield the tick of a server. The timer that fires advances all clocks to its time, unless
        they are past it; on other clocks it then seems late."""
        core = self.servers[place].cores[local.core]
        if self.loses_disks:
            kinds = ("heartbeat", "alone") if core.leads else ("timeout", "patience")
            for kind in kinds:
                if getattr(left, kind) and (core.looks or kind != "patience"):
                    yield "tick", kind, left.passed
            return
        kind = "heartbeat" if core.is_heartbeat else "timeout"
        if not getattr(left, kind):
            return
        if core.wake_at_ms <= self.now_ms(place, left, local.starts):
            yield "tick", kind, left.passed
            return
        first, others = left.passed
        wait_ms = core.wake_at_ms - self.now_ms(place, left, local.starts)
        if not self.has_leases:
            passed = first + wait_ms, others + wait_ms
        elif place:  # the slow clock reaches it last
            passed = first - (-10 * wait_ms // 11), others + wait_ms
        else:
            passed = first + wait_ms, others + 11 * wait_ms // 10
        yield "tick", kind, passed

    def _crashes(self, local: Local) -> Iterator[Choice]:
        """Yield a crash at each point of the write queue: before a write, and within one."""
        disks = {local.disk}
        for count in range(1, len(local.queue) + 1):
            disks.update(disks_of_a_write(local.disk, local.queue[:count]))
        yield from (("crash", disk) for disk in sorted(disks, key=str))

    def _falls(self, local: Local, left: Budget) -> Iterator[Choice]:
        """Yield the ways in which a server loses its files, or its state goes wrong."""
        if left.wipe:
            yield ("wipe",)
        if left.amnesia and local.disk != Disk(mark="newborn"):
            yield ("amnesia",)
        if left.old and local.copy not in (None, local.disk):
            yield ("old",)
        if left.corrupt and not local.is_wrong:
            yield ("corrupt",)

    def _fallen(self, local: Local, kind: str) -> Local:
        """Return a server whose process has ended, and whose files are others. All that was sent to
        the process is gone."""
        files = {"wipe": Disk(mark="newborn"), "amnesia": Disk(mark="amnesiac"), "old": local.copy}
        lost = (*local.lost, Lost(local.disk, local.cast))
        return Local(DOWN, local.starts, files[kind] or local.disk, lost=lost, copy=local.copy)

    def _choose(self, place: int, local: Local, left: Budget, choice: Choice) -> Made:
        """Return the result of a choice."""
        kind, server = choice[0], self.servers[place]
        now_ms = self.now_ms(place, left, local.starts)
        if kind in OF_A_PROCESS:
            return self._begun_or_ended(place, local, left, choice)
        if kind == "write":
            return self._write(place, local, left, choice[1], now_ms)
        if kind in ("deliver", "again"):
            message = self.messages.sent[choice[1]]
            before = server.cores[local.core]
            if kind == "deliver":
                local = without(local, choice[1])
            left = spent(left, "twice") if kind == "again" else left
            if is_foreign(before.cluster, self.messages.clusters[choice[1]]):
                return Made(local, left)  # its connection is refused
            if self.loses_disks and before.is_newborn and tells_of_entries(message):
                local = local._replace(has_heard=True)
            return self._step(place, Made(local, left), choice[1], inputs.Receive(message), now_ms)
        if kind == "tick":
            left = replace(spent(left, choice[1]), passed=choice[2])
            now_ms = self.now_ms(place, left, local.starts)
            if self.loses_disks:
                now_ms += WAITS_MS[choice[1]]
            choice = choice[:1]
        elif kind not in FREE_OF_CHARGE:
            left = spent(left, SPENDS.get(kind, "") or kind)
        core_input = INPUTS[kind](*choice[1:])
        return self._step(place, Made(local, left), choice, core_input, now_ms)

    def _begun_or_ended(self, place: int, local: Local, left: Budget, choice: Choice) -> Made:
        """Return the result of the start of a process, or of its end."""
        kind, server = choice[0], self.servers[place]
        if kind == "crash":
            local = local._replace(core=DOWN, disk=choice[1], queue=(), has_heard=False)
            if self.loses_disks:
                local = local._replace(inbox=())  # the connections broke
            return Made(local, spent(left, kind))
        if kind in ("wipe", "amnesia", "old"):
            return Made(self._fallen(local, kind), spent(left, kind))
        if kind == "corrupt":
            return Made(local._replace(is_wrong=True), spent(left, kind))
        starts = local.starts + 1
        try:
            core = server.start(local.disk, starts, self.now_ms(place, left, starts))
        except Exception as error:
            return Made(local, left, (), (Bad(f"{server.name} can't start: {error}"),))
        result = Made(local._replace(core=core, starts=starts), left)
        if self.loses_disks and starts == 1:
            result = result._replace(events=(Event(server.name, 0, ran=True),))
        why = server.why_not_started(core, local.disk)
        return result._replace(events=(Bad(why),)) if why else result

    def _step(self, place: int, made: Made, key: Any, taken: inputs.Input, now_ms: int) -> Made:
        """Pass an input to the core, and carry out its Effects."""
        local = made.local
        outcome = self.servers[place].step(local.core, key, taken, now_ms, is_wrong=local.is_wrong)
        if outcome.bad:
            return made._replace(events=(*made.events, Bad(outcome.bad)))
        sent, after, queue = outcome.send, outcome.after, local.queue
        if any(work.holds_promise for work in queue):
            after = outcome.past_entries + after
        else:
            sent += outcome.past_entries
        if outcome.work is not None:
            queue = (*queue, outcome.work)
        elif queue and after:  # not before the disk write of an earlier step
            queue = (*queue[:-1], self._with_messages(queue[-1], after))
        else:
            sent += after
        local = local._replace(core=outcome.core, queue=queue)
        events = (*made.events, outcome.event) if outcome.event else made.events
        index, term = self.servers[place].cores[outcome.core].durable
        if not local.disk.holds(index, term):
            why = f"takes entry {index} of term {term} to be on its disk"
            events = (*events, Bad(f"{self.names[place]} {why}"))
        return self._sent(Made(local, made.left, made.send, events), sent)

    def _with_messages(self, work: Work, messages: tuple[int, ...]) -> Work:
        """Return a work after which these messages leave as well. Whether they leave together or
        one by one makes no difference: each may be in flight for any time."""
        return work._replace(messages=tuple(sorted((*work.messages, *messages))))

    def _write(self, place: int, local: Local, left: Budget, count: int, now_ms: int) -> Made:
        """Write `count` works at once, send the messages that waited for them, and report it to the
        core."""
        works = local.queue[:count]
        disk = written(local.disk, works)
        result = Made(local._replace(disk=disk, queue=local.queue[count:]), left)
        for work in works:
            result = self._sent(result, work.messages)
        if not any(work.append or work.cut_after is not None for work in works):
            return result
        last = disk.entries[-1][:2] if disk.entries else (0, 0)
        return self._step(place, result, last, inputs.Synced(*last), now_ms)

    def _sent(self, made: Made, numbers: tuple[int, ...]) -> Made:
        """Send messages, after a check that the disk holds what they claim."""
        local, events = made.local, made.events
        for number in numbers:
            message = self.messages.sent[number]
            try:
                check_left(message, local.disk, local.cast)
            except InvariantError as error:
                events = (*events, Bad(str(error)))
            local = local._replace(cast=with_vote(local.cast, message))
        return Made(local, made.left, (*made.send, *numbers), events)

    def _move(self, world: int, place: int, made: Made) -> Move:
        """Return the result of a choice as numbers."""
        budget, number = world & BUDGET_MASK, world >> self.shifts[place] & LOCAL_MASK
        delta = self.budgets.of(made.left) - budget
        delta += (self._numbered(place, made.local) - number) << self.shifts[place]
        send = tuple(
            (self._adds[to], self.shifts[to], self._groups.of(tuple(group)), to)
            for to, group in self.by_receiver(made.send).items()
        )
        return Move(delta, send or None, self.event_of(made.events))

    def by_receiver(self, numbers: tuple[int, ...]) -> dict[int, list[int]]:
        """Return messages by the indices of their receivers."""
        results: dict[int, list[int]] = {}
        for each in numbers:
            message = self.messages.sent[each]
            to = self.places.get(message.to)
            if to is not None and self.arrives(message):
                results.setdefault(to, []).append(each)
        return results

    def arrives(self, message: Message) -> bool:
        """Whether a message may ever arrive in this scene."""
        if self.scene is None:
            return True
        is_cut = {message.sender, message.to} == {*self.scene.cut}
        return not is_cut and not (self.scene.is_about_votes and isinstance(message, AppendEntries))

    def event_of(self, events: tuple[Event | Bad, ...]) -> int:
        """Return the number of the event among these; 0 for none."""
        if not events:
            return 0
        for event in events:
            if isinstance(event, Bad):
                return self.events.of(event)
        assert len(events) == 1  # a single step of the core
        return self.events.of(events[0])


def spent(left: Budget, kind: str) -> Budget:
    """Return the remaining budget after an event."""
    return replace(left, **{kind: getattr(left, kind) - 1})


def without(local: Local, number: int) -> Local:
    """Return a server without a message in its inbox."""
    place = local.inbox.index(number)
    return local._replace(inbox=local.inbox[:place] + local.inbox[place + 1 :])
