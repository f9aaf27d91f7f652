"""The search as machine code (search.c), which a C compiler makes of it within a second.

It knows numbers alone: a server without its inbox (`bare`), a message, a budget, a history. What it
doesn't know it asks for, once; the answer comes from the same `World` that search.py asks.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from tests.explore.ends import Ends, can_end, is_spent
from tests.explore.facts import Violation
from tests.explore.search import ORDERS, Found
from tests.explore.server import DOWN, Local, Numbers
from tests.explore.world import BUDGET_BITS, Choice, World

SOURCE = Path(__file__).with_name("search.c")
BUILT = Path(__file__).resolve().parents[2] / "build" / "explore" / "search.so"
COMPILE = ("-O2", "-std=gnu11", "-shared", "-fPIC", "-Wall", "-Wextra")
DONE, PAUSED, NEED, NO_MEMORY, NO_NUMBERS = range(5)  # what explore_run returns
CLASS, OWN, DELIVER, IS_VOID, JUDGE, SPENT, EFFECT, SAME, PASSED, ROUNDLESS = range(
    1, 11
)  # what it needs
LOOK = 1 << 8  # worlds between two looks at the clock
MOST_SERVERS = 5
POINTERS = ("explore_new", "explore_need")
COUNTS = ("explore_states", "explore_steps", "explore_place", "explore_parent")


def library(servers: int = 0) -> ctypes.CDLL | None:
    """Return the search as machine code, built anew if it is older than its source; None if there
    is no C compiler, or it fails, or a world of so many servers is too large for it."""
    if servers > MOST_SERVERS:
        return None
    try:
        if not BUILT.exists() or BUILT.stat().st_mtime < SOURCE.stat().st_mtime:
            compiler = shutil.which(os.environ.get("CC", "cc"))
            if compiler is None:
                return None
            BUILT.parent.mkdir(parents=True, exist_ok=True)
            part = BUILT.with_suffix(f".{os.getpid()}")
            subprocess.run([compiler, *COMPILE, "-o", str(part), str(SOURCE)], check=True)
            part.replace(BUILT)
        loaded = ctypes.CDLL(str(BUILT))
    except (OSError, subprocess.CalledProcessError):
        return None
    for name in POINTERS:
        getattr(loaded, name).restype = ctypes.c_void_p
    for name in COUNTS:
        getattr(loaded, name).restype = ctypes.c_uint64
    return loaded


class Search:
    """One search through a world by machine code."""

    def __init__(
        self, loaded: ctypes.CDLL, world: World, order: str, seed: int, *, cuts_ends: bool = False
    ) -> None:
        self._c = loaded
        self._world = world
        self._bares: list[Numbers] = [Numbers() for _ in world.names]
        self._ends = Ends(world) if cuts_ends and can_end(world) else None
        self._noted = [0, 0]  # messages, budgets
        self._classes = Numbers()  # of budgets and what reads must see
        self._handle = ctypes.c_void_p(
            loaded.explore_new(
                len(world.names),
                ORDERS.index(order),
                ctypes.c_uint64(seed),
                world.is_reduced,
            )
        )
        if not self._handle:
            raise MemoryError
        began = [self._bare(place, world.local(world.begin, place)) for place in self._places()]
        context = world.begin & ((1 << 24) - 1)
        loaded.explore_begin(self._handle, context, (ctypes.c_uint32 * len(began))(*began))
        self._note()
        address = loaded.explore_need(self._handle)
        self._need = (ctypes.c_uint64 * (MOST_SERVERS + 5)).from_address(address)

    def close(self) -> None:
        """Give the memory back."""
        self._c.explore_free(self._handle)

    @property
    def states(self) -> int:
        """How many worlds were seen."""
        return int(self._c.explore_states(self._handle))

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return int(self._c.explore_steps(self._handle))

    def run(self, worlds: int, end_s: float) -> bool:
        """Look at some worlds, up to this time of the processor; return whether these were all.

        Raises:
            Violation: one can't be.
            MemoryError: there is no more.
            OverflowError: there are more different servers than numbers for them.
        """
        while time.process_time() < end_s:
            outcome = self._c.explore_run(self._handle, ctypes.c_uint64(worlds))
            if outcome == NEED:
                self._answer(*self._need)
                self._note()
            elif outcome == NO_MEMORY:
                raise MemoryError
            elif outcome == NO_NUMBERS:
                raise OverflowError("more different servers than numbers for them")
            else:
                return bool(outcome == DONE)
        return False

    def way(self) -> list[int]:
        """Return the numbers of the worlds from the first to the current one, of which a search in
        breadth knows the shortest way."""
        place, way = int(self._c.explore_place(self._handle)), []
        while place:
            way.append(self._world_at(place))
            place = int(self._c.explore_parent(self._handle, ctypes.c_uint64(place)))
        return [self._world.begin, *reversed(way)]

    def seen(self) -> list[tuple[int, ...]]:
        """Return each world that was seen: budget and history, and the servers without inboxes."""
        width = 1 + len(self._world.names)
        numbers = (ctypes.c_uint32 * (width * self.states))()
        self._c.explore_seen(self._handle, numbers)
        return [tuple(numbers[at : at + width]) for at in range(0, len(numbers), width)]

    def bare(self, place: int, number: int) -> Local:
        """Return the server of this number, to which nothing is on its way."""
        local: Local = self._bares[place].values[number]
        return local

    def _places(self) -> range:
        return range(len(self._world.names))

    def _bare(self, place: int, local: Local) -> int:
        known = len(self._bares[place].values)
        number = self._bares[place].of(local._replace(inbox=()))
        if number == known:
            self._c.explore_fact(self._handle, place, self._world.fact_of(place, local))
            if self._ends:
                trait, waits = self._ends.trait(place, local), self._ends.waits(local)
                numbers = (ctypes.c_uint32 * len(waits))(*waits)
                self._c.explore_trait(self._handle, place, trait, numbers, len(waits))
        return number

    def _note(self) -> None:
        """Let the search know the new messages, and which of the new budgets are spent."""
        if self._ends is None:
            return
        world = self._world
        for message in world.messages.sent[self._noted[0] :]:
            self._c.explore_message(self._handle, self._ends.message(message))
        for left in world.budgets.values[self._noted[1] :]:
            self._c.explore_spent(self._handle, is_spent(left))
        self._noted = [len(world.messages.sent), len(world.budgets.values)]

    def _answer(self, kind: int, place: int, a: int, b: int, c: int, *bares: int) -> None:
        """Answer a need: what a, b and c are depends on its kind (search.c)."""
        local: Local
        choices: Iterable[Choice]
        if kind == OWN:
            budget, must_see = self._classes.values[a]
            local = self._bares[place].values[b]
            choices = self._world.open(place, local, self._world.budgets.values[budget], must_see)
            self._answer_moves(place, budget, local, choices)
            return
        if kind == DELIVER:
            local = self._bares[place].values[b]._replace(inbox=(c,))
            kinds = ["deliver", "again"][: 1 + (self._world.budgets.values[a].twice > 0)]
            choices = ((kind, c) for kind in kinds if local.core != DOWN)
            self._answer_moves(place, a, local, choices)
            return
        self._c.explore_answer(self._handle, self._number(kind, place, a, b, c, bares))

    def _number(self, kind: int, place: int, a: int, b: int, c: int, bares: tuple[int, ...]) -> int:
        world = self._world
        local: Local
        if kind == CLASS:
            must_see = len(world.histories.values[c].committed)
            return self._classes.of((b, must_see))
        if kind >= SPENT:
            return self._number_at_end(kind, place, a, b, c)
        if kind == IS_VOID:
            local = self._bares[place].values[b]
            return world.servers[place].is_void(local.core, c, local.disk.term)
        locals_ = [self._bares[place].values[bares[place]] for place in self._places()]
        facts = [world.fact_of(place, local) for place, local in enumerate(locals_)]
        return world.history_after(a & ((1 << BUDGET_BITS) - 1), a >> BUDGET_BITS, b, facts)

    def _number_at_end(self, kind: int, place: int, a: int, b: int, c: int) -> int:
        ends, local = self._ends, self._bares[place].values[b]
        assert ends
        if kind == EFFECT:
            return ends.effect(place, local, self._world.budgets.values[a], c)
        if kind == SAME:
            return ends.same(place, local, c)
        if kind == SPENT:
            return self._bare(place, ends.local(place, local, self._world.budgets.values[a]))
        if kind == PASSED:
            return self._bare(place, ends.without(local, a))
        return self._bare(place, ends.roundless(local))

    def _answer_moves(
        self, place: int, budget: int, local: Local, choices: Iterable[Choice]
    ) -> None:
        world = self._world
        made = world.taken(place, local, world.budgets.values[budget], choices)
        numbers = [len(made)]
        for each in made:
            if self._ends and is_spent(each.left):
                each = each._replace(local=self._ends.local(place, each.local, each.left))
            groups = world.by_receiver(each.send)
            numbers += [self._bare(place, each.local), world.budgets.of(each.left)]
            numbers += [world.event_of(each.events), not each.local.inbox, len(groups)]
            for to, group in groups.items():
                numbers += [to, len(group), *sorted(group)]
        self._c.explore_answer_moves(self._handle, (ctypes.c_uint32 * len(numbers))(*numbers))

    def _world_at(self, place: int) -> int:
        room = 1 << 16
        numbers = (ctypes.c_uint32 * room)()
        if not self._c.explore_world(self._handle, ctypes.c_uint64(place), numbers, room):
            raise OverflowError("a world of more than 65,536 numbers")
        budget, history, *rest = list(numbers)
        locals_ = []
        for each in self._places():
            bare, count, *rest = rest
            inbox = tuple(reversed(rest[:count]))
            locals_.append(self._bares[each].values[bare]._replace(inbox=inbox))
            rest = rest[count:]
        return self._world.world_of(budget, self._world.histories.values[history], locals_)


def search(
    loaded: ctypes.CDLL,
    world: World,
    seconds: float = 1e9,
    order: str = "depth",
    seed: int = 0,
    states: int = 1 << 40,
    *,
    cuts_ends: bool = False,
) -> Found:
    """Look at each world once, up to the end, a violation, or a bound on time or number."""
    began_s = time.process_time()
    running = Search(loaded, world, order, seed, cuts_ends=cuts_ends)
    try:
        complete, found, way = False, "", []
        try:
            while not complete:
                if running.states > states or time.process_time() - began_s > seconds:
                    break
                complete = running.run(LOOK, began_s + seconds)
        except MemoryError:
            print("the memory is full; what follows was looked at", flush=True)
        except Violation as violation:
            found = str(violation)
            way = running.way() if order == "breadth" else []
        took_s = time.process_time() - began_s
        different = sum(server.steps for server in world.servers)
        return Found(
            running.states, running.steps, took_s, complete, found, way=way, different=different
        )
    finally:
        running.close()
