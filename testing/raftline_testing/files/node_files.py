"""Helpers for tests that create a node's files, write to them and check the recovered state."""

from __future__ import annotations

from zlib import crc32

import pytest

from raftline.logmanager import LogManager
from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry
from raftline.storage.disk import FilesRefused
from raftline.storage.folder import Folder
from raftline.storage.recovery import Recovered

from .faulty_folder import MemoryFolder

MEMBERS = {"s1": "localhost:10000", "s2": "localhost:10001", "s3": "localhost:10002"}
BASE = b"0 0 base s1=localhost:10000 s2=localhost:10001 s3=localhost:10002\n"

FIRST = b"1 1 noop\n2 1 set a 4\n"
SECOND = b"3 1 set b 30\n"
THIRD = b"4 2 delete b\n5 2 set c 1\n"


def boot(folder: Folder, name: str = "s1") -> tuple[LogManager, Recovered]:
    manager = LogManager(name, folder, MEMBERS)
    return manager, manager.recover()


def entries(first: int, term: int, *commands: str) -> list[Entry]:
    return [Entry(index, term, command) for index, command in enumerate(commands, start=first)]


def write(manager: LogManager, first: int, term: int, *commands: str) -> tuple[int, int] | None:
    return manager.persist([Effects(append=entries(first, term, *commands))])


def vote(manager: LogManager, term: int, name: str | None) -> None:
    manager.persist([Effects(save=HardState(term, name))])


def known(recovered: Recovered) -> list[Entry]:
    log = recovered.log
    return log.entries(1, log.last_index)


def storage_file(
    term: int,
    vote: str = "-",
    mark: tuple[int, int] = (0, 0),
    state: str = "whole",
    name: str = "s1",
) -> bytes:
    """Return NAME.storage as text that a test writes by hand."""
    lines = (
        f"name {name} term {term} vote {vote} state {state}",
        f"synced entry {mark[0]:019d} term {mark[1]:019d}",
    )
    return b"".join(b"%b crc32 %08x\n" % (text.encode(), crc32(text.encode())) for text in lines)


def log_file(*batches: bytes, base: bytes = BASE) -> bytes:
    """Return NAME.log with these batches, each closed by a hand-made checksum."""
    data = open_bytes = base
    for batch in batches:
        open_bytes += batch
        count = sum(not line.startswith(b"#") for line in batch.splitlines())
        noun = b"entry" if count == 1 else b"entries"
        data += batch + b"# %d %b synced, crc32 %08x\n" % (count, noun, crc32(open_bytes))
        open_bytes = b""
    return data


GOOD = log_file(FIRST, SECOND, THIRD)


def found(log: bytes, storage: bytes) -> MemoryFolder:
    return MemoryFolder({"s1.log": log, "s1.storage": storage})


def commands(folder: MemoryFolder) -> list[str]:
    manager, recovered = boot(folder)
    manager.close()
    return [entry.command for entry in known(recovered)]


def expect_refusal(folder: MemoryFolder) -> str:
    """Check that a refused start changed nothing; return its message."""
    before = folder.contents()
    with pytest.raises(FilesRefused) as refused:
        boot(folder)
    assert folder.contents() == before
    assert "\n" not in str(refused.value)
    return str(refused.value)
