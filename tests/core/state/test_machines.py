"""State machines of a program's own: one state on every node, and none where one is missing."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.raft.log import SafetyError
from raftline.state.commands.machines import Machines, Rejected, UnknownMachine
from tests.core.state.machine import Machine


class Bank:
    """Accounts; the command tells what a test wants of it."""

    def __init__(self) -> None:
        self.accounts: dict[str, int] = {}
        self.restored = 0

    def apply(self, command: Any) -> Any:
        name, amount = command["to"], command["amount"]
        self.accounts[name] = self.accounts.get(name, 0) + amount  # before it looks, on purpose
        if self.accounts[name] < 0:
            raise Rejected(f"{name} has not got {-amount}")
        if amount == 13:
            raise KeyError("a mistake in apply")
        if amount == 14:
            raise OSError("the disk of this node")
        if amount == 15:
            raise SystemExit
        return {1, 2} if amount == 16 else self.accounts[name]

    def snapshot(self) -> Any:
        return self.accounts

    def restore(self, state: Any) -> None:
        self.restored += 1
        self.accounts = state


class Node(Machine):
    """A node with a bank, and what it answers."""

    def __init__(self, **machines: Any) -> None:
        super().__init__(Machines(machines))

    def pay(self, amount: int) -> str:
        return self.do(f'machine bank {{"to": "ann", "amount": {amount}}}')


def test_machine_command_changes_the_state_of_every_node() -> None:
    """A machine command changes the state that reads see at every node."""
    bank = Bank()
    node = Node(bank=bank)
    assert node.pay(5) == "MACHINE response: 5"
    assert node.pay(2) == "MACHINE response: 7"
    assert node.do("get bank") == 'GET response: {"ann": 7}'
    assert bank.restored == 0  # it is its own state: nothing has to be read back


def test_a_rejected_machine_command_changes_no_state() -> None:
    node = Node(bank=Bank())
    node.pay(5)
    assert node.pay(-6) == "Sorry, bank: ann has not got 6. Nothing was done."
    assert node.do("get bank") == 'GET response: {"ann": 5}'
    assert node.pay(1) == "MACHINE response: 6"


@pytest.mark.parametrize(("amount", "why"), [(13, "KeyError"), (16, "TypeError")])
def test_exception_in_apply_is_refused_alike_by_all_pythons(amount: int, why: str) -> None:
    """If `apply` raises, the refusal is the same in every version of Python."""
    node = Node(bank=Bank())
    assert node.pay(amount) == f"Sorry, bank: {why}. Nothing was done."
    assert node.pay(1) == "MACHINE response: 1"


@pytest.mark.parametrize("amount", [14, 15])
def test_an_error_that_may_be_local_to_a_node_stops_it(amount: int) -> None:
    with pytest.raises(SafetyError, match="need not have happened to it on the other nodes"):
        Node(bank=Bank()).pay(amount)


def test_a_node_without_the_machine_stops_and_names_the_machine() -> None:
    with pytest.raises(UnknownMachine, match='"bank", which this node does not have'):
        Node().pay(1)


def test_a_machine_restores_its_state_from_its_stored_value() -> None:
    bank = Bank()
    node = Node(bank=bank)
    node.pay(5)
    node.do('set bank {"ann": 100}')
    assert node.pay(1) == "MACHINE response: 101"
    assert bank.restored == 1
    node.do("delete bank")
    assert node.pay(1) == "MACHINE response: 1"
    node.do("set bank nonsense")
    assert node.pay(1) == "Sorry, bank: NotJsonError. Nothing was done."
    assert node.do("get bank") == "GET response: nonsense"


def test_an_empty_value_of_a_machine_is_read_alike_by_every_node() -> None:
    long_lived = Node(bank=Bank())
    long_lived.pay(5)
    long_lived.pay(-6)  # it is to be restored before the next command
    new = Node(bank=Bank())  # comes later, from a snapshot
    for node in (long_lived, new):
        node.do("set bank ")
        assert node.pay(1) == "Sorry, bank: NotJsonError. Nothing was done."
        assert node.do("get bank") == "GET response: "


def test_a_state_longer_than_a_value_may_be_is_refused() -> None:
    node = Node(bank=Bank())
    reply = node.do('machine bank {"to": "' + "v" * 1_048_576 + '", "amount": 1}')
    assert reply.startswith("Sorry, the state of bank would have 10485")
    assert node.pay(1) == "MACHINE response: 1"


def test_a_retry_is_applied_to_the_machine_once() -> None:
    node = Node(bank=Bank())
    for _ in range(2):
        assert node.do('c#1@machine bank {"to": "ann", "amount": 5}') == "MACHINE response: 5"
