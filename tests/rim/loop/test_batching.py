"""Which requests are served when, by numbers alone."""

from __future__ import annotations

import math

import pytest

from raftline.node.loop.batching import (
    LONGEST_S,
    MINUTE_S,
    QUIET_S,
    SHARING_S,
    Batching,
    Gathering,
)

NOW_S = 100.0


# --- how many are waited for, and for how long ----------------------------------------------


def test_a_lone_request_never_waits() -> None:
    group = Gathering()
    for _ in range(3):
        group.arrived(1, NOW_S)
        assert group.is_ripe(1, NOW_S)
        group.answered(1, NOW_S)


def test_a_group_waits_for_as_many_requests_as_were_answered() -> None:
    group = Gathering()
    group.answered(3, NOW_S)
    for queued in (1, 2):
        group.arrived(queued, NOW_S)
        assert not group.is_ripe(queued, NOW_S)
    group.arrived(3, NOW_S)
    assert group.is_ripe(3, NOW_S)


def test_a_group_is_served_after_a_pause_without_arrivals() -> None:
    group, now_s = Gathering(), NOW_S
    group.answered(64, now_s)
    group.replied(now_s)
    group.arrived(1, now_s)
    now_s += QUIET_S * 0.9
    group.arrived(2, now_s)
    now_s += QUIET_S * 0.9
    assert not group.is_ripe(2, now_s)
    assert group.ripe_at_s == pytest.approx(now_s + QUIET_S * 0.1)
    now_s += QUIET_S * 0.2
    assert group.is_ripe(2, now_s)


def test_group_waits_for_the_replies_of_the_last_group() -> None:
    group, now_s = Gathering(), NOW_S
    group.answered(64, now_s)
    group.arrived(1, now_s)
    now_s += QUIET_S * 2  # 62 replies are on their way
    assert not group.is_ripe(2, now_s)
    assert group.replied(now_s)
    assert not group.is_ripe(2, now_s)
    assert group.ripe_at_s == pytest.approx(now_s + QUIET_S)
    assert group.is_ripe(64, now_s)
    assert not group.replied(now_s + QUIET_S / 2)  # of nobody in this group
    assert group.ripe_at_s == pytest.approx(now_s + QUIET_S)


def test_slow_replies_hold_up_a_group_for_a_bounded_time() -> None:
    group = Gathering()
    group.answered(64, NOW_S)
    assert not group.is_ripe(2, NOW_S + LONGEST_S * 0.9)
    assert group.is_ripe(2, NOW_S + LONGEST_S)


def test_a_group_that_keeps_growing_is_served_all_the_same() -> None:
    group, now_s = Gathering(), NOW_S
    group.answered(1000, now_s)
    group.replied(now_s)
    queued = 0
    while not group.is_ripe(queued, now_s):
        now_s += QUIET_S / 2
        queued += 1
        group.arrived(queued, now_s)
        assert queued < 100
    assert queued == pytest.approx(1 + 2 * LONGEST_S / QUIET_S, abs=1)


# --- whether writes and reads are served ----------------------------------------------------


def leading() -> Batching:
    batching = Batching(NOW_S, lambda: 0.0)
    batching.leads = True
    return batching


def serves_writes(
    batching: Batching, now_s: float, *, is_writing: bool = False, is_full: bool = False
) -> bool:
    """Whether one write that waits is served."""
    return batching.serves_writes(1, now_s, is_writing=is_writing, is_full=is_full)


def looks_at_s(batching: Batching, *, writes: int = 0, reads: int = 0, busy: str = "") -> float:
    """Return when those who gather are served at the latest."""
    return batching.next_check_s(
        writes,
        reads,
        is_writing="writing" in busy,
        is_full="full" in busy,
        is_reading="reading" in busy,
    )


def test_a_server_that_does_not_lead_serves_all_at_once() -> None:
    batching = leading()
    batching.proposed(2, 64, NOW_S)
    batching.answered(64, 0, NOW_S)
    batching.reads.arrived(1, NOW_S)
    assert not serves_writes(batching, NOW_S)
    assert not batching.serves_reads(1, NOW_S, is_reading=False)
    batching.leads = False
    assert serves_writes(batching, NOW_S, is_writing=True, is_full=True)
    assert batching.serves_reads(1, NOW_S, is_reading=True)
    assert looks_at_s(batching, writes=1, reads=1) == math.inf


def test_a_write_waits_only_for_writes_in_flight() -> None:
    batching = leading()
    batching.writes.arrived(1, NOW_S)
    assert serves_writes(batching, NOW_S)
    batching.proposed(5, 1, NOW_S)
    batching.proposed(7, 1, NOW_S)
    assert not serves_writes(batching, NOW_S)
    assert looks_at_s(batching, writes=1) == NOW_S + SHARING_S
    assert not batching.committed(4, 1, NOW_S)
    assert batching.committed(6, 1, NOW_S)
    assert not serves_writes(batching, NOW_S)
    assert batching.committed(7, 0, NOW_S)
    assert serves_writes(batching, NOW_S)


def test_a_write_waits_for_the_disk_as_for_a_proposal() -> None:
    batching = leading()
    batching.proposed(5, 1, NOW_S)
    batching.committed(5, 0, NOW_S)
    assert serves_writes(batching, NOW_S)
    assert not serves_writes(batching, NOW_S, is_writing=True)
    assert looks_at_s(batching, writes=1, busy="writing") == NOW_S + SHARING_S
    assert serves_writes(batching, NOW_S + SHARING_S + 1e-6, is_writing=True)


