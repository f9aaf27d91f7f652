"""The watches of one connection: the requests for them, and their first lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raftline.net.host import Batch, Host
from raftline.net.outgoing import Outgoing, Replies
from raftline.wire.commands import Request
from raftline.wire.parsing import Reading
from raftline.wire.protocol import NO_LEADER
from raftline.wire.watches import watch_operands

CONFIRMED = Reading(may_ask=True)  # on any member: a follower asks its leader


class Watching:
    """Serves `watch` and `unwatch` for the thread of a connection.

    A watch begins with the state as of a confirmed read, so one that begins anew elsewhere never
    goes back in time (thesis §6.4). One that goes on behind an entry which this node has applied
    needs no such read: it tells what is committed, from there on.
    """

    def __init__(
        self,
        host: Host,
        outgoing: Outgoing,
        replies: Replies,
        why_not: Callable[[str], str],
    ) -> None:
        """`why_not` tells whether a command is refused to whoever is logged in by now."""
        self._host = host
        self._outgoing = outgoing
        self._replies = replies
        self._why_not = why_not
        self._has_watched = False

    def serve(self, requests: Sequence[Request]) -> None:
        """Serve requests that came together, in order."""
        opened: list[Request] = []
        for request in requests:
            if request.verb == "watch":
                opened.append(request)
                continue
            self._open(opened)
            opened = []
            reply = self._host.watchers.unwatch(self._outgoing, request.id)
            self._outgoing.wait_until_empty()  # behind all that this watch was told
            self._replies.add(request.id, reply)
        self._open(opened)

    def end(self) -> None:
        """Forget all watches, since this connection ends."""
        if self._has_watched:
            self._host.watchers.drop(self._outgoing)

    def end_refused(self, why_not: Callable[[str], str]) -> None:
        """End the watches that are refused by now; any thread may call this."""
        if self._has_watched:
            self._host.watchers.end_refused(self._outgoing, why_not)

    def _open(self, requests: Sequence[Request]) -> None:
        """Begin watches; those that need a confirmed read share one."""
        if not requests:
            return
        self._has_watched = True
        watchers = self._host.watchers
        asked = [(one.id, watch_operands(one.command)) for one in requests]
        is_needed = [watchers.needs_confirming(one) for _, one in asked]
        refusal = self._confirm() if any(is_needed) else ""
        is_refused = [bool(refusal) and needed for needed in is_needed]
        taken = [one for one, refused in zip(asked, is_refused, strict=True) if not refused]
        first_lines = iter(watchers.open(self._outgoing, taken))
        for request, refused in zip(requests, is_refused, strict=True):
            for line in [refusal] if refused else next(first_lines):
                self._replies.add(request.id, line)
        self._replies.flush()
        if any(self._why_not(request.command) for request in requests):  # by rights that are new
            self.end_refused(self._why_not)
        self._outgoing.pump()

    def _confirm(self) -> str:
        """Wait until this node has applied all that was committed when this began; return why
        that can't be known, "" where it has."""
        batch = Batch(["watch"], is_read=True, reading=CONFIRMED)
        self._host.submit(batch)
        if not batch.wait(self._host.patience_s):
            return NO_LEADER
        return batch.replies[0] if batch.replies else ""
