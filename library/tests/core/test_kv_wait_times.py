"""How long a lock is waited for, in the forms that `threading.Lock.acquire` has and in ours."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from raftline.clients.calls.wait_times import Wait, seconds_to_wait


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        ({}, None),
        ({"blocking": True}, None),
        ({"blocking": False}, 0.0),
        ({"timeout": None}, None),
        ({"timeout": -1}, None),
        ({"timeout": -1.0}, None),
        ({"timeout": 0}, 0.0),
        ({"timeout": 2.5}, 2.5),
        ({"blocking": True, "timeout": 5}, 5.0),
        ({"blocking": True, "timeout": threading.TIMEOUT_MAX}, threading.TIMEOUT_MAX),
        ({"blocking": False, "timeout": -1}, 0.0),
        ({"blocking": 5}, 5.0),  # acquire(5), as acquire(timeout=5)
        ({"blocking": 0}, 0.0),
        ({"blocking": -1}, None),
        ({"blocking": None}, None),
    ],
)
def test_a_lock_is_waited_for_as_threading_lock_says(
    arguments: dict[str, Any], seconds: float | None
) -> None:
    assert seconds_to_wait(**{"blocking": True, "timeout": -1, **arguments}) == seconds


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"timeout": -2}, ValueError, "-2 s is invalid"),
        ({"timeout": -0.5}, ValueError, "is invalid"),
        ({"timeout": math.nan}, ValueError, "is invalid"),
        ({"timeout": 1e100}, OverflowError, "is too long"),
        ({"timeout": math.inf}, OverflowError, "is too long"),
        ({"timeout": 10**400}, OverflowError, "is too long"),
        ({"blocking": False, "timeout": 1}, ValueError, "non-blocking"),
        ({"blocking": False, "timeout": None}, ValueError, "non-blocking"),
        ({"timeout": "5"}, TypeError, "a number of seconds or a timedelta, not str"),
        ({"timeout": True}, TypeError, "a number of seconds or a timedelta, not bool"),
        ({"blocking": "yes"}, TypeError, "a number of seconds or a timedelta, not str"),
        ({"blocking": 5, "timeout": 6}, TypeError, "given twice"),
    ],
)
def test_a_time_that_is_none_is_refused(
    arguments: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        seconds_to_wait(**{"blocking": True, "timeout": -1, **arguments})


def test_a_wait_counts_from_its_beginning() -> None:
    wait = Wait.of(5.0, 100.0)
    assert (wait.until_or_none_s, wait.is_once) == (105.0, False)
    assert Wait.of(0.0, 100.0).is_once
    ever = Wait.of(None, 100.0)
    assert (ever.until_or_none_s, ever.is_once) == (None, False)
