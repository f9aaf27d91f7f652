"""A client that the kit plays: requests and replies on one connection."""

from __future__ import annotations

from raftline_course.conform.played.wires import Wire
from raftline_course.conform.transcript import FROM_NODE, Transcript
from raftline_course.conform.verdicts import Failed


class KitClient:
    """A client of the node, with its own connection."""

    def __init__(self, wire: Wire, who: str, transcript: Transcript, patience_s: float) -> None:
        self.wire = wire
        self.who = who
        self._transcript = transcript
        self._patience_s = patience_s

    def say(self, *lines: str) -> int:
        """Send lines; return the number of the next transcript line."""
        mark = self._transcript.end
        self.wire.say(*lines)
        return mark

    def reply(self, what: str = "an answer") -> str:
        """Return the next reply unchanged, without its newline."""
        line = self.wire.next_line(self._patience_s)
        if line is None:
            raise Failed(f"the client never gets {what}")
        return f"{line.name}@{line.text}" if line.name else line.text

    def ask(self, request: str) -> str:
        """Return the reply to one request of this client, without the server's name."""
        self.say(f"{self.who}@{request}")
        return self.reply(f"an answer to {request[:60]}").partition("@")[2]

    def gets(self, request: str, should: str) -> None:
        """Send a request, and fail unless the reply is this one."""
        does = self.ask(request)
        if does != should:
            raise Failed(f"{request!r} is answered {does!r}, not {should!r}")

    def refused(self, request: str) -> None:
        """Send a request, and fail unless the reply refuses it."""
        does = self.ask(request)
        if not does.startswith("Sorry, "):
            raise Failed(f"{request!r} is answered {does!r}, not refused")

    def hears(self, should: str) -> None:
        """Wait for the next reply, and fail unless it is this one, with the server's name."""
        does = self.reply(should)
        if does != should:
            raise Failed(f"the reply is {does!r}, not {should!r}")

    def has_reply(self, since: int) -> bool:
        """Return whether a reply has arrived since this line."""
        lines = self._transcript.lines[since:]
        return any(line.wire is self.wire and line.way == FROM_NODE for line in lines)
