"""Promises: what a reply says is true, whatever happens to nodes and messages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from raftline.wire.replies.replies import RequestOutcome, outcome_of
from raftline_testing.histories.linearizable import HistoryVerdict
from raftline_testing.nemesis import splits
from raftline_testing.nemesis.nemesis import PROCESSES, torment
from raftline_testing.nodes.cluster import NodeProcess
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from raftline_testing.nodes.proxy import LinkedCluster

SECONDS = 8.0
WRITERS = 12


@pytest.fixture
def linked(tmp_path: Path) -> Iterator[LinkedCluster]:
    """Three nodes that serve, with a link between each two."""
    with LinkedCluster(tmp_path, 3) as cluster:
        yield cluster.start().wait_until_whole()


def test_history_of_faults_is_linearizable(linked: LinkedCluster) -> None:
    """Reads and writes are linearizable, whatever crashes, pauses or is cut off, and whether
    messages are lost, delayed, duplicated or reordered."""
    linked.network.drop(0.01)
    linked.network.repeat(0.1)
    kinds = {**PROCESSES, splits.split: 5, splits.flap: 3}
    report, outcomes, faults = torment(linked, SECONDS, 3, clients=100, say=print, kinds=kinds)
    assert report.verdict is HistoryVerdict.LINEARIZABLE, "\n".join(report.excerpt)
    assert min(outcomes[f"{verb} answered"] for verb in ("set", "get", "delete")) > 10
    assert all(faults[kind.__name__] for kind in kinds)
    assert min(linked.network.lost, linked.network.repeated) > 10


class Writer(threading.Thread):
    """A client that writes one value after another to one node, and keeps each reply."""

    def __init__(self, number: int, node: NodeProcess) -> None:
        super().__init__(daemon=True)
        self.replies: dict[str, str] = {}  # by value
        self.stopping = threading.Event()
        self._number, self._node = number, node

    def run(self) -> None:
        count = 0
        while not self.stopping.is_set():
            try:
                with self._node.connect() as line:
                    while not self.stopping.is_set():
                        count += 1
                        value = f"w{self._number}-{count}"
                        reply = line.ask(f"set k{self._number} {value}").partition("@")[2]
                        if not reply:
                            break  # the node ended
                        self.replies[value] = reply
                        if "response" not in reply:
                            self.stopping.wait(0.01)
            except OSError:
                self.stopping.wait(0.05)


def test_a_refused_write_is_in_no_log(linked: LinkedCluster) -> None:
    """No reply is a guess: a write whose fate is unknown is answered `Sorry, outcome unknown`, and
    any other `Sorry` means that the write was certainly not done."""
    writers = [Writer(number, linked.nodes[number % 3]) for number in range(WRITERS)]
    for writer in writers:
        writer.start()

    def said(outcome: RequestOutcome) -> list[str]:
        return [
            value
            for writer in writers
            for value, reply in list(writer.replies.items())
            if outcome_of(reply) is outcome
        ]

    try:
        for number in range(4):
            leader = linked.leader()
            count = len(said(RequestOutcome.UNKNOWN))
            if number % 2:
                linked.block(linked.around(leader))
            else:
                for node in linked.followers():
                    node.pause()
            eventually(lambda c=count: len(said(RequestOutcome.UNKNOWN)) > c, "unknown outcomes")
            for node in linked.nodes:
                if node.is_paused:
                    node.resume()
            linked.heal()
            done = len(said(RequestOutcome.DONE))
            linked.leader()
            eventually(lambda d=done: len(said(RequestOutcome.DONE)) > d, "writes that are done")
    finally:
        for writer in writers:
            writer.stopping.set()
    for writer in writers:
        writer.join(DEADLINE_S)
    linked.wait_until_on_all_disks()
    linked.kill()
    written = {line.rsplit(" ", 1)[1] for node in linked.nodes for line in in_force(node)}
    outcomes = {outcome: set(said(outcome)) for outcome in RequestOutcome}
    refused = outcomes[RequestOutcome.NO_LEADER] | outcomes[RequestOutcome.REFUSED]
    assert (len(refused) > 0, refused & written) == (True, set())
    assert outcomes[RequestOutcome.DONE] - written == set()
    everything = {value for writer in writers for value in writer.replies}
    assert everything == refused | outcomes[RequestOutcome.DONE] | outcomes[RequestOutcome.UNKNOWN]


def in_force(node: NodeProcess) -> list[str]:
    """Return the lines of a log's entries that set a key."""
    return [line for line in node.log.read_text().splitlines() if " set k" in line]
