"""The time of a node under load, thread by thread: `make -C bench profile`, one page of text.

It starts nodes, loads the leader, and inspects it and one follower three times each: by the
kernel's counters without any profiler (processor time, context switches); by py-spy for the running
threads; and by py-spy for the holder of the interpreter lock.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import results
from generator import BenchError, Load, answers
from raftline_nodes import Raftline
from script import end_with
from tables import Cells, as_text, number

TOP = 14  # shown functions
RATE = 200  # samples a second
STACK = re.compile(r"thread \(\w+\)(?:: ([^;]*))?;(.*) (\d+)")
LINE_NUMBER = re.compile(r":\d+(?=\)$)")
DUMPED = re.compile(r'^Thread (\d+) \([^)]*\)(?:: "(.*)")?$', re.MULTILINE)


@dataclass(frozen=True)
class Used:
    """The use of a thread up to a moment."""

    cpu_s: float
    voluntary: int
    forced: int


@dataclass(frozen=True)
class Sight:
    """The observations of one process."""

    names: Mapping[int, str]  # each thread's kind
    before: Mapping[int, Used]
    after: Mapping[int, Used]
    begin: float  # of the observed time, in seconds of `time.monotonic`
    end: float
    running: Counter[tuple[str, str]]  # kind of thread and function, on a processor
    holding: Counter[tuple[str, str]]  # the same, holding the interpreter lock


def group(thread: str) -> str:
    """Return the kind of a thread: all threads such as `s2 reader of s3` are one kind."""
    if not thread:  # the only threads without a name (src/net/connections/listener.py)
        return "connections"
    return re.sub(r" of s\d+$", " of a peer", re.sub(r"^s\d+ ", "", thread))


def used_by(pid: int) -> dict[int, Used]:
    """Return the use of each thread of a process, without threads that end meanwhile."""
    usage = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            cpu_ns = int((task / "schedstat").read_text().split()[0])
            text = (task / "status").read_text()
        except OSError:
            continue
        switches = [int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line]
        usage[int(task.name)] = Used(cpu_ns / 1e9, *switches)
    return usage


def py_spy(*arguments: str) -> str:
    """Return the output of py-spy.

    Raises:
        BenchError: it can't look into the process.
    """
    beside = Path(sys.executable).with_name("py-spy")
    program = str(beside) if beside.exists() else shutil.which("py-spy")
    if program is None:
        raise BenchError("py-spy is not installed: `.venv/bin/pip install -e '.[bench]'`")
    process = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if process.returncode:
        why = " ".join(process.stderr.split())[:200]
        raise BenchError(f"py-spy failed, which needs the right to trace (root has it): {why}")
    return process.stdout


def thread_names(pid: int) -> dict[int, str]:
    found = DUMPED.findall(py_spy("dump", "--nonblocking", "--pid", str(pid)))
    return {int(number): group(name) for number, name in found}


def sampled(pid: int, seconds: float, folder: Path, *options: str) -> Counter[tuple[str, str]]:
    """Return how often each kind of thread was seen in each function."""
    path, duration = folder / "stacks", str(max(1, round(seconds)))
    how = ["-t", *options, "-r", str(RATE), "-d", duration, "-f", "raw", "--nonblocking"]
    py_spy("record", *how, "-o", str(path), "--pid", str(pid))
    counts: Counter[tuple[str, str]] = Counter()
    for line in path.read_text().splitlines():
        if stack := STACK.fullmatch(line):
            innermost = LINE_NUMBER.sub("", stack[2].rpartition(";")[2])
            counts[group(stack[1] or ""), innermost] += int(stack[3])
    return counts


def per_thread(sight: Sight, requests: int, seconds: float) -> Cells:
    """Return one line for each kind of thread, the busiest first, and their sum."""
    kinds: dict[str, list[float]] = {}
    for task in sight.before.keys() & sight.after.keys():
        old, new = sight.before[task], sight.after[task]
        sums = kinds.setdefault(sight.names.get(task, "other"), [0, 0.0, 0, 0])
        for place, more in enumerate(
            (1, new.cpu_s - old.cpu_s, new.voluntary - old.voluntary, new.forced - old.forced)
        ):
            sums[place] += more
    kinds = dict(sorted(kinds.items(), key=lambda item: -item[1][1]))
    kinds["all"] = [sum(column) for column in zip(*kinds.values(), strict=True)]
    cells = [["threads", "count", "cores", "CPU us/request", "gave way/request",
              "put off/request"]]  # fmt: skip
    for kind, (count, cpu_s, voluntary, forced) in kinds.items():
        shares = (cpu_s / seconds, 1e6 * cpu_s / requests, voluntary / requests, forced / requests)
        cells.append([kind, f"{count:.0f}", *map(number, shares)])
    return cells


def functions(seen: Counter[tuple[str, str]]) -> Cells:
    """Return the most frequent functions, each with the kind of thread."""
    total = sum(seen.values()) or 1
    cells = [["share", "threads", "function"]]
    for (kind, function), count in seen.most_common(TOP):
        cells.append([f"{100 * count / total:.0f} %", kind, function])
    return cells


def see(pid: int, seconds: float, folder: Path) -> Sight:
    """Return the observations of a process under the running load: three looks, one after the
    other."""
    names, before, begin = thread_names(pid), used_by(pid), time.monotonic()
    time.sleep(seconds)
    after, end = used_by(pid), time.monotonic()
    running = sampled(pid, seconds, folder)
    return Sight(names, before, after, begin, end, running, sampled(pid, seconds, folder, "--gil"))


def part(name: str, sight: Sight, found: Sequence[tuple[float, float]]) -> str:
    """Return the page's part about one node."""
    requests = max(1, sum(sight.begin <= at < sight.end for at, _ in found))
    seconds = sight.end - sight.begin
    return "\n".join(
        [
            f"== {name}: {requests / seconds:,.0f} requests/s while nothing was sampled",
            as_text(per_thread(sight, requests, seconds)),
            f"\nOn a processor or about to be (innermost function, {RATE} samples a second):",
            as_text(functions(sight.running)),
            "\nHolding the interpreter lock:",
            as_text(functions(sight.holding)),
        ]
    )


