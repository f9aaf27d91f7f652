"""The requests of one connection whose lines follow later: `watch`, `observe`, and their ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...wire.commands.command_table import Request
from ...wire.commands.observe_lines import observe_operands
from ...wire.commands.parsing import Reading
from ...wire.commands.watch_lines import watch_operands
from ...wire.refusal import error
from .host import Batch, WatchHost
from .outgoing_protocol import OutgoingProtocol
from .waits import AwaitReplies, Replies, WaitFor, Waits

CONFIRMED = Reading(may_ask=True)  # works on any member: a follower asks its leader


class _Begun:
    """Requests of one connection whose lines follow later, until it ends them."""

    def __init__(
        self,
        host: WatchHost,
        outgoing: OutgoingProtocol,
        replies: Replies,
        why_not: Callable[[str], str],
    ) -> None:
        """`why_not` returns why the present user may not run a command, "" if it may."""
        self._host = host
        self._outgoing = outgoing
        self._replies = replies
        self._why_not = why_not
        self.has_begun = False  # a watch: at least once; an observation: it has not ended


class WatchSubscriptions(_Begun):
    """Serves `watch` and `unwatch`.

    A watch begins with the state of a confirmed read, so a watch that restarts on another node
    never goes back in time (thesis §6.4). A watch that resumes after an entry that this node has
    applied needs no such read: it continues with committed events.
    """

    def serve(self, requests: Sequence[Request]) -> Waits[None]:
        """Serve requests that arrived together, in order."""
        to_open: list[Request] = []
        for request in requests:
            if request.verb == "watch":
                to_open.append(request)
                continue
            yield from self._open(to_open)
            to_open = []
            reply = self._host.watchers.unwatch(self._outgoing, request.id)
            yield WaitFor.EMPTY  # the reply follows all lines of this watch
            yield from self._replies.add_in_pieces(request.id, reply)
        yield from self._open(to_open)

    def end(self) -> None:
        """Forget all watches, since this connection ends."""
        if self.has_begun:
            self._host.watchers.drop(self._outgoing)

    def end_refused(self, why_not: Callable[[str], str]) -> None:
        """End the watches that are no longer allowed; any thread may call this."""
        if self.has_begun:
            self._host.watchers.end_refused(self._outgoing, why_not)

    def _open(self, requests: Sequence[Request]) -> Waits[None]:
        """Begin watches; the watches that need a confirmed read share it."""
        if not requests:
            return
        self.has_begun = True
        watchers = self._host.watchers
        operands = [(one.id, watch_operands(one.command)) for one in requests]
        is_needed = [watchers.needs_confirming(one) for _, one in operands]
        refusal = (yield from self._confirm()) if any(is_needed) else ""
        is_refused = [bool(refusal) and needed for needed in is_needed]
        accepted = [one for one, refused in zip(operands, is_refused, strict=True) if not refused]
        first_lines = iter(watchers.open(self._outgoing, accepted))
        for request, refused in zip(requests, is_refused, strict=True):
            for line in [refusal] if refused else next(first_lines):
                yield from self._replies.add_in_pieces(request.id, line)
        yield from self._replies.flush()
        self._outgoing.pump()

    def _confirm(self) -> Waits[str]:
        """Wait until this node has applied all entries that were committed when this began; return
        a refusal if that can't be confirmed, otherwise ""."""
        batch = Batch(["watch"], is_read=True, reading=CONFIRMED, asker=self._outgoing)
        self._host.submit(batch)
        if not (yield AwaitReplies(batch, self._host.patience_s)):
            return self._host.not_confirmed()
        return batch.replies[0] if batch.replies else ""


class ObserveSubscription(_Begun):
    """Serves `observe` and `unobserve`; a connection observes once at a time."""

    def serve(self, requests: Sequence[Request]) -> Waits[None]:
        """Serve requests that arrived together, in order."""
        observers = self._host.observers
        for request in requests:
            if request.verb == "observe":
                observed, self.has_begun = self.has_begun, True
                operands = observe_operands(request.command)
                if refusal := observers.open(self._outgoing, request.id, operands):
                    self.has_begun = observed
                    yield from self._replies.add_in_pieces(request.id, refusal)
                elif why := self._why_not(request.command):  # if rights have changed
                    self.end()
                    yield from self._replies.add_in_pieces(request.id, error(why))
            else:
                reply = observers.close(self._outgoing)
                yield WaitFor.EMPTY  # the reply follows all lines of this observation
                self.has_begun = False
                yield from self._replies.add_in_pieces(request.id, reply)

    def end(self) -> None:
        """End the observation, without a line about it."""
        if self.has_begun:
            self._host.observers.close(self._outgoing)
            self.has_begun = False
