"""Ctrl-C, SIGTERM and SIGHUP: what they do, and which thread takes them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from raftline.common.quiet_exit import end_at_once


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Let Ctrl-C be a KeyboardInterrupt in here: there is something to tidy up, or to say."""
    quiet = signal.getsignal(signal.SIGINT) is end_at_once
    try:
        if quiet:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        if quiet:
            signal.signal(signal.SIGINT, end_at_once)


@contextlib.contextmanager
def threads_without_signals() -> Iterator[None]:
    """Let threads that are started here never take a signal: a signal that another thread takes
    does not wake the main one, which alone can act on it."""
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, asked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Interrupts:
    """Ctrl-C, SIGTERM and SIGHUP from the first moment: before there is a server, they end the
    process. A SIGHUP that is ignored stays so: `nohup` asks for that."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] = lambda: os._exit(0)
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        self._before = {
            number: signal.signal(number, lambda *_: self._stop()) for number in numbers
        }

    def stop(self) -> None:
        """Do what a signal does."""
        self._stop()

    def stop_with(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
