"""Serving the commands of a Redis client that are not batches of lines, as a machine that yields
its waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import getsizeof

from ...resp.connection import WITHOUT_LOGIN
from ...resp.forms import value_of
from ...resp.programs import Ask, Call
from ...resp.replies import NO_LOGIN, Failure, Value, failure_of, spell
from ...wire.commands.command_table import Request, read_request
from ...wire.commands.parsing import BY_CLOCK, BY_ROUND, ParsedLine
from ...wire.commands.watch_lines import watch_operands
from ...wire.limits import ANSWER_BYTES
from ...wire.protocol import ProtocolError
from ...wire.refusal import BAD_REQUEST, NO_LEADER, outcome_unknown
from ...wire.replies.refusals import code_of
from .admission import Admission
from .host import Batch, Host
from .outgoing_protocol import OutgoingProtocol
from .redis_events import RedisEvents
from .redis_requests import RedisRequest, RedisRequests
from .waits import AwaitReplies, Replies, ReserveRoom, Waits

TAKEN = frozenset({"transaction"})  # codes of refusals that a program may take as replies


class RedisServing:
    """Serves the calls of one connection. It is the `Holder` of the room for what they read."""

    def __init__(
        self,
        host: Host,
        admission: Admission,
        outgoing: OutgoingProtocol,
        replies: Replies,
        requests: RedisRequests,
        break_off: Callable[[], None],
    ) -> None:
        """`break_off` ends the connection."""
        self._host = host
        self._admission = admission
        self._outgoing = outgoing
        self._replies = replies
        self._requests = requests
        self._context = requests.context
        self.session = requests.session
        self.break_off = break_off
        self._holds = False  # room
        self._turn = ""  # the key whose turn this connection has
        self._events = RedisEvents(host, outgoing, requests.session)

    @property
    def user(self) -> str | None:
        """The user that is logged in here; see `Holder`."""
        return self._outgoing.user

    def serve(self, run: Sequence[RedisRequest]) -> Waits[None]:
        """Reply to commands, in order."""
        for request in run:
            try:
                value = yield from self._value(request)
                yield from self._replies.add_spelled(spell(value, self.session.version))
                if self._holds or self._events.has_new:
                    yield from self._replies.flush()
            finally:
                self._give_room()
                self._requests.count_transaction()  # EXEC has ended it
            if self._events.has_new:
                self._events.has_new = False
                self._outgoing.pump()

    def _value(self, request: RedisRequest) -> Waits[Value]:
        if request.call is not None:
            return (yield from self._carry_out(request.call))
        reply = request.reply
        if request.local:
            (reply,) = self._host.logmanager.read([request.local])
        form, _, key = request.id.partition(" ")
        if reply.startswith("Sorry"):
            self._host.refusals.add(code_of(reply))
        elif not reply and isinstance(request.answer, Failure):
            self._host.refusals.add(BAD_REQUEST)
        return value_of(form, key, reply) if reply else request.answer

    def _carry_out(self, call: Call) -> Waits[Value]:
        """Carry out a call, and return its reply."""
        if self._admission.is_stranger and call.name not in WITHOUT_LOGIN:
            self._host.refusals.add("no-login")
            return Failure(NO_LOGIN)
        program = call.carry_out(self._context)
        try:
            ask = next(program)
            while True:
                is_turn = ask.kind == "turn"
                replies = yield from (self._take_turn(ask.key) if is_turn else self._ask(ask))
                if refusal := _refusal(ask, replies):
                    self._host.refusals.add(code_of(refusal))
                    failure = failure_of(refusal, ask.key)
                    if failure is not None and self.session.is_left_by(failure):
                        self._outgoing.read_no_more()
                    return failure
                ask = program.send(replies)
        except StopIteration as end:
            value: Value = end.value
            return value
        except ProtocolError as mistake:
            self._host.refusals.add(BAD_REQUEST)
            return Failure(f"ERR {mistake}")
        finally:
            program.close()
            if self._turn:
                key, self._turn = self._turn, ""
                self._host.redis.leave_turn(key)

    def _ask(self, ask: Ask) -> Waits[list[str]]:
        """Return the replies to lines of one kind."""
        admitted = [self._admitted(ask, text) for text in ask.lines]
        for line in admitted:
            if line.reply:
                self._outgoing.user = self._admission.user  # it may be a login
                return [line.reply] * len(admitted)
        if ask.kind == "status":
            return [self._host.status()]
        if ask.kind == "watch":
            return [self._watch(ask, admitted[0].request)]
        kind, commands = admitted[0].kind, [line.request.command for line in admitted]
        if kind != "write":
            self._give_room()
            yield from self._replies.flush()  # earlier replies need not wait
            yield ReserveRoom(self, in_turn=False)
            self._holds = True
        if kind == "local":
            return self._held(self._host.logmanager.read(commands, ANSWER_BYTES), len(commands))
        if kind == "write" and self._admission.named_in_log:
            commands = [self._admission.logged(line.request) for line in admitted]
        reading = admitted[0].reading
        batch = Batch(commands, kind != "write", reading, asker=self._outgoing)
        batch.writer = self._admission.writer
        self._host.submit(batch)
        if not (yield AwaitReplies(batch, self._host.patience_s)):
            late = NO_LEADER if batch.is_read else outcome_unknown("no quorum answered in time")
            return [late] * len(commands)
        if batch.reader is not None:
            return self._held(batch.reader.read(commands, ANSWER_BYTES), len(commands))
        return batch.replies

    def _take_turn(self, key: str) -> Waits[list[str]]:
        """Wait until no other command of this node changes a key on the same condition."""
        turns, ticket = self._host.redis, Batch([], is_read=True, asker=self._outgoing)
        if turns.take_turn(key, ticket):
            self._turn = key
            return []
        try:
            yield AwaitReplies(ticket, self._host.patience_s)
        finally:  # perhaps the connection ends
            if not turns.give_up_turn(key, ticket):
                self._turn = key
        return []

    def _watch(self, ask: Ask, request: Request) -> str:
        """Begin or end a watch; return a refusal, or ""."""
        if request.verb == "unwatch":
            self._events.close(ask.watch_id)
            return ""
        return self._events.open(ask.watch_id, watch_operands(request.command).prefix)

    def end(self) -> None:
        """Forget all watches, since the connection ends."""
        self._events.drop()

    def end_refused(self, why_not: Callable[[str], str]) -> None:
        """End the watches that are no longer allowed. Any thread may call this."""
        self._events.end_refused(why_not)

    def _held(self, replies: list[str], count: int) -> list[str]:
        """Return what was read, and hold room for it.

        Raises:
            ProtocolError: there was more than a reply may hold.
        """
        self._host.reply_room.hold(self, sum(map(getsizeof, replies)))
        if len(replies) < count:
            raise ProtocolError(f"the values have more than {ANSWER_BYTES} bytes")
        return replies

    def _give_room(self) -> None:
        if self._holds:
            self._holds = False
            self._host.reply_room.give(self)

    def _admitted(self, ask: Ask, text: str) -> ParsedLine:
        """Return a line as this node serves it.

        Raises:
            ProtocolError: it has a mistake.
        """
        request = read_request("", "", text, self._host.limits)
        kind, reading = ask.kind, BY_ROUND
        if kind == "timed":
            kind, reading = "read", BY_CLOCK
        elif kind in ("read", "show"):
            mode = "local" if self.session.is_readonly else ""
            kind, reading = self._host.readings.kind_of(kind, mode)
        elif kind == "status":
            kind = "local"
        return self._admission.admit(ParsedLine(kind, request, text, reading=reading))


def _refusal(ask: Ask, replies: list[str]) -> str:
    """Return the refusal that ends a program, or ""."""
    for reply in replies:
        if reply.startswith("Sorry"):
            if ask.takes_refusals and (ask.kind == "watch" or code_of(reply) in TAKEN):
                return ""
            return reply
    return ""
