"""The change of figures with size and under disturbances: `python bench/growth.py --only NAME …`.

`make -C bench growth` measures all rows. Each prints a small table and writes its JSON once it
is done. Nothing here is a test; nothing asserts a time.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import calm
import etcd_nodes
import growth_burst
import growth_disturbed
import growth_failover
import growth_leases
import growth_load
import growth_memory
import growth_million
import growth_security
import growth_watch
import pythons
import raftline_wheel
import redis_server
import results
from generator import BenchError
from growth_setup import Setup
from progress import Progress
from results import Results
from script import end_with
from tables import as_text, plain_table

PORT = 29_200
EXIT_INCOMPLETE = 3
MILLION = 1_000_000
ROWS: dict[str, Callable[[Setup], None]] = {
    "log-length": growth_load.log_length,
    "connections": growth_load.connections,
    "burst": growth_burst.burst,
    "idle-connections": growth_load.idle_connections,
    "values": growth_load.values,
    "nodes": growth_load.node_count,
    "delay": growth_load.delay,
    "snapshot": growth_disturbed.snapshot,
    "catch-up": growth_disturbed.catch_up,
    "partition": growth_disturbed.partition,
    "restart": growth_memory.restart,
    "memory": growth_memory.memory,
    "million": growth_million.million,
    "leases": growth_leases.leases,
    "many-leases": growth_leases.many_leases,
    "watch": growth_watch.watch,
    "failover": growth_failover.failover,
    "security": growth_security.security,
}
WITH_WHEEL = ("burst", "security")  # rows that also measure the compiled wheel
WITH_REDIS = ("memory",)
ROOT = Path(__file__).resolve().parents[1]


def rows_of_parts() -> list[ModuleType]:
    """Return the modules with the rows of the library and of extensions, which have them in their
    folder `bench`: `ROWS`, and `systems()`, which returns the version of each other system that
    these rows measure, and how to install it."""
    paths = [*ROOT.glob("library/bench/growth_*.py"), *ROOT.glob("extensions/*/bench/growth_*.py")]
    sys.path += sorted({str(path.parent) for path in paths})
    return [importlib.import_module(path.stem) for path in sorted(paths)]


OF_PARTS = rows_of_parts()
for module in OF_PARTS:
    ROWS |= module.ROWS


def arguments_of(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only",
        type=_names,
        default=list(ROWS),
        metavar="NAME,NAME",
        help="of: " + ", ".join(ROWS),
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each load (default: 5)")
    parser.add_argument("--entries", type=int, default=MILLION, help="what a million is")
    parser.add_argument("--away", type=float, default=60, help="seconds of a partition")
    parser.add_argument("--kills", type=int, default=17, help="of leaders, in each round")
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


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no row {unknown[0]!r}; there are {', '.join(ROWS)}")
    return names


def measure(
    name: str,
    arguments: argparse.Namespace,
    facts: dict[str, str],
    progress: Progress,
    *,
    etcd: bool,
    wheel: bool,
) -> tuple[Results, list[str]]:
    """Measure one row, round after round; return the results, and a line for each round that ended
    early, whose figures so far count."""
    date = results.today()
    setup = Setup(
        arguments.dir,
        arguments.base_port,
        arguments.seconds,
        arguments.entries,
        arguments.away,
        arguments.kills,
        etcd,
        wheel,
    )
    failures = []
    for number in range(1, arguments.rounds + 1):
        progress.step(f"{name}, round {number}")
        try:
            ROWS[name](setup)
        except BenchError as error:
            failures.append(f"{name}, round {number} ended early: {error}")
    settings = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    shown = {key: f"{value:g}" for key, value in settings.items()}
    kind = f"growth-{name}" if is_whole(arguments) else f"trial-{name}"
    return Results(kind, date, facts, shown, setup.rows.all()), failures


def is_whole(arguments: argparse.Namespace) -> bool:
    """Return whether a page may get the results."""
    is_part = arguments.rounds < results.ROUNDS or arguments.entries < MILLION
    return not is_part and not arguments.any_load


def missing_for(names: list[str], *, etcd: bool, wheel: bool) -> list[str]:
    """Return a line for each system that these rows would also measure."""
    found: list[tuple[object, object, str]] = [
        (True, etcd, etcd_nodes.INSTALL),
        (set(WITH_WHEEL) & set(names), wheel, raftline_wheel.INSTALL),
        (set(WITH_REDIS) & set(names), redis_server.version(), redis_server.INSTALL),
    ]
    for module in OF_PARTS:
        found += [(set(module.ROWS) & set(names), *system) for system in module.systems()]
    lines = [install for is_used, is_there, install in found if is_used and not is_there]
    return list(dict.fromkeys(lines))


def main(argv: list[str] | None = None) -> int:
    arguments = arguments_of(argv)
    etcd, wheel = etcd_nodes.version() is not None, raftline_wheel.version() is not None
    missing = missing_for(arguments.only, etcd=etcd, wheel=wheel)
    for install in missing:
        print(f"{install}; going on without it", file=sys.stderr)
    if complaint := pythons.complaint():
        print(complaint, file=sys.stderr)
    try:
        if is_whole(arguments):
            calm.check(arguments)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    facts = results.machine_facts(arguments.dir)  # before the first row loads the machine
    progress, failures = Progress(len(arguments.only) * arguments.rounds), 0
    for name in arguments.only:
        found, complaints = measure(name, arguments, facts, progress, etcd=etcd, wheel=wheel)
        progress.done()
        failures += len(complaints)
        for complaint in complaints:
            print(complaint, file=sys.stderr)
        if not found.rows:
            continue
        says = " ".join((ROWS[name].__doc__ or "").split())
        print(f"{name}: {says}\n{as_text(plain_table(found.rows))}", flush=True)
        print(f"as JSON: {results.save(found, arguments.json)}\n", flush=True)
    if failures:
        return 1
    return EXIT_INCOMPLETE if missing else 0


if __name__ == "__main__":
    end_with(main)
