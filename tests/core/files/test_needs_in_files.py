"""The needs of entries in a node's files: kept by a snapshot, and judged by each start."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest

from raftline.common.effects import own_parts
from raftline.common.process.wakeup import no_pause
from raftline.logmanager import LogManager
from raftline.raft.effects import Effects, HardState
from raftline.raft.identity import identity_command
from raftline.raft.log import Entry
from raftline.storage.disk import BuildRefused
from raftline.storage.snapshot_lines import SnapshotReader, format_snapshot
from raftline_testing.files.faulty_folder import MemoryFolder

IDENTITY, THREE = "9f86d081884c7d65", {"s1": "h:1", "s2": "h:2", "s3": "h:3"}
OWN = next((f"{part}={digest}" for part, digest in own_parts().items()), "")
OTHER = f"{OWN.partition('=')[0]}=0123456789ab"
GONE = "gone=0123456789ab"
pytestmark = pytest.mark.skipif(not OWN, reason="this build has no extension with commands")


def node_with(folder: MemoryFolder, needs: str, members: dict[str, str] = THREE) -> LogManager:
    """Return a node whose log names these needs, and that has applied it."""
    manager = LogManager("s1", folder, members)
    manager.recover(never_ran=True)
    entry = Entry(1, 1, identity_command(IDENTITY, needs))
    manager.persist([Effects(save=HardState(1, "s1"), append=[entry])])
    manager.apply([entry])
    return manager


@pytest.mark.parametrize(
    ("needs", "why"),
    [(GONE, "the extension gone, which this build"), (OTHER, "as an earlier or later build")],
)
@pytest.mark.parametrize("is_compacted", [False, True])
def test_start_is_refused_on_files_that_need_more(
    needs: str, why: str, *, is_compacted: bool
) -> None:
    folder = MemoryFolder()
    manager = node_with(folder, needs)
    if is_compacted:
        writing = manager.snapshots.writing(manager.freeze(), no_pause)
        try:
            while True:
                next(writing)
        except StopIteration as end:
            manager.snapshots.publish(end.value)
    manager.close()
    with pytest.raises(BuildRefused, match=why):
        LogManager("s1", folder, THREE).recover()


def test_lone_member_needs_the_extension_and_not_its_digest() -> None:
    for needs, is_refused in ((OTHER, False), (GONE, True)):
        folder, alone = MemoryFolder(), {"s1": "h:1"}
        node_with(folder, needs, alone).close()
        again = LogManager("s1", folder, alone)
        if is_refused:
            with pytest.raises(BuildRefused, match="the extension gone"):
                again.recover()
        else:
            assert again.recover().log.last_index == 1
            again.close()


def test_snapshot_keeps_the_needs() -> None:
    state = node_with(MemoryFolder(), f"{GONE} {OWN}").freeze()
    data = b"".join(format_snapshot(state))
    assert f"needs 2\n{GONE}\n{OWN}\n".encode() in data
    assert SnapshotReader(BytesIO(data), no_pause).read().needs == f"{GONE} {OWN}"
    plain = b"".join(format_snapshot(replace(state, needs="")))
    assert b"needs" not in plain
    bad = b"".join(format_snapshot(replace(state, needs="gone")))
    with pytest.raises(ValueError, match="PART=DIGEST"):
        SnapshotReader(BytesIO(bad), no_pause).read()
