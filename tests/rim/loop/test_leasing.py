"""The leader's part in leases, with a core and a store and times that a test names."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from raftline.node.loop.granted_leases import EXPIRED_MAX, STARTED_MAX, GrantedLeases
from raftline.node.loop.lease_clock import NEVER_MS, counted_ms
from raftline.raft.inputs import Propose, Receive, Tick, Transfer
from raftline.raft.messages import RequestVoteReply
from raftline.state.commands.key_commands import execute
from raftline.wire.limits import LEASE_KEYS_CHARACTERS, LEASES_LISTED
from raftline_testing.doubles.cores import acknowledge, leader_of, node_of, sync
from raftline_testing.orders import StepDown, obey
from tests.rim.loop.leasing_leader import Leader

NO_SUCH = "RENEW response, no such lease: "


@pytest.fixture
def leader() -> Leader:
    return Leader()


def test_lease_expires_a_tenth_after_its_time(leader: Leader) -> None:
    lease = leader.lease(10)
    assert leader.leasing.wake_at_ms == 1000 + counted_ms(10000)
    leader.now_ms += counted_ms(10000) - 1
    assert leader.expire() == ""
    leader.now_ms += 1
    assert leader.expire() == f"expired {leader.node.view.term} {lease}"
    leader.commit()
    assert leader.store.leases.granted == {}
    assert leader.leasing.wake_at_ms == NEVER_MS


def test_lease_of_milliseconds_expires_and_is_renewed(leader: Leader) -> None:
    lease = f"lease-{leader.apply('lease 1.5')}"
    assert leader.ask(f"renew {lease}") == f"RENEW response: {lease} for 1.5 s"
    listed = json.loads(leader.ask("leases").removeprefix("LEASES response: "))
    assert listed["leases"][lease]["seconds"] == 1.5
    leader.now_ms += 1650
    assert leader.expire() == ""
    leader.now_ms += 1
    assert leader.expire() == f"expired {leader.node.view.term} {lease}"


def test_renewal_restores_the_full_ttl(leader: Leader) -> None:
    lease = leader.lease(10)
    leader.now_ms += 10_999
    assert leader.ask(f"renew {lease}") == f"RENEW response: {lease} for 10 s"
    leader.now_ms += counted_ms(10000) - 1
    assert leader.expire() == ""
    leader.now_ms += 1
    assert leader.expire()


def test_a_renewal_is_refused_while_an_expiry_is_in_the_log(leader: Leader) -> None:
    lease, other = leader.lease(10), leader.lease(20)
    leader.now_ms += counted_ms(10000)
    assert leader.expire()
    assert leader.ask(f"renew {lease}") == NO_SUCH + lease
    assert leader.ask(f"renew {other}").startswith("RENEW response: ")
    leader.commit()
    assert leader.ask(f"renew {lease}") == NO_SUCH + lease


@pytest.mark.parametrize("name", ["lease-9999", "own-3-10"])
def test_lease_that_is_not_shared_is_not_renewed(leader: Leader, name: str) -> None:
    leader.apply("setex a 10 1")
    assert leader.ask(f"renew {name}") == NO_SUCH + name


def test_a_released_lease_neither_expires_nor_is_renewed(leader: Leader) -> None:
    lease = leader.lease(10)
    leader.apply(f"release {lease}")
    leader.now_ms += 60_000
    assert leader.expire() == ""
    assert leader.ask(f"renew {lease}") == NO_SUCH + lease


def test_ttl_of_a_key_restarts_with_each_entry_that_sets_it(leader: Leader) -> None:
    leader.apply("setex a 10 1")
    leader.now_ms += 10_000
    index = leader.apply("expire a 10")
    leader.now_ms += 10_000
    leader.apply("incr a")
    assert leader.expire() == ""
    leader.now_ms += 1001
    assert leader.expire().endswith(f" own-{index}-10")
    leader.commit()
    assert not leader.store


def test_a_new_leader_gives_every_lease_its_whole_time_again() -> None:
    leader = Leader()
    lease = leader.lease(10)
    leader.apply("setex a 20 1")
    leader.now_ms += 10_000
    obey(leader.node, StepDown(), leader.node.view.now_ms)
    leader.look()
    assert leader.leasing.wake_at_ms == NEVER_MS
    assert leader.store.leases.started is None
    again = elected(leader)
    again.now_ms += counted_ms(10000) - 1
    assert again.expire() == ""
    again.now_ms += 1
    assert again.expire() == f"expired {again.node.view.term} {lease}"


def elected(leader: Leader) -> Leader:
    """Make s1 win the next election, apply its no-op, and begin to count."""
    node = leader.node
    term = node.view.term + 1
    node.step(Tick(), node.view.election_at_ms)
    for pre_vote in (True, False):
        for peer in node.view.peers:
            if not node.view.is_leader:
                vote = RequestVoteReply(peer, "s1", term, True, pre_vote=pre_vote)
                node.step(Receive(vote), node.view.now_ms)
    assert node.view.is_leader
    leader.look()
    leader.commit()
    assert leader.expire() == ""
    return leader


def test_expiry_of_an_earlier_term_ends_with_its_entry() -> None:
    leader = Leader()
    lease = leader.lease(10)
    leader.now_ms += counted_ms(10000)
    assert leader.expire()
    obey(leader.node, StepDown(), leader.node.view.now_ms)
    leader.look()
    elected(leader)  # which commits that expiry: it names the term of its entry
    assert leader.ask(f"renew {lease}") == NO_SUCH + lease
    assert leader.store.leases.granted == {}


def test_a_follower_counts_nothing() -> None:
    follower = Leader(node_of("s1"))
    follower.store.number = 57
    execute(follower.store, "lease 10")
    follower.look()
    follower.now_ms += 60_000
    assert follower.leasing.wake_at_ms == NEVER_MS
    assert follower.leasing.expiry(follower.now_ms) == ""


def test_a_leader_proposes_nothing_before_its_no_op_is_applied() -> None:
    leader = Leader(leader_of("s1"))
    leader.store.leases.grant(57, 1000)
    leader.store.leases.started = ["lease-57"]
    leader.look()
    leader.now_ms += 60_000
    assert leader.expire() == ""
    leader.commit()
    assert leader.expire()


def test_a_leader_that_hands_over_proposes_nothing(leader: Leader) -> None:
    leader.lease(1)
    leader.now_ms += 60_000
    leader.node.step(Transfer("s2"), leader.node.view.now_ms)
    assert leader.expire() == ""
    assert leader.leasing.wake_at_ms == NEVER_MS


def test_many_leases_that_are_due_end_a_bounded_number_at_a_time(leader: Leader) -> None:
    count = 2 * EXPIRED_MAX + 1
    leader.node.step(Propose(["lease 1"] * count), leader.node.view.now_ms)
    leader.commit()
    leader.now_ms += 60_000
    sizes = []
    while expiry := leader.expire():
        sizes.append(len(expiry.split()) - 2)
        assert leader.expire() == ""  # one at a time
        assert leader.leasing.wake_at_ms == NEVER_MS
        leader.commit()
    assert sizes == [EXPIRED_MAX, EXPIRED_MAX, 1]
    assert leader.store.leases.granted == {}


def test_a_new_leader_begins_with_many_leases_some_at_a_time() -> None:
    leader = Leader()
    for number in range(STARTED_MAX + 1):
        leader.store.leases.grant(100 + number, 10_000)
    leader.leasing = GrantedLeases(leader.node, leader.store)
    leader.look()
    assert leader.leasing.wake_at_ms == 0
    leader.expire()
    leader.now_ms += 500
    leader.expire()
    assert leader.leasing.wake_at_ms == 1000 + counted_ms(10000)
    assert "lease-100" not in leader.store.leases.started  # type: ignore[operator]
    leader.now_ms += counted_ms(10000)
    assert leader.expire()


def test_a_lease_tells_its_time_and_its_keys(leader: Leader) -> None:
    lease = leader.lease(10)
    leader.apply(f"under {lease} set b 1")
    leader.apply(rf"under {lease} set a\sb 1")
    index = leader.apply("setex c 20 1")
    leader.now_ms += 6001
    word, colon, reported = leader.ask("leases").partition(": ")
    assert (word, colon) == ("LEASES response", ": ")
    assert json.loads(reported) == {
        "leases": {
            lease: {"seconds": 10, "left": 5.0, "keys": ["a b", "b"], "keys_in_all": 2},
            f"own-{index}-20": {"seconds": 20, "left": 16.0, "keys": ["c"], "keys_in_all": 1},
        },
        "leases_in_all": 2,
    }


def test_a_key_tells_the_time_that_it_has_left(leader: Leader) -> None:
    leader.apply("setex a 10 1")
    leader.apply("set b 1")
    assert leader.ask("ttl a") == "TTL response: 10.0"
    leader.now_ms += 10_001
    assert [leader.ask(f"ttl {key}") for key in "abc"] == [
        "TTL response: 1.0",
        "TTL response, no lease: b",
        "TTL response, no such key: c",
    ]
    leader.now_ms += 1000
    assert leader.expire()
    assert leader.ask("ttl a") == "TTL response: 0.0"


class Counted(dict[str, set[str]]):
    """Counts the leases that were looked at."""

    looks = 0

    def __iter__(self) -> Iterator[str]:
        for each in super().__iter__():
            self.looks += 1
            yield each


@pytest.mark.pure
def test_leases_are_listed_without_a_look_at_all_of_them(leader: Leader) -> None:
    """The leader's core waits for the listing, and so do its heartbeats."""
    count = 3 * LEASES_LISTED
    leader.store.leased = leased = Counted(
        {f"own-{number + 1}-20": {f"k{number}"} for number in range(count)}
    )
    reported = json.loads(leader.ask("leases").partition(": ")[2])
    assert (len(reported["leases"]), reported["leases_in_all"]) == (LEASES_LISTED, count)
    assert leased.looks <= LEASES_LISTED + 1


