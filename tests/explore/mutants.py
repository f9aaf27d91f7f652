"""Puts the faults of tests/mutants into the core, one by one, and lets the search alone hunt each.

`python -m tests.explore.mutants [--seconds 3] [--only NAME …]`: the seconds are those of each world
that is searched (budget.py, HUNT). Exit code 0, however many were found.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.explore.budget import HUNT
from tests.mutants.listed import ROOT, Mutant, mutants
from tests.mutants.run import Tree

STARTS_S = 60  # beside the search itself, on a busy machine


def hunted(tree: Tree, mutant: Mutant, seconds: float) -> str:
    """Return what the search finds in a tree with this fault, or ""."""
    source = (tree.path / mutant.file).read_text(encoding="utf-8")
    arguments = ("-m", "tests.explore", "--hunt", "--seconds", str(seconds))
    try:
        tree.put(mutant.file, mutant.applied(source))
        status, output = tree.run(arguments, 10 * seconds * len(HUNT) + STARTS_S)
    finally:
        tree.put(mutant.file, source)
    if status == 0:
        return ""
    return output.strip().splitlines()[-1] if output.strip() else f"status {status}"


def main(arguments: Sequence[str]) -> int:
    """Hunt the mutants of the core; print each, then how many were found."""
    parser = argparse.ArgumentParser(description="Which faults of the core does the search notice?")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each world; default: 3")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutants alone")
    parser.add_argument("--part", default="0/1", help="1/3: the second of three parts")
    given = parser.parse_args(arguments)
    chosen = [one for one in mutants() if one.file.startswith("src/raft/")]
    part, parts = map(int, given.part.split("/"))
    chosen = [one for one in chosen if not given.only or one.name in given.only][part::parts]
    for mutant in chosen:
        mutant.applied((ROOT / mutant.file).read_text(encoding="utf-8"))
    tree, found, all_of = Tree(), Counter[str](), Counter[str]()
    try:
        for number, mutant in enumerate(chosen, start=1):
            began_s = time.monotonic()
            why = hunted(tree, mutant, given.seconds)
            took_s = time.monotonic() - began_s
            print(
                f"{number:3} of {len(chosen)} {took_s:5.1f} s {mutant.file[9:]:20} "
                f"{mutant.name}: {why or 'NOT FOUND'}",
                flush=True,
            )
            all_of[mutant.file] += 1
            found[mutant.file] += bool(why)
    finally:
        tree.remove()
    for file in sorted(all_of):
        print(f"{file}: {found[file]} of {all_of[file]}")
    print(f"{sum(found.values())} of {len(chosen)} found by the search alone")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
