"""Three nodes under half of their maximum load for a long time: `make -C bench soak`.

10,000 leases are held and renewed, 1,000 keys are watched, logs are compacted to snapshots, and
every five minutes a new node replaces the third member. Each window of ten seconds records memory,
descriptors, threads, files and waits. The end compares the medians of the first and the last
quarter. The exit status is 1 if a figure grew beyond its bound.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import calm
import results
from generator import KEYS, BenchError, Load
from results import Results, Row
from script import end_with
from soak_bounds import LEAST, judge
from soak_holders import Leases, Watches
from soak_nodes import STAYING, SoakNodes
from tables import as_text, provenance

PORT = 29_400
LEASE_S = 60
HOUR = 60.0  # minutes of a complete run
REPORT_EVERY_S = 60.0
WINDOWS_MOST = 5 * LEAST  # of a run that is extended because too few of its windows count
REPLACED = 0.25  # share of a run's time after which a member is replaced at the latest
WARM_UP = 0.1  # share of a run's time that does not count


class Soak:
    """One run: its load, its holders, and a row of figures for each window."""

    def __init__(
        self, nodes: SoakNodes, arguments: argparse.Namespace, leases: Leases, watches: Watches
    ) -> None:
        self.row = Row("soak", nodes.name)
        self.windows = self.broken = self.snapshots = self.replaced = 0
        self._nodes, self._arguments = nodes, arguments
        self._leases, self._watches = leases, watches
        self._bases: dict[int, int] = {}
        self._term = nodes.number(nodes.wait_for_leader(), "term")

    def new_terms(self) -> int:
        return self._nodes.number(self._nodes.wait_for_leader(), "term") - self._term

    def full_rate(self) -> float:
        """Return the maximum of sets a second, with all leases and watches held."""
        load = Load(connections=self._arguments.connections, seconds=self._arguments.rate_seconds)
        return self._nodes.begin(load).result(errors_count=True)["ops_s"]

    def go(self, per_second: float) -> Iterator[dict[str, float]]:
        """Yield the figures of each complete window that counts."""
        begun_s = time.monotonic()
        end_s = begun_s + self._arguments.minutes * 60
        counts_s = begun_s + self._arguments.minutes * 60 * WARM_UP
        every_s = min(self._arguments.replace_minutes, self._arguments.minutes * REPLACED) * 60
        replace_s = begun_s + every_s
        counted = 0
        while time.monotonic() < end_s or (counted < LEAST and self.windows < WINDOWS_MOST):
            is_due = time.monotonic() >= replace_s
            replace_s += every_s if is_due else 0
            row = self._window(per_second, is_due=is_due)
            if row and time.monotonic() > counts_s:
                self.row.add(row)
                counted += 1
                yield row

    def _window(self, per_second: float, *, is_due: bool) -> dict[str, float]:
        """Return the figures of one window, none if a change of leader broke it."""
        seconds, nodes = self._arguments.window, self._nodes
        self.windows += 1
        load = Load(
            connections=self._arguments.connections,
            seconds=seconds,
            warm_up=0,
            per_second=per_second,
        )
        events, begun_s = self._watches.events, time.monotonic()
        run = nodes.begin(load)
        time.sleep(seconds / 2)
        sampled = nodes.sample()
        self._count_snapshots()
        if is_due:  # it may outlast the window; then there is a pause in the load
            nodes.replace_third()
            self.replaced += 1
        try:
            figures = run.result(errors_count=True)
        except BenchError:
            figures = {"errors": 1}
        for holder in (self._leases, self._watches):
            holder.check()
        if figures["errors"]:
            self.broken += 1
            return {}
        waits = {
            "p50_ms": figures["p50_ms"],
            "p99_ms": figures["p99_ms"],
            "p999_ms": figures["p999_ms"],
            "per_s": figures["ops_s"],
        }
        rates = {
            "events_s": (self._watches.events - events) / (time.monotonic() - begun_s),
            "others_cpu": figures["others_cpu_s"] / figures["seconds"],
        }
        return {**waits, **sampled, **rates, **nodes.pauses(begun_s)}

    def _count_snapshots(self) -> None:
        for number in STAYING:
            base = self._nodes.number(number, "base_index")
            self.snapshots += number in self._bases and base > self._bases[number]
            self._bases[number] = base

    def trouble(self) -> list[str]:
        """Return the errors other than growth."""
        problems, terms = [], self.new_terms()
        if self._leases.lost:
            problems.append(f"{self._leases.lost} renewals found no lease")
        if self.broken > terms:
            problems.append(f"{self.broken} windows broke, with {terms} changes of leader")
        if not self.snapshots:
            problems.append("no snapshot was taken; --compact-at takes a smaller size")
        if not self._watches.events:
            problems.append("no watch heard an event")
        if not self.replaced:
            problems.append("no member was replaced")
        return problems


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--minutes", type=_positive, default=HOUR, help="of the run (default: 60)")
    add("--leases", type=int, default=10_000)
    add("--watches", type=int, default=1_000, help=f"at most {KEYS:,}, of one key each")
    add(
        "--replace-minutes",
        type=_positive,
        default=5.0,
        help="from one replacement to the next; a quarter of the run at most",
    )
    add("--window", type=_positive, default=10.0, help="seconds whose waits are taken together")
    add("--connections", type=int, default=64, help="of the load")
    add("--per-second", type=float, default=0.0, help="sets (default: half of those possible)")
    add("--rate-seconds", type=_positive, default=5.0, help="in which the maximum is measured")
    add("--compact-at", type=int, default=8 << 20, metavar="BYTES", help="of a log")
    add("--dir", type=Path, default=results.FOLDER, help="of the nodes (default: build/bench)")
    add("--json", type=Path, default=results.FOLDER, help="where the results go, too")
    add("--base-port", type=int, default=PORT)
    calm.add_option(parser)
    arguments = parser.parse_args(argv)
    if arguments.minutes * 60 * (1 - WARM_UP) < (LEAST + 1) * arguments.window:
        parser.error(f"that is too short: nine tenths of it hold fewer than {LEAST + 1} windows")
    if not 0 < arguments.watches <= KEYS or arguments.leases < 1:
        parser.error(f"it takes 1 to {KEYS:,} watches, and one lease at least")
    return arguments


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def soak(nodes: SoakNodes, arguments: argparse.Namespace) -> tuple[Soak, float]:
    """Run it; return the run, and its pace."""
    nodes.wait_until_begun()
    leases = Leases(nodes, arguments.leases, LEASE_S)
    watches = Watches(nodes, [f"k{number:015}" for number in range(arguments.watches)])
    run = Soak(nodes, arguments, leases, watches)
    with leases, watches:
        pace = arguments.per_second or round(run.full_rate() / 2)
        load_text = f"{arguments.leases:,} leases, {arguments.watches:,} watches"
        print(f"{load_text}, {pace:,.0f} sets a second", flush=True)
        begun_s = report_at_s = time.monotonic()
        for row in run.go(pace):
            if time.monotonic() >= report_at_s:
                report_at_s += REPORT_EVERY_S
                _print((time.monotonic() - begun_s) / 60, row, run)
    return run, pace


def _print(minutes: float, found: dict[str, float], run: Soak) -> None:
    print(
        f"{minutes:5.1f} min: {found['per_s']:,.0f} sets/s, p99 {found['p99_ms']:.1f} ms, "
        f"longest sync {found['sync_ms']:.0f} ms, "
        f"{found['memory']:.0f} MiB, {found['descriptors']:.0f} descriptors, "
        f"{found['threads']:.0f} threads, {run.snapshots} snapshots, {run.replaced} replaced",
        flush=True,
    )


def report(run: Soak, pace: float, arguments: argparse.Namespace, found: Results) -> int:
    """Print the table and the verdict; return the exit status."""
    trouble = run.trouble()
    if len(run.row.figures.get("p99_ms", [])) < LEAST:
        trouble.append(f"fewer than {LEAST} windows count")
    else:
        cells, grown = judge(run.row.figures)
        print(as_text(cells))
        trouble = grown + trouble
    print(
        f"{arguments.minutes:g} minutes at {pace:,.0f} sets a second; {run.windows} windows, "
        f"{run.broken} broken by a change of leader, {run.new_terms()} new terms, "
        f"{run.snapshots} snapshots of s1 and s2, {run.replaced} members replaced"
    )
    print(f"{provenance(found)}\nas JSON: {results.save(found, arguments.json)}")
    for each in trouble:
        print(f"not well: {each}", file=sys.stderr)
    return 1 if trouble else 0


def main(argv: list[str] | None = None) -> int:
    arguments = arguments_of(argv)
    is_whole = arguments.minutes >= HOUR and not arguments.any_load
    facts, date = results.machine_facts(arguments.dir), results.today()
    options = ("--compact-at", str(arguments.compact_at))
    try:
        if is_whole:
            calm.check(arguments)
        with SoakNodes(arguments.dir, arguments.base_port, options) as nodes:
            run, pace = soak(nodes, arguments)
            settings = {"minutes": arguments.minutes, "sets a second": pace,
                        "leases": arguments.leases, "watches": arguments.watches}  # fmt: skip
            shown = {name: f"{value:g}" for name, value in settings.items()}
            kind = "soak" if is_whole else "trial-soak"
            return report(run, pace, arguments, Results(kind, date, facts, shown, [run.row]))
    except BenchError as error:
        print(f"the soak ended early: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    end_with(main)
