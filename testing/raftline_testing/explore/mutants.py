"""Put the listed faults into the core, one by one, and hunt each by the search alone.

    python -m raftline_testing.explore.mutants [--seconds 2] [--workers 16] [--minutes 9]

The seconds are for each world (budget.py, HUNTED). A mutant is hunted in the worlds that run its
line; if no world runs it, the mutant can't show, and is counted separately. A row is printed for
each mutant, then a table of the files. Python's standard library is enough; a C compiler finds
more. Exit code 0, however many were found.
"""

from __future__ import annotations

import argparse
import ast
import functools
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))

from ..mutants.listed import ROOT, Mutant, mutants
from ..mutants.run import Tree
from .__main__ import hunter
from .budget import HUNTED, read
from .world import World

STARTS_S = 60  # in addition to the search itself, on a busy machine
TOOK_TOO_LONG = -1  # of Tree.run
CORE = "src/raft/"
Lines = set[tuple[str, int]]  # file, number


def lines_run(number: int, seconds: float) -> Lines:
    """Return the lines of the core that run while a world of HUNTED is searched for this long."""
    found: Lines = set()
    seen: dict[str, str] = {}

    def trace(frame: FrameType, what: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        file = seen.get(name)
        if file is None:
            place = name.find(CORE)
            file = seen[name] = name[place:] if place >= 0 else ""
        if not file:
            return None
        if what == "line":
            found.add((file, frame.f_lineno))
        return trace

    text, servers, goals = HUNTED[number]
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        hunter(goals)(World(read(text), servers, is_reduced=goals is None), seconds)
    finally:
        sys.settrace(before)
    return found


def lines_changed(mutant: Mutant) -> Lines:
    """Return the lines of the statement that a mutant changes, or of its first line if it is a
    block; none outside of functions, where every line runs."""
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    before, after = source.split("\n"), mutant.applied(source).split("\n")
    line = 1 + next(place for place, text in enumerate(before) if text != after[place])
    first, last = min(
        (lines for lines in _statements(source) if lines[0] <= line <= lines[1]),
        key=lambda lines: lines[1] - lines[0],
        default=(0, -1),
    )
    return {(mutant.file, number) for number in range(first, last + 1)}


@functools.cache
def _statements(source: str) -> list[tuple[int, int]]:
    """Return the first and last line of each statement in a function, without its blocks."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.stmt) and node is not function:
                blocks = [part[0].lineno for part in _blocks(node)]
                end = min(blocks) - 1 if blocks else node.end_lineno or node.lineno
                found.append((node.lineno, max(end, node.lineno)))
    return found


def _blocks(node: ast.stmt) -> list[list[ast.stmt]]:
    parts = [getattr(node, name, None) for name in ("body", "orelse", "finalbody")]
    return [part for part in parts if isinstance(part, list) and part]


def hunted(tree: Tree, mutant: Mutant, seconds: float, worlds: Sequence[int]) -> str:
    """Return the violation that the search finds in these worlds in a tree with this fault, or
    ""."""
    source = (tree.path / mutant.file).read_text(encoding="utf-8")
    arguments = ["-m", "raftline_testing.explore", "--hunt", "--seconds", str(seconds), "--worlds"]
    arguments += map(str, worlds)
    try:
        tree.put(mutant.file, mutant.applied(source))
        status, output = tree.run(arguments, 10 * seconds * len(worlds) + STARTS_S)
    finally:
        tree.put(mutant.file, source)
    if status in (0, TOOK_TOO_LONG):  # slowness on a busy machine isn't a finding
        return ""
    return output.strip().splitlines()[-1] if output.strip() else f"status {status}"


class Hunt:
    """Several workers, each with its own tree."""

    def __init__(
        self, chosen: Sequence[tuple[Mutant, list[int]]], seconds: float, end_s: float
    ) -> None:
        self._left = deque(enumerate(chosen, start=1))
        self._count = len(chosen)
        self._seconds = seconds
        self._end_s = end_s
        self.found: Counter[str] = Counter()
        self.tried: Counter[str] = Counter()

    def run(self, workers: int) -> None:
        """Hunt the mutants, `workers` at a time, until the time is up."""
        threads = [threading.Thread(target=self._work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        tree = Tree()
        try:
            while time.monotonic() < self._end_s:
                number, (mutant, worlds) = self._left.popleft()
                began_s = time.monotonic()
                why = hunted(tree, mutant, self._seconds, worlds)
                took_s = time.monotonic() - began_s
                print(
                    f"{number:3} of {self._count} {took_s:5.1f} s {mutant.file[9:]:20} "
                    f"{mutant.name}: {why or 'NOT FOUND'}",
                    flush=True,
                )
                self.tried[mutant.file] += 1
                self.found[mutant.file] += bool(why)
        except IndexError:
            pass  # another worker has the last one
        finally:
            tree.remove()


def main(arguments: Sequence[str]) -> int:
    """Hunt the mutants of the core; print each, then how many were found."""
    parser = argparse.ArgumentParser(description="Which faults of the core does the search notice?")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each world; default: 2")
    parser.add_argument("--workers", type=int, default=1, help="mutants at a time; default: 1")
    parser.add_argument("--minutes", type=float, default=480, help="then no other is begun")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutants alone")
    parser.add_argument("--part", default="0/1", help="1/3: the second of three parts")
    given = parser.parse_args(arguments)
    chosen = [one for one in mutants() if one.file.startswith("src/raft/")]
    part, parts = map(int, given.part.split("/"))
    chosen = [one for one in chosen if not given.only or one.name in given.only][part::parts]
    runs = [lines_run(number, given.seconds) for number in range(len(HUNTED))]
    print(f"{len(set().union(*runs)):,} lines of the core run", flush=True)
    left: Counter[str] = Counter()
    wanted = []
    for mutant in chosen:
        lines = lines_changed(mutant)
        worlds = [number for number, run in enumerate(runs) if not lines or lines & run]
        if worlds:
            wanted.append((mutant, worlds))
        else:
            left[mutant.file] += 1
            print(f"no world runs it: {mutant.file[9:]:20} {mutant.name}", flush=True)
    hunt = Hunt(wanted, given.seconds, time.monotonic() + 60 * given.minutes)
    hunt.run(given.workers)
    print("\n| module | found | tried | no world runs them |\n|---|---|---|---|")
    for file in sorted({*hunt.tried, *left}):
        print(f"| {Path(file).stem} | {hunt.found[file]} | {hunt.tried[file]} | {left[file]} |")
    found, tried = hunt.found.total(), hunt.tried.total()
    print(f"\n{found} of {tried} found by the search alone; {left.total()} not run", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
