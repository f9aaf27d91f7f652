"""`make -C testing holders`: holders of leases on real nodes under faults and long pauses.

`holders.Notes` checks that no lease ends early. Lateness counts only the time in which the observer
got answers, so a busy machine or a missing leader doesn't count. According to docs/use/leases.md, a
lease that is not renewed exists for SECONDS · 1.1 and 1 ms of such time, and once more for each
change of leader. GRACE_S allows for a round and for the test's clocks.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from ..nodes.cluster import Cluster
from ..nodes.processes import eventually
from ..nodes.proxy import LinkedCluster
from . import changes, faults, splits
from .holders import Hold, Look, Notes, holders
from .nemesis import TURN_S, Kind, Nemesis
from .slow_disk import slow_disk, with_disks

GAP_S = 0.5  # a longer time between two answers to the observer does not count
GRACE_S = 2.0
WINDOW_S = 60.0
HOLDERS = 5
KINDS: Mapping[Kind, int] = {
    faults.kill: 4, faults.pause: 4, faults.pause_for_long: 3, faults.stutter: 2, faults.stop: 2,
    splits.split: 4, splits.flap: 2, changes.transfer: 2, changes.demote: 1, slow_disk: 3,
}  # fmt: skip


class Answered:
    """The time in which the observer got answers."""

    def __init__(self, looks: list[Look]) -> None:
        self._at_s = [look.answered_s for look in looks]
        self._terms = [0]  # the highest term before each look
        self._sums_s = [0.0]
        for place, look in enumerate(looks):
            before_s = self._at_s[place - 1] if place else look.answered_s
            gap_s = look.answered_s - before_s
            self._sums_s.append(self._sums_s[-1] + gap_s * (gap_s < GAP_S))
            self._terms.append(max(self._terms[-1], look.term))

    def since_s(self, at_s: float, place: int) -> float:
        """Return how much of this time lies between a moment and a look."""
        first = bisect_right(self._at_s, at_s)
        return max(0.0, self._sums_s[place] - self._sums_s[min(first + 1, place)])

    def term_at(self, at_s: float) -> int:
        """Return a term at or before that moment; 0: unknown. The last look may have shown its term
        after that moment."""
        return self._terms[max(0, bisect_right(self._at_s, at_s) - 1)]


def lateness(notes: Notes) -> list[tuple[float, Hold, Look]]:
    """Return each look at the key of a lease with a silent holder, and for how many seconds of
    answered time that lease was overdue; negative: not yet."""
    answered, late_looks = Answered(notes.looks), []
    holds = {hold.lease: hold for hold in notes.holds if hold.is_sure and hold.seconds}
    for place, look in enumerate(notes.looks):
        hold = holds.get(look.lease)
        if hold is None or look.asked_s <= hold.renewed_s or not look.term:
            continue
        term = answered.term_at(hold.renewed_s)
        if term:
            whole_s = (1.1 * hold.seconds + 0.001) * (1 + look.term - term)
            late_looks.append((answered.since_s(hold.renewed_s, place) - whole_s, hold, look))
    return late_looks


def late(notes: Notes) -> list[str]:
    """Return each moment at which a lease existed for longer than the bound."""
    return [
        f"{hold} is late by {by_s:.3f} s: {look}"
        for by_s, hold, look in lateness(notes)
        if by_s > GRACE_S
    ]


def leases_of(cluster: Cluster) -> dict[str, dict[str, object]] | None:
    """Return the leases that the leader reports, or None without a leader."""
    reply = cluster.ask("leases")
    if not reply.startswith("LEASES response: "):
        return None
    leases: dict[str, dict[str, object]] = json.loads(reply.partition(": ")[2])["leases"]
    return leases


def window(cluster: LinkedCluster, nemesis: Nemesis, seconds: float, count: int) -> Notes:
    """Run holders under faults for this long, heal, and wait until all leases have ended."""
    with holders(cluster.nodes, count) as notes:
        eventually(lambda: notes.counts["holds"], "somebody who holds")
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            nemesis.turn()
            threading.Event().wait(TURN_S)
        nemesis.heal()
        holds = notes.counts["holds"]
        eventually(lambda: notes.counts["holds"] > holds + 2, "holders after the faults")
    eventually(lambda: leases_of(cluster) == {}, "all leases ended")
    return notes


def campaign(
    folder: Path, seconds: float, seed: int, say: Callable[[str], None]
) -> tuple[list[str], Counter[str], float]:
    """Run it; return the findings, the counts of events, and the latest end of a lease."""
    happened: Counter[str] = Counter()
    latest_s, end_s = -float("inf"), time.monotonic() + seconds
    with LinkedCluster(folder, 3) as cluster:
        with_disks(cluster)
        cluster.start().leader()
        cluster.wait_until_begun()
        nemesis = Nemesis(cluster, KINDS, random.Random(seed), say, at_once=2)
        wrong: list[str] = []
        while time.monotonic() < end_s and not wrong:
            length_s = min(WINDOW_S, end_s - time.monotonic())
            notes = window(cluster, nemesis, length_s, HOLDERS)
            wrong = [*notes.problems, *notes.findings(), *late(notes)]
            happened.update(notes.counts)
            happened["looks"] += len(notes.looks)
            happened["sure holds"] += sum(hold.is_sure for hold in notes.holds)
            latest_s = max([latest_s, *(by_s for by_s, _, _ in lateness(notes))])
        happened.update({f"fault: {name}": count for name, count in nemesis.faults.items()})
    return wrong, happened, latest_s


if __name__ == "__main__":
    drawn = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    print(f"seed {drawn}", flush=True)
    with tempfile.TemporaryDirectory() as path:
        problems, counted, latest = campaign(Path(path), float(sys.argv[1]), drawn, print)
    print(dict(counted))
    print("\n".join(problems) or f"no lease early, none late by more than {latest:.3f} s")
    sys.exit(bool(problems))
