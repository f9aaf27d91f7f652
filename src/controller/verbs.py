"""The verbs that bring faults about, read into what they change. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from raftline.controller.faults import EVERYBODY, Table
from raftline.wire.commands import FAULT_FORMS
from raftline.wire.escapes import ProtocolError, shown

IN_FORCE = "in force: "
TIME_MS_MAX = 3_600_000
_PERCENT = re.compile(r"(100|[0-9]{1,2})%", re.ASCII)
_TIME = re.compile(r"([0-9]{1,7})(?:\.([0-9]{1,3}))?(ms|s)", re.ASCII)


class Fault(NamedTuple):
    """A change of the faults in force, for a number of milliseconds; 0: for good."""

    change: Callable[[Table], Table]
    for_ms: int = 0


def read_fault(verb: str, words: Sequence[str], peers: Collection[str]) -> Fault:
    """Return what a line asks for, of a server that has these peers.

    Raises:
        ProtocolError: it is not of the verb's form, or names somebody who is no peer.
    """
    match verb, *words:
        case "PARTITION", _, *_:
            names = _peers(words, peers)
            return Fault(lambda t: replace(t, cut_off=tuple(dict.fromkeys([*t.cut_off, *names]))))
        case ("HEAL",):
            return Fault(lambda _: Table())
        case "HEAL", *_:
            names = _peers(words, peers)
            return Fault(lambda table: table.without(names))
        case "DROP", percent, *names if _PERCENT.fullmatch(percent):
            names, number = _peers(names, peers), int(percent[:-1])
            return Fault(lambda t: replace(t, drop_percent=_put(t.drop_percent, names, number)))
        case "DELAY", time, *names if _TIME.fullmatch(time):
            names, number = _peers(names, peers), _ms(time)
            return Fault(lambda t: replace(t, delay_ms=_put(t.delay_ms, names, number)))
        case "SKIP-REPLICATION", ("on" | "off") as state:
            return Fault(lambda table: replace(table, skips_replication=state == "on"))
        case "HEARTBEAT", "normal":
            return Fault(lambda table: replace(table, heartbeat_ms=0))
        case "HEARTBEAT", time, *ending if _TIME.fullmatch(time) and _ms(time):
            number = _ms(time)
            return Fault(lambda t: replace(t, heartbeat_ms=number), _for_ms(ending))
    raise _mistake(f"the form is: {FAULT_FORMS[verb]}")


def _for_ms(ending: Sequence[str]) -> int:
    match ending:
        case []:
            return 0
        case ["for", time] if _TIME.fullmatch(time) and _ms(time):
            return _ms(time)
    raise _mistake(f"the form is: {FAULT_FORMS['HEARTBEAT']}")


def _ms(text: str) -> int:
    """Return the milliseconds that `200ms`, `20s` or `0.5s` spell."""
    found = _TIME.fullmatch(text)
    whole, part, unit = found.groups() if found else ("", "", "")
    milliseconds = int(whole)
    if unit == "s":
        milliseconds = 1000 * milliseconds + int((part or "").ljust(3, "0"))
    if milliseconds > TIME_MS_MAX:
        raise _mistake(f"{shown(text)} is longer than an hour")
    return milliseconds


def _peers(names: Sequence[str], peers: Collection[str]) -> list[str]:
    for name in names:
        if name not in peers:
            has = f"it has {' '.join(sorted(peers))}" if peers else "it has none"
            raise _mistake(f"{shown(name)} is no peer of this server; {has}")
    return list(names)


def _put(numbers: Mapping[str, int], names: Sequence[str], number: int) -> dict[str, int]:
    """Return `numbers` with this one for each name; without a name it stands for everybody, in
    place of all that was said before. 0 ends it."""
    if not names:
        return {EVERYBODY: number} if number else {}
    changed = {**numbers, **dict.fromkeys(names, number)}
    everybody = changed.get(EVERYBODY, 0)
    return {name: n for name, n in changed.items() if n or (everybody and name != EVERYBODY)}


def _mistake(what: str) -> ProtocolError:
    return ProtocolError(f"{what}. Nothing was changed.")
