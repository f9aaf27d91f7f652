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


def test_a_lease_that_ended_is_never_due() -> None:
    clock, seconds = clock_of(a=1, b=1)
    del seconds["a"]
    assert clock.take_due(60_000, 9) == ["b"]
    clock.start("a", 60_000)
    assert len(clock) == 0


def test_leases_that_ended_do_not_stay_for_their_time() -> None:
    clock, seconds = clock_of(kept=1000)
    for number in range(20 * SPARE_ITEMS):
        seconds[f"a{number}"] = 1_000_000
        clock.start(f"a{number}", number)
        del seconds[f"a{number}"]
    assert len(clock) <= 2 * SPARE_ITEMS
    assert clock.take_due(10**7, 9 * SPARE_ITEMS) == ["kept"]
