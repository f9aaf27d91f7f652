"""Rough lines: cut at any byte, several in one read, mixed with bytes that aren't a line.

It has its own source of chance, so the rest of a schedule stays the same.
"""

from __future__ import annotations

import json
from random import Random

from raftline.wire.refusal import DIVERGED

from ...invariants import InvariantError
from ..world.chance import pick, up_to
from ..world.world import World
from .client_connection import ClientConnection
from .node_connections import ServingNode
from .request_interface import Asked

# Texts between the lines of clients, with the beginnings of their replies.
NOISE: tuple[tuple[bytes, str | tuple[str, ...]], ...] = (
    (b"%s@status", "STATUS response: "),
    (b"%s@help", ""),
    (b"%s@get a read local", "GET response"),
    (b"%s@members", ("MEMBERS response: ", "Sorry, ")),
    (b"%s@show none/", ("SHOW response: ", "Sorry, ")),
    (b"%s@stat a", ("STAT response", "Sorry, ")),
    (b"%s@set", "Sorry, "),
    (b"%s@frobnicate", "Sorry, "),
    (b"%s@AppendEntries 1-0-0-[]", "Sorry, "),
    (b"\xff\xfe\x00 %s", "Sorry, "),
    (b"@@", "Sorry, "),
)  # fmt: skip


class RoughLines:
    """How the lines of one schedule arrive."""

    def __init__(self, world: World, chance: Random) -> None:
        self._world = world
        self._chance = chance
        self._cuts = chance.choice([0, 0, 0.05, 0.5])
        self._noise = chance.choice([0, 0, 0.02, 0.2])

    def send(
        self, host: ServingNode, connection: ClientConnection, asked: Asked, data: bytes
    ) -> None:
        """Deliver a request, at once or bit by bit."""
        chance = self._chance
        if chance.random() < self._noise and connection.speaks_lines:
            before = [self._noise_line(host, asked) for _ in range(up_to(3, chance))]
            after = [self._noise_line(host, asked) for _ in range(up_to(2, chance))]
            connection.asked += [one for one, _ in before] + [asked] + [one for one, _ in after]
            data = b"".join([line for _, line in before] + [data] + [line for _, line in after])
            self._world.counts["lines of noise"] += len(before) + len(after)
        else:
            connection.asked.append(asked)
        if chance.random() < self._cuts:
            self.cut(host, connection, data)
        else:
            connection.receive(data)

    def cut(self, host: ServingNode, connection: ClientConnection, data: bytes) -> None:
        """Deliver bytes in two pieces."""
        place = up_to(len(data), self._chance)
        self._world.counts["lines cut"] += 1
        connection.receive(data[:place])
        host.beside(
            up_to(20, self._chance), self._chance.random(), connection.receive, data[place:]
        )

    def _noise_line(self, host: ServingNode, asked: Asked) -> tuple[Asked, bytes]:
        line, begin = pick(NOISE, self._chance)
        name = b"noise"

        def heard(reply: str | None) -> None:
            if reply is not None and not reply.startswith(begin) and reply != DIVERGED:
                raise InvariantError(f"{host.name} answers {line!r} by {reply!r}")
            if reply is not None and begin == "STATUS response: ":
                facts = json.loads(reply.partition(": ")[2])
                assert facts["last_applied"] <= host.manager.applied.index, facts

        return Asked(None, "", heard), (line % name if b"%s" in line else line) + b"\n"
