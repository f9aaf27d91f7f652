"""The addresses of a cluster as a client learns them: members come, go, and name themselves."""

from __future__ import annotations

import json

import pytest

from raftline.clients.requests.addresses import (
    LEARNED_MAX,
    SOON_S,
    Addresses,
    members_in,
)
from raftline.clients.requests.search import NodeTurns
from raftline.common.address import Address
from raftline.wire.refusal import not_leader
from raftline.wire.replies.replies import Reply

S1, S2, S3, S4, S5, S6 = (Address(f"h{number}", 10000) for number in range(1, 7))


def status(*members: Address, leader: str | None = "s0", cluster: str = "") -> str:
    """Return the reply of a node whose members are called s0, s1 and so on."""
    names = {f"s{number}": str(each) for number, each in enumerate(members)}
    facts = {"name": "s0", "leader": leader, "members": names, "cluster": cluster}
    return "STATUS response: " + json.dumps(facts)


def test_a_program_that_names_one_member_learns_the_others() -> None:
    addresses = Addresses([S1], learns=True)
    addresses.take(status(S1, S2, S3), 0.0)
    assert addresses.named == [S1]
    assert addresses.known == [S1, S2, S3]


def test_members_that_left_are_forgotten_and_named_ones_stay() -> None:
    addresses = Addresses([S1, S2], learns=True)
    addresses.take(status(S1, S2, S3), 0.0)
    addresses.take(status(S4, S5, S6), 1.0)
    assert addresses.known == [S1, S2, S4, S5, S6]


def test_the_members_of_another_cluster_are_not_learned() -> None:
    """One of the given addresses may now belong to a test cluster, or to a restored copy."""
    addresses = Addresses([S1, S4], learns=True)
    addresses.take(status(S1, S2, cluster="9f86d081884c7d65"), 0.0)
    addresses.take(status(S4, S5, S6, cluster="3c6e0b8a9c15224a"), 60.0)
    assert addresses.known == [S1, S4, S2]
    addresses.take(status(S1, S3, cluster="9f86d081884c7d65"), 120.0)
    assert addresses.known == [S1, S4, S3]


@pytest.mark.parametrize(
    "reply",
    [
        status(S4, S5, leader=None),  # cut off, or removed: it names those of an earlier time
        status(S4, S5, leader="s9"),
        "Sorry, bob may not read the status: it takes the right to read. Nothing was done.",
        "STATUS response: ",
        "STATUS response: []",
        'STATUS response: {"leader": "s1", "role": "leader"}',
        'STATUS response: {"leader": "s1", "members": ["s1"]}',
        'STATUS response: {"leader": "s1", "members": {"s1": 5}}',
        'STATUS response: {"leader": "s1", "members": {"s1": "no address"}}',
        'STATUS response: {"leader": ["s1"], "members": {"s1": "h:1"}}',
        "GET response: 5",
        "",
    ],
)
def test_reply_without_certain_members_changes_nothing(reply: str) -> None:
    """A reply that does not vouch for its members leaves the known addresses unchanged."""
    addresses = Addresses([S1], learns=True)
    addresses.take(status(S1, S2), 0.0)
    addresses.take(reply, 1.0)
    assert members_in(reply) == ([], "")
    assert addresses.known == [S1, S2]


def test_one_connection_asks_at_a_time_and_again_later() -> None:
    addresses = Addresses([S1], learns=True)
    assert addresses.asks(100.0)
    assert not addresses.asks(100.0 + SOON_S - 1)
    assert addresses.asks(100.0 + SOON_S)  # the node that was asked gave no answer
    addresses.take(status(S1, S2), 110.0)
    assert not addresses.asks(110.0 + SOON_S - 1)
    assert addresses.asks(110.0 + SOON_S)


def test_a_reply_that_names_no_members_is_soon_asked_for_again() -> None:
    addresses = Addresses([S1], learns=True)
    addresses.take(status(S1, S2, leader=None), 110.0)
    assert not addresses.asks(110.0 + SOON_S - 1)
    assert addresses.asks(110.0 + SOON_S)


def test_a_client_that_stays_at_its_nodes_asks_for_none() -> None:
    assert not Addresses([S1]).asks(1e9)


def test_the_number_of_learned_addresses_is_bounded() -> None:
    addresses = Addresses([S1], learns=True)
    addresses.take(status(*(Address("h", port) for port in range(1, 3000))), 0.0)
    assert len(addresses.known) == LEARNED_MAX + 1
    for port in range(1, 3000):
        addresses.learn(Address("other", port))
    assert len(addresses.known) == LEARNED_MAX + 1
    assert addresses.known[-1] == Address("other", 2999)


def test_foreign_localhost_is_not_looked_for_here() -> None:
    """Another cluster may listen there on this machine."""
    reported = status(Address("localhost", 10000), Address("127.0.0.1", 10001), S2)
    elsewhere = Addresses([S1], learns=True)
    elsewhere.take(reported, 0.0)
    assert elsewhere.known == [S1, S2]
    here = Addresses([Address("127.0.0.1", 9000)], learns=True)
    here.take(reported, 0.0)
    assert set(here.known) >= {Address("localhost", 10000), Address("127.0.0.1", 10001), S2}


def test_learned_addresses_come_after_named_ones() -> None:
    """Learned addresses are tried after those that were given."""
    addresses = Addresses([S1, S2], learns=True)
    nodes = NodeTurns([S2, S1], addresses)
    addresses.take(status(S4, S5, S6), 0.0)
    turns = []
    for _ in range(6):
        turns.append(nodes.current)
        nodes.move_on(nodes.current, None)
    assert turns == [S2, S1, S4, S5, S6, S2]


def test_one_that_left_gets_no_more_turns_and_a_new_one_does() -> None:
    addresses = Addresses([S1], learns=True)
    nodes = NodeTurns([S1], addresses)
    addresses.take(status(S2, S3), 0.0)
    nodes.move_on(S1, None)
    assert nodes.current == S2
    addresses.take(status(S3, S4), 1.0)
    nodes.move_on(S2, None)
    assert nodes.current == S3
    nodes.move_on(S3, None)
    assert nodes.current in (S1, S4)
    assert set(nodes.known) == {S1, S3, S4}


def test_leader_found_by_one_connection_is_known_to_all() -> None:
    """If one connection is redirected to a leader, the others know that leader."""
    addresses = Addresses([S1], learns=True)
    first, second = NodeTurns([S1], addresses), NodeTurns([S1], addresses)
    first.move_on(S1, Reply("s1", not_leader("s2", *S2)))
    assert first.current == S2
    second.move_on(S1, None)
    assert second.current == S2