def test_a_leader_limits_the_writes_that_wait_for_a_stalled_disk() -> None:
    batching = leading()
    batching.writes.arrived(1, NOW_S)
    later_s = NOW_S + MINUTE_S
    assert not serves_writes(batching, later_s, is_writing=True, is_full=True)
    # The writer asks again when it has written.
    assert looks_at_s(batching, writes=1, busy="writing full") == math.inf
    assert serves_writes(batching, later_s, is_writing=True)


def test_writes_wait_for_as_many_as_were_answered_or_wait() -> None:
    batching = leading()
    batching.proposed(5, 2, NOW_S)
    batching.committed(5, 1, NOW_S)  # two were answered, one waits
    decided = [
        batching.serves_writes(queued, NOW_S, is_writing=False, is_full=False)
        for queued in (1, 2, 3)
    ]
    assert decided == [False, False, True]
    assert looks_at_s(batching, writes=2) == NOW_S + LONGEST_S
    assert batching.writes.replied(NOW_S)
    assert looks_at_s(batching, writes=2) == NOW_S + QUIET_S


def test_reads_wait_while_the_most_rounds_are_in_flight() -> None:
    batching = leading()
    batching.reads.arrived(1, NOW_S)
    later_s = NOW_S + MINUTE_S
    assert not batching.serves_reads(1, later_s, is_reading=True)
    assert looks_at_s(batching, reads=1, busy="reading") == math.inf
    assert batching.serves_reads(1, later_s, is_reading=False)


def test_reads_wait_for_as_many_as_were_answered_or_wait_already() -> None:
    batching = leading()
    batching.answered(2, 1, NOW_S)
    decided = [batching.serves_reads(queued, NOW_S, is_reading=False) for queued in (1, 2, 3)]
    assert decided == [False, False, True]
    assert looks_at_s(batching, reads=2) == NOW_S + QUIET_S


def test_reads_and_writes_gather_separately() -> None:
    """The earlier deadline of the two counts."""
    batching = leading()
    batching.answered(9, 0, NOW_S)
    batching.reads.arrived(1, NOW_S)
    assert serves_writes(batching, NOW_S)
    batching.proposed(5, 1, NOW_S)
    assert looks_at_s(batching, writes=1, reads=1) == NOW_S + QUIET_S
    assert looks_at_s(batching, writes=1) == NOW_S + SHARING_S
    assert looks_at_s(batching) == math.inf


def test_reelected_leader_waits_for_no_earlier_proposal() -> None:
    batching = leading()
    batching.proposed(5, 1, NOW_S)
    batching.lost_leadership()
    assert serves_writes(batching, NOW_S)
    assert not batching.committed(5, 0, NOW_S)


# --- how long writes wait for those before them -----------------------------------------------


class Leader:
    """A leader and its clocks; one write at a time is proposed, and committed."""

    def __init__(self) -> None:
        self.now_s, self._used_s = NOW_S, 3.0
        self._batching = Batching(self.now_s, lambda: self._used_s)
        self._batching.leads = True
        self._index = 1

    def pass_time(self, seconds: float, share: float) -> None:
        """Pass time in which the node uses that share of a core."""
        self.now_s += seconds
        self._used_s += seconds * share

    def _propose(self) -> None:
        self._index += 1
        self._batching.proposed(self._index, 1, self.now_s)

    def commit(self, took_s: float, share: float) -> None:
        """Propose a write, some time after those before, that takes so long."""
        self.pass_time(0.2, share)
        self._propose()
        self.pass_time(took_s, share)
        assert self._batching.committed(self._index, 0, self.now_s)

    def waits_s(self) -> float:
        """Return how long a write waits for one that is under way."""
        self.now_s += 0.2
        self._propose()
        self._batching.writes.arrived(1, self.now_s)
        until_s = looks_at_s(self._batching, writes=1)
        assert not serves_writes(self._batching, until_s - 1e-6)
        assert serves_writes(self._batching, until_s + 1e-6)
        waited_s = until_s - self.now_s
        self.now_s += 0.02
        assert self._batching.committed(self._index, 0, self.now_s)
        return waited_s


def test_writes_wait_a_bounded_time_for_earlier_writes() -> None:
    leader = Leader()
    leader.commit(took_s=0.002, share=0.2)
    leader.commit(took_s=0.011, share=0.2)
    assert leader.waits_s() == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("share", "waits_s"), [(0.1, 0.001), (0.5, 0.0025), (0.9, 0.0045), (1.2, 0.005)]
)
def test_an_idle_node_pipelines_writes_if_they_always_take_long(
    share: float, waits_s: float
) -> None:
    leader = Leader()
    leader.commit(took_s=0.011, share=share)
    assert leader.waits_s() == pytest.approx(waits_s, rel=0.01)


def test_a_quick_write_is_remembered_for_a_minute_or_two() -> None:
    leader = Leader()
    leader.commit(took_s=0.002, share=0.2)
    leader.pass_time(MINUTE_S + 1, share=0.2)
    leader.commit(took_s=0.011, share=0.2)
    assert leader.waits_s() == pytest.approx(0.005)
    leader.pass_time(MINUTE_S + 1, share=0.2)
    leader.commit(took_s=0.011, share=0.2)
    assert leader.waits_s() == pytest.approx(0.001)
    leader.commit(took_s=0.002, share=0.2)
    assert leader.waits_s() == pytest.approx(0.005)
