"""A controller's datagrams: the course's Message.json in front of the same verbs."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from raftline.wire.commands.command_table import Request
from raftline_course.commands import NODE
from raftline_course.controller.leader_orders import OrderAnswer
from raftline_course.controller.udp import AT_ONCE_MAX, UdpListener
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports

if TYPE_CHECKING:
    from raftline_course.controller.control import Control

FIELDS = ["sender_name", "request", "term", "key", "value"]
SILENCE_S = 0.5  # for an answer that must not come


def free_datagram_port() -> int:
    """Return a port that is free together with the one after it, and that nobody else chooses:
    none of those that the kernel hands out."""
    for port in free_ports:
        with (
            socket.socket(type=socket.SOCK_DGRAM) as one,
            socket.socket(type=socket.SOCK_DGRAM) as next_one,
            contextlib.suppress(OSError),
        ):
            one.bind(("127.0.0.1", port))
            next_one.bind(("127.0.0.1", next(free_ports)))
            if next_one.getsockname()[1] == port + 1:
                return port
    raise AssertionError("no two datagram ports in a row")


class Mailbox:
    """A node of one that listens for datagrams, and a controller that sends them."""

    def __init__(self, node: NodeProcess, port: int) -> None:
        self.node = node
        self.port = port
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.settimeout(DEADLINE_S)
        self.socket.bind(("127.0.0.1", 0))

    def post(self, message: object) -> None:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.socket.sendto(data, ("127.0.0.1", self.port))

    def order(self, request: object, **fields: object) -> dict[str, Any]:
        message = {**dict.fromkeys(FIELDS), "sender_name": "Controller", "request": request}
        self.post(message | fields)
        answer: dict[str, Any] = json.loads(self.socket.recv(65_535))
        assert list(answer) == FIELDS
        assert answer["sender_name"] == self.node.name
        return answer


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    port = free_datagram_port()
    options = ["--controller", "--controller-udp", str(port), "--controller-lines"]
    with Cluster(tmp_path, 1, *options) as single:
        mailbox = Mailbox(single.start().leader(), port)
        yield mailbox
        mailbox.socket.close()


def test_a_message_of_five_fields_is_answered_by_one_of_five(mailbox: Mailbox) -> None:
    stored = mailbox.order("STORE", key="a key", value="of blue\nand green")
    assert (stored["request"], stored["term"]) == ("STORE", 2)
    assert (stored["key"], stored["value"]) == ("a key", "of blue\nand green")
    held = mailbox.order("RETRIEVE", key="left over", value="from the template")
    assert held["key"] == "COMMITED_LOGS"
    assert held["value"] == {"1": {"term": 2, "a key": "of blue\nand green"}}
    assert mailbox.node.ask("show") == 's1@SHOW response: {"a key": "of blue\\nand green"}'
    assert mailbox.order("LEADER_INFO")["value"] == "s1"
    assert mailbox.order("SHUTDOWN")["value"] == "s1 is down; it hears its controller alone"
    assert mailbox.order("RETRIEVE")["key"] == "ERROR"
    assert mailbox.order("RESTART")["key"] is None
    assert eventually(lambda: mailbox.order("RETRIEVE")["value"] == held["value"])
    assert mailbox.order("DROP", value="30%")["value"] == ["DROP 30%"]
    assert mailbox.order("HEAL", value=[])["value"] == []


def test_numbers_and_unicode_are_stored_as_typed(mailbox: Mailbox) -> None:
    mailbox.order("STORE", key="n", value=5)
    mailbox.order("STORE", key="name", value="Ångström")
    assert mailbox.node.ask("get n") == "s1@GET response: 5"
    assert mailbox.node.ask("get name") == "s1@GET response: Ångström"


ODD = [
    "", " ", "\x1b[2J\n[*] I am Leader", '{"a": "b"}', "it's", r"C:\new", "\0", "日本", "\u2028",
    "Controller@x",
]  # fmt: skip


def test_any_stored_value_is_retrieved_unchanged(mailbox: Mailbox) -> None:
    for number, text in enumerate(ODD, start=1):
        key = text or "empty"
        stored = mailbox.order("STORE", key=key, value=text)
        assert (stored["key"], stored["value"]) == (key, text)
        assert mailbox.order("RETRIEVE")["value"][str(number)][key] == text
    assert all(line.isprintable() for line in mailbox.node.said)


def test_a_store_too_long_for_its_answer_is_not_an_error(mailbox: Mailbox) -> None:
    long = "é" * 20_000  # two bytes each, and six in an answer
    message = {"sender_name": "Controller", "request": "STORE", "key": "k", "value": long}
    mailbox.post(json.dumps(message, ensure_ascii=False).encode())
    answer = json.loads(mailbox.socket.recv(65_535))
    said = "… 20000 characters; ask over TCP to see them"
    assert (answer["request"], answer["key"], answer["value"]) == ("STORE", "k", said)
    assert mailbox.node.ask("get k") == f"s1@GET response: {long}"
    assert mailbox.order("RETRIEVE")["key"] == "ERROR"


def test_entries_beyond_one_datagram_are_retrieved_page_by_page(mailbox: Mailbox) -> None:
    for number in range(1, 4):
        mailbox.order("STORE", key="k", value=f"{number}" * 15_000)
    first = mailbox.order("RETRIEVE")["value"]
    assert (list(first), first["more"]) == (["1", "2", "more"], "after 2")
    assert list(mailbox.order("RETRIEVE", value=first["more"])["value"]) == ["3"]


def test_an_ignored_sender_is_named_on_the_console(mailbox: Mailbox) -> None:
    for message, why in (
        (b"{", "it is not a JSON object"),
        ({"request": "SHUTDOWN"}, "its sender_name is missing"),
        ({"sender_name": "x\n[*] forged"}, r"its sender_name is x\x0a[*] forged"),
    ):
        before = len(mailbox.node.said)
        mailbox.post(message)
        line = mailbox.node.wait_for_line("Ignored a datagram", since=before)
        assert line == f"[*] Ignored a datagram from 127.0.0.1: {why}"


def test_a_malformed_order_is_reported_to_the_controller_alone(mailbox: Mailbox) -> None:
    for request, said in (
        ("EXPLODE", "EXPLODE is not an order."),
        (None, "the order is missing."),
        (5, "5 is not an order."),
        (["STORE"], '["STORE"] is not an order; did you mean STORE?'),
    ):
        answer = mailbox.order(request)
        assert answer["key"] == "ERROR"
        assert answer["value"].startswith(f"Sorry, {said} There are CONVERT_FOLLOWER, ")
    for fields in ({"value": "v"}, {"key": "", "value": "v"}, {"key": "k"}):
        missing = "value" if "value" not in fields else "key"
        said = f"Sorry, the {missing} is missing: STORE needs key and value"
        assert mailbox.order("STORE", **fields)["value"] == said
    for nothing in (
        b"",
        b"\xff\xfe",
        b"[1]",
        b"[" * 60_000,
        {"sender_name": "s2"},
        {"request": "X"},
    ):
        mailbox.post(nothing)
    assert mailbox.order("LEADER_INFO")["value"] == "s1"  # it was the next one that was answered
    mailbox.socket.settimeout(SILENCE_S)
    with pytest.raises(TimeoutError):
        mailbox.socket.recv(65_535)


class Slow:
    """In place of a node's Control: a STORE is not answered before it may be."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked = threading.Semaphore(0)

    def obey(self, request: Request, host: str) -> OrderAnswer:
        self.asked.release()
        if request.command.startswith("STORE"):
            self.may_answer.wait(DEADLINE_S)
        return OrderAnswer(request.command.partition(" ")[0], f"asked from {host}")


