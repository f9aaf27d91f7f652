"""The thread that reads for a crowd of connections: when, in which order, and when it stops."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from raftline.net.connections.shared_reader import CROWD, PIECE, AfterTurn, SharedReader
from raftline.net.protocol import server_protocol
from raftline.net.protocol.outgoing_protocol import BATCHES_MAX
from raftline.net.protocol.server_protocol import TIMING_MARK
from raftline.net.protocol.serving import NO_TIMING_MARK
from raftline.wire.limits import READ_BYTES, REQUESTS_TOGETHER
from raftline_testing.doubles.served_connection import ServedConnection
from raftline_testing.nodes.processes import eventually


class Crowd:
    """Connections of one node, and the shared reader that reads for them."""

    def __init__(self, count: int, crowd: int = 0) -> None:
        self.submitted: list[list[Any]] = []  # by the shared reader: what it hands over at once
        self.more_came: list[bool] = []
        self.meanwhile: Callable[[], object] | None = None  # done once, at the next hand-over
        self.warnings: list[str] = []
        self.reader = SharedReader(self.submit, crowd, self.warnings.append)
        self.scenes = [ServedConnection(shared_reader=self.reader) for _ in range(count)]

    def submit(self, *batches: Any, more_come: bool = False) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        self.more_came.append(more_come)
        self.submitted.append(list(batches))
        for batch in batches:
            [scene] = [one for one in self.scenes if one.connection.outgoing is batch.reply_sink]
            scene.batches.append(batch)

    def parked(self) -> int:
        """Return how many connections the shared reader reads for."""
        return len(self.reader._parked)

    def ask(self, *commands: str) -> None:
        """Make each client send these lines and get their replies."""
        for scene in self.scenes:
            scene.say("".join(f"c@{command}\n" for command in commands))
        for scene in self.scenes:
            self.answer(scene, len(commands))

    def answer(self, scene: ServedConnection, count: int) -> None:
        while count > 0:
            eventually(lambda: any(not one.is_answered for one in scene.batches), "a batch")
            for place, batch in enumerate(scene.batches):
                if not batch.is_answered:
                    scene.answer(place, "done")
                    for _ in batch.commands:
                        assert scene.line() == "s1@done"
                    count -= len(batch.commands)

    def end(self) -> None:
        for scene in self.scenes:
            scene.end()
        self.reader.close()


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """Three connections that the shared reader reads for."""
    one = Crowd(3)
    one.ask("set a 1")
    eventually(lambda: one.parked() == 3, "three parked connections")
    yield one
    one.end()


def test_lines_that_are_ready_together_are_handed_over_together(crowd: Crowd) -> None:
    first, second, third = crowd.scenes
    begun = len(crowd.submitted)

    def arrive() -> None:
        second.say("c@set b 2\n")
        third.say("c@set c 3\n")

    crowd.meanwhile = arrive
    first.say("c@set a 2\n")
    eventually(lambda: len(crowd.submitted) == begun + 2, "two groups")
    groups = [sorted(list(one.commands) for one in group) for group in crowd.submitted[begun:]]
    assert groups == [[["set a 2"]], [["set b 2"], ["set c 3"]]]


@pytest.mark.parametrize(("others", "pieces"), [(PIECE, [PIECE, 0]), (PIECE + 3, [PIECE, 3])])
def test_writes_of_a_large_crowd_are_handed_over_in_pieces(others: int, pieces: list[int]) -> None:
    crowd = Crowd(others + 1)
    crowd.ask("set a 1")
    eventually(lambda: crowd.parked() == others + 1, "all connections parked")
    begun = len(crowd.submitted)

    def arrive() -> None:
        for scene in crowd.scenes[1:]:
            scene.say("c@set b 2\n")

    crowd.meanwhile = arrive
    crowd.scenes[0].say("c@set a 2\n")
    eventually(lambda: len(crowd.submitted) == begun + 3, "one call, and two for the others")
    assert [len(group) for group in crowd.submitted[begun:]] == [1, *pieces]
    assert crowd.more_came[begun:] == [False, True, False]
    crowd.end()


def test_packets_of_one_user_are_read_in_parts_by_turns() -> None:
    """bob's nine connections have a packet each: a turn reads two of them, and the first also reads
    ann's."""
    crowd = Crowd(11)
    crowd.ask("set a 1")
    eventually(lambda: crowd.parked() == 11, "all connections parked")
    first, *bobs, ann = crowd.scenes
    for scene in bobs:
        scene.connection.outgoing.user = "bob"
    ann.connection.outgoing.user = "ann"
    begun = len(crowd.submitted)

    def arrive() -> None:
        for scene in bobs:
            scene.say("c@set b 2\n" * REQUESTS_TOGETHER)
        ann.say("c@set b 2\n")

    crowd.meanwhile = arrive
    first.say("c@set a 2\n")
    eventually(lambda: sum(map(len, crowd.submitted[begun:])) == 11, "a batch of each")
    groups = [{one.reply_sink for one in group} for group in crowd.submitted[begun + 1 :]]
    assert [len(group) for group in groups] == [3, 2, 2, 2, 1]
    assert ann.connection.outgoing in groups[0]
    crowd.end()


