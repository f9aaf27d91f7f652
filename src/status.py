"""`raftline status`: what every node of a cluster says of itself, side by side.

Each node is asked over TCP, as a person would: `status`. It answers with one line,
`s1@STATUS response: {"name": "s1", "role": "leader", …}`.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TextIO

from raftline.config import Address, Configuration
from raftline.console import safe_line

ANSWER_BYTES_MAX = 1 << 16
MARK = "@STATUS response: "
COLUMNS = (
    "node", "address", "role", "term", "leader", "last", "committed", "applied", "lag",
    "snapshot", "log",
)  # fmt: skip
# What the table needs from an answer, and what it has to be.
FIELDS: Mapping[str, type] = {
    "name": str,
    "role": str,
    "term": int,
    "last_index": int,
    "commit_index": int,
    "last_applied": int,
}
EXIT_OK = 0
EXIT_NO_LEADER = 3


@dataclass(frozen=True)
class NodeStatus:
    """One node's answer, or why there is none."""

    name: str
    address: Address
    answer: Mapping[str, Any] | None
    problem: str = ""

    @property
    def leads(self) -> bool:
        return self.answer is not None and self.answer["role"] == "leader"


class NoAnswer(Exception):
    """A node gave no usable answer. The message says why, in a few words."""


def ask_all(configuration: Configuration, timeout_s: float) -> list[NodeStatus]:
    """Return what each member says, in the configuration's order, after at most `timeout_s`."""
    members = configuration.members
    with ThreadPoolExecutor(max_workers=len(members), thread_name_prefix="status") as pool:
        asked = [pool.submit(ask, name, members[name], timeout_s) for name in members]
        nodes = [one.result() for one in asked]
        others = _others(nodes)
        asked = [pool.submit(ask, name, others[name], timeout_s) for name in others]
        return nodes + [one.result() for one in asked]


def _others(nodes: Sequence[NodeStatus]) -> dict[str, Address]:
    """Return the members that the file does not name: they were added while the cluster ran."""
    newest: Mapping[str, Any] = {}
    for node in nodes:
        answer = node.answer or {}
        if isinstance(answer.get("members"), dict) and (
            int(answer.get("members_since", 0)) >= int(newest.get("members_since", 0))
        ):
            newest = answer
    known = {node.name for node in nodes}
    found = {}
    for name, where in newest.get("members", {}).items():
        host, _, port = str(where).rpartition(":")
        if name not in known and port.isascii() and port.isdigit():
            found[str(name)] = Address(host, int(port))
    return found


def ask(name: str, address: Address, timeout_s: float) -> NodeStatus:
    """Return what the node at `address` says of itself, or why it is taken as unreachable."""
    try:
        answer = _read_answer(_exchange(address, timeout_s))
        if answer["name"] != name:
            raise NoAnswer(f"{safe_line(answer['name'])} answers there")
    except NoAnswer as error:
        return NodeStatus(name, address, None, str(error))
    except TimeoutError:
        return NodeStatus(name, address, None, f"no answer within {timeout_s:g} s")
    except OSError as error:
        return NodeStatus(name, address, None, (error.strerror or str(error)).lower())
    return NodeStatus(name, address, answer)


def _exchange(address: Address, timeout_s: float) -> bytes:
    """Return the line that answers `status`. One deadline holds for all of it."""
    deadline = time.monotonic() + timeout_s
    with socket.create_connection(address, timeout_s) as connection:
        connection.sendall(b"status\n")
        received = bytearray()
        while b"\n" not in received:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            chunk = connection.recv(4096)
            if not chunk:
                raise NoAnswer("closed the connection without an answer")
            received += chunk
            if len(received) > ANSWER_BYTES_MAX:
                raise NoAnswer("its answer is no status line")
        return bytes(received).split(b"\n", 1)[0]


def _read_answer(line: bytes) -> dict[str, Any]:
    """Return the facts in a status line. Raises NoAnswer if it is anything else."""
    text = line.decode("utf-8", "replace")
    speaker, mark, facts = text.partition(MARK)
    if not mark or " " in speaker:
        raise NoAnswer(f"answers: {safe_line(text[:80].rstrip())}")
    try:
        answer = json.loads(facts)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("its status is no JSON") from error
    if not isinstance(answer, dict):
        raise NoAnswer("its status is no JSON object")
    for field, kind in FIELDS.items():
        value = answer.get(field)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise NoAnswer(f"its status lacks {field}")
    return answer


def leader_of(nodes: Sequence[NodeStatus]) -> NodeStatus | None:
    """Return the leader of the highest term: an older one that still believes in itself is not."""
    leaders = [node for node in nodes if node.leads]
    return max(leaders, key=lambda node: int((node.answer or {})["term"]), default=None)


def exit_code(nodes: Sequence[NodeStatus]) -> int:
    """Return 0 if a leader answered and a quorum is reachable, else 3."""
    leader = leader_of(nodes)
    answering = {node.name for node in nodes if node.answer and node.answer["role"] != "down"}
    if leader is None or leader.answer is None:
        return EXIT_NO_LEADER
    everybody = [node.name for node in nodes]
    voters = leader.answer.get("voters") or everybody
    for half in (voters, leader.answer.get("outgoing") or voters):
        if 2 * len(answering.intersection(half)) <= len(half):
            return EXIT_NO_LEADER
    return EXIT_OK


