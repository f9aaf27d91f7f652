"""The commands that a connection's own thread answers, one after the other, in order.

To `backup` they answer with a copy of the node's state, piece by piece (docs/repair.md): the text
of a snapshot, in a file without a name beside the node's own. It goes away with the connection
that asked for it, or with the process.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from json.encoder import encode_basestring
from zlib import crc32

from raftline.common.wakeup import Breather
from raftline.net.host import Batch, Host, Reader
from raftline.net.levels import spell_level
from raftline.storage.disk import DiskFailed, disk_failed
from raftline.storage.snapshotlines import MachineState, spell_snapshot
from raftline.wire.commands import COMMANDS, HELP, Request
from raftline.wire.limits import PIECE_CHARACTERS
from raftline.wire.membercommands import CHANGE_S
from raftline.wire.parsing import ParsedLine, Reading
from raftline.wire.protocol import CODES, NO_LEADER, error, outcome_unknown

PIECE_BYTES = 256 << 10


class LocalCommands:
    """Answers the kinds "show", "level", "members", "backup", "control", "proof" and "local" of
    one connection.

    `flush` sends the replies that have gathered: they need not wait for what takes long. A
    connection is a `Holder` of the room for replies by this object while its own thread sends.
    """

    def __init__(
        self,
        host: Host,
        connection: socket.socket,
        flush: Callable[[], None],
        put_codes: Callable[[], None],
    ) -> None:
        self._host = host
        self._socket = connection
        self._flush = flush
        self._put_codes = put_codes  # before the refusals from here on
        self._backup_file: BackupFile | None = None  # which this connection fetches
        self.is_controllers = False  # such a connection outlives a node that is shut down

    def answer(self, kind: str, run: Sequence[ParsedLine]) -> Iterator[str]:
        """Yield the replies to lines of one kind, and of one way of reading.

        Each is made when it is asked for. Whoever takes a long one sends it before the next.
        """
        if kind == "show":
            yield from self._shows([one.request for one in run], run[0].reading)
        elif kind == "backup":
            for one in run:
                yield from self._long(partial(self._backup, one))
        else:
            answer = {
                "level": self._level,
                "members": self._members,
                "control": self._obey,
                "local": self._local,
                "proof": self._local,
            }[kind]
            for one in run:
                if kind == "local" and not one.reply and _is_read(one.request):
                    yield from self._read_here(one.request)
                else:
                    yield answer(one)

    def _read_here(self, request: Request) -> Iterator[str]:
        read = partial(_first, self._host.logmanager, request.command)
        reply = "" if request.verb == "show" else read()
        if reply and len(reply) <= PIECE_CHARACTERS:
            yield reply
        else:
            reply = ""  # it is made again when its turn has come
            yield from self._long(read, in_turn=request.verb != "show")

    def break_off(self) -> None:
        """End the connection; see `Holder`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _long(self, make: Callable[[], str], *, in_turn: bool = False) -> Iterator[str]:
        """Yield a reply that may be long, once the node has room for it; see `ReplyRoom`."""
        self._flush()  # what came before need not wait
        room = self._host.reply_room
        room.reserve(self, in_turn=in_turn)
        try:
            reply = make()
            room.hold(self, sys.getsizeof(reply))
            yield reply
        finally:
            room.give(self)

    def _shows(self, requests: Sequence[Request], reading: Reading) -> Iterator[str]:
        commands = [request.command for request in requests]
        batch = Batch(commands, is_read=True, reading=reading)
        self._host.submit(batch)
        if not batch.wait(self._host.patience_s):
            yield from [NO_LEADER] * len(requests)
        elif batch.reader is None:
            yield from batch.replies
        else:
            for command in commands:
                yield from self._long(partial(_first, batch.reader, command))

    def _level(self, asked: ParsedLine) -> str:
        return spell_level(self._host.name).partition("@")[2]

    def _members(self, asked: ParsedLine) -> str:
        """Change the members, or list them once this server is known to lead."""
        host, change = self._host, asked.change
        self._flush()
        if change is not None:
            change = host.with_level(change)
        batch = Batch([asked.request.command], is_read=change is None, change=change)
        host.submit(batch)
        if not batch.wait(host.patience_s if change is None else CHANGE_S):
            return NO_LEADER if change is None else outcome_unknown("it takes long; see: members")
        if batch.replies:
            return batch.replies[0]
        return "MEMBERS response: " + json.dumps(host.members())

    def _backup(self, asked: ParsedLine) -> str:
        """Copy the state, once this server is known to lead; or give a piece of that copy."""
        self._flush()
        offset = asked.request.command.rpartition(" ")[2]
        if offset == "backup":
            return self._begin_backup()
        if self._backup_file is None:
            return error("no backup was begun on this connection; begin with: backup")
        return f"BACKUP response: {self._backup_file.piece(int(offset))}"

    def _begin_backup(self) -> str:
        host = self._host
        batch = Batch(["backup"], is_read=True)
        host.submit(batch)
        if not batch.wait(host.patience_s):
            return NO_LEADER
        if batch.replies:
            return batch.replies[0]
        self._backup_file = None  # frees the room of the one before
        try:
            self._backup_file = BackupFile(host.logmanager.freeze(), host.logmanager.folder_path)
        except DiskFailed as failure:
            return error(str(failure))
        return f"BACKUP response: {self._backup_file.begin}"

    def _obey(self, asked: ParsedLine) -> str:
        self._flush()  # what came before may be about to end
        host = self._socket.getpeername()[0]
        orders, request = self._host.orders, asked.request
        assert orders is not None  # which made an order of the line
        self.is_controllers = orders.is_allowed(request.sender, host)
        return orders.obey(request, host).line

    def _local(self, asked: ParsedLine) -> str:
        request = asked.request
        if asked.reply:
            return asked.reply
        if request.verb == "transfer":
            return self._transfer(request)
        if request.verb == "codes":
            self._flush()
            self._put_codes()
            return CODES
        return HELP if request.verb == "help" else self._host.status()

    def _transfer(self, request: Request) -> str:
        batch = self._host.transfer(request.command.partition(" ")[2] or None)
        if batch.wait(self._host.patience_s):
            return batch.replies[0]
        return outcome_unknown("it is not known yet who leads")


