"""A thread is started by `begin_thread`, which never waits for it, except in a few modules."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from raftline.common.process.signals import END_S
from raftline_testing.runner.parts import is_missing, there
from tests.lists.trees import ROOT, parts_of, sources, within

# `Thread.start` waits for ever if memory is short in the new thread. These modules start theirs
# before anything depends on them, with no lock held, and join them or are the whole program.
STARTS_AND_JOINS = {
    "common/process/console.py",
    "common/process/server_process.py",  # of programs that start nodes
    "net/connections/listener.py",
    "node/loop/driver.py",
    "node/snapshots/snapshot_threads.py",
    "objects/embedded_server.py",
}
STARTS_IN_A_PROGRAM = {  # in the thread of the caller, who wants the thread and waits for it
    "clients/kv/cached.py",
    "clients/watches/watch.py",
    "picture/view/viewer.py",
    "tools/local_cluster/local_cluster.py",
    "tools/local_cluster/relay.py",
    "tools/local_cluster/up.py",
    "tools/progress_bar.py",
    "tools/requests/held_command.py",
    "tools/requests/lock_command.py",
    "tools/status/status.py",
}
OF_NO_NODE = {"common/process/server_process.py", "common/process/guarded_thread.py"}
# Connections have no name; a lost one is one that its client makes again.
STARTS_BARE = {"common/process/guarded_thread.py", "net/connections/listener.py"}
WAITING = ("Thread", "Timer", "guarded_thread")


def names_called(path: Path) -> set[str]:
    """Return the last names of the calls in a module: `Thread` of `threading.Thread(...)`."""
    calls = [part.func for part in parts_of(path) if isinstance(part, ast.Call)]
    return {ast.unparse(call).rpartition(".")[2] for call in calls}


def modules_that_call(*names: str) -> set[str]:
    return {within(path) for path in sources() if names_called(path) & {*names}}


def test_only_these_modules_wait_for_a_thread_to_begin() -> None:
    helper = {"common/process/guarded_thread.py"}
    expected = there(STARTS_AND_JOINS | STARTS_IN_A_PROGRAM | helper)
    assert modules_that_call(*WAITING) == expected


def test_no_thread_is_begun_unguarded() -> None:
    assert modules_that_call("start_new_thread") == STARTS_BARE


@pytest.mark.parametrize("call", ["threading.Thread()", "Thread()", "threading.Timer(1, print)"])
def test_a_module_that_waits_would_be_found(tmp_path: Path, call: str) -> None:
    (tmp_path / "module.py").write_text(f"thread = {call}\nthread.start()\n")
    assert names_called(tmp_path / "module.py") & {*WAITING}


def texts_of(path: Path) -> set[str]:
    """Return the texts in a module, also those around the values of an f-string."""
    constants = [part.value for part in parts_of(path) if isinstance(part, ast.Constant)]
    return {value.strip() for value in constants if isinstance(value, str)}


def test_the_table_of_threads_has_the_names_of_the_sources() -> None:
    page = (ROOT / "docs" / "develop" / "start-here.md").read_text(encoding="utf-8")
    table = page.partition("\n## The threads of a node\n")[2].partition("\n## ")[0]
    begun = {
        within(path): texts_of(path)
        for path in sources()
        if names_called(path) & {"begin_thread", *WAITING}
        and not path.is_relative_to(ROOT / "library")
        and within(path) not in STARTS_IN_A_PROGRAM | OF_NO_NODE
    }
    named = set[str]()
    for place in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE):
        quoted = place.split("`")[1::2]
        if there(each for each in quoted if "/" in each):
            named |= {re.sub(" of PEER| HOST", "", each) for each in quoted if "/" not in each}
    assert named <= set().union(*begun.values())
    assert [module for module, texts in begun.items() if not texts & named] == []


@pytest.mark.parametrize(
    ("file", "seconds"),
    [
        ("deploy/systemd/raftline@.service", r"TimeoutStopSec=(\d+)"),
        ("deploy/kubernetes/statefulset.yaml", r"terminationGracePeriodSeconds: (\d+)"),
        ("deploy/container/docker-compose.yml", r"stop_grace_period: (\d+)s"),
        ("extensions/tools/local_cluster/unit.py", r"TimeoutStopSec=(\d+)"),
    ],
)
def test_a_supervisor_waits_until_a_node_has_ended(file: str, seconds: str) -> None:
    if is_missing(file):
        pytest.skip("it is not in this tree")
    found = re.search(seconds, (ROOT / file).read_text(encoding="utf-8"))
    assert found is not None
    assert int(found[1]) > END_S


def test_the_page_of_commands_says_how_long_an_end_takes() -> None:
    page = (ROOT / "docs" / "use" / "commands.md").read_text(encoding="utf-8")
    assert f"A node ends within {END_S:g} seconds of Ctrl-C, SIGTERM or a failure" in page