def test_waiting_stores_leave_room_for_other_orders() -> None:
    """Stores that wait for a quorum leave room for other orders."""
    port, slow, ignored = free_datagram_port(), Slow(), queue.SimpleQueue[str]()
    listener = UdpListener("127.0.0.1", port)
    listener.open("s1", cast("Control", slow), lambda: 1, lambda source, why: ignored.put(why))
    mailbox = Mailbox(cast("NodeProcess", SimpleNamespace(name="s1")), port)
    store = {"sender_name": "Controller", "request": "STORE", "key": "k", "value": "v"}
    for _ in range(AT_ONCE_MAX):
        mailbox.post(store)
        assert slow.asked.acquire(timeout=DEADLINE_S)
    mailbox.post(store)
    said = f"{AT_ONCE_MAX} such requests wait for their answers already"
    assert ignored.get(timeout=DEADLINE_S) == said
    assert mailbox.order("HEAL")["value"] == "asked from 127.0.0.1"
    slow.may_answer.set()
    for _ in range(AT_ONCE_MAX):
        assert json.loads(mailbox.socket.recv(65_535))["request"] == "STORE"
    listener.close()
    mailbox.socket.close()


def test_an_answer_to_the_next_port_also_goes_to_the_port_itself(tmp_path: Path) -> None:
    port = free_datagram_port()
    with Cluster(tmp_path, 1, "--controller", "--controller-udp", str(port)) as single:
        single.start().leader()
        message = {"sender_name": "Controller", "request": "LEADER_INFO"}
        with (
            socket.socket(type=socket.SOCK_DGRAM) as sender,
            socket.socket(type=socket.SOCK_DGRAM) as receiver,
        ):
            sender.bind(("127.0.0.2", port + 1))
            receiver.bind(("127.0.0.2", port))
            for one in (sender, receiver):
                one.settimeout(DEADLINE_S)
            sender.sendto(json.dumps(message).encode(), ("127.0.0.1", port))
            assert json.loads(sender.recv(65_535)) == json.loads(receiver.recv(65_535))


