"""The clean-up after a lab, however it ends.

A lab that is killed by kill -9 cleans nothing up. A node stopped by SIGSTOP does not notice that
its lab is gone. So a small separate process waits on a pipe that the kernel closes when the lab
ends: then it kills the lab's processes and removes the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DONE = "done"
TRIES = 100  # nodes take up to two seconds to end, and may write meanwhile
PAUSE_S = 0.1


class LabFolder:
    """A folder for one lab, removed afterwards, when every process named here is killed; `ends` is
    a command that runs then."""

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
        shutil.rmtree(self.folder, ignore_errors=True)
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
    for process_id in process_ids:
        with contextlib.suppress(OSError):
            os.kill(process_id, signal.SIGKILL)
    if ends:
        subprocess.run(ends, stderr=subprocess.DEVNULL, check=False)
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    sweep(sys.argv[1], sys.argv[2:])
