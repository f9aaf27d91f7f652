"""The verdict after any faults: histories, counters, logs and states, each judged separately.

Every function returns findings, in words; none means that all is well.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from raftline.storage.disk import StorageError
from raftline.storage.folder import Folder
from raftline.storage.hard_state import Mark
from raftline.storage.log_reader import LogReader

from ..histories import linearizable
from ..histories.history import ClientOperation
from ..histories.linearizable import HistoryVerdict
from ..nodes.cluster import NodeProcess, failures_in

STEPS_MAX = 20_000_000
READS, BETWEEN_READS_S = 20, 0.1

Log = dict[int, tuple[int, str]]  # index to term and command


def history_findings(history: Iterable[ClientOperation]) -> list[str]:
    """Judge the clients' observations of keys that were absent before."""
    report = linearizable.check(history, STEPS_MAX)
    if report.verdict is HistoryVerdict.LINEARIZABLE:
        return []
    return ["\n".join([f"the history of {report.key} is {report.verdict.value}", *report.excerpt])]


def state_findings(nodes: Sequence[NodeProcess], prefix: str) -> list[str]:
    """Compare the nodes' own state under a prefix."""
    states = {}
    for node in nodes:
        shown = node.ask(f"show {prefix} read local").partition("SHOW response: ")[2]
        states[node.name] = json.loads(shown)
    first = nodes[0].name
    return [
        f"{first} and {name} hold different states: {sorted(set(state.items()) ^ set(other))[:4]}"
        for name, state in states.items()
        if (other := states[first].items()) != state.items()
    ]


def log_findings(nodes: Sequence[NodeProcess], known: Log, commit_index: int) -> list[str]:
    """Compare the committed entries in the nodes' files with each other and with the earlier
    committed entries in `known`; add them to it."""
    findings = []
    for node in nodes:
        try:
            entries = entries_of(node.folder, node.name)
        except StorageError as error:
            findings.append(str(error))
            continue
        for index in sorted(index for index in entries if index <= commit_index):
            other = known.setdefault(index, entries[index])
            if other != entries[index]:
                findings.append(
                    f"entry {index} is {entries[index]} at {node.name}, and was {other} elsewhere"
                )
                break
    return findings


def entries_of(folder: Path, name: str) -> Log:
    """Return the entries in the log file of a running node. Raises StorageError if it fails its
    checks; a file that ends in half a batch is read again, since it may be growing."""
    for _ in range(READS):
        read = LogReader(Folder(folder), f"{name}.log", Mark(0, 0)).read()
        if not read.torn_bytes:
            break
        threading.Event().wait(BETWEEN_READS_S)
    else:
        raise StorageError(f"{name}.log ends in {read.torn_bytes} bytes of an incomplete batch")
    log = read.log
    first = log.base_index + 1
    entries = log.entries(first, log.last_index)
    return {entry.index: (entry.term, entry.command) for entry in entries}


def console_findings(node: NodeProcess, lines: Iterable[str]) -> list[str]:
    return [f"{node.name} said: {line}" for line in failures_in(lines)]


class Leaders:
    """The check that each term had at most one leader, by the nodes' own reports."""

    def __init__(self) -> None:
        self.of: dict[int, str] = {}

    def findings(self, views: Iterable[Mapping[str, object]]) -> list[str]:
        problems = []
        for view in views:
            if view.get("role") == "leader":
                term, name = int(str(view["term"])), str(view["name"])
                other = self.of.setdefault(term, name)
                if other != name:
                    problems.append(f"{other} and {name} both lead term {term}")
        return problems
