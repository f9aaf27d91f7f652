"""The lines of one connection: their order, their replies, and the peers that are let in."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raftline.logmanager import LogManager
from raftline.net.connections.connection import Connection
from raftline.net.connections.shared_reader import SharedReader
from raftline.net.protocol.host import Batch
from raftline.net.protocol.server_protocol import TIMING_MARK
from raftline.net.protocol.serving import NO_TIMING_MARK
from raftline.raft.membership import all_vote
from raftline.raft.messages import RequestVote
from raftline.state.commands.machines import UnknownMachine
from raftline.storage.snapshot_lines import MachineState
from raftline.wire.commands.command_table import Request
from raftline.wire.commands.parsing import ReadSettings, parse
from raftline.wire.limits import BACKUP_S, BACKUPS, PEER_LINE_BYTES
from raftline.wire.refusal import FULL, SHUT_DOWN, STOPPING, not_leader
from raftline_course.controller.leader_orders import store
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.served_connection import DEADLINE_S, SHORT, ServedConnection
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS, boot, entries
from raftline_testing.nodes.processes import eventually


@pytest.fixture(params=["own thread", "shared reader"])
def scene(request: pytest.FixtureRequest) -> Iterator[ServedConnection]:
    one = ServedConnection()
    if request.param == "shared reader":
        reader = SharedReader(lambda *found, more_come: one.host.submit(*found), crowd=0)
        one = ServedConnection(shared_reader=reader)
    yield one
    one.end()


Refused = Callable[[ServedConnection], None]


def _too_long(scene: ServedConnection) -> None:
    scene.say("set b " + "x" * SHORT.line_bytes)


def _no_command(scene: ServedConnection) -> None:
    scene.say("nonsense\n")


def _no_peer(scene: ServedConnection) -> None:
    scene.say("s9@RequestVote 1-0-0\n")


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (_too_long, f"s1@{SHORT.line_too_long}"),
        (_no_command, "s1@Sorry, I don't understand: nonsense. Try"),
        (_no_peer, "s1@Sorry, s9 is not a peer of s1, so it can't say RequestVote 1-0-0"),
    ],
)
def test_a_refusal_after_a_waiting_write_follows_its_reply(
    scene: ServedConnection, refused: Refused, said: str
) -> None:
    scene.say("set a 1\n")
    assert scene.submitted(1) == [["set a 1"]]
    refused(scene)
    eventually(scene.waits)  # for the reply to the write
    scene.answer(0, "SET response: a set to 1")
    scene.there.shutdown(socket.SHUT_WR)
    first, second = scene.lines()
    assert first == "s1@SET response: a set to 1"
    assert second.startswith(said)


def test_refusals_have_codes_only_after_the_codes_request(scene: ServedConnection) -> None:
    """Refusals have a code once the client has sent `codes`, and none before."""
    scene.say("pull\nset a 1\ncodes\npull\nget a\nset a\n")
    assert scene.line().startswith("s1@Sorry, I don't understand: pull. Try")
    assert scene.submitted(1) == [["set a 1"]]
    scene.answer(0, STOPPING)
    assert scene.line() == f"s1@{STOPPING}"
    assert scene.line() == "s1@CODES response: on"
    assert scene.line().startswith("s1@Sorry [not-understood] I don't understand: pull. Try")
    assert scene.submitted(2)[1] == ["get a"]
    scene.answer(1, not_leader("s2", "::1", 10001))
    sentence = "I am not the leader. Last leader I heard from is: s2 ([::1]:10001)"
    assert scene.line() == f"s1@Sorry [not-leader s2 [::1]:10001] {sentence}"
    assert scene.line().startswith("s1@Sorry [bad-request] the value is missing: set KEY VALUE")


def test_telnet_s_timing_mark_is_answered_in_its_turn(scene: ServedConnection) -> None:
    """In the middle of a reply, it would be taken for a part of that."""
    scene.say("set a 1\n")
    assert scene.submitted(1) == [["set a 1"]]
    scene.there.sendall(b"\xff\xf4" + TIMING_MARK + b"help\n")
    eventually(scene.waits)
    scene.answer(0, "SET response: a set to 1")
    assert scene.line() == "s1@SET response: a set to 1"
    assert scene.there.recv(3) == NO_TIMING_MARK
    assert scene.line().startswith("s1@HELP response")


def test_telnet_timing_mark_follows_the_lines_before_it(scene: ServedConnection) -> None:
    """Telnet's timing mark is answered after the lines that arrived with it."""
    scene.there.sendall(b"set a 1\nhelp\n\xff\xf4" + TIMING_MARK + b"help\n")
    assert scene.submitted(1) == [["set a 1"]]
    eventually(scene.waits)
    scene.answer(0, "SET response: a set to 1")
    assert scene.line() == "s1@SET response: a set to 1"
    assert scene.line().startswith("s1@HELP response")
    assert scene.there.recv(3) == NO_TIMING_MARK
    assert scene.line().startswith("s1@HELP response")


