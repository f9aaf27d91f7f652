"""Runs simulated schedules of faults: `python tests/virtual/simulate.py --seed 7 --verbose`.

One schedule is one cluster of cores in virtual time under faults drawn from its seed; see
schedule.py. Exit codes: 0 all schedules went well, 1 one did not, 2 usage.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

# A clone that nobody installed will do.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "course"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from raftline.view.collected import Collector
from tests.virtual.drawing import run_or_draw
from tests.virtual.plan import FAULTS, LATER_FAULTS
from tests.virtual.schedule import STEPS, Outcome, SimulationFailed, run

MS_PER_HOUR = 3_600_000
Say = Callable[[str], None] | None


class Totals:
    """The counts of all schedules together."""

    def __init__(self) -> None:
        self.schedules = 0
        self.node_ms = 0
        self.counts: Counter[str] = Counter()
        self._began_s = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        self.schedules += 1
        self.node_ms += outcome.nodes * outcome.virtual_ms
        self.counts += outcome.counts

    def line(self) -> str:
        """Return the totals in one line."""
        counts = self.counts
        faults = sum(number for name, number in counts.items() if name.startswith("fault: "))
        return (
            f"{self.schedules:,} schedules, {self.node_ms / MS_PER_HOUR:.2f} virtual node-hours, "
            f"{counts['elections won']:,} elections, "
            f"{counts['operations answered']:,} operations answered, "
            f"{counts['operations of unknown outcome']:,} unknown, {faults:,} faults"
        )

    def summary(self) -> str:
        """Return the totals, and below them each count."""
        elapsed_s = time.monotonic() - self._began_s
        lines = [f"{name:32} {number:>12,}" for name, number in sorted(self.counts.items())]
        return "\n".join([f"{self.line()}, in {elapsed_s:.0f} s", *lines])


def run_and_draw(
    seed: int, nodes: int, steps: int, faults: Sequence[str], say: Say, lockers: int, page: Path
) -> Outcome:
    """Run a schedule and write its page, also of one that fails."""
    collector = Collector(one_clock=True)
    try:
        return run(seed, nodes, steps, faults, say, collector, lockers)
    finally:
        page.write_text(collector.page(f"seed {seed}"), encoding="utf-8")


def run_all(seeds: Iterable[int], given: argparse.Namespace, totals: Totals) -> None:
    """Run a schedule for each seed, and show how far they have come every few seconds."""
    shown_s = time.monotonic()
    for seed in seeds:
        say = print if given.verbose else None
        asked = seed, given.nodes, given.steps, given.fault, say, given.lockers or 0
        outcome = run_and_draw(*asked, given.picture) if given.picture else run_or_draw(*asked)
        totals.add(outcome)
        if time.monotonic() - shown_s > 2 and not given.verbose:
            shown_s = time.monotonic()
            print(f"{totals.line()}, seed {seed}", flush=True)


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what was asked for, or exit with 2."""
    parser = argparse.ArgumentParser(description="Simulated clusters under faults, from a seed.")
    parser.add_argument("--seed", type=int, help="the one schedule to run, or the first of --count")
    parser.add_argument("--count", type=_at_least_one, help="how many schedules, from --seed on")
    parser.add_argument("--forever", action="store_true", help="until Ctrl-C; from a random seed")
    parser.add_argument("--minutes", type=float, help="for so long; from a random seed")
    parser.add_argument("--nodes", type=_at_least_one, help="nodes in the cluster; default: varies")
    parser.add_argument("--steps", type=_at_least_one, default=STEPS, help="events with faults")
    parser.add_argument(
        "--fault",
        action="append",
        choices=FAULTS + LATER_FAULTS,
        default=[],
        help="only these; may be repeated",
    )
    parser.add_argument("--lockers", type=_at_least_one, help="programs that take locks")
    parser.add_argument("--picture", type=Path, help="the page that shows the end of the schedule")
    parser.add_argument("--verbose", action="store_true", help="tell every event")
    return parser.parse_args(arguments)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for; return the exit code."""
    given = read_arguments(arguments)
    first = given.seed if given.seed is not None else 0
    seeds: Iterable[int] = range(first, first + (given.count or (500 if given.seed is None else 1)))
    if given.forever or given.minutes:
        seeds = itertools.count(first if given.seed is not None else time.time_ns() // 1000)
    if given.minutes:
        end_s = time.monotonic() + 60 * given.minutes
        seeds = itertools.takewhile(lambda _: time.monotonic() < end_s, seeds)
    totals = Totals()
    try:
        run_all(seeds, given, totals)
    except KeyboardInterrupt:
        print()
    except SimulationFailed as error:
        print(f"{totals.line()}, then\n{error}")
        return 1
    print(totals.summary())
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's `&` has it ignored
    sys.exit(main(sys.argv[1:]))
