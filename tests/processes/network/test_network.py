"""Peers that are away or strangers, lines in pieces, readers that don't read, too many at once."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from raftline.common.config import FILE_NAME
from raftline_testing.nodes.altered import hurry
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import eventually


def test_a_peer_without_a_resolvable_name_delays_no_other(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3) as cluster:
        path = tmp_path / FILE_NAME
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:2], "s3 nobody.invalid 1234"]) + "\n")
        for name in ("s1", "s2"):
            cluster[name].start()
        # Not all members are on this machine, so no time ends the wait for one.
        begun = cluster["s1"].ask("client4@begin without s3")
        assert begun == "s1@BEGIN response: s1 no longer waits for s3"
        for number in range(20):
            assert cluster.ask(f"client4@set b {number}") == f"SET response: b set to {number}"


def test_stranger_on_a_peer_port_is_reported_once(tmp_path: Path) -> None:
    """A stranger at a peer's port is reported once, and ignored."""
    nonsense = b"220 mail.example ESMTP\r\n" * 3 + b"\x00\xff\xfe garbage\n" + b"s1@get a\n"
    with Cluster(tmp_path, 3) as cluster:
        with _babbling(cluster["s3"].port, nonsense):
            for name in ("s1", "s2"):
                cluster[name].start()
            for number in range(20):
                assert cluster.ask(f"client4@set b {number}") == f"SET response: b set to {number}"
            node = cluster["s1"]
            said = node.wait_for_line("answers what I don't take")
            assert said.startswith(f"[!] s3 at localhost:{cluster['s3'].port} answers what I ")
            assert len([line for line in node.said if "answers what I" in line]) == 1
        cluster["s3"].start()
        cluster.wait_until_equal()


@contextlib.contextmanager
def _babbling(port: int, nonsense: bytes) -> Iterator[None]:
    """Answer each connection with nonsense and leave it open."""
    listener = socket.create_server(("127.0.0.1", port))
    open_ones = []

    def babble() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_ones.append(connection)
                connection.sendall(nonsense)

    thread = threading.Thread(target=babble, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for each in (listener, *open_ones):
            each.close()


def test_dead_peers_cost_no_busy_loop_and_no_threads(tmp_path: Path) -> None:
    with Cluster(tmp_path, 5) as cluster:
        node = cluster["s1"].start()
        node.wait_for_line("asking for PreVotes")
        assert node.status()  # who answers has begun all its threads
        assert node.process is not None
        folder = Path(f"/proc/{node.process.pid}")
        threads = len(list((folder / "task").iterdir()))
        begin = _processor_ticks(folder)
        threading.Event().wait(2.0)
        assert len(list((folder / "task").iterdir())) <= threads
        assert _processor_ticks(folder) - begin < 60  # of 200 in two seconds


def _processor_ticks(folder: Path) -> int:
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_half_a_line_and_a_hang_up_changes_nothing(cluster: Cluster) -> None:
    leader = cluster.leader()
    with leader.connect() as client:
        client.socket.sendall(b"client4@set half done")
    assert leader.ask("client4@get half") == f"{leader.name}@GET response, no such key: half"


def test_an_unfinished_line_is_disconnected_with_a_reply(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        hurry(node, 1.0)
        node.start()
        cluster.leader()
        with node.connect() as slow, node.connect() as idle:
            slow.socket.sendall(b"client4@set half done")
            assert slow.read_line() == "s1@Sorry, a line was begun and not ended within 1 s."
            assert slow.is_closed()
            assert idle.ask("client4@get half") == "s1@GET response, no such key: half"


def connections(process: subprocess.Popen[Any] | None, port: int) -> set[str]:
    """Return the connections to its port that a process has open, by their inodes."""
    assert process is not None
    own = set()
    for each in os.scandir(f"/proc/{process.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            own.add(os.readlink(each.path).removeprefix("socket:[").removesuffix("]"))
    tables = (Path("/proc/net/tcp").read_text(), Path("/proc/net/tcp6").read_text())
    rows = [row.split() for table in tables for row in table.splitlines()[1:]]
    return {
        row[9]
        for row in rows
        if row[1].endswith(f":{port:04X}") and not row[2].endswith(":0000") and row[9] in own
    }


def test_client_that_never_reads_is_disconnected(tmp_path: Path) -> None:
    """A client that never reads is disconnected and frees its place for another."""
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        hurry(node, 4.0)
        node.start()
        cluster.leader()
        assert node.process is not None
        tasks = Path(f"/proc/{node.process.pid}/task")
        cluster.ask("client4@set big " + "v" * 500_000)
        others = connections(node.process, node.port)
        before = len(list(tasks.iterdir()))
        with node.connect() as deaf:
            node.wait_for_line(f"[*] Connection from {deaf.socket.getsockname()[:2]}")
            deaf.send(*["client4@get big"] * 100)
            eventually(lambda: connections(node.process, node.port) <= others, "its end")
            eventually(lambda: len(list(tasks.iterdir())) <= before, "its thread to end")
            replies = list(iter(lambda: _line_or_end(deaf.read_line), ""))
            assert len(replies) < 100
        assert cluster.ask("client4@set b 5") == "SET response: b set to 5"


def test_a_line_in_single_bytes_is_the_same_line(cluster: Cluster) -> None:
    leader = cluster.leader()
    with leader.connect() as client:
        for byte in b"client4@set slow one two\r\nclient4@get slow\n":
            client.socket.sendall(bytes([byte]))
        assert client.read_lines(2) == [
            f"{leader.name}@SET response: slow set to one two",
            f"{leader.name}@GET response: one two",
        ]


def test_a_send_may_hold_a_thousand_lines_and_half_a_line(cluster: Cluster) -> None:
    leader = cluster.leader()
    with leader.connect() as client:
        lines = "".join(f"client4@set k{number} v\n" for number in range(1000))
        client.socket.sendall(lines.encode() + b"client4@se")
        replies = client.read_lines(1000)
        assert replies == [f"{leader.name}@SET response: k{n} set to v" for n in range(1000)]
        client.socket.sendall(b"t last v\n")
        assert client.read_line() == f"{leader.name}@SET response: last set to v"


def test_beyond_the_limit_of_connections_peers_still_get_in(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, "--max-connections", "8") as cluster:
        cluster.start()
        leader = cluster.leader()
        with contextlib.ExitStack() as stack:
            crowd = [stack.enter_context(leader.connect()) for _ in range(12)]
            for each in crowd:
                with contextlib.suppress(OSError):
                    each.send("client4@get a")
            replies = [_line_or_end(each.read_line) for each in crowd]
            assert any(reply.endswith("GET response, no such key: a") for reply in replies)
            assert any("too many connections; the last places are for peers" in r for r in replies)
            follower = next(node for node in cluster.nodes if node is not leader)
            follower.kill()
            follower.start()
            cluster_index = leader.status()["last_index"]
            eventually(lambda: follower.status().get("last_applied", 0) >= cluster_index)


def _line_or_end(read: Callable[[], str]) -> str:
    try:
        return read()
    except OSError:
        return ""
