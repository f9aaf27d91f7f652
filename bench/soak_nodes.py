"""Three nodes for the soak; the third one is replaced again and again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

import pythons
from clusters import memory_bytes
from generator import BenchError
from raftline.net.line_connection import ask
from raftline_nodes import Raftline

STAYING = (0, 1)  # their growth over the whole run shows, since they never restart
CONSOLE = "output-"  # prefix of the files with the nodes' output
PAUSES = "pauses-"  # prefix of the files in which the nodes note their long pauses
TIMED = Path(__file__).with_name("timed_node.py")
REPLACE_S = 120.0
ASK_S = 60.0


class SoakNodes(Raftline):
    """s1 and s2 stay; the third member is s3, then s4, and so on."""

    def __init__(self, parent: Path, base_port: int, options: Sequence[str]) -> None:
        super().__init__(parent, base_port, 3, options)
        self.third = 2
        self._joins = 0  # the port of a member, for a new node

    def command(self, number: int) -> list[str]:
        python = pythons.of_nodes().path
        return [python, str(TIMED), str(self._pauses(number)), *self.arguments(number)]

    def arguments(self, number: int) -> list[str]:
        arguments = super().arguments(number)
        return (
            [*arguments, "--join", f"localhost:{self._joins}"]
            if number >= self.count
            else arguments
        )

    def living(self) -> tuple[int, int, int]:
        return (*STAYING, self.third)

    def replace_third(self) -> str:
        """Replace the third node by a new one; return its name.

        Raises:
            BenchError: that failed.
        """
        old, new = self.third, self.third + 1
        leader = self.wait_for_leader()
        self._joins = self.port(leader)
        self.start(new)
        names = f"s{old + 1}", f"s{new + 1}"
        line = f"replace {names[0]} {names[1]} localhost {self.port(new)}"
        reply, end_s = "", time.monotonic() + REPLACE_S
        while not reply.startswith(f"REPLACE response: {names[1]} votes"):
            if time.monotonic() > end_s:
                raise BenchError(f"{names[1]} did not take the place of {names[0]}: {reply}")
            reply = self._ask_leader(line, old)
        self.third = new
        self.end(old)
        stdin = self.processes.pop(old).running.stdin
        if stdin:
            stdin.close()
        for path in self.folder.glob(f"{names[0]}.*"):
            path.unlink()
        return names[1]

    def _ask_leader(self, line: str, leaving: int) -> str:
        """Ask the leader; a leader that must leave hands over first."""
        leader = self.wait_for_leader()
        if leader == leaving:
            with contextlib.suppress(OSError):
                ask(self.port(leader), "transfer s1", ASK_S)
            leader = self.wait_for_leader()
        try:
            return ask(self.port(leader), line, ASK_S).partition("@")[2]
        except OSError as error:
            return str(error)

    def _pauses(self, number: int) -> Path:
        return self.folder / f"{PAUSES}{number}"

    def pauses(self, since_s: float) -> dict[str, float]:
        """Return the longest sync and the longest collection of garbage of any node that ended
        since then, in milliseconds; 0 if none was long enough to be noted."""
        longest = {"sync": 0.0, "collection": 0.0}
        for path in self.folder.glob(f"{PAUSES}*"):
            for line in path.read_text().splitlines():
                at_s, what, took_ms = line.split(" ")
                if float(at_s) >= since_s:
                    longest[what] = max(longest[what], float(took_ms))
        return {f"{what}_ms": took_ms for what, took_ms in longest.items()}

    def sample(self) -> dict[str, float]:
        """Return the present resource use of the nodes."""
        pids = [self.processes[number].pid for number in self.living()]
        paths = [path for path in self.folder.iterdir() if path.is_file()]
        consoles = [path for path in paths if path.name.startswith((CONSOLE, PAUSES))]
        return {
            "memory": sum(memory_bytes(self.processes[n].pid) for n in STAYING) / 2**20,
            "descriptors": sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids),
            "threads": sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids),
            "files": sum(_size(path) for path in paths if path not in consoles) / 2**20,
            "consoles": sum(map(_size, consoles)) / 2**20,  # including members that left
        }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a snapshot that was renamed meanwhile
        return 0
