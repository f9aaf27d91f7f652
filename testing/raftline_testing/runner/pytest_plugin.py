"""Settings for all tests: lanes, progress, default signals, property tests."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from raftline.common.arguments import build

from ..doubles.scripted_node import Start, scripted_nodes
from ..extensions import find_in_tree
from .parts import MISSING, needs_missing
from .progress import Progress

PROCESSES = "processes"  # the folder of the tests that start real nodes
VIRTUAL = "virtual"
SMOKE = "test_smoke.py"

find_in_tree()

# `make test &` in a script, `nohup`, or a build machine may ignore these signals, and the processes
# that tests start would inherit that. A signal that is handled here has its default in a child.
signal.signal(signal.SIGINT, signal.default_int_handler)
for ignored in (signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(ignored) is signal.SIG_IGN:
        signal.signal(ignored, signal.SIG_DFL)

# A shell may forbid bytecode. Each node that a test starts would then compile all of its modules.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# By default Hypothesis fails a test whose example takes 0.2 s, or whose examples take a second to
# draw. On a busy machine this may happen. It also draws other examples each time, which is left to
# the night.
ALL = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], max_examples=100
)
settings.register_profile("raftline", ALL)
settings.register_profile("quick", ALL, max_examples=30)
settings.register_profile("night", ALL, max_examples=1000, derandomize=False, print_blob=True)
settings.load_profile("raftline")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lane", choices=("quick", "rest", "nightly"), help="a part; default: all but the nightly"
    )
    parser.addoption("--word", help="tests with this word in the name of the file or the function")
    parser.addoption("--progress", action="store_true", help="one line in place of the dots")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("lane") == "quick":
        settings.load_profile("quick")
    if config.getoption("progress") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if build() == "compiled":
        items[:] = [item for item in items if not item.get_closest_marker("pure")]
    lane, word = config.getoption("lane"), config.getoption("word")
    if word:
        items[:] = [item for item in items if word in f"{item.path.stem} {function_of(item)}"]
    if not lane:
        # A named file takes minutes, not the night; the night needs its own option.
        items[:] = [item for item in items if lane_of(item) != "nightly" or _is_asked(item)]
    else:
        items[:] = [item for item in items if lane_of(item) == lane]
        # The longest tests run first, so that the run doesn't end with one of them.
        items.sort(key=lambda item: VIRTUAL not in item.path.parts)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    word = config.getoption("word")
    if word and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        terminalreporter.write_line(f"no test has {word!r} in the name of its file or function")


def _is_asked(item: pytest.Item) -> bool:
    """Whether a test is named in full, with its parameter, or marks are chosen by hand."""
    return item.nodeid in item.config.args or any(
        mark in item.config.option.markexpr for mark in ("nightly", "judge")
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write lone surrogates as escapes. A worker can't send them, so a failed property with
    surrogates would end the whole run."""
    report = yield
    if report.failed and not report.longreprtext.isascii():
        report.longrepr = _sendable(report.longreprtext)
    report.sections = [(name, _sendable(text)) for name, text in report.sections]
    return report


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Dir:
    """Take each folder for a plain one: pytest would import the package that a folder is by its
    name, and so give `extensions/redis` the name of the package `redis`."""
    directory: pytest.Dir = pytest.Dir.from_parent(parent, path=path)
    return directory


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip files without a test in the quick lane, and tests of two parts if one is missing."""
    is_left = (
        config.getoption("lane") == "quick"
        and PROCESSES in collection_path.parts
        and collection_path.name.startswith("test_")
        and collection_path.name != SMOKE
    )
    is_test = MISSING and collection_path.match("test_*.py")
    return is_left or (is_test and needs_missing(collection_path.read_text("utf-8"))) or None


def function_of(item: pytest.Item) -> str:
    """Return the name of a test without its parameters."""
    return str(getattr(item, "originalname", item.name))


def lane_of(item: pytest.Item) -> str:
    """Return the lane of a test: `make nightly`, `make test`, which includes only the smoke tests
    of real processes, or `make test-rest`."""
    if item.get_closest_marker("nightly") or item.get_closest_marker("judge"):
        return "nightly"
    if item.get_closest_marker("slow"):
        return "rest"
    is_quick = PROCESSES not in item.path.parts or item.path.name == SMOKE
    return "quick" if is_quick else "rest"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function in an event loop of its own."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    asyncio.run(
        test(**{name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters})
    )
    return True


@pytest.fixture(params=["asyncio", pytest.param("uvloop", marks=pytest.mark.slow)])
def event_loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test with event loops of asyncio, then of uvloop, which has no wheel for some
    Pythons."""
    if request.param == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        monkeypatch.setattr(asyncio.events, "new_event_loop", uvloop.new_event_loop)
    return str(request.param)


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that starts nodes that answer from a script."""
    with scripted_nodes() as start_node:
        yield start_node
