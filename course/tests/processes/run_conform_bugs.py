"""The 24 bugs of lab 6 in the conformance kit: `make -C course conform-bugs`, or some by number.

Each bug is put into a copy of src/. Its node must fail the check of its rule, and with `--whole` no
check of an earlier level.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from labs.bugs.play import BUGS, copy_with_bug  # noqa: E402

# The check that each bug fails; its level is the first to fail.
FAILS = {
    1: "majority-of-four", 2: "one-vote", 3: "missing", 4: "no-cut-without-conflict",
    5: "not-before-a-quorum", 6: "own-term-alone", 7: "later-last-term", 8: "earlier-leader",
    9: "answers-name-an-index", 10: "term-kept", 11: "applied-once", 12: "retries-in-any-order",
    13: "delete-absent", 14: "synced-before-answer", 15: "late-vote", 16: "other-term-before",
    17: "quorum-checked", 18: "free-in-a-new-term", 19: "read-confirmed", 20: "commit-not-kept",
    21: "torn-write", 22: "lost-disk", 23: "one-of-two-is-enough", 24: "commit-what-matched",
}  # fmt: skip


def graded(sources: Path, *options: str) -> list[dict[str, object]]:
    """Return the verdicts on a node built from these sources."""
    node = [
        sys.executable,
        str(sources / "server.py"),
        "{name}",
        "{port}",
        "--dir",
        "{dir}",
        "--floor",
    ]
    command = [sys.executable, "-m", "raftline", "conform", "--json", *options, "--", *node]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode in (0, 1), ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines()]


def failed(number: int, *options: str) -> list[tuple[object, object]]:
    """Return level and name of each check that a bug fails."""
    with tempfile.TemporaryDirectory(prefix="raftline-conform-bug-") as folder:
        results = graded(copy_with_bug(number, Path(folder)), *options)
    return sorted((one["level"], one["name"]) for one in results if one["verdict"] == "failed")


def main() -> int:
    """Grade each bug, and print the checks that it fails."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("numbers", nargs="*", type=int, default=[])
    options.add_argument("--whole", action="store_true", help="all levels, not that check alone")
    given = options.parse_args()
    missed = 0
    for number in given.numbers or BUGS:
        should = FAILS[number]
        found = failed(number, *([] if given.whole else ["--only", should]))
        names = [name for _, name in found]
        first = [name for level, name in found if level == found[0][0]]
        is_right = should in (first if given.whole else names)
        missed += not is_right
        listed = ", ".join(f"{level} {name}" for level, name in found) or "nothing"
        print(f"{'ok ' if is_right else 'NOT'} bug {number:2} fails {listed}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
