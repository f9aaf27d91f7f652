"""raftline under measurement, with its default configuration unless `options` says otherwise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pythons
from clusters import Cluster, wait_until
from raftline.net.line_connection import ask

# Of this clone, also where the Python that runs the bench belongs to another one.
SERVER = Path(__file__).resolve().parents[1] / "src/server.py"
NEVER_COMPACT = ("--compact-at", str(1 << 50))


class Raftline(Cluster):
    """Nodes s1, s2, … on localhost."""

    name = "raftline"

    def __init__(
        self,
        parent: Path,
        base_port: int,
        count: int = 3,
        options: Sequence[str] = (),
        delay_ms: float = 0,
    ) -> None:
        super().__init__(parent, base_port, count, delay_ms)
        self.options = list(options)
        lines = [f"s{n + 1} localhost {self.peer_port(n)}\n" for n in range(count)]
        (self.folder / "server-configuration.txt").write_text("".join(lines))

    def command(self, number: int) -> list[str]:
        return [pythons.of_nodes().path, str(SERVER), *self.arguments(number)]

    def arguments(self, number: int) -> list[str]:
        place = [f"s{number + 1}", str(self.port(number)), "--dir", str(self.folder)]
        return [*place, *self.options]

    def status(self, number: int) -> dict[str, object]:
        """Return a node's status; {} while it doesn't answer."""
        try:
            line = ask(self.port(number), "status", 5)
            facts: dict[str, object] = json.loads(line.partition(": ")[2])
        except (OSError, ValueError):
            return {}
        return facts

    def number(self, number: int, fact: str) -> int:
        """Return one fact of `status` that is a number; -1 while the node does not answer."""
        return int(str(self.status(number).get(fact, -1)))

    def leader(self) -> int | None:
        for number in self.processes:
            view = self.status(number)
            if view.get("role") == "leader" and view["last_applied"] == view["last_index"]:
                return number
        return None

    def wait_until_begun(self) -> int:
        """Return the leader's number once all nodes know the identity: then they grant leases."""

        def begun() -> bool | None:
            return all(self.status(number).get("cluster") for number in self.processes) or None

        wait_until(begun, "the cluster has no identity, and grants no leases")
        return self.wait_for_leader()

    def fdatasyncs(self) -> int:
        return sum(max(0, self.number(number, "syncs")) for number in self.processes)

    def wait_until_level(self, seconds: float = 120) -> int:
        """Return the leader's number once all follow it and have applied its entries."""

        def level() -> int | None:
            views = [self.status(number) for number in self.processes]
            if not all(views) or len({view["leader"] for view in views}) > 1:
                return None
            ends = [int(str(view["last_applied"])) for view in views]
            leader = views[0]["leader"]
            return int(str(leader)[1:]) - 1 if leader and max(ends) - min(ends) < 100 else None

        return wait_until(level, "the nodes did not come together", seconds)
