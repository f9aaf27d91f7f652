"""A node inside a program: the same node, and what a program hears of it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raftline
from raftline.net.line_connection import LineConnection as Conversation
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports

ROOT = Path(__file__).resolve().parents[4]


class Tally:
    """A state machine that adds."""

    def __init__(self) -> None:
        self.sum = 0

    def apply(self, command: Any) -> Any:
        if command > 100:
            raise raftline.errors.Rejected("that is too much")
        self.sum += command
        return self.sum

    def snapshot(self) -> Any:
        return self.sum

    def restore(self, state: Any) -> None:
        self.sum = state


@pytest.fixture
def members() -> dict[str, str]:
    return {f"node{number}": f"127.0.0.1:{next(free_ports)}" for number in (1, 2, 3)}


@pytest.fixture
def nodes(members: dict[str, str], tmp_path: Path) -> Iterator[list[raftline.Node]]:
    """Three nodes in this very process; at their pace it may stand still for a second."""
    started = [raftline.Node(name, members=members, dir=tmp_path, pace="class") for name in members]
    yield started
    for node in started:
        node.close()


def led(nodes: list[raftline.Node]) -> raftline.Node:
    """Wait until all follow one leader, and may vote; return its node."""

    def leader() -> raftline.Node | None:
        leaders = {str(node.get_leader()) for node in nodes if node.is_running}
        if any(node.status()["recovering"] for node in nodes if node.is_running):
            return None  # it came after the first election, and catches up
        return next((n for n in nodes if n.is_leader and leaders == {str(n.get_leader())}), None)

    return eventually(leader, "a leader that all follow")


def test_node_leaves_no_thread_and_binds_none_to_a_core(tmp_path: Path) -> None:
    """A closed node leaves no thread and an open one binds none to a core."""
    before = set(threading.enumerate())
    allowed = os.sched_getaffinity(0)
    alone = {"alone": f"127.0.0.1:{next(free_ports)}"}
    with raftline.Node("alone", members=alone, dir=tmp_path, state_file_every=0.01) as node:
        assert node.wait_until_leader(timeout=DEADLINE_S)
        begun = {thread.name for thread in set(threading.enumerate()) - before}
    assert "alone owner" in begun
    assert os.sched_getaffinity(0) == allowed
    eventually(lambda: set(threading.enumerate()) <= before, "its threads end")


def test_a_node_of_the_longest_name_there_is_serves_its_program(tmp_path: Path) -> None:
    name = "n" * 64
    alone = {name: f"127.0.0.1:{next(free_ports)}"}
    with raftline.Node(name, members=alone, dir=tmp_path) as node:
        value = raftline.Replicated("value", node=node)
        value.set("on")
        assert value.get() == "on"


def test_a_node_stays_in_its_folder_wherever_the_program_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = {"alone": f"127.0.0.1:{next(free_ports)}"}
    monkeypatch.chdir(tmp_path)
    with raftline.Node("alone", members=alone, dir="logs", state_file_every=0.01) as node:
        monkeypatch.chdir("/")
        raftline.Replicated("value", node=node).set("on")
        states = tmp_path / "logs/alone.state_machine"
        eventually(lambda: states.exists() and '"on"' in states.read_text(), "the state file")
        assert node.is_running


def lead(name: str, nodes: list[raftline.Node]) -> None:
    """Make this node lead, whether or not another stands."""

    def leads() -> bool:
        if led(nodes).name != name:
            with contextlib.suppress(raftline.ClientError):
                nodes[0].request(f"transfer {name}")
        return led(nodes).name == name

    eventually(leads, f"{name} leads")


def test_a_program_waits_for_a_leader_and_hears_each_change(
    nodes: list[raftline.Node], members: dict[str, str]
) -> None:
    heard: list[str] = []
    roles: list[str] = []
    watcher = nodes[0]
    leader = watcher.wait_for_leader(DEADLINE_S)
    assert leader is not None
    assert str(leader) == members[leader.name]
    first = led(nodes)
    other = next(node for node in nodes if node is not first)
    other.on_leader_change(lambda each: heard.append(str(each)))
    other.on_leader(lambda: roles.append("leads"))
    other.on_follower(lambda: roles.append("follows"))
    first.on_leader(lambda: roles.append("was told at once"))
    eventually(lambda: len(heard) == 1 and len(roles) == 2, "what is true already")
    assert heard == [members[first.name]]
    assert sorted(roles) == ["follows", "was told at once"]
    assert first.wait_until_leader(timeout=0)
    assert not other.wait_until_leader(timeout=0)
    assert other.wait_until_leader(first.name, timeout=DEADLINE_S)
    lead(other.name, nodes)
    assert other.wait_until_leader(timeout=DEADLINE_S)
    eventually(lambda: heard[-1] == members[other.name] and roles[-1] == "leads", "the change")
    assert not first.is_leader


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs a /proc to look into")
def test_a_task_started_in_a_leader_callback_can_be_stopped(nodes: list[raftline.Node]) -> None:
    asked = ["grep", "SigBlk", "/proc/self/status"]
    found: list[bytes] = []
    called = threading.Event()

    @led(nodes).on_leader
    def start() -> None:
        found.append(subprocess.check_output(asked))
        called.set()

    assert called.wait(DEADLINE_S)
    assert found == [subprocess.check_output(asked)]  # no signal is held back


def test_an_exception_in_a_leader_callback_stops_no_node(
    nodes: list[raftline.Node], caplog: pytest.LogCaptureFixture
) -> None:
    node = led(nodes)

    async def later(*_: object) -> None: ...

    wrong: Any
    for wrong in (5, later):
        for decorator in (node.on_leader, node.on_follower, node.on_leader_change):
            with pytest.raises(TypeError, match="is a plain function"):
                decorator(wrong)

    @node.on_leader
    def fails() -> None:
        raise ValueError("of the program")

    called = threading.Event()
    node.on_leader(called.set)
    assert called.wait(DEADLINE_S)
    assert "a callback for a change of the leader failed" in caplog.text
    assert node.is_running


def test_nc_and_status_see_a_node_like_any_other(
    nodes: list[raftline.Node], members: dict[str, str], tmp_path: Path
) -> None:
    leader = led(nodes)
    raftline.ReplicatedDict("settings", node=nodes[0])["lamp"] = "on"
    with Conversation(int(members[leader.name].rpartition(":")[2])) as nc:
        assert nc.ask("get settings") == f'{leader.name}@GET response: {{"lamp": "on"}}'
        assert nc.ask('me@object settings dict.put "door" 1').endswith("OBJECT response: null")
    assert raftline.ReplicatedDict("settings", node=nodes[1])["door"] == 1
    ended = subprocess.run(
        [sys.executable, str(ROOT / "src" / "cli.py"), "status", "--dir", str(tmp_path), "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert leader.name in ended.stdout
    log = tmp_path / f"{leader.name}.log"
    for entry in ('#1@object settings dict.put "lamp" "on"', ' object settings dict.put "door" 1'):
        eventually(lambda entry=entry: f"{entry}\n" in log.read_text(), f"{entry} on its disk")


def test_a_closed_node_can_be_opened_again_with_its_data(
    members: dict[str, str], tmp_path: Path
) -> None:
    alone = {"node1": members["node1"]}
    for number in range(3):
        with raftline.Node("node1", members=alone, dir=tmp_path) as node:
            shared = raftline.ReplicatedList("runs", node=node)
            assert shared.copy() == list(range(number))
            shared.append(number)
        assert (node.exit_status, node.is_running, node.get_leader()) == (0, False, None)
        node.close()  # again: nothing
        with pytest.raises(raftline.Unreachable, match="was closed"):
            shared.append(number)
        assert repr(shared) == "<ReplicatedList 'runs' of node1>"


def test_a_wiped_state_file_is_rebuilt_from_the_log(
    members: dict[str, str], tmp_path: Path
) -> None:
    alone = {"node1": members["node1"]}
    state = tmp_path / "node1.state_machine"
    with raftline.Node("node1", members=alone, dir=tmp_path, state_file_every=0.05) as node:
        value = raftline.Replicated("value", node=node)
        for text in ("first", "second"):
            value.set(text)
            eventually(lambda text=text: f'value "{text}"\n' in read(state), f"{text} in the file")
    log = (tmp_path / "node1.log").read_text()
    assert log.startswith("0 0 base ")  # nothing was compacted
    assert 'set value "first"\n' in log
    state.unlink()
    with raftline.Node("node1", members=alone, dir=tmp_path, state_file_every=0.05) as node:
        assert raftline.Replicated("value", node=node).get() == "second"
        eventually(lambda: 'value "second"\n' in read(state), "the state file")


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_plain_servers_carry_objects_and_hold_the_same(cluster: Cluster, tmp_path: Path) -> None:
    third = cluster["s3"]
    third.terminate()
    with raftline.Node("s3", dir=tmp_path, timeout=DEADLINE_S) as node:
        tags = raftline.ReplicatedSet("tags", node=node)
        tags |= {"a", "b"}
        assert tags.copy() == {"a", "b"}
        eventually(lambda: node.status()["last_applied"] == node.status()["last_index"])
    for name in ("s1", "s2"):
        reply = cluster[name].ask("get tags read index").partition("@")[2]
        assert set(json.loads(reply.removeprefix("GET response: "))) == {"a", "b"}


def test_node_without_the_shared_state_machine_stops(
    members: dict[str, str], tmp_path: Path
) -> None:
    """A node without a state machine of the others stops instead of diverging."""
    options: dict[str, Any] = {"members": members, "dir": tmp_path, "pace": "class"}
    with_it = [
        raftline.Node(name, machines={"tally": Tally()}, **options) for name in ("node1", "node2")
    ]
    lacking = raftline.Node("node3", **options)
    tally = raftline.ReplicatedMachine("tally", node=with_it[0], timeout=DEADLINE_S)
    lead("node3", [*with_it, lacking])
    with pytest.raises(raftline.Refused, match='has no state machine "tally"'):
        tally.apply(1)
    assert lacking.is_running
    lead("node1", [*with_it, lacking])
    assert tally.apply(5) == 5
    with pytest.raises(raftline.Refused, match="tally: that is too much"):
        tally.apply(101)
    assert (tally.apply(2), tally.state()) == (7, 7)
    eventually(lambda: not lacking.is_running, "the node that lacks it stops")
    assert lacking.exit_status == 70
    lacking.close()
    third = Tally()
    with raftline.Node("node3", machines={"tally": third}, **options):
        eventually(lambda: third.sum == 7, "the third catches up")
        assert tally.apply(-7) == 0
        eventually(lambda: third.sum == 0, "the third goes on")
    for node in with_it:
        node.close()


def test_node_that_must_stop_reports_it_and_its_objects_continue(
    nodes: list[raftline.Node], caplog: pytest.LogCaptureFixture
) -> None:
    leader = led(nodes)
    settings = raftline.ReplicatedDict("settings", node=leader, timeout=DEADLINE_S)
    settings["lamp"] = "on"
    leads_no_more = threading.Event()
    leader.on_follower(leads_no_more.set)
    with caplog.at_level(logging.WARNING, "raftline"):
        leader._server.driver.fail(RuntimeError("an invariant, say"))
        eventually(lambda: not leader.is_running, "the end of the node")
    assert f"{leader.name} stops: RuntimeError: an invariant, say" in caplog.text
    assert settings["lamp"] == "on"
    assert leader.exit_status == 70
    assert leads_no_more.wait(DEADLINE_S)


def test_a_callback_during_the_close_of_a_node_may_still_ask(
    nodes: list[raftline.Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = led(nodes)
    settings = raftline.ReplicatedDict("settings", node=leader, timeout=DEADLINE_S)
    settings["lamp"] = "on"
    found: list[str] = []
    server = leader._server
    stop = server.stop
    monkeypatch.setattr(server, "stop", lambda: (found.append(settings["lamp"]), stop()))
    leader.close()
    assert found == ["on"]
    with pytest.raises(raftline.Unreachable, match="was closed"):
        settings.copy()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "node9"}, "node9 is not among the members (node1 node2 node3)"),
        ({"members": {"node1": "nowhere"}}, "'nowhere' is not an address: host:port"),
        ({"members": {"node1": 8000}}, "members: 8000 is not an address: host:port"),
        ({"members": ["127.0.0.1:8000"]}, "members is a dict of each name to its host:port, not"),
        ({"members": {}}, "members names nobody"),
        (
            {"members": {"node1": "127.0.0.1:1", "node2": "127.0.0.1:1"}},
            "members: node2 and node1 share 127.0.0.1:1",
        ),
        ({"members": {"1": "127.0.0.1:1"}}, "members: '1' is not the name of a node: a"),
        ({"members": {"a b": "127.0.0.1:1"}}, "members: 'a b' is not the name of a node: a"),
        ({"members": {"": "127.0.0.1:1"}}, "members: '' is not the name of a node: a"),
        ({"members": {"#1": "127.0.0.1:1"}}, "members: '#1' is not the name of a node: a"),
        ({"members": None}, 'say members={"node1": "127.0.0.1:8000", …}'),
        ({"members": {"node1": "10.0.0.1:8000"}}, "set open_to_network=True"),
        ({"members": {"node1": "127.evil.example:8000"}}, "set open_to_network=True"),
        ({"pace": "slow"}, "unknown pace 'slow'; the paces are class, fast, human"),
    ],
)
def test_a_node_that_cannot_start_reports_why_in_one_line(
    changed: dict[str, Any], said: str, members: dict[str, str], tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"name": "node1", "members": members, "dir": tmp_path, **changed}
    with pytest.raises(raftline.NodeError) as caught:
        raftline.Node(arguments.pop("name"), **arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"timeout": 0}, ValueError, "0 s is invalid"),
        ({"state_file_every": "1"}, TypeError, "not str"),
        ({"state_file_every": 0}, ValueError, "0 s is invalid"),
        ({"port": 75_535}, ValueError, "'75535' is not a port: 1 to 65535"),
        ({"port": 0}, ValueError, "'0' is not a port"),
        ({"port": "x"}, ValueError, "'x' is not a port"),
        ({"machines": Tally()}, TypeError, "machines is a dict of name to machine, not of type"),
        ({"machines": {"bank": object()}}, TypeError, '"bank" is not a state machine: object'),
        ({"machines": {"bank": Tally}}, TypeError, '"bank" is the class Tally: pass an instance'),
    ],
)
def test_invalid_arguments_leave_port_and_files_free(
    changed: dict[str, Any],
    error: type[Exception],
    said: str,
    members: dict[str, str],
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=said) as caught:
        raftline.Node("node1", members=members, dir=tmp_path, **changed)
    with raftline.Node("node1", members=members, dir=tmp_path) as node:
        assert node.is_running
    assert "\n" not in str(caught.value)


def test_a_port_or_files_in_use_are_refused_and_left_alone(
    members: dict[str, str], tmp_path: Path
) -> None:
    with raftline.Node("node1", members=members, dir=tmp_path) as node:
        with pytest.raises(raftline.NodeError, match="is in use"):
            raftline.Node("node1", members=members, dir=tmp_path)
        with pytest.raises(raftline.NodeError, match="node1 is running already"):
            raftline.Node("node1", members=members, dir=tmp_path, port=next(free_ports))
        with pytest.raises(raftline.NodeError, match="names other members than this program"):
            raftline.Node("node1", members={"node1": members["node1"]}, dir=tmp_path)
        assert node.is_running


def test_an_open_node_has_its_threads_running(
    members: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Python 3.12 refuses new threads to a program that ends; what begins later would be too late.
    go = threading.Event()
    run = raftline.Node._run
    monkeypatch.setattr(raftline.Node, "_run", lambda node: go.wait(DEADLINE_S) and run(node))
    with raftline.Node("node1", members=members, dir=tmp_path) as node:
        assert {"node1 accept", "node1 writer"} <= {each.name for each in threading.enumerate()}
        go.set()
    assert not node.is_running


@pytest.mark.parametrize("end", [signal.SIGINT, None])
def test_a_node_ends_with_its_program(
    end: int | None, members: dict[str, str], tmp_path: Path
) -> None:
    alone = {"node1": members["node1"]}
    program = (
        "import raftline, sys\n"
        f"node = raftline.Node('node1', members={alone!r}, dir={str(tmp_path)!r})\n"
        "print(node.wait_until_leader(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert process.stdout
    assert process.stdout.readline() == "True\n"
    if end is not None:
        process.send_signal(end)
    errors = process.communicate(timeout=DEADLINE_S)[1]
    if end is None:
        assert (process.returncode, errors) == (0, "")
    else:
        assert errors.endswith("KeyboardInterrupt\n")
    with raftline.Node("node1", members=alone, dir=tmp_path) as node:  # port and files are free
        assert node.wait_until_leader(timeout=DEADLINE_S)
