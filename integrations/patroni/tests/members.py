"""Patroni members with PostgreSQL on this machine, each with its own way to the nodes of raftline.

PostgreSQL refuses to run as root: root starts Patroni as the user `postgres`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pwd
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import yaml

from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import Process, eventually, free_ports
from raftline_testing.nodes.proxy import LinkEnd, Network

TTL_S, LOOP_WAIT_S, RETRY_TIMEOUT_S = 20, 1, 3  # the least that Patroni takes
LONG_S = 90.0
SCOPE = "tested"
PROGRAMS = Path(sys.executable).parent


def postgresql() -> Path | None:
    """Return the folder of PostgreSQL's programs; None: it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def user() -> dict[str, Any]:
    """Return the options of a process that PostgreSQL agrees to."""
    if os.getuid():
        return {}
    account = pwd.getpwnam("postgres")
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


class Links(Network):
    """Carries the lines of each member to the nodes and back. If a node names another one, the
    leader or any member of the cluster, the line names this member's own link to it."""

    def _carry(self, end: LinkEnd, data: bytes) -> None:
        before = len(end.other.outgoing)
        super()._carry(end, data)
        carried = bytes(end.other.outgoing[before:])
        if end.hearer.startswith("p"):
            for name, port in self._ports.items():
                if name.startswith("s"):
                    own = f"localhost:{self.port(end.hearer, name)}".encode()
                    carried = carried.replace(f"localhost:{port}".encode(), own)
            end.other.outgoing[before:] = carried


class Member(Process):
    """One Patroni and its PostgreSQL."""

    def __init__(self, name: str, folder: Path, hosts: str) -> None:
        self.rest_port, self.port = next(free_ports), next(free_ports)
        self.data = folder / name / "data"
        self.config = folder / f"{name}.yml"
        self._log = folder / f"{name}.log"
        program = [str(PROGRAMS / "patroni"), str(self.config)]
        super().__init__(name, program, self._log, **user())
        self.data.parent.mkdir(mode=0o700)
        self.config.write_text(yaml.safe_dump(self._settings(hosts)))
        if "user" in self._popen:
            for path in (self.data.parent, self.config):
                os.chown(path, self._popen["user"], self._popen["group"])

    def _settings(self, hosts: str) -> dict[str, Any]:
        return {
            "scope": SCOPE,
            "name": self.name,
            "restapi": {"listen": f"127.0.0.1:{self.rest_port}"},
            "raftline": {"hosts": hosts},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL_S, "loop_wait": LOOP_WAIT_S, "retry_timeout": RETRY_TIMEOUT_S,
                    "synchronous_mode": True,
                    "postgresql": {"use_pg_rewind": True},
                },
                "initdb": [{"encoding": "UTF8"}, {"auth": "trust"}, "data-checksums"],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}",
                "data_dir": str(self.data),
                "bin_dir": str(postgresql()),
                "pgpass": str(self.data.parent / "pgpass"),
                "authentication": {
                    "superuser": {"username": "postgres", "password": "p"},
                    "replication": {"username": "replicator", "password": "r"},
                    "rewind": {"username": "rewinder", "password": "w"},
                },
                "parameters": {
                    "unix_socket_directories": str(self.data.parent),
                    "shared_buffers": "16MB", "max_connections": 30,
                },
                "pg_hba": ["local all all trust", "host all all 127.0.0.1/32 trust",
                           "host replication all 127.0.0.1/32 trust"],
            },
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return what Patroni's own page says; {} where nobody answers."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.rest_port}/patroni", timeout=2
            ) as page:
                told: dict[str, Any] = json.load(page)
                return told
        except urllib.error.HTTPError as answer:
            with contextlib.suppress(ValueError):
                told = json.load(answer)
                return told
        except (OSError, ValueError):
            pass
        return {}

    def asks(self, question: str) -> Any:
        """Return the first value of a query at this PostgreSQL; None where it does not answer."""
        try:
            with psycopg.connect(
                host="127.0.0.1",
                port=self.port,
                user="postgres",
                dbname="postgres",
                connect_timeout=2,
                autocommit=True,
            ) as connection:
                row = connection.execute(question).fetchone()
                return row[0] if row else None
        except psycopg.Error:
            return None

    @property
    def is_primary(self) -> bool:
        """Whether its PostgreSQL takes writes."""
        return self.asks("select not pg_is_in_recovery()") is True

    @property
    def timeline(self) -> int:
        value = self.asks("select timeline_id from pg_control_checkpoint()")
        return int(value or 0)

    def postmaster(self) -> int | None:
        """Return the process id of PostgreSQL."""
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    @property
    def log(self) -> str:
        """All that Patroni has printed."""
        return self._log.read_text()

    def kill_all(self) -> None:
        """Kill Patroni and PostgreSQL, as the loss of the machine does."""
        postmaster = self.postmaster()
        if self.is_running:
            self.send_signal(signal.SIGKILL)
            self.ended()
        if postmaster is not None:
            with contextlib.suppress(OSError):
                os.kill(postmaster, signal.SIGKILL)


