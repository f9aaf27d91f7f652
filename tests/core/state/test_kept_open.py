"""Values that the operations of one verb keep open in a transaction (`KEPT_OPEN`)."""

from __future__ import annotations

import json

import pytest

from raftline.state.commands.key_commands import KEPT_OPEN
from raftline.state.store import Store
from raftline.wire.refusal import WRONG_KIND, RequestRefused
from tests.core.state.machine import Machine

IDENTIFIES = "cluster 9f86d081884c7d65 level 1"


class OpenTexts:
    """Texts that `append` lengthens, and writes in capitals as it closes them."""

    closed: list[str]

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, str] = {}

    @property
    def are_open(self) -> bool:
        return bool(self._open)

    def execute(self, operands: str) -> str:
        key, _, tail = operands.partition(" ")
        self._open[key] = self._open.get(key, self._store.get(key, "")) + tail
        return f"APPEND response: {key}"

    def close(self, key: str) -> None:
        if key in self._open:
            OpenTexts.closed.append(key)
            text = self._open.pop(key)
            if text == "bad":
                raise RequestRefused(WRONG_KIND(key, "text"))
            self._store[key] = text.upper()

    def close_all(self) -> None:
        for key in list(self._open):
            self.close(key)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setitem(KEPT_OPEN, "append", OpenTexts)
    monkeypatch.setattr(OpenTexts, "closed", [], raising=False)
    machine = Machine()
    machine.do(IDENTIFIES)
    return machine


def results(reply: str) -> list[str | None]:
    head, _, text = reply.partition(": ")
    assert head == "TXN response, then", reply
    answers: list[str | None] = json.loads(text)
    return answers


@pytest.mark.parametrize(
    ("operations", "answers", "closed"),
    [
        ("append a x ; append b y ; append a z", ["a", "b", "a"], ["a", "b"]),
        ("append a x ; get a ; append a z ; get a", ["a", "X", "a", "XZ"], ["a", "a"]),
        ("append a x ; append b y ; get b ; get c", ["a", "b", "Y", None], ["b", "a"]),
        ("append a x ; append b y ; clear c", ["a", "b", "0 keys deleted"], ["a", "b"]),
        (
            "append a x ; append b y ; under lease-9 set b z",
            None,
            ["b"],
        ),
    ],
    ids=["end", "its key", "another key", "clear", "under a lease"],
)
def test_value_is_closed_before_another_verb_sees_it(
    machine: Machine, operations: str, answers: list[str | None] | None, closed: list[str]
) -> None:
    """Each value is closed once: before the next operation of another verb on its key, before a
    `clear`, or at the end."""
    reply = machine.do(f"txn {operations}")
    if answers is None:
        assert "no such lease: lease-9" in reply
    else:
        assert results(reply) == answers
    assert OpenTexts.closed == closed


def test_transaction_writes_what_it_kept_open(machine: Machine) -> None:
    machine.do("txn append a x ; append a y ; set b 1")
    assert machine.do("get a") == "GET response: XY"


@pytest.mark.parametrize("after", ["", " ; get a", " ; clear c"], ids=["end", "get", "clear"])
def test_value_that_does_not_fit_undoes_a_transaction(machine: Machine, after: str) -> None:
    machine.do("set b 1")
    reply = machine.do(f"txn set b 2 ; append a bad{after}")
    assert reply.startswith("Sorry, a holds no text but something else")
    assert machine.do("get b") == "GET response: 1"
    assert machine.do("get a") == "GET response, no such key: a"


def test_command_alone_keeps_nothing_open(machine: Machine) -> None:
    assert machine.do("append a x") == "APPEND response: a has 1 bytes"
    assert OpenTexts.closed == []