def test_lines_stay_in_order_when_a_thread_takes_over(crowd: Crowd) -> None:
    """The lines of a connection stay in order when its own thread takes over."""
    scene = crowd.scenes[0]
    lines = ["set a 1", "set a 2", "get a", "set a 3", "show", "get a"]
    begun = len(scene.batches)
    scene.say("".join(f"c@{line}\n" for line in lines))
    seen: list[str] = []
    while len(seen) < len(lines):
        eventually(lambda place=begun: len(scene.batches) > place, "a batch")
        batch = scene.batches[begun]
        assert {line.startswith("set") for line in batch.commands} == {not batch.is_read}
        seen += batch.commands
        scene.answer(begun, "done")
        begun += 1
    assert seen == lines


def test_reads_of_two_ways_are_handed_over_apart(crowd: Crowd) -> None:
    scene = crowd.scenes[0]
    begun = len(scene.batches)
    scene.say("c@get a read lease\nc@get b read index\n")
    eventually(lambda: len(scene.batches) == begun + 1, "the first read")
    assert scene.batches[begun].commands == ["get a"]
    scene.answer(begun, "done")
    eventually(lambda: len(scene.batches) == begun + 2, "the read by a round")


def test_telnet_s_timing_mark_is_answered_before_its_line(crowd: Crowd) -> None:
    scene = crowd.scenes[0]
    begun = len(scene.batches)
    scene.there.sendall(b"\xff\xf4" + TIMING_MARK + b"c@set a 2\n")
    assert scene.there.recv(3) == NO_TIMING_MARK
    eventually(lambda: len(scene.batches) == begun + 1, "the line")
    assert scene.batches[begun].commands == ["set a 2"]


def test_a_read_waits_for_the_reply_to_the_write_before_it(crowd: Crowd) -> None:
    scene = crowd.scenes[0]
    begun = len(scene.batches)
    scene.say("c@set a 2\n")
    eventually(lambda: len(scene.batches) == begun + 1, "the write")
    scene.say("c@get a\n")
    eventually(scene.waits, "its thread waits for the reply")
    assert len(scene.batches) == begun + 1
    scene.answer(begun, "done")
    eventually(lambda: len(scene.batches) == begun + 2, "the read")


def test_client_sending_without_reading_is_no_longer_read(crowd: Crowd) -> None:
    """Nothing more is read from a client that sends but does not read."""
    scene = crowd.scenes[0]
    begun = len(scene.batches)
    for number in range(BATCHES_MAX):
        scene.say(f"c@set a {number}\n")
        eventually(lambda n=number: len(scene.batches) > begun + n, "its batch")
    scene.say("c@set a more\n")
    eventually(lambda: scene.connection.fileno() in crowd.reader._full, "it waits for room")
    crowd.scenes[1].say("c@set b 1\n")
    eventually(lambda: crowd.scenes[1].batches[-1].commands == ["set b 1"], "others are read")
    assert len(scene.batches) == begun + BATCHES_MAX
    assert crowd.parked() == 3  # a thread of its own would want the interpreter
    scene.answer(begun, "done")
    eventually(lambda: len(scene.batches) == begun + BATCHES_MAX + 1, "room for one more")
    assert scene.batches[-1].commands == ["set a more"]


