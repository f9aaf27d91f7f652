"""The turns of a user for what its connections compute themselves."""

from __future__ import annotations

from typing import Final, TypeVar

from .host import Batch, Host
from .outgoing_protocol import OutgoingProtocol
from .waits import AwaitReplies, Waits

PAUSE_PART: Final = 3  # times as long as a turn took, before the next one of a crowd
PAUSE_S_MAX: Final = 0.05

_Result = TypeVar("_Result")


class UserCalls:
    """Carries out the calls and the local lines of one connection, one at a time.

    They are served by the connection's own thread, not in the queue of requests. So each computes
    only while its user has a turn: then a user keeps few threads busy, however many connections it
    has. If more of its calls wait, each turn ends with a pause: a thread that runs all the time
    would keep the interpreter from the threads that answer members and other users. Without users a
    node counts by connection, and each has its turn.
    """

    def __init__(self, host: Host, outgoing: OutgoingProtocol) -> None:
        self._host = host
        self._outgoing = outgoing
        self._user = ""  # whose turn this call has
        self._has_turn = False
        self._begun_s = 0.0

    def carry_out(self, program: Waits[_Result]) -> Waits[_Result]:
        """Carry out a machine; it has a turn between its waits, and none while it waits."""
        user = self._outgoing.user
        if user is None:
            return (yield from program)
        try:
            yield from self._take_turn(user)
            wait = next(program)
            while True:
                yield from self._leave_turn()
                result = yield wait
                yield from self._take_turn(user)
                wait = program.send(result)
        except StopIteration as end:
            yield from self._leave_turn()
            value: _Result = end.value
            return value
        finally:
            self._give_back()
            program.close()

    def _take_turn(self, user: str) -> Waits[None]:
        """Wait for a turn; if it takes too long, continue without one."""
        turns, ticket = self._host.calls, Batch([], is_read=True, asker=self._outgoing)
        self._user = user
        self._has_turn = turns.take(user, ticket)
        if not self._has_turn:
            try:
                yield AwaitReplies(ticket, self._host.patience_s)
            finally:  # perhaps the connection ends
                self._has_turn = not turns.give_up(user, ticket)
        self._begun_s = turns.now_s()

    def _leave_turn(self) -> Waits[None]:
        """Give the turn to the next call of the user, if one waits after a pause."""
        turns = self._host.calls
        if self._has_turn and turns.are_awaited(self._user):
            used_s = turns.now_s() - self._begun_s
            never = Batch([], is_read=True, asker=self._outgoing)
            yield AwaitReplies(never, min(PAUSE_S_MAX, PAUSE_PART * used_s))
        self._give_back()

    def _give_back(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self._host.calls.leave(self._user)
