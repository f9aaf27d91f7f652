"""Members that prove themselves: attackers on real nodes, and a secret turned on in a cluster."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline import Node, ReplicatedDict
from raftline.access.proof import Initiator
from raftline.access.secret import make_secret
from raftline.net.line_connection import LineConnection
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.at_work import of_process
from raftline_testing.nodes.cluster import CALM, STEADY, Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually, free_ports
from raftline_testing.nodes.proxy import LinkedCluster
from tests.processes.writer import writer_of

CLI = Path(__file__).resolve().parents[3] / "src" / "cli.py"
NONCE = "2" * 32
UNPROVEN = "proved nothing on this connection, so nothing is taken in its name"
HALF_BEGUN = 1000


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secrets") / "secret"
    assert subprocess.run([sys.executable, CLI, "secret", path], check=False).returncode == 0
    return path


@pytest.fixture(scope="module")
def proving(secret: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes whose members prove themselves, led by s1; tests leave it as it was."""
    folder = tmp_path_factory.mktemp("cluster")
    with Cluster(folder, 3, *CALM, "--secret", str(secret)) as cluster:
        for node in cluster.nodes:
            node.options += ["--record", str(folder / f"{node.name}.steps")]
        yield cluster.start().led_by("s1")


def facts(cluster: Cluster) -> list[tuple[object, ...]]:
    """Return what a forged line must not change."""
    wanted = ("term", "role", "leader", "last_index", "commit_index", "members", "unproven")
    return [tuple(node.status()[one] for one in wanted) for node in cluster.nodes]


def serves(cluster: Cluster) -> None:
    assert cluster.ask("client4@set a 5") == "SET response: a set to 5"
    assert cluster.ask("client4@get a") == "GET response: 5"
    cluster.wait_until_equal()


@pytest.mark.parametrize(
    "line",
    [
        "AppendEntries 999-0-0-[] commit 0 round 1",
        'AppendEntries 999-0-0-[{"index": 1, "term": 999, "command": "set a 6"}] commit 1 round 1',
        "RequestVote 999-9999-998",
        "PreVote 999-9999-998",
        "TimeoutNow 999",
        'InstallSnapshot 999-9999-998 offset 0 of 10 crc32 00000000 round 1 data "0123456789"',
        "ReadIndex 999 round 1",
        "Count on me term 999",
        "I am up to date term 999 index 9999 round 1",
        "set a 6",
        "remove s2",
    ],
)
def test_a_forged_line_in_a_member_s_name_changes_nothing(proving: Cluster, line: str) -> None:
    serves(proving)
    eventually(lambda: all(node.status()["unproven"] == [] for node in proving.nodes), "all proved")
    before = facts(proving)
    for node in proving.nodes:
        for name in ("s1", "s2", "s3"):
            assert node.ask(f"{name}@{line}") == f"{node.name}@Sorry, {name} {UNPROVEN}"
    assert facts(proving) == before
    serves(proving)
    states = [node.folder / f"{node.name}.storage" for node in proving.nodes]
    assert not any(re.search("term 0*999 ", state.read_text()) for state in states)


def test_a_forged_line_in_a_silent_member_s_name_changes_nothing(
    secret: Path, tmp_path: Path
) -> None:
    """Anybody could use the name of a member that was down."""
    with Cluster(tmp_path, 3, *CALM, "--secret", str(secret)) as cluster:
        cluster.start().led_by("s1")
        cluster["s3"].kill()
        term = cluster["s1"].status()["term"]
        for line in ("AppendEntries 999-0-0-[] commit 0 round 1", "RequestVote 999-999-998"):
            assert cluster["s1"].ask(f"s3@{line}") == f"s1@Sorry, s3 {UNPROVEN}"
        assert cluster.ask("client4@set a 5") == "SET response: a set to 5"
        status = cluster["s1"].status()
        assert (status["term"], status["role"], status["unproven"]) == (term, "leader", ["s3"])
        cluster["s3"].start()
        eventually(lambda: cluster["s1"].status()["unproven"] == [], "s3 proves itself again")