def page(arguments: argparse.Namespace) -> str:
    """Return the whole text."""
    with Raftline(arguments.dir, arguments.base_port, arguments.nodes) as nodes:
        leader = nodes.wait_until_level()
        if arguments.what == "get":
            nodes.fill(Load("load", connections=8, in_flight=16))
        record = nodes.folder / "answers"
        load = Load(
            arguments.what,
            arguments.connections,
            arguments.in_flight,
            seconds=3_600,
            warm_up=0,
            record=record,
        )
        run = nodes.begin(load)
        try:
            time.sleep(1)
            places = {f"leader s{leader + 1}": leader}
            if arguments.nodes > 1:
                follower = (leader + 1) % arguments.nodes
                places[f"follower s{follower + 1}"] = follower
            sights = {
                name: see(nodes.processes[place].pid, arguments.seconds, nodes.folder)
                for name, place in places.items()
            }
            run.finish()
        finally:
            run.stop()
        waits = answers(record)
    facts = results.machine_facts(arguments.dir)
    heading = (
        f"{arguments.what}, {arguments.connections} connections, {arguments.in_flight} in flight, "
        f"{arguments.nodes} nodes; {results.today()}; {facts['processor']}; "
        f"Python {facts['Python']}; load at the end {facts['load at start']}"
    )
    legend = (
        "gave way: context switches of a thread that waits; put off: of one that would have gone on"
    )
    return "\n\n".join([heading, *(part(*item, waits) for item in sights.items()), legend])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--what", choices=("set", "get"), default="set")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="of each look (default: 5)")
    parser.add_argument("--dir", type=Path, default=results.FOLDER)
    parser.add_argument("--base-port", type=int, default=29_600)
    arguments = parser.parse_args(argv)
    try:
        text = page(arguments)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    print(text)
    results.FOLDER.mkdir(parents=True, exist_ok=True)
    path = results.FOLDER / "profile.txt"
    path.write_text(text + "\n")
    print(f"\nalso in {path}")
    return 0


if __name__ == "__main__":
    end_with(main)
