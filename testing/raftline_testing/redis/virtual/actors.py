"""Clients that speak as Redis clients do: they read, write, count, append and move money.

They follow `MOVED`, and number nothing: a command of unknown outcome is not repeated.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raftline.wire.protocol import escape, real

from ...virtual.clients.clients import SimulatedClient
from ...virtual.clients.machine_runner import MachineRunner, mix_of
from ...virtual.nodes.request_interface import Server
from ...virtual.world.plan import Plan
from ...virtual.world.world import World
from ...workloads.client_history import History
from ...workloads.client_request import ClientRequest
from ...workloads.ledger import BALANCE, Ledger
from ...workloads.line_request import LineRequest
from ...workloads.transactor_machine import TransactorMachine
from ...workloads.workload_machine import Steps
from .redis_connection import Conversation, Conversing, Reply

SHARE = 1 / 2  # of schedules whose faults are drawn; the other ones stay the same
TOGETHER = 0.3  # the share of operations that are a transaction of one command


@dataclass(eq=False)
class RedisClientRequest(ClientRequest, Conversing):
    """One request, as a command."""

    def conversation(self) -> Conversation:
        """Return the command; it may be a transaction."""
        words = [word if place == 0 else real(word) for place, word in enumerate(self._words())]
        if self.called_at % 10 < 10 * TOGETHER:
            *_, replies = yield [["MULTI"], words, ["EXEC"]]
            assert isinstance(replies, list), replies
            (reply,) = replies
        elif self.verb == "get" and self.called_at % 2:
            (values,) = yield [["MGET", *words[1:]]]
            assert isinstance(values, list), values
            (reply,) = values
        else:
            (reply,) = yield [words]
        return self._as_line(reply)

    def _words(self) -> list[str]:
        key, value, old = self.key, self.value or "", self.old or ""
        match self.verb:
            case "cas":
                return ["SET", key, value, "IFEQ", old, "GET"]
            case "delete":
                return ["DEL", key]
            case "get" | "incr":
                return [self.verb, key]
        return [self.verb, key, value]

    def _as_line(self, reply: Reply) -> str:
        """Return what the reply to a line would be."""
        verb, key = self.verb.upper(), self.key
        done, absent = f"{verb} response: {key} set to {self.value}", f", no such key: {key}"
        match self.verb, reply:
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
                return done if reply == real(self.old or "") else f"CAS response, no match: {key}"
            case ("append", int()):
                return f"APPEND response: {key} has {reply} bytes"
            case ("incr", int()):
                return f"INCR response: {reply}"
        raise AssertionError(f"{self.client.name} asked {self.command} and got {reply!r}")


class RedisClient(SimulatedClient):
    """A client with one command at a time."""

    request_type = RedisClientRequest

    def __init__(
        self, world: World, plan: Plan, name: str, servers: Sequence[Server], history: History
    ) -> None:
        super().__init__(world, plan, name, servers, history)
        self.machine.numbers = False

    def answered(self, request: ClientRequest, reply: str) -> None:
        """Take the reply."""
        self._world.counts["commands of Redis clients answered"] += not request.settled
        super().answered(request, reply)


@dataclass(eq=False)
class RedisDealerRequest(LineRequest, Conversing):
    """A request of a dealer, as commands."""

    talk: Callable[[], Conversation] | None = None

    def conversation(self) -> Conversation:
        """Return the commands."""
        assert self.talk is not None
        return self.talk()


class RedisDealerMachine(TransactorMachine):
    """A client of the bank: it moves money in transactions, with and without `WATCH`."""

    def __init__(self, seed: int, name: str, *parts: Any) -> None:
        super().__init__(name, *parts)
        self._is_open = False  # the accounts exist
        self._choices = random.Random(f"{name} {seed}")

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
        request = RedisDealerRequest(self, what, self._now(), changes, talk=talk)
        _, reply = yield from self._ask(request)
        if reply:
            self._counts[f"Redis dealers: {reply}"] += 1

    def _look(self) -> Conversation:
        """Open the accounts, if that was not seen to have happened, and read all of them."""
        if not self._is_open:
            opened = [word for account in self._ledger.accounts for word in (account, str(BALANCE))]
            yield [["MSETNX", *opened]]
            self._is_open = True
        if self._choices.random() < 0.5:
            (balances,) = yield [["MGET", *self._ledger.accounts]]
        else:
            *_, balances = yield [
                ["MULTI"],
                *[["GET", each] for each in self._ledger.accounts],
                ["EXEC"],
            ]
        assert isinstance(balances, list), balances
        self._ledger.look(balances)
        return "looked"

    def _drawn(self) -> tuple[str, str, int]:
        giver, taker = self._choices.sample(self._ledger.accounts, 2)
        return giver, taker, self._choices.randrange(1, 20)

    def _transfer_at_once(self) -> Conversation:
        giver, taker, amount = self._drawn()
        moves = [["DECRBY", giver, str(amount)], ["INCRBY", taker, str(amount)]]
        *_, replies = yield [["MULTI"], *moves, ["EXEC"]]
        assert isinstance(replies, list), replies
        return "transferred"

    def _transfer_watched(self) -> Conversation:
        """Set both accounts, unless one of them has changed since it was read."""
        giver, taker, amount = self._drawn()
        _, has, gets = yield [["WATCH", giver, taker], ["GET", giver], ["GET", taker]]
        moves = [["SET", giver, str(int(str(has)) - amount)]]
        moves += [["SET", taker, str(int(str(gets)) + amount)]]
        *_, replies = yield [["MULTI"], *moves, ["EXEC"]]
        assert replies in (None, ["OK", "OK"]), json.dumps(replies)
        return "transferred after a watch" if replies else "not transferred after a watch"


class RedisDealer(MachineRunner):
    """A client with one conversation at a time."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        name: str,
        servers: Sequence[Server],
        ledger: Ledger,
        seed: int,
    ) -> None:
        parts = (mix_of(plan), world.random, world.tick, ledger, world.counts)
        super().__init__(world, plan, RedisDealerMachine(seed, name, *parts), servers)


# --- the seam (virtual/schedule.py) --------------------------------------------------------------

client, dealer = RedisClient, RedisDealer


def planned(plan: Plan, seed: int) -> Plan:
    """Return a plan in which, in some schedules, half of the clients speak as Redis clients do."""
    is_mixed = random.Random(f"redis {seed}").random() < SHARE
    return replace(plan, is_mixed=plan.is_mixed or is_mixed)
