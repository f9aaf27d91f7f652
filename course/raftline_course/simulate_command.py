"""`raftline simulate`, `python simulator.py`: a cluster under load and faults, and a report on it.

The metrics dictionary and the report have the form of the course's simulator:
course/docs/simulator.md.
"""

from __future__ import annotations

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import argparse
import contextlib
import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from raftline.common import config
from raftline.common.arguments import Parser, as_number, program
from raftline.common.process.console import open_closed_streams
from raftline.common.process.quiet_exit import EXIT_INTERRUPTED
from raftline.common.process.signals import raised
from raftline.tools.local_cluster.up import StopAsked, asked_to_stop
from raftline_course.trial import metrics_dictionary, report
from raftline_course.trial.metrics_dictionary import Metrics, MetricsError
from raftline_course.trial.record import Record
from raftline_course.trial.servers import ServersNotStarted
from raftline_course.trial.trial import ProgressLine, Trial
from raftline_course.trial.verdict import Exit, TrialVerdict, judge

INTERRUPTED = "interrupted"  # why a trial was aborted
_EPILOG = """
METRICS is a JSON or TOML file with the metrics dictionary; without one it is metrics_1 of the
course: 5 servers, 8 clients, 500 requests, 30 seconds, no faults. course/docs/simulator.md has each
key and each action.

Exit status: 0 good; 1 a limit of the service was broken (too many unanswered, a crash, …);
2 wrong arguments or metrics, a server did not start, or a file could not be written; 3 an answer
was wrong (safety); 4 the check for wrong answers gave up; 130 interrupted: the report is of what
was until then.
"""


class NotWritten(Exception):
    """A file can't be created, or must not be. The message is one line for the user."""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one trial, print its report, and return the exit status."""
    open_closed_streams()
    options = parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        _check_names(options)
        wanted = _metrics(options)
        _check_writable(options)
        with raised():
            record = _carry_out(wanted, options)
            return _report(record, judge(record), options)
    except MetricsError as error:
        for line in error.lines:
            print(f"raftline simulate: {line}", file=sys.stderr)
        return Exit.USAGE
    except (ServersNotStarted, NotWritten) as error:
        print(f"raftline simulate: {error}", file=sys.stderr)
        return Exit.USAGE
    except OSError as error:
        print(f"raftline simulate: {config.complaint(error)}", file=sys.stderr)
        return Exit.USAGE
    except (StopAsked, KeyboardInterrupt):
        print("raftline simulate: interrupted; every server has been stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


def _report(record: Record, verdict: TrialVerdict, options: argparse.Namespace) -> int:
    """Deliver the report and the files, each even if others fail."""
    lines = [report.as_json(record, verdict)] if options.json else report.lines(record, verdict)
    problems = [*_print(lines), *_keep(record, verdict, options)]
    for problem in problems:
        print(f"raftline simulate: {problem}", file=sys.stderr)
    if verdict.exit_status is Exit.UNSAFE:
        return Exit.UNSAFE
    if problems:
        return Exit.USAGE
    return EXIT_INTERRUPTED if record.broken_off == INTERRUPTED else verdict.exit_status


def _print(lines: Sequence[str]) -> Iterator[str]:
    """Print the report; yield the errors."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # `| head`: the reader needs no more
            yield f"the report can't be written: {config.complaint(error)}"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _keep(record: Record, verdict: TrialVerdict, options: argparse.Namespace) -> Iterator[str]:
    """Write the requested files; yield the errors."""
    wanted = []
    if options.history is not None:
        lines = (each.as_json() + "\n" for each in record.requests)
        wanted.append((options.history, "".join(lines)))
    if options.html is not None:
        wanted.append((options.html, report.page(record, verdict)))
    for name, text in wanted:
        try:
            _write(name, text)
        except NotWritten as error:
            yield str(error)


def _metrics(options: argparse.Namespace) -> Metrics:
    wanted = (
        Metrics() if options.metrics is None else metrics_dictionary.read(Path(options.metrics))
    )
    return wanted if options.seed is None else dataclasses.replace(wanted, seed=options.seed)


def _carry_out(wanted: Metrics, options: argparse.Namespace) -> Record:
    bar = ProgressLine(sys.stderr)
    with asked_to_stop(), _folder(options.dir) as folder:
        try:
            with Trial(wanted, folder, options.base_port) as trial:
                try:
                    return trial.run(bar.show)
                except (StopAsked, KeyboardInterrupt):
                    if not trial.has_begun:
                        raise
                    bar.clear()
                    said = "interrupted; the report covers the time until then"
                    print(f"raftline simulate: {said}", file=sys.stderr)
                    return trial.break_off(INTERRUPTED)
        finally:
            bar.clear()


@contextlib.contextmanager
def _folder(wanted: str | None) -> Iterator[Path]:
    """Yield the folder for the servers' files: a temporary one, or `wanted`.

    Raises:
        NotWritten: it isn't empty, or can't be created.
    """
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="raftline-") as name:
            yield Path(name)
        return
    folder = Path(wanted)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        full = any(folder.iterdir())
    except OSError as error:
        raise NotWritten(f"--dir {folder}: can't be used: {error.strerror}") from error
    if full:
        raise NotWritten(f"--dir {folder}: is not empty, and a trial begins with nothing")
    yield folder


def _check_names(options: argparse.Namespace) -> None:
    """Make sure that each file has a name (`--html "$PAGE"`), and that all names differ."""
    named = {
        "METRICS": options.metrics, "--html": options.html, "--history": options.history,
        "--dir": options.dir,
    }  # fmt: skip
    seen: dict[str, str] = {}
    for what, name in named.items():
        if name == "":
            raise NotWritten(f"{what}: the name is empty")
        if name is None:
            continue
        place = os.path.realpath(name)
        # /dev/null may be used more than once
        if place in seen and not Path(place).is_char_device():
            raise NotWritten(f"{what} {name}: is {seen[place]}, too; each needs a file of its own")
        seen[place] = what


def _check_writable(options: argparse.Namespace) -> None:
    """Check before the trial that its outcome can be saved."""
    for name in (options.history, options.html):
        if name is None or Path(name).is_fifo():  # one end of a pipe would be closed too early
            continue
        is_new = not os.path.lexists(name)
        _write(name, "", "a")  # the old content stays until there is a replacement
        if is_new:
            Path(name).unlink()


def _write(name: str, text: str, mode: str = "w") -> None:
    try:
        with open(name, mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise NotWritten(f"{name}: can't be written: {error.strerror}") from error


def parser() -> Parser:
    """Return the argument parser."""
    parser = Parser(
        prog=program("simulator.py", "raftline simulate"),
        description="Run a cluster of real servers under load and faults, and report on it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("metrics", metavar="METRICS", nargs="?", help="a .json or .toml file (metrics_1)")
    add(
        "--seed",
        type=as_number("seed", 0),
        metavar="N",
        help="for all that is drawn (that of METRICS, or 1)",
    )
    add("--html", metavar="FILE", help="also a page with timeline and latencies")
    add("--json", action="store_true", help="the report as one line of JSON, for programs")
    add("--history", metavar="FILE", help="also each request as a line of JSON")
    add("--dir", metavar="D", help="keep the servers' files in this empty folder")
    add(
        "--base-port",
        type=as_number("port", 1, 65_000),
        metavar="P",
        help="the port of server 0000 (any free ones)",
    )
    parser.add_version()
    return parser


if __name__ == "__main__":
    sys.exit(main())
