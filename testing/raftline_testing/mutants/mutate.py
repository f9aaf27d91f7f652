"""Plant one-line faults by rule into the statements that changed, and print those that no quick
test notices: `python testing/raftline_testing/mutants/mutate.py --since COMMIT`.

First the quick tests run once with all faults in place and none in force, which shows the tests
that execute each. Then each fault is in force in a fork, in which these tests run, the fastest
first, until one fails. mutmut and cosmic-ray begin a run of tests for each fault, which would take
hours here.

CI runs the quick tests anyway: `--plant FOLDER` writes the faults before, the tests run with
`RAFTLINE_FAULTS=FOLDER/plan-all.json`, and `--judge FOLDER` judges the faults afterwards.

Exit codes: 0 done; 1 less than `--at-least` percent were noticed; 2 usage, or a test fails without
any fault.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))

from raftline_testing.mutants.faults import Fault, faults_of
from raftline_testing.mutants.listed import EQUIVALENT, ROOT
from raftline_testing.runner.tree_copy import SOURCES

MARK = "fault judged: "
ROOM = 100_000  # numbers of each module
LONGEST_S = 60.0  # of tests that run for one fault
PYTEST = ("-m", "pytest", "-q", "--lane", "quick", "-p", "no:cacheprovider",
          "-p", "raftline_testing.mutants.judge_faults")  # fmt: skip
Planted = dict[int, tuple[str, Fault]]  # by number: file, fault


class CannotMutate(Exception):
    """The faults can't be judged; the message says why."""


def changed_lines(since: str, folders: Sequence[str]) -> dict[str, set[int]]:
    """Return the lines of each module that are not in this commit."""
    asked = ["git", "-C", str(ROOT), "diff", "-U0", "--no-color", "--no-ext-diff", since, "--"]
    done = subprocess.run([*asked, *folders], capture_output=True, text=True)
    if done.returncode:
        raise CannotMutate(done.stderr.strip() or f"git knows no commit {since}")
    lines: dict[str, set[int]] = {}
    file = ""
    for line in done.stdout.splitlines():
        if line.startswith("+++ "):
            file = line[6:]
        elif (hunk := re.match(r"@@ \S+ \+(\d+)(?:,(\d+))? @@", line)) and file.endswith(".py"):
            begin, count = int(hunk[1]), int(hunk[2] or 1)
            if is_source(file):
                lines.setdefault(file, set()).update(range(begin, begin + count))
    return lines


def all_lines(folders: Sequence[str]) -> dict[str, set[int]]:
    """Return all lines of each module."""
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    return {
        file.relative_to(ROOT).as_posix(): {*range(1, file.read_text("utf-8").count("\n") + 2)}
        for file in files
        if is_source(file.relative_to(ROOT).as_posix())
    }


def is_source(file: str) -> bool:
    """Return whether a file is outside of the tests."""
    return not {"tests", "harness", "bench"} & {*file.split("/")}


def is_known(file: str, fault: Fault) -> bool:
    """Return whether the list of equivalent faults has this one."""
    return f"{file} {fault.function}: {fault}" in {entry for entry, _ in equivalents()}


def equivalents() -> Iterator[tuple[str, str]]:
    """Yield each fault that makes no difference, and the reason."""
    for block in EQUIVALENT.read_text(encoding="utf-8").split("\n\n")[1:]:
        entry, _, why = block.strip().partition("\n")
        if why:
            yield entry, why.strip()


def drawn(lines: dict[str, set[int]], count: int, seed: int) -> Planted:
    """Draw this many faults of these lines: statements by chance, and a fault of each."""
    candidates: dict[tuple[str, int], list[tuple[int, Fault]]] = {}
    for place, (file, wanted) in enumerate(sorted(lines.items())):
        if not (ROOT / file).exists():
            continue
        for fault in faults_of((ROOT / file).read_text(encoding="utf-8")):
            if fault.line in wanted and not is_known(file, fault):
                number = place * ROOM + fault.number
                candidates.setdefault((file, fault.line), []).append((number, fault))
    chance = random.Random(seed)
    places = chance.sample(sorted(candidates), min(count, len(candidates)))
    found = {place: chance.choice(candidates[place]) for place in places}
    return {number: (file, fault) for (file, _), (number, fault) in found.items()}


