"""The leadership is handed over: when somebody asks for it, and before a leader stops."""

from __future__ import annotations

import contextlib
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from raftline.net.line_connection import LineConnection
from raftline_testing.doubles.in_process import without_notices
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports

CLI = Path(__file__).resolve().parents[3] / "src" / "cli.py"


def test_the_named_node_leads_the_next_term(calm: Cluster) -> None:
    leader = calm.leader()
    term = leader.status()["term"]
    to = calm.followers()[0]
    reply = leader.ask(f"client4@transfer {to.name}")
    assert reply == f"{leader.name}@TRANSFER response: {to.name} leads term {term + 1}"
    assert calm.leader() is to
    assert leader.is_running
    to.wait_for_line(f"[*] {leader.name} hands the leadership over")
    assert calm.ask("client4@set a 4") == "SET response: a set to 4"


def test_a_transfer_without_a_name_makes_another_node_leader(shared: Cluster) -> None:
    leader = shared.leader()
    reply = leader.ask("transfer")
    assert reply.startswith(f"{leader.name}@TRANSFER response: ")
    assert shared.leader() is not leader


def test_impossible_transfer_is_refused_and_the_leader_stays(shared: Cluster) -> None:
    """If a transfer is impossible, it is refused, and the leader continues."""
    leader, follower = shared.leader(), shared.followers()[0]
    said = leader.name + "@Sorry, "
    assert leader.ask(f"transfer {leader.name}") == f"{said}{leader.name} leads already."
    assert leader.ask("transfer s9") == said + "s9 is not a member of this cluster."
    assert leader.ask("transfer 9").startswith(said + "transfer takes the name of one server")
    assert follower.ask(f"transfer {follower.name}") == (
        f"{follower.name}@Sorry, I am not the leader. "
        f"Last leader I heard from is: {leader.name} (localhost:{leader.port})"
    )
    assert shared.leader() is leader


