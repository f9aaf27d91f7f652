"""Put faults into a node's driver code, one by one, and hunt each with schedules alone.

    python -m raftline_testing.virtual.mutants [--seconds 60] [--only NAME …] [--part 0/2]

The seconds are processor time for each fault. All listed faults of the modules in RIM are tried.
Exit code 0, however many were found; with `--here`, 1 if a fault was found.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))

from ..mutants.listed import ROOT, Mutant, mutants
from ..mutants.run import Tree
from .plan import FAULTS, LATER_FAULTS, RARE_FAULTS
from .schedule import SimulationFailed, run

# The modules that run in a schedule as in a node.
RIM = tuple(
    f"src/{name}.py"
    for name in (
        "access/login", "access/proof", "access/authorization", "access/identity", "access/secret",
        "monitoring/endpoints",
        "net/protocol/admission", "net/state_copies", "net/protocol/local_commands",
        "net/protocol/serving", "net/protocol/subscriptions",
        "node/loop/applying", "node/loop/batching", "node/clock", "node/loop/handover",
        "node/loop/lease_clock",
        "node/loop/granted_leases", "node/watches/observers", "node/loop/queue",
        "node/program/reload", "node/loop/rounds",
        "node/snapshots/snapshots", "node/loop/stepper", "state/key_pages", "state/pairs",
    )
)  # fmt: skip
# The modules that run in a schedule whose programs take locks.
CLIENTS = tuple(
    f"src/clients/{name}.py"
    for name in (
        "locks/callers",
        "locks/claims",
        "locks/contest",
        "locks/lease_timer",
        "locks/renewals",
        "watches/watch_events",
        "watches/watch_machine",
    )
)
LOCKERS = 3
SLOWNESS = 4  # of a busy machine
FOUND = re.compile(r"^found (\S+) (.*)", re.MULTILINE)


def hunt(seconds: float, lockers: int = 0) -> str:
    """Run schedules for this many seconds of processor time: one of all kinds of faults, then one
    of a single kind, each in turn. Return how the first one failed, or ""."""
    kinds, began_s = itertools.cycle((*LATER_FAULTS, *FAULTS, *RARE_FAULTS)), time.process_time()
    for seed in itertools.count():
        for faults in ((), (next(kinds),)):
            if time.process_time() > began_s + seconds:
                return ""
            try:
                run(seed, faults=faults, lockers=lockers)
            except SimulationFailed as failed:
                first = str(failed).splitlines()[0]
                given = f" --lockers {lockers}" if lockers else ""
                given += "".join(f" --fault '{kind}'" for kind in faults)
                took_s = time.process_time() - began_s
                return f"{took_s:.1f} --seed {seed}{given}: {first.partition(': ')[2]}"
    return ""


def runs_in_schedules(mutant: Mutant) -> bool:
    """Whether the module with this fault runs in schedules; of the writer, only the queue does."""
    return mutant.file in RIM + CLIENTS or mutant.function.startswith("WriteQueue.")


def hunted(tree: Tree, mutant: Mutant, seconds: float) -> str:
    """Return the seconds, the seed that finds the fault, and how it breaks; "" if no seed does."""
    source = (tree.path / mutant.file).read_text(encoding="utf-8")
    lockers = str(LOCKERS if mutant.file in CLIENTS else 0)
    command = ("-m", "raftline_testing.virtual.mutants", "--here", "--lockers", lockers)
    arguments = (*command, "--seconds", str(seconds))
    try:
        tree.put(mutant.file, mutant.applied(source))
        status, output = tree.run(arguments, SLOWNESS * seconds + 60)
    finally:
        tree.put(mutant.file, source)
    if status == 0:
        return ""
    if (found := FOUND.search(output)) is not None:
        return f"{float(found[1]):5.1f} s {found[2]}"
    return "a schedule without an end" if status == -1 else output.strip().splitlines()[-1]


def main(arguments: Sequence[str]) -> int:
    """Hunt the faults of the rim; print the schedule that finds each."""
    parser = argparse.ArgumentParser(description="Which faults of the rim do schedules find?")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each; default: 60")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these faults alone")
    parser.add_argument("--part", default="0/1", help="1/3: the second of three parts")
    parser.add_argument("--here", action="store_true", help="hunt the faults of this tree")
    parser.add_argument("--lockers", type=int, default=0, help="with --here: that take locks")
    given = parser.parse_args(arguments)
    if given.here:
        why = hunt(given.seconds, given.lockers)
        print(f"found {why}" if why else "nothing was found")
        return int(bool(why))
    part, parts = map(int, given.part.split("/"))
    chosen = [one for one in mutants() if runs_in_schedules(one)]
    chosen = [one for one in chosen if not given.only or one.name in given.only][part::parts]
    for mutant in chosen:
        mutant.applied((ROOT / mutant.file).read_text(encoding="utf-8"))
    tree, left = Tree(), []
    try:
        for mutant in chosen:
            why = hunted(tree, mutant, given.seconds)
            left += [] if why else [mutant.name]
            print(f"{Path(mutant.file).stem:13} {mutant.name}: {why or 'NOT FOUND'}")
            sys.stdout.flush()
    finally:
        tree.remove()
    print(f"{len(chosen) - len(left)} of {len(chosen)} found by schedules alone")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
