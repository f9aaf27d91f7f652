"""A plugin of pytest with two parts: the first run of the tests finds those that execute a planted
fault, and the second gives each fault a fork of its own, in which these tests run.

`RAFTLINE_FAULTS` is the path of the plan that `mutate.py` wrote. This module is imported before
any module of raftline, and so imports none.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import itertools
import json
import os
import select
import signal
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .faults import ASK, FIRST, planted

PLAN = Path(os.environ["RAFTLINE_FAULTS"])
_plan: dict[str, Any] = json.loads(PLAN.read_text(encoding="utf-8"))
_modules: dict[str, tuple[int, set[int]]] = {
    file: (offset, set(numbers)) for file, (offset, numbers) in _plan["modules"].items()
}
HUNG_S = 15.0  # at the least, for a test that takes no time without the fault

in_force = -1
_executed: set[int] = set()


def ask(number: int) -> bool:
    """Return whether a fault is in force, and record that it was reached."""
    _executed.add(number)
    return number == in_force


def first(is_in_force: bool, each: Iterable[Any]) -> Iterable[Any]:
    """Return the first element alone if the fault is in force."""
    return itertools.islice(each, 1) if is_in_force else each


_loader: Any = importlib.machinery.SourceFileLoader
_get_code, _exec_module = _loader.get_code, _loader.exec_module


def _code_with_faults(loader: Any, fullname: str) -> Any:
    path = os.path.realpath(loader.get_filename(fullname))
    if path not in _modules:
        return _get_code(loader, fullname)
    offset, numbers = _modules[path]
    tree = planted(Path(path).read_text(encoding="utf-8"), numbers, offset)
    return compile(tree, path, "exec", dont_inherit=True)


def _run_with_faults(loader: Any, module: Any) -> None:
    vars(module).update({ASK: ask, FIRST: first})
    _exec_module(loader, module)


_loader.get_code = _code_with_faults
_loader.exec_module = _run_with_faults


class Recorder:
    """Records which tests execute each planted fault, and how long they take."""

    def __init__(self) -> None:
        self._tests: dict[str, tuple[float, list[int]]] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        _executed.clear()
        began_s = time.monotonic()
        result = yield
        if _executed:
            self._tests[item.nodeid] = (time.monotonic() - began_s, sorted(_executed))
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._tests[report.nodeid] = (-1.0, [])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._tests:
            name = f"{PLAN.stem}-{getattr(session.config, 'workerinput', {}).get('workerid', '')}"
            path = PLAN.with_name(f"{name}.executed.json")
            path.write_text(json.dumps(self._tests), encoding="utf-8")


class Judge:
    """Runs, for each fault of this process, the tests that execute it, in a fork."""

    def __init__(self, faults: list[tuple[int, list[tuple[str, float]]]], until_s: float) -> None:
        self._faults = faults
        self._until_s = until_s
        self._pipe = -1

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        for number, tests in self._faults:
            if time.time() > self._until_s:
                break
            known = [(items[name], took_s) for name, took_s in tests if name in items]
            noticed = self._noticed(number, known)
            line = json.dumps([number, len(known), noticed])
            os.write(1, f"\n{_plan['mark']}{line}\n".encode())
        return True

    def _noticed(self, number: int, tests: list[tuple[pytest.Item, float]]) -> str:
        """Return the first test that fails with this fault, "" if none does."""
        read, write = os.pipe()
        child = os.fork()
        if not child:
            self._run(number, [item for item, _ in tests], read, write)
        os.close(write)
        try:
            return self._awaited(read, tests)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(read)

    @staticmethod
    def _awaited(read: int, tests: list[tuple[pytest.Item, float]]) -> str:
        """The process writes a byte after each test, and ends at a failure."""
        for item, took_s in tests:
            limit_s = HUNG_S + 10 * took_s
            if not select.select([read], [], [], limit_s)[0] or not os.read(read, 1):
                return item.nodeid
        return ""

    def _run(self, number: int, items: list[pytest.Item], read: int, write: int) -> None:
        """Run the tests; the process ends here, at the first failure."""
        global in_force
        try:
            os.close(read)
            os.setpgid(0, 0)
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (1, 2):
                os.dup2(nothing, stream)
            in_force = number
            self._pipe = write
            for item, following in itertools.zip_longest(items, items[1:]):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                os.write(write, b".")
        finally:
            os._exit(0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self._pipe >= 0:
            os._exit(1)


def _share(config: pytest.Config) -> Iterator[tuple[int, list[tuple[str, float]]]]:
    part = int(os.environ["RAFTLINE_FAULTS_PART"])
    for place, (number, tests) in enumerate(_plan["judged"]):
        if place % _plan["parts"] == part:
            yield number, tests


def pytest_configure(config: pytest.Config) -> None:
    if "judged" in _plan:
        config.pluginmanager.register(Judge([*_share(config)], _plan["until_s"]))
    elif not config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "judged" in _plan:
        named = {name for _, tests in _plan["judged"] for name, _ in tests}
        items[:] = [item for item in items if item.nodeid in named]
