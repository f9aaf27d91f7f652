"""Faults: how verbs are read, and what becomes of messages while they are in force."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from raftline.raft.log import Entry, Snapshot
from raftline.raft.messages import AppendAccepted, AppendEntries, InstallSnapshot, Message
from raftline.wire.protocol import ProtocolError
from raftline_course.controller.faults import (
    DELAYED_BYTES_MAX,
    MESSAGE_BYTES,
    Faults,
    Table,
    read_fault,
)
from raftline_course.controller.orders import FAULT_FORMS
from raftline_testing.nodes.processes import eventually

HEARTBEAT = AppendEntries("s1", "s2", 1, 0, 0)
ENTRIES = AppendEntries("s1", "s2", 1, 0, 0, [Entry(1, 1, "set a 4")])
PIECE = InstallSnapshot("s1", "s2", 1, Snapshot(1, 1, 10, 0), 0, 0, 1)


def put(table: Table, *lines: str) -> Table:
    for line in lines:
        verb, *words = line.split()
        table = read_fault(verb, words, {"s2", "s3"}).change(table)
    return table


def after(*lines: str, chance: float = 0.5) -> Faults:
    faults = Faults("s1", lambda: chance)
    faults.change(lambda table: put(table, *lines))
    return faults


def sent(faults: Faults, message: Message) -> bool:
    left: list[Message] = []
    faults.send(message, lambda: left.append(message))
    return left == [message]


@pytest.mark.parametrize(
    ("lines", "described"),
    [
        (["PARTITION s2 s3", "PARTITION s2"], ["PARTITION s2 s3"]),
        (["PARTITION s2 s3", "HEAL s2"], ["PARTITION s3"]),
        (["DROP 30%", "DROP 100% s3"], ["DROP 30%", "DROP 100% s3"]),
        (["DROP 30%", "DROP 0% s3"], ["DROP 30%", "DROP 0% s3"]),
        (["DROP 30% s2", "DROP 0% s2"], []),
        (["DROP 30% s2", "DROP 20%"], ["DROP 20%"]),
        (["DELAY 200ms", "DELAY 1.5s s2"], ["DELAY 200ms", "DELAY 1500ms s2"]),
        (["SKIP-REPLICATION on"], ["SKIP-REPLICATION on"]),
        (["SKIP-REPLICATION on", "SKIP-REPLICATION off"], []),
        (["HEARTBEAT 20s"], ["HEARTBEAT 20000ms"]),
        (["HEARTBEAT 20s", "HEARTBEAT normal"], []),
        (["PARTITION s2", "DROP 3%", "DELAY 1s", "SKIP-REPLICATION on", "HEAL"], []),
    ],
)
def test_a_fault_is_described_as_the_verb_that_brings_it(
    lines: list[str], described: list[str]
) -> None:
    table = put(Table(), *lines)
    assert table.described() == described
    assert (table == Table()) is (described == [])


@pytest.mark.parametrize(
    "line",
    [
        "PARTITION", "PARTITION s9", "HEAL s9", "DROP", "DROP 30", "DROP 101%", "DROP -1%",
        "DROP 5% s9", "DELAY", "DELAY 5", "DELAY 2h", "DELAY 3601s", "SKIP-REPLICATION",
        "SKIP-REPLICATION yes", "HEARTBEAT", "HEARTBEAT 0s", "HEARTBEAT 1s for",
        "HEARTBEAT 1s for 0s", "HEARTBEAT 1s during 2s", "HEARTBEAT normal for 2s",
    ],
)  # fmt: skip
def test_a_malformed_fault_is_refused_with_the_right_form(line: str) -> None:
    verb, *words = line.split()
    with pytest.raises(ProtocolError) as refusal:
        read_fault(verb, words, {"s2", "s3"})
    assert str(refusal.value).endswith(". Nothing was changed.")
    no_peer = "s9 is not a peer of this server; it has s2 s3"
    about = (f"the form is: {FAULT_FORMS[verb]}", no_peer, "longer than an hour")
    assert any(part in str(refusal.value) for part in about)


def test_a_partition_drops_messages_in_both_directions() -> None:
    faults = after("PARTITION s2")
    assert faults.in_force
    assert faults.cuts_off("s2")
    assert not faults.cuts_off("s3")
    assert not sent(faults, HEARTBEAT)


def test_a_leader_that_skips_replication_sends_only_heartbeats() -> None:
    faults = after("SKIP-REPLICATION on")
    assert sent(faults, HEARTBEAT)
    assert not sent(faults, ENTRIES)
    assert not sent(faults, PIECE)


@pytest.mark.parametrize(
    ("lines", "chance", "arrives"),
    [
        (["DROP 30%"], 0.29, False),
        (["DROP 30%"], 0.3, True),
        (["DROP 100%"], 0.999, False),
        (["DROP 100% s3"], 0.0, True),
        (["DROP 100%", "DROP 0% s2"], 0.0, True),
    ],
)
def test_the_ordered_share_of_messages_is_lost(
    lines: list[str], chance: float, arrives: bool
) -> None:
    assert sent(after(*lines, chance=chance), HEARTBEAT) is arrives


def test_delayed_messages_arrive_later_in_order() -> None:
    faults, arrived = after("DELAY 10ms"), list[int]()
    go_on, done = threading.Event(), threading.Event()

    def waits() -> None:
        go_on.wait(60)  # so that 10 ms are over when the test says so

    faults.send(HEARTBEAT, waits)
    for number in range(5):
        faults.send(HEARTBEAT, partial(arrived.append, number))
    faults.send(HEARTBEAT, done.set)
    assert arrived == []
    go_on.set()
    assert done.wait(60)
    assert arrived == [0, 1, 2, 3, 4]


def test_a_delay_of_one_peer_holds_for_that_one_alone() -> None:
    faults = after("DELAY 60s s3")
    assert sent(faults, HEARTBEAT)
    assert not sent(faults, replace(HEARTBEAT, to="s3"))
    faults.change(lambda table: put(table, "DELAY 60s", "DELAY 0ms s2"))
    assert sent(faults, HEARTBEAT)
    assert not sent(faults, replace(HEARTBEAT, to="s3"))


def test_delay_queue_is_bounded_and_reports_overflow_once() -> None:
    """The delay queue is bounded and its overflow reported once."""
    said: list[str] = []
    faults, arrived, go_on = Faults("s1", say=said.append), list[int](), threading.Event()
    done = threading.Event()

    def stand_still() -> None:
        assert go_on.wait(60)

    faults.change(lambda table: put(table, "DELAY 10ms"))
    faults.send(HEARTBEAT, stand_still)
    eventually(lambda: not faults._later._acts)
    size = (DELAYED_BYTES_MAX >> 2) - MESSAGE_BYTES
    for number in range(6):
        faults.send(ENTRIES, partial(arrived.append, number), size)
    faults.after(0.02, done.set)  # what a controller ordered is never lost
    assert said == [
        "[!] s1: 64 MiB of messages are delayed already; until some have left, further ones are "
        "lost"
    ]
    go_on.set()
    assert done.wait(60)
    assert arrived == [0, 1, 2, 3]
    done.clear()
    faults.send(ENTRIES, done.set, size)  # there is room again
    assert done.wait(60)


def test_answer_is_subject_to_faults_in_force_as_it_leaves() -> None:
    """An answer is subject to the faults in force as it leaves."""

    class Origin:
        def __init__(self) -> None:
            self.given: list[Message] = []

        def answer(self, messages: Sequence[Message]) -> None:
            self.given += messages

    faults, origin = Faults("s1"), Origin()
    around = faults.around(origin)
    assert around is not None
    answers = [AppendAccepted("s1", "s2", 1, 1, 1), AppendAccepted("s1", "s3", 1, 1, 1)]
    around.answer(answers)
    assert origin.given == answers
    faults.change(lambda table: put(table, "PARTITION s2"))
    around.answer(answers)
    assert origin.given == [*answers, answers[1]]
