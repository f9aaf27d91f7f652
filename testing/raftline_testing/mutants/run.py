"""Put each listed fault into a throw-away copy of the tree, and check that a test notices it:
`python testing/raftline_testing/mutants/run.py -j 2`, or `--only NAME …`.

A mutant meets its own tests first, then the tests in memory and the transcripts; then the
simulation and the tests of real processes. A test that fails there and passes in a second run
doesn't count. Exit codes: 0 all were caught, except the known survivors; 1 a mutant survived, or a
known survivor was caught; 2 usage, or a test fails without any fault.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import datetime
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))

from raftline_testing.mutants.listed import ROOT, Mutant, MutantError, mutants
from raftline_testing.mutants.page import write_page
from raftline_testing.runner.tree_copy import SOURCES, copy_tree

SCHEDULES = 60
PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=no")


def tests_in(*folders: str) -> list[str]:
    """Return the folders of tests with these names: those of the kernel, of the library, of the
    extensions, and the tests of an extension with such a name."""
    patterns = (
        "tests/**/{}",
        "library/tests/**/{}",
        "extensions/*/tests/**/{}",
        "extensions/{}/tests",
    )
    found = [path for name in folders for each in patterns for path in ROOT.glob(each.format(name))]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


STAGES: tuple[tuple[str, int, tuple[str, ...]], ...] = (  # name, seconds at most, arguments
    # Without the test that compares the list with the tree: it expects the faultless one.
    ("memory", 900, (*PYTEST, "--timeout=60", "--ignore=tests/lists/test_mutants.py",
                     *tests_in("core", "rim", "tools", "lists", "transcripts"))),
    ("virtual", 300, ("testing/raftline_testing/virtual/simulate.py", "--count", str(SCHEDULES))),
    ("processes", 1800, (*PYTEST, "--timeout=120", *tests_in("processes"))),
)  # fmt: skip
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
SEED = re.compile(r"^seed (\d+): (.*)", re.MULTILINE)


@dataclass
class Result:
    """The outcome of one mutant."""

    mutant: Mutant
    caught_by: str  # "": it survived
    seconds: float


class Tree:
    """A copy of the tree that holds one fault at a time."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="raftline-mutants-")) / "tree"
        copy_tree(self.path)
        for name in SOURCES:
            compileall.compile_dir(str(self.path / name), quiet=2)

    def put(self, file: str, text: str) -> None:
        """Write a file, so that no compiled file is used instead."""
        path = self.path / file
        path.write_text(text, encoding="utf-8")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
            compiled.unlink()

    def remove(self) -> None:
        shutil.rmtree(self.path.parent, ignore_errors=True)

    def run(self, arguments: Sequence[str], limit_s: float) -> tuple[int, str]:
        """Run Python in the tree; return its exit code, -1 if it took too long, and its output.

        All processes that it started end with it.
        """
        environment = {**os.environ, "PYTHONPATH": str(self.path / "testing")}
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=limit_s)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            return -1, ""
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def hunt(tree: Tree, mutant: Mutant, stages: Sequence[str]) -> Result:
    """Return which test notices the fault, "" where none does."""
    source = (tree.path / mutant.file).read_text(encoding="utf-8")
    began_s = time.monotonic()
    try:
        tree.put(mutant.file, mutant.applied(source))
        caught_by = _caught_by(tree, mutant, stages)
    finally:
        tree.put(mutant.file, source)
    return Result(mutant, caught_by, time.monotonic() - began_s)


def _caught_by(tree: Tree, mutant: Mutant, stages: Sequence[str]) -> str:
    own = [("own", 300, (*PYTEST, "--timeout=60", test)) for test in mutant.tests]
    for stage, limit_s, arguments in [*own, *STAGES]:
        if stage not in stages:
            continue
        by_chance: list[str] = []
        while True:
            code, output = tree.run((*arguments, *by_chance), limit_s)
            if not code:
                break
            test = _what_failed(stage, code, output, arguments)
            if stage == "own" or "::" not in test or tree.run((*PYTEST, test), limit_s)[0]:
                return test
            # it passes now: it failed because the machine was busy
            by_chance += ["--deselect", test]
    return ""


