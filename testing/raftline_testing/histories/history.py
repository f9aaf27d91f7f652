"""The history of clients: each operation and its answer.

linearizable.py decides whether a history of gets, sets, deletes and conditions could be true; for
increments counting is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ClientOperation:
    """One request, and the information in its answer.

    `value` is the value that a set or cas wrote or a get read, None for an absent key and for every
    delete; `found` says whether a delete or cas met its key (None: not checked). `old` is the value
    that a cas expected, and `matched` says whether it was there. Times are numbers of one clock;
    equal ones overlap. `returned_at` is None if the outcome is unknown: it took effect at any time
    after the call, or never. A definitely refused request isn't an operation and must be left out.
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
        """Whether the answer shows that the operation changed nothing."""
        return self.verb == "get" or self.found is False or self.matched is False

    def __str__(self) -> str:
        written = {"set": f" {self.value}", "cas": f" {self.old} {self.value}"}.get(self.verb, "")
        call = f"{self.client}@{self.verb} {self.key}{written} -> "
        if self.returned_at is None:
            return f"{call}outcome unknown   (asked {self.called_at:g})"
        absent = self.found is False or (self.verb == "get" and self.value is None)
        answer = "no such key" if absent else self.value if self.verb == "get" else "done"
        if self.matched is False and not absent:
            answer = "no match"
        return f"{call}{answer}   (asked {self.called_at:g}, answered {self.returned_at:g})"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a key that took effect, or may have: its event is that of a keyspace notification
    of Redis."""

    key: str
    event: Literal["set", "del"]
    called_at: float


_CONDITION_NOT_MET = {"matched": False, "found": True}


def learned(asked: ClientOperation, reply: str, returned_at: float) -> ClientOperation | None:
    """Return the result that an answer shows, or None if it doesn't answer the request. A cas that
    expects no key was sent as `setnx`."""
    is_setnx = asked.verb == "cas" and asked.old is None
    word, key = f"{'SETNX' if is_setnx else asked.verb.upper()} response", asked.key
    success, absent = f"{word}: {key} set to {asked.value}", f"{word}, no such key: {key}"
    if asked.verb == "get":
        value = reply.removeprefix(f"{word}: ")
        if reply not in (absent, f"{word}: {value}"):
            return None
        value_read = None if reply == absent else value
        return ClientOperation(asked.client, "get", key, value_read, asked.called_at, returned_at)
    outcomes: dict[str, dict[str, dict[str, bool]]] = {
        "set": {success: {}},
        "delete": {absent: {"found": False}, f"{word}: {key} deleted": {"found": True}},
        "setnx": {success: {"matched": True}, f"{word}, key exists: {key}": _CONDITION_NOT_MET},
        "cas": {
            success: {"matched": True, "found": True},
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
    """One `incr` by 1 with a number: the combined outcome of all its tries."""

    client: str
    number: int
    key: str
    called_at: float
    returned_at: float | None = None  # None if the outcome is unknown
    value: int | None = None


def counter_findings(increments: Sequence[Increment], finals: Mapping[str, int]) -> list[str]:
    """Judge increments by 1 of counters that were absent before, and are now at `finals`.

    Each acknowledged increment took effect once: its answer is unique, answers grow with time, and
    the counter equals their number, plus at most the increments of unknown outcome.
    """
    findings = []
    for key, final in sorted(finals.items()):
        answered = [i for i in increments if i.key == key and i.value is not None]
        unknown = sum(i.key == key and i.value is None for i in increments)
        answered.sort(key=lambda i: i.value or 0)
        if not len(answered) <= final <= len(answered) + unknown:
            findings.append(
                f"{key} is {final} after {len(answered)} acknowledged increments and {unknown} of "
                "unknown outcome"
            )
        latest_call = float("-inf")
        for before, one in zip([None, *answered], answered, strict=False):
            if before is not None and before.value == one.value:
                findings.append(f"two increments of {key} got one answer: {before} and {one}")
            latest_call = max(latest_call, one.called_at)
            if one.returned_at is not None and one.returned_at < latest_call:
                findings.append(f"increments of {key} went back: {one} ended before one below it")
        if answered and (answered[-1].value or 0) > final:
            findings.append(f"{key} is {final}, below an answer that was given: {answered[-1]}")
    return findings
