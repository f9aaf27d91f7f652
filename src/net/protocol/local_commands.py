"""The commands that a connection answers one at a time, in order, outside of batches."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from ...storage.disk import StateRefused
from ...wire.commands.command_table import COMMANDS, Request, help_on
from ...wire.commands.member_commands import CHANGE_S
from ...wire.commands.parsing import ParsedLine, Reading
from ...wire.limits import PIECE_CHARACTERS
from ...wire.operands.operands import not_understood
from ...wire.protocol import CODES
from ...wire.refusal import NOT_CHANGED, RequestRefused, error, outcome_unknown
from ..peers.build_exchange import answer_to_build
from ..state_copies import BackupFailed, BackupFile
from .admission import Admission
from .host import Batch, LocalHost, ReadableState
from .outgoing_protocol import NOT_IN_TIME, OutgoingProtocol
from .trials import TRIED, why_too_much
from .user_calls import NotReached, UserCalls
from .waits import AwaitReplies, Replies, ReserveRoom, WaitFor, Waits

_LISTINGS: Final = ("show", "lines")


class LocalCommands:
    """Answers the lines of the kinds "show", "build", "members", "backup", "control", "proof",
    "tried" and "local" of one connection.

    It is the `Holder` of the room for the long replies that it makes.
    """

    def __init__(
        self,
        host: LocalHost,
        admission: Admission,
        outgoing: OutgoingProtocol,
        replies: Replies,
        calls: UserCalls,
        break_off: Callable[[], None],
        address: Callable[[], str],
    ) -> None:
        """`break_off` ends the connection, and `address` returns the host that it comes from."""
        self._host = host
        self._admission = admission
        self._rights: object = None  # the users by whose rights the present lines were admitted
        self._outgoing = outgoing
        self._replies = replies
        self._calls = calls
        self.break_off = break_off
        self._address = address
        self._backup_file: BackupFile | None = None  # fetched by this connection
        self.is_control = False  # such a connection outlives a node that is shut down

    @property
    def user(self) -> str | None:
        """The user that is logged in here; see `Holder`."""
        return self._outgoing.user

    def serve(self, kind: str, run: Sequence[ParsedLine], rights: object) -> Waits[None]:
        """Reply to lines of one kind and one `Reading`. `rights` are the users by whose rights they
        were admitted."""
        self._rights = rights
        if kind == "show":
            requests = [one.request for one in run]
            yield from self._in_turn(requests, self._shows(requests, run[0].reading))
            return
        for one in run:
            if kind == TRIED:
                yield from self._in_turn([one.request], self._tried(one.request))
            elif kind == "backup":
                yield from self._backup(one.request)
            elif _is_computed(one):
                yield from self._in_turn([one.request], self._serve_here(one))
            else:
                yield from self._add(one.request, (yield from self._answer(kind, one)))

    def _in_turn(self, requests: Sequence[Request], program: Waits[None]) -> Waits[None]:
        """Carry out a machine, or refuse its requests if it has to wait for too long."""
        try:
            yield from self._calls.carry_out(program)
        except NotReached as late:
            for request in requests:
                yield from self._add(request, late.refusal)

    def _tried(self, request: Request) -> Waits[None]:
        """Carry out a write that may be too much for one entry."""
        yield from self._replies.flush()  # earlier replies need not wait
        host, entry = self._host, self._admission.logged(request)
        reply = yield from why_too_much(host, self._outgoing, entry)
        if not reply:
            batch = Batch([entry], is_read=False, asker=self._outgoing)
            batch.writer = self._admission.writer
            host.submit(batch)
            if (yield AwaitReplies(batch, host.patience_s)):
                (reply,) = batch.replies
            else:
                reply = NOT_IN_TIME
        if len(reply) <= PIECE_CHARACTERS:
            yield from self._add(request, reply)
            return
        yield ReserveRoom(self, in_turn=False)
        try:
            host.reply_room.hold(self, sys.getsizeof(reply))
            yield from self._add(request, reply)
        finally:
            host.reply_room.give(self)

    def _serve_here(self, line: ParsedLine) -> Waits[None]:
        if line.request.verb == "status":
            yield from self._add(line.request, self._judged(line.request, self._admission.status()))
        else:
            yield from self._read_here(line.request)

    def _add(self, request: Request, reply: str) -> Waits[None]:
        yield from self._replies.add_in_pieces(request.id, reply)

    def _judged(self, request: Request, reply: str) -> str:
        """Return a reply, or why the rights of now refuse it."""
        return self._admission.denial_since(self._rights, request.command) or reply

    def _answer(self, kind: str, line: ParsedLine) -> Waits[str]:
        """Return the reply to a line that needs no room for a long reply."""
        if line.reply:
            return line.reply
        if kind == "build":
            if not self._host.announces_build:
                return error(not_understood(line.text))
            return answer_to_build(self._host.foreigners.mine())
        if kind == "members":
            return (yield from self._members(line))
        if kind == "control":
            return (yield from self._obey(line))
        if line.request.verb == "transfer":
            return (yield from self._transfer(line.request))
        if line.request.verb == "begin":
            return self._host.begin_without(line.request.command.split()[2:])
        if line.request.verb == "codes":
            return (yield from self._put_codes())
        return help_on(line.request.command)

    def _read_here(self, request: Request) -> Waits[None]:
        read = partial(_first, self._host.logmanager, request.command)
        is_listing = request.verb in _LISTINGS
        reply = "" if is_listing else read()
        if reply and len(reply) <= PIECE_CHARACTERS:
            yield from self._add(request, self._judged(request, reply))
        else:
            reply = ""  # the reply is made again when its turn has come
            yield from self._long(request, read, in_turn=not is_listing)

    def _long(
        self, request: Request, make: Callable[[], str], *, in_turn: bool = False
    ) -> Waits[None]:
        """Add a reply that may be long, once the node has room for it; see `ReplyRoom`. A holder of
        room waits only for its reader, since others wait for the room."""
        yield from self._replies.flush()  # earlier replies need not wait
        room = self._host.reply_room
        yield ReserveRoom(self, in_turn)
        try:
            reply = make()
            room.hold(self, sys.getsizeof(reply))
            yield from self._add(request, self._judged(request, reply))
        finally:
            room.give(self)

    def _shows(self, requests: Sequence[Request], reading: Reading) -> Waits[None]:
        commands = [request.command for request in requests]
        batch = Batch(commands, is_read=True, reading=reading, asker=self._outgoing)
        self._host.submit(batch)
        is_answered = yield AwaitReplies(batch, self._host.patience_s)
        for place, request in enumerate(requests):
            if is_answered and batch.reader is not None:
                read = partial(_first, batch.reader, request.command)
                yield from self._long(request, read)
            else:
                reply = batch.replies[place] if is_answered else self._host.not_confirmed()
                yield from self._add(request, reply)

    def _members(self, line: ParsedLine) -> Waits[str]:
        """Change the members, or list them once it is confirmed that this server leads."""
        host, change = self._host, line.change
        yield from self._replies.flush()
        if change is not None:
            if why := host.why_elsewhere(change):
                return NOT_CHANGED(f"{why}. Nothing was changed")
            try:
                change = host.with_build(change)
            except RequestRefused as problem:
                return problem.refusal
        batch = Batch([line.request.command], is_read=change is None, change=change)
        host.submit(batch)
        if not (yield AwaitReplies(batch, host.patience_s if change is None else CHANGE_S)):
            return (
                host.not_confirmed()
                if change is None
                else outcome_unknown("it takes long; see: members")
            )
        if batch.replies:
            return batch.replies[0]
        return self._judged(line.request, "MEMBERS response: " + json.dumps(host.members()))

    def _backup(self, request: Request) -> Waits[None]:
        """Copy the state, once it is confirmed that this server leads; or reply with a piece of
        that copy."""
        offset = request.command.rpartition(" ")[2]
        if offset != "backup":
            yield from self._long(request, partial(self._piece_of_backup, int(offset)))
            return
        yield from self._replies.flush()
        batch = Batch(["backup"], is_read=True, asker=self._outgoing)
        self._host.submit(batch)
        is_answered = yield AwaitReplies(batch, self._host.patience_s)
        if is_answered and not batch.replies:
            yield from self._long(request, self._begin_backup)
        else:
            reply = batch.replies[0] if is_answered else self._host.not_confirmed()
            yield from self._add(request, reply)

    def _piece_of_backup(self, offset: int) -> str:
        file = self._backup_file
        if file is None:
            return error("no backup was begun on this connection; begin with: backup")
        self._host.backups.touch(file)
        try:
            return f"BACKUP response: {file.piece(offset)}"
        except ValueError:  # the file is closed
            return error("no backup is here any more: others needed its room; begin with: backup")

    def _begin_backup(self) -> str:
        self.end()  # frees the room of the previous backup
        backups, logmanager = self._host.backups, self._host.logmanager
        try:
            file = self._backup_file = backups.make(logmanager.folder_path, logmanager.freeze)
        except BackupFailed as failure:
            return failure.refusal
        except StateRefused as refused:
            return refused.refusal
        return f"BACKUP response: {file.begin}"

    def end(self) -> None:
        """Free the room of the backup of this connection, if any."""
        file, self._backup_file = self._backup_file, None
        if file is not None:
            self._host.backups.end(file)

    def _obey(self, line: ParsedLine) -> Waits[str]:
        yield from self._replies.flush()  # the order may end the connection
        host = self._address()
        orders, request = self._host.orders, line.request
        assert orders is not None  # otherwise the line would not be an order
        self.is_control = orders.is_allowed(request.sender, host)
        return orders.obey(request, host).line

    def _put_codes(self) -> Waits[str]:
        yield from self._replies.flush()
        yield WaitFor.EMPTY
        self._outgoing.put_codes()
        return CODES

    def _transfer(self, request: Request) -> Waits[str]:
        batch = self._host.transfer(request.command.partition(" ")[2] or None)
        if (yield AwaitReplies(batch, self._host.patience_s)):
            return batch.replies[0]
        return outcome_unknown("it is not known yet who leads")


def _is_computed(line: ParsedLine) -> bool:
    """Whether the reply to a line is read or computed here. That to others is a constant, which a
    client without a login may have as well, or waits for another thread."""
    if line.kind != "local" or line.reply:
        return False
    verb = line.request.verb
    return verb == "status" or verb in _LISTINGS or COMMANDS[verb].handling.takes_mode


def _first(reader: ReadableState, command: str) -> str:
    return reader.read([command])[0]