def test_the_keys_that_leases_list_are_bounded_together(leader: Leader) -> None:
    keys = {f"{number:04}" + "k" * 900 for number in range(1000)}
    for number in range(100):
        leader.store.leased[f"own-{number + 1}-20"] = keys
    reply = leader.ask("leases")
    assert len(reply) < LEASE_KEYS_CHARACTERS + 1000 * 1000
    leases = json.loads(reply.partition(": ")[2])["leases"].values()
    assert [lease["keys_in_all"] for lease in leases] == [1000] * 100
    assert next(iter(leases))["keys"] == sorted(keys)
    assert not [lease for lease in leases if lease["keys"]][3:]


@pytest.mark.pure
def test_a_list_that_a_packet_asks_for_many_times_is_made_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is made with the core's lock held, and may have a thousand leases."""
    leader = Leader()
    lease = leader.lease(10)
    made: list[int] = []
    real = leader.leasing._listed
    monkeypatch.setattr(leader.leasing, "_listed", lambda now: made.append(now) or real(now))
    leader.now_ms += 5000
    commands = ["leases"] * 50 + [f"renew {lease}", "leases", "ttl k", "leases"]
    replies = leader.leasing.answers(commands, leader.now_ms)
    assert len(made) == 2
    assert len(set(replies[:50])) == 1
    reported = [json.loads(text.partition(": ")[2]) for text in replies[49:52:2]]
    left = [one["leases"][lease]["left"] for one in reported]
    assert left[0] < left[1] == 10.0
    assert replies[51] == replies[53]


def test_lease_with_a_committed_expiry_is_not_renewed(
    leader: Leader,
) -> None:
    """The expiry is committed but not yet applied."""
    lease = leader.lease(10)
    leader.now_ms += counted_ms(10000)
    assert leader.expire()
    sync(leader.node)
    for peer in leader.node.view.peers:
        acknowledge(leader.node, peer)
    assert leader.node.view.applying > leader.node.view.applied
    leader.look()
    assert leader.ask(f"renew {lease}") == f"{NO_SUCH}{lease}"
