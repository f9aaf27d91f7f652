"""One node of the failure lab: `python3 labs/failures/node.py node1`.

With --seed-words its console speaks as the course's program did, as far as words.py knows how.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

# A clone that nobody installed will do.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from labs.failures.words import Words
from raftline import config
from raftline.lifeline import Lifeline

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Become the node, or its interpreter; return the exit status."""
    parser = argparse.ArgumentParser(description="One node of the failure lab.")
    here = Path(__file__).resolve().parent / "run" / config.FILE_NAME
    parser.add_argument("name", help="which line of the configuration: node1")
    parser.add_argument("--config", type=Path, default=here, help="who the nodes are")
    parser.add_argument("--cloud", action="store_true", help="listen on 0.0.0.0, for all to reach")
    parser.add_argument("--seed-words", action="store_true", help="speak as the course's program")
    arguments, options = parser.parse_known_args()
    try:
        members = config.read(arguments.config).members
    except config.ConfigError as problem:
        print(f"node.py: {problem}", file=sys.stderr)
        return 2
    if arguments.name not in members:
        print(f"node.py: {arguments.config} names no {arguments.name}", file=sys.stderr)
        return 2
    command = [
        *(sys.executable, str(ROOT / "src" / "server.py")),
        *(arguments.name, str(members[arguments.name].port)),
        *("--dir", str(arguments.config.resolve().parent), "--controller"),
        *(["--host", "0.0.0.0", "--open-to-network"] if arguments.cloud else []),
        *options,
    ]
    if not arguments.seed_words:
        os.execv(sys.executable, command)
    return _interpreted(command, arguments.name, arguments.config.resolve().parent)


def _interpreted(command: list[str], name: str, folder: Path) -> int:
    """Run the node, and print each of its lines as the course's program would have."""
    words = Words(name, has_log=(folder / f"{name}.log").exists())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node has heard it, too, and says so
    lifeline = Lifeline()  # the node ends when this process does, however it ends
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env=lifeline.environment(),
        pass_fds=[lifeline.reading_end],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as node:
        assert node.stdout is not None
        for line in node.stdout:
            for said in words.of(line.rstrip("\n")):
                print(said, flush=True)
    return node.returncode


if __name__ == "__main__":
    sys.exit(main())
