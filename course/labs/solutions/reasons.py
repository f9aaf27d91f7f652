"""Draw faulty cores, and read in the pictures the sentences on the failed step.

`python -m labs.solutions.reasons` draws the bugs of lab 6 and prints their table;
`--mutants [--seconds 10] [--only NAME …]` draws the core's listed mutants that
schedules find within this many seconds of processor time. Exit code 1: a picture justifies a failed
step, or too few name the rule.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))

from labs.bugs.play import BUGS, copy_with_bug, script_of
from labs.bugs.stage import Unchecked
from raftline.picture.harness.judging.collected import SECTIONS, Collector
from raftline_testing.mutants.listed import mutants
from raftline_testing.mutants.run import Tree
from raftline_testing.transcripts.player import Player
from raftline_testing.virtual.schedule import SimulationFailed, run
from raftline_testing.virtual.world.plan import FAULTS

ROOT = Path(__file__).resolve().parents[3]
# The package is bound to the faulty sources before the correct ones get on the path.
HERE = "import raftline, sys; from labs.solutions.reasons import main; sys.exit(main(sys.argv[1:]))"
NAMED_LEAST = 20  # of lab 6's bugs
STEPS = 2500
SECONDS = 10.0  # of the processor, for a mutant
BUG_SECONDS = 60.0  # the slowest one takes ten
SLOWNESS = 6  # of a busy machine


class Shown(NamedTuple):
    """The sentences of a picture about one step."""

    how: str  # the run
    node: str
    step: str
    broken: list[str]  # each sentence with its section
    said: list[str]  # the other sentences

    @property
    def names_rule(self) -> bool:
        """Whether the picture names a broken rule, by its section."""
        return any(SECTIONS.search(text) or "docs/" in text for text in self.broken)


def shown(how: str, node: str, seen: dict[str, Any]) -> Shown:
    """Return the sentences of a picture about a step."""
    broken, sentences = list[str](), list[str]()
    for text, section, _, is_broken in seen["why"]:
        (broken if is_broken else sentences).append(f"{text} ({section})" if section else text)
    return Shown(how, node, seen["in"], broken, sentences)


def of_transcript(script: str) -> Shown | None:
    """Play a transcript without invariants; return the first step that breaks a rule."""
    player = Player(collector := Collector(one_clock=True))
    player.cluster.invariants = Unchecked()  # type: ignore[assignment]
    try:
        for line in script.splitlines():
            if line.startswith("> "):
                player.play(line[2:])
    except Exception as error:
        player.fail(error)
    for node, step in collector.steps:
        if any(reason[3] for reason in step["why"]):
            return shown("its transcript", node, step)
    return None


def of_schedules(seconds: float) -> Shown | None:
    """Run schedules for this many seconds of processor time; return the step at which one fails. If
    it has only the words of the failure, the first broken rule is added."""
    began_s = time.process_time()
    kinds = itertools.cycle(FAULTS)
    for seed in itertools.count():
        for faults in ((), (next(kinds),)):
            if time.process_time() > began_s + seconds:
                return None
            collector = Collector(one_clock=True)
            try:
                run(seed, steps=STEPS, faults=faults, collector=collector)
            except SimulationFailed:
                fault_names = "".join(f", {kind}" for kind in faults)
                return _of_failure(collector, f"seed {seed}{fault_names}")
    return None


def failed_step(collector: Collector) -> tuple[str, dict[str, Any]] | None:
    """Return the step that failed with its node, if the run failed."""
    if collector._failure is None or collector._failure[1] < 0:
        return None
    _, name, one = collector._events[collector._failure[1]]
    return name, one


def _of_failure(collector: Collector, how: str) -> Shown | None:
    failed = failed_step(collector)
    if failed is None:
        return None
    picture = shown(how, *failed)
    if len(picture.broken) > 1:  # in addition to the words of the failure
        return picture
    for node, step in collector.steps:
        earlier = shown(how, node, step)
        if earlier.broken and earlier.broken != picture.broken:
            return picture._replace(
                broken=[*picture.broken, f"before, at {node}: {earlier.broken[0]}"]
            )
    return picture


def with_bug(number: int, seconds: float = BUG_SECONDS) -> Shown | None:
    """Draw a bug of lab 6: by its transcript, or by schedules if the transcript plays only
    files."""
    script = script_of(number)
    is_played = "\n> files " not in script
    with tempfile.TemporaryDirectory(prefix="raftline-reasons-") as folder:
        sources = copy_with_bug(number, Path(folder))
        path = os.pathsep.join(map(str, (sources, ROOT / "course", ROOT / "testing")))
        process = subprocess.run(
            [sys.executable, "-B", "-c", HERE, "--here", str(seconds)],
            input=script if is_played else "",
            env={**os.environ, "PYTHONPATH": path},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60 + SLOWNESS * seconds,
            check=False,
        )
    return _read(process.stdout + process.stderr)


def _read(output: str) -> Shown | None:
    match = re.search(r"^SHOWN (.*)", output, re.MULTILINE)
    if match is None:
        raise AssertionError(output[-2000:])
    fields = json.loads(match[1])
    return None if fields is None else Shown(*fields)


def justifies(found: Shown) -> list[str]:
    """Return the sentences in which a step refers, by its section, to a rule that it breaks."""
    claims = re.compile(r"so I lead|so it is committed|^granted|are committed \(|^served|confirms")
    broken = {section for text in found.broken for section in SECTIONS.findall(text)}
    return [
        text
        for text in found.said
        if claims.search(text) and broken.intersection(SECTIONS.findall(text))
    ]


def draw_bugs() -> bool:
    """Print the table of lab 6's bugs; return whether it is as expected."""
    count, wrong = 0, list[int]()
    print("| bug | drawn | step | the picture says, in red |\n|---|---|---|---|")
    for number in BUGS:
        picture = with_bug(number)
        if picture is None or justifies(picture):
            wrong.append(number)
        if picture is not None:
            count += picture.names_rule
            step = f"{picture.node}: {picture.step}".replace("|", "¦")
            print(
                f"| {number} | {picture.how} | {step} | {'; '.join(picture.broken)} |", flush=True
            )
    print(f"{count} of {len(BUGS)} name the broken rule; wrong: {wrong or 'none'}")
    return count >= NAMED_LEAST and not wrong


