"""The load of the machine that the kit and its nodes run on: no node fails because of it."""

from __future__ import annotations

import os

BUSIEST = 10.0


def busyness() -> float:
    """Return the number of programs for each processor, at least 1: a second of work on an idle
    machine takes about this many here."""
    try:
        load = os.getloadavg()[0]
    except OSError:  # this system doesn't report it
        return 1.0
    return min(BUSIEST, max(1.0, load / (os.cpu_count() or 1)))
