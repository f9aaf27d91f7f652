"""The requests in the queue, and the reply to each."""

from __future__ import annotations

import math
import sys
import weakref
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raftline.node.loop.queue
from raftline.net.protocol.host import SHORT, Batch, ReplySink
from raftline.node.loop.measures import Measures
from raftline.node.loop.queue import RequestQueue
from raftline.raft.change import Change
from raftline.raft.log import Entry
from raftline.wire.commands.parsing import BY_ROUND, Reading
from raftline.wire.limits import (
    KEY_BYTES,
    LONG_QUEUED_BYTES,
    LONG_TOGETHER,
    LONG_TURNS,
    LONG_UNDER_WAY_BYTES,
    PEER_LINE_BYTES,
    QUICK_TOGETHER,
    QUICK_TURNS,
    READS_TOGETHER,
    VALUE_BYTES,
    WRITES_TOGETHER,
)
from raftline.wire.operands.operands import Limits
from raftline.wire.peer_lines import format_entries
from raftline.wire.refusal import NO_LEADER, NOT_REACHED, TOO_MUCH_WAITS
from raftline.wire.replies.replies import RequestOutcome, outcome_of
from raftline_testing.doubles.set_clock import SetClock
from raftline_testing.doubles.silent_sink import SilentSink


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=6),
    st.integers(1, 9),
    st.integers(0, 4),
    st.data(),
)
def test_each_request_gets_the_reply_to_its_own_entry(
    sizes: list[int], first: int, before: int, data: st.DataObject
) -> None:
    queue = RequestQueue(hold_ms=1000)
    batches = [
        Batch([f"{n}.{i}" for i in range(size)], is_read=False) for n, size in enumerate(sizes)
    ]
    entered = queue.enter(batches, first + before, term=1)
    commands = [f"before {i}" for i in range(before)] + entered + ["behind 1", "behind 2"]
    applied = 0
    while applied < len(commands):  # as many at a time as are committed together
        count = data.draw(st.integers(1, len(commands) - applied))
        replies = [f"to {command}" for command in commands[applied : applied + count]]
        queue.answer_applied(replies, first + applied, first + applied + count - 1)
        applied += count
        for batch in batches:
            assert batch.replies == [f"to {each}" for each in batch.commands][: len(batch.replies)]
            assert batch.is_answered == (len(batch.replies) == len(batch.commands))
    assert all(batch.is_answered for batch in batches)


def test_unanswered_writes_of_a_fallen_leader_are_unknown() -> None:
    queue = RequestQueue(hold_ms=1000)
    batches = [Batch(["a", "b"], is_read=False), Batch(["c"], is_read=False)]
    queue.enter(batches, 5, term=3)
    assert not queue.are_pending_beside(3)
    assert queue.are_pending_beside(4)
    assert queue.are_pending_beside(None)
    queue.answer_applied(["to a"], 5, 5)
    queue.give_up_pending("it fell")
    assert batches[0].replies == ["to a", "Sorry, outcome unknown: it fell"]
    assert batches[1].replies == ["Sorry, outcome unknown: it fell"]
    queue.answer_applied(["to another's", "to another's"], 6, 7)  # too late for these
    assert batches[1].replies == ["Sorry, outcome unknown: it fell"]


@pytest.mark.parametrize(
    ("is_read", "reading", "asks"),
    [(True, Reading(may_ask=True), True), (True, BY_ROUND, False), (False, BY_ROUND, False),
     (False, Reading(may_ask=True), False)],
)  # fmt: skip
def test_a_follower_forwards_only_reads_that_may_be_forwarded(
    is_read: bool, reading: Reading, asks: bool
) -> None:
    assert Batch(["get a"], is_read=is_read, reading=reading).asks_leader is asks


def test_held_requests_go_first_and_keep_their_deadline() -> None:
    queue = RequestQueue(hold_ms=1000)
    held, write, read = (Batch(["x"], is_read=is_read) for is_read in (False, False, True))
    change = Batch(["remove s2"], is_read=False, change=Change("remove", "s2"))
    queue.hold([held], 5)
    assert queue.held_until_ms == 1005
    for batch in (write, read, change):
        queue.put(batch)
    assert queue.take(writes=True, reads=False) == [held, change, write]
    assert queue.take(writes=True, reads=True) == [read]
    queue.hold([held], 900)
    assert queue.held_until_ms == 1005
    queue.hold(queue.take(writes=True, reads=True), 1005)
    assert held.replies == [NO_LEADER]


