"""Two members with their peers, on connections that break: replies, builds and leases hold."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any
from unittest import mock

import pytest

from raftline.common.address import Address
from raftline.common.identities import Build
from raftline.net.connections import connection as connections
from raftline.net.peers import build_exchange, peers
from raftline.net.peers.build_exchange import Builds
from raftline.net.peers.peers import Peer
from raftline.net.protocol.host import Origin
from raftline.node.loop import arrivals, queue, stepper, writer
from raftline.node.loop import driver as drivers
from raftline.node.loop.driver import Driver
from raftline.node.loop.stepper import MessageDelivery
from raftline.raft.effects import Effects
from raftline.raft.messages import Message
from raftline.wire.commands.parsing import Reading
from raftline_testing.interleave.scenarios import check_interleavings, first_failure, seeds
from raftline_testing.interleave.threads import Broken, Thread, pass_steps
from raftline_testing.interleave.wires import Wire, connected
from tests.interleave import members
from tests.interleave.members import Asking, Member, Network, wait_for_a_leader

LINES = (drivers, arrivals, queue, writer, peers, build_exchange, connections)
MEMBERS = {"s1": "one:10001", "s2": "two:10002"}
MOVED = "three:10003"  # where s2 is reached as well
CLIENTS, BREAKS = 2, 2
AMID_STEPS = 3000
PROMPT_S = 0.3  # less than the time between two heartbeats
LINE = b"s1@" + b"x" * 36 + b"\n"
LINES_HEARD = 8
SETTLES_IN = 50  # tenths of a second


class Scene:
    """A cluster whose first member leads, and clients that write there and read at both."""

    def __init__(self, **kinds: Any) -> None:
        Thread.schedule.allow_for_many_steps()
        self.network = Network()
        self.members = [Member(self.network, name, MEMBERS, **kinds) for name in MEMBERS]
        self.network.listening[MOVED] = self.members[1]

    def begin(self) -> None:
        for member in self.members:
            member.start()
        self.leader = wait_for_a_leader(*self.members)
        [self.follower] = [one for one in self.members if one is not self.leader]
        work = [threading.Thread(target=self._ask, args=(f"k{n}",)) for n in range(CLIENTS)]
        for thread in work:
            thread.start()
        self.clients = work

    def _ask(self, key: str) -> None:
        for value in "12":
            assert self._set(key, value) == f"SET response: {key} set to {value}"
            at = self.follower if value == "1" else self.leader
            asking = Asking(at.driver, f"get {key}", is_read=True, reading=Reading(may_ask=True))
            assert self._prompt(asking) == f"GET response: {value}"

    def _set(self, key: str, value: str) -> str:
        command = f"set {key} {value}"

        def is_committed(reply: str) -> None:
            assert all(one.has_durable(command) for one in self.members), f"too early: {reply}"

        return self._prompt(Asking(self.leader.driver, command, is_committed, is_read=False))

    def _prompt(self, asking: Asking) -> str:
        """Return the reply, which needs no timer unless something has broken."""
        reply = asking.wait()
        late = Thread.schedule.is_punctual and time.monotonic() - asking.begun_s >= PROMPT_S
        assert not late or self.network.is_disturbed, f"{reply} was left lying"
        return reply

    def end(self) -> None:
        """See that all is answered, and that each member knows what the other one is."""
        for thread in self.clients:
            thread.join()
        for _ in range(SETTLES_IN):
            time.sleep(0.1)
            if all(map(self._is_at_rest, self.members)):
                return
        raise AssertionError(f"still at work: {[one.said for one in self.members]}")

    def _is_at_rest(self, one: Member) -> bool:
        """Whether it knows the build of the other member, and nothing waits."""
        [other] = [name for name in MEMBERS if name != one.name]
        knows = one.builds.of(other).is_heard and one.node._state.peer_builds == {other: True}
        return knows and not any(one.driver.waiting().values())


def connections_break(**kinds: Any) -> None:
    """Meanwhile some connections break."""
    with (scene := Scene(**kinds)).network.in_place():
        scene.begin()
        for _ in range(Thread.schedule.random.randrange(BREAKS + 1)):
            pass_steps(AMID_STEPS)
            scene.network.break_one()
        scene.end()


def a_member_moves(**kinds: Any) -> None:
    """Meanwhile the leader learns that the follower is reached at another address."""
    with (scene := Scene(**kinds)).network.in_place():
        scene.begin()
        for address in (MOVED, MEMBERS["s2"]):
            pass_steps(AMID_STEPS)
            scene.network.is_disturbed = True
            with scene.leader.driver.core:
                scene.leader.book.follow({"s2": address})
        scene.end()


def a_peer_hangs_up(kind: type[Peer] = Peer) -> None:
    """It hangs up between lines that are on their way, again and again."""
    heard: list[bytes] = []

    def connect(*_: object) -> Wire:
        near, far = connected(len(LINE))
        near.is_forgotten_first = True

        def hear() -> None:
            for _ in range(Thread.schedule.random.randrange(4)):
                heard.append(far.recv(len(LINE)))
            time.sleep(0.05)  # the next lines wait
            far.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=hear).start()
        return near

    def say(line: str) -> None:
        raise Broken(line)

    peer = kind("s1", "s2", Address("s2", 1), lambda _: None, lambda _: None, say)
    with (
        mock.patch.object(peers, "connect", connect),
        mock.patch.object(peers, "random", Thread.schedule.random),
    ):
        peer.start()
        while len(heard) < LINES_HEARD:
            peer.send(LINE)
            time.sleep(0.01)
        peer.stop()


class ClosesAtOnce(Peer):
    """Closes a connection during any sends on it."""

    def _close(self, connection: Any) -> None:
        self._disconnect()
        connection.close()


@seeds(60, 10_000)
def test_a_connection_is_closed_once_nobody_sends_on_it(seeds: range) -> None:
    check_interleavings(a_peer_hangs_up, seeds, (peers,))


@pytest.mark.slow
def test_a_connection_that_is_closed_amid_a_send_is_found() -> None:
    failure = first_failure(lambda: a_peer_hangs_up(ClosesAtOnce), range(60), (peers,))
    assert failure is not None
    assert "closed while a thread" in str(failure)


@seeds(15, 10_000)
def test_no_reply_comes_before_a_quorum_has_the_entry(seeds: range) -> None:
    check_interleavings(connections_break, seeds, LINES)


@seeds(15, 10_000)
def test_a_member_that_moves_is_heard_and_known(seeds: range) -> None:
    check_interleavings(a_member_moves, seeds, LINES)


class ByNameAlone(Builds):
    """The end of any connection to a member takes back what it announced on a later one."""

    def record(self, name: str, build: Build | None, teller: object) -> None:
        super().record(name, build, name)


class AnswersAtOnce(MessageDelivery):
    """A fault: answers leave before the write that they wait for."""

    def dispatch(self, effects: Effects, origin: Origin | None) -> None:
        self.deliver(effects.send_after_save, origin)
        super().dispatch(effects, origin)


class HearsAndGoes(Driver):
    """A thread that hears a peer leaves the replies that this let go."""

    def receive(self, messages: Sequence[Message], origin: Origin | None) -> list[str]:
        with self.core as stepper:
            stepper.receive_all(messages, origin)
        self._writer.wake()
        return []


@pytest.mark.slow
def test_connection_end_erasing_a_later_build_is_found() -> None:
    """If the end of a connection erases a later build, the test finds it."""
    failure = first_failure(lambda: a_member_moves(builds=ByNameAlone), range(50), LINES)
    assert failure is not None
    # The leader says nothing to that member, so the schedule has no end.
    assert re.search("still at work|no end", str(failure))


@pytest.mark.slow
def test_an_answer_that_overtakes_the_disk_is_found() -> None:
    with mock.patch.object(stepper, "MessageDelivery", AnswersAtOnce):
        failure = first_failure(connections_break, range(50), LINES)
    assert failure is not None
    # The check stops that server, so it may be a client that notices first.
    assert re.search("too early|this server failed", str(failure))


@pytest.mark.slow
def test_a_reply_that_nobody_sends_is_found() -> None:
    with mock.patch.object(members, "Driver", HearsAndGoes):
        failure = first_failure(connections_break, range(50), LINES)
    assert failure is not None
    assert "was left lying" in str(failure)
