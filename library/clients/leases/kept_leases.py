"""One lease for all claims of a client that have the same time, like the session of a client of
ZooKeeper (Hunt et al., 2010, section 2.2) or of Chubby (Burrows, 2006, section 2.8).

The first claim grants it, and the keeper renews it from then on. Each claim has a number of its
own, `LEASE/NUMBER`, so that it is given up without the others. If the lease is lost, all of its
claims are.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any, TypeAlias

from ..calls.calls import Call
from .lease_timer import RENEWALS, LeaseEnd, LeaseTimer

# The request that gives up a claim with this name, and whether a copy of an earlier request of it
# may still be under way.
GivingUp: TypeAlias = Callable[[str, bool], Call[int | None]]
UNUSED_S = 60.0  # without a claim, until the lease is released instead of renewed


class ClaimTimer(LeaseEnd):
    """A claim under a kept lease: it is over once either of them is."""

    def __init__(
        self, kept: KeptLease, giving_up: GivingUp, number: int, on_end: Callable[[Any], object]
    ) -> None:
        super().__init__(kept.lease, on_end)
        self.timer = kept
        self.giving_up = giving_up
        self.number = number
        self.name = f"{kept.lease}/{number}"
        self.take_back = ""  # the request that takes back what it has asked for, if anything
        self.is_waiting = True
        self._is_asking = False
        self._is_in_doubt = False  # a request of it had no answer, so a copy may still be under way

    @property
    def until_s(self) -> float:
        return self.timer.until_s

    @property
    def give_back(self) -> Call[int | None]:
        """The request that gives up what it holds."""
        return self.giving_up(self.name, self._is_in_doubt)

    def is_held(self, now_s: float) -> bool:
        return not self.is_over and self.timer.is_held(now_s)

    def begin_request(self) -> None:
        """Record a request that may take effect late, as long as it is not answered."""
        self._is_in_doubt = self._is_in_doubt or self._is_asking
        self._is_asking = True
        self.take_back = self.giving_up(self.name, True).command

    def end_request(self) -> None:
        """Record the answer to that request."""
        self._is_asking = False
        self.take_back = self.give_back.command


class KeptLease(LeaseTimer):
    """A lease that a client keeps for its claims. Any thread may use it."""

    def __init__(
        self,
        lease: str,
        seconds: float,
        sent_s: float,
        on_end: Callable[[Any], object] | None = None,
    ) -> None:
        super().__init__(lease, seconds, sent_s, on_end)
        self._numbers = itertools.count(1)
        self._claims: dict[ClaimTimer, None] = {}
        self._unanswered: dict[str, bool] = {}  # and whether nobody awaits the answer
        self._unused_since_s = sent_s

    def is_fresh(self, now_s: float) -> bool:
        """Return whether it is held, and has at least two thirds of its time left."""
        return self.is_held(now_s) and now_s < self.sent_s + self.seconds / RENEWALS

    def new_claim(
        self, giving_up: GivingUp, on_end: Callable[[Any], object], number: int = 0
    ) -> ClaimTimer | None:
        """Return a new claim; None if the lease is over. With the number of a claim, the new one
        has its name, and an end of its own."""
        with self.ending:
            if self.is_over:
                return None
            claim = ClaimTimer(self, giving_up, number or next(self._numbers), on_end)
            self._claims[claim] = None
            return claim

    def drop(self, claim: ClaimTimer, now_s: float) -> None:
        """Forget a claim that is over."""
        with self.ending:
            self._claims.pop(claim, None)
            self._unused_since_s = now_s

    def _end(self, *, was_lost: bool) -> None:
        super()._end(was_lost=was_lost)
        with self.ending:
            claims = list(self._claims)
        for claim in claims:
            claim._end(was_lost=was_lost)

    def retires(self, now_s: float) -> bool:
        with self.ending:
            is_used = bool(self._claims) or now_s < self._unused_since_s + UNUSED_S
            if is_used or self.is_over:
                return False
            self.give_up()
            return True

    # --- requests that have to be answered ------------------------------------------------------

    def expect_answer(self, command: str, *, again: bool = False) -> None:
        """Record a request that has to be answered: what it gives up would otherwise stay held as
        long as the lease is renewed. Once nobody awaits its answer, it is to be sent `again`; not
        before, since the first of two copies would leave nothing to the one that is awaited."""
        self._unanswered[command] = again

    def answered(self, command: str) -> None:
        self._unanswered.pop(command, None)

    def unanswered(self) -> list[str]:
        return [command for command, again in list(self._unanswered.items()) if again]

    def last_requests(self) -> list[str]:
        with self.ending:
            claims = list(self._claims)
        waiting = [claim for claim in claims if claim.stop_waiting()]
        if len(waiting) == len(claims):
            return [self.give_back.command]
        return [*filter(None, (claim.take_back for claim in waiting)), *self._unanswered]


class KeptLeases:
    """The kept leases of one client, by their seconds. A forked child begins without any."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._all: dict[float, KeptLease] = {}

    def get(self, seconds: float) -> KeptLease | None:
        if self._process != os.getpid():
            self._process, self._all = os.getpid(), {}
        return self._all.get(seconds)

    def add(self, kept: KeptLease) -> None:
        self._all[kept.seconds] = kept

    def drop(self, kept: KeptLease) -> None:
        """Forget a lease that is over."""
        if self._all.get(kept.seconds) is kept:
            del self._all[kept.seconds]
