"""Serving the lines of one connection, in order, as a machine that yields its waits.

It has no socket, no thread and no clock. The thread of a `Connection` runs it, or a schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from operator import attrgetter
from typing import Final

from ...wire.refusal import error
from .admission import Admission
from .doors import DoorServing
from .host import Batch, Origin, ServingHost
from .local_commands import LocalCommands
from .outgoing_protocol import OutgoingProtocol
from .server_protocol import DoorRun, End, Run, ServerProtocol, Step, TimingMark
from .subscriptions import ObserveSubscription, WatchSubscriptions
from .user_calls import UserCalls
from .waits import Replies, SendBytes, WaitFor, Waits

NO_TIMING_MARK: Final = b"\xff\xfc\x06"  # RFC 860
_MESSAGE: Final = attrgetter("message")  # of a line


class Ending(Enum):
    """Whether a connection has to end, since rights have changed."""

    NONE = auto()
    AT_ONCE = auto()  # it may no longer observe
    # Its user is gone. A write of this user may be in the log: its reply says whether it was done.
    AFTER_REPLIES = auto()


class Serving:
    """Serves the steps of a `ServerProtocol`: it submits requests, answers other lines, and sends
    their replies together, in the order of the lines."""

    def __init__(
        self,
        host: ServingHost,
        origin: Origin,
        protocol: ServerProtocol,
        admission: Admission,
        outgoing: OutgoingProtocol,
        break_off: Callable[[], None],
        address: Callable[[], str],
    ) -> None:
        """`origin` takes the answers to peers, `break_off` ends the connection, and `address`
        returns where it comes from."""
        self._host = host
        self._origin = origin
        self._protocol = protocol
        self._admission = admission
        self._outgoing = outgoing
        outgoing.denial_by_now, outgoing.reads_by = admission.denial_by_now, admission.reads_by
        self._break_off = break_off
        self._replies = Replies(host.name, outgoing)
        self._calls = UserCalls(host, outgoing)
        self._local_commands = LocalCommands(
            host, admission, outgoing, self._replies, self._calls, break_off, address
        )
        why_refused = admission.denial_reason
        self._watching = WatchSubscriptions(host, outgoing, self._replies, why_refused)
        self._observing = ObserveSubscription(host, outgoing, self._replies, why_refused)
        self._at_door: DoorServing | None = None
        self._left: Step | None = None  # a step that `take_now` left to `steps`
        self._rights: object = None  # the users by whose rights the last step was admitted
        self._has_lost_user = False  # it is gone, or has another password
        self.drains = False  # at the end, incoming bytes are discarded for a while

    @property
    def is_control(self) -> bool:
        """Whether this is a controller's connection, which outlives a node that is shut down."""
        return self._local_commands.is_control

    def steps(self) -> Waits[None]:
        """Serve until the end."""
        protocol, outgoing, replies = self._protocol, self._outgoing, self._replies
        outgoing.user = self._admission.user  # by a certificate
        while True:
            step, self._left = self._left, None
            if step is None and not protocol.is_between_lines:
                step = self._next_step()
            if step is None:
                if replies.lines:
                    yield SendBytes(replies.take())
                if outgoing.is_full():
                    yield WaitFor.ROOM
                yield WaitFor.BYTES
                continue
            if isinstance(step, End):
                break
            if not isinstance(step, Batch):
                yield from self._serve(step)
                continue
            yield from self._hand_over(step)
        yield from self._end(step)

    def _next_step(self, *, may_wait: bool = True) -> Step | None:
        rights = self._rights = self._admission.users
        self._protocol.note_under_way(self._outgoing.under_way)
        step, door = self._protocol.next_step(may_wait=may_wait), self._protocol.door
        if isinstance(step, Batch):
            step.rights = rights
        if door is not None and self._at_door is None:
            self._at_door = door.serving(
                self._outgoing, self._replies, self._calls, self._break_off, self._note_user
            )
        return step

    def _hand_over(self, batch: Batch) -> Waits[None]:
        if self._protocol.has_changed:  # a later request must see the effects of earlier ones
            yield WaitFor.EMPTY
        if self._replies.lines:
            yield SendBytes(self._replies.take())
        if self._outgoing.is_full():
            yield WaitFor.ROOM
        self._outgoing.add(batch)
        self._host.submit(batch)

    def _end(self, step: End) -> Waits[None]:
        if step.complaint:
            self._replies.add("", error(step.complaint))
        yield from self._replies.flush()
        yield WaitFor.EMPTY
        self.drains = step.drains or self._has_lost_user  # the client may have sent more

    def _serve(self, step: TimingMark | Run | DoorRun) -> Waits[None]:
        if isinstance(step, TimingMark):
            yield from self._replies.flush()  # of the lines before it
            yield SendBytes(NO_TIMING_MARK)  # between two replies
            return
        if self._protocol.has_changed:
            yield WaitFor.EMPTY
        if isinstance(step, DoorRun):
            assert self._at_door is not None  # since `_next_step`
            yield from self._at_door.serve(step.requests, self._rights)
            self._protocol.end_call()
            if self._at_door.ends:
                self._protocol.end()
            return
        kind, lines = self._protocol.kind, step.lines
        if kind == "peer":
            if self._replies.lines:
                yield from self._replies.flush()
            messages = list(filter(None, map(_MESSAGE, lines)))
            for complaint in self._host.hear(messages, self._origin):
                yield from self._replies.add_in_pieces("", error(complaint))
        elif kind == "watch":
            yield from self._watching.serve([one.request for one in lines])
        elif kind == "observe":
            yield from self._replies.flush()
            yield from self._observing.serve([one.request for one in lines])
        else:
            self._note_user()  # a login may be among these
            yield from self._local_commands.serve(kind, lines, self._rights)

    def _note_user(self) -> None:
        """Note who is logged in. Work that another user began on this connection ends, unless this
        one may have it as well. After an observation the connection ends with the login's reply."""
        before, self._outgoing.user = self._outgoing.user, self._admission.user
        if before not in (None, self._outgoing.user) and self.end_refused() is Ending.AT_ONCE:
            self._observing.end()
            self._protocol.end(drains=True)

    def complaint(self, problem: str) -> bytes:
        """Return the queued replies, followed by a complaint."""
        self._replies.add("", error(problem))
        return self._replies.take()

    def end(self) -> None:
        """Drop watches, backups and remaining input, since this connection ends."""
        self._watching.end()
        self._observing.end()
        if self._at_door is not None:
            self._at_door.end()
        self._local_commands.end()
        self._left = None
        self._protocol.forget()

    # --- another reader --------------------------------------------------------------------------

    def take_now(self) -> Batch | None:
        """Return the next batch of requests if it need not wait; the caller submits it. Leave any
        other step to `steps`."""
        step = self._next_step(may_wait=False)
        is_next = not self._protocol.has_changed or self._outgoing.is_empty()
        if isinstance(step, Batch) and is_next:
            self._outgoing.add(step)
            return step
        self._left = step
        return None

    @property
    def is_between_lines(self) -> bool:
        """Whether `steps` has nothing to do until more bytes arrive."""
        return self._left is None and self._protocol.is_between_lines

    # --- changed rights, from any thread ---------------------------------------------------------

    def end_refused(self) -> Ending:
        """End the watches that are no longer allowed; return whether the connection has to end,
        too."""
        login = self._admission.login
        if login is None:
            return Ending.NONE
        now, observes = login.now(), self._observing.has_begun
        if observes and (now is None or login.denial_by_now("observe")):
            return Ending.AT_ONCE
        self._watching.end_refused(login.denial_by_now)
        if self._at_door is not None:
            self._at_door.end_refused(login.denial_by_now)
        if now is not None and not login.lost_user:
            return Ending.NONE
        self._has_lost_user = True
        return Ending.AFTER_REPLIES
