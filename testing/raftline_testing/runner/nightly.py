"""Run the campaigns one after the other: `make nightly [HOURS=8]`.

All of them take more than a day, so a night runs those that were last run longest ago: the first,
and as many others as end within its hours. `build/nightly.txt` records each: when, at which commit,
and the result.

Each ends by itself. A campaign that hangs is interrupted at its limit with all its processes, and
has failed. Exit codes: 0 all passed, 1 one failed, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from raftline_testing.runner.tree_copy import ROOT

CAMPAIGNS: tuple[tuple[str, float], ...] = (  # arguments of make, minutes at most
    ("-C testing simulation", 30),
    ("-C testing sim-long MINUTES=30", 40),
    ("-C testing night", 90),
    ("-C deploy test-wheel", 45),
    ("-C testing pyodide-test", 90),
    ("-C course test-nightly", 60),
    ("-C bench test-nightly", 20),
    ("-C testing without", 90),
    ("-C testing explore LARGE=1 SECONDS=120", 45),
    ("-C testing nemesis MINUTES=60", 80),
    ("-C testing attacks MINUTES=60", 75),
    ("-C testing fuzz MINUTES=60", 75),
    ("-C testing amplification MINUTES=60", 75),
    ("-C testing mutate ALL=1 COUNT=400", 90),
    ("-C testing mutants", 480),
    ("-C course labs", 60),
    ("-C course grade-test", 60),
    ("-C bench run", 60),
)
GRACE_S = 60.0  # time to end after an interrupt


def run(command: Sequence[str], limit_s: float, grace_s: float = GRACE_S) -> str:
    """Run a command; return the error, or ""."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        status = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        end(process, grace_s)
        return f"stopped after {limit_s:.0f} s"
    except KeyboardInterrupt:
        end(process, grace_s)
        raise
    return f"exit status {status}" if status else ""


def end(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """Interrupt a process and all its children; kill those that remain."""
    os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def commit() -> str:
    """Return the commit of the tree, or "-"."""
    asked = ["git", "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True).stdout.strip() or "-"


def last_runs(record: Path) -> dict[str, str]:
    """Return when each recorded campaign was last run."""
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else ()
    return {targets: at for at, _, targets, _ in (line.split("\t", 3) for line in lines)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=8.0, help="for all; default: 8")
    parser.add_argument("--record", type=Path, default=ROOT / "build" / "nightly.txt")
    options = parser.parse_args(arguments)
    end_s = time.monotonic() + 3600 * options.hours
    last = last_runs(options.record)
    failed = []
    for place, (targets, minutes) in enumerate(
        sorted(CAMPAIGNS, key=lambda each: last.get(each[0], ""))
    ):
        began_s, at = time.monotonic(), datetime.now(timezone.utc).isoformat(timespec="seconds")
        if place and began_s + 60 * minutes > end_s:
            print(f"make {targets}: left to another night", flush=True)
            continue
        print(f"make {targets}: {minutes:.0f} minutes at most", flush=True)
        problem = run(["make", *targets.split()], 60 * minutes)
        result = f"{problem or 'passed'}, {time.monotonic() - began_s:.0f} s"
        print(f"make {targets}: {result}", flush=True)
        with options.record.open("a", encoding="utf-8") as file:
            print(at, commit(), targets, result, sep="\t", file=file)
        if problem:
            failed.append(f"make {targets}: {problem}")
    print("\n".join(failed) or "all campaigns that ran passed")
    return 1 if failed else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a script, `&` ignores it
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
