"""The processes of a hand-in: one for each server, and a new one for each start of a server.

So no server of a run can look into another one, and none remembers data that isn't on its disk. A
nursery (`worker.py`) loads the modules that a hand-in needs once, and forks each process. No code
of the hand-in runs in the nursery.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import raftline
import raftline_course

WORKER = Path(__file__).with_name("worker.py")
WHERE = os.pathsep.join(
    str(Path(str(package.__file__)).absolute().parents[1])
    for package in (raftline, raftline_course)
)
LINE_MAX = 4 << 20
RUN_MAX = 64 << 20  # for all answers of a run, which the judge keeps; honest ones need about 3 MiB
PRINT_MAX = 200  # shown characters of a printed line
START_SECONDS = 60.0  # in which a process must start, or end
ANSWER_SECONDS = 60.0  # in which it must answer, even on a busy machine
Print = Callable[[str], None]


class HandInError(AssertionError):
    """The hand-in failed, or gave an impossible answer; the text is one line for its author."""


class TimeIsUp(HandInError):
    """The hand-in took too long, so no further runs of this milestone are tried."""


class CannotLock(Exception):
    """This machine refuses the lock around a hand-in, so none may run."""


def shown(text: str) -> str:
    """Return a hand-in's text in printable form: each control character as an escape, so that no
    terminal obeys it, and likewise each surrogate, which no file can hold."""
    return "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)


class Nursery:
    """The process that forks the servers of one hand-in. It ends after `with`."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-S", "-B", str(WORKER), str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={"PYTHONHASHSEED": "0", "PATH": "", "PYTHONPATH": WHERE, "RAFTLINE_PURE": "1"},
                pass_fds=(theirs.fileno(),),
            )
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError), pipe:
            pipe.write(json.dumps(dict(files)).encode())

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()

    @property
    def is_there(self) -> bool:
        return self._process.poll() is None

    def run(self, cpu_s: int = 20, wall_s: float = 600.0, say: Print | None = None) -> HandInRun:
        """Return a run of its servers; `say` gets the lines that they print."""
        return HandInRun(self, cpu_s, wall_s, say)

    def fork(self, cpu_s: int, descriptors: tuple[int, ...], wait_s: float) -> int:
        """Fork a process with these ends of its pipes; return its process id."""
        with contextlib.suppress(OSError):
            socket.send_fds(self._control, [b"start %d\n" % cpu_s], descriptors)
        return self._answer(wait_s)

    def status(self, pid: int, wait_s: float) -> int:
        """Wait for the end of one of its processes; return its status, as from `waitpid`."""
        with contextlib.suppress(OSError):
            self._control.sendall(b"wait %d\n" % pid)
        return self._answer(wait_s)

    def _answer(self, wait_s: float) -> int:
        got = b""
        while not got.endswith(b"\n"):
            if not select.select([self._control], [], [], wait_s)[0]:
                raise TimeIsUp("its process does not end, or does not begin, in time")
            piece = b""
            with contextlib.suppress(OSError):
                piece = self._control.recv(64)
            if not piece:
                raise HandInError("its files can't be loaded: Python's compiler ended at them")
            got += piece
        return int(got)


class HandInRun:
    """The servers of one run. They end after `with`."""

    def __init__(self, nursery: Nursery, cpu_s: int, wall_s: float, say: Print | None) -> None:
        self._nursery = nursery
        self._cpu_s = cpu_s
        self._until = time.monotonic() + wall_s
        self._say = say
        self._answered = 0  # bytes
        self._servers: dict[str, ServerProcess] = {}

    def __enter__(self) -> HandInRun:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.end()
        self._servers.clear()

    def begin(self, name: str) -> ServerProcess:
        """Return a new process for this server. The previous one is gone, as after a crash."""
        before = self._servers.pop(name, None)
        if before is not None:
            before.end()
        server = ServerProcess(
            self._nursery, name, self._cpu_s, self._until, self._say, self._count
        )
        self._servers[name] = server
        return server

    def _count(self, answered: int) -> None:
        self._answered += answered
        if self._answered > RUN_MAX:
            raise HandInError(f"the hand-in gave answers of more than {RUN_MAX} bytes in one run")


