"""`raftline picture FILE…`: draws what `raftline server --record` wrote, as one page."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from raftline.common.arguments import build
from raftline.common.config import ConfigError, complaint
from raftline.common.console import safe_line
from raftline.raft.node import RawNode
from raftline.raft.recording import HEADER
from raftline.raft.replay import BadRecording, replay
from raftline.tools.replay import EXIT_BAD_FILE, FIRST_LINE, read_lines
from raftline.view.collected import Collector


def picture(files: Sequence[str], out: str) -> int:
    """Draw recordings of nodes of one cluster into the page `out`. Returns 0, or 3: a file is no
    recording, or is damaged.

    Raises:
        OSError: a file can't be read.
        ConfigError: the page can't be written.
    """
    if build() == "compiled":  # see tools/replay
        again = [sys.executable, "-m", "raftline", "picture", *files, "--out", out]
        sys.stdout.flush()
        os.execve(sys.executable, again, {**os.environ, "RAFTLINE_PURE": "1"})
    collector = Collector()

    def look(node: RawNode) -> None:
        collector.observe(node, lambda: node.view.now_ms / 1000)

    for path in files:
        with Path(path).open("rb") as file:
            head = file.readline(200).decode("utf-8", "replace").rstrip("\n")
            try:
                if not head.startswith(HEADER):
                    raise BadRecording("it is no recording of a node")
                replay(read_lines(file), FIRST_LINE, look)
            except BadRecording as error:
                print(f"raftline: {safe_line(f'{path}: {error}')}", file=sys.stderr)
                return EXIT_BAD_FILE
    try:
        Path(out).write_text(collector.page(Path(out).stem), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {out}: {complaint(error)}") from None
    print(f"{out} shows {collector.count} steps")
    return 0
