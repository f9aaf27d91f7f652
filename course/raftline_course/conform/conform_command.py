"""`raftline conform -- COMMAND`: its arguments, and the run of the checks."""

from __future__ import annotations

import argparse
import concurrent.futures
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from raftline.common.arguments import EXIT_USAGE, Parser, as_number
from raftline.common.process.signals import raised
from raftline_course.conform.checks import (
    cluster_checks,
    durability_checks,
    following_checks,
    leading_checks,
    line_checks,
    membership_checks,
    read_checks,
    session_checks,
    snapshot_checks,
    vote_checks,
)
from raftline_course.conform.checks.checks import CHECKS, LEVELS, Check
from raftline_course.conform.report import print_result, summary
from raftline_course.conform.run import FAILED, Result, end_all, judge
from raftline_course.conform.tested import locked
from raftline_course.conform.tested.tested_node import KitSettings, NoCommand

# The levels' modules: each fills the table on import.
LEVELS_OF_CHECKS = (
    line_checks, vote_checks, following_checks, leading_checks, durability_checks, cluster_checks,
    read_checks, session_checks, snapshot_checks, membership_checks,
)  # fmt: skip
JOBS = 4
PLACES = ("{name}", "{port}", "{dir}")
USAGE = "raftline conform [OPTIONS] -- COMMAND {name} {port} {dir}"


def parser() -> Parser:
    """Return the parser of the arguments in front of the `--`."""
    options = Parser(
        prog="raftline conform",
        usage=USAGE,
        description="Start a node of any language by COMMAND, speak to it as peers and as "
        "clients, kill it and cut it off, and judge it in eight levels. In COMMAND the words "
        "{name}, {port} and {dir} stand for the node's. Exit code 0: all checks passed; 1: one "
        "failed; 2: usage, or there is no such program.",
    )
    options.add_argument(
        "--level",
        type=_levels,
        metavar="N[-M]",
        default=range(1, len(LEVELS) + 1),
        help="only this level, or from N to M (1-8)",
    )
    options.add_argument("--only", action="append", metavar="CHECK", help="only this check")
    options.add_argument(
        "--with",
        dest="others",
        metavar="COMMAND",
        help="the other nodes of clusters are started so, in one word with quotes: a mixed cluster",
    )
    options.add_argument(
        "--election-ms",
        type=as_number("number", 1, 999_999),
        default=1000,
        metavar="MS",
        help="the longest time in which the node stands when it hears no leader (1000)",
    )
    options.add_argument(
        "--jobs",
        type=as_number("number", 1, 999_999),
        default=JOBS,
        metavar="N",
        help=f"so many checks at once ({JOBS})",
    )
    options.add_argument(
        "--locked",
        action="store_true",
        help="the node writes in its folder alone, reads no home, and has no network but this "
        "machine's loopback (Linux): for a hand-in",
    )
    options.add_argument("--json", action="store_true", help="one object a check, for programs")
    options.add_argument("--list", action="store_true", help="the checks, and nothing is started")
    return options


def main(arguments: Sequence[str]) -> int:
    """Carry out `raftline conform`; return its exit code."""
    words = list(arguments)
    place = words.index("--") if "--" in words else len(words)
    options = parser()
    parsed = options.parse_args(words[:place])
    chosen = _chosen(options, parsed.level, parsed.only)
    if parsed.list:
        for check in chosen:
            print(f"{check.level} {check.name}: {check.rule} ({check.section})")
        return 0
    command = words[place + 1 :]
    if not command:
        options.error("the command that starts a node is missing: it comes after --")
    others = _words(options, parsed.others)
    for each in [command, *([others] if others else [])]:
        if missing := [place for place in PLACES if not any(place in word for word in each)]:
            options.error(f"the command {' '.join(each)!r} does not name {' '.join(missing)}")
    if parsed.locked:
        command = _locked(options, command)
    settings = KitSettings(tuple(command), tuple(others), parsed.election_ms)
    try:
        with raised():
            return _carry_out(chosen, settings, parsed.jobs, parsed.json)
    except NoCommand as problem:
        print(f"raftline conform: {problem}", file=sys.stderr)
        return EXIT_USAGE


def _locked(options: Parser, command: list[str]) -> list[str]:
    """Cut this process off from the network; return the command that starts the locked node."""
    if shutil.which(command[0]) is None:
        options.error(f"there is no program {command[0]!r}")
    try:
        locked.abi()
    except locked.CannotLock as error:
        options.error(f"--locked: this machine can't lock a node in: {error}")
    try:
        locked.enter_own_network()
    except locked.CannotLock as error:
        print(f"[!] --locked: the network stays open to the node: {error}", file=sys.stderr)
    return [sys.executable, "-S", str(Path(locked.__file__)), "{dir}", *command]


def _carry_out(chosen: Sequence[Check], settings: KitSettings, jobs: int, as_json: bool) -> int:
    results: list[Result] = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(judge, check, settings) for check in chosen]
        try:
            for future in concurrent.futures.as_completed(futures):
                results.append(future.result())
                print_result(results[-1], as_json)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end_all()
            raise
    if not as_json:
        for line in summary(results):
            print(line)
    return int(any(result.verdict == FAILED for result in results))


def _chosen(options: Parser, levels: range, names: Sequence[str] | None) -> list[Check]:
    known = {check.name for check in CHECKS}
    for name in names or ():
        if name not in known:
            options.error(f"there is no check {name!r}; --list names all")
    return [
        check
        for check in sorted(CHECKS, key=lambda check: check.level)
        if (check.name in names if names else check.level in levels)
    ]


def _words(options: Parser, text: str | None) -> list[str]:
    try:
        return shlex.split(text or "")
    except ValueError as error:
        options.error(f"--with: {error}")


def _levels(text: str) -> range:
    first, _, last = text.partition("-")
    numbers = [first, last or first]
    if not all(each.isascii() and each.isdigit() and int(each[:3]) in LEVELS for each in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not a level, 1 to {len(LEVELS)}, nor as 1-4")
    return range(int(numbers[0]), int(numbers[1]) + 1)
