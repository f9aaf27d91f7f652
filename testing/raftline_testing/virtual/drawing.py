"""The picture of a failed schedule: a page below build/pictures, named in the failure."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from .collecting import Collector, new_collector
from .schedule import Outcome, SimulationFailed, run
from .schedule_key import STEPS

FOLDER = Path(__file__).resolve().parents[3] / "build" / "pictures"


def run_or_draw(
    seed: int,
    nodes: int | None = None,
    steps: int = STEPS,
    faults: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
    lockers: int = 0,
    folder: Path = FOLDER,
) -> Outcome:
    """Run a schedule; if it fails, repeat and draw it, if an extension draws.

    Raises:
        SimulationFailed: see `run`. Its text ends with the name of the page, if there is one.
    """
    try:
        return run(seed, nodes, steps, faults, say, lockers=lockers)
    except SimulationFailed as failure:
        collector = new_collector()
        if collector is None:
            raise
        with contextlib.suppress(SimulationFailed):
            run(seed, nodes, steps, faults, collector=collector, lockers=lockers)
        path = save_picture(collector, f"seed-{seed}", folder)
        raise SimulationFailed(f"{failure}\nthe picture: {path}") from failure


def save_picture(collector: Collector, name: str, folder: Path = FOLDER) -> Path:
    """Write the page of the collected steps, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.html"
    path.write_text(collector.page(name), encoding="utf-8")
    return path