def test_half_a_line_is_waited_for_by_its_own_thread(crowd: Crowd) -> None:
    scene, other = crowd.scenes[:2]
    begun = len(scene.batches)
    scene.say("c@set a 5\nc@set ")
    eventually(lambda: crowd.parked() == 2, "its thread goes on")
    eventually(lambda: len(scene.batches) == begun + 1, "the whole line")
    other.say("c@set b 1\n")
    eventually(lambda: other.batches[-1].commands == ["set b 1"], "others are served meanwhile")
    scene.say("a 6\n")
    eventually(lambda: len(scene.batches) == begun + 2, "the rest of the line")
    assert [batch.commands for batch in scene.batches[begun:]] == [["set a 5"], ["set a 6"]]


def test_thread_continues_after_earlier_lines_are_handed_over(crowd: Crowd) -> None:
    """A connection's thread continues once its earlier lines are handed over."""
    scene = crowd.scenes[0]
    parked: list[int] = []
    crowd.meanwhile = lambda: parked.append(crowd.parked())
    scene.say("c@set a 5\nc@set ")
    eventually(lambda: crowd.parked() == 2, "its thread goes on")
    assert parked == [3]


def test_a_line_that_is_too_long_is_refused_in_words(crowd: Crowd) -> None:
    scene = crowd.scenes[0]
    scene.say("c@set a " + "x" * READ_BYTES)
    said = scene.line()
    assert said == f"s1@{scene.host.limits.line_too_long}"
    assert crowd.parked() == 2


def test_a_client_that_goes_away_leaves_the_others_alone(crowd: Crowd) -> None:
    gone, *others = crowd.scenes
    gone.there.close()
    gone.thread.join(60)
    assert not gone.thread.is_alive()
    assert crowd.parked() == 2
    for scene in others:
        scene.say("c@set b 1\n")
        eventually(lambda s=scene: s.batches[-1].commands == ["set b 1"], "the line")


def test_a_connection_that_the_node_ends_gets_its_thread_back(crowd: Crowd) -> None:
    scene = crowd.scenes[0]
    scene.connection.break_off()
    scene.thread.join(60)
    assert not scene.thread.is_alive()


def test_shut_down_node_answers_by_connection_threads(crowd: Crowd) -> None:
    """A node that is shut down answers from the threads of its connections."""
    scene = crowd.scenes[0]
    scene.host.is_down = True
    scene.say("c@set a 2\n")
    assert "shut down" in scene.line()
    assert crowd.parked() == 2


