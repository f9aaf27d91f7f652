"""Search a bounded world: `python -m raftline_testing.explore "timeout crash command"`.

Without a budget it searches the small worlds in turn, or with `--large` the large ones. Exit codes:
0 no violation, 1 a violation, 2 an invalid budget or an unreadable file, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

# This also runs in a clone that isn't installed, and in a copy with a fault in it.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))

from .budget import DISKS, LARGE, QUICK, BudgetError, read
from .facts import Violation
from .search import ORDERS, Found, search
from .trace import format_trace, replay, way_to_violation
from .world import World

TRACE_S = 60.0  # for the shortest trace; after that, any trace is good enough


def explore(
    text: str, servers: int, seconds: float = 1e9, order: str = "depth", states: int = 1 << 40
) -> Found:
    """Search one world and print the result."""
    budget = read(text)
    try:
        world = World(budget, servers, is_reduced=True)
    except Violation as violation:
        print(f"{servers} servers, while they elect their first leader: {violation}", flush=True)
        return Found(0, 0, 0, False, str(violation))
    outcome = search(world, seconds, order, states=states)
    print(f"{len(world.names)} servers, {{{text}}}: {report(outcome)}", flush=True)
    for why, count in outcome.second.items():
        print(f"    a second cluster in {count:,} states: {why}", flush=True)
    if outcome.violation:
        steps, why = way_to_violation(world, order, 0, TRACE_S)
        print(format_trace(world, steps, why), flush=True)
    return outcome


def report(found: Found) -> str:
    """Return the figures of a search."""
    end = found.violation or ("complete" if found.complete else "stopped, more is left")
    return (
        f"{found.states:,} states, {found.steps:,} steps ({found.different:,} of the core) "
        f"in {found.seconds:.1f} s: {end}"
    )


def main(arguments: Sequence[str]) -> int:
    """Search the worlds that the arguments select; return the exit code."""
    given = arguments_of(arguments)
    try:
        if given.replay:
            trace, violation = replay(given.replay.read_text(encoding="utf-8"))
            print(trace)
            return 1 if violation else 0
        worlds = [*QUICK, *[(text, 3) for text in DISKS]]
        if given.large:
            worlds = [(text, 3) for text in LARGE]
        if given.budget:
            worlds = [(given.budget, given.servers)]
        limits = given.seconds, given.order, given.states
        found = [explore(text, count, *limits) for text, count in worlds]
    except (BudgetError, OSError) as error:
        print(f"explore: {error}", file=sys.stderr)
        return 2
    complete, states = sum(one.complete for one in found), sum(one.states for one in found)
    print(f"{len(found)} worlds, {complete} of them complete: {states:,} states")
    return 1 if any(one.violation for one in found) else 0


def arguments_of(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments."""
    parser = argparse.ArgumentParser(description="All orders of a bounded world of the core.")
    parser.add_argument("budget", nargs="?", help="such as 'timeout=2 crash command'")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1e9, help="for each world")
    parser.add_argument("--states", type=int, default=1 << 40, help="for each world")
    parser.add_argument("--large", action="store_true", help="the worlds for a night")
    parser.add_argument("--order", choices=[*ORDERS], default="depth")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a trace, with today's core")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
