"""Processes that use all the time of a core: a stand-in for other work on the machine.

`python bench/busy.py` is one of them. `Busy` runs one on each core, and ends them.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

import clusters  # noqa: F401  (it finds raftline in a clone that nobody installed)
from raftline.common.process.signals import end_with_starter
from raftline_testing.nodes.processes import Process, end_all


class Busy:
    """One busy process on each core, at the usual priority, until the block ends."""

    def __init__(self) -> None:
        self.cores = sorted(os.sched_getaffinity(0))
        self.processes = [Process(f"busy {n}", [sys.executable, __file__]) for n in self.cores]

    def __enter__(self) -> Busy:
        try:
            for core, process in zip(self.cores, self.processes, strict=True):
                os.sched_setaffinity(process.launch().pid, {core})
        except BaseException:
            end_all(self.processes)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        end_all(self.processes)


def main() -> None:
    end_with_starter(lambda: os._exit(0))
    while True:
        pass


if __name__ == "__main__":
    main()
