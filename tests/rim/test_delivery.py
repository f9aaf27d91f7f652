"""An answer that another step makes true goes to the last asker, on its own connection."""

from __future__ import annotations

from collections.abc import Sequence

from raftline.node.stepper import Delivery
from raftline.node.writer import WriteQueue
from raftline.raft.effects import Effects, HardState
from raftline.raft.messages import (
    AppendEntries,
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
    delivery = Delivery(lambda _: None, no_writes())
    of_s2, of_s3 = Connection(), Connection()
    delivery.asked(ReadIndex("s2", "s1", 1, 7), of_s2)
    delivery.asked(ReadIndex("s3", "s1", 1, 8), of_s3)
    # An acknowledgement of s3 confirmed both.
    delivery.deliver([read_at("s2", 7), read_at("s3", 8)], of_s3)
    assert (of_s2.answered, of_s3.answered) == ([read_at("s2", 7)], [read_at("s3", 8)])


def test_a_read_index_reply_goes_to_a_followers_new_connection() -> None:
    delivery = Delivery(lambda _: None, no_writes())
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
    Delivery(sent.append, no_writes()).deliver([read_at("s2", 7)], origin)
    assert (sent, origin.answered) == ([], [])


def test_a_reply_goes_to_its_asker_and_a_request_to_its_peer() -> None:
    sent: list[Message] = []
    origin = Connection()
    answer, question = RequestVoteReply("s1", "s2", 1, True), AppendEntries("s1", "s2", 1, 0, 0)
    Delivery(sent.append, no_writes()).deliver([answer, question], origin)
    assert (sent, origin.answered) == ([question], [answer])


def test_only_messages_that_depend_on_the_disk_wait_for_it() -> None:
    sent: list[Message] = []
    writes, origin = no_writes(), Connection()
    delivery = Delivery(sent.append, writes)
    granted, beat = RequestVoteReply("s1", "s2", 1, True), AppendEntries("s1", "s2", 1, 0, 0)
    voted = Effects(send=[beat], save=HardState(1, "s2"), send_after_save=[granted])
    delivery.dispatch(voted, origin)
    assert (sent, origin.answered, writes.begin()) == ([beat], [], [(voted, origin)])
    for effects, asker in writes.take_written():
        delivery.deliver(effects.send_after_save, asker)
    assert origin.answered == [granted]


def test_no_reply_leaves_before_a_write_in_flight() -> None:
    writes, origin = no_writes(), Connection()
    delivery = Delivery(lambda _: None, writes)
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