def test_the_requests_that_wait_for_a_leader_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raftline.node.loop.queue, "BATCHES_HELD", 2)
    queue = RequestQueue(hold_ms=1000)
    batches = [Batch(["x"], is_read=False) for _ in range(3)]
    queue.hold(batches, 5)
    assert [batch.replies for batch in batches] == [[], [], [NO_LEADER]]


def test_connection_chooses_what_is_kept_of_its_replies() -> None:
    class Sink:
        user: str | None = None

        def keep(self, batch: Batch, replies: list[str]) -> list[str]:
            assert batch.ids == ["1", "2", "3"]
            return [reply[:3] for reply in replies]

        def mark_ready(self) -> None:
            pass

    queue = RequestQueue(hold_ms=100)
    sink: Any = Sink()
    gets, ids = ["get a", "get b", "get c"], ["1", "2", "3"]
    batch = Batch(gets, is_read=False, ids=ids, reply_sink=sink)
    queue.enter([batch], 5, 1)
    rest = "x" * SHORT
    queue.answer_applied([f"4: {rest}", f"5: {rest}"], 4, 5)
    queue.answer_applied([f"6: {rest}", "7: short"], 6, 7)
    assert batch.replies == ["5: ", "6: ", "7: "]
    assert batch.is_answered


# --- the bytes that wait --------------------------------------------------------------------------

COMMAND = "set a " + "x" * 1000


def queue_for(count: int) -> RequestQueue:
    """Return a queue in which so many commands may wait."""
    return RequestQueue(hold_ms=100, bytes_max=count * sys.getsizeof(COMMAND))


def write() -> Batch:
    return Batch([COMMAND], is_read=False)


def takes_one_more(queue: RequestQueue) -> bool:
    queue.put(batch := write())
    is_taken = not batch.is_answered
    if is_taken:
        assert queue.take(writes=True, reads=False) == [batch]
        batch.answer_all("done")
    return is_taken


@pytest.mark.parametrize("together", [False, True])
def test_requests_beyond_the_queues_bytes_are_refused(together: bool) -> None:
    """The refusal says that nothing was done."""
    queue = queue_for(2)
    batches = [write() for _ in range(3)]
    if together:
        queue.put(*batches)
    else:
        for batch in batches:
            queue.put(batch)
    assert [batch.replies for batch in batches] == [[], [], [TOO_MUCH_WAITS]]
    assert outcome_of(TOO_MUCH_WAITS) is RequestOutcome.NO_LEADER
    assert queue.take(writes=True, reads=True) == batches[:2]


def test_a_request_counts_until_its_entry_is_applied_or_given_up() -> None:
    queue = queue_for(2)
    first, second = write(), write()
    for batch in (first, second):
        queue.put(batch)
    queue.enter(queue.take(writes=True, reads=False), 5, term=1)
    first.answer_rest("Sorry, outcome unknown: no quorum answered in time")
    assert not takes_one_more(queue)  # it stands in the log all the same
    queue.answer_applied(["done"], 5, 5)
    assert takes_one_more(queue)
    queue.give_up_pending("it fell")
    assert queue.room.used == 0


def test_requests_of_a_group_are_measured_and_free_their_bytes() -> None:
    clock = SetClock(s=5.0)
    measures = Measures(clock)
    queue = RequestQueue(hold_ms=100, measures=measures, clock=clock)
    batches = [write() for _ in range(4)]
    for batch, asked_s in zip(batches, [1.0, 1.0, 4.0, 1.0], strict=True):
        batch.asked_s = asked_s
    queue.put(*batches)
    queue.enter(queue.take(writes=True, reads=False), 5, term=1)
    queue.answer_applied(["done"] * 4, 5, 8)
    assert (sum(measures.writes.counts), measures.writes.sum_s) == (4, 4.0 + 4.0 + 1.0 + 4.0)
    assert queue.room.used == 0


def test_a_request_that_is_held_or_put_again_counts_once() -> None:
    queue = queue_for(1)
    batch = write()
    queue.put(batch)
    queue.hold(queue.take(writes=True, reads=False), 5)
    assert not takes_one_more(queue)
    (again,) = queue.take(writes=True, reads=False)
    queue.put(again)  # its leader fell
    assert not again.is_answered
    queue.hold(queue.take(writes=True, reads=False), 105)
    assert batch.replies == [NO_LEADER]
    assert takes_one_more(queue)


