"""The driver and leases: a renewal waits for its round, and an expiry is proposed by itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from raftline.net.host import Batch
from raftline.node.driver import Driver
from raftline.raft.messages import AppendAccepted
from raftline.wire.parsing import BY_CLOCK
from tests.rim.test_driver import DEADLINE_S, FakeRim, driver_of_s1, elect

PAUSE = threading.Event()


@pytest.fixture
def leader() -> Iterator[Driver]:
    """s1 leads, has applied its no-op, and holds a lease of a minute and one of a second."""
    driver = driver_of_s1(FakeRim(), heartbeat_ms=50_000)
    elect(driver)
    while driver.node.view.durable_index < 1:
        assert not PAUSE.wait(0.001)
    with driver.core:
        store = driver._logmanager.store
        store.raise_level(2, 1)
        store.leases.grant(57, 60)
        store.leases.grant(58, 1)
    answer(driver)
    yield driver
    driver.stop(DEADLINE_S)


def answer(driver: Driver) -> None:
    """Have s2 answer all that it was sent."""
    view = driver.node.view
    given = AppendAccepted("s2", "s1", view.term, view.log.last_index, view.round)
    assert driver.receive([given], None) == []


def test_a_renewal_is_not_confirmed_before_a_quorum_answers_its_round(leader: Driver) -> None:
    batch = Batch(["renew lease-57", "renew lease-59"], is_read=True, reading=BY_CLOCK)
    leader.submit(batch)
    while not leader.node.view.read_rounds:
        assert not PAUSE.wait(0.001)
    assert not batch.is_answered
    answer(leader)
    assert batch.wait(DEADLINE_S)
    assert batch.replies == [
        "RENEW response: lease-57 for 60 s",
        "RENEW response, no such lease: lease-59",
    ]


def test_a_lease_that_nobody_renews_is_ended_with_nobody_asking(leader: Driver) -> None:
    view = leader.node.view
    while view.log.commands[-1] != f"expired {view.term} lease-58":
        assert not PAUSE.wait(0.01)
    assert leader._logmanager.store.leases.granted == {"lease-57": 60, "lease-58": 1}
    while view.durable_index < view.log.last_index:
        assert not PAUSE.wait(0.001)
    answer(leader)
    assert leader._logmanager.store.leases.granted == {"lease-57": 60}


def test_a_renewal_that_was_given_up_is_not_answered_again(leader: Driver) -> None:
    batch = Batch(["renew lease-57"], is_read=True, reading=BY_CLOCK)
    leader.submit(batch)
    while not leader.node.view.read_rounds:
        assert not PAUSE.wait(0.001)
    batch.answer_rest("Sorry, late")
    answer(leader)
    assert batch.replies == ["Sorry, late"]