def _is_read(request: Request) -> bool:
    return COMMANDS[request.verb].handling.takes_mode


def _first(reader: Reader, command: str) -> str:
    return reader.read([command])[0]


class BackupFile:
    """The state as of one moment; `begin` names it, `piece` gives its bytes."""

    def __init__(self, state: MachineState, folder: str) -> None:
        """Write it down, without haste.

        Raises:
            DiskFailed: there is no room for it, for example; nothing is left of it.
        """
        self._index, self._term = state.index, state.term
        self._size = self._crc = 0
        breathe = Breather().breathe
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115, read piece by piece
            for data in spell_snapshot(state):
                self._file.write(data)
                self._size += len(data)
                self._crc = crc32(data, self._crc)
                breathe()
            self._file.flush()
        except OSError as failure:
            raise disk_failed(folder, "write a backup", failure) from failure
        finally:
            state.release(breathe)

    @property
    def begin(self) -> str:
        """Which entry it is the state after, of which term; its size and CRC-32."""
        return f"{self._index}-{self._term} of {self._size} bytes crc32 {self._crc:08x}"

    def piece(self, offset: int) -> str:
        """Return the bytes from `offset` on as a JSON string; at the end an empty one. A byte that
        is not UTF-8, because a character was cut in two, is `\\udcNN` in it."""
        self._file.seek(offset)
        text = encode_basestring(self._file.read(PIECE_BYTES).decode("utf-8", "surrogateescape"))
        return f"from {offset} " + text.encode("utf-8", "backslashreplace").decode()
