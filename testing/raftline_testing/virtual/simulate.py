"""Run simulated schedules of faults: `simulate.py --seed 7 --verbose`, or `make -C testing sim`.

One schedule is one cluster of cores in virtual time under faults drawn from its seed; see
schedule.py. Exit codes: 0 all schedules passed, 1 one failed, 2 usage.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count, islice
from pathlib import Path

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))

from raftline_testing.virtual.collecting import new_collector
from raftline_testing.virtual.drawing import run_or_draw
from raftline_testing.virtual.schedule import Outcome, SimulationFailed, run
from raftline_testing.virtual.schedule_key import STEPS
from raftline_testing.virtual.world.plan import ALL_FAULTS

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
    """Run a schedule and write its page, even if it fails."""
    collector = new_collector()
    if collector is None:
        sys.exit("--picture: this tree has no picture, so it draws no schedule")
    try:
        return run(seed, nodes, steps, faults, say, collector, lockers)
    finally:
        page.write_text(collector.page(f"seed {seed}"), encoding="utf-8")


def run_one(given: argparse.Namespace, seed: int) -> Outcome:
    """Run the schedule of a seed, according to the arguments."""
    say = print if given.verbose else None
    asked = seed, given.nodes, given.steps, given.fault, say, given.lockers or 0
    return run_and_draw(*asked, given.picture) if given.picture else run_or_draw(*asked)


def outcomes(seeds: Iterable[int], given: argparse.Namespace) -> Iterator[Outcome]:
    """Run a schedule for each seed, in the requested number of processes.

    Raises:
        SimulationFailed: one failed; the other running ones are completed.
        BrokenProcessPool: a process died.
    """
    run_seed, left = partial(run_one, given), iter(seeds)
    if given.workers == 1:
        yield from map(run_seed, left)
        return
    from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

    with ProcessPoolExecutor(given.workers, initializer=leave_to_parent) as pool:
        running = {pool.submit(run_seed, seed) for seed in islice(left, 2 * given.workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(run_seed, seed) for seed in islice(left, len(done))}
            yield from (each.result() for each in done)


def leave_to_parent() -> None:
    """Leave Ctrl-C to the first process: a running schedule is completed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_all(seeds: Iterable[int], given: argparse.Namespace, totals: Totals) -> None:
    """Run a schedule for each seed while there is time, and show the progress every few seconds."""
    shown_s = time.monotonic()
    end_s = shown_s + 60 * (given.minutes or math.inf)
    for outcome in outcomes(seeds, given):
        totals.add(outcome)
        now_s = time.monotonic()
        if now_s > end_s:
            break
        if now_s - shown_s > 2 and not given.verbose:
            shown_s = now_s
            print(f"{totals.line()}, seed {outcome.seed}", flush=True)


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments, or exit with 2."""
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
        choices=ALL_FAULTS,
        default=[],
        help="only these; may be repeated",
    )
    parser.add_argument("--workers", type=_at_least_one, default=1, help="processes; default: 1")
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
    """Run the requested schedules; return the exit code."""
    given = read_arguments(arguments)
    first = given.seed if given.seed is not None else 0
    seeds: Iterable[int] = range(first, first + (given.count or (500 if given.seed is None else 1)))
    if given.forever or given.minutes:
        seeds = count(first if given.seed is not None else time.time_ns() // 1000)
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
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a script, `&` ignores it
    sys.exit(main(sys.argv[1:]))
