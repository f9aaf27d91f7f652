"""Signals inside and after `raised`, whatever handled them before."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from itertools import product
from typing import Any

from raftline.common.process.quiet_exit import end_at_once
from raftline.common.process.signals import raised

ENDING = (signal.SIGTERM, signal.SIGHUP)


def own(number: int, frame: object) -> None:
    """A handler that the program has set itself."""


@contextlib.contextmanager
def handled(by: dict[signal.Signals, Any]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in by.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, *ENDING)]


def test_each_signal_is_raised_inside_alone_unless_it_is_handled() -> None:
    interrupts = (end_at_once, signal.default_int_handler, signal.SIG_IGN, own)
    for interrupt, *ends in product(interrupts, *[(signal.SIG_DFL, signal.SIG_IGN, own)] * 2):
        is_command = interrupt is end_at_once  # of a program, not of a library's user
        with handled({signal.SIGINT: interrupt, **dict(zip(ENDING, ends, strict=True))}):
            with contextlib.suppress(KeyboardInterrupt), raised():
                first, *others = handlers()
                assert first is (signal.default_int_handler if is_command else interrupt)
                changed = [now is not before for now, before in zip(others, ends, strict=True)]
                assert changed == [is_command and end is signal.SIG_DFL for end in ends]
                raise KeyboardInterrupt
            assert handlers() == [interrupt, *ends]
