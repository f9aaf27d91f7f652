"""The clean-up after a lab, however it ends.

A lab that is killed by kill -9 cleans nothing up. A node stopped by SIGSTOP does not notice that
its lab is gone. So a small separate process waits on a pipe that the kernel closes when the lab
ends: then it kills the lab's processes and removes the folder. A node that finds its folder gone
creates it again, so the folder is removed when no node has a lock there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

DONE = "done"
TRIES = 100
PAUSE_S = 0.1


class LabFolder:
    """A folder for one lab, removed afterwards, when every process named here and every node with
    a lock there is killed; `ends` is a command that runs then."""

    def __init__(self, *ends: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="raftline-scene-"))
        sweeper = Path(__file__).resolve()
        try:
            self._sweeper = subprocess.Popen(
                [sys.executable, "-I", "-S", str(sweeper), str(self.folder), *ends],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,  # Ctrl-C is only for the lab
            )
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def __enter__(self) -> LabFolder:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._tell(DONE)  # those processes have ended: their ids may be reused by now
            assert self._sweeper.stdin is not None
            self._sweeper.stdin.close()
        self._sweeper.wait()

    def ends_with_us(self, process_id: int) -> None:
        """Kill this process if the lab ends before it."""
        with contextlib.suppress(OSError):
            self._tell(str(process_id))

    def _tell(self, line: str) -> None:
        assert self._sweeper.stdin is not None
        self._sweeper.stdin.write(f"{line}\n")
        self._sweeper.stdin.flush()


def sweep(folder: str, ends: list[str]) -> None:
    """Wait for the end of the lab at the other end of standard input; then clean up after it."""
    process_ids: list[int] = []
    for line in sys.stdin:
        process_ids = [] if line.strip() == DONE else [*process_ids, int(line)]
    kill(process_ids)
    if ends:
        subprocess.run(ends, stderr=subprocess.DEVNULL, check=False)
    for _ in range(TRIES):
        still = holders(Path(folder).rglob("*.lock"))
        kill(still.values())
        if not still:
            shutil.rmtree(folder, ignore_errors=True)
            if not os.path.exists(folder):
                return
        time.sleep(PAUSE_S)


def holders(locks: Iterable[Path]) -> dict[str, int]:
    """Return the nodes that hold these lock files, and their process ids; 0 for a node that has its
    lock, but has not yet written its id there.

    A node holds a lock on its NAME.lock, which the kernel releases when it dies in any way; so the
    id of a dead node there is harmless.
    """
    process_ids = {}
    for path in sorted(locks):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                process_ids[path.stem] = int(file.read() or b"0")
    return process_ids


def kill(process_ids: Iterable[int]) -> None:
    for process_id in {*process_ids} - {0}:  # kill(0) would mean the whole process group
        with contextlib.suppress(OSError):
            os.kill(process_id, signal.SIGKILL)


if __name__ == "__main__":
    sweep(sys.argv[1], sys.argv[2:])
