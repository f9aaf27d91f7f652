"""Snapshots as a transcript writes them, so that a person can type one: the members if they have
changed, the identity, with the leases, above the floor, a line for each key, and the
sessions if there are any."""

from __future__ import annotations

import io
from collections.abc import Generator
from typing import BinaryIO
from zlib import crc32

from raftline.common.process.wakeup import PauseFunction
from raftline.raft import identity
from raftline.raft.log import Snapshot
from raftline.raft.membership import Membership, read
from raftline.storage.folder import Folder
from raftline.storage.snapshot_file import SnapshotFile
from raftline.storage.snapshot_lines import HEAD, LoadedSnapshot, MachineState
from raftline.storage.sums import format_sum, split_sum
from raftline.wire.key_stat import format_key_line, read_key_line, value_of, with_facts
from raftline.wire.operands.lease_operands import LEASE

_SESSION = ('{"', '["')  # beginnings of lines of the session table, but not of a transcript's keys


class PlainSnapshots(SnapshotFile):
    """The snapshots of one node. The head of a file, with index and term, is never sent: size and
    CRC-32 cover the rest."""

    def __init__(self, first_members: Membership, folder: Folder, node: str) -> None:
        super().__init__(folder, node)
        self._first_members = first_members
        self._node = node

    def read(self) -> LoadedSnapshot:
        with self._folder.read(self.name) as file:
            head = HEAD.fullmatch(file.readline())
            text = file.read()
        assert head is not None, f"{self.name} has no head"
        return self._loaded(int(head[1]), int(head[2]), text)

    def check(self, snapshot: Snapshot, pause: PauseFunction) -> LoadedSnapshot:
        with self._folder.read(self._part_name) as file:
            text = file.read()
        if (len(text), crc32(text)) != snapshot[2:]:
            raise ValueError("its CRC-32")
        self._part = None
        return self._placed(self._part_name, self._loaded(*snapshot[:2], text), text)

    def open(self, snapshot: Snapshot) -> BinaryIO | None:
        file = super().open(snapshot)
        return None if file is None else io.BytesIO(file.read())

    def _write(self, state: MachineState) -> Generator[None, None, Snapshot]:
        lines = [] if state.members == self._first_members else [state.members.format()]
        if state.cluster:
            chain = [format_sum(state.chain)] if state.chain else []
            lines += [identity.identity_command(state.cluster), *chain, *state.leases]
            lines += [format_key_line(*pair) for pair in state.pairs.items()]
        else:
            lines += [f"{key} {value_of(text)}" for key, text in state.pairs.items()]
        lines += list(state.sessions) if len(state.sessions) > 1 else []  # the first is a head
        text = "".join(f"{line}\n" for line in lines).encode()
        self._written = (state.members, state.cluster, state.chain)
        loaded = self._loaded(state.index, state.term, text)
        yield
        return self._placed(self._beside, loaded, text).snapshot

    def _placed(self, name: str, loaded: LoadedSnapshot, text: bytes) -> LoadedSnapshot:
        index, term = loaded.snapshot[:2]
        self._folder.replace(name, [f"{index} {term} snapshot {self._node}\n".encode(), text])
        return loaded

    def _loaded(self, index: int, term: int, text: bytes) -> LoadedSnapshot:
        lines = text.decode().splitlines()
        members = read(lines.pop(0)) if lines and read(lines[0]) is not None else None
        loaded = LoadedSnapshot(
            Snapshot(index, term, len(text), crc32(text)),
            members or self._first_members,
            [line for line in lines if line.startswith(_SESSION)],
        )
        lines = [line for line in lines if not line.startswith(_SESSION)]
        if lines and identity.read(lines[0]).cluster:
            loaded.cluster = identity.read(lines.pop(0)).cluster
            loaded.chain = split_sum(lines[0].encode())[0] if lines else 0
            lines = lines[1:] if loaded.chain else lines
            loaded.leases = [line for line in lines if line.startswith(LEASE)]
            keys = [line for line in lines if not line.startswith(LEASE)]  # facts come first
            for key, held, lease in map(read_key_line, keys):
                loaded.pairs[key] = held
                if lease:
                    loaded.leased.setdefault(lease, set()).add(key)
        else:
            pairs = [line.partition(" ") for line in lines]
            loaded.pairs = {key: with_facts(value, index) for key, _, value in pairs}
        return loaded
