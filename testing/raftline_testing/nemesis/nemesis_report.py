"""The counters of a campaign, its report, and the evidence of its findings."""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..histories.history import ClientOperation, Increment
from ..nodes.cluster import Cluster
from ..nodes.namespaces import BALLAST
from . import faults
from .nemesis import EVERYTHING

ABOUT = """\
`make -C testing nemesis` writes this page. Clients work at real nodes while faults strike, several
at a time. Each lasts up to eight seconds, or until the nodes have recovered. At most a minority of
the nodes has lost a part of its files at any time. Every other fault may hit any node. Each minute
all faults are healed, and then:

* every node runs, one leads, and all serve again by themselves within 30 seconds;
* the clients' history of each key (get, set, setnx, delete, cas) is linearizable: reads by index,
  by lease and as entries of the log, at leaders and followers. Reads that may be stale
  (`read local`) are made and not judged;
* transactions over five keys (txn) took effect whole and in one order that fits time; the accounts
  between which they move money hold the same sum whenever somebody looks;
* the key to which all append holds each piece once, in the order of the answers, and each read
  of it saw a beginning;
* a request that is sent again after its answer, or after the next one, is answered as before;
* each counter stands at the number of acknowledged increments, plus at most those of
  unknown outcome; no two got the same answer;
* the nodes hold equal states and, in their files, equal entries, none of which has changed since
  the minute before;
* no term had two leaders; no node printed a traceback; none ended but by our hand or for want
  of room on its disk."""
NO_OPERATIONS = ("refused", "could not connect")
VERBS = (
    "get", "set", "delete", "cas", "setnx", "incr", "append", "session", "txn", "show", "clear",
    "local get", "local show",
)  # fmt: skip


class Tally:
    """The counters so far."""

    def __init__(self, options: argparse.Namespace, has_namespaces: bool) -> None:
        self.options = options
        self.has_namespaces = has_namespaces
        self.begun = datetime.now(timezone.utc)
        self.seconds = 0.0
        self.status = 0
        self.rounds: Counter[int] = Counter()
        self.windows = 0
        self.windows_judged = 0
        self.replayed = 0
        self.operations_judged = 0
        self.outcomes: Counter[str] = Counter()
        self.events: Counter[str] = Counter()  # of clients
        self.leases: Counter[str] = Counter()  # events of holders
        self.watched: Counter[str] = Counter()  # events of watchers
        self.heals_s: list[float] = []
        self.leaders = 0
        self.snapshots = 0
        self.silent_s = 0.0  # the longest time without an acknowledged write
        self.silent_during = ""
        self.findings: list[str] = []
        self.evidence: Path | None = None
        self._faults: list[Counter[str]] = []
        self._terms: dict[str, int] = {}
        self._snapshot_of: dict[str, int] = {}

    @property
    def faults(self) -> Counter[str]:
        return sum(self._faults, Counter())

    @property
    def struck(self) -> int:
        return sum(self.faults.values())

    @property
    def operations(self) -> int:
        return sum(self.outcomes.values())

    def watch(self, faults: Counter[str]) -> None:
        """Count a new cluster's faults in `faults`."""
        self._faults.append(faults)
        self._terms.clear()
        self._snapshot_of.clear()

    def asked(self, outcomes: Counter[str]) -> None:
        self.outcomes += outcomes

    def healed(self, seconds: float) -> None:
        self.heals_s.append(seconds)

    def judged(self, *operations: int) -> None:
        self.windows_judged += 1
        self.operations_judged += sum(operations)

    def silence(self, longest_s: float, during: str) -> None:
        """Record the faults in progress around the end of the longest silence so far."""
        if longest_s > self.silent_s:
            self.silent_s, self.silent_during = longest_s, during

    def saw(self, views: Iterable[Mapping[str, Any]]) -> None:
        """Count changes of leader and snapshots, as far as one look a second shows them."""
        for view in views:
            if view.get("role") == "leader" and view["term"] > self._terms.get("", 0):
                self._terms[""] = view["term"]
                self.leaders += 1
            if view and view["snapshot_index"] > self._snapshot_of.get(view["name"], 0):
                self._snapshot_of[view["name"]] = view["snapshot_index"]
                self.snapshots += 1