def test_each_change_of_state_is_printed_in_three_lines(mailbox: Mailbox) -> None:
    node = mailbox.node
    node.wait_for_line("Current State is: leader")
    said = [line for line in node.said if line.startswith("Current ")]
    assert said == [
        "Current Term is: 1",
        "Current Entries are: {}",
        "Current State is: follower",
        "Current Term is: 2",
        "Current Entries are: {}",
        "Current State is: candidate",
        "Current Term is: 2",
        "Current Entries are: {}",
        "Current State is: leader",
    ]


def test_entry_is_printed_when_forwarded_and_when_committed(mailbox: Mailbox) -> None:
    """Each entry is printed as it is forwarded and once it is committed."""
    entry = "{'term': 2, 'k': 'v'}"
    for number in (1, 2):
        mailbox.order("STORE", key="k", value="v")
        mailbox.node.wait_for_line(f"Forwarding the log to followers: [{number}: {entry}]")
        logged = ", ".join(f"'{each}': {entry}" for each in range(1, number + 1))
        mailbox.node.wait_for_line(f"Log entries are: [{logged}]")
    kinds = ("Forwarding the log", "Log entries are")
    assert [line for line in mailbox.node.said if line.startswith(kinds)] == [
        f"Forwarding the log to followers: [1: {entry}]",
        f"Log entries are: ['1': {entry}]",
        f"Forwarding the log to followers: [2: {entry}]",
        f"Log entries are: ['1': {entry}, '2': {entry}]",
    ]
    mailbox.order("SHUTDOWN")
    mailbox.order("RESTART")
    mailbox.node.wait_for_line(f"Current Entries are: {{1: {entry}, 2: {entry}}}")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--controller-udp", "5x"], "is not a port"),
        (["--controller-udp", "5555"], "add --controller to obey them"),
        (["--controller-from", "10.0.0.0/8"], "add --controller to obey them"),
        (["--controller", "--controller-from", "10.0.0.0/33"], "'10.0.0.0/33' is not a network"),
        (["--controller", "--controller-from", "a..b"], "'a..b' is not a host name or address"),
        (["--host", "a" * 64], "is not a host name or address"),
    ],
)
def test_an_order_port_that_can_not_work_is_refused_at_once(
    tmp_path: Path, options: list[str], said: str
) -> None:
    cluster = Cluster(tmp_path, 1, *options)
    with cluster:
        node = cluster.nodes[0].launch()
        assert node.ended() == 2
        assert said in node.transcript()
        assert "Traceback" not in node.transcript()


