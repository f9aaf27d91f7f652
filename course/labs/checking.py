"""The output of every lab's programs: one line a row, one for an error, an exit status."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Rows:
    """The rows of one lab. Each that was tried is printed as `ok` or `FAILED`, with why."""

    def __init__(self, *expected: str) -> None:
        self._missing = list(expected)
        self._failed: list[str] = []
        self._begin_s = time.monotonic()

    @contextmanager
    def row(self, *names: str, what: str) -> Iterator[None]:
        """Prove rows: an exception inside is their failure, in one line; the lab goes on."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except Exception as problem:
            self._failed += names
            reason = " ".join(str(problem).split()) or type(problem).__name__
            verdict = "FAILED"
            what = f"{what}: {reason[:400]}"
        else:
            verdict = "ok"
        for name in names:
            print(f"{verdict} {name} {what}", flush=True)
            if name in self._missing:
                self._missing.remove(name)

    def finish(self) -> int:
        """Say how it went; return the exit status: 0 where every row was proved."""
        for name in self._missing:
            print(f"FAILED {name} it was never tried", flush=True)
        bad = len({*self._failed, *self._missing})
        seconds = time.monotonic() - self._begin_s
        print(f"{'all rows hold' if not bad else f'{bad} rows failed'}, {seconds:.0f} s")
        return 1 if bad else 0


def end_with(main: Callable[[], int]) -> NoReturn:
    """End the process with the status that `main` returns. Others: 130 after Ctrl-C, 143 after
    SIGTERM, 129 without its terminal; 1 if a file or a port can't be had. One line says so, after
    what `main` itself has cleaned up."""
    program = Path(sys.argv[0]).name
    signal.signal(signal.SIGINT, signal.default_int_handler)  # so far it has ended us quietly
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:  # not so under nohup
            signal.signal(number, _stop)
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # `| head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        status = 130
    except StopSignal as asked:
        status = 128 + asked.number
    except OSError as problem:
        print(f"{program}: {problem}", file=sys.stderr)
        status = 1
    sys.exit(status)


class StopSignal(BaseException):
    """Someone asked this process to end; like Ctrl-C nothing but `end_with` catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, _: FrameType | None) -> None:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # once is enough: now everything is tidied up
    raise StopSignal(number)


def expect(text: str, *parts: str) -> str:
    """Return `text`, which holds each of these parts; fail naming what it lacks."""
    lacking = [part for part in parts if part not in text]
    if lacking:
        raise AssertionError(f"{lacking[0]!r} is not in {text[-600:]!r}")
    return text