def markdown(tally: Tally) -> str:
    """Return the report."""
    outcomes = tally.outcomes
    lines = ["# Nemesis: a report", "", ABOUT, "", "| | |", "|---|---|"]
    lines += [f"| {what} | {value} |" for what, value in _facts(tally)]
    lines += ["", "## Faults", "", "| fault | count |", "|---|---|"]
    for kind in EVERYTHING:
        lines.append(f"| {(kind.__doc__ or '').strip()} | {tally.faults[kind.__name__]:,} |")
    if long := tally.faults[faults.pause_for_long.__name__]:
        lines.append(f"| {faults.pause_for_long.__doc__} | {long:,} |")
    if outside := tally.faults["killed"]:
        lines.append(f"| {faults.killed.__doc__} | {outside:,} |")
    lines += ["", "## Operations", "", "| | answered | tries without an answer |", "|---|---|---|"]
    for verb in VERBS:
        lost = outcomes[f"{verb} lost"]
        lines.append(f"| {verb} | {outcomes[f'{verb} answered']:,} | {lost:,} |")
    tries = ", ".join(f"{what} {outcomes[what]:,}" for what in NO_OPERATIONS)
    lines += ["", f"Other tries, most of them followed by another: {tries}."]
    events = ", ".join(f"{what} {count:,}" for what, count in sorted(tally.events.items()))
    lines += ["", f"Events of clients: {events or 'none'}."]
    lease_counts = ", ".join(f"{what} {count:,}" for what, count in sorted(tally.leases.items()))
    lines += ["", f"Leases that were held (holders.py): {lease_counts or 'none'}."]
    met = ", ".join(f"{what!r} {count:,}" for what, count in sorted(tally.watched.items()))
    lines += ["", f"What watchers were told at the begin and the end of a watch: {met or 'none'}."]
    if tally.findings:
        lines += ["", "## Findings", "", f"Evidence: `{tally.evidence}`", ""]
        lines += [f"```\n{finding}\n```" for finding in tally.findings]
    return "\n".join(lines) + "\n"


def _facts(tally: Tally) -> list[tuple[str, str]]:
    options = tally.options
    clusters = ", ".join(f"{n} of {size} nodes" for size, n in sorted(tally.rounds.items()))
    where = (
        "a network namespace and a file system of 24 MB for each node"
        if tally.has_namespaces
        else "a proxy between the nodes (no full disks, thin links or new nodes)"
    )
    end = {0: "", 130: " (stopped by Ctrl-C)", 143: " (stopped by SIGTERM)"}[tally.status]
    return [
        ("date", f"{tally.begun:%Y-%m-%d}"),
        ("seed", str(options.seed)),
        ("time", f"{tally.seconds / 60:.1f} minutes{end}"),
        ("clusters", clusters),
        ("each node has", where),
        ("nodes", f"pace fast, `--compact-at {options.compact_at}`, `--follower-reads`, `--reads` "
                  "index or lease, `--io` threads or shared; Python " + platform.python_version()),
        ("clients", f"{options.clients}, all at once every {options.beat:g} s, 8 keys and 2 "
                    "counters in each window"),
        ("windows judged", f"{tally.windows_judged} of {tally.windows}"),
        ("recorded steps replayed", f"{tally.replayed:,}"),
        ("operations judged", f"{tally.operations_judged:,}"),
        ("faults", f"{tally.struck:,}, up to 3 at a time (2 with 3 nodes)"),
        ("leaders seen", f"{tally.leaders:,}"),
        ("snapshots seen", f"{tally.snapshots:,}"),
        ("longest time without an acknowledged write",
         f"{tally.silent_s:.1f} s (under way as it ended: {tally.silent_during})"),
        ("longest time from the last fault to a whole cluster that serves",
         f"{max(tally.heals_s, default=0.0):.1f} s"),
        ("**findings**", f"**{len(tally.findings) or 'none'}**"),
    ]  # fmt: skip


def keep_evidence(
    tally: Tally,
    cluster: Cluster,
    history: Sequence[ClientOperation | Increment],
    events: Iterable[str],
    consoles: Mapping[str, Iterable[str]],
) -> None:
    """Write the last window's history, and the events, consoles and files of all nodes, to a
    folder."""
    folder = tally.options.report.parent / f"finding-{tally.options.seed}-{tally.windows}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tally.evidence = folder
    rows = [{"kind": type(each).__name__.lower(), **dataclasses.asdict(each)} for each in history]
    rows.sort(key=lambda row: row["called_at"])
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "events.txt").write_text("\n".join(events) + "\n")
    for name, lines in consoles.items():
        (folder / f"{name}.console").write_text("\n".join(lines) + "\n")
    for node in cluster.nodes:
        shutil.copytree(node.folder, folder / node.name, ignore=shutil.ignore_patterns(BALLAST))
    for recording in cluster.folder.glob("*.steps*"):
        shutil.copy(recording, folder)
