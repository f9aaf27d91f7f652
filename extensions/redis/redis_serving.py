"""Serving the commands of a Redis client that are not batches of lines, as a machine that yields
its waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import getsizeof

from raftline.net.protocol.admission import Admission
from raftline.net.protocol.host import Batch, DoorHost, ReadableState
from raftline.net.protocol.outgoing_protocol import NOT_IN_TIME, OutgoingProtocol
from raftline.net.protocol.trials import confirmed, why_too_much
from raftline.net.protocol.user_calls import NotReached, UserCalls
from raftline.net.protocol.waits import AwaitReplies, Replies, ReserveRoom, Waits
from raftline.wire.commands.command_table import Request, read_request
from raftline.wire.commands.parsing import BY_CLOCK, BY_ROUND, ParsedLine
from raftline.wire.commands.watch_lines import watch_operands
from raftline.wire.limits import ANSWER_BYTES, PIECE_CHARACTERS
from raftline.wire.protocol import ProtocolError
from raftline.wire.refusal import BAD_REQUEST, is_refusal
from raftline.wire.replies.refusals import code_of

from .redis_events import RedisEvents
from .redis_node import RedisNode
from .redis_requests import RedisRequest, RedisRequests
from .redis_waiting import Waiter
from .resp.blocking import LATE
from .resp.connection import WITHOUT_LOGIN, is_login
from .resp.forms import value_of
from .resp.limits import REDIS_QUEUED
from .resp.programs import RedisAsk, RedisCall
from .resp.replies import (
    NO_LOGIN,
    Failure,
    Several,
    Value,
    failure_of,
    format_reply,
    length_of,
)
from .resp.types import rows

_KNOWN_HERE = frozenset(  # no lines to serve
    {"await", "confirmed", "status", "last", "rights", "watch"}
)
_SERVES = frozenset({"read", "timed", "show", "write"})  # kinds that the leader answers
_MAY_WAIT = frozenset([row.name for row in rows.BLOCKING])
_NO_REPLY = Several([])
REFUSALS_BYTES = 100 * REDIS_QUEUED  # of the parts of an `EXEC` for which a reply has no room


class RedisServing:
    """Serves the calls of one connection. It is the `Holder` of the room for what they read."""

    def __init__(
        self,
        node: RedisNode,
        host: DoorHost,
        admission: Admission,
        outgoing: OutgoingProtocol,
        replies: Replies,
        calls: UserCalls,
        requests: RedisRequests,
        break_off: Callable[[], None],
        note_user: Callable[[], None],
    ) -> None:
        """`break_off` ends the connection. `note_user` is called after each login."""
        self._node = node
        self._host = host
        self._admission = admission
        self._outgoing = outgoing
        self._replies = replies
        self._calls = calls
        self._requests = requests
        self._context = requests.context
        self.session = requests.session
        self.break_off = break_off
        self._note_user = note_user
        self._holds = False  # room
        self._events = RedisEvents(node, host, outgoing, requests.session)
        self._waiter: Waiter | None = None  # of the present call
        node.open_connection(self)

    @property
    def user(self) -> str | None:
        """The user that is logged in here; see `Holder`."""
        return self._outgoing.user

    @property
    def ends(self) -> bool:
        """Whether the connection ends after the replies."""
        return self.session.ends

    def serve(self, run: Sequence[RedisRequest], rights: object) -> Waits[None]:
        """Reply to commands, in order. `rights` are the users by whose rights they were
        admitted."""
        for request in run:
            try:
                self._context.open_ledger()
                if request.line is not None:
                    yield from self._tried(request.line.request.command, request.id)
                elif request.call is None:
                    yield from self._reply(self._known_value(request, rights))
                else:
                    yield from self._in_turn(request.call)
                if self._holds or self._events.has_new:
                    yield from self._replies.flush()
            finally:
                self._give_room()
                self.session.call_bytes = 0
                self._requests.count_transaction()  # EXEC has ended it
            if self._events.has_new:
                self._events.has_new = False
                self._outgoing.pump()
            if self._events.must_follow:
                yield from self._replies.flush()  # messages follow the reply
                self._events.follow_leaders()

    def _reply(self, value: Value) -> Waits[None]:
        """Format a reply, if it is within the ledger: a long one when there is room for it."""
        size = length_of(value)
        if size > ANSWER_BYTES + REFUSALS_BYTES:
            value = Failure(f"ERR the reply has more than {ANSWER_BYTES} bytes")
        elif size > PIECE_CHARACTERS:
            yield from self._reserve()
            self._host.reply_room.hold(self, self._context.ledger.held + size)
        yield from self._replies.add_formatted(format_reply(value, self.session.version))

    def _reserve(self) -> Waits[None]:
        """Wait until there is room for what a command reads and returns, unless it has it."""
        if not self._holds:
            yield from self._replies.flush()  # earlier replies need not wait
            yield ReserveRoom(self, in_turn=False)
            self._holds = True

    def _known_value(self, request: RedisRequest, rights: object) -> Value:
        """Return the reply to a command that is not a call."""
        reply = request.reply
        if request.local:
            (reply,) = self._host.logmanager.read([request.local])
            reply = self._admission.denial_since(rights, request.local) or reply
        form, _, key = request.id.partition(" ")
        if is_refusal(reply):
            self._host.refusals.add(code_of(reply))
        elif not reply and isinstance(request.answer, Failure):
            is_stranger = request.answer.code == NO_LOGIN.code
            self._host.refusals.add("no-login" if is_stranger else BAD_REQUEST)
        return value_of(form, key, reply) if reply else request.answer

    def _in_turn(self, call: RedisCall) -> Waits[None]:
        """Carry out a call, or refuse it if it has to wait for too long. A stranger can do nothing
        but log in, and a login has turns of its own."""
        needs_turn = not (self._admission.is_stranger or is_login(call))
        try:
            yield from self._calls.carry_out(self._carry_out(call), needs_first=needs_turn)
        except NotReached as late:
            self._host.refusals.add(late.refusal.code)
            yield from self._reply(failure_of(late.refusal, ""))

    def _tried(self, command: str, id_: str) -> Waits[None]:
        """Carry out a line that may be too much for one entry, or refuse it if it has to wait for
        too long."""
        try:
            ask = RedisAsk([command], "write", is_canonical=True)
            (reply,) = yield from self._calls.carry_out(self._ask(ask))
        except NotReached as late:
            reply = late.refusal
        if len(reply) > PIECE_CHARACTERS:
            yield from self._reserve()
            self._host.reply_room.hold(self, len(reply))
        yield from self._replies.add_in_pieces(id_, reply)

    def _carry_out(self, call: RedisCall) -> Waits[None]:
        """Carry out a call, and reply."""
        yield from self._reply((yield from self._value(call)))

    def _value(self, call: RedisCall) -> Waits[Value]:
        """Carry out a call; return the value of its reply."""
        if self._admission.is_stranger and call.name not in WITHOUT_LOGIN:
            self._host.refusals.add("no-login")
            return NO_LOGIN
        program = call.carry_out(self._context)
        try:
            ask = next(program)
            while True:
                replies = yield from self._ask(ask)
                if refusal := _refusal(ask, replies):
                    self._host.refusals.add(code_of(refusal))
                    return self._refused(call, failure_of(refusal, ask.key) or Failure(refusal))
                self.session.was_served |= ask.kind in _SERVES
                ask = program.send(replies)
        except StopIteration as end:
            value: Value = end.value
            return value
        except ProtocolError as mistake:
            self._host.refusals.add(BAD_REQUEST)
            return Failure(f"ERR {mistake}")
        finally:
            program.close()
            self._wait_no_more()

    def _refused(self, call: RedisCall, failure: Failure) -> Value:
        """Return the reply to a call that a refusal ends, and end the connection if it has to."""
        if call.name in _MAY_WAIT and self.session.ends_instead_of(failure):
            self.session.ends = True
            return _NO_REPLY
        if self.session.ends_after(failure):
            self._outgoing.read_no_more()
        return failure

    def _wait_no_more(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._node.listen_no_more(waiter)
            waiter.end()

    def _await(self, ask: RedisAsk) -> Waits[str]:
        """Wait for the turn to look at some keys; return a refusal, or whether it came in time.
        Nothing is kept meanwhile of what was read before."""
        self._give_room()
        self._context.open_ledger()
        if self._waiter is None:
            yield from self._replies.flush()  # earlier replies need not wait
            self._waiter = Waiter(
                self._node.waiting,
                self._host,
                self._outgoing,
                ask.awaited,
                ask.within_s,
                in_line=ask.in_line,
            )
            self._node.listen(self._waiter)
            if refusal := self._waiter.begin():
                return refusal
        return "" if (yield from self._waiter.turn()) else LATE

    def _ask(self, ask: RedisAsk) -> Waits[list[str]]:
        """Return the replies to lines of one kind."""
        if ask.kind == "login":
            return [self._calls.without_turn(lambda: self._log_in(ask))]
        rights = self._admission.users
        commands, first = list[str](), None
        for text in ask.lines:
            line = self._admitted(ask, text)
            if line.reply:
                return [line.reply] * len(ask.lines)
            first = first or line
            is_named = line.kind == "write" and self._admission.named_in_log
            commands.append(
                self._admission.logged(line.request) if is_named else line.request.command
            )
        if first is None or ask.kind in _KNOWN_HERE:
            return [(yield from self._known(ask, commands, rights))]
        if first.kind == "local":
            return (yield from self._read(ask, self._host.logmanager, commands, rights))
        if not self._holds:
            yield from self._replies.flush()  # earlier replies need not wait
        if why := (yield from self._why_too_much(first, commands[0])):
            return [why] * len(commands)
        batch = Batch(commands, first.kind != "write", first.reading, asker=self._outgoing)
        batch.writer = self._admission.writer
        self._host.submit(batch)
        if not (yield AwaitReplies(batch, self._host.patience_s)):
            return [self._late(batch)] * len(commands)
        if batch.reader is not None:
            return (yield from self._read(ask, batch.reader, commands, rights))
        return batch.replies

    def _why_too_much(self, line: ParsedLine, entry: str) -> Waits[str]:
        """Return why a line is refused before it becomes an entry, or "".

        Raises:
            ConnectionAbortedError: the client has waited, and is gone: what it takes would be lost.
        """
        if line.kind != "write":
            return ""
        if self._waiter is not None and self._outgoing.is_reader_gone():
            raise ConnectionAbortedError
        if not self._host.needs_trial(line.request.command, 0):
            return ""
        return (yield from why_too_much(self._host, self._outgoing, entry))

    def _log_in(self, ask: RedisAsk) -> str:
        (line,) = [self._admitted(ask, text) for text in ask.lines]
        self._note_user()
        return line.reply

    def _read(
        self, ask: RedisAsk, reader: ReadableState, commands: list[str], rights: object
    ) -> Waits[list[str]]:
        """Return what is read, as far as the rights of now allow it, and hold room for all that the
        command has read: of listed keys, it keeps those that it returns.

        Raises:
            ProtocolError: there is more than a reply may hold.
        """
        yield from self._reserve()
        replies = reader.read(commands, ANSWER_BYTES)
        ledger, size = self._context.ledger, sum(map(getsizeof, replies))
        self._host.reply_room.hold(self, ledger.held + ledger.returned + size)
        if ask.kind != "show":
            ledger.held += size
        if len(replies) < len(commands):
            raise ProtocolError(f"the values have more than {ANSWER_BYTES} bytes")
        return [
            self._admission.denial_since(rights, command) or reply
            for command, reply in zip(commands, replies, strict=True)
        ]

    def _known(self, ask: RedisAsk, commands: list[str], rights: object) -> Waits[str]:
        """Return the reply of this node by itself."""
        match ask.kind:
            case "status":
                yield from self._calls.compute()
                status = self._admission.status()
                return self._admission.denial_since(rights, ask.kind) or status
            case "confirmed":
                return (yield from self._confirmed())
            case "await":
                return (yield from self._await(ask))
            case "last":
                return str(self._host.watchers.last)
            case "rights":
                return ""
        return self._watch(ask, commands)

    def _confirmed(self) -> Waits[str]:
        """Wait until this node has applied all entries that were committed when this began; return
        a refusal, or ""."""
        yield from self._replies.flush()  # earlier replies need not wait
        return (yield from confirmed(self._host, self._outgoing))

    def _late(self, batch: Batch) -> str:
        """Return the refusal of requests that were not answered in time."""
        return self._host.not_confirmed() if batch.is_read else NOT_IN_TIME

    def _watch(self, ask: RedisAsk, commands: list[str]) -> str:
        """Begin or end a subscription, which need not have a watch; return a refusal, or ""."""
        if commands == ["unwatch"]:
            self._events.close(ask.watch_id)
            return ""
        prefixes = [watch_operands(command).prefix for command in commands]
        if ask.topic:
            prefixes[-1] = ask.topic
        return self._events.open(ask.watch_id, prefixes, ask.held_bytes)

    def end(self) -> None:
        """Forget all watches, since the connection ends."""
        self._node.close_connection(self)
        self._events.drop()

    def leave(self) -> None:
        """End the connection after its replies if its client took this node for the leader, as a
        failover of Redis does; see `ServedConnection`. Any thread may call this."""
        session = self.session
        if session.was_served and not (session.is_readonly or session.subscriptions):
            self._outgoing.read_no_more()

    def end_refused(self, why_not: Callable[[str], str]) -> None:
        """End the watches that are no longer allowed. Any thread may call this."""
        self._events.end_refused(why_not)

    def _give_room(self) -> None:
        if self._holds:
            self._holds = False
            self._host.reply_room.give(self)

    def _admitted(self, ask: RedisAsk, text: str) -> ParsedLine:
        """Return a line as this node serves it.

        Raises:
            ProtocolError: it has a mistake.
        """
        if ask.is_canonical:  # values of a megabyte are not read again
            verb = text.partition(" ")[0]
            request = Request("", "", verb, text)
        else:
            request = read_request("", "", text, self._host.limits)
        kind, reading = ask.kind, BY_ROUND
        if kind == "timed":
            kind, reading = "read", BY_CLOCK
        elif kind in ("read", "show"):
            mode = "local" if self.session.is_readonly and not ask.at_leader else ""
            kind, reading = self._host.readings.kind_of(kind, mode)
        elif kind == "await":
            kind = "write" if ask.in_line else "read"
        elif kind == "status":
            kind = "local"
        return self._admission.admit(ParsedLine(kind, request, text, reading=reading))


def _refusal(ask: RedisAsk, replies: list[str]) -> str:
    """Return the refusal that ends a program, or ""."""
    for reply in replies:
        if is_refusal(reply):
            is_taken = ask.takes_refusals or code_of(reply) in ask.takes_codes
            return "" if is_taken else reply
    return ""
