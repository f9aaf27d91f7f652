"""raftline, etcd and PySyncObj side by side: one run, one generator, rounds in turn.

`make bench` runs this. Each step starts one system afresh in a new folder, measures one row, and
ends it. So no two systems run side by side. Nothing here is a test.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import etcd_nodes
import pysyncobj_nodes
import redis_server
import results
from clusters import Cluster
from etcd_nodes import Etcd
from generator import BenchError, Load
from progress import Progress
from pysyncobj_nodes import PySyncObj
from raftline_nodes import Raftline
from redis_server import Redis
from results import Results, Rows
from tables import as_text, bench_table

PORT = 29_000
EXIT_INCOMPLETE = 3
ROWS = {  # the name in the table: what, connections, in flight on each
    "set, 1": ("set", 1, 1), "set, 8": ("set", 8, 1), "set, 64": ("set", 64, 1),
    "set, 256": ("set", 256, 1), "set, 8 x 16 in flight": ("set", 8, 16),
    "get, 1": ("get", 1, 1), "get, 8": ("get", 8, 1), "get, 64": ("get", 64, 1),
    "get, 256": ("get", 256, 1),
}  # fmt: skip
QUICK = ("set, 1", "set, 64", "set, 256", "get, 64")
SYSTEMS: dict[str, type[Cluster]] = {
    "raftline": Raftline,
    "etcd": Etcd,
    "PySyncObj": PySyncObj,
    "redis": Redis,
}
OUTSIDERS = {"etcd": etcd_nodes, "PySyncObj": pysyncobj_nodes, "redis": redis_server}


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows, shorter: two minutes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="of each measurement (default: 5; quick: 2)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help="only these rows")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="SYSTEM",
                        help="of: " + ", ".join(SYSTEMS))  # fmt: skip
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument(
        "--dir", type=Path, default=results.FOLDER,
        help="where all systems put their files (default: build/bench)",
    )  # fmt: skip
    parser.add_argument(
        "--json", type=Path, default=results.FOLDER, help="where the results go, too"
    )
    parser.add_argument("--base-port", type=int, default=PORT)
    return parser.parse_args(argv)


def present(wanted: list[str]) -> tuple[list[str], list[str]]:
    """Return the systems that are installed, and a line for each one that is not."""
    missing = [name for name in wanted if name in OUTSIDERS and OUTSIDERS[name].version() is None]
    return [name for name in wanted if name not in missing], [
        f"{OUTSIDERS[name].INSTALL}; going on without it" for name in missing
    ]


def measure(
    arguments: argparse.Namespace, names: list[str], systems: list[str]
) -> tuple[Rows, list[str]]:
    """Measure each row with each system in turn, round after round; return what came of it, and a
    line for each measurement that failed."""
    rows, places = Rows(), {name: 40 * place for place, name in enumerate(SYSTEMS)}
    steps = [
        (name, system) for _ in range(arguments.rounds) for name in names for system in systems
        if not (system == "PySyncObj" and ROWS[name][0] == "get")  # its reads are local
    ]  # fmt: skip
    progress, failures = Progress(len(steps)), []
    for name, system in steps:
        progress.step(f"{name}: {system}")
        what, connections, in_flight = ROWS[name]
        load = Load(what, connections, in_flight, seconds=arguments.seconds)
        count = 1 if system == "redis" else arguments.nodes
        port = arguments.base_port + places[system]
        try:
            with SYSTEMS[system](arguments.dir, port, count) as cluster:
                if what == "get":
                    cluster.fill(Load("load", connections=8, in_flight=16))
                rows.add(name, system, cluster.measure(load))
        except BenchError as error:
            failures.append(f"{name}: {system}: {error}")
    progress.done()
    return rows, failures


def kind_of(arguments: argparse.Namespace) -> str:
    """Return what to call the results; only `bench` ever gets into a page."""
    if arguments.quick:
        return "quick"
    whole = not arguments.rows and not arguments.systems and arguments.rounds >= results.ROUNDS
    return "bench" if whole else "trial"


def main(argv: list[str] | None = None) -> int:
    arguments = arguments_of(argv)
    if arguments.seconds is None:
        arguments.seconds = 2 if arguments.quick else 5
    names = arguments.rows or list(QUICK if arguments.quick else ROWS)
    default = ["raftline", "etcd"] if arguments.quick else ["raftline", "etcd", "PySyncObj"]
    systems, complaints = present(arguments.systems or default)
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    facts = results.machine_facts(arguments.dir)
    if facts["file system"] in results.UNFIT:
        print(f"{arguments.dir} is on {facts['file system']}: an fdatasync there may cost nothing; "
              "--dir FOLDER chooses a disk", file=sys.stderr)  # fmt: skip
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
    if failures:
        return 1
    return EXIT_INCOMPLETE if complaints else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's `&` has it ignored
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
