"""One request of a client that writes the whole line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound="LineRequest")


@dataclass(eq=False)
class LineRequest:
    """A request in progress. It is settled once: answered, refused or given up."""

    client: Any  # its machine, and then its runner
    command: str  # with a sender, if it is numbered
    called_at: float  # time of the first send
    in_log: bool = True
    how: str = "index"  # how a read is confirmed
    was_unknown: bool = False  # an earlier try may have taken effect
    settled: bool = False
    must_see_index: int = 0  # the acknowledged index when it reached its node

    @property
    def line(self) -> str:
        """The request line."""
        return self.command if "@" in self.command else f"{self.client.name}@{self.command}"

    def once_more(self: Kind) -> Kind:
        """Return the same request, for a retry."""
        return replace(self, settled=False)
