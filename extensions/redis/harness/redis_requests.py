"""The requests and replies of Redis clients: the commands, and the reply that a line would get."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from raftline.wire.protocol import escape, real
from raftline_testing.workloads.client_request import ClientRequest
from raftline_testing.workloads.ledger import BALANCE
from raftline_testing.workloads.line_request import LineRequest
from raftline_testing.workloads.transactor_machine import TransactorMachine
from raftline_testing.workloads.workload_machine import Steps

TOGETHER = 0.3  # the share of operations that are a transaction of one command

Reply: TypeAlias = "str | int | list[Reply] | None"
Commands: TypeAlias = Sequence[Sequence[str]]
# Yields commands that are sent together, and is sent their replies. The result is the reply that a
# line with the same effect would have. A refused command ends it.
Conversation: TypeAlias = Generator[Commands, "list[Reply]", str]


def words_of(request: ClientRequest) -> list[str]:
    """Return the command of a request."""
    key, value, old = request.key, request.value or "", request.old or ""
    match request.verb:
        case "cas":
            words = ["SET", key, value, "IFEQ", old, "GET"]
        case "delete":
            words = ["DEL", key]
        case "get" | "incr":
            words = [request.verb, key]
        case _:
            words = [request.verb, key, value]
    return [word if place == 0 else real(word) for place, word in enumerate(words)]


def conversation_of(request: ClientRequest, number: int) -> Conversation:
    """Yield the command of a request; by this number, it is a transaction or an `MGET`."""
    words = words_of(request)
    if number % 10 < 10 * TOGETHER:
        *_, replies = yield [["MULTI"], words, ["EXEC"]]
        assert isinstance(replies, list), replies
        (reply,) = replies
    elif request.verb == "get" and number % 2:
        (values,) = yield [["MGET", *words[1:]]]
        assert isinstance(values, list), values
        (reply,) = values
    else:
        (reply,) = yield [words]
    return line_of(request, reply)


def line_of(request: ClientRequest, reply: Reply) -> str:
    """Return what the reply to a line would be.

    Raises:
        AssertionError: it is not a reply to this command.
    """
    verb, key = request.verb.upper(), request.key
    done, absent = f"{verb} response: {key} set to {request.value}", f", no such key: {key}"
    match request.verb, reply:
        case ("get", None) | ("cas", None) | ("delete", 0):
            return f"{verb} response{absent}"
        case ("get", str()):
            return f"GET response: {escape(reply, key=False)}"
        case ("delete", 1):
            return f"DELETE response: {key} deleted"
        case ("set", "OK") | ("setnx", 1):
            return done
        case ("setnx", 0):
            return f"SETNX response, key exists: {key}"
        case ("cas", str()):
            return done if reply == real(request.old or "") else f"CAS response, no match: {key}"
        case ("append", int()):
            return f"APPEND response: {key} has {reply} bytes"
        case ("incr", int()):
            return f"INCR response: {reply}"
    raise AssertionError(f"{request.client.name} asked {request.command} and got {reply!r}")


@dataclass(eq=False)
class TalkRequest(LineRequest):
    """A request that takes several commands."""

    talk: Callable[[], Conversation] | None = None

    def conversation(self) -> Conversation:
        """Return the commands."""
        assert self.talk is not None
        return self.talk()


class RedisBankMachine(TransactorMachine):
    """A client of the bank: it moves money in transactions, with and without `WATCH`."""

    def __init__(
        self, seed: object, name: str, *parts: Any, request_type: type[TalkRequest] = TalkRequest
    ) -> None:
        super().__init__(name, *parts)
        self._request_type = request_type
        self._is_open = False  # the accounts exist
        self._choices = random.Random(f"{name} {seed}")
        self._changed: Sequence[str] = ()  # what the commands may have changed

    def _anything(self) -> Steps:
        if not self._is_open or self._choices.random() < 0.4:
            yield from self._converse("look", self._look, changes=not self._is_open)
        elif self._choices.random() < 0.5:
            yield from self._converse("transfer", self._transfer_at_once)
        else:
            yield from self._converse("transfer watched", self._transfer_watched)

    def _converse(
        self, what: str, talk: Callable[[], Conversation], *, changes: bool = True
    ) -> Steps:
        """Ask by commands; a look may be repeated."""
        self._changed = ()
        request = self._request_type(self, what, self._now(), changes, talk=talk)
        settled, reply = yield from self._ask(request)
        if reply:
            self._counts[f"Redis dealers: {reply}"] += 1
        if reply or settled.was_unknown:
            self._note(settled, self._changed)

    def _look(self) -> Conversation:
        """Open the accounts, if that was not seen to have happened, and read all of them."""
        accounts = self._ledger.accounts
        if not self._is_open:
            self._changed = accounts
            yield [["MSETNX", *[word for each in accounts for word in (each, str(BALANCE))]]]
            self._is_open = True
        if self._choices.random() < 0.5:
            (balances,) = yield [["MGET", *accounts]]
        else:
            *_, balances = yield [["MULTI"], *[["GET", each] for each in accounts], ["EXEC"]]
        assert isinstance(balances, list), balances
        self._ledger.look(balances)
        return "looked"

    def _drawn(self) -> tuple[str, str, int]:
        giver, taker = self._choices.sample(self._ledger.accounts, 2)
        return giver, taker, self._choices.randrange(1, 20)

    def _transfer_at_once(self) -> Conversation:
        giver, taker, amount = self._drawn()
        moves = [["DECRBY", giver, str(amount)], ["INCRBY", taker, str(amount)]]
        self._changed = [giver, taker]
        *_, replies = yield [["MULTI"], *moves, ["EXEC"]]
        assert isinstance(replies, list), replies
        return "transferred"

    def _transfer_watched(self) -> Conversation:
        """Set both accounts, unless one of them has changed since it was read."""
        giver, taker, amount = self._drawn()
        _, has, gets = yield [["WATCH", giver, taker], ["GET", giver], ["GET", taker]]
        moves = [["SET", giver, str(int(str(has)) - amount)]]
        moves += [["SET", taker, str(int(str(gets)) + amount)]]
        self._changed = [giver, taker]
        *_, replies = yield [["MULTI"], *moves, ["EXEC"]]
        assert replies in (None, ["OK", "OK"]), json.dumps(replies)
        if replies:
            return "transferred after a watch"
        self._changed = ()
        return "not transferred after a watch"