def plant(folder: Path, faults: Planted) -> None:
    """Write the plan of a run of the quick tests that shows which of them execute these faults."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = [(number, file, asdict(fault)) for number, (file, fault) in faults.items()]
    plan = {"modules": modules_of(faults), "planted": rows}
    (folder / "plan-all.json").write_text(json.dumps(plan), encoding="utf-8")


def planted_in(folder: Path) -> Planted:
    """Return the faults that were planted."""
    try:
        plan = json.loads((folder / "plan-all.json").read_text(encoding="utf-8"))
    except OSError as problem:
        raise CannotMutate(f"nothing is planted there: {problem}") from None
    return {number: (file, Fault(**fault)) for number, file, fault in plan["planted"]}


def run(
    folder: Path, plan: dict[str, Any], arguments: Sequence[str], **more: str
) -> subprocess.Popen[bytes]:
    """Begin a run of the quick tests with this plan."""
    path = folder / f"plan-{more.get('RAFTLINE_FAULTS_PART', 'all')}.json"
    if "judged" in plan:
        path.write_text(json.dumps(plan), encoding="utf-8")
    environment = {**os.environ, "RAFTLINE_FAULTS": str(path), **more}
    return subprocess.Popen(
        [sys.executable, *PYTEST, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )


def modules_of(faults: Planted) -> dict[str, tuple[int, list[int]]]:
    """Return the numbers of the faults of each module, by its path."""
    modules: dict[str, tuple[int, list[int]]] = {}
    for number, (file, fault) in faults.items():
        entry = modules.setdefault(os.path.realpath(ROOT / file), (number - number % ROOM, []))
        entry[1].append(fault.number)
    return modules


def executing(
    folder: Path, faults: Planted, workers: int, asked: Sequence[str]
) -> dict[int, list[tuple[str, float]]]:
    """Run the quick tests; return those that execute each fault, the fastest first."""
    plant(folder, faults)
    process = run(folder, {}, ["-n", str(workers), "--tb=short", *asked])
    said = (process.communicate()[0]).decode(errors="replace")
    if process.returncode not in (0, 1):
        raise CannotMutate(f"the quick tests don't run:\n{said[-2000:]}")
    return executed_in(folder, faults)


def executed_in(folder: Path, faults: Planted) -> dict[int, list[tuple[str, float]]]:
    """Return the tests that executed each fault, the fastest first."""
    tests: dict[int, list[tuple[str, float]]] = {number: [] for number in faults}
    for path in folder.glob("*.executed.json"):
        for name, (took_s, executed) in json.loads(path.read_text(encoding="utf-8")).items():
            for number in executed:
                tests[number].append((name, took_s))
    for number, found in tests.items():
        found.sort(key=lambda test: test[1])
        total_s, kept = 0.0, []
        for name, took_s in found:
            total_s += took_s
            if total_s < LONGEST_S:
                kept.append((name, took_s))
        tests[number] = kept
    return tests


def judged(
    folder: Path,
    faults: Planted,
    tests: dict[int, list[tuple[str, float]]],
    workers: int,
    until_s: float,
) -> dict[int, str]:
    """Return for each fault that was tried the test that noticed it, or ""."""
    plan = {
        "modules": modules_of(faults), "judged": [*tests.items()], "parts": workers,
        "mark": MARK, "until_s": until_s,
    }  # fmt: skip
    processes = [
        run(folder, plan, ["-n", "0"], RAFTLINE_FAULTS_PART=str(part)) for part in range(workers)
    ]
    found: dict[int, str] = {}
    for process in processes:
        said = process.communicate()[0].decode(errors="replace")
        lines = [line for line in said.splitlines() if line.startswith(MARK)]
        if not lines and process.returncode:
            raise CannotMutate(f"no fault was judged:\n{said[-2000:]}")
        for line in lines:
            number, _, noticed = json.loads(line[len(MARK) :])
            found[number] = noticed
    return found


def report(
    faults: Planted, tests: dict[int, list[tuple[str, float]]], found: dict[int, str]
) -> int:
    """Print the survivors and a summary; return the percentage that was noticed."""
    survivors = sorted(number for number, noticed in found.items() if not noticed)
    for number in survivors:
        file, fault = faults[number]
        ran = f"{len(tests[number])} tests" if tests[number] else "no test executes it"
        print(f"{file}:{fault.line} {fault.function}\n    {fault}\n    {ran}")
    noticed = len(found) - len(survivors)
    percent = 100 * noticed // max(len(found), 1)
    left = len(faults) - len(found)
    print(
        f"{noticed} of {len(found)} faults noticed, {percent} %"
        + (f"; {left} not tried" if left else "")
    )
    folders = Counter("/".join(faults[number][0].split("/")[:2]) for number in found)
    missed = Counter("/".join(faults[number][0].split("/")[:2]) for number in survivors)
    for folder, count in sorted(folders.items()):
        print(f"    {folder}: {count - missed[folder]} of {count}")
    return percent


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--since", default="", help="the commit to compare with; default: of a day ago"
    )
    parser.add_argument("--all", action="store_true", help="all statements, not only changed ones")
    parser.add_argument("--count", type=int, default=200, help="faults at most (200)")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (1)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=600.0, help="for judging, at most")
    parser.add_argument("--at-least", type=int, default=0, help="percent, or the exit code is 1")
    parser.add_argument("--tests", nargs="*", default=[], help="these alone, not all quick ones")
    parser.add_argument("--plant", metavar="FOLDER", type=Path, help="write the faults, and end")
    parser.add_argument("--judge", metavar="FOLDER", type=Path, help="judge those of `--plant`")
    parser.add_argument("folders", nargs="*", default=SOURCES)
    options = parser.parse_args()
    try:
        faults = planted_in(options.judge) if options.judge else asked_for(options)
        if options.plant:
            plant(options.plant, faults)
            return 0
        if not faults:
            print("No statement changed, so there is no fault to plant.")
            return 0
        print(
            f"{len(faults)} faults in {len({file for file, _ in faults.values()})} files",
            flush=True,
        )
        with tempfile.TemporaryDirectory(prefix="raftline-mutate-") as name:
            folder, workers = options.judge or Path(name), options.workers
            tests = (
                executed_in(folder, faults)
                if options.judge
                else executing(folder, faults, workers, options.tests)
            )
            found = judged(folder, faults, tests, workers, time.time() + options.seconds)
    except CannotMutate as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 1 if report(faults, tests, found) < options.at_least else 0


def asked_for(options: argparse.Namespace) -> Planted:
    """Draw the faults that the arguments ask for."""
    if options.all:
        lines = all_lines(options.folders)
    else:
        lines = changed_lines(options.since or a_day_ago(), options.folders)
    return drawn(lines, options.count, options.seed)


def a_day_ago() -> str:
    """Return the last commit that is older than a day, or the first one."""
    for asked in (["-1", "--before=1 day ago", "HEAD"], ["--max-parents=0", "HEAD"]):
        done = subprocess.run(
            ["git", "-C", str(ROOT), "rev-list", *asked], capture_output=True, text=True
        )
        if commits := done.stdout.split():
            return commits[0]
    raise CannotMutate("git finds no commit here; name one: SINCE=COMMIT")


if __name__ == "__main__":
    sys.exit(main())
