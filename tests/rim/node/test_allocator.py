"""Memory that a node needs no more is collected and given back by its bytes."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

from raftline.common.process import allocator
from raftline.common.process.allocator import Tidy

MIB = 1 << 20


class Process:
    """The memory that is resident, and what was done about it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes, self.done = 100 * MIB, []  # type: int, list[str]
        monkeypatch.setattr(allocator, "resident_bytes", lambda: self.bytes)
        monkeypatch.setattr(allocator.gc, "collect", lambda: self.done.append("collected"))
        monkeypatch.setattr(allocator, "give_back", lambda: self.done.append("given back"))


def test_garbage_is_collected_once_a_process_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(monkeypatch)
    tidy = Tidy(32 * MIB, looks=1000)
    tidy.look()
    process.bytes += 32 * MIB
    tidy.look()
    assert process.done == []
    process.bytes += 1
    tidy.look()
    tidy.look()
    assert process.done == ["collected", "given back"]  # it counts from then on


def test_free_pages_are_given_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(monkeypatch)
    tidy = Tidy(32 * MIB, looks=3)
    for _ in range(7):
        tidy.look()
    assert process.done == ["given back", "given back"]


def test_a_system_that_reports_no_memory_has_no_collections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = Process(monkeypatch)
    process.bytes = 0
    tidy = Tidy(32 * MIB, looks=1000)
    tidy.look()
    assert process.done == []


def test_the_process_is_measured_and_gives_back() -> None:
    assert allocator.resident_bytes() >= 0
    allocator.give_back()


def test_a_python_without_ctypes_gives_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "ctypes", None)
    allocator.give_back_soon()
    allocator.give_back()


BLOCKS = """
import resource
from raftline.common.process import allocator
allocator.give_back_soon()
block = b"x" * (1 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    del block
    block = b"x" * (1 << 20)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 100)
for _ in range(3):
    block = b"x" * (8 << 20)
    before = allocator.resident_bytes()
    del block
print(before - allocator.resident_bytes() >> 20)
"""


@pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="the settings are glibc's")
def test_memory_of_a_value_is_reused_and_the_rest_returned() -> None:
    """The memory of a value is used again, and any excess is returned to the system."""
    command = [sys.executable, "-c", BLOCKS]
    faults, mebibytes = map(int, subprocess.check_output(command, timeout=60).split())
    assert faults < 16  # pages that the kernel clears, of 256
    assert mebibytes >= 7


READING = """
import gc, json
from raftline.common.process import allocator
allocator.collect_seldom()
assert gc.get_freeze_count() > 0
before = [each["collections"] for each in gc.get_stats()]
json.loads("[" + "[]," * 250_000 + "[]]")
print([each["collections"] - was for each, was in zip(gc.get_stats(), before)][1:])
"""


@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="its collector")
def test_reading_a_long_object_begins_few_collections() -> None:
    run = subprocess.run(
        [sys.executable, "-c", READING], capture_output=True, text=True, check=True, timeout=60
    )
    assert sum(json.loads(run.stdout)) <= 2, "of older objects, for what is no garbage"
