"""The scheduler itself: what it finds, that it repeats, and that it ends."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from raftline_testing.interleave.scenarios import Failure, check_interleavings, first_failure
from raftline_testing.interleave.threads import POLICIES, Schedule, Stuck, in_place

HERE = sys.modules[__name__]


class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self) -> None:
        value = self.value
        self.value = value + 1


def lost_update() -> None:
    counter = Counter()
    threads = [threading.Thread(target=counter.add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value == 2


def lost_wakeup() -> None:
    """The flag is looked at without the lock."""
    changed = threading.Condition()
    is_done: list[bool] = []

    def wait() -> None:
        if not is_done:
            with changed:
                changed.wait()

    waiter = threading.Thread(target=wait)
    waiter.start()
    with changed:
        is_done.append(True)
        changed.notify()
    waiter.join()


def deadly_embrace() -> None:
    first, second = threading.Lock(), threading.RLock()

    def backward() -> None:
        with second, first:
            pass

    thread = threading.Thread(target=backward)
    thread.start()
    with first, second:
        pass
    thread.join()


def endless() -> None:
    while True:
        time.monotonic()
        threading.Event().is_set()
        with threading.Lock():
            pass


def found(scenario: object, count: int = 200) -> Failure:
    failure = first_failure(scenario, range(count), [HERE])  # type: ignore[arg-type]
    assert failure is not None
    return failure


@pytest.mark.parametrize("scenario", [lost_update, lost_wakeup, deadly_embrace])
@pytest.mark.parametrize("policy", range(len(POLICIES)))
def test_a_fault_is_found_by_each_policy(scenario: object, policy: int) -> None:
    seeds = range(policy, 400, len(POLICIES))
    failure = first_failure(scenario, seeds, [HERE])  # type: ignore[arg-type]
    assert failure is not None
    assert f"SEED={failure.seed}" in str(failure)
    assert failure.switches


def test_a_deadlock_names_the_places() -> None:
    error = found(deadly_embrace).error
    assert isinstance(error, Stuck)
    assert "first in tests/test_threads.py:" in str(error)
    assert "thread 2 in tests/test_threads.py:" in str(error)


def test_what_never_ends_is_ended() -> None:
    assert "and no end" in str(found(endless, 1).error)


def test_a_seed_repeats_its_interleaving() -> None:
    failure = found(lost_update)
    again = found(lost_update)
    assert (failure.seed, failure.switches) == (again.seed, again.switches)


def test_an_error_in_a_thread_is_a_failure() -> None:
    def fails() -> None:
        thread = threading.Thread(target=lambda: 1 // 0)
        thread.start()
        thread.join()

    assert isinstance(found(fails, 1).error, ZeroDivisionError)


def test_time_passes_where_all_wait() -> None:
    times: list[float] = []

    def sleeps() -> None:
        begun_s = time.monotonic()
        thread = threading.Thread(target=lambda: time.sleep(5))
        thread.start()
        assert not threading.Event().wait(2)
        thread.join()
        times.append(time.monotonic() - begun_s)

    check_interleavings(sleeps, range(20))
    assert all(5 <= seconds < 7.1 for seconds in times)


def test_the_threads_of_others_are_left_alone() -> None:
    real = threading.Thread
    with in_place():
        began_s = time.monotonic()
        assert type(threading.Lock()).__module__ == "_thread"
        assert time.monotonic() >= began_s > 0
    assert threading.Thread is real
    assert Schedule(1).carry_out(lambda: None) is None
