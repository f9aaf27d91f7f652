"""A run of the lab as text: a seed, the servers, what was there before the start, and the acts.

    seed 7
    nodes s1 s2 s3
    bug 3
    before timeouts s1 150 300
    24 crash s1
    310 s2 <- client4@set b 5
    900ms restart s1
    at 400

Each act has the number of events before it, or the virtual time of the events before it. `at` is
the moment that a reader sees first; `at 400 2` is the one after two acts, if more of them are due
then. In an address, `;` separates the lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from urllib.parse import quote, unquote

NODES_MAX = 7
PLAN_MAX = 20_000  # characters
EVENTS_MAX = 1_000_000
_ACT = re.compile(r"(\d{1,9})(ms)? (.+)")
_NAME = re.compile(r"s[1-9]")


class PlanError(Exception):
    """A text that is not a plan; the sentence says why."""


class Act(NamedTuple):
    """An act of a plan."""

    due: int
    text: str
    in_ms: bool = False  # whether it is due at a time, else after so many events

    @property
    def line(self) -> str:
        """The act as a line of a plan."""
        return f"{self.due}{'ms' * self.in_ms} {self.text}"

    def is_due(self, events: int, next_ms: float) -> bool:
        """Whether it is due after so many events, if the next event happens then."""
        return next_ms > self.due if self.in_ms else events >= self.due


@dataclass(frozen=True)
class Plan:
    """A run of the lab, which a person can send to another."""

    seed: int = 1
    nodes: tuple[str, ...] = ("s1", "s2", "s3")
    before: tuple[str, ...] = ()  # acts before the start
    acts: list[Act] = field(default_factory=list)
    at: int = 0  # events before the moment that is shown first
    done: int | None = None  # acts before it, if not all that are due
    bug: int = 0  # of course/labs/bugs, in the sources of this run

    def text(self) -> str:
        """Return the plan as lines."""
        lines = [f"seed {self.seed}", f"nodes {' '.join(self.nodes)}"]
        lines += [f"bug {self.bug}"] if self.bug else []
        lines += [f"before {act}" for act in self.before]
        lines += [act.line for act in self.acts]
        if self.done is not None:
            lines.append(f"at {self.at} {self.done}")
        elif self.at:
            lines.append(f"at {self.at}")
        return "\n".join(lines)

    def address(self) -> str:
        """Return the plan as the part of an address after `#`."""
        return ";".join(quote(line, safe="@<>#=/:,") for line in self.text().split("\n"))


def plan_in(address: str) -> Plan:
    """Return the plan in the part of an address after `#`.

    Raises:
        PlanError: it is not a plan.
    """
    return read_plan("\n".join(unquote(line) for line in address.split(";") if line))


def read_plan(text: str) -> Plan:
    """Return the plan in a text.

    Raises:
        PlanError: the text is not a plan.
    """
    if len(text) > PLAN_MAX:
        raise PlanError(f"a plan has at most {PLAN_MAX:,} characters")
    plan = Plan()
    for line in filter(None, map(str.strip, text.split("\n"))):
        plan = _with_line(plan, line)
    return plan


def _with_line(plan: Plan, line: str) -> Plan:
    verb, _, rest = line.partition(" ")
    if match := re.fullmatch(r"at (\d{1,7}) (\d{1,5})", line):
        return replace(plan, at=int(match[1]), done=int(match[2]))
    if verb in ("seed", "at", "bug") and re.fullmatch(r"\d{1,15}", rest):
        if verb == "at" and int(rest) > EVENTS_MAX:
            raise PlanError(f"a run has at most {EVENTS_MAX:,} events: {line}")
        return replace(plan, **{verb: int(rest)})  # type: ignore[arg-type]
    if verb == "nodes":
        return replace(plan, nodes=_nodes(rest.split()))
    if verb == "before" and rest:
        return replace(plan, before=(*plan.before, rest))
    if match := _ACT.fullmatch(line):
        act = Act(int(match[1]), match[3], in_ms=match[2] is not None)
        if act.due > EVENTS_MAX or any(_is_later(other, act) for other in plan.acts):
            raise PlanError(f"an act is out of order: {line}")
        return replace(plan, acts=[*plan.acts, act])
    raise PlanError(f"not a line of a plan: {line}")


def _is_later(one: Act, other: Act) -> bool:
    return one.in_ms == other.in_ms and one.due > other.due


def _nodes(names: list[str]) -> tuple[str, ...]:
    is_sound = all(map(_NAME.fullmatch, names)) and len(set(names)) == len(names)
    if not is_sound or not 1 <= len(names) <= NODES_MAX:
        raise PlanError(f"nodes are one to {NODES_MAX} different names such as s1, not {names}")
    return tuple(names)
