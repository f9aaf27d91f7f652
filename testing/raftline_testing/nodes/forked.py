"""Nodes for tests, forked from a process that has loaded their program. A start takes a tenth of a
second less of processor time.

The new process is a child of this one. Its arguments, folder, environment, descriptors, command
line and exit status are those of a process that is started as usual. Two loaded processes take
turns, so that two nodes hash strings in different ways, as processes do that share nothing.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from raftline.common.process.server_process import SERVER

from . import loaded_program
from .controlled import CONTROLLED

LOADED = 2  # for each program
# Variables that a program reads after it is loaded; any other may matter before.
_READ_LATER = ("RAFTLINE_LIFELINE", "RAFTLINE_SERVER_", "PYTEST_CURRENT_TEST")
_INHERITED = ("Uid:", "Gid:", "Groups:", "Umask:", "SigBlk:", "SigIgn:", "CapEff:", "Cpus_allowed:")
# restore_signals, gid, gids, uid, umask, start_new_session and process_group of Popen
_DEFAULTS = (True, None, None, None, -1, False, -1)


class ForkedPopen(subprocess.Popen[bytes]):
    """A process that is forked if it runs one of the programs and its surroundings are those of the
    loaded process; otherwise it is started as usual."""

    programs: ClassVar[Sequence[str]] = (str(SERVER), *filter(None, [CONTROLLED]))
    is_forked = False

    def _execute_child(self, command: Any, *given: Any) -> None:
        """Start the process. Popen calls this with all arguments by position."""
        executable, prepare, closes, kept, folder, variables, _, _, shell, *rest = given
        pipes, others = rest[:6], tuple(rest[6:])
        order = {
            "command": list(map(str, command)),
            "folder": os.path.abspath(folder or "."),
            "environment": dict(os.environ if variables is None else variables),
        }
        python, program = [*order["command"], ""][:2]
        is_plain = closes and not (executable or prepare or shell)
        is_usual = is_plain and others == _DEFAULTS[: len(others)]
        can_fork = is_usual and python == sys.executable and program in self.programs
        loaded = _loaded.process_for(order) if can_fork else None
        if loaded is None:
            super()._execute_child(command, *given)  # type: ignore[misc]
            return
        self.pid = loaded.fork(order, [pipes[0], pipes[3], pipes[5]], kept)
        self.is_forked = self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


class _LoadedProcess:
    """A process that has loaded a program, and forks others on order."""

    def __init__(self, program: str, variables: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, loaded_program.__file__, program, str(theirs.fileno())]
            self._process = subprocess.Popen(
                [*command, " " * loaded_program.TITLE_BYTES],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=variables,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._close)

    def fork(self, order: Mapping[str, Any], streams: Sequence[int], kept: Sequence[int]) -> int:
        """Return the number of a new process, which gets these standard streams (-1 for this
        process's own), and the descriptors of `kept` under their numbers."""
        first = [place if each == -1 else each for place, each in enumerate(streams)]
        text = json.dumps({**order, "places": [*range(len(first)), *kept]})
        with self._lock:
            socket.send_fds(self._door, [text.encode()], [*first, *kept])
            pid = self._door.recv(64)
        if not pid:
            raise ChildProcessError("the process that forks nodes has ended")
        return int(pid)

    def _close(self) -> None:
        self._door.close()
        self._process.wait()


class _LoadedProcesses:
    """The loaded processes of this one, each started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._turns = itertools.cycle(range(LOADED))
        self._processes: dict[tuple[str, int], _LoadedProcess] = {}
        self._variables = _unread(os.environ)
        self._surroundings = _surroundings()

    def process_for(self, order: Mapping[str, Any]) -> _LoadedProcess | None:
        """Return a process that can fork one for this order, or None."""
        if (
            _unread(order["environment"]) != self._variables
            or _surroundings() != self._surroundings
        ):
            return None
        with self._lock:
            key = (order["command"][1], next(self._turns))
            if key not in self._processes:
                self._processes[key] = _LoadedProcess(key[0], self._variables)
            return self._processes[key]


def _unread(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that may matter when a program is loaded."""
    return {name: text for name, text in environment.items() if not name.startswith(_READ_LATER)}


def _surroundings() -> object:
    """Return what else a new process inherits from this thread."""
    thread = Path("/proc/thread-self")
    status = (thread / "status").read_text().splitlines()
    return (
        [line for line in status if line.startswith(_INHERITED)],
        (thread / "limits").read_text(),
        os.nice(0),
    )


_loaded = _LoadedProcesses()
