"""The `observe` and `unobserve` of one connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from raftline.net.host import Host
from raftline.net.outgoing import Outgoing, Replies
from raftline.wire.commands import Request
from raftline.wire.observing import observe_operands
from raftline.wire.protocol import error


class Observing:
    """Serves them for the thread of a connection; it observes once at a time."""

    def __init__(
        self,
        host: Host,
        outgoing: Outgoing,
        replies: Replies,
        why_not: Callable[[str], str],
    ) -> None:
        """Prepare; `why_not` tells why whoever is logged in may not have a command done."""
        self._host = host
        self._outgoing = outgoing
        self._replies = replies
        self._why_not = why_not
        self.has_observed = False

    def serve(self, requests: Sequence[Request]) -> None:
        """Serve requests that came together, in order."""
        observers = self._host.observers
        for request in requests:
            if request.verb == "observe":
                self.has_observed = True
                asked = observe_operands(request.command)
                if refusal := observers.open(self._outgoing, request.id, asked):
                    self._replies.add(request.id, refusal)
                elif why := self._why_not(request.command):  # by rights that are new
                    observers.close(self._outgoing)
                    self._replies.add(request.id, error(why))
            else:
                reply = observers.close(self._outgoing)
                self._outgoing.wait_until_empty()  # behind the lines that were on their way
                self._replies.add(request.id, reply)

    def end(self) -> None:
        """Observe no more, since this connection ends."""
        if self.has_observed:
            self._host.observers.close(self._outgoing)
