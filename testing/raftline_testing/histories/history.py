"""The history of clients: each operation and its answer.

Whether a history of gets, sets, deletes and conditions could be true, linearizable.py finds out;
for increments counting is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ClientOperation:
    """One request, and what its client learned from the answer.

    `value` is what a set or cas wrote or a get read, None for absent and for every delete; `found`
    is whether a delete or cas met its key (None: not looked at). `old` is what a cas looked for,
    `matched` whether it found that. Times are numbers of one clock; equal ones overlap.
    `returned_at` is None if the outcome is unknown: it took effect at any time after the call,
    or never. What was definitely refused is no operation and must be left out.
    """

    client: str
    verb: Literal["get", "set", "delete", "cas"]
    key: str
    value: str | None
    called_at: float
    returned_at: float | None
    found: bool | None = None
    old: str | None = None
    matched: bool | None = None

    @property
    def is_idle(self) -> bool:
        """Whether its answer shows that it changed nothing."""
        return self.verb == "get" or self.found is False or self.matched is False

    def __str__(self) -> str:
        written = {"set": f" {self.value}", "cas": f" {self.old} {self.value}"}.get(self.verb, "")
        asked = f"{self.client}@{self.verb} {self.key}{written} -> "
        if self.returned_at is None:
            return f"{asked}outcome unknown   (asked {self.called_at:g})"
        absent = self.found is False or (self.verb == "get" and self.value is None)
        answer = "no such key" if absent else self.value if self.verb == "get" else "done"
        if self.matched is False and not absent:
            answer = "no match"
        return f"{asked}{answer}   (asked {self.called_at:g}, answered {self.returned_at:g})"


_CONDITION_NOT_MET = {"matched": False, "found": True}


def learned(asked: ClientOperation, reply: str, returned_at: float) -> ClientOperation | None:
    """Return what an answer shows of a request, None if it is no answer to it. A cas that looks
    for nothing was asked as `setnx`."""
    is_setnx = asked.verb == "cas" and asked.old is None
    word, key = f"{'SETNX' if is_setnx else asked.verb.upper()} response", asked.key
    done, absent = f"{word}: {key} set to {asked.value}", f"{word}, no such key: {key}"
    if asked.verb == "get":
        value = reply.removeprefix(f"{word}: ")
        if reply not in (absent, f"{word}: {value}"):
            return None
        found = None if reply == absent else value
        return ClientOperation(asked.client, "get", key, found, asked.called_at, returned_at)
    outcomes: dict[str, dict[str, dict[str, bool]]] = {
        "set": {done: {}},
        "delete": {absent: {"found": False}, f"{word}: {key} deleted": {"found": True}},
        "setnx": {done: {"matched": True}, f"{word}, key exists: {key}": _CONDITION_NOT_MET},
        "cas": {
            done: {"matched": True, "found": True},
            absent: {"matched": False, "found": False},
            f"{word}, no match: {key}": _CONDITION_NOT_MET,
        },
    }
    facts = outcomes["setnx" if is_setnx else asked.verb].get(reply)
    if facts is None:
        return None
    return ClientOperation(
        asked.client,
        asked.verb,
        key,
        asked.value,
        asked.called_at,
        returned_at,
        facts.get("found"),
        asked.old,
        facts.get("matched"),
    )


@dataclass(frozen=True, slots=True)
class Increment:
    """One `incr` by 1 with a number: what came of all its tries together."""

    client: str
    number: int
    key: str
    called_at: float
    returned_at: float | None = None  # None: the outcome is unknown
    value: int | None = None


def counter_findings(increments: Sequence[Increment], finals: Mapping[str, int]) -> list[str]:
    """Judge increments by 1 of counters that were absent before, and are now at `finals`.

    Each that was acknowledged took effect once: its answer is nobody else's, answers grow with
    time, and the counter stands at their number, or above it by those of unknown outcome.
    """
    findings = []
    for key, final in sorted(finals.items()):
        known = [i for i in increments if i.key == key and i.value is not None]
        unknown = sum(i.key == key and i.value is None for i in increments)
        known.sort(key=lambda i: i.value or 0)
        if not len(known) <= final <= len(known) + unknown:
            findings.append(
                f"{key} is {final} after {len(known)} acknowledged increments and {unknown} of "
                "unknown outcome"
            )
        latest_call = float("-inf")
        for before, one in zip([None, *known], known, strict=False):
            if before is not None and before.value == one.value:
                findings.append(f"two increments of {key} got one answer: {before} and {one}")
            latest_call = max(latest_call, one.called_at)
            if one.returned_at is not None and one.returned_at < latest_call:
                findings.append(f"increments of {key} went back: {one} ended before one below it")
        if known and (known[-1].value or 0) > final:
            findings.append(f"{key} is {final}, below an answer that was given: {known[-1]}")
    return findings
