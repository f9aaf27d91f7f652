"""A long log is read back as a stream: it is never held in memory along with what it becomes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from raftline.storage.folder import Folder
from raftline_testing.files.node_files import boot, vote, write

ENTRIES = 200_000
BATCH = 20_000
RECOVERY = """
import resource, sys
from raftline.logmanager import LogManager
from raftline.storage.folder import Folder

def peak_kib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = peak_kib()
recovered = LogManager("s1", Folder(sys.argv[1]), {"s1": "localhost:10000"}).recover()
held = sum(sys.getsizeof(e.command) for e in recovered.log.entries(1, 100)) / 100
print(recovered.log.last_index, int(held), peak_kib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
def test_long_log_is_read_in_little_more_than_its_memory(tmp_path: Path) -> None:
    """Reading a long log takes little more memory than its entries."""
    manager, _ = boot(Folder(tmp_path))
    vote(manager, 1, "s1")
    for first in range(1, ENTRIES, BATCH):
        numbers = range(first, first + BATCH)
        write(manager, first, 1, *[f"set k{number} {'v' * 200}" for number in numbers])
    manager.close()
    done = subprocess.run(
        [sys.executable, "-c", RECOVERY, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        capture_output=True,
        text=True,
        check=True,
    )
    last_index, entry_bytes, grown_kib = map(int, done.stdout.split())
    file_kib = (tmp_path / "s1.log").stat().st_size // 1024
    assert last_index == ENTRIES
    assert grown_kib < ENTRIES * (entry_bytes + 32) // 1024 + file_kib // 2
