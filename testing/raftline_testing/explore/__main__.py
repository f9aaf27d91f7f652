"""Search a bounded world: `python -m raftline_testing.explore "timeout crash command"`.

Without a budget it searches in turn all worlds that complete within seconds. Python and its
standard library are enough; a C compiler makes it several times as fast. Exit codes: 0 no
violation, 1 a violation, 2 an invalid budget or an unreadable file, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

# This also runs in a clone that isn't installed, and in a copy with a fault in it.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))

from . import campaign
from .budget import (
    HUNTED,
    NIGHT,
    NIGHT_CUT,
    NIGHT_STATES,
    QUICK,
    BudgetError,
    read,
)
from .facts import Violation
from .renaming import Asymmetry
from .search import ORDERS, Found, search, walk
from .trace import replay, spell_trace, way_to_violation
from .world import World

TRACE_S = 60.0  # for the shortest trace; after that, any trace is good enough


def explore(
    text: str,
    servers: int,
    seconds: float = 1e9,
    order: str = "depth",
    seed: int = 0,
    *,
    is_whole: bool = False,
    in_python: bool = False,
    cuts_ends: bool = False,
    renames: bool = False,
) -> Found:
    """Search one world, and print the result."""
    budget = read(text)
    try:
        world = World(budget, servers, is_reduced=not is_whole)
    except Violation as violation:
        print(f"{servers} servers, while they elect their first leader: {violation}", flush=True)
        return Found(0, 0, 0, False, str(violation))
    if in_python:
        found = search(world, seconds, order, seed)
    else:
        found = campaign.find(
            world, seconds, order=order, seed=seed, cuts_ends=cuts_ends, renames=renames
        )
    print(f"{servers} servers, {{{text}}}: {report(found)}", flush=True)
    if found.violation:
        steps, why = way_to_violation(world, order, seed, TRACE_S)
        print(spell_trace(world, steps, why), flush=True)
    return found


def hunt(seconds: float, chosen: Collection[int] = range(len(HUNTED))) -> str:
    """Search the chosen worlds for a fault, each for a limited time; return the fault."""
    for number in chosen:
        text, servers, goals = HUNTED[number]
        found = ""
        try:
            world = World(read(text), servers, is_reduced=goals is None)
            found = hunter(goals)(world, seconds).violation
            missed = set(goals or ()).difference(*[server.goals for server in world.servers])
            if missed and not found:
                found = f"no way led there: {', '.join(sorted(missed))}"
        except Violation as violation:
            found = f"while the first leader is elected: {violation}"
        if found:
            print(f"{servers} servers, {{{text}}}: {found}", flush=True)
            return found
    return ""


def hunter(goals: Sequence[str] | None) -> Callable[[World, float], Found]:
    """Return the function that hunts in a world: a search, or random paths if there are goals."""
    return partial(campaign.find, order="random") if goals is None else walk


def report(found: Found) -> str:
    """Return the figures of a search."""
    end = found.violation or ("complete" if found.complete else "stopped, more is left")
    others = f" for {found.stands_for:,}" * (found.stands_for > found.states)
    return (
        f"{found.states:,} states{others}, {found.steps:,} steps "
        f"({found.different:,} of the core) in {found.seconds:.1f} s, "
        f"{found.steps / max(found.seconds, 1e-9):,.0f} a second: {end}"
    )


def main(arguments: Sequence[str]) -> int:
    """Search the worlds that the arguments name; return the exit code."""
    given = arguments_of(arguments)
    try:
        if given.replay:
            trace, violation = replay(given.replay.read_text(encoding="utf-8"))
            print(trace)
            return 1 if violation else 0
        if given.night:
            searched = given.workers, given.minutes, given.states
            return 0 if campaign.run(NIGHT, *searched, cut=NIGHT_CUT)[1] else 1
        if given.hunt:
            chosen = given.worlds or range(len(HUNTED))
            return 1 if hunt(given.seconds, chosen) else 0
        worlds = [(given.budget, given.servers)] if given.budget else QUICK
        bad = False
        for text, servers in worlds:
            found = explore(
                text,
                servers,
                given.seconds,
                given.order,
                given.seed,
                is_whole=given.whole,
                in_python=given.python,
                cuts_ends=given.ends,
                renames=given.names,
            )
            bad = bad or bool(found.violation)
    except (BudgetError, OSError) as error:
        print(f"explore: {error}", file=sys.stderr)
        return 2
    except Asymmetry as error:
        print(f"explore: {error}: search without --names", file=sys.stderr)
        return 1
    return 1 if bad else 0


def arguments_of(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description="All orders of a bounded world of the core.")
    parser.add_argument("budget", nargs="?", help="such as 'timeout=2 crash command'")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1e9, help="for each world")
    parser.add_argument("--order", choices=[*ORDERS], default="depth")
    parser.add_argument("--seed", type=int, default=0, help="of the random order")
    parser.add_argument("--whole", action="store_true", help="leave nothing out")
    parser.add_argument("--ends", action="store_true", help="prune the final states")
    parser.add_argument("--names", action="store_true", help="one for all that differ by names")
    parser.add_argument("--python", action="store_true", help="without machine code")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a trace, with today's core")
    parser.add_argument("--hunt", action="store_true", help="for a fault, in worlds of every kind")
    parser.add_argument("--worlds", type=int, nargs="+", metavar="N", help="of the hunt, these")
    parser.add_argument("--night", action="store_true", help="the worlds of `make nightly`")
    parser.add_argument("--workers", type=int, default=1, help="worlds at a time, at night")
    parser.add_argument("--minutes", type=float, default=90, help="of a night at most")
    parser.add_argument("--states", type=int, default=NIGHT_STATES, help="of a world, at night")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
