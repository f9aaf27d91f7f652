"""Entry numbers after a recovery or a restore: none is repeated."""

from __future__ import annotations

from pathlib import Path

from raftline.logmanager import LogManager
from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry
from raftline.state.sessions import (
    EPOCH_NUMBERS,
)
from raftline.storage.folder import Folder
from raftline.tools.node_files.backup import of_node, restore
from raftline.tools.node_files.recover import recover
from raftline_testing.files.node_files import boot
from raftline_testing.runner.parts import with_part

LOCK = "object l lock.acquire"


def replies_of(folder: Path, *commands: str) -> list[str]:
    """Start s1 in a folder, and return its replies to these commands in its next term."""
    manager = LogManager("s1", Folder(folder), {})
    recovered = manager.recover()
    log, term = recovered.log, recovered.hard_state.term + 1
    entries = [Entry(n, term, each) for n, each in enumerate(commands, start=log.last_index + 1)]
    manager.apply(log.entries(log.base_index + 1, log.last_index))
    manager.persist([Effects(save=HardState(term, None), append=entries, recovered=True)])
    replies = manager.apply(entries)
    manager.close()
    return replies


def begun(folder: Path) -> None:
    """Leave files of a member of three that holds two entries."""
    manager, _ = boot(Folder(folder))
    entries = [Entry(1, 1, "noop"), Entry(2, 1, "set a 1")]
    manager.persist([Effects(save=HardState(1, None), append=entries, recovered=True)])
    manager.close()


@with_part("objects")
def test_recovered_cluster_repeats_no_token_or_session_name(tmp_path: Path) -> None:
    """A recovered cluster repeats no token and no session name."""
    lost, kept = tmp_path / "lost", tmp_path / "kept"
    begun(lost)
    begun(kept)
    asked = ("noop", f'{LOCK} "ann" 1000', "client1@session")
    assert replies_of(lost, *asked)[1:] == ["OBJECT response: 4", "SESSION response: client1-5"]
    assert recover(str(kept), "s1", confirmed=True) == 0
    again = (f'{LOCK} "bob" 1000', "client1@session")
    token, session = replies_of(kept, *again)  # at index 4 and 5, as those that were lost
    assert token == f"OBJECT response: {2 * EPOCH_NUMBERS + 4}"
    assert session == f"SESSION response: client1-{2 * EPOCH_NUMBERS + 5}"


@with_part("objects")
def test_a_restored_cluster_repeats_no_token(tmp_path: Path) -> None:
    begun(tmp_path / "lost")
    backup, new = tmp_path / "backup.txt", tmp_path / "new"
    assert of_node(tmp_path / "lost", "s1", str(backup)) == 0
    assert restore(str(backup), str(new), ["s1=localhost:10000"]) == 0
    assert replies_of(new, f'{LOCK} "ann" 1000') == [f"OBJECT response: {2 * EPOCH_NUMBERS + 3}"]
