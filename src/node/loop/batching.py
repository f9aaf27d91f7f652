"""The policy of batching: which requests are served together, and when. It sees only numbers.

`now_s` is the time in seconds, which the caller reads from one clock. `queued` is the number of
waiting batches of one kind.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

QUIET_S = 0.0005  # if no request arrives for this long, the missing ones will not arrive soon
LONGEST_S = 0.003
SHARING_S = 0.005  # the longest time a leader's writes wait for earlier ones, to share an append
LEAST_SHARE = 0.2  # of a core, and of SHARING_S
CHECK_S = 0.1  # between two readings of this node's processor time
MINUTE_S = 60.0


class Gathering:
    """Guesses from the last group how many requests the next one will have.

    Clients that were just answered usually send the next request at once. Serving the first of
    them alone would cost a separate disk write, and the others would wait until it ended. So
    this waits for as many requests as the last group had, while they keep arriving. A single
    client never waits.

    At 8 connections this gives 1.19 times as many writes a second, and 1.17 times with 16 in flight
    on each of them. At 64 connections a set costs 1.27 times as much without it: 34 writes share an
    fdatasync, not 48 (docs/develop/speed.md).
    """

    def __init__(self) -> None:
        self._expected = 0
        self._first_s = 0.0
        self._last_s = 0.0
        self.replies_leave = False  # the replies of the last group are being sent

    def arrived(self, queued: int, now_s: float) -> None:
        """Note that requests arrived; with the first of them, `queued` wait."""
        self._last_s = now_s
        if queued == 1:
            self._first_s = now_s

    def answered(self, expected: int, now_s: float) -> None:
        """Note that a group was answered; `expected` requests may follow or are queued already."""
        self._expected = expected
        self._first_s = self._last_s = now_s
        self.replies_leave = True

    def replied(self, now_s: float) -> bool:
        """Note that replies were sent: the wait for the next group starts now. Return whether
        these were the replies of the last group."""
        if not self.replies_leave:
            return False
        self._first_s = self._last_s = now_s
        self.replies_leave = False
        return True

    def is_ripe(self, queued: int, now_s: float) -> bool:
        """Whether to serve the queued requests now."""
        return queued >= self._expected or now_s >= self.ripe_at_s

    @property
    def ripe_at_s(self) -> float:
        """The time at which the waiting requests are served if no other one arrives."""
        longest_s = self._first_s + LONGEST_S
        return longest_s if self.replies_leave else min(self._last_s + QUIET_S, longest_s)


class Sharing:
    """Computes how long writes wait for earlier ones, to share the next append.

    Earlier writes have usually ended before SHARING_S is over. If none has for a minute, as over a
    slow network, the wait would only add to theirs. Then the less of a core this node uses, the
    shorter the wait is, and several groups are in flight at once. With 5 ms between the nodes this
    gives 1.25 times as many writes at 64 connections (docs/develop/speed.md). An overloaded
    leader's groups may also be slow for a while, but small groups would cost it the processor time
    that it lacks.
    """

    def __init__(self, now_s: float, used_s: Callable[[], float]) -> None:
        self.wait_s = SHARING_S
        self._quickest_s, self._quickest_before_s = math.inf, math.inf  # this minute, the last one
        self._minute_s = self._checked_s = now_s
        self._used, self._used_s = used_s, used_s()

    def committed(self, took_s: float, now_s: float) -> None:
        """Note that a group of writes took `took_s`."""
        if now_s - self._minute_s > MINUTE_S:
            self._quickest_s, self._quickest_before_s = math.inf, self._quickest_s
            self._minute_s = now_s
        self._quickest_s = min(self._quickest_s, took_s)
        if min(self._quickest_s, self._quickest_before_s) < SHARING_S:
            self.wait_s = SHARING_S
        elif now_s - self._checked_s > CHECK_S:
            used_s = self._used()
            share = (used_s - self._used_s) / (now_s - self._checked_s)
            self.wait_s = SHARING_S * min(max(share, LEAST_SHARE), 1.0)
            self._checked_s, self._used_s = now_s, used_s


class Batching:
    """Decides whether the waiting writes and reads are served now.

    A leader's writes wait while others are in flight, and until as many have arrived as last time,
    so that they share one append, one fdatasync and one AppendEntries line. Its reads share one
    round of heartbeats in the same way. On a server that does not lead, no request waits.

    `used_s` returns the processor time of this process, and is called rarely. `is_writing` means
    that the disk is at work, `is_full` that no more may wait for it, and `is_reading` that the
    maximum number of rounds for reads is in flight.
    """

    def __init__(self, now_s: float, used_s: Callable[[], float]) -> None:
        self.leads = False  # after the last step of the core
        self.gathers = True  # False: no request waits for others, so that each step can be seen
        self.writes, self.reads = Gathering(), Gathering()
        self._sharing = Sharing(now_s, used_s)
        # For each proposal in flight: its last index, its number of batches, and its time.
        self.in_flight: deque[tuple[int, int, float]] = deque()
        self._proposed_s = 0.0  # the time of the last proposal

    # --- events -------------------------------------------------------------------------------

    def proposed(self, last_index: int, batches: int, now_s: float) -> None:
        """Note how many batches became entries, up to `last_index`."""
        self._proposed_s = now_s
        self.in_flight.append((last_index, batches, now_s))

    def committed(self, index: int, queued: int, now_s: float) -> bool:
        """Note that the entries up to `index` are applied; return whether this answers a
        proposal. `queued` is the number of waiting writes."""
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
        self.reads.answered(reads + queued, now_s)
        self.reads.replied(now_s)  # another round may start while their replies are sent

    def lost_leadership(self) -> None:
        """Forget the proposals in flight: they are no longer this server's own."""
        self.in_flight.clear()

    # --- decisions ----------------------------------------------------------------------------

    def serves_writes(self, queued: int, now_s: float, *, is_writing: bool, is_full: bool) -> bool:
        """Whether to serve the waiting writes now."""
        if not (self.leads and self.gathers):
            return True
        if is_full:
            return False
        if self.in_flight or is_writing:
            return now_s >= self._proposed_s + self._sharing.wait_s
        return self.writes.is_ripe(queued, now_s)

    def serves_reads(self, queued: int, now_s: float, *, is_reading: bool) -> bool:
        """Whether to serve the waiting reads now."""
        return not (self.leads and self.gathers) or (
            not is_reading and self.reads.is_ripe(queued, now_s)
        )

    def next_check_s(
        self, writes: int, reads: int, *, is_writing: bool, is_full: bool, is_reading: bool
    ) -> float:
        """Return the latest time at which gathered requests are served.

        The result is infinity if none waits, or if the end of their wait will be reported.
        """
        until_s = math.inf
        if self.leads:
            if writes and not is_full:
                is_busy = self.in_flight or is_writing
                shared_s = self._proposed_s + self._sharing.wait_s
                until_s = shared_s if is_busy else self.writes.ripe_at_s
            if reads and not is_reading:
                until_s = min(until_s, self.reads.ripe_at_s)
        return until_s
