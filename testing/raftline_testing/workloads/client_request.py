"""One request of a client: its text, and the meaning of its reply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from ..histories.history import ClientOperation, learned

Verb = Literal["get", "set", "cas", "setnx", "delete", "incr", "append", "session"]
Way = Literal["index", "lease", "ask", "local"]
COUNTER = "n"  # the key that every incr is for
EXPIRED = "Sorry, session expired"
MODES = {"lease": "lease", "ask": "index", "local": "local"}  # the read modes, as a line has them


def formatted(request: Any, *, may_ask: bool = True) -> str:
    """Return the line of a request, which ends with the read mode; without `may_ask`, a read at a
    follower is not requested."""
    line: str = request.line
    if "@" not in line:
        line = f"{request.client.name}@{line}"
    verb = line.partition("@")[2].partition(" ")[0]
    if verb not in ("get", "show"):
        return line
    mode = "log" if request.in_log else MODES.get(request.how, "")
    if mode == "index" and not may_ask:
        mode = ""
    return f"{line} read {mode}" if mode else line


@dataclass(eq=False)
class ClientRequest:
    """A request in progress. It is settled once: answered, refused or given up."""

    client: Any  # its machine, and then its runner
    verb: Verb
    key: str
    value: str | None
    called_at: float  # time of the first send
    in_log: bool  # even a get may become an entry
    how: Way  # how a get is confirmed
    old: str | None = None  # the value that a cas expects
    number: int | None = None  # within its session
    session: str = ""
    first_reply: str | None = None  # the reply, if it is sent again after it was answered
    was_unknown: bool = False  # an earlier request with this number may have taken effect
    settled: bool = False
    must_see_index: int = 0  # the acknowledged index when it reached its node

    @property
    def command(self) -> str:
        operand = f" {self.value}" if self.verb in ("set", "setnx", "append") else ""
        if self.verb == "cas" and self.old is not None:
            old = self.old.replace(" ", r"\s")  # one word
            operand = f" {old} {self.value}"
        if self.verb == "session":
            return f"{self.client.name}@session"
        sender = "" if self.number is None else f"{self.session}#{self.number}@"
        return f"{sender}{self.verb} {self.key}{operand}"

    @property
    def line(self) -> str:
        """The request line."""
        command = self.command
        return command if "@" in command else f"{self.client.name}@{command}"

    @property
    def is_stale(self) -> bool:
        """Whether the node answers from its own state, which may be old."""
        return self.how == "local" and not self.in_log

    def once_more(self) -> ClientRequest:
        """Return the same request, for a retry under its number."""
        return replace(self, settled=False)

    def operation(self, returned_at: float | None, reply: str = "") -> ClientOperation:
        """Return its operation for the history; a reply that doesn't fit it is an error. A setnx is
        a cas that expects no key."""
        assert self.verb in ("get", "set", "cas", "setnx", "delete"), self.verb
        verb: Literal["get", "set", "cas", "delete"]
        verb = "cas" if self.verb == "setnx" else self.verb
        call = ClientOperation(
            self.client.name, verb, self.key, self.value, self.called_at, None, old=self.old
        )
        result = call if returned_at is None else learned(call, reply, returned_at)
        if result is None:
            raise self._unexpected(reply)
        return result

    def length(self, reply: str) -> int:
        """Return the length of the value after an append, in bytes; another reply is an error."""
        word, _, size = reply.removesuffix(" bytes").partition(f": {self.key} has ")
        if word != "APPEND response" or not size.isdigit():
            raise self._unexpected(reply)
        return int(size)

    def found(self, reply: str) -> str:
        """Return the value that a get found, "" if there was no such key; another reply is an
        error."""
        word, colon, value = reply.partition(": ")
        if not colon or word not in ("GET response", "GET response, no such key"):
            raise self._unexpected(reply)
        return value if word == "GET response" else ""

    def count(self, reply: str) -> int:
        """Return the counter after an incr; another reply is an error."""
        word, _, number = reply.partition(": ")
        if word != "INCR response" or not number.isdigit():
            raise self._unexpected(reply)
        return int(number)

    def _unexpected(self, reply: str) -> AssertionError:
        return AssertionError(f"{self.client.name} asked {self.command} and got {reply!r}")
