"""A connection whose replies nobody waits for."""

from __future__ import annotations

from raftline.net.protocol.host import Batch


class SilentSink:
    """A connection of a user, or of nobody."""

    def __init__(self, user: str | None = None) -> None:
        self.user = user

    def keep(self, batch: Batch, replies: list[str]) -> list[str]:
        return replies

    def mark_ready(self) -> None:
        """Nobody waits here."""

    def flush(self) -> None:
        """Nothing is sent."""

    def break_off(self) -> None:
        """Nothing is connected."""
