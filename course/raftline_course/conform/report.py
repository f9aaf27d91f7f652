"""The output of `raftline conform`: a line a check, each failure with its transcript, a table."""

from __future__ import annotations

import json
from collections.abc import Sequence

from raftline.common.process.console import safe_line
from raftline_course.conform.checks.checks import LEVELS
from raftline_course.conform.run import FAILED, NOT_JUDGED, PASSED, Result

MARKS = {PASSED: "ok", FAILED: "FAILED", NOT_JUDGED: "not judged"}


def print_result(result: Result, as_json: bool) -> None:
    """Print one verdict, with the transcript of a failure."""
    if as_json:
        print(json.dumps(result.facts()), flush=True)
        return
    check = result.check
    mark = MARKS[result.verdict]
    print(f"{mark:10} {check.level} {check.name}   {result.seconds:.1f} s", flush=True)
    if result.verdict == PASSED:
        return
    first, *more = result.why.splitlines() or [""]
    print(f"    {safe_line(first)}")
    for line in more:
        print(f"      {safe_line(line)}")
    print(f"    rule: {check.rule} ({check.section})")
    if result.verdict == FAILED:
        for line in result.transcript:
            print(f"    | {safe_line(line)}")
        for line in result.printed.splitlines():
            print(f"    s1 printed: {safe_line(line)}")
    print(flush=True)


def summary(results: Sequence[Result]) -> list[str]:
    """Return the table of the levels."""
    lines = ["", f"{'level':16} {'passed':>6} {'failed':>6} {'not judged':>10}"]
    for level, name in LEVELS.items():
        verdicts = [result.verdict for result in results if result.check.level == level]
        if verdicts:
            counts = [verdicts.count(verdict) for verdict in (PASSED, FAILED, NOT_JUDGED)]
            lines.append(f"{f'{level} {name}':16} {counts[0]:>6} {counts[1]:>6} {counts[2]:>10}")
    failed = [result.check.level for result in results if result.verdict == FAILED]
    lines.append("all passed" if not failed else f"failed at level {min(failed)}")
    return lines
