"""A connection from outside as a machine: its input is bytes; its output is batches of requests,
lines for the connection's own thread, and the end.

It has no socket, no thread and no clock: the caller passes the time, in seconds of one clock. The
connection's thread or the shared reader drives it. A line is admitted only when it is next, so the
replies do not depend on how the bytes are split.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final, TypeAlias

from ...wire.commands.command_table import BEYOND_FLOOR
from ...wire.commands.parsing import (
    BY_ROUND,
    PLAIN_BYTES,
    ParsedLine,
    Reading,
    asks_status,
    parse,
    take_simple,
)
from ...wire.limits import (
    CUT_BYTES,
    LINE_S,
    LINES_TOGETHER,
    LONG_BYTES,
    PROOF_S,
    REQUESTS_TOGETHER,
    STRANGER_LINE_BYTES,
    STRANGER_S,
)
from ...wire.protocol import is_host_header, looks_foreign
from ...wire.refusal import FULL
from ..line_reader import HalfLine, Late, LineBuffer
from .admission import NAMED_IN_LOG, REQUESTS, Admission, numbered
from .doors import Door, DoorRequest, DoorRequests, Malformed, OpenDoor
from .host import EVERY, Batch, LineHost, ReplySink
from .run_work import MAY_TAKE_LONG, RunWork
from .trials import TRIED, Trials

TIMING_MARK: Final = b"\xff\xfd\x06"  # RFC 860, after telnet's Ctrl-C
HALF_LINES_FULL: Final = (
    "the lines and transactions that clients began and did not end take too much memory, and this"
    " is one of the oldest; nothing of it was done. Send it again, without a pause."
)
HALF_LINE: Final = f"a line was begun and not ended within {LINE_S:.0f} s."
OF_PEERS: Final = ("peer", "build", "proof")
# The longest run of lines of these kinds; of the others it is LINES_TOGETHER.
MOST: Final = {**dict.fromkeys(REQUESTS, REQUESTS_TOGETHER), "peer": EVERY}


@dataclass(slots=True)
class Run:
    """Lines of one kind, for the connection's own thread."""

    lines: list[ParsedLine]


@dataclass(slots=True)
class TimingMark:
    """A timing mark of telnet, which shows nothing of the next line until the mark is answered."""


@dataclass(slots=True)
class End:
    """The end of the input. The complaint, which may be "", follows all replies. With `drains`,
    incoming bytes are discarded for a while."""

    complaint: str
    drains: bool = False


@dataclass(slots=True)
class DoorRun:
    """Requests at a door, for the connection's own thread."""

    requests: Sequence[DoorRequest]


Step: TypeAlias = Batch | Run | DoorRun | TimingMark | End


