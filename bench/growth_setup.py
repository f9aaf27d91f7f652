"""The setup of each row of `bench/growth.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clusters import Cluster
from results import Rows


@dataclass
class Setup:
    """The place and size of a measurement, and its rows; one call is one round."""

    folder: Path
    port: int
    seconds: float  # of each load
    entries: int  # the number used for "a million"
    away: float  # seconds that a partition lasts
    kills: int  # of leaders, in one round
    etcd: bool  # it is installed, so it is measured, too
    wheel: bool  # so is the compiled wheel: see `raftline_wheel`
    rows: Rows = field(default_factory=Rows)

    def add(self, name: str, cluster: Cluster, figures: Mapping[str, float]) -> None:
        self.rows.add(name, cluster.name, figures)
