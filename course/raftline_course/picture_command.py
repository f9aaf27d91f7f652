"""`raftline picture FILE…`: draw recordings of nodes, or a transcript, as one page."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from raftline.common.arguments import Parser
from raftline.common.config import ConfigError
from raftline.common.process.console import safe_line
from raftline.common.process.private_file import private
from raftline.picture.harness.judging.collected import Collector
from raftline.picture.recording.recorded_node import HEADER
from raftline.picture.recording.replay import BadRecording, replay
from raftline.raft.node import RawNode
from raftline.tools.node_files.replay_command import EXIT_BAD_FILE, FIRST_LINE, read_lines
from raftline_course.home import find_world

_TRANSCRIPT = re.compile(r"^> \w", re.MULTILINE)


def parser() -> Parser:
    """Return the argument parser."""
    options = Parser(
        prog="raftline picture",
        description="Draw what `raftline server --record FILE` wrote, of one node or of several of "
        "a cluster, or a transcript of raftline's tests, as one page like that of `raftline view`. "
        "Exit code 3: a FILE is neither.",
    )
    options.add_argument(
        "files", metavar="FILE", nargs="+", help="a recording of a node; a transcript stands alone"
    )
    options.add_argument(
        "--out", metavar="PAGE.html", default="picture.html", help="the page (picture.html)"
    )
    return options


def main(arguments: Sequence[str]) -> int:
    """Run `raftline picture`; return the exit code.

    Raises:
        OSError: a file can't be read.
        ConfigError: the page can't be written.
    """
    options = parser().parse_args(arguments)
    return picture(options.files, options.out)


def picture(files: Sequence[str], out: str) -> int:
    """Draw recordings of nodes of one cluster, or one transcript, into the page `out`. Returns 0,
    or 3: a file is neither, or is damaged.

    Raises:
        OSError: a file can't be read.
        ConfigError: the page can't be written.
    """
    if any(_is_transcript(path) for path in files):
        return _draw_transcript(files, out)
    collector = Collector()

    def look(node: RawNode) -> None:
        collector.observe(node, lambda: node.view.now_ms / 1000)

    for path in files:
        with Path(path).open("rb") as file:
            head = file.readline(200).decode("utf-8", "replace").rstrip("\n")
            try:
                if not head.startswith(HEADER):
                    raise BadRecording("it is not a recording of a node")
                replay(read_lines(file), FIRST_LINE, look)
            except BadRecording as error:
                print(f"raftline: {safe_line(f'{path}: {error}')}", file=sys.stderr)
                return EXIT_BAD_FILE
    try:
        with open(out, "w", encoding="utf-8", opener=private) as page:  # like the recordings
            page.write(collector.page(Path(out).stem))
    except OSError as error:
        raise ConfigError(f"--out {out}: {error.strerror or error}") from None
    print(f"{out} shows {collector.count} steps")
    return 0


def _is_transcript(path: str) -> bool:
    with Path(path).open("rb") as file:
        head = file.read(1 << 16)
    return (
        not head.startswith(HEADER.encode())
        and _TRANSCRIPT.search(head.decode("utf-8", "replace")) is not None
    )


def _draw_transcript(files: Sequence[str], out: str) -> int:
    if len(files) > 1:
        raise ConfigError("a transcript is drawn alone: it holds all servers of its cluster")
    find_world()
    try:
        from raftline.picture.harness import transcript_page
    except ModuleNotFoundError:
        raise ConfigError(
            f"{files[0]} is a transcript, and the tests of raftline's sources play those: "
            "run this in a clone"
        ) from None

    status: int = transcript_page.main(files[0], out)
    return status
