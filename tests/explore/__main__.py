"""Searches a bounded world: `python -m tests.explore "timeout crash command"`, or `make explore`.

Without a budget: all that complete within seconds, one after the other. Exit codes: 0 nothing bad
was found, 1 something was, 2 the budget is none, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

# A clone that nobody installed will do, and a copy with a fault in it.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "course"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from tests.explore.budget import HUNT, NIGHT, NIGHT_STATES, QUICK, BudgetError, read
from tests.explore.facts import Violation
from tests.explore.search import Found, search, walk
from tests.explore.trace import spell_trace, way_to_violation
from tests.explore.world import World

TRACE_S = 60.0  # for the shortest trace; after that any will do


def explore(
    text: str,
    servers: int,
    seconds: float = 1e9,
    order: str = "depth",
    seed: int = 0,
    *,
    is_whole: bool = False,
    states: int = 1 << 40,
) -> Found:
    """Search one world, and print what was found."""
    budget = read(text)
    try:
        world = World(budget, servers, is_reduced=not is_whole)
    except Violation as violation:
        print(f"{servers} servers, while they elect their first leader: {violation}", flush=True)
        return Found(0, 0, 0, False, str(violation))
    found = search(world, seconds, order, seed, states)
    print(f"{servers} servers, {{{text}}}: {report(found)}", flush=True)
    if found.violation:
        steps, why = way_to_violation(world, order, seed, TRACE_S)
        print(spell_trace(world, steps, why), flush=True)
    return found


def night() -> bool:
    """Search the worlds of a night, and print how many states they had; return whether all is
    well."""
    found = [explore(text, servers, states=NIGHT_STATES) for text, servers in NIGHT]
    bad = sum(bool(one.violation) for one in found)
    print(f"{sum(one.states for one in found):,} states in all, {bad} worlds are bad")
    return not bad


def hunt(seconds: float) -> str:
    """Search worlds of each kind for a fault, each for at most some seconds; return the fault."""
    for text, goals in HUNT:
        try:
            world = World(read(text))
            found = walk(world, seconds).violation
            missed = set(goals).difference(*[server.goals for server in world.servers])
            if missed and not found:
                found = f"no way led there: {', '.join(sorted(missed))}"
        except Violation as violation:
            found = f"while the first leader is elected: {violation}"
        if found:
            print(f"{{{text}}}: {found}", flush=True)
            return found
    return ""


def report(found: Found) -> str:
    """Return the figures of a search."""
    end = found.violation or ("complete" if found.complete else "stopped, more is left")
    return (
        f"{found.states:,} states, {found.steps:,} steps ({found.different:,} of the core) in "
        f"{found.seconds:.1f} s, {found.steps / max(found.seconds, 1e-9):,.0f} a second: {end}"
    )


def main(arguments: Sequence[str]) -> int:
    """Search the worlds that the arguments ask for; return the exit code."""
    parser = argparse.ArgumentParser(description="All orders of a bounded world of the core.")
    parser.add_argument("budget", nargs="?", help="such as 'timeout=2 crash command'")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1e9, help="for each world")
    parser.add_argument("--order", choices=("depth", "random"), default="depth")
    parser.add_argument("--hunt", action="store_true", help="for a fault, in worlds of every kind")
    parser.add_argument("--night", action="store_true", help="the worlds of `make nightly`")
    parser.add_argument("--whole", action="store_true", help="leave nothing out")
    parser.add_argument("--seed", type=int, default=0, help="of the random order")
    given = parser.parse_args(arguments)
    try:
        if given.night:
            return 0 if night() else 1
        if given.hunt:
            return 1 if hunt(given.seconds) else 0
        worlds = [(given.budget, given.servers)] if given.budget else QUICK
        bad = False
        for text, servers in worlds:
            found = explore(
                text, servers, given.seconds, given.order, given.seed, is_whole=given.whole
            )
            bad = bad or bool(found.violation)
    except BudgetError as error:
        print(f"explore: {error}", file=sys.stderr)
        return 2
    return 1 if bad else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
