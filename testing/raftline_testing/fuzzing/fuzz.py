"""Fuzz the input of a node: `make -C testing fuzz MINUTES=10 [SEED=3]`.

Examples of each target (`all_targets.py`) are guided by the code that they reach if atheris is
installed. Elsewhere, or with --drawn, Hypothesis draws them in turn. Exit codes: 0 no fault, 1 a
fault, 130 Ctrl-C. A fault is shown with the smallest example.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings

from . import guided
from .all_targets import TARGETS
from .targets import Target

PIECE = 500  # examples of a target before the next target's turn
NOT_GUIDED = "not guided: atheris, which has builds for CPython 3.11 to 3.14, is not installed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--only", choices=TARGETS, action="append", help="one target; repeatable")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time, if guided")
    parser.add_argument("--drawn", action="store_true", help="by Hypothesis, not guided")
    parser.add_argument("--again", type=Path, help="a file of an example that was found")
    options = parser.parse_args()
    targets = {name: TARGETS[name] for name in options.only or TARGETS}
    if options.again:
        if len(targets) > 1 or not options.again.is_file():
            parser.error("--again wants a file that is there, and its target: --only NAME")
        (target,) = targets.values()
        return guided.again(target, options.again.read_bytes())
    if not options.drawn and importlib.util.find_spec("atheris"):
        return guided.carried_out(targets, options.minutes * 60, options.seed, options.workers)
    if not options.drawn:
        print(NOT_GUIDED, flush=True)
    return carried_out(targets, options.minutes * 60, options.seed)


def carried_out(targets: Mapping[str, Target], seconds: float, begin: int) -> int:
    """Fuzz for this long, each target at least once; return the exit code."""
    end_s, counts = time.monotonic() + seconds, dict.fromkeys(targets, 0)
    number = begin
    print(f"{seconds:.0f} s, SEED={begin}", flush=True)
    while number == begin or time.monotonic() < end_s:
        for name, target in targets.items():
            if number > begin and time.monotonic() >= end_s:
                break
            if not _attempt(name, target, number, counts):
                print(f"{name}: a fault, found with SEED={number}", flush=True)
                return 1
        number += 1
    for name, count in counts.items():
        print(f"{name:8} {count:9,} examples, no fault", flush=True)
    return 0


def _attempt(name: str, target: Target, number: int, counts: dict[str, int]) -> bool:
    """Check one piece of examples; return whether all held."""

    @settings(
        max_examples=PIECE,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @seed(number)
    @given(target.strategy)
    def attempt(example: object) -> None:
        counts[name] += 1
        target.check(example)

    try:
        attempt()
    except Exception:
        traceback.print_exc(file=sys.stdout)
        return False
    return True


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a script, `&` ignores it
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
