"""The driver and leases: a renewal waits for its round, and an expiry is proposed by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raftline.net.protocol.host import Batch
from raftline.node.loop.driver import Driver
from raftline.wire.commands.parsing import BY_CLOCK
from raftline_testing.doubles.driven_node import DEADLINE_S, answer, driver_of_s1, manager_of
from raftline_testing.doubles.fake_rim import FakeRim, elect
from raftline_testing.nodes.processes import eventually


@pytest.fixture
def leader() -> Iterator[Driver]:
    """s1 leads, has applied its no-op, and holds a lease of a minute and one of a second."""
    driver = driver_of_s1(FakeRim(), heartbeat_ms=50_000)
    elect(driver)
    eventually(lambda: driver.node.view.durable_index >= 1)
    with driver.core:
        store = manager_of(driver).store
        store.is_at_floor = False
        store.leases.grant(57, 60_000)
        store.leases.grant(58, 1000)
    answer(driver)
    yield driver
    driver.stop(DEADLINE_S)


def test_renewal_waits_for_a_quorum_to_answer_its_round(leader: Driver) -> None:
    batch = Batch(["renew lease-57", "renew lease-59"], is_read=True, reading=BY_CLOCK)
    leader.submit(batch)
    eventually(lambda: leader.node.view.read_rounds)
    assert not batch.is_answered
    answer(leader)
    assert batch.wait(DEADLINE_S)
    assert batch.replies == [
        "RENEW response: lease-57 for 60 s",
        "RENEW response, no such lease: lease-59",
    ]


def test_a_lease_that_nobody_renews_is_ended_with_nobody_asking(leader: Driver) -> None:
    view = leader.node.view
    eventually(lambda: view.log.commands[-1] == f"expired {view.term} lease-58")
    assert manager_of(leader).store.leases.granted == {"lease-57": 60_000, "lease-58": 1000}
    eventually(lambda: view.durable_index >= view.log.last_index)
    answer(leader)
    assert manager_of(leader).store.leases.granted == {"lease-57": 60_000}


def test_a_renewal_that_was_given_up_is_not_answered_again(leader: Driver) -> None:
    batch = Batch(["renew lease-57"], is_read=True, reading=BY_CLOCK)
    leader.submit(batch)
    eventually(lambda: leader.node.view.read_rounds)
    batch.answer_rest("Sorry, late")
    answer(leader)
    assert batch.replies == ["Sorry, late"]
