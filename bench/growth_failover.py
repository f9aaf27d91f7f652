"""Growth row of the time without service when the leader ends, for raftline and etcd alike.

One client writes without pause to any node that answers: it follows redirects, else it tries the
next node. The gap is the longest time between two acknowledgements around the leader's end.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import signal
import threading
import time
from abc import ABC, abstractmethod

from clusters import wait_until
from etcd_nodes import Etcd
from growth_setup import Setup
from raftline.net.line_connection import LineConnection
from raftline_nodes import Raftline

PAUSE_S = 0.005  # between two tries if no node can be reached
TIMEOUT_S = 0.5  # then the client tries the next node
LEADER = re.compile(rb"Last leader I heard from is: \S+ \(localhost:([0-9]+)\)")
EVENTS = {"kill -9 of the leader": signal.SIGKILL, "planned stop (SIGTERM)": signal.SIGTERM}


class Speaker(ABC):
    """A connection to one node."""

    @abstractmethod
    def put(self) -> int | None:
        """Write once. Return None once acknowledged, else the port of the leader or 0.

        Raises:
            OSError: the connection broke, or no answer came in time.
        """

    @abstractmethod
    def close(self) -> None:
        """End the connection."""


class LineSpeaker(Speaker):
    """A connection that speaks raftline's lines."""

    def __init__(self, port: int) -> None:
        self._connection = LineConnection(port, TIMEOUT_S)

    def put(self) -> int | None:
        self._connection.send("bench@set key value")
        reply = self._connection.read()
        if b"SET response" in reply:
            return None
        leader = LEADER.search(reply)
        return int(leader[1]) if leader else 0

    def close(self) -> None:
        self._connection.close()


class EtcdSpeaker(Speaker):
    """A connection that speaks etcd's JSON over HTTP/1.1; the keys and values are in base 64."""

    BODY = json.dumps({"key": "a2V5", "value": "dmFsdWU="})

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def put(self) -> int | None:
        try:
            self._connection.request("POST", "/v3/kv/put", self.BODY)
            reply = self._connection.getresponse()
            reply.read()
        except http.client.HTTPException as error:
            raise ConnectionError from error
        return None if reply.status == 200 else 0

    def close(self) -> None:
        self._connection.close()


class Writer(threading.Thread):
    """A client that writes without end; `acknowledged` holds the time of each acknowledgement."""

    def __init__(self, speaker: type[LineSpeaker] | type[EtcdSpeaker], ports: list[int]) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[float] = []
        self.over = False
        self._kind, self._ports, self._port = speaker, ports, ports[0]

    def run(self) -> None:
        while not self.over:
            try:
                speaker: Speaker = self._kind(self._port)
            except OSError:
                self._move_on(0)
                continue
            try:
                leader = self._write_until_refused(speaker)
            except OSError:
                leader = 0
            speaker.close()
            self._move_on(leader)

    def _write_until_refused(self, speaker: Speaker) -> int:
        while not self.over:
            leader = speaker.put()
            if leader is not None:
                return leader
            self.acknowledged.append(time.monotonic())
        return 0

    def _move_on(self, leader: int) -> None:
        before, ports = self._port, self._ports
        self._port = leader or ports[(ports.index(before) + 1) % len(ports)]
        if not leader or self._port == before:
            time.sleep(PAUSE_S)


def failover(setup: Setup) -> None:
    """Time without service around kill -9 and a planned stop of the leader; each end is a round."""
    for kind, count in (Raftline, 3), (Etcd, 3), (Raftline, 5):
        if kind is Etcd and not setup.etcd:
            continue
        where = "" if count == 3 else f", {count} nodes"
        with kind(setup.folder, setup.port, count) as nodes:
            ports = [nodes.port(number) for number in range(nodes.count)]
            writer = Writer(EtcdSpeaker if kind is Etcd else LineSpeaker, ports)
            writer.start()
            try:
                for event, by in EVENTS.items():
                    for _ in range(setup.kills):
                        gap = gap_ms(nodes, writer, by)
                        setup.add(event + where, nodes, {"ms without service": gap})
            finally:
                writer.over = True
                writer.join()


def gap_ms(nodes: Raftline | Etcd, writer: Writer, by: int) -> float:
    """End the leader while the client writes; return the longest pause in its acknowledgements."""
    leader = nodes.wait_until_level()
    time.sleep(0.3)  # lets the client find the leader and the heartbeats spread out
    before = len(writer.acknowledged)
    process = nodes.processes[leader]
    process.send_signal(by)
    ended = time.monotonic()

    def served() -> bool | None:
        times = writer.acknowledged
        return True if len(times) > before + 20 and times[-1] > ended + 0.1 else None

    wait_until(served, "nobody was served", 30)
    times = writer.acknowledged[max(0, before - 1) :]
    longest = max(b - a for a, b in itertools.pairwise(times))
    process.ended()
    nodes.start(leader)
    return 1_000 * longest
