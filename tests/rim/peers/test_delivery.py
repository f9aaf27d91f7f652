"""An answer that another step makes true goes to the last asker, on its own connection."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from raftline.node.loop.stepper import MessageDelivery
from raftline.node.loop.writer import WAITING_MAX, WriteQueue
from raftline.raft.effects import Effects, HardState
from raftline.raft.log import Entry, Snapshot
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    Message,
    ReadIndex,
    ReadIndexReply,
    RequestVoteReply,
)


def no_writes() -> WriteQueue:
    """Return a queue of a disk that has nothing to do."""
    return WriteQueue(lambda: None)


class Connection:
    """A peer's connection: it keeps what is answered on it."""

    def __init__(self) -> None:
        self.answered: list[Message] = []

    def answer(self, messages: Sequence[Message]) -> None:
        self.answered += messages


def read_at(to: str, number: int) -> ReadIndexReply:
    return ReadIndexReply("s1", to, 1, 3, number)


def test_a_read_index_reply_goes_to_the_connection_that_asked() -> None:
    delivery = MessageDelivery(lambda _: None, no_writes())
    of_s2, of_s3 = Connection(), Connection()
    delivery.asked(ReadIndex("s2", "s1", 1, 7), of_s2)
    delivery.asked(ReadIndex("s3", "s1", 1, 8), of_s3)
    # An acknowledgement of s3 confirmed both.
    delivery.deliver([read_at("s2", 7), read_at("s3", 8)], of_s3)
    assert (of_s2.answered, of_s3.answered) == ([read_at("s2", 7)], [read_at("s3", 8)])


def test_a_read_index_reply_goes_to_a_followers_new_connection() -> None:
    delivery = MessageDelivery(lambda _: None, no_writes())
    connections = [Connection() for _ in range(3)]
    for number, connection in enumerate(connections):
        delivery.asked(ReadIndex("s2", "s1", 1, number), connection)
        delivery.deliver([read_at("s2", number)], None)
    assert [connection.answered for connection in connections] == [
        [read_at("s2", number)] for number in range(3)
    ]


def test_no_read_index_reply_goes_to_a_node_that_never_asked() -> None:
    sent: list[Message] = []
    origin = Connection()
    MessageDelivery(sent.append, no_writes()).deliver([read_at("s2", 7)], origin)
    assert (sent, origin.answered) == ([], [])


def test_a_reply_goes_to_its_asker_and_a_request_to_its_peer() -> None:
    sent: list[Message] = []
    origin = Connection()
    answer, question = RequestVoteReply("s1", "s2", 1, True), AppendEntries("s1", "s2", 1, 0, 0)
    MessageDelivery(sent.append, no_writes()).deliver([answer, question], origin)
    assert (sent, origin.answered) == ([question], [answer])


def test_only_messages_that_depend_on_the_disk_wait_for_it() -> None:
    sent: list[Message] = []
    writes, origin = no_writes(), Connection()
    delivery = MessageDelivery(sent.append, writes)
    granted, beat = RequestVoteReply("s1", "s2", 1, True), AppendEntries("s1", "s2", 1, 0, 0)
    voted = Effects(send=[beat], save=HardState(1, "s2"), send_after_save=[granted])
    delivery.dispatch(voted, origin)
    assert (sent, origin.answered, writes.begin()) == ([beat], [], [(voted, origin)])
    for effects, asker in writes.take_written():
        delivery.deliver(effects.send_after_save, asker)
    assert origin.answered == [granted]


def test_no_reply_leaves_before_a_write_in_flight() -> None:
    writes, origin = no_writes(), Connection()
    delivery = MessageDelivery(lambda _: None, writes)
    denied = Effects(send_after_save=[RequestVoteReply("s1", "s2", 1, False)])
    writes.add((Effects(save=HardState(1, "s2")), None))
    writes.begin()
    delivery.dispatch(denied, origin)
    assert origin.answered == []
    writes.take_written()
    assert writes.begin() == [(denied, origin)]
    writes.take_written()
    delivery.dispatch(denied, origin)
    assert (origin.answered, writes.is_busy) == (denied.send_after_save, False)


def test_answer_without_a_promise_overtakes_entries() -> None:
    """An answer that promises nothing new does not wait for entries that are being written."""
    writes, origin = no_writes(), Connection()
    delivery = MessageDelivery(lambda _: None, writes)
    writes.add((Effects(append=[Entry(1, 1, "set a 1")]), None))
    writes.begin()
    writes.add((Effects(append=[Entry(2, 1, "set a 2")]), None))
    alive = AppendAccepted("s2", "s1", 1, 0, 7)
    delivery.dispatch(Effects(send_past_entries=[alive]), origin)
    assert origin.answered == [alive]


@pytest.mark.parametrize(
    "promise",
    [
        Effects(save=HardState(1, "s2")),
        Effects(save=HardState(1, None, 500)),
        Effects(forgot=True),
        Effects(recovered=True),
        Effects(cut_after=3),
        Effects(install=Snapshot(5, 1, 10, 0)),
    ],
)
@pytest.mark.parametrize("is_being_written", [False, True])
def test_no_answer_overtakes_a_promise(promise: Effects, is_being_written: bool) -> None:
    writes, origin = no_writes(), Connection()
    delivery = MessageDelivery(lambda _: None, writes)
    writes.add((promise, None))
    if is_being_written:
        writes.begin()
    writes.add((Effects(append=[Entry(1, 1, "set a 1")]), None))
    alive = AppendAccepted("s2", "s1", 1, 0, 7)
    delivery.dispatch(Effects(send_past_entries=[alive]), origin)
    assert origin.answered == []
    for effects, asker in (*writes.writing, *writes.waiting):
        delivery.deliver(effects.send_after_save, asker)
    assert origin.answered == [alive]


def test_answers_to_a_hanging_disk_are_bounded() -> None:
    """There is a bound on the answers that wait for a disk, and the entries are kept."""
    writes, origin = no_writes(), Connection()
    delivery = MessageDelivery(lambda _: None, writes)
    delivery.dispatch(Effects(append=[Entry(1, 1, "set a 1")]), origin)
    writes.begin()
    for number in range(3 * WAITING_MAX):
        delivery.dispatch(Effects(send_after_save=[AppendRejected("s2", "s1", 1, 0, number)]), None)
    assert writes.count <= WAITING_MAX + 1
    last = Effects(append=[Entry(2, 1, "set a 2")])
    delivery.dispatch(last, origin)
    assert writes.waiting[-1] == (last, origin)


def test_a_disk_that_hangs_is_full_by_the_length_of_what_waits() -> None:
    writes, long = no_writes(), "set a " + "x" * (1 << 20)
    count = 0
    while not writes.is_full:
        count += 1
        writes.add((Effects(append=[Entry(count, 1, long)]), None))
        assert count <= 100
    writes.begin()
    assert not writes.is_full
