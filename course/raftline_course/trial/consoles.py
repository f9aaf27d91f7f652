"""The lines that the servers' consoles printed after each event of a trial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from raftline_course.trial.servers import Servers

LINES_MAX = 20  # of one server after one event
Sizes = dict[str, int]


class Consoles:
    """A record of the console sizes at each event."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._at: list[Sizes] = []

    def sizes(self) -> Sizes:
        """Return the present size of each console."""
        return {server: self._servers.console_size(server) for server in self._servers.health}

    def begin(self, events: int, sizes: Sizes) -> None:
        """Record these sizes as the beginnings of the lines of all new `events`."""
        self._at += [sizes] * (events - len(self._at))

    def collected(self) -> list[list[str]]:
        """Return the lines after each event, up to the next one, by server."""
        ends = [*self._at[1:], self.sizes()][: len(self._at)]
        return [list(self._between(*pair)) for pair in zip(self._at, ends, strict=True)]

    def _between(self, start: Sizes, end: Sizes) -> Iterator[str]:
        for server in end:
            lines = self._servers.console_lines(server, start.get(server, 0), end[server])
            yield from self._first(server, lines)

    def _first(self, server: str, lines: Sequence[str]) -> Iterator[str]:
        for line in lines[:LINES_MAX]:
            yield f"{server}: {line}"
        if len(lines) > LINES_MAX:
            yield f"{server}: … {len(lines) - LINES_MAX:,} more lines"
