"""The fuzzer guided by the code that examples reach: each target in its own process.

libFuzzer ends a process at its first fault. So each turn of a target is a process, and the next
turn starts from the corpus in build/fuzz.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .targets import Target

HERE = __package__
TURN_S = 300  # at most; a process needs about 5 s of processor time to start
FOLDER = Path("build/fuzz")
PROGRESS = re.compile(r"^#(\d+)\s.* cov: (\d+) ft: (\d+)", re.MULTILINE)
WRITTEN = re.compile(r"Test unit written to (.+)")
# exit codes of libFuzzer, or of a process that had not started it
BROKEN, INTERRUPTED = 77, (72, -signal.SIGINT)
ENDS = {70: "took too long", 71: "took too much memory", BROKEN: "a fault"}
SHOWN = 2000  # characters of the log of a process that ended by itself


@dataclass
class Sum:
    """The figures of one target, over all of its turns."""

    name: str
    target: Target
    executions: int = 0
    places: int = 0  # branches and calls that an example reached
    features: int = 0  # places with their counts, and comparisons there
    processor_s: float = 0.0
    fault: str = ""  # the file with its example

    def __str__(self) -> str:
        rate = self.executions / (self.processor_s or 1)
        return (
            f"{self.name:14} {self.executions:11,} executions, {self.places:5,} places, "
            f"{self.features:6,} features, {self.processor_s:7,.0f} s of the processor, "
            f"{rate:6,.0f} a second, {self.fault or 'no fault'}"
        )


def carried_out(targets: Mapping[str, Target], seconds: float, begin: int, workers: int) -> int:
    """Fuzz for this long, all targets equally long; return the exit code."""
    sums = [Sum(name, target) for name, target in targets.items()]
    share_s = seconds * workers / len(sums)
    rounds = math.ceil(share_s / TURN_S)
    turn_s = max(1, round(share_s / rounds))
    print(f"{seconds:.0f} s, {rounds} turns of {turn_s} s each, SEED={begin}", flush=True)
    with ThreadPoolExecutor(workers) as pool:
        try:
            for number in range(begin, begin + rounds):
                each = [pool.submit(turn, one, number, FOLDER, seconds=turn_s) for one in sums]
                for future in each:
                    future.result()
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            print("\n".join(map(str, sums)), flush=True)
    return 1 if any(one.fault for one in sums) else 0


def turn(
    so_far: Sum, number: int, folder: Path, of: str = f"{HERE}.all_targets", **limit: int
) -> None:
    """Fuzz one target for this many seconds or runs, unless it has a known fault."""
    if so_far.fault:
        return
    place = folder / so_far.name.replace(" ", "-")
    place.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", f"{HERE}.guided_target", of, so_far.name, str(place)]
    command += [f"--seed={number}", *(f"--{name}={most}" for name, most in limit.items())]
    with (place / "log").open("w", encoding="utf-8") as log:
        surroundings = {**os.environ, "PYTHONHASHSEED": "0"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=surroundings)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    said = (place / "log").read_text(encoding="utf-8", errors="replace")
    if counted := PROGRESS.findall(said):
        executions, places, features = map(int, counted[-1])
        so_far.executions += executions
        so_far.places, so_far.features = max(so_far.places, places), max(so_far.features, features)
    so_far.processor_s += used.ru_utime + used.ru_stime
    if process.returncode not in (0, *INTERRUPTED):
        so_far.fault = _show(so_far, process.returncode, said)


def _show(one: Sum, status: int, said: str) -> str:
    """Print the end of a process, and a fault with its smallest example; return the example's
    name."""
    print(f"{one.name}: {ENDS.get(status, f'exit status {status}')}", flush=True)
    written = WRITTEN.search(said)
    if not written:
        print(said[-SHOWN:], flush=True)
        return f"exit status {status}"
    again_by = ["-m", f"{HERE}.fuzz", "--only", one.name, "--again", written[1]]
    print(f"once more: .venv/bin/python {shlex.join(again_by)}", flush=True)
    if status == BROKEN:
        again(one.target, Path(written[1]).read_bytes())
    return written[1]


def again(target: Target, data: bytes) -> int:
    """Check a found example again, and with fewer bytes; return the exit code."""
    examples: list[object] = []

    def noted(example: object) -> None:
        examples.append(example)
        target.check(example)

    attempt = target._replace(check=noted).of_bytes()
    if not _problem(attempt, data):
        print("no fault")
        return 0
    try:
        attempt(smallest(attempt, data))
    except Exception:
        traceback.print_exc(file=sys.stdout)
    print(f"example={examples[-1]!r}")
    return 1


def smallest(attempt: Callable[[bytes], object], data: bytes) -> bytes:
    """Remove bytes that the error doesn't need."""
    wanted, size = _problem(attempt, data), len(data)
    while size:
        place = 0
        while place < len(data):
            shorter = data[:place] + data[place + size :]
            if _problem(attempt, shorter) == wanted:
                data = shorter
            else:
                place += size
        size //= 2
    return data


def _problem(attempt: Callable[[bytes], object], data: bytes) -> object:
    """Return the kind of an error and the line that raised it, or None."""
    try:
        attempt(data)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return type(error), last.filename, last.lineno
    return None
