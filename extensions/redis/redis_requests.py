"""The bytes of a Redis client as runs of commands, which are admitted like lines.

It has no socket, no thread and no clock, like `ServerProtocol`, which uses it for a connection
whose first byte is `*`.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from sys import getsizeof
from typing import Final

from raftline.net.line_reader import HalfLine, LineBuffer
from raftline.net.protocol.admission import REQUESTS, Admission
from raftline.net.protocol.doors import Malformed
from raftline.net.protocol.host import DoorHost
from raftline.net.protocol.run_work import MAY_TAKE_LONG, RunWork
from raftline.net.protocol.trials import Trials
from raftline.wire.commands.command_table import BEYOND_FLOOR, COMMANDS, Request
from raftline.wire.commands.parsing import BY_CLOCK, BY_ROUND, ParsedLine
from raftline.wire.limits import LONG_BYTES, REQUESTS_TOGETHER, STRANGER_LINE_BYTES

from .redis_node import RedisNode
from .resp.commands import Answer, Plan, change_of, plan_of
from .resp.fast import Line
from .resp.framing import CommandScanner, FramingError, take_short
from .resp.key_programs import Task
from .resp.plain import PlainRun, take_plain
from .resp.programs import CommandContext, RedisCall
from .resp.replies import Value
from .resp.session import RedisSession
from .resp.transactions import whole

PLAIN_TOGETHER: Final = 16 << 10  # bytes that are looked at for plain commands at a time
HALF_PLAIN: Final = 512  # bytes of a half command that are looked at again
HALF_WHOLE: Final = 1024  # bytes of a half transaction that are looked at again
MULTI: Final = b"*1\r\n$5\r\nMULTI\r\n"
PLAIN_BYTES: Final = 1100  # the longest plain command has fewer
WORD_BYTES: Final = 64  # of memory for a word of a command, in addition to its text
_TEXT: Final = ("utf-8", "surrogateescape")  # how words are read
KIND: Final = "redis"  # of commands that the connection's own thread carries out


@dataclass(slots=True)
class RedisRequest:
    """A command as this node serves it: an admitted line, or an answer, or a call."""

    kind: str  # "read", "write", or KIND
    line: ParsedLine | None = None  # of KIND: one that may be too much for one entry
    id: str = ""  # the form of the reply and the key, for `ReplyFormatter`
    call: RedisCall | None = None
    answer: Value = None
    reply: str = ""  # to a line that was refused
    local: str = ""  # a line that is read here, without a confirmation


class RedisRequests:
    """The commands of one connection, in order."""

    def __init__(
        self, node: RedisNode, host: DoorHost, admission: Admission, lines: LineBuffer
    ) -> None:
        """`lines` keeps the bytes of a command that has not ended, within its bounds."""
        self.session = RedisSession(node.number(), admission.addresses, lambda: admission.user)
        self.context = CommandContext(node, self.session)
        self._host = host
        self._admission = admission
        self._lines = lines
        self._scanner = CommandScanner()
        # The input that was not handed out: at most one admitted command, then at most one plan,
        # then at most the words of one command, then bytes.
        self._admitted: RedisRequest | None = None
        self._plan: Plan | None = None
        self._words: list[bytes] | None = None
        self._uncut = b""
        self._place = 0  # in these bytes
        self._now_s = 0.0
        self._keeps_half = False  # `lines` has a transaction that goes on with the next bytes
        self._since_s: float | None = None  # when that one began, with which the bytes begin
        self._problem: Malformed | HalfLine | None = None  # in the bytes after all of these
        self.work = RunWork(host.is_quick)  # of the last run
        self.trials = Trials(host)

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Take bytes that arrived."""
        self._now_s = now_s
        self._since_s = None
        if self._keeps_half:
            self._keeps_half, self._since_s = False, self._lines.begun_s
            data = self._lines.take_begun(data)
        elif 0 < self._lines.size <= HALF_PLAIN and not self.has_more:
            data = self._with_half(data)
        self._uncut = self._uncut[self._place :] + data
        self._place = 0

    def _with_half(self, data: bytes) -> bytes:
        """Return bytes with the half command before them, if that is a plain one which they end:
        then those after it are read as plain ones, too."""
        whole = bytes(self._lines.begun) + data
        text = whole[: HALF_PLAIN + PLAIN_BYTES].decode("latin-1")
        if not take_plain(text, 1, is_at_floor=self._host.is_at_floor).commands:
            return data
        self._lines.forget()
        self._scanner = CommandScanner()
        return whole

    @property
    def has_more(self) -> bool:
        """Whether there is input that was not looked at, or not handed out."""
        is_left = self.has_special or self._problem is not None
        return is_left or self._place < len(self._uncut)

    def forget(self) -> None:
        """Drop the remaining input, and a transaction that has not ended."""
        self._admitted = self._plan = self._words = self._problem = None
        self._uncut, self._place, self._keeps_half = b"", 0, False
        self.session.end_transaction()
        self.count_transaction()

    def next_plain(self) -> PlainRun | None:
        """Return the next commands if they are plain ones, which need no individual checks; None if
        they are not. `next_run` would return the same lines."""
        session, place = self.session, self._place
        if self.has_special or self._lines.begun or session.is_readonly or self._problem:
            return None
        if session.queue is not None or session.subscriptions:
            return None
        text = self._uncut[place : place + PLAIN_TOGETHER].decode("latin-1")
        run = take_plain(text, REQUESTS_TOGETHER, is_at_floor=self._host.is_at_floor)
        if not run.commands:
            return None
        self._place += run.end
        return run

    @property
    def has_special(self) -> bool:
        """Whether a command waits that was looked at."""
        return bool(self._admitted or self._plan or self._words is not None)

    def next_run(self, *, may_wait: bool) -> list[RedisRequest]:
        """Admit the next commands, as long as they are of one kind. Unless the caller `may_wait`,
        stop before a command that needs the connection's own thread.

        Raises:
            Malformed: the bytes are not commands.
            HalfLine: a command began long ago and has not ended.
        """
        run: list[RedisRequest] = []
        if self._admitted is None:
            self.trials.begin_run()
        work = self.work = RunWork(self._host.is_quick)
        while (request := self._next(may_wait=may_wait)) is not None:
            if (request.kind == KIND and not may_wait) or (run and not _go_together(run, request)):
                self._admitted = request
                break
            run.append(request)
            if request.line is not None and request.line.request.verb in MAY_TAKE_LONG:
                work.add(request.line.request.command)
            is_full = work.is_full or len(run) >= REQUESTS_TOGETHER
            if is_full or request.call is not None:  # a call may change what the next command means
                break
        if self._problem is not None and not run and self._admitted is None:
            raise self._problem
        return run

    def _next(self, *, may_wait: bool) -> RedisRequest | None:
        """Return the next command, admitted; None before it arrives, or while admission waits."""
        if self._admitted is not None:
            request, self._admitted = self._admitted, None
            return request
        plan, self._plan = self._plan or self._next_plan(may_wait=may_wait), None
        if plan is None:
            return None
        if isinstance(plan, Line):
            if not may_wait and self._host.is_at_floor and plan.verb in BEYOND_FLOOR:
                self._plan = plan
                return None
            return self._admit(plan)
        if isinstance(plan, Answer):
            return RedisRequest(KIND, answer=plan.value)
        return RedisRequest(KIND, call=plan)

    def _next_plan(self, *, may_wait: bool) -> Plan | None:
        """Return the plan of the next command; None before it arrives, or while parsing waits."""
        words: list[bytes] = []
        while not words:
            if self._words is None and not self._cut():
                return None
            words, self._words = self._words or [], None
        is_long = sum(map(len, words)) + WORD_BYTES * len(words) > LONG_BYTES
        if is_long and not may_wait:
            self._words = words
            return None
        if len(words) == 1 and words[0].upper() == b"MULTI":
            plan = self._whole_transaction()
            if plan is not None or self._keeps_half:
                return plan
        return self._planned(words, is_long=is_long)

    def count_transaction(self) -> None:
        """Count the bytes of watched keys, of commands after `MULTI` and of a long command that
        waits towards the bound of unfinished lines."""
        self._lines.count_beside(self.session.held_bytes + self.session.call_bytes)

    def _planned(self, words: list[bytes], *, is_long: bool) -> Plan:
        with self._lines.turn if is_long else nullcontext():
            is_stranger = self._admission.is_stranger
            texts = [word.decode(*_TEXT) for word in words]
            plan = plan_of(texts, self.context, is_stranger=is_stranger)
        if is_long and isinstance(plan, RedisCall):
            self.session.call_bytes = sum(map(getsizeof, plan.words))
        self.count_transaction()
        return plan

    def _whole_transaction(self) -> Line | None:
        """Return the line of the transaction whose `MULTI` was cut off last, and cut off the rest
        of it. None, and nothing is cut off, if its commands have to be queued: it has not arrived
        up to its `EXEC`, or one entry does not carry it out without a read. A short one whose last
        command is half there is kept until the next bytes."""
        session, data, place = self.session, self._uncut, self._place
        if session.queue is not None or session.watched or session.is_subscribed:
            return None
        if self._admission.is_stranger:
            return None
        tasks, begin = list[Task](), place
        last = place + min(PLAIN_TOGETHER, self._host.limits.line_bytes)
        while (short := take_short(data, place, last - place)) is not None:
            command, place = short
            if len(command) == 1 and command[0].upper() == b"EXEC":
                break
            task = change_of([word.decode(*_TEXT) for word in command], self.context)
            if task is None:
                return None
            tasks.append(task)
        if short is None:
            self._keep_half(begin, place)
        if short is None or not tasks:
            return None
        self._place = place
        return whole(self.context, tasks)

    def _keep_half(self, begin: int, place: int) -> None:
        """Keep the transaction whose commands begin at a place if the last of these is half there,
        at another place: then its client is sending the rest."""
        data, now_s = self._uncut, self._now_s
        if not begin <= place < len(data) <= begin + HALF_WHOLE:
            return
        scanner = CommandScanner()
        scanner.bytes_max = self._host.limits.line_bytes
        try:
            if scanner.scan(data, place) >= 0:
                return
            since_s = self._since_s if begin == len(MULTI) else None
            self._lines.keep(MULTI + data[begin:], now_s, since_s)
        except FramingError:
            return
        except HalfLine as problem:
            self._problem = problem
        self._place, self._keeps_half = len(data), True

    def _cut(self) -> bool:
        """Cut the next command off the bytes; return whether there is one."""
        scanner, data, begin = self._scanner, self._uncut, self._place
        if begin == len(data):
            return False
        scanner.is_stranger = self._admission.is_stranger
        longest = self._host.limits.line_bytes
        scanner.bytes_max = STRANGER_LINE_BYTES if scanner.is_stranger else longest
        if not (self._lines.begun or scanner.is_stranger):
            short = take_short(data, begin, scanner.bytes_max)
            if short is not None:
                self._words, self._place = short
                return True
        self._place = len(data)
        try:
            end = scanner.scan(data, begin)
            if end < 0:
                self._lines.keep(data[begin:], self._now_s)
        except FramingError as problem:
            self._problem = Malformed(str(problem))
            return False
        except HalfLine as problem:
            self._problem = problem
            return False
        if end < 0:
            return False
        self._place = end
        command = data[begin:end]
        if self._lines.begun:
            command = self._lines.take_begun(command)
        self._words = scanner.take(command)
        return True

    def _admit(self, plan: Line) -> RedisRequest:
        """Return a line as this node serves it: the admission may refuse it."""
        command, verb = plan.command, plan.verb
        handling = COMMANDS[verb].handling
        if handling.is_timed:
            kind, reading = "read", BY_CLOCK
        elif handling.kind == "read":
            kind, reading = self._host.readings.kind_of(
                "read", "local" if self.session.is_readonly else ""
            )
        else:
            kind, reading = "write", BY_ROUND
        request = Request("", "", verb, command)
        line = self._admission.admit(ParsedLine(kind, request, command, reading=reading))
        id_ = f"{plan.form} {plan.key}"
        if line.kind == "write" and self.trials.are_needed(command):
            return RedisRequest(KIND, line, id_)
        if line.kind in REQUESTS:
            return RedisRequest(line.kind, line, id_)
        if line.reply:
            return RedisRequest(KIND, id=id_, reply=line.reply)
        return RedisRequest(KIND, id=id_, local=command)


def _go_together(run: list[RedisRequest], request: RedisRequest) -> bool:
    """Whether a command may follow in a run."""
    first, line = run[0], request.line
    if first.kind != request.kind:
        return False
    return first.line is None or (line is not None and line.reading == first.line.reading)