class ServerProtocol:
    """The lines of one connection: framed, parsed, admitted, and grouped by kind."""

    def __init__(
        self,
        host: LineHost,
        admission: Admission,
        sink: ReplySink,
        *,
        for_peers_only: bool = False,
        lines: LineBuffer | None = None,
        announce: Callable[[], None] | None = None,
        doors: Sequence[Door] = (),
    ) -> None:
        """`sink` sends the replies to batches. `announce` is called once, before the first line
        that is not a request for `status`. `doors` are the other protocols that this node
        speaks."""
        self._host = host
        self._admission = admission
        self._sink = sink
        self._for_peers_only = for_peers_only
        self.lines = lines or LineBuffer(LINE_S)
        self._announce = announce
        self._doors = doors
        self._short = min(STRANGER_LINE_BYTES, host.limits.line_bytes)  # never too long
        shortest = min(host.limits.key_bytes, host.limits.value_bytes, self._short)
        self._takes_simple = shortest >= PLAIN_BYTES and not for_peers_only
        self._plain_read = host.readings.kind_of("read", "")
        # The input that was not handed out: at most one admitted line, then at most one parsed
        # line, then whole lines, then bytes that were not split into lines yet.
        self._admitted: list[ParsedLine] = []
        self._parsed: ParsedLine | None = None
        self._whole: deque[bytes] = deque()
        self._uncut = b""
        self._mark: TimingMark | None = None  # of the next line, not handed out yet
        self._is_marked = False  # the mark of the next line was handed out
        self._end: End | None = None
        # After the last step: all lines are handed out, and there is no partial line.
        self.is_between_lines = True
        self._is_first_line = True
        self._now_s = 0.0
        self.kind = ""  # of the last step with lines
        self._reading = BY_ROUND
        self._work = RunWork(host.is_quick)  # of its lines
        self._trials = Trials(host)
        self.has_changed = False  # that step has another kind, or reading, than the previous step
        self.why_late = ""  # the complaint if a login or a proof is late; "": it has no bound
        self._is_peers = False  # a peer has spoken here
        self.door: OpenDoor | None = None  # the one that the first bytes have opened
        self._requests: DoorRequests | None = None  # at this door

    @property
    def is_stranger(self) -> bool:
        """Whether the other side has sent nothing yet, or has to log in first."""
        return self._is_first_line or self._admission.is_stranger

    def announce(self) -> None:
        """Print the line about this connection, once."""
        announce, self._announce = self._announce, None
        if announce is not None:
            announce()

    # --- bytes and time --------------------------------------------------------------------------

    def receive_data(self, data: bytes, now_s: float) -> None:
        """Take bytes that arrived; b"" is the end of the stream."""
        self._now_s = self._admission.now_s = now_s
        self.is_between_lines = False
        if not data:
            self._end = End(HALF_LINES_FULL if self.lines.is_given_up else "")
            return
        if self._is_first_line and self.door is None and not (self._uncut or self.lines.begun):
            self._open_door(data)
        if self._requests is not None:
            self._requests.receive_data(data, now_s)
            if self.lines.due_s:
                self.pass_time(now_s)
        else:
            self._uncut += data

    def _open_door(self, data: bytes) -> None:
        """Give this connection to a door if these first bytes are of its protocol."""
        for door in self._doors:
            if door.opens_for(data):
                self.door = door.open(self._host, self._admission, self.lines)
                self._requests = self.door.requests
                return

    def _cut(self) -> bool:
        """Split the next lines off the bytes; return whether there is one.

        Only some are split at a time. Short lines take many times their bytes as objects, and may
        have to wait for a long time: a client that reads no replies delays them.
        """
        while self._uncut and not self._whole:
            data, end = self._uncut, len(self._uncut)
            if data.find(b"\n") == end - 1 and not (self.lines.begun or self.lines.due_s):
                self._whole.append(data[:-1])  # nearly always
                self._uncut = b""
                break
            if end > CUT_BYTES:
                end = data.find(b"\n", CUT_BYTES) + 1 or end
            self._uncut = data[end:]
            try:
                self._whole.extend(self.lines.feed(data[:end], self._now_s))
            except HalfLine as problem:
                self._end_late(problem)
        return bool(self._whole)

    def forget(self) -> None:
        """Drop the remaining input, since no more lines are served."""
        self._whole.clear()
        self._uncut, self._admitted, self._parsed = b"", [], None
        self.lines.forget()
        if self._requests is not None:
            self._requests.forget()

    def pass_time(self, now_s: float) -> None:
        """Check whether a line is late, after a while without bytes."""
        try:
            self.lines.check_time(now_s)
        except HalfLine as problem:
            self._end_late(problem)

    def _end_late(self, problem: HalfLine) -> None:
        self._end_now(self.why_late if isinstance(problem, Late) else HALF_LINE)

    def _end_now(self, complaint: str, *, drains: bool = False) -> End:
        """End now, and drop the lines that were not handed out."""
        self.forget()
        self._end, self.is_between_lines = End(complaint, drains), False
        return self._end

    def end(self, *, drains: bool = False) -> None:
        """End the input after the lines that were returned."""
        self._end_now("", drains=drains)

    def bound_strangers(self, now_s: float) -> None:
        """Bound the time for a proof that has begun, for the first line on a place for peers, and
        for a login that is required."""
        admission, due_s, why = self._admission, 0.0, ""
        if admission.awaits_proof or (self._for_peers_only and admission.must_prove):
            due_s, why = PROOF_S, f"nobody proved to be a member within {PROOF_S:g} s."
        elif self._for_peers_only and self._is_first_line:
            due_s, why = PROOF_S, f"the last places are for peers, and none spoke in {PROOF_S:g} s."
        elif admission.is_stranger:
            due_s, why = STRANGER_S, f"nobody logged in on this connection within {STRANGER_S:g} s."
        if why != self.why_late:
            self.why_late = why
            self.lines.due_s = now_s + due_s if why else 0.0
        self._is_peers = admission.speaks_for is not None
        if self._is_peers:
            self.lines.count_no_more()

    def end_call(self) -> None:
        """Take note that commands were served, since a login may be among them."""
        self.bound_strangers(self._now_s)

    # --- lines -----------------------------------------------------------------------------------

    def note_under_way(self, characters: int) -> None:
        """Note how many characters the requests have that are not answered."""
        trials = self._trials if self._requests is None else self._requests.trials
        trials.under_way = characters

    def next_step(self, *, may_wait: bool = True) -> Step | None:
        """Return the step for the next lines; None if more bytes are needed first. Unless the
        caller `may_wait`, also return None before a line that is not a request, or, at the floor,
        one that is beyond it."""
        if self._requests is not None:
            return self._next_door_step(self._requests, may_wait=may_wait)
        is_tried = self._takes_simple and self._announce is None and not self._is_peers
        batch = self._simple_batch() if is_tried else None
        run = self._next_run(may_wait=may_wait) if batch is None and self._mark is None else []
        is_left = self._whole or self._parsed or self._admitted or self._end or self.lines.begun
        self.is_between_lines = not (is_left or self._uncut)
        if batch is not None:
            return batch
        return self._step_of(run) if run else self._next_without_lines()

    def _note(self, kind: str, reading: Reading) -> None:
        """Note the kind of the lines of this step."""
        self.has_changed = kind != self.kind or reading != self._reading
        self.kind, self._reading = kind, reading

    def _next_door_step(self, requests: DoorRequests, *, may_wait: bool) -> Step | None:
        """Return the step for the next requests at a door."""
        self.announce()
        if self._for_peers_only:
            return self._end_now(FULL, drains=True)
        if (batch := self._plain_batch(requests)) is not None:
            self._is_first_line = False
            self.is_between_lines = not (requests.has_more or self._end)
            return batch
        run = self._next_door_run(requests, may_wait=may_wait)
        has_more = requests.has_more
        self.is_between_lines = not (has_more or self._end or self.lines.begun)
        if not run:
            return None if has_more else self._end
        self._is_first_line = False
        first = run[0].line
        self._note(run[0].kind, BY_ROUND if first is None else first.reading)
        if first is None or run[0].kind not in REQUESTS:
            return DoorRun(run)
        lines = [request.line for request in run if request.line is not None]
        batch = self._batch_of(lines, [request.id for request in run])
        requests.work.mark(batch)
        return batch

    def _plain_batch(self, requests: DoorRequests) -> Batch | None:
        """Return the next requests as one batch, if they are plain and the rules are those for
        everybody."""
        if not self._takes_simple or self.why_late or self._admission.has_rules:
            return None
        kind, reading = self._plain_read
        if kind == "local" or (run := requests.next_plain()) is None:
            return None
        self._note(kind if run.is_read else "write", reading if run.is_read else BY_ROUND)
        traffic_log = self._host.traffic_log
        if traffic_log.shows_requests(len(run.commands)):
            for command in run.commands:
                traffic_log.requested("", command)
        batch = Batch(run.commands, self.kind == "read", self._reading, run.ids, self._sink)
        batch.may_be_long = 0
        return batch

    def _next_door_run(self, requests: DoorRequests, *, may_wait: bool) -> Sequence[DoorRequest]:
        try:
            run = requests.next_run(may_wait=may_wait)
        except Malformed as problem:
            self._end_now(f"Protocol error: {problem}", drains=True)
            return []
        except HalfLine as problem:
            self._end_late(problem)
            return []
        if not run and not requests.has_more and self.lines.is_given_up:
            self._end_now(HALF_LINES_FULL)
        return run

    def _step_of(self, run: list[ParsedLine]) -> Step:
        """Return the step for admitted lines of one kind."""
        kind, reading = run[0].kind, run[0].reading
        self._note(kind, reading)
        is_bounded = kind in REQUESTS or (kind == "peer" and self._is_peers)
        if self.why_late or not is_bounded:
            self.bound_strangers(self._now_s)
        if self._for_peers_only and kind not in OF_PEERS:
            return self._end_now(FULL, drains=True)
        if kind not in REQUESTS:
            if kind == TRIED:
                self._show(run)
            return Run(run)
        batch = self._batch_of(run, [line.request.id for line in run])
        self._work.mark(batch)
        return batch

    def _show(self, run: list[ParsedLine]) -> None:
        traffic_log = self._host.traffic_log
        if traffic_log.shows_requests(len(run)):
            for line in run:
                traffic_log.requested(line.request.sender, line.text)

    def _batch_of(self, run: list[ParsedLine], ids: list[str]) -> Batch:
        """Return the batch of admitted requests of one kind."""
        self._show(run)
        is_read = self.kind == "read"
        commands, user = [], self._admission.named_in_log
        for line in run:
            request = line.request
            is_plain = is_read or not (request.id or user or request.verb in NAMED_IN_LOG)
            commands.append(request.command if is_plain else self._admission.logged(request))
        batch = Batch(commands, is_read, self._reading, ids, self._sink)
        batch.writer = self._admission.writer
        return batch

    def _simple_batch(self) -> Batch | None:
        """Return the next lines as one batch if they are simple requests, which need no individual
        checks; None if they are not. `_step_of` would make the same batch."""
        if self._is_first_line or self._parsed is not None or self._admitted or self.why_late:
            return None
        if self._mark is not None or self._admission.has_rules:
            return None
        requests: list[tuple[str, str, str]] = []
        ways: tuple[str, Reading] | None = None
        while self._whole or (self._uncut and self._cut()):
            count = REQUESTS_TOGETHER - len(requests)
            ways, more = take_simple(self._whole, count, self._plain_read, ways)
            if not more:
                break
            requests += more
        if ways is None:
            return None
        is_read = ways[0] == "read"
        traffic_log = self._host.traffic_log
        if traffic_log.shows_requests(len(requests)):
            for sender, _, command in requests:
                traffic_log.requested(sender, command)
        commands: Sequence[str]
        _, ids, commands = zip(*requests, strict=True)
        if not is_read and any(ids):
            commands = [
                numbered(sender, number, command) if number else command
                for sender, number, command in requests
            ]
        self._note(*ways)
        batch = Batch(commands, is_read, ways[1], ids, self._sink)
        batch.may_be_long = 0
        return batch

    def _next_run(self, *, may_wait: bool) -> list[ParsedLine]:
        """Admit the next lines, as long as they are of one kind. A line is admitted only after the
        lines before it, since one of them may be a login."""
        host, admit = self._host, self._admission.admit
        run, self._admitted = self._admitted, []
        line, self._parsed = self._parsed, None
        work = self._work = RunWork(host.is_quick)
        if not run:
            self._trials.begin_run()
        while (line := line or self._next_parsed(may_wait=may_wait)) is not None:
            is_tried = line.kind == "write" and self._needs_trial(line)
            takes_time = not may_wait and (
                is_tried
                or line.kind not in REQUESTS
                or (host.is_at_floor and line.request.verb in BEYOND_FLOOR)
            )
            if takes_time or (run and (line.kind != run[0].kind or line.reading != run[0].reading)):
                self._parsed = line
                break
            line = admit(line)
            if is_tried and line.kind == "write":
                line.kind = TRIED
            if run and line.kind != run[0].kind:  # for example, because it is refused
                self._admitted = [line]
                break
            run.append(line)
            if line.request.verb in MAY_TAKE_LONG:
                work.add(line.request.command)
            if work.is_full or len(run) >= MOST.get(line.kind, LINES_TOGETHER):
                break  # lines of other connections go between this run and the next
            line = None
        return run

    def _next_parsed(self, *, may_wait: bool) -> ParsedLine | None:
        """Parse the next line; return None without one, before another step, and before a long
        line unless the caller `may_wait`."""
        whole = self._whole
        if not (whole or (self._uncut and self._cut())):
            return None
        raw, host = whole[0], self._host
        is_new = self._is_first_line or self._announce is not None
        is_odd = len(raw) > self._short or not raw.isascii() or is_host_header(raw)
        if (is_new or is_odd) and self._is_preceded(raw):
            return None
        is_long = len(raw) > LONG_BYTES and not self._is_peers
        if is_long and not may_wait:
            return None
        with self.lines.turn if is_long else nullcontext():
            return parse(whole.popleft(), host.limits, host.readings, host.name)

    def _needs_trial(self, line: ParsedLine) -> bool:
        command = line.request.command
        if line.request.verb in MAY_TAKE_LONG:
            return self._trials.are_needed(command)
        self._trials.add(command)
        return False

    def _is_preceded(self, raw: bytes) -> bool:
        """Whether another step precedes the next line: the answer to its mark, or the end of the
        connection."""
        if self._announce is not None and not asks_status(raw):
            self.announce()
        if self._is_first_line or is_host_header(raw):
            self._is_first_line = False
            if foreign := looks_foreign(raw):
                self._end_now(foreign, drains=True)
                return True
        if len(raw) > self._short and self._is_too_long(raw[:80], len(raw)):
            return True
        if b"\xff" in raw and TIMING_MARK in raw and not self._is_marked:
            self._is_marked, self._mark = True, TimingMark()
            return True
        self._is_marked = False
        return False

    def _is_too_long(self, beginning: bytes, size: int) -> bool:
        """Whether a line exceeds its limit; then end the input."""
        longest = self._admission.longest(beginning)
        if size > longest:
            self.announce()
            self._end_now(self._admission.why_too_long(longest), drains=True)
        return size > longest

    def _next_without_lines(self) -> Step | None:
        """Return a step that precedes the next line, or replaces it."""
        if self._mark is not None:
            mark, self._mark = self._mark, None
            return mark
        if self._parsed is None and self._end is None and self.lines.begun:
            if self.lines.is_given_up:
                self._end_now(HALF_LINES_FULL)
            else:
                self._is_too_long(bytes(self.lines.begun[:80]), self.lines.size)
        return self._end if self._parsed is None else None