def draw_mutants(names: Sequence[str], seconds: float) -> bool:
    """Print the picture's sentences for each core mutant that schedules find."""
    chosen = [one for one in mutants() if one.file.startswith("src/raft/")]
    chosen = [one for one in chosen if not names or one.name in names]
    tree, drawn, count, alone, wrong = Tree(), 0, 0, 0, list[str]()
    try:
        for mutant in chosen:
            source = (tree.path / mutant.file).read_text(encoding="utf-8")
            arguments = ("-m", "labs.solutions.reasons", "--here", str(seconds))
            try:
                tree.put(mutant.file, mutant.applied(source))
                _, output = tree.run(arguments, 60 + SLOWNESS * seconds)
            finally:
                tree.put(mutant.file, source)
            picture = _read(output) if "SHOWN" in output else None
            if picture is None:
                print(f"{mutant.name}: not found", flush=True)
                continue
            drawn += 1
            count += picture.names_rule
            wrong += [mutant.name] if justifies(picture) else []
            alone += len(picture.broken) == 1
            text = "; ".join(picture.broken)
            print(f"{mutant.name}: {picture.how}: {picture.node}: {text}", flush=True)
    finally:
        tree.remove()
    print(f"{drawn} of {len(chosen)} break a schedule; {count} of these pictures name the rule")
    print(f"{alone} show nothing but the words of the failure")
    print(f"justified: {' '.join(wrong) or 'none'}")
    return not wrong


def main(arguments: Sequence[str]) -> int:
    """Draw the requested ones; return the exit code."""
    parser = argparse.ArgumentParser(description="What do pictures of faulty cores say?")
    parser.add_argument("--mutants", action="store_true", help="the core's, in place of lab 6's")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these mutants alone")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each mutant (10)")
    parser.add_argument("--here", type=float, metavar="SECONDS", help="draw what is wrong here")
    options = parser.parse_args(arguments)
    if options.here is not None:
        script = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read()
        picture = of_transcript(script) if script else of_schedules(options.here)
        print("SHOWN " + json.dumps(picture))
        return 0
    is_right = draw_mutants(options.only, options.seconds) if options.mutants else draw_bugs()
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
