"""`put` and `get` for one client: they follow the leader with the same Message-ID until there is an
answer.

from raftline_course.trial.store_client import Store

with Store("0005", {"0000": 10000, "0001": 10001, "0002": 10002}) as store:
    store.put("lamp", "on")    # {"req_category": "success", "source": "0001", …}
    store.get("lamp")["value"]
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import NamedTuple

from raftline.clients.requests.one_node import Connect, HangUp, NextLine, NodeShell, Send, Talk
from raftline.clients.steps import carry_out
from raftline.common.address import Address
from raftline.wire.protocol import ProtocolError, split_sender
from raftline_course.trial.trial_messages import (
    MESSAGE_ID,
    UNKNOWN_LEADER,
    BadMessage,
    Message,
    answer_to,
    checked,
    line_of,
)

HERE = "127.0.0.1"
CONNECT_S = 1.0
ATTEMPT_S = 1.0  # then another server is asked, with the same Message-ID
PAUSE_S = 0.03  # after an answer that doesn't help
PATIENCE_S = 10.0


class Unanswered(Exception):
    """No server settled the request in time. A put may or may not take effect."""


class ServerAttempt(NamedTuple):
    """One request to one server: the result (a req_category, or `no answer`), and its time."""

    server: str
    category: str
    seconds: float


@dataclass
class Tally:
    """The counters of one client."""

    sent: int = 0  # sent messages
    received: int = 0
    redirects: int = 0
    duplicates: int = 0  # repeated answers to a Message-ID
    rejected: int = 0  # incomplete or invalid messages, in either direction

    def __add__(self, other: Tally) -> Tally:
        return Tally(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass
class StoreClient:
    """A client with one request at a time, not for use by several threads at once.

    `servers` are ports on this machine by id. A request carries its own number, so that a repeated
    put takes effect once (docs/use/protocol.md, Sessions).
    """

    client: str
    servers: Mapping[str, int]
    chance: random.Random = field(default_factory=random.Random)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.tally = Tally()
        self.attempts: list[ServerAttempt] = []  # of the last request
        self._known = {self.client, *self.servers}
        self._shells = {server: NodeShell("", asks_codes=False) for server in self.servers}
        self._answered: set[int] = set()
        self._number = 0  # the last Message-ID
        self._target = self.chance.choice(sorted(self.servers))

    @property
    def last_message_id(self) -> int:
        return self._number

    def __enter__(self) -> StoreClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Count late answers, and close all connections."""
        for shell in self._shells.values():
            with contextlib.suppress(OSError):
                carry_out(self._taking_late(), shell.do)
            shell.close()

    def put(self, key: str, value: str, until_s: float | None = None) -> Message:
        """Put a value; return the message that confirms (`success`) or refuses (`failure`) it."""
        return self.ask(self._form("put", key=key, value=value), until_s)

    def get(self, key: str, until_s: float | None = None) -> Message:
        """Get a value; return the message with the `value`, or a `failure`, `absent` without the
        key."""
        return self.ask(self._form("get", key=key), until_s)

    def _form(self, category: str, **operands: str) -> Message:
        self._number += 1
        return {
            "source": self.client,
            "destination": self._target,
            "leader": UNKNOWN_LEADER,
            "req_category": category,
            MESSAGE_ID: self._number,
            **operands,
        }

    def ask(self, message: object, until_s: float | None = None) -> Message:
        """Return the answer that settles a request; `until_s` is on the monotonic clock.

        Raises:
            BadMessage: a component is missing or invalid; nothing was sent.
            Unanswered: no server settled it in time.
        """
        request = self._accepted(message)
        self._number = max(self._number, request[MESSAGE_ID])
        self.attempts = []
        end_s = time.monotonic() + PATIENCE_S if until_s is None else until_s
        self._target = request["destination"]
        while time.monotonic() < end_s and not self.stop.is_set():
            asked_s = time.monotonic()
            asking = self._asking({**request, "destination": self._target}, end_s)
            answer = carry_out(asking, self._shells[self._target].do)
            category = answer["req_category"] if answer else "no answer"
            self.attempts.append(ServerAttempt(self._target, category, time.monotonic() - asked_s))
            if answer is not None and category in ("success", "failure"):
                self._answered.add(request[MESSAGE_ID])
                return answer
            self._turn(answer)
        raise Unanswered(f"{request['req_category']} {request['key']}: no answer")

    def _accepted(self, message: object) -> Message:
        try:
            request = checked(message, self._known)
            if request["req_category"] not in ("put", "get"):
                raise BadMessage(f"{request['req_category']} is an answer, not a request")
            if request["destination"] not in self.servers:
                raise BadMessage(f"destination {request['destination']!r} is no server")
            return request
        except BadMessage:
            self.tally.rejected += 1
            raise

    def _asking(self, request: Message, end_s: float) -> Talk[Message | None]:
        """Ask the server once; return its answer, or None without a usable one."""
        number = str(request[MESSAGE_ID])
        until_s = min(end_s, time.monotonic() + ATTEMPT_S)
        try:
            yield Connect(Address(HERE, self.servers[request["destination"]]), CONNECT_S)
            yield Send(line_of(request).encode("utf-8", "surrogateescape"))
            self.tally.sent += 1
            while (line := (yield from next_answer(until_s))) is not None:
                if line[0] == number:  # the course's safety check: it must answer this request
                    self.tally.received += 1
                    return checked(answer_to(request, line[1]), self._known)
                self._note_late(line[0])
        except BadMessage:
            self.tally.rejected += 1
        except OSError:
            yield HangUp()
        return None

    def _taking_late(self) -> Talk[None]:
        """Take the late answers."""
        while (line := (yield from next_answer(0.0))) is not None:
            self._note_late(line[0])

    def _note_late(self, number: str) -> None:
        """Count an answer to another request."""
        self.tally.received += 1
        if number.isdigit() and int(number) in self._answered:
            self.tally.duplicates += 1
        elif not (number.isdigit() and 0 < int(number) <= self._number):
            self.tally.rejected += 1  # an answer to no request

    def _turn(self, answer: Message | None) -> None:
        """Turn to the named leader, else to any other server after a pause."""
        self.tally.redirects += answer is not None and answer["req_category"] == "forward2leader"
        leader = answer["leader"] if answer else UNKNOWN_LEADER
        if leader not in (UNKNOWN_LEADER, self._target) and leader in self.servers:
            been = [attempt.server for attempt in self.attempts[-3:]]
            self._target = leader
            if leader not in been:
                return
        elif len(self.servers) > 1:
            self._target = self.chance.choice(sorted({*self.servers} - {self._target}))
        self.stop.wait(PAUSE_S)


def next_answer(until_s: float) -> Talk[tuple[str, str] | None]:
    """Return (Message-ID, text) of the next line, or None if none came by `until_s`.

    Raises:
        OSError: the server has gone, or sends an invalid line.
    """
    try:
        raw = yield NextLine(until_s)
    except TimeoutError:
        return None
    try:
        _, number, text = split_sender(raw.decode("utf-8", "surrogateescape"))
    except ProtocolError as error:
        raise ConnectionError(f"answered something that is not raftline: {error}") from error
    return number, text
