"""Handling of Ctrl-C, SIGTERM and SIGHUP, and the end of a node together with its starter.

The starter keeps the writing end of a pipe and never writes to it. Each node holds the reading end.
When the starter is gone, even after kill -9, the kernel closes the pipe, and the node reads
end-of-file. An environment variable passes the number of the descriptor.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from .guarded_thread import begin_thread
from .quiet_exit import end_at_once

VARIABLE = "RAFTLINE_LIFELINE"
# The longest wait of a main thread. Python checks for signals between two instructions, so a signal
# after the last check does not interrupt the following wait.
WAIT_S_MAX = 1.0
# The longest time from the request to stop until the process has ended: less than the supervisors
# of deploy/ wait before SIGKILL. A usual end takes less than a second.
END_S = 20.0


@contextlib.contextmanager
def raised(ending: Sequence[int] = (signal.SIGTERM, signal.SIGHUP)) -> Iterator[None]:
    """Make Ctrl-C raise KeyboardInterrupt inside this context, and make each signal of `ending`
    raise SystemExit, for code that has to clean up or to print. A signal that is already ignored or
    handled keeps its handling."""
    quiet = signal.getsignal(signal.SIGINT) is end_at_once
    ends = [each for each in ending if quiet and signal.getsignal(each) is signal.SIG_DFL]
    try:
        for number in ends:
            signal.signal(number, _end)
        if quiet:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        if quiet:
            signal.signal(signal.SIGINT, end_at_once)
        for number in ends:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # the status that shells report


@contextlib.contextmanager
def threads_without_signals() -> Iterator[None]:
    """Block signals in threads that are started in this context. A signal that another thread takes
    does not wake the main thread, which alone can act on it."""
    blocked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Interrupts:
    """The handling of Ctrl-C, SIGTERM and SIGHUP from the start of a node. Before there is a
    server, they end the process, except that SIGHUP without a terminal is kept until the server can
    act on it. An ignored SIGHUP stays ignored, since `nohup` requests that."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] = lambda: os._exit(0)
        self._was_hung_up = False
        self._hang_up: Callable[[], None] = self.stop if _is_at_terminal() else self._keep
        self._is_bounded = False
        self._cut_off: Callable[[], None] = lambda: os._exit(0)
        actions = {signal.SIGINT: self.stop, signal.SIGTERM: self.stop}
        actions[signal.SIGALRM] = lambda: self._cut_off()
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            actions[signal.SIGHUP] = lambda: self._hang_up()
        self._before = {
            number: signal.signal(number, lambda *_, act=act: act())
            for number, act in actions.items()
        }
        # The signal mask is inherited from the starting thread, which may block signals.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, actions)

    def stop(self) -> None:
        """Act as if a signal had arrived."""
        self.bound_end()
        self._stop()

    def bound_end(self) -> None:
        """End the process by SIGALRM if it has not ended in `END_S`, whatever its threads wait for;
        any thread may call this."""
        if not self._is_bounded:
            self._is_bounded = True
            signal.setitimer(signal.ITIMER_REAL, END_S)

    def stop_with(self, stop: Callable[[], None], cut_off: Callable[[], None]) -> None:
        """Call `stop` when the process is asked to end, and `cut_off`, which never returns, when
        that takes too long."""
        self._stop, self._cut_off = stop, cut_off

    def read_again_with(self, ask: Callable[[], None]) -> None:
        """Call `ask` on SIGHUP, including an earlier one, unless standard input is a terminal.
        There SIGHUP means that the terminal was closed, and still ends the process."""
        if not _is_at_terminal():
            self._hang_up = ask
            if self._was_hung_up:
                ask()

    def _keep(self) -> None:
        self._was_hung_up = True

    def close(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _is_at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def unbound() -> None:
    """End the limit of `bound_end`, as the node has ended."""
    signal.setitimer(signal.ITIMER_REAL, 0)


class Lifeline:
    """The starter's side of the pipe: the reading end for each node, and the open writing end."""

    def __init__(self) -> None:
        self.reading_end, self._writing_end = os.pipe()

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return the environment for a node that receives `reading_end`."""
        return {**base, VARIABLE: str(self.reading_end)}

    def close(self) -> None:
        """Close both ends, which stops every node that still runs."""
        for descriptor in (self.reading_end, self._writing_end):
            os.close(descriptor)


@functools.cache
def _own() -> Lifeline:
    """Return the lifeline of this process, which closes when the process ends."""
    return Lifeline()


def tied(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return arguments for subprocess.Popen and run that make a new process end with this one."""
    line = _own()
    return {
        "env": line.environment(os.environ if environment is None else environment),
        "pass_fds": [line.reading_end],
    }


def end_with_starter(stop: Callable[[], None]) -> bool:
    """Call `stop`, in a separate thread, when the starter of this process is gone.

    Returns False, and does nothing, if this process has no lifeline.
    """
    number = os.environ.pop(VARIABLE, "")  # not for programs that this one starts
    if not (number.isascii() and number.isdigit()):
        return False
    begin_thread(lambda: _wait_for_the_end(int(number), stop), "lifeline", lambda _: None)
    return True


def _wait_for_the_end(descriptor: int, stop: Callable[[], None]) -> None:
    try:
        while os.read(descriptor, 1):
            pass  # the starter never writes; other bytes have no meaning
    except OSError:
        return  # no such descriptor: the variable was for another process
    stop()
