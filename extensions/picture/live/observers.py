"""The observers of a node, which get each step of the core, and their thread.

An observed step costs the copy of some facts, and a place in a bounded queue. A separate thread
explains the steps and sends the lines, so no reader delays the node. Without an observer there is
no thread, and the core only checks one field.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from raftline.common.process.guarded_thread import begin_thread
from raftline.common.process.wakeup import Wakeup
from raftline.net.protocol.host import EventSink
from raftline.node.clock import SYSTEM, Clock
from raftline.raft.effects import Effects
from raftline.raft.inputs import Receive
from raftline.raft.messages import AppendEntries, Message
from raftline.raft.node import RawNode
from raftline.wire.commands import observe_lines as words
from raftline.wire.commands.observe_lines import ObserveAsked
from raftline.wire.limits import (
    OBSERVED_CHARACTERS,
    OBSERVED_LINES,
    OBSERVED_STEPS,
    OBSERVERS_MAX,
    PIECE_CHARACTERS,
)

from ..observe import step_lines
from ..observe.facts import Facts, Step, facts_of
from ..observe.step_lines import Thinning

GATHER_S = 0.01  # steps within this time share a send, to interrupt the core's threads less often
PIECE_LINES = 200


class Observer:
    """A connection that observes; a `Backlog` of its lines."""

    def __init__(
        self, name: str, request_id: str, sink: EventSink, asked: ObserveAsked, first: int = 0
    ) -> None:
        """`first` is the number of the first step that this observer gets."""
        self.first = first
        self.sink = sink
        self.asked = asked
        self.thinning = Thinning(is_all=asked.is_all)
        self.sent = 0
        self._head = f"{name}#{request_id}@" if request_id else f"{name}@"
        self._lock = threading.Lock()
        self._lines: deque[str] = deque()
        self._characters = 0  # of these lines, approximately
        self._lost = 0
        self._is_source = False
        self._has_ended = False

    def put(self, line: str) -> None:
        """Keep a line until the reader takes it, or count it as lost."""
        with self._lock:
            if self._has_ended:
                return
            if len(self._lines) >= OBSERVED_LINES or self._characters >= OBSERVED_CHARACTERS:
                self._lost += 1
                return
            if self._lost:
                self._lines.append(self._head + step_lines.lost(self._lost))
                self._characters += len(self._lines[-1])
                self._lost = 0
            self._lines.append(self._head + line)
            self._characters += len(self._lines[-1])
            self.sent += 1

    def lose(self, count: int) -> None:
        """Count lines that were not made because too many steps waited."""
        with self._lock:
            self._lost += count

    def begins_to_tell(self) -> bool:
        """Whether it has lines that its connection does not read yet. From this call on, the
        connection reads them."""
        with self._lock:
            begins = bool(self._lines) and not self._is_source
            self._is_source = self._is_source or begins
            return begins

    def end(self) -> int:
        """Send nothing more; return how many lines were sent."""
        with self._lock:
            self.sent -= len(self._lines)
            self._lines.clear()
            self._characters, self._has_ended = 0, True
            return self.sent

    def next_piece(self) -> bytes:
        with self._lock:
            piece: list[str] = []
            room = PIECE_CHARACTERS
            while self._lines and len(piece) < PIECE_LINES and room > 0:
                piece.append(self._lines.popleft())
                room -= len(piece[-1])
            self._characters = self._characters - PIECE_CHARACTERS + room if self._lines else 0
            self._is_source = bool(piece)
        return ("\n".join(piece) + "\n").encode("utf-8", "replace") if piece else b""


class ObserverRegistry:
    """All observers of a node; `net.protocol.host.Observers` documents its methods."""

    def __init__(self, name: str, say: Callable[[str], None], clock: Clock = SYSTEM) -> None:
        """`say` prints a line on the console."""
        self._clock = clock
        self._name = name
        self._say = say
        self._node: RawNode | None = None
        self._core: AbstractContextManager[object] = threading.Lock()  # that of the driver, later
        self._facts: Facts | None = None
        self._steps: deque[tuple[int, Step]] = deque()  # each with its number
        self._count = 0  # of recorded steps
        self._lost_steps = 0
        self._lock = threading.Lock()  # for `_observers`, and for the thread's start and end
        self._observers: dict[EventSink, Observer] = {}
        self._wakeup = Wakeup()
        # Start and wake the thread that sends; a schedule has no thread. Both are called with a
        # lock held.
        self.begin_sending: Callable[[], bool] = self._begin_thread
        self.wake: Callable[[], None] = self._wakeup.set
        self._has_sender = False

    def follow(self, node: RawNode, core: AbstractContextManager[object]) -> None:
        """Observe this node from now on. It is stepped under `core`, and has not started yet."""
        with self._lock:
            self._node, self._core = node, core
            if self._observers:
                self._facts, node.observer = facts_of(node.view), self

    # --- the thread that steps the core, with `core` held ---------------------------------------

    def stepped(self, event: object, effects: Effects) -> None:
        self._note(event, effects, "")

    def refused(self, message: Message, why: str) -> None:
        """Record a message that was refused and changed nothing."""
        self._note(Receive(message), Effects(), why)

    def _note(self, event: object, effects: Effects, refusal: str) -> None:
        """Record a step; no error here may reach the node."""
        try:
            node, before = self._node, self._facts
            if node is None or before is None:
                return
            after = self._facts = facts_of(node.view)
            if len(self._steps) >= OBSERVED_STEPS:
                self._lost_steps += 1
                return
            there = None
            if isinstance(event, Receive) and isinstance(event.message, AppendEntries):
                there = node.view.log.term_at(event.message.prev_index)
            at_s = self._clock.now_s()
            step = Step(self._name, at_s, before, event, effects, after, refusal, there)
            self._steps.append((self._count, step))
            self._count += 1
            self.wake()
        except Exception:
            self._lost_steps += 1

    # --- a connection's thread ------------------------------------------------------------------

    def open(self, sink: EventSink, request_id: str, asked: ObserveAsked) -> str:
        with self._lock:
            node = self._node
            if sink in self._observers:
                return words.OBSERVES_ALREADY
            if node is None or len(self._observers) >= OBSERVERS_MAX or not self.begin_sending():
                return words.too_many(OBSERVERS_MAX)
            with self._core:
                observer = Observer(self._name, request_id, sink, asked, self._count)
                facts = facts_of(node.view)
                if node.observer is None:
                    self._facts, node.observer = facts, self
                observer.put(
                    step_lines.hello(self._name, self._clock.now_s(), facts, node.view.log, asked)
                )
                self._observers[sink] = observer
        self._send(observer)
        return ""

    def close(self, sink: EventSink) -> str:
        """End the observation of a connection; return the reply."""
        with self._lock:
            observer = self._observers.pop(sink, None)
            if not self._observers and self._node is not None:
                with self._core:
                    self._node.observer = self._facts = None
                    self._steps.clear()
                self.wake()
        return words.NOT_OBSERVING if observer is None else words.ended(observer.end())

    def _begin_thread(self) -> bool:
        """Start the thread that sends; return whether there is one."""
        if not self._has_sender:
            try:
                begin_thread(self._run, f"{self._name} observed", self._ended_by)
            except RuntimeError:  # no thread can be started
                return False
            self._has_sender = True
        return True

    # --- the thread that sends ------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wakeup.wait()
            time.sleep(GATHER_S)
            self.send_gathered()
            with self._lock:
                if not self._observers:
                    self._has_sender = False
                    return

    def _ended_by(self, error: Exception) -> None:
        """Disconnect all observers, as no thread sends to them any longer; they may reconnect."""
        with self._lock:
            self._has_sender = False
            sinks = list(self._observers)
        self._say(f"[!] {self._name}: the observers are disconnected: {error!r}")
        for sink in sinks:
            sink.break_off()

    def send_gathered(self) -> None:
        """Send the lines of all queued steps."""
        while self._steps:
            steps = list(self._take_steps())
            with self._lock:  # later than the steps: all of their observers are here
                observers = list(self._observers.values())
            lost_steps, self._lost_steps = self._lost_steps, 0
            for observer in observers:
                observer.lose(lost_steps)
            for number, step in steps:
                self._tell_step(step, [one for one in observers if one.first <= number])
            for observer in observers:
                self._send(observer)

    def _take_steps(self) -> Iterator[tuple[int, Step]]:
        """Take some of the queued steps."""
        for _ in range(PIECE_LINES):
            try:
                yield self._steps.popleft()
            except IndexError:  # the queue is empty, or the last observer has left
                return

    def _send(self, observer: Observer) -> None:
        if observer.begins_to_tell():
            observer.sink.resume([observer])

    def _tell_step(self, step: Step, observers: list[Observer]) -> None:
        takers = [observer for observer in observers if observer.thinning.takes(step)]
        if not takers:
            return
        try:
            one = step_lines.explained(step)
            for observer in takers:
                form = step_lines.json_of if observer.asked.as_json else step_lines.text_of
                observer.put(form(one, observer.thinning.count()))
        except Exception as error:  # the reader misses a line, and the node continues
            for observer in takers:
                observer.lose(1)
            self._say(f"[!] {self._name}: a step can't be explained: {error!r}")
