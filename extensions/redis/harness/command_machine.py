"""A client that sends one command of Redis at a time, and decides by its reply what to do next."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from functools import partial
from random import Random
from typing import Any, NamedTuple, TypeAlias

from raftline_testing.workloads.line_request import LineRequest
from raftline_testing.workloads.workload_machine import Rest, Steps, WorkloadMachine

from .redis_requests import Conversation, TalkRequest


class Said(NamedTuple):
    """The outcome of a command."""

    called_at: float
    is_known: bool  # there is a reply
    is_open: bool  # there is none, and the command may have taken effect, or may yet do so
    reply: Any = None


Saying: TypeAlias = "Generator[Any, Any, Said]"


class CommandMachine(WorkloadMachine):
    """A client that sends one command at a time."""

    def __init__(
        self,
        name: str,
        chance: Random,
        now: Callable[[], float],
        think_ms: int,
        request_type: type[TalkRequest] = TalkRequest,
    ) -> None:
        """Create a client; `now` is the clock of the history."""
        super().__init__(name)
        self._chance = chance
        self._now = now
        self._think_ms = think_ms
        self._request_type = request_type

    def steps(self) -> Steps:
        """Ask until it is stopped."""
        yield Rest(self._think_ms)
        while not self.stopped:
            yield from self._act()
            if self.is_left:
                return
            yield Rest(self._think_ms)

    def _act(self) -> Steps:
        raise NotImplementedError

    def _say(self, *words: str, changes: bool = True) -> Saying:
        """Send a command until it is answered; one that changes a key is sent again only if it had
        no effect."""
        return (yield from self._send(words[0], partial(_spoken, words), changes=changes))

    def _say_together(self, *commands: Sequence[str], changes: bool = True) -> Saying:
        """Send a transaction likewise."""
        talk = partial(_spoken_together, commands)
        return (yield from self._send("MULTI", talk, changes=changes))

    def _send(self, what: str, talk: Callable[[], Conversation], *, changes: bool) -> Saying:
        request = self._request_type(self, what, self._now(), changes, talk=talk)
        settled, reply = yield from self.settling(request)
        if reply:
            return Said(request.called_at, True, False, json.loads(reply))
        return Said(request.called_at, False, settled.was_unknown)

    def _may_repeat(self, request: LineRequest) -> bool:
        return not self.stopped and not (request.in_log and request.was_unknown)


def _spoken(words: Sequence[str]) -> Conversation:
    """Send one command."""
    (reply,) = yield [words]
    return json.dumps(reply)


def _spoken_together(commands: Sequence[Sequence[str]]) -> Conversation:
    """Send a transaction."""
    *_, replies = yield [["MULTI"], *commands, ["EXEC"]]
    return json.dumps(replies)
