"""Simulated clients that take locks and jobs by `hold`, `unhold`, `abandon`, `enqueue` and
`dequeue`, in schedules of faults, and the checks of what they believe and of the keys.

A claim that waits sends nothing: it hears of its seat, and an idle worker of its job, as from a
watch. Some lines of `hold` and `dequeue` arrive after their client has given them up, or sent them
again. Leases are kept as by any holder (lease_holders.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

from raftline.logmanager import LogManager
from raftline.state.store import Store

from ...virtual.leases.lease_holders import (
    HOLDER_PERMILLE,
    SECONDS,
    Holder,
    LeaseCheck,
    LeaseRequest,
)
from ...virtual.nodes.request_interface import Server
from ...virtual.world.plan import Plan
from ...virtual.world.world import World

LOCKS: Final = ("c/door/", "c/gate/")
QUEUE: Final = "c/jobs/"
MODES: Final = ("alone", "alone", "shared", "2")
HEARD_MS: Final = 200  # until a client hears of an event, at most
MAY_BE_LATE: Final = ("hold", "dequeue")
LATE_MS: Final = 3000  # that a line may stay in the network
_HAS: Final = re.compile(r"(c/\w+/)(?:held|line|idle)/.*?(lease-[^/]+/[1-9][0-9]{0,17})(?:/|\Z)")


class ClaimCheck(LeaseCheck):
    """The comparison of what clients believe with one another, and with the applied entries."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.claimants: list[Claimant] = []
        self._last = 0  # the entry of the latest applied state
        self._tokens: dict[str, tuple[int, int]] = {}  # of a holder alone, and of any
        self._gone: set[tuple[str, ...]] = set()  # each a prefix, and a claim abandoned there
        self._put: set[int] = set()
        self._ended: set[int] = set()
        self._may_have_ended: set[int] = set()

    def won(self, client: Claimant, token: int) -> None:
        """Check a client that gets a seat.

        Raises:
            AssertionError: others hold one for certain that excludes it, or its token is too low.
        """
        mode, prefix = client.mode, client.prefix
        others = [each.mode for each in self.claimants if each.holds(prefix) and each is not client]
        limit = {"alone": 0, "shared": len(others)}.get(mode, 1)
        is_fit = all(each == mode for each in others) and len(others) <= limit
        assert is_fit, f"{client.name} has {prefix} {mode}, and others hold it for certain"
        alone, highest = self._tokens.get(prefix, (0, 0))
        if mode == "alone":
            assert token > highest, f"{prefix} has token {token} after {highest}"
        assert token > alone, f"{prefix} has token {token} after {alone}"
        self._tokens[prefix] = (token if mode == "alone" else alone, max(highest, token))
        self._world.counts["seats had"] += 1
        self._world.counts["seats beside others"] += len(others) > 0

    def abandoned(self, prefix: str, claim: str) -> None:
        """Record a claim whose `abandon` was acknowledged."""
        self._gone.add((prefix, claim))
        self._world.counts["claims abandoned"] += 1

    def put(self, number: int) -> None:
        """Record a job whose `enqueue` was acknowledged."""
        self._put.add(number)

    def taken(self, client: Claimant, number: int) -> None:
        """Check a client that gets a job.

        Raises:
            AssertionError: it has ended, or another client holds it for certain.
        """
        assert number not in self._ended, f"job {number} is delivered after its end"
        others = [each.name for each in self.claimants if each.has_job(number)]
        assert not others, f"job {number} is delivered, and {others} hold it for certain"
        self._world.counts["jobs delivered"] += 1

    def ends(self, number: int) -> None:
        """Record that a client asks for the end of a job."""
        self._may_have_ended.add(number)

    def ended(self, number: int) -> None:
        """Check a job whose end was acknowledged.

        Raises:
            AssertionError: it has ended before.
        """
        assert number not in self._ended, f"job {number} ends twice"
        self._ended.add(number)
        self._world.counts["jobs ended"] += 1

    def judge(self, store: Store) -> None:
        """Check the jobs at the end.

        Raises:
            AssertionError: an acknowledged job is lost, or one that ended is there.
        """
        there = {int(key[-19:]) for key in store if key.startswith(f"{QUEUE}jobs/")}
        lost = self._put - there - self._may_have_ended
        assert not lost, f"jobs {sorted(lost)} are lost"
        assert not there & self._ended, f"jobs {sorted(there & self._ended)} have ended"

    # --- the keys -------------------------------------------------------------------------------

    def applied(self, manager: LogManager) -> None:
        super().applied(manager)
        if manager.applied.index <= self._last:
            return
        self._last, store = manager.applied.index, manager.store
        keys = sorted(key for key in store if key.startswith("c/"))
        for prefix in LOCKS:
            self._check_lock(prefix, [key for key in keys if key.startswith(prefix)])
        self._check_jobs([key.removeprefix(QUEUE) for key in keys if key.startswith(QUEUE)])
        self._check_gone(keys)
        for key in keys:
            facts = store.facts(key)
            if facts is not None and "/held/" in key:
                for client in self.claimants:
                    client.may_hear(key, facts.changed)

    def _check_gone(self, keys: Sequence[str]) -> None:
        had = {match.groups() for match in map(_HAS.match, keys) if match is not None} & self._gone
        assert not had, f"an abandoned claim has a seat, a place or a job: {sorted(had)}"

    def _check_lock(self, prefix: str, keys: Sequence[str]) -> None:
        seats = [key.removeprefix(prefix).split("/")[1] for key in keys if "/held/" in key]
        kinds = {seat if seat in ("alone", "shared") else "2" for seat in seats}
        assert len(kinds) <= 1, f"{prefix} is held in several modes: {keys}"
        assert "shared" in kinds or len(set(seats)) == len(seats), f"one seat twice: {keys}"
        assert len(seats) <= 2 or "shared" in kinds, f"too many seats: {keys}"
        modes = [key.removeprefix(prefix).split("/")[2] for key in keys if "/line/" in key]
        is_free = bool(modes) and (
            not seats or (modes[0] in kinds and modes[0] != "alone" and len(seats) < 2)
        )
        assert not is_free, f"a claim waits for a free seat: {keys}"
        self._world.counts["claims in line"] += len(modes)

    def _check_jobs(self, keys: Sequence[str]) -> None:
        found = {word: [int(key[-19:]) for key in keys if key.startswith(f"{word}/")]
                 for word in ("jobs", "wait", "held", "dead")}  # fmt: skip
        placed = sorted(found["wait"] + found["held"] + found["dead"])
        assert placed == sorted(found["jobs"]), f"a job is in no place, or in two: {keys}"
        has_idle = any(key.startswith("idle/") for key in keys)
        assert not (has_idle and found["wait"]), f"a worker and a job wait: {keys}"
        self._world.counts["workers in line"] += has_idle


