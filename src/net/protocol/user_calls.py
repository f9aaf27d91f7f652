"""The turns of a user for what its connections compute themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from ...wire.refusal import NOT_REACHED, RequestRefused
from .host import Batch, RequestHost
from .outgoing_protocol import OutgoingProtocol
from .waits import AwaitReplies, ReserveRoom, Wait, Waits

PAUSE_PART: Final = 3  # times as long as a turn took, before the next one of a crowd
PAUSE_S_MAX: Final = 0.05

_Result = TypeVar("_Result")


class NotReached(RequestRefused):
    """A call waited too long for its first turn."""


class UserCalls:
    """Carries out the calls and the local lines of one connection, one at a time.

    They are served by the connection's own thread, not in the queue of requests. So each computes
    only while its user has a turn: then a user keeps few threads busy, however many connections it
    has. If more of its calls wait, each turn ends with a pause: a thread that runs all the time
    would keep the interpreter from the threads that answer members and other users. Without users a
    node counts by connection, and each has its turn.

    A turn ends before each wait. The next one begins after an answer, or together with the room for
    a long reply. The rest after a wait for the reader computes nothing, so it takes no turn. A call
    never waits for its turn while it holds room that other users may wait for: it is given back
    until there is a turn as well.
    """

    def __init__(self, host: RequestHost, outgoing: OutgoingProtocol) -> None:
        self._host = host
        self._outgoing = outgoing
        self._user = ""  # whose turn this call has
        self._has_turn = False
        self._begun_s = 0.0

    def carry_out(self, program: Waits[_Result], *, needs_first: bool = True) -> Waits[_Result]:
        """Carry out a machine. Unless it `needs_first`, it computes nothing before its first wait,
        and takes no turn for that.

        Raises:
            NotReached: its first turn did not come in time. It was not begun.
        """
        if self._outgoing.user is None:
            return (yield from program)
        try:
            if needs_first and not (yield from self._take_turn(is_first=True)):
                raise NotReached(NOT_REACHED)
            wait = next(program)
            while True:
                result = yield from self._waited(wait)
                wait = program.send(result)
        except StopIteration as end:
            yield from self._leave_turn()
            value: _Result = end.value
            return value
        finally:
            self._give_back()
            program.close()

    def _waited(self, wait: Wait) -> Waits[bool]:
        """Wait without a turn; then take the turn for what is computed next."""
        if isinstance(wait, ReserveRoom):
            yield from self._reserve(wait)
            return True
        yield from self._leave_turn()
        result = yield wait
        if isinstance(wait, AwaitReplies):
            yield from self._take_turn()
        return result

    def _reserve(self, wait: ReserveRoom) -> Waits[None]:
        """Wait until there is both room and a turn, and take them together."""
        room = self._host.reply_room
        while not (self._has_turn and room.reserve_now(wait.holder, in_turn=wait.in_turn)):
            yield from self._leave_turn()
            yield wait
            ticket = self._ticket()
            if self._takes(ticket):
                return
            room.give(wait.holder)
            yield from self._await_turn(ticket)

    def _take_turn(self, *, is_first: bool = False) -> Waits[bool]:
        """Wait for a turn; return whether it came, which only a first one may not do in time."""
        ticket = self._ticket()
        return self._takes(ticket) or (yield from self._await_turn(ticket, is_first=is_first))

    def _takes(self, ticket: Batch) -> bool:
        """Take a turn if one is free; return whether it was."""
        self._user = self._outgoing.user or ""
        is_free = self._host.calls.take(self._user, ticket)
        if is_free:
            self._begin()
        return is_free

    def _await_turn(self, ticket: Batch, *, is_first: bool = False) -> Waits[bool]:
        try:
            while not (yield AwaitReplies(ticket, self._host.patience_s)) and not is_first:
                pass
        finally:  # perhaps the connection ends
            if not self._host.calls.give_up(self._user, ticket):
                self._begin()
        return self._has_turn

    def _begin(self) -> None:
        self._has_turn = True
        self._begun_s = self._host.calls.now_s()

    def _leave_turn(self) -> Waits[None]:
        """Give the turn to the next call of the user, if one waits after a pause."""
        turns = self._host.calls
        if self._has_turn and turns.are_awaited(self._user):
            used_s = turns.now_s() - self._begun_s
            yield AwaitReplies(self._ticket(), min(PAUSE_S_MAX, PAUSE_PART * used_s))
        self._give_back()

    def _give_back(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._host.calls.leave(self._user)

    def _ticket(self) -> Batch:
        return Batch([], is_read=True, asker=self._outgoing)

    def without_turn(self, act: Callable[[], _Result]) -> _Result:
        """Do what may wait by itself: a login."""
        self._give_back()
        return act()

    def compute(self) -> Waits[None]:
        """Take a turn of the current user from now on, also after a login."""
        if not (self._has_turn or self._outgoing.user is None):
            answered = self._ticket()
            answered.wake()
            yield AwaitReplies(answered, 0.0)  # after which `carry_out` takes one