def _what_failed(stage: str, code: int, output: str, arguments: Sequence[str]) -> str:
    """Return the test that failed, by its name for pytest; or the seed."""
    if seed := SEED.search(output):
        return f"make -C testing sim SEED={seed[1]}"
    if failed := FAILED.search(output):
        return failed[1]
    # When a hanging test is killed, the process that would name it is killed, too.
    return f"{arguments[-1]} ({'takes too long' if code == -1 else f'ends with {code}'}, {stage})"


class Run:
    """Several workers, each with its own tree."""

    def __init__(self, chosen: Sequence[Mutant], workers: int, stages: Sequence[str]) -> None:
        self.results: list[Result] = []
        self._left: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
        self._count = len(chosen)
        self._stages = stages
        self._lock = threading.Lock()
        self._began_s = time.monotonic()
        for mutant in chosen:
            self._left.put(mutant)
        self._threads = [threading.Thread(target=self._work) for _ in range(workers)]

    def run(self) -> None:
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        tree = Tree()
        try:
            while True:
                mutant = self._left.get_nowait()
                self._print(hunt(tree, mutant, self._stages))
        except queue.Empty:
            pass
        finally:
            tree.remove()

    def _print(self, result: Result) -> None:
        with self._lock:
            self.results.append(result)
            number = len(self.results)
            print(
                f"{number:3} of {self._count}  {result.seconds:6.1f} s  "
                f"{result.mutant.name}: {result.caught_by or 'SURVIVED'}",
                flush=True,
            )


def sound_without_faults(chosen: Sequence[Mutant]) -> bool:
    """Whether the mutants' own tests pass in a copy without any fault: else they prove nothing."""
    tests = sorted({test for mutant in chosen for test in mutant.tests})
    tree = Tree()
    try:
        code, output = tree.run((*PYTEST, "--timeout=120", *tests), 1800)
    finally:
        tree.remove()
    if code:
        print(f"without any fault a test fails, so nothing can be told:\n{output[-2000:]}")
    return code == 0


def table(results: Sequence[Result]) -> str:
    """Return the results as a table: mutant, mistake, caught by, seconds."""
    rows = [
        (r.mutant.name, r.mutant.mistake, r.caught_by or "SURVIVED", f"{r.seconds:.1f}")
        for r in results
    ]
    rows.insert(0, ("mutant", "row", "caught by", "s"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main(arguments: Sequence[str]) -> int:
    """Hunt the mutants that the arguments name; return the exit code."""
    parser = argparse.ArgumentParser(description="One-line faults that some test must notice.")
    parser.add_argument("-j", "--workers", type=int, default=2, help="at a time; default: 2")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutants alone")
    parser.add_argument(
        "--stages",
        nargs="+",
        choices=("own", *(stage for stage, *_ in STAGES)),
        default=("own", *(stage for stage, *_ in STAGES)),
        help="which tests; default: all",
    )
    parser.add_argument("--page", type=Path, help="write the results into this page, too")
    options = parser.parse_args(arguments)
    try:
        chosen = mutants()
        for mutant in chosen:
            mutant.applied((ROOT / mutant.file).read_text(encoding="utf-8"))
    except (MutantError, OSError) as error:
        print(f"the list of mutants is not true any more: {error}")
        return 2
    if options.only:
        names = {mutant.name for mutant in chosen}
        unknown = [name for name in options.only if name not in names]
        if unknown:
            parser.error(f"no such mutant: {', '.join(unknown)}")
        chosen = [mutant for mutant in chosen if mutant.name in options.only]
    if not sound_without_faults(chosen):
        return 2
    run = Run(chosen, max(1, options.workers), options.stages)
    run.run()
    places = {mutant.name: place for place, mutant in enumerate(chosen)}
    results = sorted(run.results, key=lambda result: places[result.mutant.name])
    print(f"\n{table(results)}\n")
    surprises = [r for r in results if bool(r.caught_by) == bool(r.mutant.survives)]
    for result in surprises:
        what = "caught, though listed as a survivor" if result.caught_by else "survived"
        print(f"{result.mutant.name} {what}: {result.mutant.why}")
    caught = sum(bool(result.caught_by) for result in results)
    print(f"{caught} of {len(results)} mutants caught")
    if options.page:
        write_page(options.page, [(r.mutant, r.caught_by) for r in results], datetime.date.today())
    return 1 if surprises else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a script, `&` ignores it
    sys.exit(main(sys.argv[1:]))