class Claimant(Holder):
    """A client that keeps a lease, and takes locks or works on jobs under it."""

    _check: ClaimCheck

    def __init__(
        self, world: World, plan: Plan, name: str, servers: Sequence[Server], check: ClaimCheck
    ) -> None:
        self.prefix, self.mode = LOCKS[0], MODES[0]
        self._claim = ""  # in line or in a seat; "" for none
        self._claims = 0  # that it has made
        self._token = 0  # of its seat; 0 for none
        self._is_doubtful = False  # a copy of the `hold` of this claim may yet take effect
        self._until_ms = 0.0  # of its lease
        self._jobs: dict[int, int] = {}  # the token of each job that it holds
        self._worker = ""  # the claim of these
        self._idle = ""  # the same, in line for a job
        self._heard: set[int] = set()
        super().__init__(world, plan, name, servers, check)
        self._is_own = False
        check.claimants.append(self)

    # --- what it believes -----------------------------------------------------------------------

    @property
    def _is_certain(self) -> bool:
        return self._world.now_ms < self._until_ms

    def holds(self, prefix: str) -> bool:
        """Whether it holds a seat for certain."""
        return self._is_certain and self._token > 0 and self.prefix == prefix

    def has_job(self, number: int) -> bool:
        """Whether it holds a job for certain."""
        return self._is_certain and number in self._jobs

    def may_hear(self, key: str, token: int) -> None:
        """Hear of a seat or a job soon, if this client waits for it."""
        if token in self._heard:
            return
        claim, idle = self._claim, self._idle
        if claim and not self._token and key.endswith(f"/{claim}"):
            self._heard.add(token)
            self._world.within(HEARD_MS, self._seated, claim, token)
        elif idle and key.startswith(f"{QUEUE}held/{idle}/"):
            self._heard.add(token)
            self._world.within(HEARD_MS, self._given, idle, int(key[-19:]), token)

    def _seated(self, claim: str, token: int) -> None:
        if claim == self._claim and self._is_certain and not self._token:
            self._check.won(self, token)
            self._token = token

    def _given(self, claim: str, number: int, token: int) -> None:
        if claim == self._idle and self._is_certain:
            self._world.counts["jobs handed over"] += 1
            self._idle = ""
            self._take(number, token)

    def _take(self, number: int, token: int) -> None:
        self._check.taken(self, number)
        self._jobs[number] = token

    # --- its requests ---------------------------------------------------------------------------

    def _think(self) -> None:
        is_long = bool(self._lease) and self._world.chance(0.05)  # its lease may expire
        self._world.within(2000 if is_long else 60, self._next)

    def _next(self) -> None:
        if self.stopped or self.waiting is not None:
            return
        if not self._lease:
            self._seconds = self._world.random.choice(SECONDS)
            self._write(f"lease {self._seconds}")
        elif not self._is_certain or self._world.chance(0.02):
            self._forget()
        elif self._world.chance(0.2):
            self._ask(f"renew {self._lease}", in_log=False)
        elif self._world.chance(0.5):
            self._go_on_with_lock()
        else:
            self._go_on_with_jobs()

    def _new_claim(self) -> str:
        self._claims += 1
        return f"{self._lease}/{self._claims}"

    def _go_on_with_lock(self) -> None:
        world = self._world
        if not self._claim:
            self.prefix, self.mode = world.pick(LOCKS), world.pick(MODES)
            self._claim, self._is_doubtful = self._new_claim(), False
            self._hold(now=world.chance(0.2))
        elif not self._token and world.chance(0.3):
            self._hold(now=False)
        elif self._token or world.chance(0.2):
            self._token, claim, self._claim = 0, self._claim, ""  # released from the request on
            verb = "abandon" if self._is_doubtful else "unhold"
            self._write(f"{verb} {self.prefix} {claim}")
        else:
            self._think()

    def _hold(self, *, now: bool) -> None:
        self._write(f"hold {self.prefix} {self.mode} {'now ' * now}{self._claim} {self.name}")

    def _go_on_with_jobs(self) -> None:
        world = self._world
        if world.chance(0.4):
            self._write(f"enqueue {QUEUE} {self.name}")
            return
        ends = [job for job in self._jobs if world.chance(0.7)]
        words = [f" {job}:{self._jobs.pop(job)}{':back' * world.chance(0.2)}" for job in ends]
        for word in words:
            if not word.endswith(":back"):
                self._check.ends(int(word.partition(":")[0]))
        self._worker = claim = self._worker or self._new_claim()
        self._idle = ""
        now = "now " * world.chance(0.5)
        self._write(f"dequeue {QUEUE} {world.pick((0, 1, 1, 2))} 3 {now}{claim}{''.join(words)}")

    def _forget(self) -> None:
        self._drop_lock()
        self._drop_jobs()
        self._until_ms = 0.0
        super()._forget()

    def _drop_lock(self) -> None:
        self._claim, self._token = "", 0

    def _drop_jobs(self) -> None:
        self._worker, self._idle, self._jobs = "", "", {}

    # --- lines that arrive late -----------------------------------------------------------------

    def _way_ms(self, request: LeaseRequest) -> int:
        is_late = _words(request)[0] in MAY_BE_LATE and self._world.chance(0.1)
        return LATE_MS if is_late else super()._way_ms(request)

    def unknown(self, request: LeaseRequest) -> None:
        verb, prefix, *words = _words(request)
        if request.settled or verb not in MAY_BE_LATE:
            super().unknown(request)
            return
        self._is_doubtful = self._is_doubtful or verb == "hold"
        if self._world.chance(0.5):
            super().unknown(request)  # it sends the line again
            return
        self._settle(request)
        self._leader = None
        claim = next(word for word in words if word.startswith("lease-"))
        if verb == "hold":
            self._drop_lock()
        else:
            self._drop_jobs()
        self._world.within(20, self._abandon, prefix, claim)

    def _abandon(self, prefix: str, claim: str) -> None:
        if not self.stopped and self.waiting is None:
            self._write(f"abandon {prefix} {claim}")

    # --- replies --------------------------------------------------------------------------------

    def answered(self, request: LeaseRequest, reply: str) -> None:
        verb = reply.partition(" response")[0]
        if request.settled and ", abandoned: " in reply:
            self._world.counts["late lines refused"] += 1
        if verb not in ("HOLD", "UNHOLD", "ABANDON", "ENQUEUE", "DEQUEUE") or request.settled:
            sent_ms = request.sent_ms
            is_kept = reply.startswith(("LEASE response: ", "RENEW response: "))
            if is_kept and not request.settled:
                until_ms = sent_ms + self._seconds * 1_000_000 / HOLDER_PERMILLE
                self._until_ms = max(self._until_ms, until_ms)
            super().answered(request, reply)
            return
        self._settle(request)
        self._world.tell("answer", f"{self.name} <- {reply}")
        answer = reply.partition(" response: ")[2]
        if "no such lease" in reply:
            self._forget()
            return
        assert ", abandoned: " not in reply, f"{self.name} has not abandoned it: {reply}"
        if verb == "HOLD":
            self._is_doubtful = self._is_doubtful and not self._is_numbered
            self._hear_hold(reply, answer)
        elif verb == "ABANDON":
            self._check.abandoned(_words(request)[1], answer)
        elif verb == "ENQUEUE":
            self._check.put(int(answer))
            self._world.counts["jobs enqueued"] += 1
        elif verb == "DEQUEUE":
            self._hear_dequeue(request.command, answer)
        self._think()

    def _hear_hold(self, reply: str, answer: str) -> None:
        if answer and self._is_certain and not self._token:
            self._seated(self._claim, int(answer.split(" ")[1]))
        elif "not free" in reply and not self._is_doubtful:
            self._claim = ""

    def _hear_dequeue(self, command: str, answer: str) -> None:
        facts = json.loads(answer)
        for number in facts["ended"]:
            if f" {number}:" in command and f"{number}:back" not in command:
                asked = [word for word in command.split(" ") if word.startswith(f"{number}:")]
                if not asked[0].endswith(":back"):
                    self._check.ended(number)
        if not self._is_certain:
            return
        self._heard.add(facts["index"])
        for job in facts["jobs"]:
            self._take(job["number"], facts["index"])
        if facts["place"] is not None:
            self._idle = facts["place"].split(".", 1)[1].split("/", 1)[1]


def _words(request: LeaseRequest) -> list[str]:
    """Return the words of a request, without its sender."""
    return request.command.rpartition("@")[2].split(" ")
