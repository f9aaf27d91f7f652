"""Schedules find faults of a node's rim by themselves: the program that hunts them, and a slice."""

from __future__ import annotations

import subprocess
import sys

import pytest

from raftline_testing.mutants.listed import HERE, ROOT, read
from raftline_testing.virtual.mutants import hunt, runs_in_schedules

LISTED = [one.name for one in read((HERE / "rim.txt").read_text("utf-8"))]
QUICK = (
    "refused-batches-dropped",
    "owner-not-woken",
    "given-up-without-a-word",
)

OF_CLIENTS = ("lock-taken-from-its-holder", "lease-counts-from-the-answer", "late-grant-is-held")


def hunted(seconds: int, *names: str) -> str:
    command = [
        sys.executable,
        "-m",
        "raftline_testing.virtual.mutants",
        "--seconds",
        str(seconds),
        "--only",
    ]
    run = subprocess.run([*command, *names], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_each_listed_fault_is_of_a_module_that_runs_in_schedules() -> None:
    assert all(runs_in_schedules(one) for one in read((HERE / "rim.txt").read_text("utf-8")))


@pytest.mark.pure
def test_nothing_is_found_in_a_tree_without_a_fault() -> None:
    assert hunt(0.5) == ""


@pytest.mark.pure  # it puts faults into Python files
@pytest.mark.slow
def test_some_faults_are_found_by_schedules_alone() -> None:
    output = hunted(60, *QUICK)
    assert f"{len(QUICK)} of {len(QUICK)} found" in output, output


@pytest.mark.pure
@pytest.mark.slow
def test_faults_of_clients_are_found_by_schedules_alone() -> None:
    output = hunted(60, *OF_CLIENTS)
    assert f"{len(OF_CLIENTS)} of {len(OF_CLIENTS)} found" in output, output


@pytest.mark.pure
@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_each_listed_fault_is_found_by_schedules_alone() -> None:
    output = hunted(300, *LISTED)
    assert f"{len(LISTED)} of {len(LISTED)} found" in output, output
