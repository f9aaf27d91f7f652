"""Two thousand holders of locks that die, pause or let go, in virtual time; leaders die as well.

The contest, its transactions and its tokens are those of `kv.lock()`
(`src/clients/locks/contest.py`). A resource checks each token that it is shown.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from raftline.clients.calls.calls import CALLS, Call
from raftline.clients.calls.transaction import Outcome
from raftline.clients.locks.contest import LockKeys, LockProtocol, token_in
from raftline.clients.watches.watch_events import Event
from raftline_testing.virtual.locks.lease_holders import HOLDER_PERMILLE, LeaseRequest
from raftline_testing.virtual.nodes.simulated_node import Host
from tests.virtual.test_leases import Calm

HOLDERS_EACH, AT_ONCE = 16, 2
SECONDS = 1
FATES = ("dies early", "dies holding", "pauses", "lets go")


class Resource:
    """Accepts no token below one that it has seen."""

    def __init__(self) -> None:
        self.highest = 0
        self.holders: list[Contender] = []  # in the order of their grants
        self.refused = self.accepted = 0

    def use(self, contender: Contender, token: int) -> None:
        """Be used by a holder, or by one that holds it no more and does not know.

        Raises:
            AssertionError: two have one token, or one that holds the lock for certain is refused,
                or another one holds it for certain as well.
        """
        same = [each for each in self.holders if each.token == token]
        assert same == [contender], "two holders have one token"
        certain = [each for each in self.holders[-10:] if each.is_certain]
        assert len(certain) <= 1, f"{certain} hold it for certain at once"
        if token < self.highest:
            assert not contender.is_certain, f"{contender} holds it, and its token is too low"
            self.refused += 1
        else:
            self.accepted += 1
        self.highest = max(self.highest, token)


class Contender:
    """One program that wants the lock, with a session, a lease and a fate of its own."""

    def __init__(
        self, calm: Calm, name: str, place: LockKeys, resource: Resource, ended: Callable[[], None]
    ) -> None:
        self.name = name
        self.token = 0
        self.acquired = False
        self._calm, self._world = calm, calm.world
        self._place, self._resource, self._ended = place, resource, ended
        self._fate = self._world.random.choice(FATES)
        self._is_dead = False
        self._session, self._number = "", 0
        self._lease = ""
        self._contest: LockProtocol | None = None
        self._until_ms = 0.0
        self._waiting: LeaseRequest | None = None
        self._then: Callable[[str, int], None] = lambda reply, sent_ms: None
        self._ask("session", self._begun)
        if self._fate == "dies early":
            self._world.within(4000, self._die)

    def __repr__(self) -> str:
        return f"{self.name} ({self._fate}, token {self.token})"

    @property
    def is_certain(self) -> bool:
        """Whether it holds the lock by its own clock."""
        return self.token > 0 and not self._is_dead and self._world.now_ms < self._until_ms

    # --- requests, each asked until it is answered ----------------------------------------------

    def _ask(self, command: str, then: Callable[[str, int], None]) -> None:
        self._then = then
        sender = self.name
        if self._session:
            self._number += 1
            sender = f"{self._session}#{self._number}"
        self._send(LeaseRequest(self, f"{sender}@{command}", self._world.now_ms, True, "clock"))

    def _send(self, request: LeaseRequest) -> None:
        if not self._is_dead:
            self._waiting = request
            self._world.within(2, self._leader().submit, request)
            self._world.after(1000, self.unknown, request)

    def _leader(self) -> Host:
        """Return a node that believes to lead, else any."""
        return self._world.random.choice(
            [host for host in self._calm.hosts if host.node and host.node.view.is_leader]
            or self._calm.hosts
        )

    def answered(self, request: LeaseRequest, reply: str) -> None:
        if self._waiting is request and not self._is_dead:
            self._waiting = None
            self._then(reply, request.sent_ms)

    def refused(self, request: LeaseRequest, leader: str | None) -> None:
        self.unknown(request)

    def unknown(self, request: LeaseRequest) -> None:
        if self._waiting is request and not self._is_dead:
            again = LeaseRequest(self, request.command, request.sent_ms, True, "clock")
            self._waiting = again
            self._world.within(50, self._send, again)

    # --- its life -------------------------------------------------------------------------------

    def _begun(self, reply: str, sent_ms: int) -> None:
        self._session = reply.removeprefix("SESSION response: ")
        self._ask(CALLS.grant(SECONDS).command, self._granted)

    def _granted(self, reply: str, sent_ms: int) -> None:
        self._lease = CALLS.grant(SECONDS).read(reply)
        self._contest = LockProtocol(self._place, self._lease, self.name)
        self._holds_from(sent_ms)
        self._try(self._contest.try_once())
        self._world.after(400, self._renew)

    def _holds_from(self, sent_ms: int) -> None:
        self._until_ms = max(self._until_ms, sent_ms + SECONDS * 1_000_000 / HOLDER_PERMILLE)

    def _try(self, call: Call[Outcome[str]]) -> None:
        def take_answer(reply: str, sent_ms: int) -> None:
            if reply.startswith("Sorry, "):
                assert "no such lease" in reply, reply
                self._die()
                return
            token = token_in(call.read(reply))
            if token is None:
                self._world.within(300, self._look)
            else:
                self._got(token)

        self._ask(call.command, take_answer)

    def _look(self) -> None:
        """Look at both keys as any node has them, which may be behind: a watch tells the same."""
        if self._is_dead or self.token or self._waiting is not None:
            return
        assert self._contest is not None
        pairs = self._world.random.choice(self._calm.hosts).manager.store
        for key in (self._place.held, self._place.next):
            self._contest.apply_events([Event(0, "set", key, pairs.get(key))], True)
        call = self._contest.next_call()
        if call is not None:
            self._try(call)
        else:
            self._world.within(300, self._look)

    def _renew(self) -> None:
        if self._is_dead or (self.token and self._fate == "pauses"):
            return
        request = LeaseRequest(self, f"renew {self._lease}", self._world.now_ms, False, "clock")
        self._world.within(2, self._leader().submit, Renewal(self, request))
        self._world.after(400, self._renew)

    def renewed(self, reply: str, sent_ms: int) -> None:
        if ", no such lease" in reply:
            self._die()
        elif not self._is_dead:
            self._holds_from(sent_ms)

    def _got(self, token: int) -> None:
        assert token > max((each.token for each in self._resource.holders), default=0)
        self.token = token
        self.acquired = True
        self._resource.holders.append(self)
        self._use()
        if self._fate == "lets go":
            self._world.within(500, self._let_go)
        elif self._fate == "pauses":
            self._world.after(self._world.random.randint(500, 4000), self._wake)
        else:
            self._world.within(500, self._die)

    def _use(self) -> None:
        """Use the resource now and then, as whoever believes to hold the lock."""
        if not self._is_dead and (self.is_certain or self._fate == "pauses"):
            self._resource.use(self, self.token)
            self._world.within(300, self._use)

    def _wake(self) -> None:
        self._resource.use(self, self.token)
        self._die()

    def _let_go(self) -> None:
        if not self._is_dead:
            self._until_ms = 0.0
            self._ask(f"release {self._lease}", lambda reply, sent_ms: self._die())

    def _die(self) -> None:
        if not self._is_dead:
            self._is_dead = True
            self._ended()


class Renewal(LeaseRequest):
    """A renewal, which is asked beside other requests, and once."""

    def __init__(self, contender: Contender, request: LeaseRequest) -> None:
        super().__init__(self, request.command, request.sent_ms, False, "clock")
        self.name = contender.name
        self._contender = contender

    @property
    def line(self) -> str:
        return f"{self.name}@{self.command}"

    def answered(self, request: LeaseRequest, reply: str) -> None:
        self._contender.renewed(reply, self.sent_ms)

    def refused(self, request: LeaseRequest, leader: str | None) -> None:
        pass

    def unknown(self, request: LeaseRequest) -> None:
        pass


class Queue:
    """The programs that want one lock, a few at a time."""

    def __init__(self, calm: Calm, number: int) -> None:
        self.resource = Resource()
        self.contenders: list[Contender] = []
        self.ended = 0
        self._calm = calm
        self._number = number
        self._place = LockKeys("lock", f"l{number}")
        for _ in range(AT_ONCE):
            self._begin()

    def _begin(self) -> None:
        if len(self.contenders) < HOLDERS_EACH:
            name = f"c{self._number}-{len(self.contenders)}"
            made = Contender(self._calm, name, self._place, self.resource, self._one_ended)
            self.contenders.append(made)

    def _one_ended(self) -> None:
        self.ended += 1
        self._calm.world.within(100, self._begin)


@pytest.mark.parametrize(
    "locks",
    [
        pytest.param(30, marks=pytest.mark.slow),
        pytest.param(125, marks=pytest.mark.nightly),
    ],
)
def test_of_many_holders_that_die_no_two_hold_a_lock_by_their_tokens(locks: int) -> None:
    calm = Calm(seed=11, steady_clocks=False)
    queues = [Queue(calm, number) for number in range(locks)]
    kills = 0

    def kill_the_leader() -> None:
        nonlocal kills
        kills += 1
        dead = calm.leader
        dead.stop(power_cut=calm.world.chance(0.5))
        calm.world.after(400, dead.start)
        calm.world.after(500, calm.tell_levels)

    while not all(queue.ended == HOLDERS_EACH for queue in queues):
        due: list[bool] = []
        calm.world.after(3000, due.append, True)
        calm.until(lambda due=due: due)
        kill_the_leader()
        assert kills < 100, "it never comes to an end"
    contenders = [each for queue in queues for each in queue.contenders]
    assert len(contenders) == locks * HOLDERS_EACH
    held = [each for each in contenders if each.acquired]
    assert len(held) > 8 * locks
    assert {each._fate for each in held} == set(FATES)
    assert kills >= 5
    # Paused ones came back too late.
    assert sum(queue.resource.refused for queue in queues) > locks / 3
    assert sum(queue.resource.accepted for queue in queues) > 16 * locks