def test_a_read_counts_until_it_is_confirmed() -> None:
    queue = queue_for(1)
    read = Batch([COMMAND], is_read=True)
    queue.put(read)
    assert queue.take(writes=True, reads=True) == [read]
    assert not takes_one_more(queue)
    queue.confirmed([read])
    assert takes_one_more(queue)


def long_run(sink: ReplySink, size: int = LONG_UNDER_WAY_BYTES) -> Batch:
    return Batch(["x" * size], is_read=False, reply_sink=sink)


def short_run(sink: ReplySink, count: int = 1) -> Batch:
    batch = Batch(["set a 5"] * count, is_read=False, reply_sink=sink)
    batch.may_be_long = 0
    return batch


def transaction(sink: ReplySink) -> Batch:
    return Batch(['txn if keys "x" ""'] * 2, is_read=False, reply_sink=sink)


def take(queue: RequestQueue) -> list[Batch]:
    queue.let_long_go()  # as each round does
    return queue.take(writes=True, reads=True)


def test_short_writes_go_before_long_ones_of_other_connections() -> None:
    queue = RequestQueue(hold_ms=1000, clock=SetClock(s=0.0))
    sinks = [SilentSink() for _ in range(3)]
    first, second, short = long_run(sinks[0]), long_run(sinks[1]), short_run(sinks[2])
    queue.put(first)
    queue.put(second)
    queue.put(short)
    assert take(queue) == [first, short]
    assert queue.waiting()["writes"] == 1
    queue.enter([first, short], 1, term=1)
    queue.answer_applied(["done"], 1, 1)
    assert take(queue) == [second]


def test_two_of_the_longest_values_are_proposed_at_a_time() -> None:
    queue, longest = RequestQueue(hold_ms=1000), f"set {'k' * KEY_BYTES} {'v' * VALUE_BYTES}"
    runs = [
        Batch([f"client4#{n}@{longest}"], is_read=False, reply_sink=SilentSink()) for n in range(3)
    ]
    queue.put(*runs)
    assert take(queue) == runs[:2]


def test_a_short_write_goes_after_a_long_one_of_its_connection() -> None:
    queue, sinks = RequestQueue(hold_ms=1000), [SilentSink(), SilentSink()]
    first, second, after = long_run(sinks[0]), long_run(sinks[1]), short_run(sinks[1])
    after.may_be_long = 0
    for each in (first, second, after):
        queue.put(each)
    assert take(queue) == [first]
    first.answer_all("Sorry")
    assert take(queue) == [second, after]
    queue.put(late := short_run(sinks[1]))
    assert take(queue) == [late]


def test_a_long_write_that_was_answered_late_is_not_proposed() -> None:
    queue, sinks = RequestQueue(hold_ms=1000), [SilentSink(), SilentSink()]
    first, second = long_run(sinks[0]), long_run(sinks[1])
    queue.put(first)
    queue.put(second)
    assert take(queue) == [first]
    queue.enter([first], 1, term=1)
    second.answer_all("too late")
    first.answer_rest("too late")  # it is an entry, so others wait for it
    queue.put(third := long_run(sinks[1]))
    assert take(queue) == []
    queue.answer_applied(["done"], 1, 1)
    assert take(queue) == [third]


def test_answered_long_write_keeps_no_connection() -> None:
    queue, sink = RequestQueue(hold_ms=1000), SilentSink()
    queue.put(long_run(sink))
    queue.enter(take(queue), 1, term=1)
    connection = weakref.ref(sink)
    del sink
    queue.answer_applied(["done"], 1, 1)
    assert connection() is None


def given_up(*batches: Batch) -> None:
    """Answer requests that waited too long, as their connections do."""
    for batch in batches:
        batch.answer_rest(NOT_REACHED)


@pytest.mark.parametrize("is_dropped", [False, True])
def test_a_request_that_was_given_up_is_never_served(is_dropped: bool) -> None:
    """Its client was told that nothing was done, and may have sent it again."""
    queue, sinks = RequestQueue(hold_ms=1000), [SilentSink() for _ in range(6)]
    held, write, read, leased, long, later = (
        short_run(sinks[0]), short_run(sinks[1]),
        Batch(["get a"], is_read=True, reply_sink=sinks[2]),
        Batch(["get a"], is_read=True, reading=Reading(by_lease=True), reply_sink=sinks[3]),
        long_run(sinks[4]), long_run(sinks[5]),
    )  # fmt: skip
    queue.put(held)
    queue.hold(take(queue), now=5)
    young = [short_run(sinks[1]), Batch(["get b"], is_read=True, reply_sink=sinks[2])]
    queue.put(write, read, leased, long, later, *young)
    given_up(held, write, read, leased, long, later)
    if is_dropped:
        queue.drop_answered()
        assert sum(queue.waiting().values()) == len(young)
    assert take(queue) == young
    assert queue.room.used == sum(batch.bytes for batch in young)
    queue.put(read)  # its round was over before it was given up, and its leadership ended
    assert take(queue) == []
    assert read.replies == [NOT_REACHED]
    assert queue.room.used == sum(batch.bytes for batch in young)