class ServerProcess:
    """The process of one start of one server."""

    def __init__(
        self,
        nursery: Nursery,
        name: str,
        cpu_s: int,
        until: float,
        say: Print | None,
        count: Callable[[int], None],
    ) -> None:
        self._nursery = nursery
        self._name = name
        self._cpu_s = cpu_s
        self._until = until
        self._asked_at = time.monotonic()
        self._say = say
        self._count = count
        self._rest = b""
        self._printed = b""
        their_questions, self._questions = os.pipe()
        self._answers, their_answers = os.pipe()
        self._prints, their_prints = os.pipe() if say is not None else (-1, -1)
        theirs = tuple(one for one in (their_questions, their_answers, their_prints) if one >= 0)
        self._pid = 0
        try:
            self._pid = nursery.fork(cpu_s, theirs, min(START_SECONDS, self._left_s()))
        finally:
            for one in theirs:
                os.close(one)
            if not self._pid:
                self.end()
        ready = self._ready()
        if "refused" in ready:
            self.end()
            raise CannotLock(ready["refused"])

    def _ready(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._read_line()))  # no code of the hand-in has run yet
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Kill it and its children."""
        pid, self._pid = self._pid, 0
        if pid:
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    kill(pid, signal.SIGKILL)
            with contextlib.suppress(HandInError):
                self._nursery.status(pid, START_SECONDS)
        if self._questions < 0:
            return
        self._take_prints(wait=bool(pid))
        for one in (self._questions, self._answers, self._prints):
            if one >= 0:
                os.close(one)
        self._questions = self._answers = self._prints = -1

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a question.

        Raises:
            HandInError: it raised an error, died, or gave an invalid answer.
        """
        self._asked_at = time.monotonic()
        self._write(question)
        try:
            answer = json.loads(self._read_line())
        except (ValueError, RecursionError):
            raise HandInError("the hand-in wrote into the pipe of its answers") from None
        if not isinstance(answer, dict):
            raise HandInError("the hand-in wrote into the pipe of its answers")
        if "error" in answer:
            raise HandInError(str(answer["error"])[:800])
        return answer

    def _write(self, value: Any) -> None:
        data = json.dumps(value).encode() + b"\n"
        try:
            while data:
                if not select.select([], [self._questions], [], self._left_s())[1]:
                    raise self._too_slow()
                data = data[os.write(self._questions, data[: select.PIPE_BUF]) :]
        except BrokenPipeError:
            raise self._ended() from None

    def _read_line(self) -> bytes:
        heard = [one for one in (self._answers, self._prints) if one >= 0]
        while b"\n" not in self._rest:
            if len(self._rest) > LINE_MAX:
                raise HandInError(f"the hand-in gave an answer of more than {LINE_MAX} bytes")
            ready = select.select(heard, [], [], self._left_s())[0]
            if not ready:
                raise self._too_slow()
            if self._prints in ready and not self._take_print():
                heard.remove(self._prints)
            if self._answers in ready:
                got = os.read(self._answers, 1 << 16)
                if not got:
                    raise self._ended()
                self._count(len(got))
                self._rest += got
        self._take_prints(wait=False)
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    # --- what it prints -----------------------------------------------------------------------

    def _take_prints(self, *, wait: bool) -> None:
        """Show its output so far; up to the end if it is gone."""
        if self._prints < 0:
            return
        while select.select([self._prints], [], [], 1.0 if wait else 0)[0] and self._take_print():
            continue

    def _take_print(self) -> bool:
        """Show a piece of its output; return False at the end."""
        got = os.read(self._prints, 1 << 16)
        *lines, self._printed = (self._printed + got).split(b"\n")
        if not got and self._printed:
            lines, self._printed = [self._printed], b""
        for line in lines:
            self._show(line)
        self._printed = self._printed[:PRINT_MAX]
        return bool(got)

    def _show(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")[:PRINT_MAX]
        if self._say is not None:
            self._say(f"{self._name} prints: {shown(text)}")

    # --- its end ------------------------------------------------------------------------------

    def _left_s(self) -> float:
        until = min(self._until, self._asked_at + ANSWER_SECONDS)
        return max(0.0, until - time.monotonic())

    def _too_slow(self) -> TimeIsUp:
        return TimeIsUp("it did not answer in time; an endless loop, or a wait?")

    def _ended(self) -> HandInError:
        status = self._nursery.status(self._pid, self._left_s())
        self._pid = 0  # it is gone, and its number may be another's
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
            return TimeIsUp(f"it used up its {self._cpu_s} s of processor time: an endless loop?")
        return HandInError(
            f"its process ended by itself, with status {os.waitstatus_to_exitcode(status)}"
        )
