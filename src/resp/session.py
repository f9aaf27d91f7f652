"""What a connection of a Redis client has chosen for itself. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Session:
    """The state of one connection."""

    version: int = 2  # of the protocol
    name: str = ""  # that the client gave the connection
    facts: dict[str, str] = field(default_factory=dict)  # that the client told about itself