def test_those_that_were_not_given_up_keep_their_order() -> None:
    queue = RequestQueue(hold_ms=1000)
    runs = [short_run(SilentSink()) for _ in range(5)]
    queue.put(*runs)
    given_up(runs[1], runs[3])
    queue.drop_answered()
    queue.put(last := short_run(SilentSink()))
    assert take(queue) == [runs[0], runs[2], runs[4], last]


def test_entry_that_takes_long_counts_as_long() -> None:
    """This does not depend on the length of its command."""
    queue = RequestQueue(hold_ms=1000, is_long=lambda commands: "object" in commands[0])
    first, second = (
        Batch([f"object o list.put {n} 1"], is_read=False, reply_sink=SilentSink())
        for n in range(2)
    )
    queue.put(first, second)
    assert take(queue) == [first]


def test_long_writes_leave_room_for_short_ones() -> None:
    queue, size = RequestQueue(hold_ms=1000), LONG_QUEUED_BYTES // 4
    runs = [long_run(SilentSink(), size) for _ in range(5)]
    queue.put(*runs)
    refused = [run for run in runs if run.replies == [TOO_MUCH_WAITS]]
    assert len(refused) == 2  # each has some bytes beside its text
    queue.put(short := short_run(SilentSink()))
    assert not short.is_answered


def test_connections_take_turns_for_many_short_writes() -> None:
    """Otherwise, each request would wait for everything that one client sends ahead on its
    connections."""
    queue, greedy, other = RequestQueue(hold_ms=1000), SilentSink(), SilentSink()
    size = WRITES_TOGETHER // 8
    many = [short_run(greedy, size) for _ in range(32)]
    queue.put(*many, short := short_run(other))
    proposed = queue.leave_writes(take(queue))
    assert short in proposed
    assert len(proposed) <= 8 + 1
    later = short_run(other)
    queue.put(later)
    rest = take(queue)
    assert [run for run in (*proposed, *rest) if run.reply_sink is greedy] == many
    assert rest[-1] is later
    few = rest[:8]
    assert queue.leave_writes(few) is few


