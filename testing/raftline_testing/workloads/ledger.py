"""The observations of clients of transactions, and their judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..histories.history import Change
from ..histories.serializable import ObservedTransaction, findings

COUNT = 5  # of the keys that are read and appended to, and of the accounts
BALANCE = 100
SUM = COUNT * BALANCE


class Ledger:
    """The keys and accounts of one prefix, as all its clients saw them."""

    def __init__(self, prefix: str = "") -> None:
        self.keys = [f"{prefix}txn{number}" for number in range(COUNT)]
        self.accounts = [f"{prefix}bank{number}" for number in range(COUNT)]
        self.bank = f"{prefix}bank"  # their common prefix
        self.transactions: list[ObservedTransaction] = []
        self.looks = 0  # at all accounts
        self.changes: list[Change] = []  # that took effect, or may have

    def __len__(self) -> int:
        return len(self.transactions) + self.looks

    def look(self, balances: Iterable[object]) -> None:
        """Check what somebody saw of all accounts, or that none is open.

        Raises:
            AssertionError: their sum is another one.
        """
        self.looks += 1
        _check_sum(balances)

    def findings(self, pairs: Mapping[str, str]) -> list[str]:
        """Compare the observations with the final state; return what no order of whole
        transactions explains."""
        finals = {key: pairs[key] for key in self.keys if key in pairs}
        problems = findings(self.transactions, finals)
        try:
            _check_sum(pairs[account] for account in self.accounts if account in pairs)
        except AssertionError as wrong:
            problems.append(str(wrong))
        return problems


def _check_sum(balances: Iterable[object]) -> None:
    sums = [int(str(balance or 0)) for balance in balances]
    assert not sums or sum(sums) == SUM, f"the accounts hold {sums}, not {SUM}"
