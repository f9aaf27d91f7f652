"""The places of the lab: six processes on loopback addresses, or six containers.

A place sends with message_sender.py, listens with message_receiver.py, and shows the nodes' output.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
COMPOSE = HERE / "compose" / "docker-compose.yml"
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "course")]  # from the clone, not installed

from labs.leftovers import LabFolder
from raftline.common.process.signals import tied
from raftline_testing.nodes import processes
from raftline_testing.nodes.cluster import STARTED, NodeProcess

NAMES = tuple(f"Node{number}" for number in range(1, 6))
RECEIVED = re.compile(r"Message Received : (.*) From : \(")
DEADLINE_S = 60.0

# For processes on one machine; on systems other than Linux, these addresses must be created first.
HOSTS = {name: f"127.0.0.{number}" for number, name in enumerate([*NAMES, "Controller"], 2)}

eventually = partial(processes.eventually, timeout_s=DEADLINE_S)
WRONG = (AssertionError, processes.NotAsExpected)


class LabPlace:
    """The base of both places: a receiver that listens, and orders with answers."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.orders: list[str] = []  # each order with its node and its answer
        self._changed = threading.Condition()
        self._receiver: subprocess.Popen[str] | None = None

    def run(self, script: str, *arguments: str) -> list[str]:
        """Return the command that runs one of the lab's scripts as the controller."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def lines(self, name: str) -> list[str]:
        """Return a node's output."""
        raise NotImplementedError

    def popen(self, script: str, *arguments: str, stdout: int | IO[bytes]) -> subprocess.Popen[str]:
        """Start one of the lab's scripts, which runs until it is ended."""
        command = self.run(script, *arguments)
        return subprocess.Popen(command, stdout=stdout, text=True, env=self.environment())

    def listen(self) -> None:
        """Start message_receiver.py, as in the second terminal."""
        self._receiver = self.popen("message_receiver.py", stdout=subprocess.PIPE)
        assert self._receiver.stdout is not None
        first = self._receiver.stdout.readline()
        assert first.startswith("Listening on"), f"the receiver says {first!r}"
        threading.Thread(target=self._receive, args=(self._receiver.stdout,), daemon=True).start()

    def _receive(self, lines: Iterator[str]) -> None:
        for line in lines:
            match = RECEIVED.match(line)
            if match:
                with self._changed:
                    self.answers.append(ast.literal_eval(match[1]))
                    self._changed.notify_all()

    def send(self, *arguments: str) -> str:
        """Run message_sender.py and return its output."""
        process = subprocess.run(
            self.run("message_sender.py", *arguments),
            capture_output=True,
            text=True,
            env=self.environment(),
            timeout=DEADLINE_S,
            check=False,
        )
        assert "Traceback" not in process.stdout + process.stderr, process.stderr
        return process.stdout

    def order(self, target: str, *request: str) -> dict[str, Any]:
        """Send one request and return the answer that the receiver shows. A node that does not lead
        answers STORE and RETRIEVE by LEADER_INFO; an answer to another request is a late one."""
        verbs = {request[0]} | ({"LEADER_INFO"} if request[0] in ("STORE", "RETRIEVE") else set())
        before = len(self.answers)
        output = self.send(target, *request)
        assert output.startswith("Request Created : {"), output
        assert "ERROR" not in output, output

        def answer() -> dict[str, Any] | None:
            new = self.answers[before:]
            return next(
                (one for one in new if one["sender_name"] == target and one["request"] in verbs),
                None,
            )

        with self._changed:
            self._changed.wait_for(answer, DEADLINE_S)
        reply = answer()
        output = reply and [reply[field] for field in ("request", "term", "key", "value")]
        self.orders.append(f"{target} {' '.join(request)} -> {output}")
        assert reply is not None, f"{target} did not answer {request}"
        return reply

    def leader(self, among: Sequence[str] = NAMES) -> str:
        """Return the node that a majority of all nodes regards as the leader."""

        def agreed() -> str | None:
            leaders = [leader for name in among if (leader := self.followed(name))]
            best = max(leaders, key=leaders.count, default=(0, None))
            return best[1] if best[1] in among and leaders.count(best) > len(NAMES) // 2 else None

        return eventually(agreed, "a leader that a majority follows")

    def followed(self, name: str) -> tuple[int, str] | None:
        """Return the node that a node regards as the leader, and the term."""
        reply = self.order(name, "LEADER_INFO")
        return (reply["term"], reply["value"]) if reply["key"] == "LEADER" else None

    def of_leader(self, *request: str, among: Sequence[str] = NAMES) -> dict[str, Any]:
        """Give an order to the leader; if the leadership moves meanwhile, to the next leader."""

        def answer() -> dict[str, Any] | None:
            found = self.order(self.leader(among), *request)
            return found if found["request"] == request[0] else None

        return eventually(answer, f"a leader that takes {request}")

    def close(self) -> None:
        if self._receiver is not None:
            self._receiver.terminate()
            self._receiver.wait()


