"""Clients of transactions over several keys, and the verdict on their observations.

They append to five keys and read them, so that the history can be judged (serializable.py). They
also transfer money between five accounts: every read, of any kind, must see the same sum.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from raftline.wire.commands.transaction_line import spell_word

from ..histories.history import Change
from ..histories.serializable import END, ObservedTransaction, findings
from ..nodes.cluster import NodeProcess
from .mix import Mix, Pulse
from .workload import WorkloadClient

KEYS = 5
BALANCE = 100
SUM = KEYS * BALANCE
REPLY = re.compile(r"TXN response, (then|else): (\[.*\])", re.DOTALL)
# each reads the state of one moment
WAYS_TO_LOOK = ("", " read index", " read lease", " read local")


class Transactor(WorkloadClient):
    """One client: it appends and reads in transactions, and moves money."""

    def __init__(
        self, name: str, nodes: Sequence[NodeProcess], mix: Mix, seed: str, pulse: Pulse | None
    ) -> None:
        super().__init__(name, nodes, mix, seed, pulse)
        self.transactions: list[ObservedTransaction] = []
        self.sums: list[int] = []  # the sum of all accounts at each read
        self._changes: list[Change] = []

    @property
    def changes(self) -> list[Change]:
        return self._changes

    def _ask_something(self) -> bool:
        chance = self._chance.random()
        if chance < 0.6:
            return self._append_and_read()
        return self._look_at_the_bank() if chance < 0.75 else self._transfer()

    # --- appends and reads -----------------------------------------------------------------

    def _append_and_read(self) -> bool:
        """Read some keys and append to some; now and then only if a key still has its last seen
        value."""
        chance, called_at = self._chance, time.monotonic()
        keys = [f"{self._mix.prefix}t{number}" for number in range(KEYS)]
        read = chance.sample(keys, chance.randrange(4))
        self._written += 1
        piece = f"{self.name}.{self._written}{END}"
        appended = chance.sample(keys, chance.randrange(0 if read else 1, 4))
        operations = [f"get {key}" for key in read]
        operations += [f"append {key} {piece}" for key in appended]
        line = f"txn {' ; '.join(operations)}"
        condition = chance.choice(keys) if chance.random() < 0.3 else ""
        if condition:
            last_seen = self._seen.get(condition)
            holds = "absent" if last_seen is None else f"= {spell_word(last_seen)}"
            then = line.removeprefix("txn ")
            line = f"txn if {condition} {holds} then {then} else get {condition}"
        branch, answers, was_sent = self._ask_for(line, appended)
        if not branch:
            if was_sent and appended:
                unknown = {key: piece for key in appended}
                self.transactions.append(
                    ObservedTransaction(self.name, called_at, None, {}, unknown)
                )
            return False
        reads = {key: value or "" for key, value in zip(read, answers, strict=False)}
        if branch == "else":
            reads, appended = {condition: answers[0] or ""}, []
        elif condition and condition not in read:
            reads[condition] = self._seen.get(condition, "")
        appends = {key: piece for key in appended}
        one = ObservedTransaction(self.name, called_at, time.monotonic(), reads, appends)
        self.transactions.append(one)
        for key, text in reads.items():
            self._seen[key] = text + appends.get(key, "")
            if not self._seen[key]:
                del self._seen[key]
        return True

    # --- the bank --------------------------------------------------------------------------

    def _accounts(self) -> list[str]:
        return [f"{self._mix.prefix}bank{number}" for number in range(KEYS)]

    def _look_at_the_bank(self) -> bool:
        """Read all accounts, and open them if that hasn't happened yet."""
        accounts = self._accounts()
        if self._chance.random() < 0.5:
            mode = self._chance.choice(WAYS_TO_LOOK)
            self._look_at(self._chance.choice(list(self._nodes)))
            shown, _ = self._try(f"{self.name}@show {self._mix.prefix}bank{mode}")
            if not shown or shown.startswith("Sorry, "):
                return False
            balances = json.loads(shown.removeprefix("SHOW response: ")).values()
            self.sums += [sum(map(int, balances))] if balances else []
            return True
        opened = " ; ".join(f"set {account} {BALANCE}" for account in accounts)
        got = " ; ".join(f"get {account}" for account in accounts)
        line = f"txn if {accounts[0]} absent then {opened} else {got}"
        branch, answers, _ = self._ask_for(line, accounts)
        if branch == "else":
            self.sums.append(sum(int(each or 0) for each in answers))
            self._seen |= {key: each or "" for key, each in zip(accounts, answers, strict=True)}
        return bool(branch)

    def _transfer(self) -> bool:
        """Move money: by two additions, or by setting two values if both are unchanged."""
        giver, taker = self._chance.sample(self._accounts(), 2)
        amount = self._chance.randrange(1, 20)
        have = [self._seen.get(giver, ""), self._seen.get(taker, "")]
        if not all(have):
            return self._look_at_the_bank()
        line = f"txn if {giver} exists then incr {giver} -{amount} ; incr {taker} {amount}"
        if self._chance.random() < 0.5:
            line = (
                f"txn if {giver} = {have[0]} ; {taker} = {have[1]} then set {giver} "
                f"{int(have[0]) - amount} ; set {taker} {int(have[1]) + amount}"
            )
        if self._chance.random() < 0.1:  # it can't succeed, so no part of it may
            word = f"{self._mix.prefix}word"
            text, _ = self._try(f"{self.name}@{line} ; set {word} x ; incr {word}")
            assert not (text or "").startswith("TXN response, then"), text
        branch, _, _ = self._ask_for(f"{line} else get {giver} ; get {taker}", (giver, taker))
        self._seen.pop(giver, None)
        self._seen.pop(taker, None)
        return bool(branch)

    # --- both ------------------------------------------------------------------------------

    def _ask_for(self, line: str, changed: Collection[str]) -> tuple[str, list[str | None], bool]:
        """Return the branch taken, "" without an answer; its results; and whether it may have taken
        effect. Its first branch changes the keys `changed`."""
        called_at, numbered = time.monotonic(), bool(changed) and self._chance.random() < 0.7
        text, was_sent = self._settle(line, numbered, called_at)
        if text.startswith("TXN response, then") or (was_sent and not text):
            self._note_changes(changed, called_at)
        if not text:
            self.outcomes["txn unknown" if was_sent else "txn not done"] += 1
            return "", [], was_sent
        match = REPLY.fullmatch(text)
        assert match, f"{self.name} asked {line!r} and got {text!r}"
        self._note("txn answered", None)
        self.outcomes[f"txn {match[1]}"] += 1
        return match[1], json.loads(match[2]), True

    def _note_changes(self, keys: Iterable[str], called_at: float) -> None:
        self._changes += [Change(key, "set", called_at) for key in keys]


def transactors(
    count: int, nodes: Sequence[NodeProcess], mix: Mix, seed: str, pulse: Pulse | None = None
) -> list[Transactor]:
    """Return this many clients; all of them use the same keys."""
    names = [f"{mix.prefix}transactor{number}" for number in range(1, count + 1)]
    return [Transactor(name, nodes, mix, seed, pulse) for name in names]


def transaction_findings(
    clients: Iterable[Transactor], shown: Mapping[str, str], prefix: str
) -> list[str]:
    """Judge the clients' observations; `shown` holds the final values of the keys."""
    clients = list(clients)
    finals = {key: text for key, text in shown.items() if key.startswith(f"{prefix}t")}
    problems = findings([one for client in clients for one in client.transactions], finals)
    accounts = [int(text) for key, text in shown.items() if key.startswith(f"{prefix}bank")]
    sums = [each for client in clients for each in client.sums]
    sums += [sum(accounts)] if accounts else []
    return problems + [f"the accounts held {each}, not {SUM}" for each in sums if each != SUM]
