"""The client of transactions over several keys.

It appends to five keys and reads them, so that the history can be judged (serializable.py). It also
moves money between five accounts, whose sum is the same at every look, and clears the keys
that it set under its own prefix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Mapping, MutableMapping, Sequence
from random import Random
from typing import Any, Literal, NamedTuple, TypeAlias

from raftline.wire.commands.transaction_line import format_word

from ..histories.history import Change
from ..histories.serializable import END, ObservedTransaction
from .ledger import BALANCE, Ledger
from .line_request import LineRequest
from .mix import Mix
from .workload_machine import Rest, Settled, Steps, WorkloadMachine

REPLY = re.compile(r"TXN response, (then|else): (\[.*\])", re.DOTALL)
CLEARED = re.compile(r"CLEAR response: ([0-9]+) keys? deleted")
UNCERTAIN = ("Sorry, session expired", "Sorry, outcome unknown")
AT_FLOOR = "Sorry, I don't understand: "  # the cluster is still at the floor


class Outcome(NamedTuple):
    """The outcome of a transaction: its branch, "" if it was not carried out, None if that is not
    known; and the answers of that branch."""

    request: LineRequest
    branch: Literal["then", "else", ""] | None
    answers: Sequence[str | None] = ()


Transacting: TypeAlias = "Generator[Any, Any, Outcome]"


class TransactorMachine(WorkloadMachine):
    """A client with one transaction at a time."""

    def __init__(
        self,
        name: str,
        mix: Mix,
        chance: Random,
        now: Callable[[], float],
        ledger: Ledger,
        counts: MutableMapping[str, int],
    ) -> None:
        super().__init__(name)
        self._mix = mix
        self._chance = chance
        self._now = now
        self._ledger = ledger
        self._counts = counts
        self._number = 0
        self._is_numbered = chance.random() < 0.5
        self._seen: dict[str, str] = {}
        self._own = f"{mix.prefix}own-{name}/"
        self._mine: int | None = 0  # keys under its own prefix; None: not known

    def steps(self) -> Steps:
        """Ask until it is stopped."""
        yield Rest(2 * self._mix.think_ms)
        while not self.stopped:
            yield from self._anything()
            if self.is_left:
                return
            yield Rest(2 * self._mix.think_ms)

    def _anything(self) -> Steps:
        kind = self._chance.random()
        if kind < 0.55:
            yield from self._append_and_read()
        elif kind < 0.75:
            yield from self._transfer()
        elif kind < 0.9:
            yield from self._look_at_the_bank()
        else:
            yield from self._clear()

    # --- its requests ---------------------------------------------------------------------------

    def _append_and_read(self) -> Steps:
        """Read some keys and append to some; now and then only if a key still has its last seen
        value."""
        chance, keys = self._chance, self._ledger.keys
        read = chance.sample(keys, chance.randrange(4))
        piece = f"{self.name}.{self._now()}{END}"
        appended = chance.sample(keys, chance.randrange(0 if read else 1, 4))
        operations = [f"get {key}" for key in read]
        line = " ; ".join([*operations, *(f"append {key} {piece}" for key in appended)])
        condition = chance.choice(keys) if chance.random() < 0.3 else ""
        last_seen = self._seen.get(condition, "")
        if condition:
            holds = f"= {format_word(last_seen)}" if last_seen else "absent"
            line = f"if {condition} {holds} then {line} else get {condition}"
        request, branch, answers = yield from self._transact(line, appended)
        reads, appends = dict[str, str](), dict.fromkeys(appended, piece)
        if branch is None:
            self._keep(request, None, reads, appends)
        elif branch:
            reads = {key: value or "" for key, value in zip(read, answers, strict=False)}
            if branch == "else":
                reads, appends = {condition: answers[0] or ""}, {}
            elif condition:
                reads[condition] = last_seen
            self._keep(request, self._now(), reads, appends)
            self._seen |= {key: text + appends.get(key, "") for key, text in reads.items()}

    def _keep(
        self,
        request: LineRequest,
        returned_at: float | None,
        reads: Mapping[str, str],
        appends: Mapping[str, str],
    ) -> None:
        one = ObservedTransaction(self.name, request.called_at, returned_at, reads, appends)
        self._ledger.transactions.append(one)

    def _transfer(self) -> Steps:
        """Move money: by two additions, or by setting two values if both are unchanged."""
        chance = self._chance
        giver, taker = chance.sample(self._ledger.accounts, 2)
        amount = chance.randrange(1, 20)
        line = f"if {giver} exists then incr {giver} -{amount} ; incr {taker} {amount}"
        have = [self._seen.get(giver), self._seen.get(taker)]
        if all(have) and chance.random() < 0.5:
            less, more = int(have[0] or 0) - amount, int(have[1] or 0) + amount
            line = (
                f"if {giver} = {have[0]} ; {taker} = {have[1]} then set {giver} {less} ; "
                f"set {taker} {more}"
            )
        if chance.random() < 0.1:  # it can't succeed, so no part of it may
            word = f"{self._mix.prefix}word-{self.name}"
            line += f" ; set {word} x ; incr {word}"
        yield from self._transact(f"{line} else get {giver} ; get {taker}", (giver, taker))

    def _look_at_the_bank(self) -> Steps:
        """Open the accounts, or read all of them: in a transaction, or by `show`."""
        chance, accounts = self._chance, self._ledger.accounts
        if chance.random() < 0.4:
            way = chance.choice(self._mix.ways)
            share = self._mix.faithless.get(way, 0.0)
            if share and chance.random() < share:
                self.leader = None
            command = f"show {self._ledger.bank}"
            _, reply = yield from self._ask(LineRequest(self, command, self._now(), False, way))
            if reply:
                self._ledger.look(json.loads(reply.removeprefix("SHOW response: ")).values())
                self._counts["accounts shown"] += 1
            return
        opened = " ; ".join(f"set {account} {BALANCE}" for account in accounts)
        got = " ; ".join(f"get {account}" for account in accounts)
        line = f"if {accounts[0]} absent then {opened} else {got}"
        _, branch, answers = yield from self._transact(line, accounts)
        if branch == "else":
            self._ledger.look(answers)
            self._seen |= {key: each or "" for key, each in zip(accounts, answers, strict=True)}

    def _clear(self) -> Steps:
        """Set keys under a private prefix, or clear it."""
        before, self._mine = self._mine, None
        if before and self._chance.random() < 0.5:
            request, reply = yield from self._ask(self._write(f"clear {self._own}"))
            changes = [Change(f"{self._own}{n}", "del", request.called_at) for n in range(before)]
            self._ledger.changes += changes
            if reply:
                match = CLEARED.fullmatch(reply)
                assert match, f"{self.name} asked {request.line} and got {reply!r}"
                is_known = not request.was_unknown
                assert not is_known or int(match[1]) == before, f"{reply}, though {before} were set"
                self._counts["prefixes cleared"] += 1
            if reply or not request.was_unknown:
                self._mine = 0
            return
        count = self._chance.randrange(1, 4)
        keys = [f"{self._own}{number}" for number in range(count)]
        line = " ; ".join(f"set {key} {count}" for key in keys)
        _, branch, _ = yield from self._transact(line, keys)
        if branch and before is not None:
            self._mine = max(before, count)

    # --- requests -----------------------------------------------------------------------------

    def _transact(self, line: str, changed: Sequence[str]) -> Transacting:
        """Carry out a transaction; its first branch changes the keys `changed`.

        Raises:
            AssertionError: the reply is of another kind.
        """
        request, reply = yield from self._ask(self._write(f"txn {line}"))
        match = REPLY.fullmatch(reply)
        if match is None:
            if reply:
                assert "can't be done" in reply, f"{request.line} got {reply!r}"
                self._counts["transactions that can't be done"] += 1
            elif request.was_unknown:
                self._note(request, changed)
                return Outcome(request, None)
            return Outcome(request, "")
        self._counts[f"transactions answered, {match[1]}"] += 1
        if match[1] == "else":
            return Outcome(request, "else", json.loads(match[2]))
        self._note(request, changed)
        return Outcome(request, "then", json.loads(match[2]))

    def _note(self, request: LineRequest, keys: Sequence[str]) -> None:
        self._ledger.changes += [Change(key, "set", request.called_at) for key in keys]

    def _write(self, command: str) -> LineRequest:
        self._number += 1
        sender = f"{self.name}#{self._number}@" if self._is_numbered else ""
        return LineRequest(self, sender + command, self._now())

    def _may_repeat(self, request: LineRequest) -> bool:
        may_be_done = request.in_log and request.was_unknown and "#" not in request.command
        return not self.stopped and not may_be_done

    def _ask(self, request: LineRequest) -> Generator[Any, Any, Settled]:
        """Send a request until it is answered, as long as it can't take effect twice; there is no
        reply either if nothing was done."""
        request, reply = yield from self.settling(request)
        if reply.startswith(UNCERTAIN):
            self._is_numbered, request.was_unknown = False, True
            return Settled(request, "")
        if reply.startswith(AT_FLOOR):
            request.was_unknown = False
            return Settled(request, "")
        return Settled(request, reply)
