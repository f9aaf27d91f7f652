"""A node's files with changed bytes, with their rules."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hypothesis import strategies as st

from raftline.access import authority
from raftline.access.tls import Tls, TlsFiles
from raftline.common import config
from raftline.common.config import ConfigError
from raftline.node.program import boot, settings
from raftline.raft.effects import Effects, HardState
from raftline.storage.disk import FilesRefused
from raftline.storage.recovery import Recovered

from ..files.faulty_folder import MemoryFolder
from ..files.node_files import MEMBERS, entries
from ..files.node_files import boot as booted
from ..files.snapshot_writing import write_snapshot

Result = TypeVar("Result")


class Form(NamedTuple):
    """An example as bytes that a fuzzer changes, and back."""

    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]


def attempt(kind: type[Exception], call: Callable[[], Result]) -> tuple[Result | None, str]:
    """Return the result of a call, or None and the reason of its refusal."""
    try:
        return call(), ""
    except kind as refused:
        return None, str(refused)


def is_one_line(text: str) -> bool:
    return bool(text) and "\n" not in text


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder in memory if possible: on a disk its removal takes milliseconds."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


# --- log, promise and snapshot ------------------------------------------------------------------

TERM = 2
COMMANDS = ("noop", "set a 1", r"set b \xff\s\n", "delete a", "set c é", "lease 30")


@functools.cache
def _written() -> dict[str, bytes]:
    """Return the files of a node that took a snapshot in the middle of its log."""
    folder = MemoryFolder()
    manager, _ = booted(folder)
    begin = entries(1, 1, *COMMANDS)
    manager.persist([Effects(save=HardState(TERM, "s1"), append=begin)])
    manager.apply(begin)
    manager.snapshots.publish(write_snapshot(manager.snapshots, manager.freeze()))
    manager.persist([Effects(append=entries(7, TERM, "set e 5", "set f 6"))])
    manager.persist([Effects(append=entries(9, TERM, "delete e"))])
    manager.close()
    return folder.contents()


def changed(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Return `data` with some bytes replaced: each edit has a place, a length and bytes."""
    made = bytearray(data)
    for place, length, replacement in edits:
        at = place % (len(made) + 1)
        made[at : at + length] = replacement
    return bytes(made)


def form_of(files: Callable[[], Mapping[str, bytes]]) -> Form:
    """Return a form in which one byte selects the changed file, and the following bytes are its
    content."""

    def read(data: bytes) -> tuple[str, list[tuple[int, int, bytes]]]:
        names = sorted(files())
        return names[sum(data[:1]) % len(names)], [(0, WHOLE, data[1:])]

    def write(drawn: tuple[str, list[tuple[int, int, bytes]]]) -> bytes:
        name, edits = drawn
        return bytes([sorted(files()).index(name)]) + changed(files()[name], edits)

    return Form(read, write)


WHOLE = 1 << 16
_LENGTHS = st.sampled_from((0, 0, 1, 1, 1, 9, 64, WHOLE))
EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), _LENGTHS, st.binary(max_size=9)), max_size=4)
NODE_FILES = st.deferred(lambda: st.tuples(st.sampled_from(sorted(_written())), EDITS))
NODE_FILES_FORM = form_of(_written)


@functools.cache
def _known() -> Recovered:
    """Return the state that a start recovers from these files."""
    return booted(MemoryFolder(_written()))[1]


def check_node_files(drawn: tuple[str, list[tuple[int, int, bytes]]]) -> None:
    """Check that a start is refused in one line and changes nothing, or recovers the written data
    up to some entry, and so does the next start."""
    name, edits = drawn
    files, was = _written(), _known()
    folder = MemoryFolder({**files, name: changed(files[name], edits)})
    before = folder.contents()
    started, why = attempt(FilesRefused, lambda: booted(folder))
    if started is None:
        assert folder.contents() == before
        assert is_one_line(why)
        return
    manager, found = started
    manager.close()
    after, held = found.log.base_index, list(found.log.commands)
    assert after in (0, was.log.base_index)
    begin = after - was.log.base_index
    assert begin < 0 or list(was.log.commands[begin:])[: len(held)] == held
    assert found.hard_state.term <= max(TERM, was.hard_state.term)
    manager, again = booted(folder)
    manager.close()
    assert (again.log.base_index, again.log.commands) == (after, held)
    assert again.hard_state == found.hard_state


# --- configuration and settings -----------------------------------------------------------------

MEMBER_LINES = "".join(f"{name} {place.replace(':', ' ')}\n" for name, place in MEMBERS.items())
CONFIGURATIONS = st.builds(changed, st.just(MEMBER_LINES.encode()), EDITS) | st.binary(max_size=200)


def check_configuration(data: bytes) -> None:
    """Check that a configuration has members, or is refused in one line that names the file."""
    with scratch() as folder:
        path = Path(folder) / config.FILE_NAME
        path.write_bytes(data)
        read, why = attempt(ConfigError, lambda: config.read(path))
        if read is None:
            assert is_one_line(why)
            assert config.FILE_NAME in why
            return
        assert read.members
        for name, address in read.members.items():
            config.check_name(name)
            assert 0 < address.port < 1 << 16


SETTINGS_TEXT = b"""max-connections = 500
pace = "class"
verbose = true
history-bytes = 1048576
http = "localhost:9100"
tls-only = false
"""
SETTINGS = st.builds(changed, st.just(SETTINGS_TEXT), EDITS) | st.binary(max_size=100)


_parser = functools.cache(boot.parser)


def check_settings(data: bytes) -> None:
    """Check that a settings file is read, or refused in one line."""
    with scratch() as folder:
        path = Path(folder) / "raftline.toml"
        path.write_bytes(data)
        words = ["s1", "10000", "--config", str(path)]
        read, why = attempt(ConfigError, lambda: settings.load(_parser(), words, {}))
        assert read is not None or is_one_line(why)


# --- certificates -------------------------------------------------------------------------------


@functools.cache
def _certificates() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        authority.make(Path(name), ["s1=localhost"], [])
        return {file: (Path(name) / file).read_bytes() for file in ("s1.pem", "s1.key", "ca.pem")}


CERTIFICATES = st.deferred(lambda: st.tuples(st.sampled_from(sorted(_certificates())), EDITS))
CERTIFICATES_FORM = form_of(_certificates)


def check_certificates(drawn: tuple[str, list[tuple[int, int, bytes]]]) -> None:
    """Check that TLS files are accepted, or refused in one line that names one of them."""
    changed_one, edits = drawn
    with scratch() as name:
        folder = Path(name)
        for file, data in _certificates().items():
            made = changed(data, edits) if file == changed_one else data
            path = folder / file
            path.touch(mode=0o600)
            path.write_bytes(made)
        files = TlsFiles(folder / "s1.pem", folder / "s1.key", folder / "ca.pem")
        tls, why = attempt(ConfigError, lambda: Tls(files))
        if tls is None:
            assert is_one_line(why)
            assert os.fspath(folder) in why
            return
        assert all(at_s > 0 for at_s in tls.ends().values())
