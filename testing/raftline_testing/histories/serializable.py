"""A check of transactions over several keys: each took effect whole, at one moment between its
call and its answer, all in one order (strict serializability: linearizability of transactions).

The transactions read keys and append pieces to them. Every piece is unique, so the final value of a
key shows the order of all appends to it, and the value that a transaction read shows its place in
that order. This is enough for a graph, in which an edge means that one transaction took effect
before another (Adya, "Weak Consistency", 1999; Kingsbury and Alvaro, "Elle", 2020). No search is
needed. A history is serializable if and only if its graph has no cycle. The edges are:

* the writer of a piece, before the writer of the next one in that key;
* the writer of the last piece that a transaction read, before it; it, before the next one's writer;
* each answered transaction, before each one that was requested later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

END = ";"  # of each piece


@dataclass(frozen=True)
class ObservedTransaction:
    """One transaction. It reads first, and then appends.

    `returned_at` is None if the outcome is unknown: it took effect at any time after the call, or
    never. Definitely refused transactions are left out.
    """

    client: str
    called_at: float
    returned_at: float | None
    reads: Mapping[str, str] = field(default_factory=dict)  # key to its value
    appends: Mapping[str, str] = field(default_factory=dict)  # key to a piece that ends in END

    def __str__(self) -> str:
        parts = [f"read {key} as {text[-40:]!r}" for key, text in self.reads.items()]
        parts += [f"appended {piece} to {key}" for key, piece in self.appends.items()]
        ended = "unknown" if self.returned_at is None else f"{self.returned_at:g}"
        return f"{self.client}: {', '.join(parts)}   (asked {self.called_at:g}, answered {ended})"


def findings(history: Iterable[ObservedTransaction], finals: Mapping[str, str]) -> list[str]:
    """Judge a history of keys that were absent before, and hold `finals` in the end."""
    transactions = sorted(history, key=lambda one: one.called_at)
    pieces = {key: text.split(END)[:-1] for key, text in finals.items()}
    writers, problems = _writers(transactions, pieces)
    effective, lost = _effective(transactions, writers)
    problems += lost
    arrows: dict[int, set[int]] = defaultdict(set)
    for key, order in pieces.items():
        wrote = [writers.get((key, piece + END)) for piece in order]
        for before, after in pairwise(wrote):
            if before is not None and after is not None:
                arrows[before].add(after)
    for number in effective:
        problems += _read(number, transactions[number], pieces, writers, arrows)
    if problems:
        return problems
    _add_time(transactions, effective, arrows)
    circle = _circle(arrows)
    lines = [str(transactions[number]) for number in circle if number < len(transactions)]
    return ["\n  ".join(["these can't have taken effect in any order:", *lines])] if circle else []


_Writers = dict[tuple[str, str], int]


def _writers(
    transactions: Sequence[ObservedTransaction], pieces: Mapping[str, Sequence[str]]
) -> tuple[_Writers, list[str]]:
    """Return which transaction appended each present piece, and the unexplained pieces."""
    appenders = {
        (key, piece): number
        for number, one in enumerate(transactions)
        for key, piece in one.appends.items()
    }
    writers: _Writers = {}
    problems = []
    for key, order in pieces.items():
        for piece in order:
            place = (key, piece + END)
            if place not in appenders:
                problems.append(f"{key} holds {piece}, which no transaction appended")
            elif place in writers:
                problems.append(f"{key} holds {piece} twice: {transactions[appenders[place]]}")
            else:
                writers[place] = appenders[place]
    return writers, problems


def _effective(
    transactions: Sequence[ObservedTransaction], writers: _Writers
) -> tuple[list[int], list[str]]:
    """Return the transactions that took effect, and those that lack a part."""
    effective, problems = [], []
    for number, one in enumerate(transactions):
        there = [place in writers for place in one.appends.items()]
        is_known = one.returned_at is not None
        if not all(there) and (is_known or any(there)):
            problems.append(
                f"of this, {there.count(True)} of {len(there)} appends are there: {one}"
            )
        if is_known or any(there):
            effective.append(number)
    return effective, problems


def _read(
    number: int,
    one: ObservedTransaction,
    pieces: Mapping[str, Sequence[str]],
    writers: _Writers,
    arrows: dict[int, set[int]],
) -> list[str]:
    """Add the edges of a transaction's reads; return the reads that are impossible."""
    for key, text in one.reads.items():
        order, read = pieces.get(key, ()), text.split(END)
        if read.pop() or read != list(order[: len(read)]):
            return [f"a read of {key} is not a prefix of its final value: {one}"]
        if read:
            arrows[writers[key, read[-1] + END]].add(number)
        if len(read) < len(order):
            arrows[number].add(writers[key, order[len(read)] + END])
    arrows[number].discard(number)  # it appended the next piece itself
    return []


def _add_time(
    transactions: Sequence[ObservedTransaction],
    effective: Sequence[int],
    arrows: dict[int, set[int]],
) -> None:
    """Add the order of time: each answer comes before each later request. The moments of answers
    are separate nodes in a chain, so there are only as many edges as moments."""
    moments = [(transactions[number].called_at, 1, number) for number in effective]
    for number in effective:
        returned_at = transactions[number].returned_at
        if returned_at is not None:
            moments.append((returned_at, 2, number))
    moment = len(transactions)  # after the numbers of transactions
    for _, kind, number in sorted(moments):  # equal times overlap: the call comes first
        if kind == 1:
            arrows[moment].add(number)
        else:
            arrows[moment].add(moment + 1)
            moment += 1
            arrows[number].add(moment)


def _circle(arrows: Mapping[int, Iterable[int]]) -> list[int]:
    """Return the nodes of a cycle, or none."""
    finished: set[int] = set()
    for start in list(arrows):
        path: list[int] = []
        on_path: dict[int, int] = {}
        stack = [(start, True)]
        while stack:
            node, enters = stack.pop()
            if not enters:
                finished.add(node)
                del on_path[path.pop()]
            elif node in on_path:
                return path[on_path[node] :]
            elif node not in finished:
                on_path[node] = len(path)
                path.append(node)
                stack.append((node, False))
                stack += [(after, True) for after in arrows.get(node, ()) if after not in finished]
    return []