class Members:
    """Three Patronis on three nodes of raftline."""

    def __init__(self, folder: Path, nodes: Cluster, count: int = 3) -> None:
        self.nodes = nodes
        self.folder = folder
        names = [f"p{number}" for number in range(1, count + 1)]
        ports = {node.name: node.port for node in nodes.nodes}
        self.links = Links({**ports, **dict.fromkeys(names, 0)})
        self.all = [
            Member(
                name,
                folder,
                ",".join(f"localhost:{self.links.port(name, node.name)}" for node in nodes.nodes),
            )
            for name in names
        ]

    def close(self) -> None:
        for member in self.all:
            member.kill_all()
        self.links.close()

    @property
    def primary(self) -> Member | None:
        """The only member whose PostgreSQL takes writes; None: there is none, or are two."""
        found = [member for member in self.all if member.is_primary]
        return found[0] if len(found) == 1 else None

    def cut(self, member: Member) -> None:
        """Silently drop all traffic between a member and the nodes."""
        names = [node.name for node in self.nodes.nodes]
        self.links.hold(
            {(member.name, name) for name in names} | {(name, member.name) for name in names}
        )

    def ctl(self, *words: str) -> str:
        """Return what patronictl prints."""
        program = [str(PROGRAMS / "patronictl"), "-c", str(self.all[0].config), *words]
        process = Process("patronictl", program).launch()
        assert process.ended(60.0) == 0, process.transcript()
        return process.transcript()

    def whole(self) -> Member:
        """Wait until one leads and all others stream from it, one of them synchronously; return
        the primary."""

        def found() -> Member | None:
            primary = self.primary
            if primary is None:
                return None
            replicas = "select count(*) from pg_stat_replication where "
            streaming = primary.asks(replicas + "state = 'streaming'")
            synced = primary.asks(replicas + "sync_state = 'sync'")
            states = [member.state() for member in self.all]
            is_whole = (
                streaming == len(self.all) - 1
                and synced == 1
                and all(state.get("state") == "running" for state in states)
                and len({state.get("timeline") for state in states}) == 1
                and primary.state().get("role") == "primary"
                and sum(bool(state.get("sync_standby")) for state in states) == 1
            )
            return primary if is_whole else None

        return eventually(found, "one primary and its replicas", LONG_S)


class Writer:
    """Commits one row after the other wherever the primary is, and notes those acknowledged."""

    def __init__(self, members: Members) -> None:
        ports = ",".join(str(member.port) for member in members.all)
        self._where = (
            f"host={','.join(['127.0.0.1'] * len(members.all))} port={ports} user=postgres "
            "dbname=postgres target_session_attrs=read-write connect_timeout=2"
        )
        self.acknowledged: list[int] = []
        self.at_s: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        with psycopg.connect(self._where, autocommit=True) as connection:
            connection.execute("drop table if exists written")
            connection.execute("create table written (n bigint primary key)")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            try:
                with psycopg.connect(self._where, autocommit=True) as connection:
                    while not self._stop.is_set():
                        number += 1
                        connection.execute("insert into written values (%s)", (number,))
                        self.acknowledged.append(number)
                        self.at_s.append(time.monotonic())
                        time.sleep(0.01)
            except psycopg.Error:
                time.sleep(0.1)

    def wrote_since(self, since_s: float) -> float | None:
        """Return the first moment behind another at which a row was acknowledged."""
        return next((each for each in list(self.at_s) if each > since_s), None)

    def longest_pause_s(self) -> float:
        times = list(self.at_s)
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    def missing_at(self, member: Member) -> set[int]:
        """Return the acknowledged rows that a PostgreSQL has not."""
        acknowledged = set(self.acknowledged)
        there = member.asks("select array_agg(n) from written")
        return acknowledged - set(there or [])

    def is_complete_at(self, *members: Member) -> bool:
        """Return whether these have all acknowledged rows."""
        return not any(self.missing_at(member) for member in members)


@contextlib.contextmanager
def folder_for_all() -> Iterator[Path]:
    """Yield a folder that other users can enter, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="patroni-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
