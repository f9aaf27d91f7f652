"""A search of many worlds in parallel processes. The row of a world is printed when it ends."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence

from . import compiled
from .budget import read
from .facts import Violation
from .renaming import Asymmetry
from .search import Found, search
from .world import World

HEADER = "| servers | budget | states | steps | seconds | end |\n|---|---|---|---|---|---|"
EVERY = 1 << 40  # states: more than any world has
GRACE_S = 60.0  # for a world that stops at its limit to report


def run(
    worlds: Sequence[tuple[str, int]],
    workers: int,
    minutes: float,
    states: int,
    *,
    cut: Sequence[tuple[str, int]] = (),
) -> tuple[int, bool]:
    """Search worlds, `workers` at a time, for some minutes; print a row for each, and the sum. The
    `cut` worlds leave out as much as they can, and have no limit of states.

    Return the number of states, and whether all is well. A world with too many states or too little
    time is incomplete, which isn't an error.
    """
    compiled.library()  # built once, not by each worker
    end_s = time.time() + 60 * minutes
    print(HEADER, flush=True)
    given = [(*one, end_s, EVERY, True) for one in cut]
    given += [(*one, end_s, states, False) for one in worlds]
    total, bad, left = 0, 0, len(given)
    with multiprocessing.get_context("fork").Pool(workers, maxtasksperchild=1) as pool:
        each = pool.imap_unordered(_row, given)
        try:
            while left:
                row, found_states, is_bad = each.next(max(0, end_s - time.time()) + GRACE_S)
                print(row, flush=True)
                total, bad, left = total + found_states, bad + is_bad, left - 1
        except multiprocessing.TimeoutError:
            print(f"{left} worlds did not come back: was there enough memory?", flush=True)
    print(f"\n{total:,} states in all, {bad} worlds are bad", flush=True)
    return total, not bad and not left


def _row(given: tuple[str, int, float, int, bool]) -> tuple[str, int, bool]:
    """Search one world, and return its row, its number of states, and whether it is bad."""
    text, servers, end_s, states, cuts = given
    began_s, left_s = time.process_time(), end_s - time.time()
    try:
        world = World(read(text), servers, is_reduced=True)
        found = find(world, left_s, states, cuts_ends=cuts, renames=cuts)
        end = found.violation or ("complete" if found.complete else "more is left")
    except Violation as violation:
        found, end = Found(0, 0, 0, False, str(violation)), str(violation)
    except Asymmetry as error:
        found, end = Found(0, 0, 0, False, str(error)), str(error)
    except (MemoryError, OverflowError) as error:
        found, end = Found(0, 0, 0, False), f"{type(error).__name__}: {error}"
    seconds = time.process_time() - began_s
    row = f"| {servers} | `{text}` | {found.states:,} | {found.steps:,} | {seconds:,.1f} | {end} |"
    return row, found.states, bool(found.violation)


def find(
    world: World,
    seconds: float,
    states: int = EVERY,
    order: str = "depth",
    seed: int = 0,
    *,
    cuts_ends: bool = False,
    renames: bool = False,
) -> Found:
    """Search a world in machine code if that can be built, else in Python, which prunes less."""
    loaded = compiled.library(len(world.names))
    if loaded is None:
        return search(world, seconds, order, seed, states)
    return compiled.search(
        loaded, world, seconds, order, seed, states, cuts_ends=cuts_ends, renames=renames
    )
