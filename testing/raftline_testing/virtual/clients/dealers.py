"""Simulated clients of transactions, and the check of their observations.

They read and append in transactions over five keys, move money between accounts, and clear the keys
that they set under their own prefix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from raftline.state.store import Pairs
from raftline.wire.commands.transaction_line import spell_word

from ...histories.serializable import END, ObservedTransaction, findings
from ..nodes.request_interface import Asker, Server
from ..world.plan import Plan
from ..world.world import World
from .one_at_a_time import OneAtATime

KEYS = [f"txn{number}" for number in range(5)]
ACCOUNTS = [f"bank{number}" for number in range(5)]
BALANCE = 100
SUM = BALANCE * len(ACCOUNTS)
REPLY = re.compile(r"TXN response, (then|else): (\[.*\])")
CLEARED = re.compile(r"CLEAR response: ([0-9]+) keys? deleted")
UNCERTAIN = ("Sorry, session expired", "Sorry, outcome unknown")
NO_LEVEL = "Sorry, I don't understand: "  # the cluster is still at the floor


@dataclass(eq=False)
class DealerRequest:
    """A request of a dealer, in the form that `Requests` needs."""

    client: Asker
    command: str
    called_at: int  # time of the first send
    in_log: bool = True
    how: str = "index"
    was_unknown: bool = False
    settled: bool = False
    must_see_index: int = 0

    @property
    def line(self) -> str:
        return self.command if "@" in self.command else f"{self.client.name}@{self.command}"

    def once_more(self) -> DealerRequest:
        """Return the same request, for a retry."""
        return DealerRequest(
            self.client, self.command, self.called_at, self.in_log, self.how, self.was_unknown
        )


class Ledger:
    """The observations of dealers, and their judge."""

    def __init__(self) -> None:
        self.transactions: list[ObservedTransaction] = []

    def judge(self, pairs: Pairs) -> None:
        """Compare the observations with the final state.

        Raises:
            AssertionError: no order of whole transactions explains these answers.
        """
        finals = {key: pairs[key] for key in KEYS if key in pairs}
        problems = findings(self.transactions, finals)
        assert not problems, problems
        check_sum(int(pairs[account]) for account in ACCOUNTS if account in pairs)


def check_sum(balances: object) -> None:
    sums = list(balances)  # type: ignore[call-overload]
    assert not sums or sum(sums) == SUM, f"the accounts hold {sums}"


class Dealer(OneAtATime):
    """A client with one request at a time, to the presumed leader or any node."""

    def __init__(
        self, world: World, plan: Plan, name: str, servers: Sequence[Server], ledger: Ledger
    ) -> None:
        super().__init__(world, plan, name, servers)
        self._ledger = ledger
        self._later: DealerRequest | None = None  # sent again in a moment
        self._number = 0
        self._is_numbered = world.chance(0.5)
        self._seen: dict[str, str] = {}
        self._mine: int | None = 0  # keys under its own prefix; None: not known
        self._then: Callable[[DealerRequest, str], None] = lambda request, reply: None
        self._or: Callable[[DealerRequest], None] = lambda request: None
        self._think()

    def stop(self) -> None:
        """Send no more requests; earlier ones may still be answered."""
        self.stopped = True
        if self._later is not None and self._later.was_unknown:
            self._or(self._later)

    # --- its requests ---------------------------------------------------------------------------

    def _think(self) -> None:
        self._world.within(2 * self._plan.think_ms, self._next)

    def _next(self) -> None:
        if self.stopped or self.waiting is not None:
            return
        kind = self._world.random.random()
        if kind < 0.55:
            self._append_and_read()
        elif kind < 0.75:
            self._transfer()
        elif kind < 0.9:
            self._look_at_the_bank()
        else:
            self._clear()

    def _append_and_read(self) -> None:
        """Read some keys and append to some; now and then only if a key still has its last seen
        value."""
        chance = self._world.random
        read = chance.sample(KEYS, chance.randrange(4))
        piece = f"{self.name}.{self._world.tick()}{END}"
        appended = chance.sample(KEYS, chance.randrange(0 if read else 1, 4))
        operations = [f"get {key}" for key in read]
        line = " ; ".join([*operations, *(f"append {key} {piece}" for key in appended)])
        condition = chance.choice(KEYS) if chance.random() < 0.3 else ""
        last_seen = self._seen.get(condition, "")
        if condition:
            holds = f"= {spell_word(last_seen)}" if last_seen else "absent"
            line = f"if {condition} {holds} then {line} else get {condition}"

        def then(request: DealerRequest, branch: str, answers: Sequence[str | None]) -> None:
            reads = {key: value or "" for key, value in zip(read, answers, strict=False)}
            appends = dict.fromkeys(appended, piece)
            if branch == "else":
                reads, appends = {condition: answers[0] or ""}, {}
            elif condition:
                reads[condition] = last_seen
            self._keep(request, self._world.tick(), reads, appends)
            self._seen |= {key: text + appends.get(key, "") for key, text in reads.items()}

        def unknown(request: DealerRequest) -> None:
            self._keep(request, None, {}, dict.fromkeys(appended, piece))

        self._ask_txn(line, then, unknown)

    def _keep(
        self,
        request: DealerRequest,
        returned_at: int | None,
        reads: Mapping[str, str],
        appends: Mapping[str, str],
    ) -> None:
        one = ObservedTransaction(self.name, request.called_at, returned_at, reads, appends)
        self._ledger.transactions.append(one)

    def _transfer(self) -> None:
        chance = self._world.random
        giver, taker = chance.sample(ACCOUNTS, 2)
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
            line += f" ; set word-{self.name} x ; incr word-{self.name}"
        self._ask_txn(f"{line} else get {giver} ; get {taker}")

    def _look_at_the_bank(self) -> None:
        """Open the accounts, or read all of them: in a transaction, or by `show`."""
        if self._world.chance(0.4):
            how = self._world.pick(("index", "lease", "ask"))
            self._then, self._or = self._shown, lambda request: None
            self._send(DealerRequest(self, "show bank", self._world.tick(), False, how))
            return
        opened = " ; ".join(f"set {account} {BALANCE}" for account in ACCOUNTS)
        got = " ; ".join(f"get {account}" for account in ACCOUNTS)

        def then(request: DealerRequest, branch: str, answers: Sequence[str | None]) -> None:
            if branch == "else":
                check_sum(int(each or 0) for each in answers)
                self._seen |= {key: each or "" for key, each in zip(ACCOUNTS, answers, strict=True)}

        self._ask_txn(f"if {ACCOUNTS[0]} absent then {opened} else {got}", then)

    def _shown(self, request: DealerRequest, reply: str) -> None:
        check_sum(map(int, json.loads(reply.removeprefix("SHOW response: ")).values()))
        self._world.counts["accounts shown"] += 1

    def _clear(self) -> None:
        """Set keys under a private prefix, or clear it."""
        if self._mine and self._world.chance(0.5):
            known, self._mine = self._mine, None

            def cleared(request: DealerRequest, reply: str) -> None:
                match = CLEARED.fullmatch(reply)
                assert match, f"{self.name} asked {request.line} and got {reply!r}"
                if known is not None and not request.was_unknown:
                    assert int(match[1]) == known, f"{reply}, though {known} were set"
                self._mine = 0
                self._world.counts["prefixes cleared"] += 1

            self._ask(f"clear own-{self.name}/", cleared)
            return
        count, before = self._world.random.randrange(1, 4), self._mine
        self._mine = None

        def then(request: DealerRequest, branch: str, answers: Sequence[str | None]) -> None:
            self._mine = None if before is None else max(before, count)

        keys = [f"own-{self.name}/{number}" for number in range(count)]
        self._ask_txn(" ; ".join(f"set {key} {count}" for key in keys), then)

    # --- requests -----------------------------------------------------------------------------

    def _ask_txn(
        self,
        line: str,
        then: Callable[[DealerRequest, str, Sequence[str | None]], None] | None = None,
        unknown: Callable[[DealerRequest], None] = lambda request: None,
    ) -> None:
        def answered(request: DealerRequest, reply: str) -> None:
            match = REPLY.fullmatch(reply)
            if match is None:
                assert "can't be done" in reply, f"{request.line} got {reply!r}"
                self._world.counts["transactions that can't be done"] += 1
                return
            self._world.counts[f"transactions answered, {match[1]}"] += 1
            if then is not None:
                then(request, match[1], json.loads(match[2]))

        self._ask(f"txn {line}", answered, unknown)

    def _ask(
        self,
        command: str,
        then: Callable[[DealerRequest, str], None],
        unknown: Callable[[DealerRequest], None] = lambda request: None,
    ) -> None:
        self._number += 1
        self._then, self._or = then, unknown
        sender = f"{self.name}#{self._number}@" if self._is_numbered else ""
        self._send(DealerRequest(self, sender + command, self._world.tick()))

    def answered(self, request: DealerRequest, reply: str) -> None:
        if not self._settle(request):
            return
        self._world.tell("answer", f"{self.name} <- {reply}")
        if reply.startswith(UNCERTAIN):
            self._is_numbered = False
            self._or(request)
        elif not reply.startswith(NO_LEVEL):
            self._then(request, reply)
        elif request.command.rpartition("@")[2].startswith("clear"):
            self._mine = 0
        self._think()

    def refused(self, request: DealerRequest, leader: str | None) -> None:
        """Handle a refusal: this try certainly had no effect."""
        if self._settle(request):
            self._leader = leader if leader in self._servers else None
            self._again_or_leave(request)

    def unknown(self, request: DealerRequest) -> None:
        """Handle a request that may have taken effect, may yet do so, or never will."""
        if self._settle(request):
            self._leader = None
            self._again_or_leave(replace(request, was_unknown=True))

    def _again_or_leave(self, request: DealerRequest) -> None:
        """Retry if the request can't take effect twice; else give up."""
        may_repeat = not request.in_log or "#" in request.command or not request.was_unknown
        if may_repeat and not self.stopped:
            self._later = request.once_more()
            self._world.within(20, self._repeat)
            return
        if request.was_unknown:
            self._or(request)
        self._think()

    def _repeat(self) -> None:
        request, self._later = self._later, None
        if request is not None and not self.stopped:
            self._send(request)