def rows(nodes: Sequence[NodeStatus]) -> list[tuple[str, ...]]:
    """Return the table, a row per node. Lag counts entries committed, but not applied there."""
    committed = max((node.answer["commit_index"] for node in nodes if node.answer), default=0)
    return [_row(node, committed) for node in nodes]


def _row(node: NodeStatus, committed: int) -> tuple[str, ...]:
    answer = node.answer
    if answer is None:
        return (node.name, str(node.address), "unreachable", *["-"] * (len(COLUMNS) - 3))
    role = _role(node.name, answer)
    leader = answer.get("leader")
    applied = answer["last_applied"]
    numbers = (answer["last_index"], answer["commit_index"], applied, max(0, committed - applied))
    return (
        node.name,
        str(node.address),
        role,
        str(answer["term"]),
        safe_line(leader) if isinstance(leader, str) and leader else "-",
        *(str(number) for number in numbers),
        *_files(answer),
    )


def _files(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Return up to which entry the last snapshot goes, and how long the log is; `-` where there is
    none, or the node is of a version that doesn't say."""
    index, size = answer.get("snapshot_index"), answer.get("log_bytes")
    return (
        str(index) if isinstance(index, int) and index > 0 else "-",
        _bytes(size) if isinstance(size, int) and not isinstance(size, bool) else "-",
    )


def _bytes(size: int) -> str:
    """Return a number of bytes as a person reads it, in one word: 512B, 20.5kB, 131MB."""
    if size < 1000:
        return f"{size}B"
    amount, units = size / 1000, ["kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        del units[0]
    return f"{amount:.{int(amount < 100)}f}{units[0]}"


def _role(name: str, answer: Mapping[str, Any]) -> str:
    """Return what a node is, and in brackets what it lacks to be a voter like any other."""
    role = safe_line(answer["role"])
    if name in answer.get("learners", ()):
        role = "learner"
    elif name not in (*answer.get("voters", [name]), *answer.get("outgoing", ())):
        role = "removed" if answer.get("voters") else "waits to be added"
    if answer.get("outgoing"):
        role += " (joint)"
    if answer.get("arriving_bytes"):
        role += " (receives a snapshot)"
    if isinstance(answer.get("handing_over_to"), str):
        role += f" (handing over to {safe_line(answer['handing_over_to'])})"
    if answer.get("down"):  # its controller told it to, and alone is heard
        role = "down"
    if isinstance(answer.get("faults"), list) and answer["faults"]:
        role += " (faults: " + safe_line("; ".join(map(str, answer["faults"]))) + ")"
    return role + (" (recovering)" if answer.get("recovering") else "")


def as_json(nodes: Sequence[NodeStatus]) -> str:
    """Return one JSON list with an object per node; a node without an answer says why."""
    highest = max((node.answer["commit_index"] for node in nodes if node.answer), default=0)
    objects: list[dict[str, Any]] = []
    for node in nodes:
        facts: dict[str, Any] = {"name": node.name, "address": str(node.address)}
        if node.answer is None:
            facts |= {"reachable": False, "problem": node.problem}
        else:
            lag = max(0, highest - node.answer["last_applied"])
            facts = {**node.answer, **facts, "reachable": True, "lag": lag}
        objects.append(facts)
    return json.dumps(objects, indent=2)


def show(nodes: Sequence[NodeStatus], output: TextIO) -> None:
    """Print the table: in colour on a terminal, in plain columns to anything else."""
    table = rows(nodes)
    if not (output.isatty() and _show_in_colour(table)):
        everything = [COLUMNS, *table]
        widths = [max(len(row[column]) for row in everything) for column in range(len(COLUMNS))]
        for row in everything:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print("  ".join(cells).rstrip(), file=output)


def _show_in_colour(table: Sequence[tuple[str, ...]]) -> bool:
    """Print a coloured table, unless the library for it is not there (a bare clone)."""
    try:
        from rich import console, text
        from rich import table as tables
    except ImportError:
        return False
    drawn = tables.Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in COLUMNS:
        numeric = name in COLUMNS[5:] or name == "term"
        drawn.add_column(name, justify="right" if numeric else "left", no_wrap=True)
    for row in table:
        style = {"unreachable": "red", "leader": "bold green"}.get(row[2], "")
        drawn.add_row(*(text.Text(cell) for cell in row), style=style)
    # Wider than any terminal: a long line wraps there, which is better than a term cut to "1…".
    console.Console(width=500).print(drawn)
    return True


def report(configuration: Configuration, timeout_s: float, json_wanted: bool) -> int:
    """Print how the cluster is and return the exit code: 0 it serves, 3 it doesn't."""
    nodes = ask_all(configuration, timeout_s)
    if json_wanted:
        print(as_json(nodes))
    else:
        show(nodes, sys.stdout)
        sys.stdout.flush()
        for node in nodes:
            if node.problem:
                print(f"{node.name} ({node.address}): {node.problem}", file=sys.stderr)
    return exit_code(nodes)