def test_line_after_an_order_in_its_packet_sees_its_effect() -> None:
    """A line that follows an order in the same packet sees what the order did."""
    with socket.create_server(("localhost", 0)) as listener:
        there = socket.create_connection(listener.getsockname())
        scene = ServedConnection(ends=(listener.accept()[0], there))

    def obey(request: Request, _: str) -> SimpleNamespace:
        scene.host.is_down = True
        return SimpleNamespace(line="down")

    orders = SimpleNamespace(is_order=lambda text: text == "DOWN", is_allowed=lambda *_: True)
    orders.obey, orders.why_no_order = obey, lambda *_: ""
    scene.host.orders = orders
    scene.say("Controller@DOWN\nset a 1\n")
    scene.there.shutdown(socket.SHUT_WR)
    assert scene.lines() == ["s1@down", f"s1@{SHUT_DOWN}"]
    assert not scene.batches
    scene.end()


def test_a_read_after_a_waiting_write_is_asked_after_its_reply(scene: ServedConnection) -> None:
    scene.say("set a 1\nset a 2\nget a\n")
    assert scene.submitted(1) == [["set a 1", "set a 2"]]
    eventually(scene.waits)
    assert len(scene.batches) == 1
    scene.answer(0, "done")
    assert scene.submitted(2)[1] == ["get a"]


def test_a_connection_ends_after_the_reply_to_its_last_line(scene: ServedConnection) -> None:
    scene.say("set a 1\n")
    scene.submitted(1)
    scene.there.shutdown(socket.SHUT_WR)
    eventually(scene.waits)
    scene.answer(0, "SET response: a set to 1")
    assert scene.lines() == ["s1@SET response: a set to 1"]


@pytest.mark.parametrize(
    ("line", "command", "reply"),
    [
        ("set a 1", "set a 1", "s1@done"),
        ("client4@set a 1", "set a 1", "s1@done"),
        ("client4#17@set  a", "client4#17@set \\sa ", ""),
        ("client4#17@set a 1", "client4#17@set a 1", "s1#17@done"),
        ("client4#0@delete a", "client4#0@delete a", "s1#0@done"),
        ("client4#18@get a read log", "client4#18@get a", "s1#18@done"),
        ("client4@session", "client4@session", "s1@done"),
        ("client4#3@session", "client4#3@session", "s1#3@done"),
    ],
)
def test_log_and_reply_have_the_client_and_its_number(
    scene: ServedConnection, line: str, command: str, reply: str
) -> None:
    """The log entry and the reply name the client and the number of the request."""
    scene.say(line + "\n")
    if not reply:  # no such command: nothing is logged
        assert scene.line().startswith("s1#17@Sorry, ")
        assert not scene.batches
        return
    assert scene.submitted(1) == [[command]]
    scene.answer(0, "done")
    assert scene.line() == reply


def test_a_read_is_confirmed_without_its_number(scene: ServedConnection) -> None:
    scene.say("client4#18@get a\n")
    assert scene.submitted(1) == [["get a"]]
    assert scene.batches[0].is_read


def test_a_line_that_comes_in_pieces_is_one_line(scene: ServedConnection) -> None:
    for piece in ("se", "t a", " 1", "\nset b", " 2\nset c 3\n"):
        scene.say(piece)
    eventually(lambda: sum(len(batch.commands) for batch in scene.batches) == 3)
    assert [c for commands in scene.submitted(1) for c in commands] == [
        "set a 1",
        "set b 2",
        "set c 3",
    ]


