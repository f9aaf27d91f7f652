"""The process of one hand-in for one run: `worker.py CPU_SECONDS`, a JSON line in, one out.

The first line has the files of the hand-in, which are code from there on and lie nowhere. The
process locks itself in before it runs any of them. It decides nothing about the grade: the judge
asks, and believes nothing that can't be seen in the Effects.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import json
import os
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from typing import Any

if __name__ == "__main__":
    del sys.path[0]  # this folder: the starter of the process names where the packages are

from raftline.raft import effects, inputs, log, state
from raftline_course.grading import codec, sandbox
from raftline_course.grading.start import Given, Start

# A hand-in may import these, and what they import; a later import finds no file.
AT_HAND = (
    "abc", "bisect", "binascii", "collections.abc", "contextlib", "copy", "dataclasses", "enum",
    "errno", "fcntl", "functools", "heapq", "io", "itertools", "json", "math", "operator",
    "pathlib", "random", "re", "stat", "string", "struct", "textwrap", "threading", "time",
    "typing", "warnings", "zlib",
)  # fmt: skip
TEXT_MAX = 600


class HandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of a hand-in among its files."""

    def __init__(self, files: dict[str, str]) -> None:
        self._files = files

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
            exec(compile(self._files[spec.origin], spec.origin, "exec"), module.__dict__)


class Cores:
    """The cores of one run, by name."""

    def __init__(self) -> None:
        self._cores: dict[str, Any] = {}
        self._timeout_ms = 0
        self._drawn = 0

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Carry out one line of the judge."""
        self._timeout_ms, self._drawn = asked.get("timeout", 0), 0
        if "machine" in asked:
            machine = importlib.import_module("machine").Machine()
            return {"replies": [machine.execute(command) for command in asked["machine"]]}
        name = asked["node"]
        if "start" in asked:
            self._cores[name] = self._begin(asked["start"], asked["now"])
            made = effects.Effects()
        else:
            taken = codec.decode(asked["taken"], inputs.Input)
            made = self._cores[name].step(taken, asked["now"])
        core = self._cores[name]
        role = getattr(core.role, "value", core.role)
        view = [core.term, core.vote, role, core.leader, core.commit_index, core.wake_at_ms]
        return {"effects": codec.encode(made), "view": view, "drawn": self._drawn}

    def _begin(self, start: dict[str, Any], now_ms: int) -> Any:
        options = start.pop("options")
        given = codec.decode(start, Given)
        held = log.Log(given.base_index, given.base_term)
        for entry in given.entries:
            held.append(entry.term, entry.command)
        node = importlib.import_module("raft").Node
        return node(
            Start(
                given.name,
                given.members,
                held,
                given.term,
                given.vote,
                given.snapshot,
                state.Options(**options),
                self._pick,
                given.lost,
            ),
            now_ms,
        )

    def _pick(self) -> int:
        self._drawn += 1
        return self._timeout_ms


def serve(read: Callable[[], str], write: Callable[[str], object]) -> None:
    """Answer one line after the other."""
    cores = Cores()
    while line := read():
        try:
            answer = cores.answer(json.loads(line))
        except Exception as error:
            answer = {"error": in_one_line(error)}
        write(json.dumps(answer) + "\n")


def in_one_line(error: BaseException) -> str:
    """Return an exception in a line: what, and in which line of the hand-in."""
    places = traceback.extract_tb(error.__traceback__)
    own = [place for place in places if not place.filename.startswith("/")]
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:TEXT_MAX]}{where}"


def main(arguments: Sequence[str]) -> None:
    """Take the files, lock this process, and serve."""
    source, sink = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w", buffering=1)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    for name in AT_HAND:
        importlib.import_module(name)
    files = json.loads(source.readline())
    sandbox.set_limits(int(arguments[0]))
    try:
        sandbox.lock()
    except OSError as error:
        sink.write(json.dumps({"refused": str(error)}) + "\n")
        return
    sink.write(json.dumps({"ready": True}) + "\n")
    sys.path.clear()
    sys.meta_path[:] = [HandInFinder(files)]
    sys.dont_write_bytecode = True
    serve(source.readline, sink.write)


if __name__ == "__main__":
    main(sys.argv[1:])