def test_no_node_may_have_the_name_of_the_controller(tmp_path: Path) -> None:
    # Two such could take each other's answers for orders.
    (tmp_path / "server-configuration.txt").write_text("Controller localhost 10000\n")
    options = ["--controller", "--dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(NODE), "Controller", "10000", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = "[!] a node that obeys Controller can't be called so; rename it\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_datagram_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with Cluster(tmp_path, 1, "--controller", "--controller-udp", str(port)) as single:
            assert single.nodes[0].launch().ended() == 2
            said = f"can't listen for datagrams on localhost port {port}: Address already in use"
            assert said in single.nodes[0].transcript()


def cli(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = raftline("controller", *arguments, "--dir", folder)
    return done.returncode, done.stdout, done.stderr


def test_command_gives_orders_and_programs_get_json(tmp_path: Path) -> None:
    """A person gives orders by the command and programs get JSON."""
    with Cluster(tmp_path, 1, "--controller") as single:
        single.start().leader()
        assert cli(tmp_path, "s1", "store", "my key", "two", "words") == (
            0,
            "s1@STORE response: my\\skey set to two words\n",
            "",
        )
        # One that is quoted as a whole is a line, of which the verb alone is written in capitals.
        assert cli(tmp_path, "s1", " store colour light blue") == (
            0,
            "s1@STORE response: colour set to light blue\n",
            "",
        )
        code, out, _ = cli(tmp_path, "s1", "retrieve after 1", "--json")
        entries = json.loads(out)["value"]["COMMITED_LOGS"]
        assert [entries[n]["colour"] for n in entries] == ["light blue"]
        empty = "raftline: REQUEST is empty; see raftline controller --help for those there are\n"
        assert cli(tmp_path, "s1", "") == (2, "", empty)
        code, out, _ = cli(tmp_path, "s1", "RETRIEVE", "--json")
        printed = json.loads(out)
        assert (code, printed["ok"], printed["answer"]) == (0, True, "RETRIEVE")
        assert printed["value"]["COMMITED_LOGS"]["1"]["my key"] == "two words"
        code, out, _ = cli(tmp_path, "s1", "DROP", "30%", "--json")
        assert (code, json.loads(out)["value"]) == (0, ["DROP 30%"])
        assert json.loads(cli(tmp_path, "s1", "HEAL", "--json")[1])["value"] == []
        code, out, _ = cli(tmp_path, "s1", "DROP", "1", "--json")
        assert (code, json.loads(out)["error"]) == (
            5,
            "the form is: DROP PERCENT% [NAME…], as in DROP 30% s2. Nothing was changed.",
        )
        single.kill()
        code, out, err = cli(tmp_path, "s1", "RETRIEVE")
        assert (code, out) == (5, "")
        assert err.startswith("Sorry, s1 (localhost:")
        where = f"localhost:{single.nodes[0].port}"
        said = f"Sorry, {where} is not reached: connection refused; nothing was done\n"
        assert cli(tmp_path, where, "RETRIEVE") == (5, "", said)
        code, _, err = cli(tmp_path, "s9", "RETRIEVE")
        assert (code, err.startswith("raftline: s9 is not in ")) == (2, True)


def test_the_command_names_another_leader_and_exits_with_3(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, "--controller") as cluster:
        cluster.start()
        follower = cluster.followers()[0]

        def answer() -> dict[str, Any] | None:
            code, out, _ = cli(tmp_path, f"localhost:{follower.port}", "STORE", "k", "v", "--json")
            printed: dict[str, Any] = json.loads(out)
            return printed if code == 3 and printed["value"]["LEADER"] else None

        printed = eventually(answer, "a follower's answer")
        assert (printed["ok"], printed["answer"], printed["server"]) == (
            False,
            "LEADER_INFO",
            follower.name,
        )
