"""The time of day decides nothing: it can be set, and jumps. One module of a node reads a clock."""

from __future__ import annotations

import ast
from pathlib import Path

from raftline_testing.runner.parts import there
from tests.lists.trees import parts_of, sources, within

SOURCE = Path(__file__).resolve().parents[2] / "src"
SHOWN = SOURCE / "server.py"  # on a console, with --log-times
WRITTEN = SOURCE / "access" / "authority.py"  # into certificates, which are good from then on
WARNED = SOURCE / "access" / "expiry.py"  # people, of certificates that end soon
COMPARED = SOURCE / "common" / "time_of_day.py"  # by people, with that of other machines
DOES = {
    "guarded_thread": "begins a thread", "begin_thread": "begins a thread",
    "time.sleep": "sleeps", "open": "opens a file",
    "os.open": "opens a file", "beside.open": "opens a file", "path.open": "opens a file",
    "log.open": "opens a file",
}  # fmt: skip
DOERS = {
    "begins a thread": {
        "node/loop/driver.py",  # the owner and the writer
        "node/snapshots/snapshot_threads.py",
        "node/watches/watch_registry.py",  # lists keys anew
        "picture/live/observers.py",
        "node/program/joining.py",
        "node/program/service.py",  # reads files again
    },
    "sleeps": {
        "node/loop/driver.py",
        "picture/live/observers.py",
        "node/program/joining.py",
    },
    "opens a file": {
        "picture/live/file_recorder.py",
        "node/program/joining.py",
        "node/program/cpu_affinity.py",  # /proc/stat
    },
}
WALL_CLOCKS = {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime", "datetime", "mktime"}


def wall_clocks_read_by(path: Path) -> list[str]:
    """Return where a module reads the time of day, as `file:line name`."""
    found = []
    for node in parts_of(path):
        names: list[str] = []
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "time":
            names = [node.attr]
        elif isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name == "datetime"]
        at = f"{path.name}:{getattr(node, 'lineno', 0)}"
        found += [f"{at} {name}" for name in names if name in WALL_CLOCKS]
    return found


def modules_of_a_node() -> list[Path]:
    return [*sources("node"), *sources("picture/live")]


def test_no_module_reads_the_time_of_day() -> None:
    modules = sources()
    assert "driver.py" in [path.name for path in modules]
    deciding = [path for path in modules if path not in (SHOWN, WRITTEN, WARNED, COMPARED)]
    assert [place for path in deciding for place in wall_clocks_read_by(path)] == []


def test_one_module_of_a_node_reads_a_clock() -> None:
    """The others get a `Clock`, so that a schedule can set the time."""
    readers = {
        path.name
        for path in modules_of_a_node()
        for part in parts_of(path)
        if (
            (isinstance(part, ast.Attribute) and getattr(part.value, "id", "") == "time")
            and part.attr != "sleep"
        )
        or (isinstance(part, ast.ImportFrom) and part.module == "time")
    }
    assert readers == {"clock.py"}


def test_few_modules_of_a_node_begin_threads_sleep_or_open_files() -> None:
    """All other modules of a node are given a clock, threads and files."""
    doers: dict[str, set[str]] = {}
    for path in modules_of_a_node():
        for part in parts_of(path):
            if isinstance(part, ast.Call):
                called = ast.unparse(part.func)
                if called in DOES:
                    doers.setdefault(DOES[called], set()).add(within(path))
    assert doers == {deed: there(doing) for deed, doing in DOERS.items()}


def test_a_module_that_reads_it_would_be_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("import time\nfrom datetime import datetime\ntime.time()\n")
    assert wall_clocks_read_by(module) == ["module.py:2 datetime", "module.py:3 time"]
