"""The client that takes locks and jobs by `hold`, `unhold`, `abandon`, `enqueue` and `dequeue`, and
the check of what all of them believe.

It keeps a lease as any holder does. A claim that waits sends nothing if its runner tells it of its
seat or its job (`hears`); else it asks again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, MutableMapping
from functools import partial
from random import Random
from typing import Final

from raftline_testing.workloads.holder_machine import SECONDS, HolderMachine, LeaseBeliefs
from raftline_testing.workloads.line_request import LineRequest
from raftline_testing.workloads.workload_machine import Rest, Steps

LOCKS: Final = ("c/door/", "c/gate/")
QUEUE: Final = "c/jobs/"
MODES: Final = ("alone", "alone", "shared", "2")
MAY_BE_LATE: Final = ("hold", "dequeue")
HOLDER_PERMILLE: Final = 1001  # of a holder's clock


class ClaimBeliefs:
    """The comparison of what clients believe with one another."""

    def __init__(self, counts: MutableMapping[str, int], prefix: str = "") -> None:
        """Begin without clients; all of their locks and jobs are below `prefix`."""
        self.prefix = prefix
        self.locks = [prefix + lock for lock in LOCKS]
        self.queue = prefix + QUEUE
        self.claimants: list[ClaimMachine] = []
        self._counts = counts
        self._tokens: dict[str, tuple[int, int]] = {}  # of a holder alone, and of any
        self.gone: set[tuple[str, ...]] = set()  # each a prefix, and a claim abandoned there
        self._put: set[int] = set()
        self._ended: set[int] = set()
        self._may_have_ended: set[int] = set()

    def won(self, client: ClaimMachine, token: int) -> None:
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
        self._counts["seats had"] += 1
        self._counts["seats beside others"] += len(others) > 0

    def abandoned(self, prefix: str, claim: str) -> None:
        """Record a claim whose `abandon` was acknowledged."""
        self.gone.add((prefix, claim))
        self._counts["claims abandoned"] += 1

    def put(self, number: int) -> None:
        """Record a job whose `enqueue` was acknowledged."""
        self._put.add(number)

    def taken(self, client: ClaimMachine, number: int) -> None:
        """Check a client that gets a job.

        Raises:
            AssertionError: it has ended, or another client holds it for certain.
        """
        assert number not in self._ended, f"job {number} is delivered after its end"
        others = [each.name for each in self.claimants if each.has_job(number)]
        assert not others, f"job {number} is delivered, and {others} hold it for certain"
        self._counts["jobs delivered"] += 1

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
        self._counts["jobs ended"] += 1

    def judge(self, keys: Iterable[str]) -> None:
        """Check the jobs at the end.

        Raises:
            AssertionError: an acknowledged job is lost, or one that ended is there.
        """
        there = {int(key[-19:]) for key in keys if key.startswith(f"{self.queue}jobs/")}
        lost = self._put - there - self._may_have_ended
        assert not lost, f"jobs {sorted(lost)} are lost"
        assert not there & self._ended, f"jobs {sorted(there & self._ended)} have ended"


class ClaimMachine(HolderMachine):
    """A client that keeps a lease, and takes locks or works on jobs under it."""

    def __init__(
        self,
        name: str,
        chance: Random,
        now: Callable[[], float],
        check: LeaseBeliefs,
        counts: MutableMapping[str, int],
        claims: ClaimBeliefs,
    ) -> None:
        self._claims = claims
        self.prefix, self.mode = claims.locks[0], MODES[0]
        self._claim = ""  # in line or in a seat; "" for none
        self._claims_made = 0
        self._token = 0  # of its seat; 0 for none
        self._is_doubtful = False  # a copy of the `hold` of this claim may yet take effect
        self._until_ms = 0.0  # of its lease
        self._jobs: dict[int, int] = {}  # the token of each job that it holds
        self._worker = ""  # the claim of these
        self._idle = ""  # the same, in line for a job
        self._heard: set[int] = set()
        super().__init__(name, chance, now, check, counts)
        claims.claimants.append(self)

    # --- what it believes -----------------------------------------------------------------------

    @property
    def _is_certain(self) -> bool:
        return self._now() < self._until_ms

    def holds(self, prefix: str) -> bool:
        """Whether it holds a seat for certain."""
        return self._is_certain and self._token > 0 and self.prefix == prefix

    def has_job(self, number: int) -> bool:
        """Whether it holds a job for certain."""
        return self._is_certain and number in self._jobs

    def hears(self, key: str, token: int) -> Callable[[], None] | None:
        """Return what tells this client of a seat or a job, once, if it waits for it."""
        if token in self._heard:
            return None
        claim, idle = self._claim, self._idle
        if claim and not self._token and key.endswith(f"/{claim}"):
            self._heard.add(token)
            return partial(self._seated, claim, token)
        if idle and key.startswith(f"{self._claims.queue}held/{idle}/"):
            self._heard.add(token)
            return partial(self._given, idle, int(key[-19:]), token)
        return None

    def _seated(self, claim: str, token: int) -> None:
        if claim == self._claim and self._is_certain and not self._token:
            self._claims.won(self, token)
            self._token = token

    def _given(self, claim: str, number: int, token: int) -> None:
        if claim == self._idle and self._is_certain:
            self._counts["jobs handed over"] += 1
            self._idle = ""
            self._take(number, token)

    def _take(self, number: int, token: int) -> None:
        self._claims.taken(self, number)
        self._jobs[number] = token

    # --- its requests ---------------------------------------------------------------------------

    def _thinking(self) -> Steps:
        is_long = bool(self._lease) and self._chance.random() < 0.05  # its lease may expire
        yield Rest(2000 if is_long else 60)

    def _act(self) -> Steps:
        request = self._next()
        if request is not None:
            yield from self._asking(request)

    def _next(self) -> LineRequest | None:
        if not self._lease:
            self._seconds = self._chance.choice(SECONDS)
            return self._write(f"lease {self._seconds}")
        if not self._is_certain or self._chance.random() < 0.02:
            self._forget()
            return None
        if self._chance.random() < 0.2:
            return self._renewal()
        return self._with_lock() if self._chance.random() < 0.5 else self._with_jobs()

    def _new_claim(self) -> str:
        self._claims_made += 1
        return f"{self._lease}/{self._claims_made}"

    def _with_lock(self) -> LineRequest | None:
        chance = self._chance
        if not self._claim:
            self.prefix, self.mode = chance.choice(self._claims.locks), chance.choice(MODES)
            self._claim, self._is_doubtful = self._new_claim(), False
            return self._hold(now=chance.random() < 0.2)
        if not self._token and chance.random() < 0.3:
            return self._hold(now=False)
        if self._token or chance.random() < 0.2:
            self._token, claim, self._claim = 0, self._claim, ""  # released from the request on
            verb = "abandon" if self._is_doubtful else "unhold"
            return self._write(f"{verb} {self.prefix} {claim}")
        return None

    def _hold(self, *, now: bool) -> LineRequest:
        words = f"hold {self.prefix} {self.mode} {'now ' * now}{self._claim} {self.name}"
        return self._write(words)

    def _with_jobs(self) -> LineRequest:
        chance = self._chance
        if chance.random() < 0.4:
            return self._write(f"enqueue {self._claims.queue} {self.name}")
        ends = [job for job in self._jobs if chance.random() < 0.7]
        words = [f" {job}:{self._jobs.pop(job)}{':back' * (chance.random() < 0.2)}" for job in ends]
        for word in words:
            if not word.endswith(":back"):
                self._claims.ends(int(word.partition(":")[0]))
        self._worker = claim = self._worker or self._new_claim()
        self._idle = ""
        now = "now " * (chance.random() < 0.5)
        count = chance.choice((0, 1, 1, 2))
        return self._write(f"dequeue {self._claims.queue} {count} 3 {now}{claim}{''.join(words)}")

    def _forget(self) -> None:
        self._drop_lock()
        self._drop_jobs()
        self._until_ms = 0.0
        super()._forget()

    def _drop_lock(self) -> None:
        self._claim, self._token = "", 0

    def _drop_jobs(self) -> None:
        self._worker, self._idle, self._jobs = "", "", {}

    def _instead(self, request: LineRequest) -> str:
        verb, prefix, *words = words_of(request)
        if verb not in MAY_BE_LATE:
            return ""
        self._is_doubtful = self._is_doubtful or verb == "hold"
        if self._chance.random() < 0.5:
            return ""  # it sends the line again
        claim = next(word for word in words if word.startswith("lease-"))
        if verb == "hold":
            self._drop_lock()
        else:
            self._drop_jobs()
        return f"abandon {prefix} {claim}"

    # --- replies --------------------------------------------------------------------------------

    def _hear(self, request: LineRequest, reply: str) -> None:
        verb = reply.partition(" response")[0]
        if verb not in ("HOLD", "UNHOLD", "ABANDON", "ENQUEUE", "DEQUEUE"):
            if reply.startswith(("LEASE response: ", "RENEW response: ")):
                until_ms = request.called_at + self._seconds * 1_000_000 / HOLDER_PERMILLE
                self._until_ms = max(self._until_ms, until_ms)
            super()._hear(request, reply)
            return
        answer = reply.partition(" response: ")[2]
        if "no such lease" in reply:
            self._forget()
            return
        assert ", abandoned: " not in reply, f"{self.name} has not abandoned it: {reply}"
        if verb == "HOLD":
            self._is_doubtful = self._is_doubtful and not self._is_numbered
            self._hear_hold(reply, answer)
        elif verb == "ABANDON":
            self._claims.abandoned(words_of(request)[1], answer)
        elif verb == "ENQUEUE":
            self._claims.put(int(answer))
            self._counts["jobs enqueued"] += 1
        elif verb == "DEQUEUE":
            self._hear_dequeue(request.command, answer)

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
                    self._claims.ended(number)
        if not self._is_certain:
            return
        self._heard.add(facts["index"])
        for job in facts["jobs"]:
            self._take(job["number"], facts["index"])
        if facts["place"] is not None:
            self._idle = facts["place"].split(".", 1)[1].split("/", 1)[1]


def words_of(request: LineRequest) -> list[str]:
    """Return the words of a request, without its sender."""
    return request.command.rpartition("@")[2].split(" ")
