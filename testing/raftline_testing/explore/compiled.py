"""The search as machine code (search.c), which a C compiler builds within a second.

It knows only numbers: of a server without its inbox (`bare`), a message, a budget, a history. It
asks once for each unknown result; the answer comes from the same `World` that search.py uses.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .ends import Ends, can_end, is_spent
from .facts import Violation
from .renaming import Asymmetry, Renaming, can_rename, renamings
from .search import ORDERS, Found
from .server import DOWN, Local, Numbers
from .world import BUDGET_BITS, BUDGET_MASK, Made, World

SOURCE = Path(__file__).with_name("search.c")
BUILT = Path(__file__).resolve().parents[3] / "build" / "explore" / "search.so"
COMPILE = ("-O2", "-std=gnu11", "-shared", "-fPIC", "-Wall", "-Wextra")
DONE, PAUSED, NEED, NO_MEMORY, NO_NUMBERS = range(5)  # the results of explore_run
CLASS, OWN, DELIVER, IS_VOID, JUDGE, SPENT, EFFECT, SAME, PASSED, ROUNDLESS = range(1, 11)
RELAYED, DEPOSED, TWICE, ONCE = range(11, 15)  # these too
RENAMED, MESSAGE, PAST = range(15, 18)  # and these
LOOK = 1 << 8  # worlds between two checks of the clock
MOST_SERVERS = 5
PARTS = 256  # of the table of visited worlds
# A move: a server's new number, the remaining budget, the event, whether the message is consumed;
# and for each receiver its index and its messages.
First = tuple[int, int, int, bool]
Groups = tuple[tuple[int, tuple[int, ...]], ...]
Move = tuple[First, Groups]
Moves = list[Move]
POINTERS = ("explore_new", "explore_need")
COUNTS = ("states", "orbits", "steps", "waiting", "place", "parent", "seen")


def library(servers: int = 0) -> ctypes.CDLL | None:
    """Return the search as machine code, rebuilt if it is older than its source; None without a C
    compiler, if the compiler fails, or if so many servers are too many for it."""
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
        getattr(loaded, f"explore_{name}").restype = ctypes.c_uint64
    return loaded


class Search:
    """One search through a world in machine code."""

    def __init__(
        self,
        loaded: ctypes.CDLL,
        world: World,
        order: str,
        seed: int,
        *,
        cuts_ends: bool = False,
        renames: bool = False,
    ) -> None:
        self._c = loaded
        self._world = world
        self._bares: list[Numbers] = [Numbers() for _ in world.names]
        self._ends = Ends(world) if cuts_ends and can_end(world) else None
        self._renamings = renamings(world) if renames and can_rename(world) else []
        self._compared: set[tuple[int, ...]] = set()
        self._noted = [0, 0]  # messages, budgets
        self._classes = Numbers()  # of budgets with the entries that reads must see
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
        for other in self._renamings:
            places = (ctypes.c_int * len(began))(*other.places)
            loaded.explore_renaming(self._handle, places)
        context = world.begin & ((1 << 24) - 1)
        loaded.explore_begin(self._handle, context, (ctypes.c_uint32 * len(began))(*began))
        self._note()
        address = loaded.explore_need(self._handle)
        self._need = (ctypes.c_uint64 * (MOST_SERVERS + 5)).from_address(address)

    def close(self) -> None:
        """Free the memory."""
        self._c.explore_free(self._handle)

    @property
    def states(self) -> int:
        """The number of visited worlds."""
        return int(self._c.explore_states(self._handle))

    @property
    def orbits(self) -> int:
        """The number of visited worlds, including those that differ from one only in names."""
        return int(self._c.explore_orbits(self._handle))

    @property
    def steps(self) -> int:
        """The number of steps."""
        return int(self._c.explore_steps(self._handle))

    def run(self, worlds: int, end_s: float) -> bool:
        """Visit worlds, up to this processor time; return whether these were all.

        Raises:
            Violation: a world breaks a rule.
            MemoryError: no memory is left.
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
        """Return the numbers of the worlds on the path from the first to the current one, the
        shortest path in a breadth-first search."""
        place, way = int(self._c.explore_place(self._handle)), []
        while place:
            way.append(self._world_at(place))
            place = int(self._c.explore_parent(self._handle, ctypes.c_uint64(place)))
        return [self._world.begin, *reversed(way)]

    def seen(self) -> Iterator[tuple[int, ...]]:
        """Yield each visited world: budget and history, and the servers without inboxes."""
        width = 1 + len(self._world.names)
        for part in range(PARTS):
            count = self._c.explore_seen(self._handle, part, None)
            numbers = (ctypes.c_uint32 * (width * count))()
            self._c.explore_seen(self._handle, part, numbers)
            yield from zip(*[iter(numbers)] * width, strict=True)

    def bare(self, place: int, number: int) -> Local:
        """Return the server of this number, with no messages in flight to it."""
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
        """Pass the new messages to the search, and which of the new budgets are spent."""
        if self._ends is None:
            return
        world = self._world
        for message in world.messages.sent[self._noted[0] :]:
            self._c.explore_message(self._handle, self._ends.message(message))
        for left in world.budgets.values[self._noted[1] :]:
            self._c.explore_spent(self._handle, is_spent(left))
        self._noted = [len(world.messages.sent), len(world.budgets.values)]

    def _answer(self, kind: int, place: int, a: int, b: int, c: int, *bares: int) -> None:
        """Answer a need: the kind decides what a, b and c mean (search.c)."""
        if kind not in (OWN, DELIVER):
            self._c.explore_answer(self._handle, self._number(kind, place, a, b, c, bares))
            return
        moves = self._moves(kind, place, a, b, c)
        if (kind, place, a, b, c) not in self._compared:
            self._compare(moves, kind, place, a, b, c)
        numbers = [len(moves)]
        for first, groups in moves:
            numbers += [*first, len(groups)]
            for to, group in groups:
                numbers += [to, len(group), *group]
        self._c.explore_answer_moves(self._handle, (ctypes.c_uint32 * len(numbers))(*numbers))

    def _compare(self, moves: Moves, kind: int, place: int, a: int, b: int, c: int) -> None:
        """Compare the moves of a server with its moves under other names.

        Raises:
            Asymmetry: they differ in more than names.
        """
        for each in self._renamings:
            to, bare = each.places[place], self._renamed(each, place, b)
            message = each.message(c) if kind == DELIVER else 0
            expected = [self._renamed_move(each, place, *move) for move in moves]
            others = self._moves(kind, to, a, bare, message)
            if Counter(others) != Counter(expected):
                name = self._world.names[place]
                raise Asymmetry(f"a step of {name} differs under other names")
            self._compared.add((kind, to, a, bare, message))

    def _renamed(self, renaming: Renaming, place: int, bare: int) -> int:
        local = renaming.local(place, self._bares[place].values[bare])
        return self._bare(renaming.places[place], local)

    def _renamed_move(self, renaming: Renaming, place: int, first: First, groups: Groups) -> Move:
        bare, left, event, is_gone = first
        renamed = [(renaming.places[to], renaming.messages(group)) for to, group in groups]
        first = self._renamed(renaming, place, bare), left, renaming.event(event), is_gone
        return first, tuple(sorted(renamed))

    def _moves(self, kind: int, place: int, a: int, b: int, c: int) -> Moves:
        """Return the moves of a server by itself, or with a message."""
        local: Local = self._bares[place].values[b]
        budgets, choices = self._world.budgets, list[Any]()
        if kind == OWN:
            budget, must_see = self._classes.values[a]
            left = budgets.values[budget]
            choices += self._world.open(place, local, left, must_see)
        else:
            local, left = local._replace(inbox=(c,)), budgets.values[a]
            choices += [("deliver", c)] if local.core != DOWN else []
            choices += [("again", c)] if local.core != DOWN and left.twice else []
        return [self._move(place, each) for each in self._world.taken(place, local, left, choices)]

    def _move(self, place: int, made: Made) -> Move:
        world, local = self._world, made.local
        if self._ends and is_spent(made.left):
            local = self._ends.local(place, local, made.left)
        first = (
            self._bare(place, local),
            world.budgets.of(made.left),
            world.event_of(made.events),
            not local.inbox,
        )
        groups = world.by_receiver(made.send).items()
        return first, tuple(sorted((to, tuple(sorted(group))) for to, group in groups))

    def _number(self, kind: int, place: int, a: int, b: int, c: int, bares: tuple[int, ...]) -> int:
        world = self._world
        local: Local
        if kind == CLASS:
            must_see = len(world.histories.values[c].committed)
            return self._classes.of((b, must_see))
        if kind >= RENAMED:
            return self._number_renamed(kind, place, self._renamings[a - 1], b, c)
        if kind >= SPENT:
            return self._number_at_end(kind, place, a, b, c)
        if kind == IS_VOID:
            local = self._bares[place].values[b]
            return world.servers[place].is_void(local.core, c, local.disk.term)
        return self._judged(a & BUDGET_MASK, a >> BUDGET_BITS, b, bares)

    def _judged(self, budget: int, history: int, event: int, bares: Sequence[int]) -> int:
        """Return a history that includes an event, next to the servers with these numbers.

        Raises:
            Violation: it is impossible.
            Asymmetry: it differs under other names.
        """
        world, places = self._world, self._places()
        facts = [world.fact_of(place, self.bare(place, bares[place])) for place in places]
        found = world.history_after(budget, history, event, facts)
        for each in self._renamings:
            to = sorted(places, key=each.places.__getitem__)  # the old places, in the new order
            others = [self._renamed(each, place, bares[place]) for place in to]
            facts = [world.fact_of(place, self.bare(place, others[place])) for place in places]
            renamed = self._past(each, history), each.event(event), facts
            if world.history_after(budget, *renamed) != self._past(each, found):
                raise Asymmetry("what happened is judged otherwise under other names")
        return found

    def _past(self, renaming: Renaming, history: int) -> int:
        histories = self._world.histories
        return histories.of(renaming.history(histories.values[history]))

    def _number_renamed(self, kind: int, place: int, to: Renaming, b: int, c: int) -> int:
        if kind == RENAMED:
            return self._renamed(to, place, b)
        return to.message(c) if kind == MESSAGE else self._past(to, c)

    def _number_at_end(self, kind: int, place: int, a: int, b: int, c: int) -> int:
        ends, local = self._ends, self._bares[place].values[b]
        assert ends
        if kind == EFFECT:
            return ends.effect(place, local, self._world.budgets.values[a], c)
        if kind == SAME:
            return ends.same(place, local, c)
        if kind == SPENT:
            return self._bare(place, ends.local(place, local, self._world.budgets.values[a]))
        if kind == RELAYED:
            return self._bare(place, ends.relayed(place, local, self._world.budgets.values[a], c))
        if kind == DEPOSED:
            return ends.deposed(place, local, self._world.budgets.values[a], c)
        if kind == TWICE:
            return ends.is_twice_once(place, local, self._world.budgets.values[a], c)
        if kind == ONCE:
            return self._bare(place, ends.once(local, a))
        if kind == PASSED:
            return self._bare(place, ends.without(local, a))
        return self._bare(place, ends.roundless(local))

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
    renames: bool = False,
) -> Found:
    """Visit each world once, until the end, a violation, or a limit of time or number."""
    began_s = time.process_time()
    running = Search(loaded, world, order, seed, cuts_ends=cuts_ends, renames=renames)
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
            running.states,
            running.steps,
            took_s,
            complete,
            found,
            different,
            running.orbits,
            way,
        )
    finally:
        running.close()
