"""When requests that wait are enough to be served together. Times are those of time.monotonic."""

from __future__ import annotations

import math
import time

QUIET_S = 0.0005  # nobody came for so long: whoever is missing does not come soon
LONGEST_S = 0.003
SHARING_S = 0.005  # a leader's writes wait for those before them, to share the next; no longer
LEAST_SHARE = 0.2  # of a core, and of SHARING_S
LOOK_S = 0.1  # between two looks at what this node uses
MINUTE_S = 60.0


class Gathering:
    """Guesses from the last group how many requests the next one will have.

    Clients that were just answered ask again at once. To serve the first of them alone would
    make a disk write of its own for it, and keep the others waiting until that has ended; so as
    many as were there before are waited for, while they keep coming. One lone client never waits.
    At 8 connections that is 1.3 times as many writes a second, and 1.5 times at 16 in flight on
    each of them (docs/develop/speed.md).
    """

    def __init__(self) -> None:
        self._expected = 0
        self._first_s = 0.0
        self._last_s = 0.0

    def arrived(self, count: int) -> None:
        """Note that a request came, and `count` wait now."""
        self._last_s = time.monotonic()
        if count == 1:
            self._first_s = self._last_s

    def answered(self, count: int) -> None:
        """Note that a group was answered; `count` may be expected to come, or are here already."""
        self._expected = count
        self._first_s = self._last_s = time.monotonic()

    def is_ripe(self, count: int) -> bool:
        """Whether those who wait are to be served now."""
        return count >= self._expected or time.monotonic() >= self.ripe_at_s

    @property
    def ripe_at_s(self) -> float:
        """When those who wait are to be served, if nobody else comes."""
        return min(self._last_s + QUIET_S, self._first_s + LONGEST_S)


class Sharing:
    """Knows for how long writes wait for those before them, to share the next append.

    Those have mostly ended before SHARING_S is over. Where none has for a minute, as over a slow
    network, the wait is only added to theirs: then it is the shorter the less of a core this node
    uses, and several groups are on their way at once. With 5 ms between the nodes that is 1.25
    times as many writes at 64 connections (docs/develop/speed.md). A crowded leader's groups may
    take as long for a while, and small ones would take from it what it lacks.
    """

    def __init__(self) -> None:
        self.wait_s = SHARING_S
        self._quickest_s, self._quickest_before_s = math.inf, math.inf  # this minute, the last one
        self._minute_s = self._looked_s = time.monotonic()
        self._used_s = time.process_time()

    def committed(self, took_s: float) -> None:
        """Note that writes have ended after so long."""
        now_s = time.monotonic()
        if now_s - self._minute_s > MINUTE_S:
            self._quickest_s, self._quickest_before_s = math.inf, self._quickest_s
            self._minute_s = now_s
        self._quickest_s = min(self._quickest_s, took_s)
        if min(self._quickest_s, self._quickest_before_s) < SHARING_S:
            self.wait_s = SHARING_S
        elif now_s - self._looked_s > LOOK_S:
            used_s = time.process_time()
            share = (used_s - self._used_s) / (now_s - self._looked_s)
            self.wait_s = SHARING_S * min(max(share, LEAST_SHARE), 1.0)
            self._looked_s, self._used_s = now_s, used_s
