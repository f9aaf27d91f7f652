"""The output of every lab's programs: a line for each row or error, and an exit status."""

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
    """The rows of one lab. Each tried row is printed as `ok` or `FAILED`, with the reason."""

    def __init__(self, *expected: str) -> None:
        self._missing = list(expected)
        self._failed: list[str] = []
        self._begin_s = time.monotonic()

    @contextmanager
    def row(self, *names: str, what: str) -> Iterator[None]:
        """Prove rows: an exception inside is their failure, in one line; the lab continues."""
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
        """Print the result; return the exit status: 0 if every row was proved."""
        for name in self._missing:
            print(f"FAILED {name} it was never tried", flush=True)
        bad = len({*self._failed, *self._missing})
        seconds = time.monotonic() - self._begin_s
        print(f"{'all rows hold' if not bad else f'{bad} rows failed'}, {seconds:.0f} s")
        return 1 if bad else 0


def end_with(main: Callable[[], int]) -> NoReturn:
    """End the process with the status that `main` returns. Others: 130 after Ctrl-C, 143 after
    SIGTERM, 129 without its terminal; 1 if a file or a port isn't available. One line says so,
    after the clean-up of `main` itself."""
    program = Path(sys.argv[0]).name
    signal.signal(signal.SIGINT, signal.default_int_handler)  # until now it ended us quietly
    for number in STOP_SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:  # not under nohup
            signal.signal(number, _stop)
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # `| head`: the reader needs no more
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
    """A signal to end this process; like Ctrl-C, only `end_with` catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, _: FrameType | None) -> None:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # once is enough: the clean-up has begun
    raise StopSignal(number)


def expect(text: str, *parts: str) -> str:
    """Return `text`, which must hold each of these parts; fail with the missing part."""
    lacking = [part for part in parts if part not in text]
    if lacking:
        raise AssertionError(f"{lacking[0]!r} is not in {text[-600:]!r}")
    return text
