"""The rows of `make -C bench run`: the load of each, and its surroundings."""

from __future__ import annotations

from dataclasses import dataclass

from tables import RIVAL

ONE_SERVER = ("redis",)  # without peers: there are no messages to delay


@dataclass(frozen=True)
class Setting:
    """A load, and its surroundings."""

    what: str
    connections: int
    in_flight: int = 1  # on each connection
    delay_ms: float = 0  # between the nodes, each way
    is_busy: bool = False  # one busy process on each core runs meanwhile
    half_of: str = ""  # a row: the pace is half of etcd's rate in that row, in the same round


ROWS = {
    "set, 1": Setting("set", 1),
    "set, 8": Setting("set", 8),
    "set, 64": Setting("set", 64),
    "set, 256": Setting("set", 256),
    "set, 8 x 16 in flight": Setting("set", 8, in_flight=16),
    "set, 64, busy": Setting("set", 64, is_busy=True),
    "set, 64, 5 ms": Setting("set", 64, delay_ms=5),
    "set, 64, paced": Setting("set", 64, half_of="set, 64"),
    "get, 1": Setting("get", 1),
    "get, 8": Setting("get", 8),
    "get, 64": Setting("get", 64),
    "get, 256": Setting("get", 256),
}
QUICK = ("set, 1", "set, 64", "set, 256", "get, 64")


def takes(system: str, row: Setting) -> bool:
    """Whether a system supports this measurement. PySyncObj's reads are local, its callers have no
    pace, and it knows each peer by a single address, which leaves no place for a relay."""
    if system == "PySyncObj":
        return not (row.what == "get" or row.delay_ms or row.half_of)
    return not (system in ONE_SERVER and row.delay_ms)


def without_pace(names: list[str], systems: list[str]) -> list[str]:
    """Return the rows whose pace isn't measured in this run."""
    return [
        name
        for name in names
        if (rate_row := ROWS[name].half_of) and not (rate_row in names and RIVAL in systems)
    ]
