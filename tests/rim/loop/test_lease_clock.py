"""The clock of leases in times that a test names: when a lease is due, and what that costs."""

from __future__ import annotations

from raftline.node.loop.lease_clock import NEVER_MS, SPARE_ITEMS, LeaseClock, counted_ms


def clock_of(**seconds: int) -> tuple[LeaseClock, dict[str, int]]:
    """Return a clock of these leases, begun at 0, and their times to be changed."""
    clock = LeaseClock(lambda lease: 1000 * seconds.get(lease, 0))
    for lease in seconds:
        clock.start(lease, 0)
    return clock, seconds


def test_a_lease_is_due_after_its_time_a_tenth_and_a_millisecond() -> None:
    clock, _ = clock_of(a=10)
    assert counted_ms(10_000) == 11_001
    assert [counted_ms(ms) for ms in (1, 10, 1500)] == [3, 12, 1651]  # rounded up
    assert clock.next_ms == 11_001
    assert clock.take_due(11_000, 9) == []
    assert clock.take_due(11_001, 9) == ["a"]
    assert clock.next_ms == NEVER_MS


def test_a_renewed_lease_is_due_later() -> None:
    clock, _ = clock_of(a=10)
    clock.start("a", 5000)
    assert clock.take_due(11_001, 9) == []
    assert clock.next_ms == 16_001
    assert clock.take_due(16_001, 9) == ["a"]


def test_leases_are_due_in_the_order_of_their_times_and_no_more_than_asked_for() -> None:
    clock, _ = clock_of(c=3, a=1, b=2)
    assert clock.take_due(60_000, 2) == ["a", "b"]
    assert clock.next_ms <= 60_000
    assert clock.take_due(60_000, 2) == ["c"]


def test_a_lease_that_ended_is_never_due() -> None:
    clock, seconds = clock_of(a=1, b=1)
    del seconds["a"]
    assert clock.take_due(60_000, 9) == ["b"]
    clock.start("a", 60_000)
    assert len(clock) == 0


def test_a_lease_shows_at_most_its_own_time_and_never_less_than_none() -> None:
    clock, seconds = clock_of(a=10)
    assert [clock.left_ms("a", now) for now in (0, 1000, 6001, 11_000, 12_000)] == [
        10_000,
        10_000,
        5000,
        1,
        0,
    ]
    seconds["found"] = 20  # and not counted yet
    assert clock.left_ms("found", 5000) == 20_000


def test_leases_that_ended_do_not_stay_for_their_time() -> None:
    clock, seconds = clock_of(kept=1000)
    for number in range(20 * SPARE_ITEMS):
        seconds[f"a{number}"] = 1_000_000
        clock.start(f"a{number}", number)
        del seconds[f"a{number}"]
    assert len(clock) <= 2 * SPARE_ITEMS
    assert clock.take_due(10**7, 9 * SPARE_ITEMS) == ["kept"]


def test_a_renewal_moves_nothing_in_the_heap() -> None:
    clock, _ = clock_of(**{f"a{number}": 10 for number in range(1000)})
    for now_ms in range(0, 9000, 3000):
        for number in range(1000):
            clock.start(f"a{number}", now_ms)
    assert len(clock) == 1000
    assert clock.take_due(16_000, 5000) == []
    assert clock.next_ms == 17_001
