"""The time for which a claim waits for a lock, and a watch for an event. Pure."""

from __future__ import annotations

import math
import sys
import threading
from typing import NamedTuple

from ..requests.times import Seconds, seconds_in


class Wait(NamedTuple):
    """The time that a claim waits."""

    until_s: float  # by the clock of watches, `time.monotonic`; inf: forever
    is_once: bool

    @staticmethod
    def of(seconds: float | None, now_s: float) -> Wait:
        """Start a wait of a number of seconds; None is forever, 0 is one try."""
        return Wait(math.inf if seconds is None else now_s + seconds, seconds == 0)

    @property
    def until_or_none_s(self) -> float | None:
        return None if self.until_s == math.inf else self.until_s


def seconds_to_wait(blocking: bool | Seconds | None, timeout: Seconds | None) -> float | None:
    """Return the seconds to wait; None means forever, and 0 means one try.

    The arguments have the form of `threading.Lock.acquire`: -1 is forever. A number or None as the
    first argument is the timeout.

    Raises:
        TypeError, ValueError, OverflowError: as in `threading.Lock.acquire`.
    """
    if not isinstance(blocking, bool):
        if timeout != -1:
            raise TypeError("the timeout is given twice")
        blocking, timeout = True, blocking
    if timeout == -1 and not isinstance(timeout, bool):
        return None if blocking else 0.0
    if not blocking:
        raise ValueError("a non-blocking call can't have a timeout")
    if timeout is None:
        return None
    seconds = _number(timeout)
    if not seconds >= 0:
        raise ValueError(f"a timeout of {timeout} s is invalid: 0 or more seconds; -1: forever")
    if seconds > threading.TIMEOUT_MAX:
        raise OverflowError(f"a timeout of {timeout} s is too long; -1: forever")
    return seconds


def end_of_wait(timeout: Seconds | None, now_s: float) -> float | None:
    """Return the end of a wait for an event, by the clock of `now_s`; None if it has no end. With a
    timeout of 0 or less it is already over.

    Raises:
        TypeError, ValueError, OverflowError: the timeout is invalid.
    """
    return None if timeout is None else now_s + _number(timeout)


def _number(timeout: Seconds) -> float:
    seconds = seconds_in(timeout, "a timeout")
    if seconds != seconds:
        raise ValueError("a timeout of nan s is invalid: seconds, or None: forever")
    try:
        return float(seconds)
    except OverflowError:
        raise OverflowError(f"a timeout of more than {sys.float_info.max} s is too long") from None