def test_joined_node_can_take_the_leadership_and_a_learner_not(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The leadership can be transferred to a node that joined, but not to a learner."""
    leader, [follower, _] = cluster.leader(), cluster.followers()
    joins = ["--join", f"localhost:{follower.port}"]
    newcomer = NodeProcess("s4", next(free_ports), tmp_path / "elsewhere", joins)
    cluster.nodes.append(newcomer)
    newcomer.start().wait_for_line("ADD response: s4 added as a learner, votes from entry")
    assert leader.ask("transfer s4").startswith(f"{leader.name}@TRANSFER response: s4 leads term")
    done = "s4@DEMOTE response: "  # a new leader refuses until it has committed an entry
    eventually(lambda: newcomer.ask(f"demote {leader.name}").startswith(done))
    assert newcomer.ask(f"transfer {leader.name}") == (
        f"s4@Sorry, {leader.name} is a learner without a vote."
    )
    assert newcomer.ask("incr visits") == "s4@INCR response: 1"
    assert newcomer.ask("remove s4").startswith("s4@REMOVE response: s4 removed with entry ")
    rest = [node for node in cluster.nodes if node is not newcomer]
    eventually(
        lambda: any(line.endswith("s4 hands the leadership over") for n in rest for line in n.said)
    )


def test_a_paused_node_does_not_take_over_and_writes_continue(cluster: Cluster) -> None:
    leader, follower = cluster.leader(), cluster.followers()[0]
    follower.pause()
    with leader.connect() as asked, leader.connect() as client:
        asked.send(f"transfer {follower.name}")
        client.send("client4@set a 4")
        assert asked.read_line().startswith(f"{leader.name}@Sorry, {follower.name} ")
        assert client.read_line() == f"{leader.name}@SET response: a set to 4"
    follower.resume()
    assert cluster.ask("client4@get a") == "GET response: 4"


def test_the_command_finds_the_leader_and_hands_over(calm: Cluster) -> None:
    to = calm.followers()[1]
    calm.leader()
    command = [sys.executable, str(CLI), "transfer", to.name, "--dir", str(calm.folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, without_notices(ended.stderr)) == (0, "")
    assert ended.stdout.startswith(f"TRANSFER response: {to.name} leads term ")
    assert calm.leader() is to


class Writer(threading.Thread):
    """Writes one key after the other to the leader, until asked to stop."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, str] = {}
        self.uncertain = 0
        self.over = threading.Event()
        self._cluster = cluster
        self._name = name

    def run(self) -> None:
        nodes = self._cluster.nodes
        number = 0
        while not self.over.is_set():
            node = nodes[number % len(nodes)]
            with contextlib.suppress(OSError), node.connect() as connection:
                while not self.over.is_set():
                    number += 1
                    key = f"{self._name}-{number}"
                    text = connection.ask(f"{self._name}@set {key} {number}").partition("@")[2]
                    if text == f"SET response: {key} set to {number}":
                        self.acknowledged[key] = str(number)
                        continue
                    self.uncertain += text.startswith("Sorry, outcome unknown")
                    break
            number += 1


def test_transfers_under_load_lose_no_write(calm: Cluster) -> None:
    """No write is lost, and none has an unknown outcome."""
    writers = [Writer(calm, name) for name in ("client1", "client2", "client3")]
    calm.leader()
    for writer in writers:
        writer.start()
    for _ in range(6):
        before = [len(writer.acknowledged) for writer in writers]
        eventually(lambda: "@TRANSFER response: " in calm.leader().ask("transfer"), "a transfer")
        eventually(
            lambda before=before: all(
                len(writer.acknowledged) > count + 5
                for writer, count in zip(writers, before, strict=True)
            ),
            "writes at the new leader",
        )
    for writer in writers:
        writer.over.set()
        writer.join(DEADLINE_S)
    assert sum(writer.uncertain for writer in writers) == 0
    calm.wait_until_equal()
    log = calm.leader().log

    def missing() -> list[str]:
        held = {line.partition(" set ")[2] for line in log.read_text().splitlines()}
        done = [one for writer in writers for one in writer.acknowledged.items()]
        return [key for key, value in done if f"{key} {value}" not in held]

    assert eventually(lambda: not missing(), "all that was acknowledged, on the leader's disk")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_leader_asked_to_stop_hands_over_first(cluster: Cluster, number: int) -> None:
    assert cluster.ask("client4@set a 4") == "SET response: a set to 4"

    def is_handed_over() -> bool:
        """Whether nobody waited and nobody stood in vain: on a busy machine the other follower
        may see the end of the leader first, and stand as well."""
        leader = cluster.leader()
        term = leader.status()["term"]
        with leader.connect() as client:
            client.send("client4@get a")
            assert leader.terminate(number) == 0
        leader.wait_for_line("[*] Handing the leadership over to ")
        new = cluster.leader()
        assert cluster.ask("client4@get a") == "GET response: 4"
        is_next = new.status()["term"] == term + 1
        if is_next:
            new.wait_for_line(f"[*] {leader.name} hands the leadership over")
        leader.start()
        cluster.wait_until_whole()
        return is_next

    assert any(is_handed_over() for _ in range(3))


def test_nodes_stopped_together_do_not_wait_for_each_other(fast: Cluster) -> None:
    fast.leader()
    for node in fast.nodes:
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
    assert [node.ended() for node in fast.nodes] == [0, 0, 0]


def test_a_lone_leader_stops_without_a_transfer(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        cluster.start()
        leader = cluster.leader()
        assert leader.terminate() == 0
        assert not any("Handing" in line for line in leader.said)


def test_status_shows_the_target_of_a_transfer(cluster: Cluster) -> None:
    leader, follower = cluster.leader(), cluster.followers()[0]
    assert leader.status()["handing_over_to"] is None
    follower.pause()

    def is_shown() -> bool:
        """Whether it was, until the leader gave up."""
        with leader.connect() as asked:
            asked.send(f"transfer {follower.name}")
            seen = eventually(
                lambda: leader.status()["handing_over_to"] or is_over(asked), "an end"
            )
            said = asked.read_line()
        assert said.startswith(f"{leader.name}@Sorry, {follower.name} did not take")
        return seen == follower.name

    eventually(is_shown, "the target in the status")
    follower.resume()


def is_over(asked: LineConnection) -> bool:
    """Whether there is an answer to read."""
    return bool(select.select([asked.socket], [], [], 0)[0])
