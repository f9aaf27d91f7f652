"""Puts the faults of tests/mutants into the core, one by one, and lets the search alone hunt each.

`python -m tests.explore.mutants [--seconds 2] [--workers 16] [--minutes 9] [--only NAME …]`: the
seconds are those of each world (budget.py, HUNT and SEARCHED). A row is printed for each mutant,
then a table of the files. Python's standard library is enough; a C compiler finds more. Exit code
0, however many were found.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

from tests.explore.budget import HUNT, SEARCHED
from tests.mutants.listed import ROOT, Mutant, mutants
from tests.mutants.run import Tree

STARTS_S = 60  # beside the search itself, on a busy machine


def hunted(tree: Tree, mutant: Mutant, seconds: float) -> str:
    """Return what the search finds in a tree with this fault, or ""."""
    source = (tree.path / mutant.file).read_text(encoding="utf-8")
    arguments = ("-m", "tests.explore", "--hunt", "--seconds", str(seconds))
    try:
        tree.put(mutant.file, mutant.applied(source))
        status, output = tree.run(arguments, 10 * seconds * len((*HUNT, *SEARCHED)) + STARTS_S)
    finally:
        tree.put(mutant.file, source)
    if status == 0:
        return ""
    return output.strip().splitlines()[-1] if output.strip() else f"status {status}"


class Hunt:
    """Several workers, each with its own tree."""

    def __init__(self, chosen: Sequence[Mutant], seconds: float, end_s: float) -> None:
        self._left = deque(enumerate(chosen, start=1))
        self._count = len(chosen)
        self._seconds = seconds
        self._end_s = end_s
        self.found: Counter[str] = Counter()
        self.tried: Counter[str] = Counter()

    def run(self, workers: int) -> None:
        """Hunt the mutants, `workers` at a time, until the time is over."""
        threads = [threading.Thread(target=self._work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        tree = Tree()
        try:
            while time.monotonic() < self._end_s:
                number, mutant = self._left.popleft()
                began_s = time.monotonic()
                why = hunted(tree, mutant, self._seconds)
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
    for mutant in chosen:
        mutant.applied((ROOT / mutant.file).read_text(encoding="utf-8"))
    hunt = Hunt(chosen, given.seconds, time.monotonic() + 60 * given.minutes)
    hunt.run(given.workers)
    print("\n| module | found | tried |\n|---|---|---|")
    for file in sorted(hunt.tried):
        print(f"| {Path(file).stem} | {hunt.found[file]} | {hunt.tried[file]} |")
    print(f"\n{hunt.found.total()} of {hunt.tried.total()} found by the search alone", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
