"""Draw a transcript as one page: `raftline picture FILE.txt` does this."""

from __future__ import annotations

import sys
from pathlib import Path

from raftline.picture.harness.judging.collected import Collector
from raftline_testing.transcripts.player import TranscriptError, perform

EXIT_BAD_FILE = 3


def collected(transcript: str) -> tuple[Collector, str]:
    """Return the steps of all servers, and the error, or ""."""
    collector = Collector(one_clock=True)
    try:
        perform(transcript, collector)
    except TranscriptError as error:
        return collector, str(error)
    return collector, ""


def title_of(path: Path) -> str:
    """Return the first sentence of a transcript."""
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") or path.stem


def main(path: str, out: str) -> int:
    """Write the page. Returns 0, or 3 if an act of the transcript can't be done."""
    collector, problem = collected(Path(path).read_text(encoding="utf-8"))
    if problem:
        act = next(line for line in reversed(problem.splitlines()) if line.startswith("> "))
        print(
            f"raftline: {path}: {problem.splitlines()[-1]} (at {act!r}); the page ends there",
            file=sys.stderr,
        )
    Path(out).write_text(collector.page(title_of(Path(path))), encoding="utf-8")
    print(f"{out} shows {collector.count} steps")
    return EXIT_BAD_FILE if problem else 0
