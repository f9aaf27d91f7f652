"""`raftline replay FILE`: step a fresh core through a recording of `raftline server --record`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from raftline.common.arguments import build
from raftline.common.process.console import safe_line
from raftline.common.version import VERSION
from raftline.picture.recording.recorded_node import HEADER
from raftline.picture.recording.replay import BadRecording, ReplayDifference, replay

if TYPE_CHECKING:
    from raftline.common.arguments import Commands

EXIT_SAME = 0
EXIT_DIFFERS = 1
EXIT_BAD_FILE = 3
LINES_SHOWN = 20  # Effects shown for a step
FIRST_LINE = 2  # the state begins after the header


def replay_file(path: str) -> int:
    """Replay a recording and print the result. Returns 0: the same Effects; 1: different Effects;
    3: the file is not a recording, or is damaged.

    Raises:
        OSError: the file can't be read.
    """
    if build() == "compiled":  # objects of compiled classes can't be made without their __init__
        again = [sys.executable, "-m", "raftline", "replay", path]
        sys.stdout.flush()
        os.execve(sys.executable, again, {**os.environ, "RAFTLINE_PURE": "1"})
    with Path(path).open("rb") as file:
        head = file.readline(200).decode("utf-8", "replace").rstrip("\n")
        try:
            if not head.startswith(HEADER):
                raise BadRecording("it is not a recording of a node")
            outcome = replay(read_lines(file), FIRST_LINE)
        except BadRecording as error:
            print(f"raftline: {safe_line(f'{path}: {error}')}{_made_by(head)}", file=sys.stderr)
            return EXIT_BAD_FILE
    if outcome.difference is None:
        print(f"{outcome.steps} steps replayed, the same Effects")
        return EXIT_SAME
    _print(path, outcome.difference)
    print(f"{outcome.steps} steps before it had the same Effects{_made_by(head)}")
    return EXIT_DIFFERS


def read_lines(file: BinaryIO) -> Iterator[str]:
    """Yield each line of the file.

    Raises:
        BadRecording: a line is not UTF-8.
    """
    for line in file:
        try:
            yield line.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            if line.endswith(b"\n"):
                raise BadRecording("it is not valid UTF-8") from None


def _made_by(head: str) -> str:
    """Return a remark if another version made this recording."""
    version = head.removeprefix(f"{HEADER}, version ")
    if not head.startswith(HEADER) or version == VERSION:
        return ""
    return safe_line(f" (recorded by version {version}, replayed by {VERSION})")


def _print(path: str, difference: ReplayDifference) -> None:
    """Print the input of a step, its recorded Effects, and the replay's Effects."""
    print(safe_line(f"step {difference.step} ({path}, line {difference.line}) differs"))
    print(safe_line(f"  went in:  {difference.event}"))
    for what, lines, others in (
        ("recorded:", difference.recorded, difference.replayed),
        ("came out:", difference.replayed, difference.recorded),
    ):
        for line in lines[:LINES_SHOWN] or ["nothing"]:
            mark = " " if line in others else "*"
            print(safe_line(f"{mark} {what} {line}"))
        if len(lines) > LINES_SHOWN:
            print(f"  {what} {len(lines) - LINES_SHOWN} more lines")


def add_commands(commands: Commands) -> None:
    """Add the command to the command line."""
    replay = commands.add_parser(
        "replay",
        help="replay a node's recording (--record)",
        description="Step a fresh core through the inputs of a recording (raftline server "
        "--record FILE) and compare the results. Exit code 0: the same Effects; 1: different ones; "
        "the first difference is shown; 2: usage, or there is no such file; 3: the file is "
        "not a recording, or is damaged.",
    )
    replay.add_argument("file", metavar="FILE", help="a recording, or its predecessor FILE.1")
    replay.set_defaults(carry_out=_replay)


def _replay(options: argparse.Namespace) -> int:
    return replay_file(options.file)
