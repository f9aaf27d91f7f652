"""One request of a simulated client: how it is spelled, and what its reply means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from raftline.trial.linearizable import Operation

Verb = Literal["get", "set", "cas", "setnx", "delete", "incr", "append", "session"]
Way = Literal["index", "lease", "ask"]
COUNTER = "n"  # the key that every incr is for
EXPIRED = "Sorry, session expired"


class Asker(Protocol):
    """Who is told what became of a request; just one of these, once."""

    name: str

    def answered(self, request: Request, reply: str) -> None: ...
    def refused(self, request: Request, leader: str | None) -> None: ...
    def unknown(self, request: Request) -> None: ...


@dataclass(eq=False)
class Request:
    """One request under way. It is settled once: answered, refused or given up."""

    client: Asker
    verb: Verb
    key: str
    value: str | None
    called_at: int  # when it was sent first
    in_log: bool  # a get, too, may become an entry
    how: Way  # a get is confirmed by
    old: str | None = None  # what a cas is to find
    number: int | None = None  # within its session
    session: str = ""
    first_reply: str | None = None  # it was answered before, and is sent once more all the same
    was_unknown: bool = False  # one that was sent before under this number may have been done
    settled: bool = False
    must_see_index: int = 0  # what was acknowledged when it came to its node

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
        """The request as it is sent."""
        return self.command if "@" in self.command else f"{self.client.name}@{self.command}"

    def once_more(self) -> Request:
        """Return the same request, to be sent again under its number."""
        return replace(self, settled=False)

    def operation(self, returned_at: int | None, reply: str = "") -> Operation:
        """Return what the history keeps of it; a reply that is none of its own is an error."""
        assert self.verb in ("get", "set", "cas", "setnx", "delete"), self.verb
        if self.verb in ("cas", "setnx"):
            return self._condition(returned_at, reply)
        value, found = self.value, None
        if returned_at is not None:
            word = f"{self.verb.upper()} response"
            absent = reply == f"{word}, no such key: {self.key}"
            if self.verb == "get" and reply.startswith(f"{word}: "):
                value = reply[len(word) + 2 :]
            elif self.verb == "delete":
                found = not absent
            done = {
                "get": f"{word}: {value}",
                "set": f"{word}: {self.key} set to {value}",
                "delete": f"{word}: {self.key} deleted",
            }[self.verb]
            if reply != done and not (absent and self.verb != "set"):
                raise AssertionError(f"{self.client.name} asked {self.command} and got {reply!r}")
        return Operation(
            self.client.name, self.verb, self.key, value, self.called_at, returned_at, found
        )

    def _condition(self, returned_at: int | None, reply: str) -> Operation:
        """Return a cas, or a setnx, which is one that is to find nothing."""
        matched: bool | None = None
        found: bool | None = None
        if returned_at is not None:
            word = f"{self.verb.upper()} response"
            outcomes: dict[str, tuple[bool, bool | None]] = {
                f"{word}: {self.key} set to {self.value}": (True, None),
                f"{word}, key exists: {self.key}": (False, True),
            }
            if self.verb == "cas":
                outcomes = {
                    f"{word}: {self.key} set to {self.value}": (True, True),
                    f"{word}, no match: {self.key}": (False, True),
                    f"{word}, no such key: {self.key}": (False, False),
                }
            if reply not in outcomes:
                raise AssertionError(f"{self.client.name} asked {self.command} and got {reply!r}")
            matched, found = outcomes[reply]
        return Operation(
            self.client.name, "cas", self.key, self.value, self.called_at, returned_at,
            found, self.old, matched,
        )  # fmt: skip

    def length(self, reply: str) -> int:
        """Return how long an append made the value, in bytes.

        Raises:
            AssertionError: the reply is not one to an append.
        """
        word, _, size = reply.removesuffix(" bytes").partition(f": {self.key} has ")
        if word != "APPEND response" or not size.isdigit():
            raise AssertionError(f"{self.client.name} asked {self.command} and got {reply!r}")
        return int(size)

    def found(self, reply: str) -> str:
        """Return what a get found, "" where there was no such key.

        Raises:
            AssertionError: the reply is not one to a get.
        """
        word, colon, value = reply.partition(": ")
        if not colon or word not in ("GET response", "GET response, no such key"):
            raise AssertionError(f"{self.client.name} asked {self.command} and got {reply!r}")
        return value if word == "GET response" else ""

    def count(self, reply: str) -> int:
        """Return what an incr made of the counter.

        Raises:
            AssertionError: the reply is not one to an incr.
        """
        word, _, number = reply.partition(": ")
        if word != "INCR response" or not number.isdigit():
            raise AssertionError(f"{self.client.name} asked {self.command} and got {reply!r}")
        return int(number)
