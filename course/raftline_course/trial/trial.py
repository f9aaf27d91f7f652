"""A trial from its start to its end: servers, network, clients and actions on one clock."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from raftline.clients.connections.node_connection import ClientError
from raftline.clients.requests.conversation import Client
from raftline.common.process.console import draws
from raftline.net.connections.file_limit import raise_file_limit
from raftline.tools.local_cluster.local_cluster import how_it_ended
from raftline.tools.progress_bar import ERASE_LINE, bar
from raftline_course.trial.actions import LEADER_SILENT_S, Actions, LeaderTracker
from raftline_course.trial.consoles import Consoles
from raftline_course.trial.load import LoadClient, by_client, mark_wrong_gets, plan
from raftline_course.trial.metrics_dictionary import Metrics
from raftline_course.trial.record import Record, TrialEvent
from raftline_course.trial.servers import Health, Servers, free_ports
from raftline_course.trial.store_client import StoreClient, Tally
from raftline_course.trial.trial_messages import UNKNOWN_LEADER, in_words
from raftline_testing.nodes.proxy import Network

TICK_S = 0.02
STALL_S = 0.25  # between two ticks: the simulator itself was blocked
LAST_SECONDS = 5.0  # for a client to end its last request

# Called with the record, the leader and the time, to show the progress of the trial.
Progress = Callable[[Record, str, float], None]
AGAIN_S = 0.1


class Trial:
    """One trial. `run` it once; on exit, it ends all of its processes and threads."""

    def __init__(self, metrics: Metrics, folder: Path, base_port: int | None = None) -> None:
        self.metrics = metrics
        names = [f"{number:04}" for number in range(metrics.servers)]
        # A listener and up to two sockets for each pair of servers, and one for each client's
        # server.
        raise_file_limit(3 * len(names) ** 2 + metrics.number_of_clients * len(names) + 100)
        self.ports = free_ports(names, base_port)
        self.record = Record(metrics, tuple(names))
        self.watch = LeaderTracker(names, time.monotonic())
        chance = random.Random(f"{metrics.seed} network")
        self.network = Network(self.ports, chance, self.watch.saw)
        self.servers = Servers(self.ports, self.network, metrics.server_code, folder)
        self.stop = threading.Event()
        self._actions = Actions(metrics, self.servers, self.network, self.watch, self.record)
        self._consoles = Consoles(self.servers)
        self._clients: list[LoadClient] = []
        self._handing_over: threading.Thread | None = None
        self._look_from = 0.0
        self._start_s: float | None = None  # on the monotonic clock, set once all servers answer

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.servers.stop()
        self.network.close()
        for client in self._clients:
            client.join(LAST_SECONDS)

    def run(self, progress: Progress = lambda record, leader, now: None) -> Record:
        """Carry out the trial, and return its record. Raises NotStarted."""
        self.servers.start()
        start_s = self._start_s = time.monotonic()
        self.watch.start_at(start_s)
        self._clients = self._make_clients(start_s)
        for client in self._clients:
            client.start()
        now = 0.0
        while now < self.metrics.total_execution_time and not self.record.broken_off:
            self._tick(now, start_s)
            progress(self.record, self.watch.leader, now)
            self.stop.wait(TICK_S)
            before, now = now, time.monotonic() - start_s
            if now - before > STALL_S:
                self.record.stalls.append((before, now))
                # lines that arrived meanwhile are read first
                self._look_from = now + LEADER_SILENT_S
        return self._end(now)

    @property
    def has_begun(self) -> bool:
        """Whether there is something to report."""
        return self._start_s is not None

    def break_off(self, why: str) -> Record:
        """End a trial whose `run` ended by an exception, and return its record so far."""
        self.record.broken_off = why
        return self._end(time.monotonic() - (self._start_s or 0.0))

    def _end(self, now: float) -> Record:
        self.record.ended = now
        self.stop.set()
        for client in self._clients:
            client.join(LAST_SECONDS)
            if client.problem is not None:
                raise client.problem
        self._collect()
        return self.record

    def _make_clients(self, start_s: float) -> list[LoadClient]:
        metrics = self.metrics
        dues = by_client(plan(metrics, random.Random(metrics.seed)), metrics.number_of_clients)
        clients = []
        common: dict[str, str] | None = {} if metrics.shared_keys else None
        for number, mine in dues.items():
            identity = f"{metrics.servers + number:04}"
            chance = random.Random(f"{metrics.seed} {identity} servers")
            store = StoreClient(identity, self.ports, chance, self.stop)
            clients.append(LoadClient(identity, mine, store, metrics, start_s, common))
        return clients

    def _tick(self, now: float, start_s: float) -> None:
        sizes = self._consoles.sizes()
        for server, code in self.servers.newly_crashed():
            self.watch.gone(server, start_s + now)
            text = f"{server} ended by itself ({how_it_ended(code)})"
            if code >= 0:
                text += f"; {self.servers.last_line(server)}"
            self.record.events.append(TrialEvent(now, "crash", (server,), text))
            self.record.health.append((now, server, Health.CRASHED))
        self._actions.run_due(now)
        if now >= self._look_from:
            self.watch.look(start_s + now)
        self._end_tenure(now)
        self._consoles.begin(len(self.record.events), sizes)
        self._count()
        if self.record.messages > self.metrics.max_packets:
            limit = self.metrics.max_packets
            self.record.broken_off = f"more than {limit:,} messages (max packets)"

    def _end_tenure(self, now: float) -> None:
        """Ask a leader whose tenure is over to hand over, without a wait."""
        since, leader = self.watch.leaders[-1]
        tenure = self.metrics.leader_tenure
        busy = self._handing_over is not None and self._handing_over.is_alive()
        if not tenure or leader == UNKNOWN_LEADER or now - since < tenure or busy:
            return
        self.record.events.append(
            TrialEvent(now, "transfer", (leader,), f"{leader}'s tenure is over")
        )
        self._handing_over = threading.Thread(
            target=_hand_over, args=(self.ports[leader],), name="hands over", daemon=True
        )
        self._handing_over.start()

    def _count(self) -> None:
        self.record.tally = sum((client.tally for client in self._clients), Tally())
        self.record.server_messages = self.network.sent
        self.record.lost_messages = self.network.lost

    def _collect(self) -> None:
        self._count()
        record, watch = self.record, self.watch
        requests = (each for client in self._clients for each in client.requests)
        record.requests = sorted(
            (each for each in requests if each.called is not None or each.due < record.ended),
            key=lambda asked: asked.due,
        )
        record.prior_get_requests = sum(client.prior_get_requests for client in self._clients)
        mark_wrong_gets(record.requests)
        record.leaders, record.terms = list(watch.leaders), list(watch.terms)
        record.lines = self._consoles.collected()
        record.heartbeat_gaps = list(watch.gaps_s)
        record.vote_requests = watch.vote_requests.total()
        record.two_leaders = watch.two_leaders
        record.takeovers = list(watch.takeovers)
        record.crashed = list(self.servers.crashes)
        record.not_done = self._actions.not_done()


def _hand_over(port: int) -> None:
    # The next leader shows its answer; without an answer it is asked again.
    with contextlib.suppress(ClientError), Client("127.0.0.1", port, "trial") as asker:
        asker.ask("transfer")


class ProgressLine:
    """A progress line, redrawn in one line of `output` ten times a second, that leaves no trace."""

    def __init__(self, output: TextIO) -> None:
        self._output = output if draws(output) else None
        self._drawn_s = 0.0

    def show(self, record: Record, leader: str, now: float) -> None:
        """Show the progress of the trial."""
        if self._output is None or time.monotonic() - self._drawn_s < AGAIN_S:
            return
        self._drawn_s = time.monotonic()
        total = record.metrics.total_execution_time
        shown = (
            f"{bar(now / total)} {now:4.0f}/{total:g} s"
            f"  leader {in_words(leader):7}  {record.messages:,} messages"
        )
        self._put(f"\r{shown[: _columns(self._output) - 1]}\x1b[K")

    def clear(self) -> None:
        """Clear the line for later output."""
        if self._output is not None:
            self._put(ERASE_LINE)

    def _put(self, text: str) -> None:
        if self._output is not None:
            self._output.write(text)
            self._output.flush()


def _columns(terminal: TextIO) -> int:
    """Return the width of the terminal: a longer line would scroll instead of being overwritten."""
    try:
        return os.get_terminal_size(terminal.fileno()).columns or 80
    except OSError:
        return 80
