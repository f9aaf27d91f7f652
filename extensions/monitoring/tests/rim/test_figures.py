"""Every figure of /metrics and every fact of `status`, against what was done.

First by a node whose every source holds a number of its own: a row that takes another one, or takes
it in another unit, shows it. Then by a node that carries out known requests.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from raftline.common.effects import own_parts
from raftline.common.interpreter import interpreter_facts
from raftline.common.version import VERSION
from raftline.monitoring import metrics as module
from raftline.monitoring.endpoints import PLAIN, Pages
from raftline.monitoring.metrics import metrics
from raftline.node.loop.measures import BOUNDS_S, LEASE_SHOWN_MS, Measures, node_facts
from raftline.node.program.node_server import Server
from raftline.objects.embedded_node import Node
from raftline.raft.inputs import StateSummed
from raftline.raft.roles import Role
from raftline.storage import disk
from raftline.wire.limits import PAIRS_BYTES
from raftline_testing.nodes.processes import eventually, free_ports

Figures = dict[str, float]
SINCE_S, NOW_S = 5000.0, 5061.5


class Sized:
    """Something of a length."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


def figures_of(text: str) -> Figures:
    """Return each sample by its name and labels, as the text has them."""
    return {
        sample.name
        + "".join(f"{{{name}={value}}}" for name, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


STATUS = {
    "role": "leader", "term": 3, "leader": "s1", "voters": ["s1"] * 5, "learners": ["s2"] * 7,
    "last_index": 1100, "synced_index": 1101, "commit_index": 1130, "last_applied": 1117,
    "base_index": 1009, "snapshot_index": 1013, "snapshot_bytes": 1019, "arriving_bytes": 1021,
    "log_bytes": 1031, "syncs": 1033,
}  # fmt: skip
WAITING = {"writes": 41, "reads": 43, "others": 47, "leader": 53, "commit": 59}


def painted() -> Server:
    """Return a node each of whose sources has a number that no other one has."""
    measures = Measures()
    measures.elections, measures.leaderships, measures.leader_changes = 11, 13, 17
    measures.takeovers = 5
    for histogram, seconds, count in (
        (measures.writes, 0.002, 19),
        (measures.reads, 0.02, 23),
        (measures.disk, 0.2, 29),
    ):
        histogram.add(seconds, count)
    measures.disk_since_s = SINCE_S
    progress = {
        "s2": SimpleNamespace(match_index=1163, heard_at_ms=90_000),
        "s3": SimpleNamespace(match_index=1190, heard_at_ms=97_250),
    }
    view = SimpleNamespace(
        now_ms=98_000,
        log=SimpleNamespace(last_index=1170),
        progress=progress,
        term=3,
        name="s1",
        differing={"s3": 1024},
        undecided={"s2": 512},
        membership=SimpleNamespace(voters=["s1", "s2"]),
    )
    store = SimpleNamespace(leases=SimpleNamespace(granted=Sized(61)), leased=Sized(67))
    driver = SimpleNamespace(
        status=lambda: dict(STATUS),
        core=threading.Lock(),
        node=SimpleNamespace(view=view),
        measures=measures,
        stalled_s=lambda: 173.5,
        apply_waits_s=lambda: 181.5,
        waiting=lambda: {**WAITING, "disk": 37},
        watchers=SimpleNamespace(count=71, feed=SimpleNamespace(history=Sized(73))),
    )
    node = SimpleNamespace(
        name="s1",
        refusals=SimpleNamespace(by_code=lambda: {"full": 157, "bad-request": 163}),
        clock=SimpleNamespace(day_s=lambda: 139_000),
        is_down=False,
        driver=driver,
        listener=SimpleNamespace(traffic=lambda: (79, 83, 89, 97), connections_max=167),
        foreigners=SimpleNamespace(seen=lambda: dict.fromkeys(("s2", "s3"), "c")),
        lost_files=["s1.log", "s1.storage", "s1.state_machine"],
        lacks_users=True,
        room_facts=lambda: {"lacks_room_for": "disk", "refuses_entries": "log"},
        access=SimpleNamespace(failures=SimpleNamespace(count=131)),
        tls=SimpleNamespace(ends=lambda: {"certificate": 137, "ca": 139}),
        book=SimpleNamespace(traffic=lambda: {"s2": (101, 103), "s3": (107, 109)}),
        logmanager=SimpleNamespace(
            client_lock=threading.Lock(),
            state=SimpleNamespace(sessions=Sized(113)),
            store=_Store(store),
        ),
        quota=SimpleNamespace(bytes_max=149, has_user_beyond_share=True),
    )
    return cast(Server, node)


class _Store(Sized):
    def __init__(self, parts: Any) -> None:
        super().__init__(127)
        self.leases, self.leased = parts.leases, parts.leased
        self.bytes = 151


def buckets(name: str, seconds: float, count: int, **labels: str) -> Figures:
    """Return the rows of a histogram to which one time was added so many times."""
    marks = "".join(f"{{{key}={value}}}" for key, value in sorted(labels.items()))
    rows = {f"{name}_count{marks}": count, f"{name}_sum{marks}": seconds * count}
    for bound in [*BOUNDS_S, float("inf")]:
        limit = "+Inf" if bound == float("inf") else str(bound)
        every = sorted({**labels, "le": limit}.items())
        formatted = "".join(f"{{{key}={value}}}" for key, value in every)
        rows[f"{name}_bucket{formatted}"] = count if seconds <= bound else 0
    return rows


EXPECTED: Figures = {
    "raftline_role{role=leader}": 1, "raftline_role{role=follower}": 0,
    "raftline_role{role=candidate}": 0, "raftline_role{role=pre-candidate}": 0,
    "raftline_role{role=down}": 0, "raftline_term": 3, "raftline_has_leader": 1,
    "raftline_foreigners": 2,
    "raftline_lost_files": 3, "raftline_lacks_users": 1, "raftline_commit_stalled_seconds": 173.5,
    "raftline_apply_stalled_seconds": 181.5,
    "raftline_max_connections": 167, "raftline_lacks_room{for=log}": 1, "raftline_voters": 5,
    "raftline_learners": 7,
    "raftline_follower_lag_entries{peer=s2}": 7,  # 1170 - 1163
    "raftline_follower_lag_entries{peer=s3}": 0,  # it holds more than this look shows
    "raftline_follower_silent_seconds{peer=s2}": 8.0,
    "raftline_follower_silent_seconds{peer=s3}": 0.75,
    "raftline_logins_failed_total": 131,
    "raftline_refusals_total{code=full}": 157, "raftline_refusals_total{code=bad-request}": 163,
    "raftline_certificate_end_timestamp_seconds{of=certificate}": 137,
    "raftline_certificate_end_timestamp_seconds{of=ca}": 139,
    "raftline_elections_total": 11, "raftline_leaderships_total": 13,
    "raftline_leader_changes_total": 17, "raftline_takeovers_total": 5,
    "raftline_clock_timestamp_seconds": 139_000,
    "raftline_peer_votes{peer=s2}": 1, "raftline_peer_votes{peer=s3}": 0,
    "raftline_replica_differs{peer=s1}": 0, "raftline_replica_differs{peer=s2}": 0,
    "raftline_replica_differs{peer=s3}": 1,
    "raftline_replica_undecided{peer=s1}": 0, "raftline_replica_undecided{peer=s2}": 1,
    "raftline_replica_undecided{peer=s3}": 0,
    "raftline_last_index": 1100, "raftline_synced_index": 1101, "raftline_commit_index": 1130,
    "raftline_last_applied": 1117, "raftline_base_index": 1009, "raftline_snapshot_index": 1013,
    "raftline_snapshot_bytes": 1019, "raftline_arriving_bytes": 1021, "raftline_log_bytes": 1031,
    "raftline_lag_entries": 13, "raftline_syncs_total": 1033,
    "raftline_fsync_under_way_seconds": 61.5,
    **buckets("raftline_fsync_seconds", 0.2, 29),
    **buckets("raftline_request_seconds", 0.002, 19, kind="write"),
    **buckets("raftline_request_seconds", 0.02, 23, kind="read"),
    **{f"raftline_queue_batches{{stage={stage}}}": count for stage, count in WAITING.items()},
    "raftline_queue_disk_steps": 37, "raftline_connections": 79,
    "raftline_connections_taken_total": 83, "raftline_received_bytes_total": 89,
    "raftline_sent_bytes_total": 97,
    "raftline_peer_sent_bytes_total{peer=s2}": 101, "raftline_peer_sent_bytes_total{peer=s3}": 107,
    "raftline_peer_received_bytes_total{peer=s2}": 103,
    "raftline_peer_received_bytes_total{peer=s3}": 109,
    "raftline_keys_bytes": 151, "raftline_keys_max_bytes": 149,
    "raftline_lacks_room{for=bytes}": 0, "raftline_lacks_room{for=disk}": 1,
    "raftline_lacks_room{for=leases}": 0, "raftline_lacks_room{for=share}": 1,
    "raftline_keys": 127, "raftline_sessions": 113, "raftline_leases": 61,
    "raftline_leases_with_keys": 67, "raftline_watches": 71, "raftline_history_events": 73,
}  # fmt: skip


def test_each_figure_is_that_of_its_source_in_its_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "monotonic", lambda: NOW_S)
    found = figures_of(metrics(painted()))
    own = {name for name in found if name.startswith("raftline_")} - {"raftline_threads"}
    info = {name for name in own if name.startswith("raftline_info")}
    (named,) = info
    assert re.fullmatch(
        rf"raftline_info{{build=(pure|compiled)}}{{node=s1}}{{version={re.escape(VERSION)}}}", named
    )
    assert found[named] == 1
    assert own - info == EXPECTED.keys(), "a figure without a row is not checked against anything"
    assert {name: found[name] for name in own - info} == pytest.approx(EXPECTED)


def test_no_name_of_a_figure_clashes_with_another_in_openmetrics() -> None:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", metrics(painted()), re.MULTILINE))
    counters = {name for name, kind in kinds.items() if kind == "counter"}
    assert {name for name in counters if not name.endswith("_total")} == set()
    assert {name.removesuffix("_total") for name in counters} & kinds.keys() == set()
    for name in kinds:  # a unit stands in the name, and time is in seconds, sizes in bytes
        assert not re.search(r"_(ms|millis\w*|minutes|kb|kib|mb)(_|$)", name), name


@pytest.mark.parametrize("role", [*(role.value for role in Role), "down"])
def test_a_node_has_one_role_and_no_leader_if_it_knows_none(role: str) -> None:
    node = cast(Any, painted())
    node.driver.status = lambda: {**STATUS, "role": role, "leader": None}
    node.is_down = role == "down"
    node.driver.measures.disk_since_s = 0.0
    found = figures_of(metrics(node))
    roles = {name: value for name, value in found.items() if name.startswith("raftline_role")}
    assert [name for name, value in roles.items() if value] == [f"raftline_role{{role={role}}}"]
    assert len(roles) == len(Role) + 1
    assert found["raftline_has_leader"] == 0
    assert found["raftline_fsync_under_way_seconds"] == 0


# --- the process ------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux alone tells them")
def test_the_facts_of_the_process_are_those_of_the_kernel() -> None:
    def of_kernel() -> dict[str, float]:
        status = Path("/proc/self/status").read_text()
        sizes = {
            key: float(re.findall(rf"^{key}:\s+(\d+) kB$", status, re.M)[0]) * 1024
            for key in ("VmSize", "VmRSS")
        }
        threads = threading.active_count()  # those of an earlier test may still end
        return {**sizes, "fds": len(os.listdir("/proc/self/fd")), "threads": threads}

    used_s = time.process_time()
    before, found, after = of_kernel(), figures_of(metrics(painted())), of_kernel()
    assert used_s - 0.1 <= found["process_cpu_seconds_total"] <= time.process_time() + 0.1
    for key, name in (("VmSize", "virtual"), ("VmRSS", "resident")):
        least, most = sorted((before[key], after[key]))
        assert 0.5 * least < found[f"process_{name}_memory_bytes"] < 2 * most
    assert found["process_virtual_memory_bytes"] > found["process_resident_memory_bytes"]
    least, most = sorted((before["fds"], after["fds"]))
    assert least - 2 <= found["process_open_fds"] <= most + 2
    assert after["threads"] <= found["raftline_threads"] <= before["threads"]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        assert figures_of(metrics(painted()))["process_max_fds"] == soft - 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limit = re.findall(r"^Max open files +(\d+)", Path("/proc/self/limits").read_text(), re.M)
    assert [str(int(found["process_max_fds"]))] == limit
    names = {name for name in found if not name.startswith("raftline_")}
    assert names == {
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
    }


# --- a node that did something ----------------------------------------------------------------


class Held:
    """A disk whose syncs end when they are let; `begun_s` is when the last one began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_held = False
        self.count = 0
        self.begun_s = 0.0
        self.began, self.may_end = threading.Event(), threading.Event()
        self._really = disk.sync_bytes
        monkeypatch.setattr(disk, "sync_bytes", self._sync)

    def _sync(self, descriptor: int) -> None:
        self.count += 1
        if self.is_held:
            self.begun_s = time.monotonic()
            self.began.set()
            assert self.may_end.wait(60)
        self._really(descriptor)


class Rig:
    """A node that is alone, and a client of it that counts its bytes."""

    def __init__(self, folder: Path, held: Held) -> None:
        self.folder, self.held, self.port = folder, held, next(free_ports)
        self.node = Node("s1", members={"s1": f"localhost:{self.port}"}, dir=folder)
        self.server: Server = self.node._server
        self.sent = self.received = 0
        eventually(lambda: " cluster " in self.storage, "the identity of the cluster")
        eventually(lambda: self.server.driver.waiting()["disk"] == 0, "the end of that write")
        eventually(lambda: self.figures()["raftline_connections"] == 0, "no client")
        self.before = self.figures()

    @property
    def storage(self) -> str:
        return (self.folder / "s1.storage").read_text()

    def figures(self) -> Figures:
        return figures_of(metrics(self.server))

    def grown(self) -> Figures:
        """Return by how much each figure grew since the rig was made."""
        return {name: value - self.before.get(name, 0) for name, value in self.figures().items()}

    def syncs(self) -> int:
        """Return how many groups of entries were synced, by the checksums that end them in the
        log."""
        return (self.folder / "s1.log").read_bytes().count(b" synced, crc32 ")

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.server.status().partition(": ")[2])
        return facts

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        before = self.figures()["raftline_connections"]
        with socket.create_connection(("localhost", self.port), 20) as wire:
            client = Client(self, wire)
            with client.file:
                yield client
        eventually(lambda: self.figures()["raftline_connections"] == before, "it is gone")


class Client:
    """A connection that sends one line after the other."""

    def __init__(self, rig: Rig, wire: socket.socket) -> None:
        self._rig, self._wire, self.file = rig, wire, wire.makefile("rb")

    def send(self, command: str) -> None:
        self.send_bytes(f"client4@{command}\n".encode())

    def send_bytes(self, line: bytes) -> None:
        self._rig.sent += len(line)
        self._wire.sendall(line)

    def hear(self) -> str:
        line = self.file.readline()
        self._rig.received += len(line)
        return line.decode().rstrip("\n")

    def ask(self, command: str) -> str:
        self.send(command)
        reply = self.hear()
        assert "Sorry" not in reply, reply
        return reply


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    held = Held(monkeypatch)
    rig = Rig(tmp_path, held)
    try:
        yield rig
    finally:
        held.may_end.set()
        rig.node.close()


WRITES = ("set a 1", "set b 2", "set c 3", "incr n 1", "delete b")  # three keys are left
READS = ("get a", "get nothing")
WRITTEN = (
    "last_index", "synced_index", "commit_index", "last_applied", "syncs_total",
    "fsync_seconds_count", "history_events",
)  # fmt: skip


def test_traffic_and_writes_are_counted_once_each(rig: Rig) -> None:
    """Requests, bytes, connections, entries and writes are counted once each."""
    syncs, log = rig.held.count, rig.folder / "s1.log"
    begun_s, log_bytes = time.monotonic(), log.stat().st_size
    with rig.client() as client:
        for command in (*WRITES, *READS):
            client.ask(command)
        eventually(lambda: rig.grown()["raftline_sent_bytes_total"] >= rig.received, "the last sum")
        grown, open_now = rig.grown(), rig.figures()["raftline_connections"]
    took_s = time.monotonic() - begun_s
    eventually(lambda: rig.grown()["raftline_syncs_total"] == len(WRITES), "the last write")
    done = rig.grown()
    # One after the other: each write is an entry, an event and a sync of its own.
    assert {name: done[f"raftline_{name}"] for name in WRITTEN} == dict.fromkeys(
        WRITTEN, len(WRITES)
    )
    assert rig.held.count - syncs == len(WRITES)
    assert done["raftline_keys"] == 3
    assert done["raftline_request_seconds_count{kind=write}"] == len(WRITES)
    assert done["raftline_request_seconds_count{kind=read}"] == len(READS)
    assert grown["raftline_connections_taken_total"] == open_now == 1
    assert grown["raftline_received_bytes_total"] == rig.sent
    assert grown["raftline_sent_bytes_total"] == rig.received
    assert rig.figures()["raftline_connections"] == 0
    for name in ("connections_taken_total", "received_bytes_total", "sent_bytes_total"):
        assert rig.grown()[f"raftline_{name}"] == grown[f"raftline_{name}"]  # also once it is gone
    assert done["raftline_log_bytes"] == log.stat().st_size - log_bytes > 0
    writes_s, reads_s = (
        done[f"raftline_request_seconds_sum{{kind={kind}}}"] for kind in ("write", "read")
    )
    assert 0 < done["raftline_fsync_seconds_sum"] <= writes_s < took_s
    assert 0 < reads_s < took_s - writes_s
    for name in ("elections_total", "leaderships_total", "leader_changes_total"):
        assert rig.before[f"raftline_{name}"] == rig.figures()[f"raftline_{name}"] == 1


def test_refusals_are_counted_by_code_on_each_kind_of_connection(rig: Rig) -> None:
    with rig.client() as client:
        for command in ("set a x", "incr a", "watch b after 99999", "get a", "nonsense"):
            client.send(command)  # in one queue of replies, and in each way that makes one
        replies = [client.hear() for _ in range(5)]
    assert sum("Sorry" in reply for reply in replies) == 3
    grown = {
        name: value for name, value in rig.grown().items() if "refusals_total" in name and value
    }
    assert grown == {
        "raftline_refusals_total{code=no-number}": 1,
        "raftline_refusals_total{code=not-yet}": 1,
        "raftline_refusals_total{code=not-understood}": 1,
    }


@pytest.mark.pure
def test_the_page_leader_is_200_at_the_leader_alone(rig: Rig) -> None:
    pages = Pages()
    pages.serve(rig.server)
    page, term = pages.by_path["/leader"], rig.facts()["term"]
    assert page() == (200, f"s1 leads term {term}\n", PLAIN)
    rig.server.is_down = True
    assert page()[:2] == (503, "not the leader: shut down by its controller\n")
    rig.server.is_down = False
    for leader, words in (
        (None, "no leader is known"),
        ("s2", f"s2 leads term {term}, at localhost:10001"),
        ("s9", f"s9 leads term {term}"),  # it was removed meanwhile
    ):
        facts = {**rig.server.driver.status(), "leader": leader}
        facts["members"] = {"s2": "localhost:10001"}
        status = lambda facts=facts: facts  # noqa: E731
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rig.server.driver, "status", status)
            assert page()[:2] == (503, f"not the leader: {words}\n")


def test_times_of_requests_and_disk_are_those_they_took(rig: Rig) -> None:
    """The times of a request and of the disk are those that they took."""
    with rig.client() as client:
        rig.held.is_held = True
        begun_s = time.monotonic()
        client.send("set a 1")
        assert rig.held.began.wait(60)
        seen_s = time.monotonic()
        meanwhile, grown = rig.figures(), rig.grown()
        under_way_s = meanwhile["raftline_fsync_under_way_seconds"]
        assert seen_s - rig.held.begun_s <= under_way_s <= time.monotonic() - begun_s
        assert grown["raftline_request_seconds_count{kind=write}"] == 0
        assert grown["raftline_fsync_seconds_count"] == 0
        assert meanwhile["raftline_queue_batches{stage=commit}"] == 1
        assert grown["raftline_last_index"] == 1
        assert grown["raftline_synced_index"] == grown["raftline_commit_index"] == 0
        held_s = time.monotonic() - rig.held.begun_s
        rig.held.is_held = False
        rig.held.may_end.set()
        assert client.hear() == "s1@SET response: a set to 1"
        took_s = time.monotonic() - begun_s
        done = rig.grown()
        client.send("set b 2")
        client.send("set c 3")
        assert [client.hear(), client.hear()] == [
            "s1@SET response: b set to 2",
            "s1@SET response: c set to 3",
        ]
    eventually(lambda: rig.syncs() == rig.figures()["raftline_syncs_total"], "the last write")
    driver, counted = rig.server.driver, rig.server.driver.syncs
    driver._written(None)  # a vote alone, say: nothing of the log
    assert driver.syncs == counted
    assert done["raftline_fsync_seconds_count"] == 1
    assert held_s <= done["raftline_fsync_seconds_sum"] <= took_s
    assert held_s <= done["raftline_request_seconds_sum{kind=write}"] <= took_s
    for name, marks in (("fsync_seconds", ""), ("request_seconds", "{kind=write}")):
        total = done[f"raftline_{name}_sum{marks}"]
        for bound in BOUNDS_S:
            count = done[f"raftline_{name}_bucket{marks}{{le={bound}}}"]
            assert count == int(total <= bound), (name, bound)
    after = rig.figures()
    assert after["raftline_fsync_under_way_seconds"] == 0
    assert after["raftline_queue_batches{stage=commit}"] == 0


def test_gauges_of_sessions_leases_watches_events_are_true(rig: Rig) -> None:
    """Sessions, leases, watches and events are those that are there."""
    with rig.client() as client:
        assert client.ask("session").startswith("s1@SESSION response: ")
        client.ask("lease 1000")
        client.ask("lease 1000")
        client.ask("setex e 1000 1")
        with rig.client() as other:
            other.send("watch e")
            assert other.hear()
            eventually(lambda: rig.grown()["raftline_watches"] == 1, "the watch")
            assert rig.figures()["raftline_connections"] == 2
        eventually(lambda: rig.grown()["raftline_watches"] == 0, "no watch")
        grown = rig.grown()
    assert grown["raftline_sessions"] == rig.facts()["sessions"] == 1
    assert grown["raftline_leases"] == 2
    assert grown["raftline_leases_with_keys"] == 1
    assert grown["raftline_keys"] == 1


def test_a_snapshot_has_the_index_and_the_size_of_its_file(rig: Rig) -> None:
    assert rig.before["raftline_snapshot_index"] == rig.before["raftline_snapshot_bytes"] == 0
    with rig.client() as client:
        client.ask("set a 1")
        rig.server.snapshots.ask()
        eventually(lambda: rig.figures()["raftline_snapshot_index"] > 0, "a snapshot")
        client.ask("set a 2")
    found, facts = rig.figures(), rig.facts()
    size = (rig.folder / "s1.state_machine").stat().st_size
    assert found["raftline_snapshot_bytes"] == facts["snapshot_bytes"] == size
    assert found["raftline_snapshot_index"] == found["raftline_last_index"] - 1
    assert found["raftline_last_index"] == facts["last_index"]
    assert found["raftline_lag_entries"] == found["raftline_arriving_bytes"] == 0


def test_each_fact_of_status_is_what_was_done(rig: Rig) -> None:
    with rig.client() as client:
        for command in WRITES:
            client.ask(command)
        before_s = time.time()
        facts = json.loads(client.ask("status").partition(": ")[2])
        assert before_s - 0.001 <= facts.pop("time") <= time.time() + 0.001
    entries = [
        line.split(b" ", 2)
        for line in (rig.folder / "s1.log").read_bytes().splitlines()
        if not line.startswith(b"#")
    ]
    index, term = int(entries[-1][0]), int(entries[-1][1])
    promise = (rig.folder / "s1.storage").read_text()
    assert f" term {term} vote s1 " in promise
    assert facts.pop("syncs") == rig.figures()["raftline_syncs_total"]
    assert facts.pop("build") in ("pure", "compiled")
    (cluster,) = re.findall(r" cluster ([0-9a-f]{16}) ", promise)
    assert facts == {
        "name": "s1",
        "role": "leader",
        "term": term,
        "leader": "s1",
        "last_index": index,
        "synced_index": index,
        "commit_index": index,
        "last_applied": index,
        "base_index": 0,
        "snapshot_index": 0,
        "snapshot_bytes": 0,
        "arriving_bytes": 0,
        "recovering": False,
        "differs": {},
        "undecided": {},
        "state_sums": {},
        "newborn": False,
        "may_be_new": False,
        "no_leader_because": "",
        "voters": ["s1"],
        "learners": [],
        "outgoing": [],
        "members": {"s1": f"localhost:{rig.port}"},
        "members_since": 0,
        "members_committed": True,
        "handing_over_to": None,
        "lease_ms": 0,  # reads by rounds
        "log_bytes": (rig.folder / "s1.log").stat().st_size,
        "disk_waits_ms": 0,
        "lost_files": [],
        "disk_hangs": False,
        "sessions": 0,
        "bytes": rig.server.logmanager.store.bytes,
        "max_bytes": PAIRS_BYTES,
        "lacks_room_for": "",
        "refuses_entries": "",
        "commits_nothing": False,
        "applies_nothing": False,
        "lacks_users": False,
        "connections": 1,
        "max_connections": rig.server.listener.connections_max,
        "versions": {"s1": VERSION},
        "reads": "index",
        "pid": os.getpid(),
        "needs": f"kernel={own_parts()['kernel']}",
        "version": VERSION,
        **interpreter_facts(),
        "cluster": cluster,
        "foreign": {},
    }


@pytest.mark.pure
def test_the_facts_of_a_core_are_those_of_its_fields() -> None:
    configurations = SimpleNamespace(
        latest=SimpleNamespace(
            voters=("s1", "s2"), learners=("s3",), outgoing=("s4",), addresses={"s1": "h:1"}
        ),
        index=31,
    )
    view = SimpleNamespace(
        role=Role.FOLLOWER,
        term=7,
        leader="s2",
        log=SimpleNamespace(last_index=11, base_index=13),
        durable_index=17,
        commit_index=19,
        applied=47,
        arriving_bytes=29,
        snapshot=SimpleNamespace(index=37, size=41),
        recovering="a",
        differing={"s3": 1024},
        undecided={"s2": 512},
        state_sums={1024: StateSummed(1024, 27, 5)},
        newborn="b",
        may_be_new="c",
        no_leader_because="d",
        configurations=configurations,
        name="s1",
        transfer=SimpleNamespace(to="s5"),
        lease_until_ms=1_500,
    )
    seen = cast(Any, view)
    assert node_facts(seen, 1_043) == {
        "name": "s1",
        "role": "follower",
        "term": 7,
        "leader": "s2",
        "last_index": 11,
        "synced_index": 17,
        "commit_index": 19,
        "last_applied": 47,
        "base_index": 13,
        "snapshot_index": 37,
        "snapshot_bytes": 41,
        "arriving_bytes": 29,
        "recovering": "a",
        "differs": {"s3": 1024},
        "undecided": {"s2": 512},
        "state_sums": {"1024": ["00000005", "000000000000001b"]},
        "newborn": "b",
        "may_be_new": "c",
        "no_leader_because": "d",
        "voters": ["s1", "s2"],
        "learners": ["s3"],
        "outgoing": ["s4"],
        "members": {"s1": "h:1"},
        "members_since": 31,
        "members_committed": False,
        "handing_over_to": "s5",
        "lease_ms": 457,
    }
    assert node_facts(seen, 2_000)["lease_ms"] == 0
    view.lease_until_ms = 10**12
    assert node_facts(seen, 0)["lease_ms"] == LEASE_SHOWN_MS
    view.commit_index = 31
    assert node_facts(seen, 0)["members_committed"] is True
