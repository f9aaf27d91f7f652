"""`raftline simulate`, `python simulator.py`: a cluster under load and faults, and a report on it.

From the course's simulator it has the metrics dictionary and the report; see docs/simulator.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from raftline.console import open_closed_streams
from raftline.trial import metrics, page, report
from raftline.trial.begin import Begin
from raftline.trial.metrics import Metrics, MetricsError
from raftline.trial.progress import Bar
from raftline.trial.record import Record
from raftline.trial.servers import NotStarted
from raftline.trial.verdict import Exit, Verdict, judge
from raftline.up import StopAsked, asked_to_stop

EXIT_INTERRUPTED = 130
_EPILOG = """
METRICS is a JSON or TOML file with the metrics dictionary; without one it is metrics_1 of the
course: 5 servers, 8 clients, 500 requests, 30 seconds, no faults. docs/simulator.md has each key
and each action.

Exit status: 0 good; 1 a limit of the service was broken (too many unanswered, a crash, …);
2 wrong arguments or metrics, or a server did not start; 3 an answer was wrong (safety);
4 the check for wrong answers gave up; 130 interrupted.
"""


class NotWritten(Exception):
    """A file could not be made. The message is one line for the user."""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one trial, print its report, and return the exit status."""
    open_closed_streams()
    options = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        wanted = _metrics(options)
        _check_writable(options)
        record = _carry_out(wanted, options)
        return _tell(record, judge(record), options)
    except MetricsError as error:
        for line in error.lines:
            print(f"raftline simulate: {line}", file=sys.stderr)
        return Exit.USAGE
    except (NotStarted, NotWritten, OSError) as error:
        print(f"raftline simulate: {error}", file=sys.stderr)
        return Exit.USAGE
    except (StopAsked, KeyboardInterrupt):
        print("raftline simulate: interrupted; every server has been stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


def _tell(record: Record, verdict: Verdict, options: argparse.Namespace) -> int:
    try:
        if options.history:
            lines = [asked.as_json() + "\n" for asked in record.requests]
            _write(options.history, "".join(lines))
        if options.html:
            _write(options.html, page.page(record, verdict))
        for line in report.lines(record, verdict):
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (NotWritten, OSError) as error:
        print(f"raftline simulate: the report can't be written: {error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.USAGE
    return verdict.exit_status


def _metrics(options: argparse.Namespace) -> Metrics:
    wanted = metrics.read(Path(options.metrics)) if options.metrics else Metrics()
    return wanted if options.seed is None else dataclasses.replace(wanted, seed=options.seed)


def _carry_out(wanted: Metrics, options: argparse.Namespace) -> Record:
    bar = Bar(sys.stderr)
    with asked_to_stop(), _folder(options.dir) as folder:
        try:
            with Begin(wanted, folder, options.base_port) as begin:
                return begin.run(bar.show)
        finally:
            bar.clear()


@contextlib.contextmanager
def _folder(wanted: str | None) -> Iterator[Path]:
    """Yield the folder for the servers' files: one of its own that goes afterwards, or `wanted`.

    Raises:
        NotWritten: it is not empty, or can't be made.
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


def _check_writable(options: argparse.Namespace) -> None:
    """Find out before the trial, not after it, that its outcome could not be kept."""
    for name in (options.history, options.html):
        if name:
            _write(name, "")


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotWritten(f"{name}: can't be written: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    as_script = sys.argv[0].endswith("simulator.py")
    parser = argparse.ArgumentParser(
        prog="simulator.py" if as_script else "raftline simulate",
        description="Run a cluster of real servers under load and faults, and report on it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("metrics", metavar="METRICS", nargs="?", help="a .json or .toml file (metrics_1)")
    add("--seed", type=_number, metavar="N", help="for all that is drawn (that of METRICS, or 1)")
    add("--html", metavar="FILE", help="also a page with timeline and latencies")
    add("--history", metavar="FILE", help="also each request as a line of JSON")
    add("--dir", metavar="D", help="keep the servers' files in this empty folder")
    add("--base-port", type=_port, metavar="P", help="the port of server 0000 (any free ones)")
    return parser


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return int(text)


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 1 to 65000")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
