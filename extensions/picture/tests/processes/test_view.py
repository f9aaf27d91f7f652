"""`raftline view`: the server of the page, without a browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from raftline.picture.harness.saved_page import held
from raftline_testing.nodes.cluster import CALM, Cluster, NodeProcess
from raftline_testing.nodes.processes import Process, eventually, free_ports, ports_in_a_row

PROGRAM = [sys.executable, str(Path(__file__).parents[4] / "src" / "cli.py")]
pytest.importorskip("aiohttp", reason="the page needs aiohttp")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("view"), 3, *CALM) as cluster:
        yield cluster.start().led_by("s1")


@pytest.fixture(scope="module")
def port(three: Cluster) -> Iterator[int]:
    number = next(free_ports)
    command = [*PROGRAM, "view", "--dir", str(three.folder), "--port", str(number)]
    page = Process("view", command)
    page.launch().wait_for_line("the picture: http://localhost:")
    yield number
    page.close()


def ask(
    port: int, path: str, body: object = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection("localhost", port, timeout=20)
    method = "GET" if body is None else "POST"
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def own(port: int) -> dict[str, str]:
    return {"Origin": f"http://localhost:{port}", "Content-Type": "application/json"}


def test_each_file_comes_with_a_policy_against_inline_scripts(port: int) -> None:
    """Each file comes with a policy that allows no inline script."""
    status, headers, text = ask(port, "/")
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]* src=)|\son[a-z]+=|style=", text)
    for name in re.findall(r'(?:src|href)="(/[^"]+)"', text):
        assert ask(port, name)[0] == 200
    assert ask(port, "/static/..%2fserver.py")[0] == 404
    assert ask(port, "/static/none.js")[0] == 404


def test_a_page_of_another_site_is_refused(port: int) -> None:
    line = {"node": "s1", "line": "Controller@SHUTDOWN"}
    assert ask(port, "/facts", Host="evil.example:80")[0] == 403
    assert ask(port, "/line", line, **{**own(port), "Origin": "http://evil.example"})[0] == 403
    assert ask(port, "/line", line, **{**own(port), "Content-Type": "text/plain"})[0] == 403
    assert ask(port, "/line", {"node": "s9", "line": "x"}, **own(port))[0] == 400
    assert ask(port, "/line", {"node": "s1", "line": "a\nb"}, **own(port))[0] == 400
    assert ask(port, "/process", {"node": "s1", "what": "kill"}, **own(port))[0] == 400


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[" * 100_000, "application/json"), (b"{}", "application/json; charset=x"),
        (b"\xff", "application/json"), (b"{}", "application/json"), (b"7", "application/json"),
    ],
)  # fmt: skip
def test_unknown_order_is_refused_as_no_error_of_the_page(
    port: int, body: bytes, kind: str
) -> None:
    """An order that is none is refused and no error of the page."""
    with closing(http.client.HTTPConnection("localhost", port, timeout=20)) as connection:
        connection.request("POST", "/line", body, {**own(port), "Content-Type": kind})
        assert connection.getresponse().status == 400


def test_a_line_is_typed_and_its_answer_comes_back(port: int) -> None:
    status, _, text = ask(port, "/line", {"node": "s1", "line": "me@set seen 5"}, **own(port))
    assert (status, json.loads(text)) == (
        200,
        {"answer": "s1@SET response: seen set to 5", "problem": ""},
    )
    facts = json.loads(ask(port, "/facts")[2])
    assert facts == {"members": ["s1", "s2", "s3"], "controller": True, "processes": False}


def test_stream_gives_each_node_state_then_events(port: int, three: Cluster) -> None:
    """The stream tells the state of each node then what happens."""
    connection = http.client.HTTPConnection("localhost", port, timeout=20)
    connection.request("GET", "/events")
    stream = connection.getresponse()
    begun, is_sent = set[str](), False
    three.ask("client4@set streamed <b>")
    while not is_sent or begun != {"s1", "s2", "s3"}:
        line = stream.fp.readline().decode()
        batch = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
        for event in batch.get("events", []):
            begun |= {event["node"]} if event["k"] == "begin" else set()
            if "set streamed <b>" in json.dumps(event.get("append", "")):
                is_sent = True
                assert event["node"] in begun
    connection.close()


def test_an_order_that_a_node_refuses_is_not_in_force(port: int) -> None:
    connection = http.client.HTTPConnection("localhost", port, timeout=20)
    connection.request("GET", "/events")
    stream = connection.getresponse()
    for order_line in ("RESTART", "DELAY 1ms"):
        asked = {"node": "s1", "line": f"Controller@{order_line}"}
        assert ask(port, "/line", asked, **own(port))[0] == 200
    orders: list[str] = []
    while not orders:
        line = stream.fp.readline().decode()
        batch = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
        orders = [one["text"] for one in batch.get("events", []) if one["k"] == "act"]
    connection.close()
    assert orders == ["DELAY 1ms"]


def test_a_node_that_joins_later_gets_a_lane(port: int, three: Cluster) -> None:
    options = [*three.nodes[0].options, "--join", f"localhost:{three['s1'].port}"]
    fourth = NodeProcess("s4", next(free_ports), three.folder, options)
    connection = http.client.HTTPConnection("localhost", port, timeout=20)
    connection.request("GET", "/events")
    stream = connection.getresponse()
    with closing(fourth):
        fourth.start()
        members, begun = list[str](), set[str]()
        while "s4" not in begun:
            line = stream.fp.readline().decode()
            batch = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            members = batch.get("members", members)
            begun |= {one["node"] for one in batch.get("events", []) if one["k"] == "begin"}
        assert members == ["s1", "s2", "s3", "s4"]
        status, _, text = ask(port, "/line", {"node": "s4", "line": "me@get x"}, **own(port))
        assert status == 200
        assert "s4@" in json.loads(text)["answer"]
        eventually(lambda: "s4" in three["s1"].status()["voters"], "s4 votes")
        # It votes in the joint configuration already, when the change is not over.
        eventually(lambda: "s4 is not a member" in three.ask("me@remove s4"), "s4 is removed")
    connection.close()


def test_a_saved_page_holds_what_was_seen(three: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    one = f"localhost:{three['s2'].port}"
    command = [*PROGRAM, "view", "--at", one, "--save", str(path), "--for", "0.5"]
    saver = Process("save", command).launch()
    assert saver.ended() == 0
    events = held(path.read_text(encoding="utf-8"))["events"]
    assert {event["node"] for event in events if event["k"] == "begin"} == {"s1", "s2", "s3"}


def test_a_node_that_does_not_answer_is_reported_and_comes_back(port: int, three: Cluster) -> None:
    three["s3"].kill()
    problem = json.loads(ask(port, "/line", {"node": "s3", "line": "status"}, **own(port))[2])
    assert problem["answer"] == ""
    assert problem["problem"].startswith("s3: ")
    three["s3"].start()
    eventually(lambda: three["s3"].status().get("leader") == "s1", "s3 follows again")


def test_page_kills_starts_and_stops_a_node_of_up(tmp_path: Path) -> None:
    """A node of `raftline up` is killed, started and stopped from the page."""
    base, page = next(free_ports), next(free_ports)
    config = tmp_path / "server-configuration.txt"
    config.write_text(f"s1 localhost {base}\ns2 localhost {next(free_ports)}\n")
    command = [*PROGRAM, "up", "--dir", str(tmp_path), "--view", str(page)]
    with closing(Process("up", command)) as up:
        line = up.launch().wait_for_line("2 nodes up")
        address = up.wait_for_line("the picture: http://", since=up.said.index(line))  # again
        assert address == up.wait_for_line("the picture: http://")
        key = address.partition("/#key=")[2]
        unsigned = ask(page, "/process", {"node": "s1", "what": "kill"}, **own(page))
        assert unsigned[0] == ask(page, "/facts")[0] == 403  # another user of this machine
        first = pid_of(page, key)
        assert "s1 was killed" in order(page, key, "kill")
        up.wait_for_line("s1 died (killed by SIGKILL)")
        assert "s1 is started" in order(page, key, "start")
        assert eventually(lambda: pid_of(page, key), "s1 answers") != first
        assert "s1 was asked to stop" in order(page, key, "stop")
        up.wait_for_line("s1 stopped as requested")


def test_the_address_of_up_comes_again_after_each_election(tmp_path: Path) -> None:
    """The lines of the first election hid it, and it did not come again after a death."""
    command = [*PROGRAM, "up", "--dir", str(tmp_path), "--base-port", str(ports_in_a_row(3))]
    with closing(Process("up", [*command, "--view", str(next(free_ports))])) as up:
        first = up.launch().wait_for_line("I am Leader")
        address = up.wait_for_line("the picture: http://", since=up.said.index(first))
        leader, _, _ = first.partition(" | ")
        key, page = address.partition("/#key=")[2], int(address.split(":")[-1].partition("/")[0])
        assert "was killed" in order(page, key, "kill", leader)
        death = up.wait_for_line(f"{leader} died")
        died = up.said.index(death)
        second = up.wait_for_line("I am Leader", since=died)
        elected = up.said.index(second, died)
        assert up.wait_for_line("the picture: http://", since=elected) == address


def order(page: int, key: str, what: str, node: str = "s1") -> str:
    asked = {"node": node, "what": what}
    return ask(page, "/process", asked, **own(page), **{"X-Raftline-Key": key})[2]


def pid_of(page: int, key: str) -> int:
    """Return the process of s1, 0 where it does not answer."""
    asked = {"node": "s1", "line": "status"}
    answer = json.loads(ask(page, "/line", asked, **own(page), **{"X-Raftline-Key": key})[2])
    facts = answer["answer"].partition("response: ")[2]
    return int(json.loads(facts)["pid"]) if facts else 0


def test_what_is_missing_is_named_in_one_line(three: Cluster, tmp_path: Path) -> None:
    taken = Process(
        "taken",
        [*PROGRAM, "view", "--dir", str(three.folder), "--port", str(three["s1"].port)],
    )
    taken.launch()
    assert taken.ended() == 2
    (line,) = taken.lines
    assert f"the page can't be served on port {three['s1'].port}: " in line
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['aiohttp'] = None\n")
    command = [*PROGRAM, "view", "--dir", str(three.folder)]
    without = Process("without", command, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert without.launch().ended() == 2
    assert without.lines == [
        "raftline: the page needs aiohttp, which is not installed: pip install 'aiohttp>=3.9'"
    ]


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no `node` here")
def test_a_lost_message_ends_when_and_where_it_was_lost(tmp_path: Path) -> None:
    """On the way, it ends between its receiver's lane and the one before: a red cross on the lane
    of a third node would say that it was lost there."""
    for script in (Path(__file__).parents[4] / "extensions" / "picture" / "view" / "static").glob(
        "*.js"
    ):
        (tmp_path / f"{script.stem}.js").write_text(script.read_text("utf-8"), encoding="utf-8")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "try.mjs").write_text(
        """
        import { Diagram } from "./diagram.js";
        const members = ["s1", "s2", "s3", "s4"], ends = {}, pen = new Proxy({}, {
          get: () => () => undefined, set: () => true,
        });
        const diagram = Object.create(Diagram.prototype);
        Object.assign(diagram, { g: pen, spots: [], crosses: [], labels: false });
        Object.assign(diagram, { model: { members, time: (node, at) => at } });
        Object.assign(diagram, { view: { end: 10, span: 1, chosen: null } });
        Object.assign(diagram, { x: (at) => at, lane: (node) => 100 * members.indexOf(node) });
        Object.assign(diagram, { ink: () => "", colour: () => "" });
        for (const [from, to, where] of [
          ["s1", "s3", "way"], ["s4", "s1", "way"], ["s2", "s3", "way"], ["s1", "s3", "sender"],
          ["s4", "s1", "receiver"],
        ]) {
          const lost = { at: 3, where };
          const message = { from, to, arrived: null, lost, line: "PreVote 1-0-0" };
          diagram.arrow(message, 1, diagram.endOf(message, 1));
          const { x2, y2 } = diagram.spots.pop();
          ends[`${from} ${to} ${where}`] = [x2, y2];
        }
        console.log(JSON.stringify(ends));
        """
    )
    done = subprocess.run(
        ["node", "try.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    ends = json.loads(done.stdout)
    assert {time for time, _ in ends.values()} == {3}
    assert 100 < ends["s1 s3 way"][1] < 200
    assert 0 < ends["s4 s1 way"][1] < 100
    assert 100 < ends["s2 s3 way"][1] < 200
    assert 0 < ends["s1 s3 sender"][1] < 20
    assert 0 < ends["s4 s1 receiver"][1] < 20
