"""raftline, its compiled wheel, etcd, PySyncObj and Redis: one run, one generator, alternating
rounds.

`make -C bench run` runs this. Each step starts one system in a new folder, measures one row, and
ends it. So no two systems run at the same time. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path

import calm
import etcd_nodes
import pysyncobj_nodes
import pythons
import raftline_wheel
import redis_server
import results
from busy import Busy
from clusters import Cluster
from etcd_nodes import Etcd
from generator import BUILD, BenchError, Load, need
from progress import Progress
from pysyncobj_nodes import PySyncObj
from raftline_nodes import Raftline
from raftline_wheel import RaftlineWheel
from redis_server import Redis
from results import Results, Rows
from rows import ONE_SERVER, QUICK, ROWS, takes, without_pace
from script import end_with
from tables import RIVAL, as_text, bench_table

PORT = 29_000
PORTS = 40  # for each system
EXIT_INCOMPLETE = 3
SYSTEMS: dict[str, type[Cluster]] = {
    "raftline": Raftline,
    "raftline-wheel": RaftlineWheel,
    "etcd": Etcd,
    "PySyncObj": PySyncObj,
    "redis": Redis,
}
QUICK_SYSTEMS = ("raftline", "raftline-wheel", "etcd")
OUTSIDERS = {
    "raftline-wheel": raftline_wheel, "etcd": etcd_nodes, "PySyncObj": pysyncobj_nodes,
    "redis": redis_server,
}  # fmt: skip


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows, shorter: three minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="of each measurement (default: 5; quick: 2)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help="only these rows")
    parser.add_argument(
        "--systems", nargs="+", choices=SYSTEMS, metavar="SYSTEM", help="of: " + ", ".join(SYSTEMS)
    )
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument(
        "--dir",
        type=Path,
        default=results.FOLDER,
        help="where all systems put their files (default: build/bench)",
    )
    parser.add_argument(
        "--json", type=Path, default=results.FOLDER, help="where the results go, too"
    )
    parser.add_argument("--base-port", type=int, default=PORT)
    calm.add_option(parser)
    return parser.parse_args(argv)


def present(wanted: list[str]) -> tuple[list[str], list[str]]:
    """Return the systems that are installed, and a line for each one that is not."""
    missing = [name for name in wanted if name in OUTSIDERS and OUTSIDERS[name].version() is None]
    return [name for name in wanted if name not in missing], [
        f"{OUTSIDERS[name].INSTALL}; going on without it" for name in missing
    ]


def planned(names: list[str], systems: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the rows and systems that can be measured, and a line for each one that can't."""
    systems, complaints = present(systems)
    unpaced = without_pace(names, systems)
    complaints += [
        f"`{name}` takes its pace from {RIVAL} at `{ROWS[name].half_of}`; going on without it"
        for name in unpaced
    ]
    return [name for name in names if name not in unpaced], systems, complaints


def need_programs(names: list[str], systems: list[str]) -> None:
    """Raise BenchError if a program that these rows need was not built."""
    need(BUILD / "loadgen")
    if any(
        ROWS[name].delay_ms and takes(system, ROWS[name]) for name in names for system in systems
    ):
        need(BUILD / "delay")


def measure(
    arguments: argparse.Namespace, names: list[str], systems: list[str]
) -> tuple[Rows, list[str]]:
    """Measure each row with each system in turn, round after round; return the results, and a line
    for each failed measurement."""
    steps = [
        (number, name, system)
        for number in range(arguments.rounds)
        for name in names
        for system in systems
        if takes(system, ROWS[name])
    ]
    rows, progress, failures = Rows(), Progress(len(steps)), []
    rates: dict[tuple[int, str], float] = {}  # rates of the rival, by round and row
    for number, name, system in steps:
        progress.step(f"{name}: {system}")
        try:
            found = figures(arguments, name, system, rates.get((number, ROWS[name].half_of)))
        except BenchError as error:
            failures.append(f"{name}: {system}: {error}")
            continue
        rows.add(name, system, found)
        if system == RIVAL:
            rates[number, name] = found["per_s"]
    progress.done()
    return rows, failures


def figures(
    arguments: argparse.Namespace, name: str, system: str, rate: float | None
) -> dict[str, float]:
    """Return the figures of one row and system. `rate` is the rival's rate; the pace is half of it.

    Raises:
        BenchError: they could not be measured.
    """
    row = ROWS[name]
    if row.half_of and not rate:
        raise BenchError(f"no pace: {RIVAL}'s `{row.half_of}` of this round is missing")
    pace = round((rate or 0) / 2, 1) if row.half_of else 0
    load = Load(
        row.what, row.connections, row.in_flight, seconds=arguments.seconds, per_second=pace
    )
    count = 1 if system in ONE_SERVER else arguments.nodes
    port = arguments.base_port + PORTS * [*(arguments.systems or SYSTEMS)].index(system)
    with SYSTEMS[system](arguments.dir, port, count, delay_ms=row.delay_ms) as cluster:
        if row.what == "get":
            cluster.fill(Load("load", connections=8, in_flight=16))
        with Busy() if row.is_busy else contextlib.nullcontext():
            found = cluster.measure(load)
    return {**found, "pace_per_s": pace} if pace else found


def kind_of(arguments: argparse.Namespace) -> str:
    """Return the kind of the results; only `bench` results get into a page."""
    if arguments.quick:
        return "quick"
    is_part = arguments.rows or arguments.systems or arguments.rounds < results.ROUNDS
    return "trial" if is_part or arguments.any_load else "bench"


def main(argv: list[str] | None = None) -> int:
    arguments = arguments_of(argv)
    if arguments.seconds is None:
        arguments.seconds = 2 if arguments.quick else 5
    wanted = arguments.rows or (QUICK if arguments.quick else ROWS)
    names, systems, complaints = planned(
        # in the table's order: rows with a pace come later
        [name for name in ROWS if name in wanted],
        list(arguments.systems or (QUICK_SYSTEMS if arguments.quick else SYSTEMS)),
    )
    try:
        if kind_of(arguments) == "bench":
            calm.check(arguments)
        need_programs(names, systems)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    for complaint in filter(None, [*complaints, pythons.complaint()]):
        print(complaint, file=sys.stderr)
    facts = results.machine_facts(arguments.dir)
    if facts["file system"] in results.UNFIT:
        print(
            f"{arguments.dir} is on {facts['file system']}: an fdatasync there may cost nothing; "
            "--dir FOLDER chooses a disk",
            file=sys.stderr,
        )
    date = results.today()
    rows, failures = measure(arguments, names, systems)
    for failure in failures:
        print(f"not measured: {failure}", file=sys.stderr)
    settings = {"rounds": arguments.rounds, "seconds": arguments.seconds, "nodes": arguments.nodes}
    shown = {name: f"{value:g}" for name, value in settings.items()}
    found = Results(kind_of(arguments), date, facts, shown, rows.all())
    if not found.rows:
        return 1
    print(as_text(bench_table(found)))
    print(f"\nas JSON: {results.save(found, arguments.json)}")
    for complaint in complaints:  # again, since the first time was minutes ago
        print(f"not whole: {complaint}", file=sys.stderr)
    if failures:
        return 1
    return EXIT_INCOMPLETE if complaints else 0


if __name__ == "__main__":
    end_with(main)
