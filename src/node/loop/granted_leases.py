"""Leases at the leader: it counts their time, renews them, and proposes their expiry.

docs/use/leases.md has the argument that no lease ends early. It relies on this module as follows:

* A new leader gives every lease its whole time again. A renewal that an earlier leader confirmed
  was sent before a quorum elected this leader.
* A renewal is confirmed by a round, like a read (thesis §6.4), once an entry of this term is
  applied. Then no entry of an earlier term waits to be applied, so neither does an expiry of an
  earlier term. Leases in a pending expiry of this term are in `_expiring`, and can't be renewed.
* A single step of the core finds that a lease is due and proposes its expiry. A renewal is a single
  step, too. So one of the two comes before the other.
* An expiry names its term, and has no effect in an entry of another term.

The caller holds the lock under which the core is stepped. Times come from `node/clock`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from heapq import nsmallest
from itertools import chain, filterfalse, islice

from ...raft.node import RawNode
from ...state.commands.lease_commands import ms_of
from ...state.lease_table import format_expiry
from ...state.store import Store
from ...wire.done_reply import NO_LEASE, NO_SUCH_KEY, NO_SUCH_LEASE, with_word
from ...wire.limits import LEASE_KEYS_CHARACTERS, LEASES_LISTED
from ...wire.operands.lease_operands import format_seconds
from ...wire.operands.operands import not_understood
from ...wire.protocol import real
from ...wire.refusal import error
from .lease_clock import NEVER_MS, LeaseClock

EXPIRED_MAX = 500  # leases in one expiry; the next is proposed once this one is applied
STARTED_MAX = 2000  # existing leases that a new leader starts counting in one step
KEY_CHARACTERS = 50  # counted for each key in addition to its own


class GrantedLeases:
    """Counts time while this server leads, and answers the commands that depend on lease times."""

    def __init__(self, node: RawNode, store: Store) -> None:
        self._node = node
        self._store = store
        self._clock = LeaseClock(self._ms)
        self.term = 0  # the term that this server leads; 0: none
        self.is_in_use = False  # there was a lease in this term
        self._inherited: list[str] = []  # leases of earlier leaderships, not counted yet
        self._expiring: set[str] = set()  # leases whose expiry is in the log and not applied yet
        self._expiry_index = 0  # the index of that entry

    def _ms(self, lease: str) -> int:
        return ms_of(self._store, lease)

    def stepped(self, term: int, now: Callable[[], int]) -> None:
        """Record the changes of a step: the applied entries, and the term that this server leads, 0
        for none. `now` is called after the step, so its time is not before the request of any
        applied entry."""
        if term != self.term:
            self._lead(term)
        if not term:
            return
        leases = self._store.leases
        if leases.started:
            self.is_in_use = True
            started, leases.started, now_ms = leases.started, [], now()
            for lease in started:
                self._clock.start(lease, now_ms)
        if self._expiring and self._node.view.applied >= self._expiry_index:
            self._expiring.clear()

    def _lead(self, term: int) -> None:
        """Begin a leadership, or end one (term 0)."""
        store = self._store
        self.term = term
        self._clock.clear()
        self._expiring.clear()
        self._inherited = [*store.leases.granted, *store.leased] if term else []
        self.is_in_use = len(self._inherited) > 0
        store.leases.started = [] if term else None

    # --- time -----------------------------------------------------------------------------------

    @property
    def wake_at_ms(self) -> int:
        """The time at which the next work is due."""
        if self._inherited:
            return 0
        if not len(self._clock) or not self._may_propose:
            return NEVER_MS
        return self._clock.next_ms

    @property
    def _may_propose(self) -> bool:
        """Whether an expiry may be proposed: this server leads and accepts proposals, it has
        applied an entry of its term, so its state is current, and no other expiry is in flight."""
        view = self._node.view
        return (
            not self._expiring
            and self._node.takes_proposals
            and view.log.term_at(view.applied) == self.term
        )

    def expiry(self, now_ms: int) -> str:
        """Do what is due now. Return the expiry to propose in this step, "" for none."""
        if self._inherited:  # only some in each step, so that a million of them don't block it
            for lease in self._inherited[-STARTED_MAX:]:
                self._clock.start(lease, now_ms)
            del self._inherited[-STARTED_MAX:]
        if not self._may_propose:
            return ""
        due = self._clock.take_due(now_ms, EXPIRED_MAX)
        if not due:
            return ""
        self._expiring.update(due)
        self._expiry_index = self._node.view.log.last_index + 1
        return format_expiry(self.term, due)

    # --- commands that a round has confirmed ----------------------------------------------------

    def answers(self, commands: Sequence[str], now_ms: int) -> list[str]:
        """Return the replies to commands that were confirmed together. If a packet asks for the
        list many times, it is made only once until a lease is renewed."""
        replies: list[str] = []
        listing = ""
        for command in commands:
            if command != "leases":
                replies.append(self.answer(command, now_ms))
                listing = "" if command.startswith("renew ") else listing
            else:
                listing = listing or self.answer(command, now_ms)
                replies.append(listing)
        return replies

    def answer(self, command: str, now_ms: int) -> str:
        """Return the reply to `renew`, `ttl` or `leases`. A round has just confirmed that this
        server led after the request had arrived; `now_ms` was read after that."""
        verb, _, operand = command.partition(" ")
        if verb == "renew":
            return self._renew(operand, now_ms)
        if verb == "ttl":
            return self._ttl(operand, now_ms)
        if verb == "leases":
            return f"LEASES response: {json.dumps(self._listed(now_ms))}"
        return error(not_understood(command))

    def _renew(self, lease: str, now_ms: int) -> str:
        ms = self._store.leases.granted.get(lease, 0)
        if not ms or lease in self._expiring:
            return with_word("RENEW", NO_SUCH_LEASE, lease)
        self._clock.start(lease, now_ms)
        return f"RENEW response: {lease} for {format_seconds(ms)} s"

    def _ttl(self, key: str, now_ms: int) -> str:
        store = self._store
        if key not in store:
            return with_word("TTL", NO_SUCH_KEY, key)
        lease = store.lease_of(key)
        if not lease:
            return with_word("TTL", NO_LEASE, key)
        return f"TTL response: {self._left_s(lease, now_ms)}"

    def _left_s(self, lease: str, now_ms: int) -> float:
        left_ms = 0 if lease in self._expiring else self._clock.left_ms(lease, now_ms)
        return left_ms / 1000

    def _listed(self, now_ms: int) -> dict[str, object]:
        """Return the content of the reply to `leases`: the first leases, and their number."""
        store = self._store
        granted, leased = store.leases.granted, store.leased
        entries: dict[str, object] = {}
        room = LEASE_KEYS_CHARACTERS
        own = filterfalse(granted.__contains__, leased)
        for lease in islice(chain(granted, own), LEASES_LISTED):
            keys = leased.get(lease, set())
            first: list[str] = []
            for key in nsmallest(min(LEASES_LISTED, room // KEY_CHARACTERS), keys):
                room -= len(key) + KEY_CHARACTERS
                first.append(real(key))
            entries[lease] = {
                "seconds": json.loads(format_seconds(self._ms(lease))),
                "left": self._left_s(lease, now_ms),
                "keys": first,
                "keys_in_all": len(keys),
            }
        in_both = len(granted.keys() & leased.keys())
        return {"leases": entries, "leases_in_all": len(granted) + len(leased) - in_both}
