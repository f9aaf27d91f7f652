"""The key of a schedule, in the words of a command line and in an address of the lab."""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple
from urllib.parse import parse_qs, quote, urlencode

from ..extensions import joined
from .world.plan import ALL_FAULTS, Plan, pick_plan, with_claims, with_lockers

# this number finds the most faults a minute: docs/develop/speed.md, "Schedules a minute"
STEPS: Final = 3000
NODES_MAX: Final = 9
# The modules `virtual.actors` of extensions: kinds of clients and dealers, and how often they act.
ACTORS: Final = joined("virtual.actors")
_NUMBERS: Final = ("sim", "nodes", "steps", "lockers", "at", "bug")


class WrongKey(Exception):
    """An address that names no schedule; the sentence says why."""


class ScheduleKey(NamedTuple):
    """A seed, and the options of simulate.py."""

    seed: int
    nodes: int | None = None
    steps: int = STEPS
    faults: tuple[str, ...] = ()
    lockers: int = 0

    def plan(self) -> Plan:
        """Return the plan of the schedule."""
        plan = pick_plan(Random(self.seed), self.nodes, self.faults)
        if self.lockers:
            return with_lockers(plan, self.lockers)
        if self.faults:
            return plan
        plan = with_claims(plan, self.seed)
        for module in ACTORS:
            plan = module.planned(plan, self.seed)
        return plan

    def options(self) -> str:
        """Return the options of simulate.py, without the seed."""
        numbers = self._numbers().items()
        given = "".join(f" --{name} {number}" for name, number in numbers)
        return given + "".join(f" --fault '{kind}'" for kind in self.faults)

    def address(self, at: int, bug: int = 0) -> str:
        """Return the part of an address of the lab after `#`: this schedule after so many events,
        in a program with this bug of lab 6."""
        pairs: list[tuple[str, object]] = [("sim", self.seed), *self._numbers().items()]
        pairs += [("fault", kind) for kind in self.faults]
        pairs += [("bug", bug)] if bug else []
        return urlencode([*pairs, ("at", at)], quote_via=quote)

    def _numbers(self) -> dict[str, int]:
        numbers = {"nodes": self.nodes or 0, "lockers": self.lockers}
        numbers["steps"] = self.steps if self.steps != STEPS else 0
        return {name: number for name, number in numbers.items() if number}


class LabAddress(NamedTuple):
    """A schedule, a number of events, and a bug of lab 6."""

    key: ScheduleKey
    at: int
    bug: int


def key_in(address: str) -> LabAddress:
    """Return the schedule that an address of the lab names.

    Raises:
        WrongKey: it names none.
    """
    fields = parse_qs(address, keep_blank_values=True)
    faults = tuple(fields.pop("fault", ()))
    numbers = {name: _number(name, values) for name, values in fields.items()}
    if (nodes := numbers.get("nodes", 1)) > NODES_MAX or not nodes:
        raise WrongKey(f"a schedule has 1 to {NODES_MAX} nodes, not {nodes}")
    for kind in faults:
        if kind not in ALL_FAULTS:
            raise WrongKey(f"there is no fault {kind!r}")
    key = ScheduleKey(
        numbers["sim"],
        numbers.get("nodes"),
        numbers.get("steps", STEPS),
        faults,
        numbers.get("lockers", 0),
    )
    return LabAddress(key, numbers.get("at", 0), numbers.get("bug", 0))


def _number(name: str, values: list[str]) -> int:
    text = values[-1]
    if name not in _NUMBERS or not (text.isascii() and text.isdigit() and len(text) < 20):
        raise WrongKey(f"not a part of a schedule's address: {name}={text}")
    return int(text)