def test_status_names_a_member_with_another_secret(secret: Path, tmp_path: Path) -> None:
    """It does not advise to check the network, or to remove the member."""
    other = tmp_path / "other"
    make_secret(other)
    with Cluster(tmp_path, 3, *STEADY, "--secret", str(secret)) as cluster:
        cluster.start().led_by("s1")
        cluster["s3"].kill()
        cluster["s3"].options[-1] = str(other)
        cluster["s3"].start()
        eventually(lambda: cluster["s1"].status()["unproven"] == ["s3"], "s3 proves nothing")
        last = raftline("status", "--dir", tmp_path).stdout.splitlines()[-1]
        assert "s3 has another secret than the leader" in last
        assert "Compare the files of --secret" in last
        assert "member remove" not in last
        assert "announces no build" not in last


def test_a_node_with_another_secret_gets_no_votes_and_no_entries(
    secret: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    make_secret(other)
    with Cluster(tmp_path, 3, *STEADY, "--secret", str(secret)) as cluster:
        cluster["s3"].options[-1] = str(other)
        cluster.start()
        for name in ("s1", "s2"):
            cluster[name].wait_for_line(f"[!] s3 at localhost:{cluster['s3'].port} answers what I")
        cluster["s3"].wait_for_line("that is not a valid proof: it was made with another secret")
        assert cluster.ask("client4@set a 5") == "SET response: a set to 5"
        stranger = cluster["s3"].status()
        assert (stranger["commit_index"], stranger["unproven"]) == (0, ["s1", "s2"])
        assert cluster.leader().name in ("s1", "s2")


def test_member_without_files_asks_to_be_added_despite_secret(secret: Path, tmp_path: Path) -> None:
    """It asks on a client's connection, on which no member proves itself."""
    with Cluster(tmp_path, 3, *STEADY, "--secret", str(secret)) as cluster:
        cluster.start()
        lost = cluster["s3"]
        lost.kill()
        for file in lost.folder.glob("*s3.*"):
            file.unlink()
        lost.start("--join", f"localhost:{cluster['s1'].port}")
        lost.wait_for_line("[*] ADD response: s3 is a voter as before")
        lost.wait_for_line("[*] s3 has caught up and votes again")
        assert "is not added yet" not in lost.transcript()


def test_the_secret_is_shown_nowhere(proving: Cluster, secret: Path) -> None:
    """It is in no log, process list, status, error or recording."""
    serves(proving)
    word = secret.read_text().strip()
    node = proving["s2"]
    assert node.ask(f"s3@Prove s2 nonce {NONCE}").startswith("s2@Challenge s3 nonce ")
    assert "is not a valid proof" in forged_proof(node)
    texts = ["\n".join(one.said) for one in proving.nodes]
    texts += [
        Path(f"/proc/{one.pid}/{what}").read_bytes().decode(errors="replace")
        for one in proving.nodes
        for what in ("cmdline", "environ")
    ]
    texts += [json.dumps(one.status()) for one in proving.nodes]
    texts += [
        path.read_bytes().decode(errors="replace")
        for path in proving.folder.iterdir()
        if path.is_file()
    ]
    assert not any(word in text for text in texts)
    assert not any(" nonce " in text or "Challenge" in text for text in texts)


def forged_proof(node: NodeProcess) -> str:
    with node.connect() as connection:
        connection.ask(f"s3@Prove {node.name} nonce {NONCE}")
        return connection.ask("s3@Proof " + "0" * 64)


@pytest.mark.parametrize("mode", [0o644, 0o640 if Path("/").stat().st_uid else 0o666])
def test_a_secret_that_others_can_read_is_refused_at_the_start(
    secret: Path, tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "open"
    path.write_bytes(secret.read_bytes())
    path.chmod(mode)
    with Cluster(tmp_path, 1, "--secret", str(path)) as cluster:
        node = cluster["s1"].launch()
        assert node.ended() == 2
        assert node.said[-1] == (
            f"[!] --secret {path}: others on this machine can read or change it, so it is "
            f"not secret; make another one, and run: chmod 600 {path}"
        )


def test_recorded_proof_is_worthless_later(secret: Path, tmp_path: Path) -> None:
    """The lines of s2 are recorded on their way to s1 and replayed."""
    recorded: list[str] = []

    def seen(speaker: str, hearer: str, line: bytes, arrives: bool, _: float) -> None:
        if (speaker, hearer) == ("s2", "s1"):
            recorded.append(line.decode().removesuffix("\n"))

    with LinkedCluster(tmp_path, 3, *STEADY, "--secret", str(secret)) as cluster:
        cluster.network._seen = seen
        cluster.start().led_by("s2")
        first = next(at for at, line in enumerate(recorded) if line.startswith("s2@Prove "))
        # On two connections: s2 proves itself on its own, and answers on that of s1.
        lines = [line for line in recorded[first:] if not line.startswith("s2@Challenge ")]
        entries = next(at for at, line in enumerate(lines) if line.startswith("s2@AppendEntries "))
        played = lines[: max(24, entries + 1)]
        cluster["s2"].kill()
        with cluster["s1"].connect() as connection:
            answers = [connection.ask(line) for line in played]
        assert answers[0].startswith("s1@Challenge s2 nonce ")
        proofs = [
            answer
            for line, answer in zip(played, answers, strict=True)
            if line.startswith("s2@Proof ")
        ]
        assert proofs[0].startswith("s1@Sorry, that is not a valid proof")
        assert all(answer.startswith("s1@Sorry, ") for answer in proofs)
        others = {
            answer
            for line, answer in zip(played, answers, strict=True)
            if not line.startswith(("s2@Pro", "s2@Level "))
        }
        assert others == {f"s1@Sorry, s2 {UNPROVEN}"}
        assert cluster.ask("client4@set a 5") == "SET response: a set to 5"


def test_thousand_unfinished_proofs_block_nobody(secret: Path, tmp_path: Path) -> None:
    """A thousand proofs that never end do not keep others from being served."""
    with Cluster(tmp_path, 1, *STEADY, "--secret", str(secret)) as cluster:
        node = cluster.start()["s1"]
        cluster.leader()
        threads = of_process(node.pid, "Threads")
        begun = []
        for number in range(HALF_BEGUN):
            connection = socket.create_connection(("localhost", node.port))
            line = f"s2@Prove s1 nonce {NONCE}\n".encode()
            connection.sendall(line if number % 2 else line[: number % len(line)] or b"s")
            begun.append(connection)
        with node.connect() as client:
            assert client.ask("client4@set a 5") == "s1@SET response: a set to 5"
        assert of_process(node.pid, "Threads") <= threads + HALF_BEGUN + 10
        assert of_process(node.pid, "VmRSS") < 200_000
        eventually(
            lambda: of_process(node.pid, "Threads") < threads + HALF_BEGUN // 2 + 50,
            "the end of those who began a proof",
        )
        for connection in begun:
            connection.close()
        assert cluster.ask("client4@get a") == "GET response: 5"


def unproven(node: NodeProcess) -> bool:
    return node.status().get("unproven") != []


def test_a_secret_is_turned_on_node_by_node_under_load(secret: Path, tmp_path: Path) -> None:
    """No write is refused in the meantime, and at the end, a member without a proof is ignored."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        cluster.start().led_by("s1")  # which hands over when it is ended
        with writer_of(cluster, "a") as writer:
            for mode in ("offer", "require"):
                for name in ("s3", "s2", "s1"):
                    node = cluster[name]
                    node.terminate()
                    node.options = [*STEADY, "--secret", str(secret), "--secret-mode", mode]
                    node.start()
                    eventually(lambda node=node: node.status()["recovering"] is False, "its vote")
                    writer.goes_on()
                eventually(lambda: not any(unproven(node) for node in cluster.nodes), "proofs")
        assert cluster.ask("client4@get a") == f"GET response: {writer.written}"
        forged = cluster["s1"].ask("s2@AppendEntries 999-0-0-[] commit 0 round 1")
        assert forged == f"s1@Sorry, s2 {UNPROVEN}"


def test_a_secret_is_changed_at_sighup_under_load(tmp_path: Path) -> None:
    """There are three steps, each node by node: the new secret is accepted, used, and the only one.
    No write is refused, no node restarts, and the old secret proves nothing at the end."""
    files = {name: tmp_path / f"secret of {name}" for name in ("s1", "s2", "s3")}
    old, new = "o" * 40, "n" * 40
    for path in files.values():
        path.write_text(f"{old}\n")
        path.chmod(0o600)
    (tmp_path / "nodes").mkdir()
    with Cluster(tmp_path / "nodes", 3, *STEADY) as cluster:
        for node in cluster.nodes:
            node.options += ["--secret", str(files[node.name])]
        cluster.start().led_by("s1")
        pids = [node.pid for node in cluster.nodes]
        with writer_of(cluster, "a") as writer:
            for lines, said in (
                (f"{old}\n{new}\n", "secret (two, of which the first is used)"),
                (f"{new}\n{old}\n", "secret (two, of which the first is used)"),
                (f"{new}\n", "secret"),
            ):
                for node in cluster.nodes:
                    files[node.name].write_text(lines)
                    heard = len(node.said)
                    node.send_signal(signal.SIGHUP)
                    line = node.wait_for_line("has reloaded: settings, ", since=heard)
                    assert line.endswith(f"settings, {said}")
                    writer.goes_on()
                eventually(lambda: not any(unproven(node) for node in cluster.nodes), "proofs")
        assert cluster.ask("client4@get a") == f"GET response: {writer.written}"
        assert [node.pid for node in cluster.nodes] == pids
        for secret, answer in ((old, "Sorry, that is not a valid proof"), (new, "Proof ")):
            with LineConnection(cluster["s1"].port) as member:
                dialing = Initiator(secret.encode(), "s2", "s1", NONCE)
                challenge = member.ask(f"s2@{dialing.first}").removeprefix("s1@")
                reply = member.ask(f"s2@{dialing.take(challenge)}")
                assert reply.startswith(f"s1@{answer}")
        files["s1"].write_text("short")
        cluster["s1"].send_signal(signal.SIGHUP)
        cluster["s1"].wait_for_line("[!] s1 did not reload secret: ")
        serves(cluster)


def test_a_node_joins_and_leaves_a_cluster_with_a_secret(secret: Path, tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, *STEADY, "--secret", str(secret)) as cluster:
        cluster.start().led_by("s1")
        folder = tmp_path / "elsewhere"
        joins = [*STEADY, "--secret", str(secret), "--join", f"localhost:{cluster['s2'].port}"]
        newcomer = NodeProcess("s4", next(free_ports), folder, joins)
        cluster.nodes.append(newcomer)
        newcomer.start().wait_for_line("ADD response: s4 added")
        cluster.wait_until_whole()
        assert newcomer.status()["unproven"] == []
        assert "s4" in cluster["s1"].ask("members")


@pytest.mark.slow
def test_a_node_inside_a_program_proves_itself(secret: Path, tmp_path: Path) -> None:
    port, other = next(free_ports), next(free_ports)
    members = {"s1": f"localhost:{port}", "s2": f"localhost:{other}"}
    with (
        Node("s1", members=members, dir=tmp_path / "1", secret=secret) as one,
        Node("s2", members=members, dir=tmp_path / "2", secret=str(secret)) as two,
    ):
        ReplicatedDict("settings", node=one)["lamp"] = "on"
        assert ReplicatedDict("settings", node=two)["lamp"] == "on"
        with LineConnection(port) as stranger:
            assert stranger.ask("s2@RequestVote 999-0-0") == f"s1@Sorry, s2 {UNPROVEN}"