def test_only_peers_are_heard_and_only_requested_answers(scene: ServedConnection) -> None:
    scene.say("s9@RequestVote 1-0-0\n")
    assert scene.line() == ("s1@Sorry, s9 is not a peer of s1, so it can't say RequestVote 1-0-0")
    scene.say("s2@Count on me term 1\n")
    assert scene.line() == ("s1@Sorry, an answer is only taken on the connection that asked")
    assert not scene.heard
    scene.say("s2@RequestVote 1-0-0\nset a 1\n")
    scene.submitted(1)
    assert scene.heard == [RequestVote("s2", "s1", 1, 0, 0)]


def test_each_message_that_the_core_refuses_is_answered(scene: ServedConnection) -> None:
    scene.host.hear = lambda received, _: [f"no term {each.term}" for each in received]
    scene.say("s2@RequestVote 1-0-0\ns2@RequestVote 2-0-0\n")
    assert [scene.line(), scene.line()] == ["s1@Sorry, no term 1", "s1@Sorry, no term 2"]


def test_a_repeated_numbered_order_is_done_once() -> None:
    manager, _ = boot(MemoryFolder())
    logged: list[str] = []

    def submit(batch: Batch) -> None:
        first = len(logged) + 1
        logged.extend(batch.commands)
        batch.replies = manager.apply(entries(first, 1, *batch.commands))
        batch.wake()

    node: Any = FakeHost(submit=submit)
    asked = [store(node, "k 1", Request("Controller", "7", "", ""))]
    store(node, "k 2", Request("Controller", "", "", ""))
    asked.append(store(node, "k 1", Request("Controller", "7", "", "")))
    assert [answer.line for answer in asked] == ["STORE response: k set to 1"] * 2
    assert logged == ["Controller#7@set k 1", "set k 2", "Controller#7@set k 1"]
    assert manager.store == {"k": "2"}


def connection_of(**facts: Any) -> Connection:
    """Return a connection that no thread serves."""
    here, _ = socket.socketpair()
    host: Any = FakeHost(limits=SHORT, **facts)
    return Connection(host, here, for_peers_only=False)


@pytest.mark.parametrize(
    ("beginning", "hears", "has_spoken", "longest"),
    [
        (b"set a ", False, False, SHORT.line_bytes),
        (b"client4@set a ", False, False, SHORT.line_bytes),
        (b"s9@AppendEntries 1-0-0-[", True, False, SHORT.line_bytes),
        (b"s9@AppendEntries 1-0-0-[", False, False, 2 * SHORT.line_bytes),
        (b"s9@InstallSnapshot 1-", False, False, SHORT.line_bytes),
        (b"s2@AppendEntries 1-0-0-[", True, False, 2 * SHORT.line_bytes),
        (b"s2@AppendEntries 1-0-0-[", True, True, PEER_LINE_BYTES),
        (b"\xff@AppendEntries", True, True, SHORT.line_bytes),
    ],
)
def test_long_lines_are_only_for_connections_of_peers(
    beginning: bytes, hears: bool, has_spoken: bool, longest: int
) -> None:
    """Only a connection that has spoken as a peer may send a long line."""
    admission = connection_of(hears_from_leader=lambda: hears)._admission
    admission.speaks_for = "s2" if has_spoken else None
    assert admission.longest(beginning) == longest


@pytest.mark.parametrize(
    ("line", "kind", "reply"),
    [
        (b"get a", "local", f"{SHUT_DOWN}"),
        (b"client4#1@set a 1", "local", f"{SHUT_DOWN}"),
        (b"s2@RequestVote 1-0-0", "peer", ""),  # and nobody hears it
        (b"status", "local", ""),
        (b"Controller@RESTART", "control", ""),
    ],
)
def test_shut_down_node_obeys_only_its_controller(line: bytes, kind: str, reply: str) -> None:
    """A node that was shut down refuses clients, but obeys its controller."""
    orders = SimpleNamespace(is_order=lambda text: text == "RESTART", why_no_order=lambda *_: "")
    spoken = connection_of(is_down=True, orders=orders)._admission.admit(
        parse(line, SHORT, ReadSettings(), "s1")
    )
    assert (spoken.kind, spoken.reply, spoken.message) == (kind, reply, None)


def test_the_last_places_are_kept_for_peers() -> None:
    scene = ServedConnection(for_peers_only=True)
    scene.say("client4#1@get a\nget b\n")
    assert scene.lines() == [f"s1@{FULL}"]
    assert not scene.batches


