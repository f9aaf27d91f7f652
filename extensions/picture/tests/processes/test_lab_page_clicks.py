"""Random clicks on the lab page: no error, and no memory that grows without end.

Ten seconds here; `make -C testing lab-clicks` clicks for half an hour and prints the memory.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from raftline.picture.tests.processes.lab_page import LabPage

SECONDS = 60 * float(os.environ.get("LAB_CLICKS_MINUTES") or 1 / 6)
SEED = int(os.environ.get("LAB_CLICKS_SEED") or 5)
CLICKS = Path(__file__).with_name("clicks.js").read_text(encoding="utf-8")
PART_S = 20.0
GROWTH_MAX = 1.25  # from the second third of the time to the last one


class Memory(NamedTuple):
    """The memory of the page in a new run."""

    page_mb: float  # objects of the page
    objects: int  # of Python
    wasm_mb: float  # the memory that Python's objects are in, which never shrinks

    def is_within(self, factor: float, other: Memory) -> bool:
        return all(one <= factor * each for one, each in zip(self, other, strict=True))


def memory(page: LabPage) -> Memory:
    """Open a new run, so that only what should not be kept makes a difference."""
    page.open("seed%201;at%2060")
    page.browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    used = page.browser.execute_cdp_cmd("Runtime.getHeapUsage", {})["usedSize"]
    worker = page.browser.execute_async_script("window.lab.memory().then(arguments[0])")
    return Memory(used / 1e6, worker["objects"], worker["bytes"] / 1e6)


def click(page: LabPage, seconds: float) -> int:
    """Click for a while; return the number of clicks since the first call."""
    told = page.browser.execute_async_script(CLICKS, SEED, 1000 * seconds)
    assert told["errors"] == []
    assert told["said"] == "real nodes, in virtual time"
    return int(told["count"])


def test_random_clicks_break_nothing_but_raft(page: LabPage) -> None:
    page.open("seed%205")
    begun_s = time.monotonic()
    seen: list[Memory] = []
    while (gone_s := time.monotonic() - begun_s) < SECONDS:
        count = click(page, min(PART_S, SECONDS - gone_s))
        # What happened so can be told by an address.
        facts = page.ask(do="look")
        again = page.ask(do="open", address=facts["address"])
        assert (again["moment"], again["nodes"]) == (facts["moment"], facts["nodes"])
        seen.append(memory(page))
        print(f"{time.monotonic() - begun_s:6.0f} s {count:7,} clicks, {seen[-1]}", flush=True)
    assert count > 100
    third = len(seen) // 3
    if third:
        middle, end = seen[third : 2 * third], seen[2 * third :]
        most = Memory(*map(max, zip(*middle, strict=True)))
        assert Memory(*map(max, zip(*end, strict=True))).is_within(GROWTH_MAX, most)
