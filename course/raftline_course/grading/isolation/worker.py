"""The nursery of a hand-in's processes, and one such process: `worker.py SOCKET`.

The nursery receives the files of the hand-in, which are not on a disk. For each starting server it
forks a process, with three given pipes: questions, answers, prints. That process locks itself in
before it runs any line of the hand-in. It decides nothing about the grade: the judge asks, and
trusts only the Effects.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import resource
import socket
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

if __name__ == "__main__":
    del sys.path[0]  # this folder: the parent process passes the folder of the packages

from raftline_course.grading.isolation import sandbox
from raftline_course.grading.isolation.hand_in_core import Core, in_one_line

# A hand-in may import these and their imports; a later import finds no file.
AT_HAND = (
    "abc", "base64", "binascii", "bisect", "collections.abc", "contextlib", "copy", "dataclasses",
    "enum", "errno", "fcntl", "functools", "hashlib", "heapq", "hmac", "io", "itertools", "json",
    "math", "operator", "pathlib", "random", "re", "stat", "string", "struct", "textwrap",
    "threading", "time", "typing", "warnings", "zlib",
)  # fmt: skip


class HandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The finder of a hand-in's modules among its files."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files
        self._codes: dict[str, types.CodeType] = {}

    def compile_all(self) -> None:
        """Compile the files once for all processes. A file that can't be compiled fails at its
        import."""
        for name, source in self._files.items():
            with contextlib.suppress(Exception):
                self._codes[name] = compile(source, name, "exec")

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        place = fullname.replace(".", "/")
        for name in (f"{place}.py", f"{place}/__init__.py"):
            if name in self._files:
                is_package = name.endswith("/__init__.py")
                return importlib.machinery.ModuleSpec(
                    fullname, self, origin=name, is_package=is_package
                )
        if any(name.startswith(f"{place}/") for name in self._files):
            return importlib.machinery.ModuleSpec(fullname, self, origin="", is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        spec = module.__spec__
        if spec is not None and spec.origin:
            code = self._codes.get(spec.origin)
            exec(code or compile(self._files[spec.origin], spec.origin, "exec"), module.__dict__)


def serve(read: Callable[[], str], write: Callable[[str], object]) -> None:
    """Answer one line after the other."""
    core = Core()
    while line := read():
        try:
            answer = core.answer(json.loads(line))
        except Exception as error:
            answer = {"error": in_one_line(error)}
        write(json.dumps(answer) + "\n")


def begin(finder: HandInFinder, cpu_s: int, pipes: Sequence[int]) -> None:
    """Lock this process, and serve: questions come through the first pipe."""
    os.setsid()
    source, sink = os.fdopen(pipes[0], "r"), os.fdopen(pipes[1], "w", buffering=1)
    null = os.open(os.devnull, os.O_RDWR)
    prints = pipes[2] if len(pipes) > 2 else null
    for number, target in enumerate((null, prints, prints)):
        os.dup2(target, number)
    sys.stdin = os.fdopen(0, "r", closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)  # a line at a time
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    sandbox.set_limits(cpu_s)
    try:
        sandbox.lock()
    except OSError as error:
        sink.write(json.dumps({"refused": str(error)}) + "\n")
        return
    sink.write(json.dumps({"ready": True}) + "\n")
    sys.path.clear()
    sys.meta_path[:] = [finder]
    sys.dont_write_bytecode = True
    serve(source.readline, sink.write)


def main(arguments: Sequence[str]) -> None:
    """Receive the files, and fork a process whenever the judge asks for one, until the judge is
    gone."""
    control = socket.socket(fileno=int(arguments[0]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for name in AT_HAND:
        importlib.import_module(name)
    finder = HandInFinder(json.load(sys.stdin))
    finder.compile_all()
    while True:
        asked, pipes, _, _ = socket.recv_fds(control, 64, 3)
        if not asked:
            return
        word, number = asked.decode().split()
        if word == "wait":
            control.sendall(b"%d\n" % os.waitpid(int(number), 0)[1])
            continue
        pid = os.fork()
        if not pid:
            control.close()
            begin(finder, int(number), pipes)
            os._exit(0)
        control.sendall(b"%d\n" % pid)
        for pipe in pipes:
            os.close(pipe)


if __name__ == "__main__":
    main(sys.argv[1:])
