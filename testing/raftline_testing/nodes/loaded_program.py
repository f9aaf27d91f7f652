"""A process that has loaded a program and forks one that runs it for each order: see forked.py.

It is started as `python3 loaded_program.py PROGRAM DESCRIPTOR TITLE`. Each order is a JSON message
over the socket DESCRIPTOR, which brings the descriptors of the new process; the answer is the
number of that process. TITLE is space for the command line of the new process.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import io
import json
import os
import platform
import runpy
import signal
import socket
import sys
from typing import Any

ORDER_BYTES = 1 << 17
TITLE_BYTES = 4000
_CLONE = {"x86_64": 56, "aarch64": 220}  # the number of the system call
_CLONE_PARENT = 0x8000  # the new process is a child of this one's parent, which can wait for it
_HIGH = 200  # descriptors above those that the new process gets
_ARG_START = 45  # in /proc/self/stat, counted after the name


def can_fork() -> bool:
    """Whether this system can fork a process for the parent."""
    return sys.platform == "linux" and platform.machine() in _CLONE


def main(program: str, descriptor: int) -> None:
    """Load the program; run it in each new process, and nothing more in this one."""
    sys.path[0] = os.path.dirname(program)
    order = None
    with contextlib.suppress(KeyboardInterrupt):  # by Ctrl-C at the tests
        runpy.run_path(program, run_name="loaded")
        order = _next_order(socket.socket(fileno=descriptor))
    if order is not None:
        _run(program, order)


def _next_order(door: socket.socket) -> dict[str, Any] | None:
    """Answer orders; return each in its new process, and None at the end of this one."""
    while True:
        text, descriptors, _, _ = socket.recv_fds(door, ORDER_BYTES, _HIGH)
        if not text:
            return None
        order: dict[str, Any] = json.loads(text)
        pid = _fork()
        if not pid:
            door.close()
            _take(descriptors, order["places"])
            return order
        for each in descriptors:
            os.close(each)
        door.send(str(pid).encode())


def _fork() -> int:
    """Fork as os.fork does, for the parent of this process."""
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = ctypes.PyDLL(None).syscall(
        _CLONE[platform.machine()], _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0
    )
    if pid:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    return pid


def _take(descriptors: list[int], places: list[int]) -> None:
    """Give the descriptors their numbers, and close them under their present ones."""
    high = [fcntl.fcntl(each, fcntl.F_DUPFD, _HIGH) for each in descriptors]
    for each in descriptors:
        os.close(each)
    for each, place in zip(high, places, strict=True):
        os.dup2(each, place)
        os.close(each)


def _renew_streams() -> None:
    """Open the standard streams as Python does at a start. The old objects know what they led to,
    such as whether it was seekable."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        buffering = 0 if isinstance(old.buffer, io.RawIOBase) else -1  # PYTHONUNBUFFERED
        file: Any = os.fdopen(number, "wb" if number else "rb", buffering, closefd=False)
        getattr(file, "raw", file).name = f"<{name}>"
        stream = io.TextIOWrapper(
            file,
            old.encoding,
            old.errors,
            newline="\n",
            line_buffering=old.line_buffering or (buffering != 0 and os.isatty(number)),
            write_through=old.write_through,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _run(program: str, order: dict[str, Any]) -> None:
    _renew_streams()
    _entitle(order["command"])
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = order["command"][1:]
    runpy.run_path(program, run_name="__main__")


def _entitle(words: list[str]) -> None:
    """Overwrite the command line that the system shows for this process."""
    with open("/proc/self/stat", "rb") as file:
        start = int(file.read().rpartition(b")")[2].split()[_ARG_START])
    with open("/proc/self/cmdline", "rb") as file:
        room = len(file.read())
    title = b"\0".join(map(os.fsencode, words))[: room - 1]
    ctypes.memmove(start, title.ljust(room, b"\0"), room)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
