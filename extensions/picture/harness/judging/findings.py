"""Broken rules, and the rows of the table of laws."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from raftline.picture.observe.facts import Reason, Step, Topic


class Finding(NamedTuple):
    """A broken rule, and the topic on which the step must not have other sentences."""

    claim: Topic
    text: str
    section: str
    place: str

    @property
    def reason(self) -> Reason:
        return Reason(self.text, self.section, self.place, is_broken=True)


class Law(NamedTuple):
    """A row of the table of forbidden actions."""

    claim: Topic
    check: Callable[[Step], str]  # how the step breaks the law, or ""
    section: str
    place: str