class Loopback(LabPlace):
    """Five nodes and a controller as processes, each on its own address: 127.0.0.2 …"""

    def __init__(self, names: Sequence[str] = NAMES) -> None:
        super().__init__()
        self.names = list(names)
        self._scene = contextlib.ExitStack()
        self.folder = self._scene.enter_context(LabFolder()).folder
        self._claim, self.port, self.udp_port = _free_ports()
        members = [f"{name} {HOSTS[name]} {self.port}\n" for name in self.names]
        (self.folder / "server-configuration.txt").write_text("".join(members))
        table = [f"{name} {host}\n" for name, host in HOSTS.items()]
        (self.folder / "names.txt").write_text("".join(table))
        self.nodes = {name: self._node(name) for name in self.names}

    def _node(self, name: str) -> NodeProcess:
        node = NodeProcess(name, self.port, self.folder)
        node.host = HOSTS[name]
        node.options = ["--host", HOSTS[name], "--pace", "class", "--controller",
                        "--controller-lines", "--controller-udp", str(self.udp_port)]  # fmt: skip
        return node

    def start(self) -> None:
        """Start all six, and wait until a node leads."""
        for node in self.nodes.values():
            node.launch()
        for node in self.nodes.values():
            node.wait_for_line(STARTED, DEADLINE_S)
        self.listen()

    def popen(self, script: str, *arguments: str, stdout: int | IO[bytes]) -> subprocess.Popen[str]:
        command = self.run("tethered.py", str(HERE / script), *arguments)
        return subprocess.Popen(command, stdout=stdout, text=True, **tied(self.environment()))

    def ask(self, name: str, line: str) -> str:
        """Return a node's reply to one line of text, over TCP."""
        return self.nodes[name].ask(line)

    def followed(self, name: str) -> tuple[int, str] | None:
        """Return the same without a separate process, since it is called again and again."""
        facts = self.nodes[name].status()
        return (facts["term"], facts["leader"]) if facts.get("leader") else None

    def run(self, script: str, *arguments: str) -> list[str]:
        return [sys.executable, str(HERE / script), *arguments]

    def environment(self) -> dict[str, str]:
        names, port = str(self.folder / "names.txt"), str(self.udp_port)
        return {**os.environ, "CONTROLLER_NAMES": names, "CONTROLLER_PORT": port}

    def lines(self, name: str) -> list[str]:
        return self.nodes[name].lines

    def close(self) -> None:
        super().close()
        processes.end_all(self.nodes.values())
        self._claim.close()
        self._scene.close()


class Containers(LabPlace):
    """The same six as containers, by course/labs/majorities/compose/docker-compose.yml."""

    def __init__(self) -> None:
        super().__init__()
        compose = ["docker", "compose"]
        if not _works([*compose, "version"]):
            compose = ["docker-compose"]
        self._compose = [*compose, "-f", str(COMPOSE)]

    @staticmethod
    def why_not() -> str:
        """Return why containers aren't available here, or ""."""
        if not _works(["docker", "info"]):
            return "no Docker engine answers here"
        if not (_works(["docker", "compose", "version"]) or _works(["docker-compose", "version"])):
            return "neither `docker compose` nor `docker-compose` is installed"
        return ""

    def start(self) -> None:
        """Run docker compose up --build -d, and wait until all six are healthy."""
        subprocess.run([*self._compose, "up", "--build", "-d"], check=True, timeout=300)
        for name in (*NAMES, "Controller"):
            eventually(lambda name=name: self._health(name) == "healthy", f"{name} healthy")
        self.listen()

    def _health(self, name: str) -> str:
        form = "{{.State.Health.Status}}"
        return subprocess.run(
            ["docker", "inspect", "-f", form, name], capture_output=True, text=True, check=False
        ).stdout.strip()

    def run(self, script: str, *arguments: str) -> list[str]:
        return [*self._compose, "exec", "-T", "Controller", "python", script, *arguments]

    def lines(self, name: str) -> list[str]:
        process = subprocess.run(
            ["docker", "logs", name], capture_output=True, text=True, check=True
        )
        return process.stdout.splitlines()

    def close(self) -> None:
        super().close()
        subprocess.run([*self._compose, "down", "-v", "-t", "5"], check=False, timeout=120)


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _free_ports() -> tuple[socket.socket, int, int]:
    """Return a socket that keeps other checkers from the same choice, a port for lines, and one for
    datagrams. The ports are free on all our addresses, the latter with the next one."""
    for number in range(0, 400, 2):
        port, udp_port = 26_000 + number, 5_555 + number
        claim = socket.socket()
        try:
            claim.bind((HOSTS["Controller"], port))  # where no node listens
            for host in HOSTS.values():
                if host != HOSTS["Controller"]:
                    _try(socket.SOCK_STREAM, host, port)
                _try(socket.SOCK_DGRAM, host, udp_port)
                _try(socket.SOCK_DGRAM, host, udp_port + 1)
        except OSError:
            claim.close()
        else:
            return claim, port, udp_port
    raise OSError("no free ports from 26000 and 5555 on")


def _try(kind: socket.SocketKind, host: str, port: int) -> None:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind((host, port))
