"""The policy of batching: which requests are served together, and when. It sees numbers alone.

Times are seconds of one clock, and the caller reads them: `now_s`. `queued` counts the batches
of one kind that wait.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

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
    At 8 connections that is 1.19 times as many writes a second, and 1.17 times at 16 in flight on
    each of them. At 64 a set costs 1.27 times as much without it: 34 writes share an fdatasync, not
    48 (docs/develop/speed.md).
    """

    def __init__(self) -> None:
        self._expected = 0
        self._first_s = 0.0
        self._last_s = 0.0
        self.replies_leave = False  # those of the last group

    def arrived(self, queued: int, now_s: float) -> None:
        """Note that a request came, and `queued` wait now."""
        self._last_s = now_s
        if queued == 1:
            self._first_s = now_s

    def answered(self, expected: int, now_s: float) -> None:
        """Note that a group was answered; `expected` may come again, or are here already."""
        self._expected = expected
        self._first_s = self._last_s = now_s
        self.replies_leave = True

    def replied(self, now_s: float) -> bool:
        """Note that replies have left: only from now on is anybody late. Return whether they were
        those of the last group."""
        if not self.replies_leave:
            return False
        self._first_s = self._last_s = now_s
        self.replies_leave = False
        return True

    def is_ripe(self, queued: int, now_s: float) -> bool:
        """Whether those who wait are to be served now."""
        return queued >= self._expected or now_s >= self.ripe_at_s

    @property
    def ripe_at_s(self) -> float:
        """The time at which the waiting requests are served, if no other one comes."""
        longest_s = self._first_s + LONGEST_S
        return longest_s if self.replies_leave else min(self._last_s + QUIET_S, longest_s)


class Sharing:
    """Knows for how long writes wait for those before them, to share the next append.

    Those have mostly ended before SHARING_S is over. If none has for a minute, as over a slow
    network, the wait is only added to theirs: then it is the shorter the less of a core this node
    uses, and several groups are on their way at once. With 5 ms between the nodes that is 1.25
    times as many writes at 64 connections (docs/develop/speed.md). A crowded leader's groups may
    take as long for a while, and small ones would take from it what it lacks.
    """

    def __init__(self, now_s: float, used_s: Callable[[], float]) -> None:
        self.wait_s = SHARING_S
        self._quickest_s, self._quickest_before_s = math.inf, math.inf  # this minute, the last one
        self._minute_s = self._looked_s = now_s
        self._used, self._used_s = used_s, used_s()

    def committed(self, took_s: float, now_s: float) -> None:
        """Note that writes have ended after so long."""
        if now_s - self._minute_s > MINUTE_S:
            self._quickest_s, self._quickest_before_s = math.inf, self._quickest_s
            self._minute_s = now_s
        self._quickest_s = min(self._quickest_s, took_s)
        if min(self._quickest_s, self._quickest_before_s) < SHARING_S:
            self.wait_s = SHARING_S
        elif now_s - self._looked_s > LOOK_S:
            used_s = self._used()
            share = (used_s - self._used_s) / (now_s - self._looked_s)
            self.wait_s = SHARING_S * min(max(share, LEAST_SHARE), 1.0)
            self._looked_s, self._used_s = now_s, used_s


class Batching:
    """Decides whether the writes and the reads that wait are served now.

    A leader's writes wait while others are under way, and until as many are there as before, so
    that they share one append, one fdatasync and one AppendEntries line. Its reads share one round
    of heartbeats in the same way. A server that does not lead lets nobody wait.

    `used_s` returns the processor time of this process, and is asked seldom. `is_writing` means
    that the disk is at work, `is_full` that no more may wait for it, and `is_reading` that as many
    rounds for reads are under way as may be.
    """

    def __init__(self, now_s: float, used_s: Callable[[], float]) -> None:
        self.leads = False  # as of the last step of the core
        self.gathers = True  # False: nobody waits for others, so that each step can be seen
        self.writes, self._reads = Gathering(), Gathering()
        self._sharing = Sharing(now_s, used_s)
        # Of each proposal under way: its last index, its batches, when it was made.
        self.in_flight: deque[tuple[int, int, float]] = deque()
        self._proposed_s = 0.0  # when the last one was made

    # --- events -------------------------------------------------------------------------------

    def enqueue(self, queued: int, now_s: float, *, is_read: bool) -> None:
        """Note that batches came; with the first of them `queued` of its kind wait."""
        (self._reads if is_read else self.writes).arrived(queued, now_s)

    def proposed(self, last_index: int, batches: int, now_s: float) -> None:
        """Note how many batches became entries, up to `last_index`."""
        self._proposed_s = now_s
        self.in_flight.append((last_index, batches, now_s))

    def committed(self, index: int, queued: int, now_s: float) -> bool:
        """Note that the entries up to `index` are applied; return whether this answers a
        proposal. `queued` writes wait."""
        answered, proposed_s = 0, 0.0
        while self.in_flight and self.in_flight[0][0] <= index:
            _, batches, proposed_s = self.in_flight.popleft()
            answered += batches
        if answered:
            self._sharing.committed(now_s - proposed_s, now_s)
            self.writes.answered(answered + queued, now_s)
        return answered > 0

    def answered(self, reads: int, queued: int, now_s: float) -> None:
        """Note how many batches of reads were confirmed; `queued` more wait."""
        self._reads.answered(reads + queued, now_s)
        self._reads.replied(now_s)  # another round may be under way beside their replies

    def lost_leadership(self) -> None:
        """Forget the proposals under way: they are no longer this server's own."""
        self.in_flight.clear()

    # --- decisions ----------------------------------------------------------------------------

    def serves_writes(self, queued: int, now_s: float, *, is_writing: bool, is_full: bool) -> bool:
        """Whether the writes that wait are served now."""
        if not (self.leads and self.gathers):
            return True
        if is_full:
            return False
        if self.in_flight or is_writing:
            return now_s >= self._proposed_s + self._sharing.wait_s
        return self.writes.is_ripe(queued, now_s)

    def serves_reads(self, queued: int, now_s: float, *, is_reading: bool) -> bool:
        """Whether the reads that wait are served now."""
        return not (self.leads and self.gathers) or (
            not is_reading and self._reads.is_ripe(queued, now_s)
        )

    def next_look_s(
        self, writes: int, reads: int, *, is_writing: bool, is_full: bool, is_reading: bool
    ) -> float:
        """Return when those who gather are served at the latest; infinity if nobody waits, or if
        what they wait for reports its end."""
        until_s = math.inf
        if self.leads:
            if writes and not is_full:
                is_busy = self.in_flight or is_writing
                shared_s = self._proposed_s + self._sharing.wait_s
                until_s = shared_s if is_busy else self.writes.ripe_at_s
            if reads and not is_reading:
                until_s = min(until_s, self._reads.ripe_at_s)
        return until_s
