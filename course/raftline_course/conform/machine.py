"""How busy the machine is that the kit and its nodes run on: no node fails for that."""

from __future__ import annotations

import os

BUSIEST = 10.0


def busyness() -> float:
    """Return how many programs want each processor, at least 1: what takes a second on a calm
    machine takes about so many here."""
    try:
        load = os.getloadavg()[0]
    except OSError:  # this system does not tell
        return 1.0
    return min(BUSIEST, max(1.0, load / (os.cpu_count() or 1)))