@pytest.mark.pure
def test_trouble_with_a_line_is_its_own_connection_s(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, other = crowd.scenes[:2]
    real = server_protocol.parse

    def parse(line: bytes, *rest: Any) -> Any:
        if line == b"c@set a huge":
            raise MemoryError
        return real(line, *rest)

    monkeypatch.setattr(server_protocol, "parse", parse)
    scene.say("c@set a huge\n")
    assert "needs more memory" in scene.line()
    other.say("c@set b 1\n")
    eventually(lambda: other.batches[-1].commands == ["set b 1"], "others are served")


def test_few_connections_are_read_by_their_own_threads() -> None:
    few = Crowd(CROWD - 1, crowd=CROWD)
    for number in range(20):
        few.ask(f"set a {number}")
    assert few.submitted == []
    few.end()


def test_a_crowd_is_read_for_until_it_is_gone() -> None:
    many = Crowd(2 * CROWD, crowd=CROWD)
    for number in range(200):
        many.ask(f"set a {number}")
        if many.parked() == 2 * CROWD:
            break
    else:
        pytest.fail("a crowd whose threads read")
    eventually(lambda: many.parked() == 0, "the threads of a crowd that is silent")
    many.ask("set a 1")
    many.end()


def test_a_reader_that_is_closed_gives_all_threads_back(crowd: Crowd) -> None:
    crowd.reader.close()
    crowd.scenes[0].say("c@set a 2\n")
    eventually(lambda: crowd.parked() == 0, "no connection is parked")
    crowd.ask("set a 3")
    assert crowd.parked() == 0


class SetAmidTheEnd:
    """A reader's epoll set. While the next connection comes in, all are given back."""

    def __init__(self, reader: SharedReader) -> None:
        self._reader, self._real = reader, reader._epoll
        self._end = threading.Thread(target=reader._give_all_back)
        self._is_in = threading.Event()

    def register(self, descriptor: int, events: int) -> None:
        self._reader._epoll = self._real
        self._end.start()
        self._end.join(0.2)  # it ends here only if it does not wait for the connection
        self._real.register(descriptor, events)
        self._is_in.set()

    def is_registered(self, descriptor: int) -> bool:
        """Return whether this descriptor is in the set, once all were given back."""
        self._is_in.wait()
        self._end.join()
        try:
            self._real.modify(descriptor, select.EPOLLIN)
        except FileNotFoundError:
            return False
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_connection_coming_while_all_are_returned_is_served(crowd: Crowd) -> None:
    """A connection that arrives while all are returned to their threads is served."""
    reader = crowd.reader
    reader._epoll = amid = SetAmidTheEnd(reader)  # type: ignore[assignment]
    late = ServedConnection(shared_reader=reader)
    crowd.scenes.append(late)
    late.say("c@set a 1\n")
    crowd.answer(late, 1)
    descriptor = late.connection.fileno()
    assert amid.is_registered(descriptor) == (descriptor in reader._parked)
    for number in range(3):
        crowd.ask(f"set a {number}")
    eventually(lambda: crowd.parked() == 4, "four parked connections")


def test_line_left_to_its_thread_is_counted_once(crowd: Crowd) -> None:
    """A line that is left to the connection's thread is counted once."""
    scene = crowd.scenes[0]
    reported: list[str] = []
    scene.host.traffic_log.requested = lambda _, text: reported.append(text)
    scene.host.is_at_floor, scene.host.without_machine = False, lambda _: "Sorry, no such machine."
    begun = len(scene.batches)
    scene.say("c@set a 1\nc@set b 2\nc@machine m {}\nc@set c 4\n")
    for number in range(2):
        eventually(lambda n=number: len(scene.batches) > begun + n, "a batch")
        scene.answer(begun + number, "done")
    replies = [scene.line() for _ in range(4)]
    assert replies == ["s1@done", "s1@done", "s1@Sorry, no such machine.", "s1@done"]
    assert crowd.parked() == 2
    scene.say("c@set d 5\n")
    eventually(lambda: len(scene.batches) > begun + 2, "the next line")
    assert [list(batch.commands) for batch in scene.batches[begun:]] == [
        ["set a 1", "set b 2"],
        ["set c 4"],
        ["set d 5"],
    ]
    assert reported == ["set a 1", "set b 2", "set c 4", "set d 5"]


def test_last_line_left_to_its_thread_waits_for_no_other(crowd: Crowd) -> None:
    """If the last line is left to the connection's thread, it waits for no further line."""
    scene = crowd.scenes[0]
    scene.host.is_at_floor, scene.host.without_machine = False, lambda _: "Sorry, no such machine."
    begun = len(scene.batches)
    scene.say("c@set a 1\nc@machine m {}\n")
    eventually(lambda: len(scene.batches) > begun, "a batch")
    scene.answer(begun, "done")
    assert [scene.line() for _ in range(2)] == ["s1@done", "s1@Sorry, no such machine."]


def fails() -> None:
    raise MemoryError


def test_requests_not_handed_over_end_only_their_connections(crowd: Crowd) -> None:
    """If requests cannot be handed over, only their connections end."""
    scene, *others = crowd.scenes
    crowd.meanwhile = fails
    scene.say("c@set a 2\n")
    scene.thread.join(60)
    assert not scene.thread.is_alive()
    assert scene.there.recv(1) == b""
    assert crowd.warnings == ["requests of 1 connections failed, so these end: MemoryError()"]
    for other in others:
        other.say("c@set b 1\n")
        crowd.answer(other, 1)


@pytest.mark.pure
def test_a_reader_that_ends_by_an_error_gives_all_threads_back(crowd: Crowd) -> None:
    """The next busy connections get a new reader."""
    connection: Any = crowd.scenes[0].connection
    take_ready = connection.take_ready

    def fails_once(*_: object) -> AfterTurn:
        connection.take_ready = take_ready
        raise OSError("a fault that no test has met")

    connection.take_ready = fails_once
    crowd.ask("set a 2")
    eventually(lambda: crowd.warnings, "the word about it")
    assert "each connection reads for itself" in crowd.warnings[0]
    for number in range(3):
        crowd.ask(f"set a {number}")
    eventually(lambda: crowd.parked() == 3, "three parked connections")
