"""Run a command while a lock is held: start it, pass signals to it, and end it if the lock is
lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, NamedTuple

from raftline.common.process.signals import WAIT_S_MAX

TOKEN = "RAFTLINE_TOKEN"  # environment variable with the fencing token
EXIT_CANNOT_RUN, EXIT_NOT_FOUND = 126, 127  # as a shell reports them
_LOST = 0  # no signal has this number
PASSED_ON = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT,
    signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGABRT,
)  # fmt: skip
_OF_TERMINAL = (signal.SIGINT, signal.SIGQUIT)  # sent to its whole process group
_OF_COMMANDS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # many commands do not end at these
_CHECK_S = 0.05
_PR_SET_PDEATHSIG = 1  # of prctl(2)


class Interrupted(BaseException):
    """A signal arrived while no command ran."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


class CannotRun(Exception):
    """The command can't be started. The message explains why."""

    def __init__(self, command: str, error: OSError) -> None:
        super().__init__(f"{command} can't be run: {error.strerror or error}")
        self.status = EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_CANNOT_RUN


class ExitResult(NamedTuple):
    """The end of a command."""

    status: int  # as a shell reports it: 128 plus the number of a signal
    was_lost: bool = False  # it was ended because the lock was lost
    is_to_stop: bool = False  # this program ends after a loss, too: see `_follow`


class Signals:
    """The signals that would end this program. While the command runs, they are for the command;
    otherwise they raise Interrupted. An ignored signal stays ignored."""

    def __init__(self) -> None:
        self.news: SimpleQueue[int | ExitResult] | None = None
        self.last = 0  # the last signal's number
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.last = number
        if self.news is None:
            raise Interrupted(number)
        self.news.put(number)  # reentrant: a signal may interrupt another put


def run(
    command: Sequence[str],
    token: int | None,
    grace_s: float,
    signals: Signals,
    wait_lost: Callable[[], object] | None,
    **popen: Any,
) -> ExitResult:
    """Run a command and return its result. Once `wait_lost` returns, the command gets SIGTERM, and
    SIGKILL if it still runs `grace_s` seconds later. It has also ended if this function raises. On
    Linux, it is killed if this program is killed. `popen` are further arguments of
    subprocess.Popen.

    Raises:
        CannotRun: it can't be started.
    """
    news: SimpleQueue[int | ExitResult] = SimpleQueue()
    signals.news = news  # before the start: a signal during the start is for the command
    try:
        guarded = _Guarded(command, token, grace_s, news, popen)
        try:
            ended = guarded.wait(wait_lost)
        except BaseException:
            guarded.end_now()
            raise
    finally:
        signals.news = None
    return ended._replace(is_to_stop=ended.is_to_stop or _has_signal(news))


def _has_signal(news: SimpleQueue[int | ExitResult]) -> bool:
    """Return whether an unhandled signal is left, which arrived after the command had ended."""
    rest = [news.get() for _ in range(news.qsize())]
    return any(not isinstance(each, ExitResult) and each != _LOST for each in rest)


class _Guarded:
    """One run of a command.

    At a terminal, the command shares the terminal's process group. So it can read from the
    terminal, and Ctrl-C reaches it directly. Without a terminal, it has a new group, and a signal
    also reaches the processes that it started.
    """

    def __init__(
        self,
        command: Sequence[str],
        token: int | None,
        grace_s: float,
        news: SimpleQueue[int | ExitResult],
        popen: dict[str, Any],
    ) -> None:
        """Start the command. Raises CannotRun."""
        self._grace_s = grace_s
        self._has_group = not (sys.stdin is not None and sys.stdin.isatty())
        self._news = news
        self._kill_s: float | None = None  # the time of SIGKILL
        if token is not None:
            popen = {"env": {**os.environ, TOKEN: str(token)}, **popen}
        try:
            self._process = subprocess.Popen(command, **self._group(), **popen)
        except OSError as error:
            raise CannotRun(command[0], error) from None

    def _group(self) -> dict[str, Any]:
        tie = _killed_with_this()

        def begin() -> None:
            if self._has_group:
                os.setpgrp()
            if tie is not None:
                tie()

        return {"preexec_fn": begin}

    def wait(self, wait_lost: Callable[[], object] | None) -> ExitResult:
        """Wait for the end of the command and return its result."""
        works: list[Callable[[], object]] = [self._wait]
        if wait_lost is not None:
            works.append(partial(self._report, wait_lost))
        for work in works:
            threading.Thread(target=work, name="raftline waits", daemon=True).start()
        return self._follow()

    def end_now(self) -> None:
        """End the command by SIGKILL, and wait until it has ended."""
        self._send(signal.SIGKILL)
        self._process.wait()

    def _follow(self) -> ExitResult:
        """Pass signals on until the end. Most signals ask this program to end as well. SIGHUP,
        SIGUSR1 and SIGUSR2 do so only while the command is being ended: before that, they ask many
        commands to reload their files."""
        was_lost = is_to_stop = False
        while True:
            try:
                news = self._news.get(timeout=self._left_s())
            except Empty:
                if self._kill_s is not None and time.monotonic() >= self._kill_s:
                    self._kill_s = None
                    self._send(signal.SIGKILL)
                continue
            if isinstance(news, ExitResult):
                self._end_rest(was_lost)
                return news._replace(was_lost=was_lost, is_to_stop=is_to_stop)
            if news == _LOST:
                was_lost = True
                self._kill_s = time.monotonic() + self._grace_s
                self._send(signal.SIGTERM)
                self._send(signal.SIGCONT)  # a stopped process handles SIGTERM only after this
            else:
                is_to_stop |= was_lost or news not in _OF_COMMANDS
                if self._has_group or news not in _OF_TERMINAL:
                    self._send(news)

    def _wait(self) -> None:
        status = self._process.wait()
        self._news.put(ExitResult(status if status >= 0 else 128 - status))

    def _report(self, wait_lost: Callable[[], object]) -> None:
        wait_lost()
        self._news.put(_LOST)

    def _left_s(self) -> float:
        if self._kill_s is None:
            return WAIT_S_MAX
        return min(WAIT_S_MAX, max(0.0, self._kill_s - time.monotonic()))

    def _send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._has_group:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def _end_rest(self, was_lost: bool) -> None:
        """Wait for the processes that the ended command had started, and end them."""
        while was_lost and self._has_group:
            try:
                os.killpg(self._process.pid, 0)
            except (ProcessLookupError, PermissionError):
                return
            if self._kill_s is None or self._left_s() == 0.0:  # SIGKILL was sent, or is due
                self._send(signal.SIGKILL)
                return
            time.sleep(_CHECK_S)


def _killed_with_this() -> Callable[[], None] | None:
    """Return a function that a new process must call before its program begins, so that the kernel
    kills it when this process is gone, even after kill -9. Return None on systems without this
    feature. The kernel does not kill the new process's own children."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes  # needed only to start a command
    except ImportError:
        return None
    prctl, starter = ctypes.CDLL(None).prctl, os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != starter:  # it has already ended
            os._exit(128 + signal.SIGKILL)

    return tie
