"""Faults of all kinds for some time, with clients whose histories are judged.

A cluster runs for a round of some minutes. A round consists of windows of about a minute with
separate keys: faults, then peace, then the verdict on the histories and the files. So an hour needs
no more memory than a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import tempfile
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Protocol

from raftline.wire.protocol import escape

from ..extensions import joined
from ..histories.history import Change, ClientOperation, Increment, counter_findings
from ..nodes.cluster import Cluster
from ..nodes.namespaces import NamespacedCluster
from ..nodes.processes import eventually
from ..nodes.proxy import LinkedCluster
from ..workloads.client_history import History
from ..workloads.client_request import Way
from ..workloads.mix import Mix
from . import faults, verdict
from .holders import holders
from .nemesis import ANYWHERE, EVERYTHING, TURN_S, Nemesis
from .nemesis_report import Tally, keep_evidence, markdown
from .pulse import Pulse
from .scene import Finding
from .watching import Watched
from .workload import Workload

ROUND_S = 600.0
WINDOW_S = 60.0
PEACE_S = 60.0  # after healing, everything must be well within this time
CHECK_S = 1.0  # between two checks of the leader
PROGRESS_S = 10.0
HOLDERS = 3  # of leases, in addition to the clients
KNOWN_ENTRIES = 50_000
LONG_MINUTES = 10  # a campaign of this length also has pauses of up to 30 s
TRANSACTORS = 2  # transaction clients, in addition to the others
WATCHERS = 6  # watchers that move between the nodes, and a writer of their keys
WATCHED_BEAT_S = 0.1
WAYS: Sequence[Way] = ("index", "index", "ask", "lease", "local")
FAITHLESS = {"ask": 1.0, "lease": 0.6, "local": 1.0}


class Listeners(Protocol):
    """Programs of an extension that hear of changes."""

    @property
    def outcomes(self) -> Counter[str]: ...
    def findings(self, pairs: Mapping[str, str], changes: Sequence[Change]) -> list[str]:
        """Compare what they heard with the state, and with what was changed."""


class Judge(Protocol):
    """The judge of clients that an extension adds."""

    prefix: str  # of their keys

    def judge(self, keys: Iterable[str]) -> None:
        """Check their keys at the end. Raises AssertionError."""


class Campaign:
    """Rounds of windows until the time is up, or there is a finding."""

    def __init__(
        self,
        options: argparse.Namespace,
        has_namespaces: bool,
        others: ModuleType | None = None,
    ) -> None:
        """Half of the clients are those of `others`, a module `campaign` of an extension."""
        self.tally = Tally(options, has_namespaces)
        self._options, self._others = options, others
        self._has_namespaces = has_namespaces
        self._chance = random.Random(options.seed)
        self._events: deque[str] = deque(maxlen=2_000)
        self._consoles: dict[str, deque[str]] = {}
        self._begun_s = time.monotonic()
        self._end_s = self._begun_s + 60 * options.minutes
        self._said_s = self._checked_s = 0.0
        self._pulse = Pulse()
        self._known: verdict.Log = {}
        self._leaders = verdict.Leaders()
        self._workload: Workload | None = None
        self._judges: list[Judge] = []  # of clients of extensions

    def run(self) -> None:
        """Run until the end, a finding or an interruption; the results are in `tally`."""
        rounds = max(1, round((self._end_s - self._begun_s) / ROUND_S))
        if self._options.nodes == 0 and 60 * self._options.minutes >= 120:
            rounds = max(2, rounds)
        round_s = (self._end_s - self._begun_s) / rounds
        for number in range(rounds):
            count = self._options.nodes or (5, 3)[number % 2]
            self._round(count, min(self._begun_s + (number + 1) * round_s, self._end_s))
            if self.tally.findings:
                return

    def _round(self, count: int, end_s: float) -> None:
        self._known, self._leaders = {}, verdict.Leaders()
        self._consoles.clear()
        self._event(f"a cluster of {count} begins")
        self.tally.rounds[count] += 1
        with tempfile.TemporaryDirectory() as folder, self._cluster(Path(folder), count) as cluster:
            for node in cluster.nodes:
                for module in joined("campaign_recordings"):
                    node.options += module.options(folder, node.name)
            try:
                cluster.start().leader()
                kinds = EVERYTHING if self._has_namespaces else ANYWHERE
                if not getattr(cluster, "thin", True):
                    kinds = {k: v for k, v in kinds.items() if k.__name__ != "thin_out"}
                if self._options.minutes >= LONG_MINUTES and not self._options.each_kind:
                    kinds = {**kinds, faults.pause_for_long: 1}
                at_once = 3 if count > 3 else 2
                nemesis = Nemesis(cluster, kinds, self._chance, self._event, at_once)
                nemesis.scene.haste = self._options.haste
                self.tally.watch(nemesis.faults)
                while time.monotonic() < end_s - WINDOW_S / 2 or not self.tally.windows:
                    self._window(cluster, nemesis, min(time.monotonic() + WINDOW_S, end_s))
                self._replay(Path(folder))
            except (Finding, AssertionError) as finding:
                self.tally.findings.append(str(finding))
            except Exception:  # an error of ours or of the nodes: either needs the evidence
                self.tally.findings.append(traceback.format_exc())
            finally:
                self._take_consoles(cluster)
                if self.tally.findings:
                    self._keep(cluster)
                    cluster.kill()

    def _replay(self, folder: Path) -> None:
        """Replay what the first nodes of this round recorded. Raises Finding."""
        for module in joined("campaign_recordings"):
            steps, problems = module.recording_findings(folder)
            self.tally.replayed += steps
            if problems:
                raise Finding("\n".join(problems))

    def _cluster(self, folder: Path, count: int) -> Cluster:
        options = ("--compact-at", str(self._options.compact_at), "--follower-reads",
                   "--reads", self._chance.choice(("index", "lease")),
                   "--io", self._chance.choice(("threads", "shared")))  # fmt: skip
        if self._has_namespaces:
            return NamespacedCluster(folder, count, *options)
        return LinkedCluster(folder, count, *options)

    # --- a window --------------------------------------------------------------------------

    def _window(self, cluster: Cluster, nemesis: Nemesis, end_s: float) -> None:
        """Inject faults for a while, heal, and judge. Raises Finding."""
        self.tally.windows += 1
        mix = Mix(
            keys=8,
            prefix=f"w{self.tally.windows}.",
            counters=2,
            conditions=0.3,
            appends=0.02,
            sessions=0.5,
            retries_behind=0.1,
            ways=WAYS,
            logged_reads=0.15,
            faithless=FAITHLESS,
            beat_s=self._options.beat,
            patience_s=3.0,
            padding=2_000,
        )
        seed = f"{self._options.seed} {self.tally.windows}"
        self._pulse.restart()
        holding = holders(cluster.nodes, HOLDERS)
        watched = Watched(
            cluster.nodes,
            WATCHERS,
            1,
            self._options.seed + self.tally.windows,
            f"watched{self.tally.windows}.",
            WATCHED_BEAT_S,
        )
        with self._listeners(cluster, mix, seed) as listeners:
            with self._clients(cluster, mix, seed) as workload, holding as notes, watched:
                while time.monotonic() < end_s or self._must_go_on(nemesis):
                    nemesis.turn()
                    self._check(cluster, nemesis, workload)
                    threading.Event().wait(TURN_S)
                nemesis.heal()
                self._make_peace(cluster, nemesis)
                watch_findings, moves = watched.end(cluster)
            self.tally.watched += moves
            eventually(lambda: self._is_at_rest(cluster), "all nodes equal and in peace", PEACE_S)
            if listeners is not None:
                pairs = shown(cluster, mix.prefix)
                watch_findings += listeners.findings(pairs, workload.changes)
                self.tally.watched += listeners.outcomes
        self.tally.leases += notes.counts
        if problems := [*notes.problems, *notes.findings(), *watch_findings]:
            raise Finding("\n".join(problems[:9]))
        self._judge(cluster, workload, mix)

    def _must_go_on(self, nemesis: Nemesis) -> bool:
        return self._options.each_kind and not nemesis.has_struck_each_kind

    def _listeners(
        self, cluster: Cluster, mix: Mix, seed: str
    ) -> AbstractContextManager[Listeners | None]:
        """Return what hears of all changes in the way of an extension, if there is one."""
        if self._others is None:
            return contextlib.nullcontext()
        listeners: AbstractContextManager[Listeners]
        listeners = self._others.listeners(cluster.nodes, mix.prefix, seed)
        return listeners

    @contextlib.contextmanager
    def _clients(self, cluster: Cluster, mix: Mix, seed: str) -> Iterator[Workload]:
        count, others = self._options.clients, self._options.clients // 2
        if self._others is not None:
            count -= others
        workload = Workload(cluster.nodes, count, mix, seed, self._pulse, TRANSACTORS)
        if self._others is not None:
            self._others.clients(others, workload)
            self._others.transactors(TRANSACTORS, workload)
        self._judges = [module.added(workload) for module in joined("campaign_workload")]
        self._workload = workload
        try:
            with workload:
                yield workload
        finally:
            self.tally.asked(workload.outcomes)

    def _make_peace(self, cluster: Cluster, nemesis: Nemesis) -> None:
        """Wait until the cluster serves again by itself, with all members."""
        begun_s = time.monotonic()

        def serves() -> bool:
            nemesis.check_processes()
            views = [node.status() for node in cluster.nodes]
            leaders = [view for view in views if view.get("role") == "leader"]
            if len(leaders) != 1 or self._pulse.silent_s > time.monotonic() - begun_s:
                return False
            end = leaders[0]["commit_index"]
            return all(
                view.get("leader") == leaders[0]["name"]
                and not view["recovering"]
                and view["last_applied"] >= end - 200
                for view in views
            )

        eventually(serves, f"{len(cluster.nodes)} healed nodes that serve", PEACE_S)
        self.tally.healed(time.monotonic() - begun_s)

    def _is_at_rest(self, cluster: Cluster) -> bool:
        """Whether every node has everything on its disk and has applied it."""
        views = [node.status() for node in cluster.nodes]
        facts = ("last_index", "synced_index", "commit_index", "last_applied")
        return len({view.get(fact) for view in views for fact in facts}) == 1 and bool(views[0])

    def _judge(self, cluster: Cluster, workload: Workload, mix: Mix) -> None:
        """Check all results of the window; record the findings."""
        finals = {}
        for key in mix.counter_names:
            finals[key] = int(cluster.ask(f"judge@get {key}").partition("GET response: ")[2] or 0)
        eventually(lambda: self._is_at_rest(cluster), "equal nodes")
        commit_index = max(node.status().get("commit_index", 0) for node in cluster.nodes)
        history, pairs = workload.history, shown(cluster, mix.prefix)
        problems = verdict.history_findings(history.operations)
        problems += counter_findings(history.increments, finals)
        history.journal.judge(escape(pairs.get(mix.journal, ""), key=False))
        problems += workload.ledger.findings(pairs)
        for judge in self._judges:
            judge.judge(shown(cluster, judge.prefix))
        problems += verdict.state_findings(cluster.nodes, mix.prefix)
        problems += verdict.log_findings(cluster.nodes, self._known, commit_index)
        problems += self._take_consoles(cluster)
        for index in sorted(self._known)[:-KNOWN_ENTRIES]:
            del self._known[index]
        self.tally.judged(len(history), len(workload.ledger))
        self.tally.events += workload.counts
        if problems:
            raise Finding("\n".join(problems))

    # --- looking and telling ---------------------------------------------------------------

    def _check(self, cluster: Cluster, nemesis: Nemesis, workload: Workload) -> None:
        """Now and then, check the leader, and print the progress. Raises Finding."""
        now = time.monotonic()
        if workload.problems:
            raise Finding(f"a client: {workload.problems[0]}")
        if now - self._checked_s < CHECK_S:
            return
        self._checked_s = now
        views = [node.status() for node in cluster.nodes]
        for problem in self._leaders.findings(views):
            raise Finding(problem)
        self.tally.saw(views)
        self.tally.silence(self._pulse.longest_s, nemesis.now)
        leading = max(
            (v for v in views if v.get("role") == "leader"),
            default=None,
            key=lambda view: int(view["term"]),
        )
        nemesis.scene.leader = leading["name"] if leading else ""
        if now - self._said_s >= PROGRESS_S:
            self._said_s = now
            who = f"{leading['name']} leads term {leading['term']}" if leading else "no leader"
            operations = self.tally.operations + sum(workload.outcomes.values())
            minutes, seconds = divmod(int(now - self._begun_s), 60)
            print(
                f"{minutes:02}:{seconds:02}  window {self.tally.windows}, {len(views)} nodes, "
                f"{operations:,} operations, {self.tally.struck:,} faults, {who}, "
                f"findings: {len(self.tally.findings)}; now: {nemesis.now}",
                flush=True,
            )

    def _event(self, what: str) -> None:
        self._events.append(f"{time.monotonic() - self._begun_s:9.3f} {what}")
        if self._options.verbose:
            print(self._events[-1], flush=True)

    def _take_consoles(self, cluster: Cluster) -> list[str]:
        problems = []
        for node in cluster.nodes:
            lines = node.take_lines()
            self._consoles.setdefault(node.name, deque(maxlen=20_000)).extend(lines)
            problems += verdict.console_findings(node, lines)
        return problems

    def _keep(self, cluster: Cluster) -> None:
        """Save everything that may explain a finding in a folder."""
        for finding in self.tally.findings:
            self._event(f"finding: {finding}")
        history = self._workload.history if self._workload else History()
        observed: list[ClientOperation | Increment] = [*history.operations, *history.increments]
        keep_evidence(self.tally, cluster, observed, self._events, self._consoles)

    def finish(self) -> str:
        """Return the report."""
        self.tally.seconds = time.monotonic() - self._begun_s
        return markdown(self.tally)


def shown(cluster: Cluster, prefix: str) -> dict[str, str]:
    """Return the keys under a prefix and their values."""
    pairs, command = dict[str, str](), f"show {prefix}"
    while command:
        text = cluster.ask(f"judge@{command}").partition("SHOW response: ")[2]
        page, end = json.JSONDecoder().raw_decode(text)
        pairs |= page
        command = text[end:].removeprefix(" more: ")
    return pairs
