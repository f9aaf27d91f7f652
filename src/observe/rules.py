"""The form of a rule: when it explains a step, its sentence, its section and its place. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from raftline.observe.facts import Step


class Reason(NamedTuple):
    """A part of the explanation of a step."""

    text: str
    section: str  # of the paper, or of the thesis where it says so
    place: str  # module.function in src/raft/


class Rule(NamedTuple):
    """One row of a table: a kind of decision."""

    when: Callable[[Step], object]
    say: Callable[[Step], str]
    section: str
    place: str

    def explain(self, step: Step) -> Reason:
        return Reason(self.say(step), self.section, self.place)


def first(rules: Sequence[Rule], step: Step) -> list[Reason]:
    """Return what the first rule that fits says; nothing where none does."""
    return next(([rule.explain(step)] for rule in rules if rule.when(step)), [])


def every(rules: Sequence[Rule], step: Step) -> list[Reason]:
    """Return what all rules that fit say."""
    return [rule.explain(step) for rule in rules if rule.when(step)]


def always(step: Step) -> bool:
    return True


def span(first_index: int, last_index: int) -> str:
    """Return the name of entries in a row: `entry 4`, `entries 4-9`."""
    if first_index == last_index:
        return f"entry {first_index}"
    return f"entries {first_index}-{last_index}"