def test_single_request_goes_before_packets_again_and_again() -> None:
    queue, one = RequestQueue(hold_ms=1000), SilentSink()
    packet = ["set k v"] * (WRITES_TOGETHER // 4)
    sinks = [SilentSink() for _ in range(50)]
    served: list[ReplySink | None] = []
    queue.put(*[Batch(packet, is_read=False, reply_sink=sink) for sink in sinks])
    for _ in range(50):
        queue.put(single := short_run(one))
        proposed = queue.leave_writes(take(queue))
        assert single in proposed
        packets = [batch.reply_sink for batch in proposed if batch is not single]
        queue.put(*[Batch(packet, is_read=False, reply_sink=sink) for sink in packets])
        served += packets
    counts = [served.count(sink) for sink in sinks]
    assert min(counts) >= 1  # none waits for ever


def test_the_connections_of_one_user_have_one_turn_together() -> None:
    """ann sends packets on one connection, and bob on sixty."""
    queue, anns = RequestQueue(hold_ms=1000), SilentSink("ann")
    packet = ["set k v"] * (WRITES_TOGETHER // 8)
    bobs = [SilentSink("bob") for _ in range(60)]
    served: list[ReplySink | None] = []
    queue.put(*[Batch(packet, is_read=False, reply_sink=sink) for sink in (*bobs, *[anns] * 8)])
    for _ in range(20):
        for batch in queue.leave_writes(take(queue)):
            served.append(batch.reply_sink)
            queue.put(Batch(packet, is_read=False, reply_sink=batch.reply_sink))
    of_ann = served.count(anns)
    assert abs(2 * of_ann - len(served)) <= 8
    counts = [served.count(sink) for sink in bobs]
    assert max(counts) - min(counts) <= 1


RUSHES = st.lists(  # the connections and sizes of the packets that arrive in each round
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, WRITES_TOGETHER // 2)), max_size=12),
    max_size=4,
)


def _served_in(queue: RequestQueue, sinks: list[SilentSink], rush: Any) -> list[tuple[int, int]]:
    """Return the packets of a rush as they are served, up to the last one."""
    served: list[tuple[int, int]] = []
    names = {}
    for place, arrivals in enumerate([*rush, *[[]] * 100]):
        for number, (sink, size) in enumerate(arrivals):
            batch = Batch(["set k v"] * size, is_read=False, reply_sink=sinks[sink])
            names[id(batch)] = batch, (place, number)
            queue.put(batch)
        served += [names[id(batch)][1] for batch in queue.leave_writes(take(queue))]
    assert len(served) == len(names)
    return served


@given(st.lists(RUSHES, min_size=1, max_size=3), RUSHES)
def test_turns_of_a_rush_do_not_depend_on_earlier_ones(earlier: list[Any], last: Any) -> None:
    """Once nobody waits, all users are equal again."""
    sinks = [SilentSink(user) for user in ("ann", "ann", "bob", "bob", "eve", None)]
    queue = RequestQueue(hold_ms=1000)
    for rush in earlier:
        _served_in(queue, sinks, rush)
    assert _served_in(queue, sinks, last) == _served_in(RequestQueue(hold_ms=1000), sinks, last)


def test_the_users_of_long_writes_take_turns() -> None:
    queue = RequestQueue(hold_ms=1000, is_long=lambda _: True)
    bobs, anns = [SilentSink("bob") for _ in range(3)], SilentSink("ann")
    long = [transaction(sink) for sink in (*bobs, anns)]
    for each in long:
        queue.put(each)
    order = []
    while taken := take(queue):
        order += taken
        for each in taken:
            each.answer_all("done")
    assert order.index(long[3]) == 2
    assert queue.waiting()["writes"] == 0


@pytest.mark.parametrize("ended", range(3))
def test_whichever_long_write_ends_leaves_its_room_to_one(ended: int) -> None:
    queue = RequestQueue(hold_ms=1000, clock=SetClock(s=0.0))
    runs = [long_run(SilentSink(), LONG_UNDER_WAY_BYTES // 3 - 1000) for _ in range(6)]
    for run in runs:
        queue.put(run)
    assert take(queue) == runs[:3]
    runs[ended].answer_all("done")
    assert take(queue) == runs[3:4]


def test_reads_take_turns_as_writes_do() -> None:
    queue, one = RequestQueue(hold_ms=1000), SilentSink()
    packet = ["get k"] * (READS_TOGETHER // 4)
    many = [Batch(packet, is_read=True, reply_sink=SilentSink()) for _ in range(20)]
    single = Batch(["get k"], is_read=True, reply_sink=one)
    queue.put(*many, single)
    confirmed = queue.leave_reads(take(queue), queue.reads)
    assert single in confirmed
    assert sum(len(batch.commands) for batch in confirmed) <= READS_TOGETHER + len(packet)
    assert take(queue) == [batch for batch in many if batch not in confirmed]


def test_longest_command_fits_a_line_between_nodes() -> None:
    count = Limits().line_bytes // VALUE_BYTES  # values of a line without any escape
    operations = " ; ".join([f"set k{n} " + "\\x01" * VALUE_BYTES for n in range(count)])
    command = f"txn {operations}"  # a line of so many control characters, in its one form
    assert len(format_entries([Entry(1, 1, command)])) + (1 << 20) < PEER_LINE_BYTES
    queue = RequestQueue(hold_ms=1000)
    queue.put(*(small := [short_run(SilentSink()) for _ in range(10)]))
    queue.put(longest := Batch([command], is_read=False, reply_sink=SilentSink()))
    assert take(queue) == [*small, longest]


def test_the_connections_of_long_writes_take_turns() -> None:
    queue, many, one = (
        RequestQueue(hold_ms=1000, is_long=lambda _: True),
        SilentSink(),
        SilentSink(),
    )
    first, *others = [transaction(many) for _ in range(4)]
    queue.put(first)
    for each in others:
        queue.put(each)
    queue.put(honest := transaction(one))
    order = []
    while taken := take(queue):
        order += taken
        for each in taken:
            each.answer_all("done")
    assert order == [first, others[0], honest, *others[1:]]


def test_long_writes_without_a_leader_are_refused_in_time() -> None:
    """They are refused as soon as short ones."""
    queue = RequestQueue(hold_ms=1000)
    runs = [long_run(SilentSink()) for _ in range(3)]
    queue.put(*runs)
    queue.hold(take(queue), 5)
    assert not any(run.is_answered for run in runs)
    queue.hold(queue.take(writes=False, reads=False), 1005)
    while taken := take(queue):  # the driver looks again
        queue.hold(taken, 1005)
    assert [run.replies for run in runs] == [[NO_LEADER]] * 3


def test_all_that_wait_are_turned_away_long_ones_too() -> None:
    queue = RequestQueue(hold_ms=1000)
    runs = [long_run(SilentSink()) for _ in range(3)]
    queue.put(*runs)
    queue.turn_all_away("it stops")
    assert all(run.is_answered for run in runs)


def test_few_transactions_share_a_group() -> None:
    """A transaction takes as long as many sets, and a group is done before the next one begins. A
    set goes before the remaining transactions."""
    queue, ann = RequestQueue(hold_ms=1000), SilentSink("ann")
    queue.put(*[transaction(SilentSink("bob")) for _ in range(200)])
    queue.put(short := short_run(ann))
    proposed = queue.leave_writes(take(queue))
    assert short in proposed
    assert len(proposed) <= 1 + WRITES_TOGETHER // LONG_TURNS


def test_many_quick_transactions_share_a_group() -> None:
    """They do not share one while a long write is in progress."""
    queue = RequestQueue(hold_ms=1000, is_quick=lambda commands: commands[0].startswith("txn"))
    queue.put(*[transaction(SilentSink()) for _ in range(200)])
    first = queue.leave_writes(take(queue))
    assert WRITES_TOGETHER // (2 + QUICK_TURNS) <= len(first) < 200
    queue.put(long := long_run(SilentSink()))
    second = queue.leave_writes(take(queue))
    assert len(second) <= 1 + WRITES_TOGETHER // LONG_TURNS
    long.answer_all("done")
    assert len(queue.leave_writes(take(queue))) >= WRITES_TOGETHER // (2 + QUICK_TURNS)


def test_run_counts_by_the_transactions_in_it() -> None:
    queue = RequestQueue(hold_ms=1000, is_quick=lambda _: True)
    runs = [Batch(["txn get a"] * QUICK_TOGETHER, is_read=False) for _ in range(20)]
    for run in runs:
        run.may_be_long = QUICK_TOGETHER
    queue.put(*runs)
    turns = QUICK_TOGETHER + QUICK_TOGETHER // LONG_TOGETHER * QUICK_TURNS
    assert len(queue.leave_writes(take(queue))) == ceil(WRITES_TOGETHER / 2 / turns) + 1


def test_runs_that_wait_are_not_judged_again() -> None:
    """Else each group would take the longer, the more of them wait."""
    judged = list[str]()
    queue = RequestQueue(hold_ms=1000, is_quick=lambda commands: not judged.extend(commands))
    queue.put(*[transaction(SilentSink()) for _ in range(400)])
    judged.clear()
    proposed = queue.leave_writes(take(queue))
    assert len(proposed) < 60
    assert len(judged) <= 2 * 2 * (len(proposed) + 1)


def test_transactions_count_until_they_are_answered() -> None:
    queue, sink = RequestQueue(hold_ms=1000), SilentSink()
    batches = [transaction(sink) for _ in range(3)]
    queue.enter(batches, 1, 1)
    assert queue.additional_pending == 3 * LONG_TURNS
    queue.answer_applied(["done"] * 4, 1, 4)
    assert queue.additional_pending == LONG_TURNS
    queue.give_up_pending("nobody leads")
    assert queue.additional_pending == 0


def test_long_writes_rest_as_long_as_they_delayed_others() -> None:
    clock = SetClock(s=0.0)
    queue, bob, ann = RequestQueue(hold_ms=1000, clock=clock), SilentSink("bob"), SilentSink("ann")
    first, second, third = (long_run(bob) for _ in range(3))
    queue.put(first, second, third)
    assert take(queue) == [first]
    clock.s = 0.25
    queue.put(short := short_run(ann))
    assert take(queue) == [short]
    clock.s = 0.5
    first.answer_all("done")
    assert take(queue) == []
    assert queue.long_due_s == 1.0
    clock.s = 1.0
    assert take(queue) == [second]
    queue.put(short_run(bob))  # nobody else waits this time
    clock.s = 1.5
    second.answer_all("done")
    assert third in take(queue)
    assert queue.long_due_s == math.inf