def test_request_after_a_peer_line_gets_no_reserved_place() -> None:
    """A request that follows a peer's line is not admitted to a reserved place."""
    scene = ServedConnection(for_peers_only=True)
    scene.say("s2@RequestVote 1-0-0\nget a\n")
    assert scene.lines() == [f"s1@{FULL}"]
    assert scene.heard == [RequestVote("s2", "s1", 1, 0, 0)]
    assert not scene.batches


def test_only_the_first_line_may_be_another_protocol_s(scene: ServedConnection) -> None:
    scene.say("help\n")
    assert scene.line().startswith("s1@HELP response")
    scene.say("GET / HTTP/1.1\n")
    assert scene.line().startswith("s1@Sorry, I don't understand: GET / HTTP/1.1")
    scene.say("set a 1\n")
    assert scene.submitted(1) == [["set a 1"]]


@pytest.mark.parametrize(("before", "batches"), [
    ("", []),
    ("show /x HTTP/1.1\r\n", []),
    ("help\n", []),
    ("get b\n", [["get b"]]),
    ("set b 1\n", [["set b 1"]]),
])  # fmt: skip
def test_a_browser_s_request_carries_out_no_line_of_its_body(
    scene: ServedConnection, before: str, batches: list[list[str]]
) -> None:
    """A web page chooses the method and the body, but each request has the header Host."""
    head = "Host: attacker.example:10000\r\nContent-Length: 20\r\n\r\n"
    scene.say(f"{before}{head}set owned by-a-page\n")
    assert scene.submitted(len(batches)) == batches
    for number in range(len(batches)):
        scene.answer(number, "done")
    assert "not HTTP" in scene.lines()[-1]
    assert scene.submitted(0) == batches


def test_reads_of_two_modes_are_confirmed_each_in_its_own(scene: ServedConnection) -> None:
    scene.say("get a read lease\nget b read lease\nget c read index\n")
    assert scene.submitted(1)[0] == ["get a", "get b"]
    scene.answer(0, "done")
    assert scene.submitted(2)[1] == ["get c"]
    assert [batch.reading.by_lease for batch in scene.batches] == [True, False]


def test_a_show_is_encoded_by_its_connections_thread(scene: ServedConnection) -> None:
    scene.say("show\n")
    assert scene.submitted(1) == [["show"]]
    assert scene.batches[0].reply_sink is None
    scene.answer(0, "SHOW response: {}")
    assert scene.line() == "s1@SHOW response: {}"


def test_no_backup_is_taken_of_pairs_of_no_entry() -> None:
    scene = ServedConnection()
    manager = scene.host.logmanager = LogManager("s1", MemoryFolder(), {})
    scene.say("backup\n")
    scene.submitted(1)
    with pytest.raises(UnknownMachine):
        manager.apply(entries(1, 1, "set a 1", "machine of another program"))
    scene.batches[0].wake()
    assert scene.line() == (
        "s1@Sorry, an entry failed on this server, which stops. Nothing was done; try another."
    )
    scene.end()


def test_ended_connection_does_not_continue_with_its_call(scene: ServedConnection) -> None:
    scene.host.patience_s = 1e6
    scene.say("show\n")
    scene.submitted(1)
    scene.connection.break_off()
    scene.thread.join(DEADLINE_S)
    assert not scene.thread.is_alive()


def test_the_room_of_a_backup_is_given_back_with_its_connection(tmp_path: Path) -> None:
    scene = ServedConnection()
    frozen = MachineState(1, 1, all_vote(MEMBERS), [], {"a": "1"})
    scene.host.logmanager = SimpleNamespace(folder_path=str(tmp_path), freeze=lambda: frozen)
    for place in range(BACKUPS + 1):  # the next one of a connection takes the place of the last
        scene.say("backup\n")
        scene.submitted(place + 1)
        scene.batches[place].wake()
        assert scene.line().startswith("s1@BACKUP response: 1-1 of ")
    scene.host.backups._now_s = lambda: time.monotonic() + BACKUP_S
    assert scene.host.backups._ends_one()
    scene.say("backup from 0\n")
    assert scene.line().startswith("s1@Sorry, no backup is here any more: others needed its room")
    scene.say("backup\n")
    scene.submitted(BACKUPS + 2)
    scene.batches[-1].wake()
    assert scene.line().startswith("s1@BACKUP response: ")
    kept = scene.host.backups._read_s
    assert len(kept) == 1
    scene.end()
    assert len(kept) == 0
