"""The walks of the developers' pages name functions that exist and run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from raftline import connect
from raftline_testing.nodes.processes import eventually
from tests.lists.walks import (
    LOCK,
    WATCH,
    WRITE,
    Place,
    defined,
    place_of,
    profiled,
    rows,
    running_nodes,
)

STEPS = {WRITE: 14, WATCH: 14, LOCK: 11}


@pytest.mark.parametrize("page", STEPS, ids=lambda page: page.stem)
def test_each_function_that_a_walk_names_is_there(page: Path) -> None:
    assert len(rows(page)) == STEPS[page]
    named = [place for row in [*rows(page), *rows(page, "[a-z]")] for place in row]
    assert [place for place in named if place[1] not in defined(place[0])] == []


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[Place]]:
    """Collect the functions of src/ that run meanwhile, in this thread and those that begin."""
    ran: set[Place] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (place := place_of(frame)):
            ran.add(place)

    with profiled(note, monkeypatch):
        sys.setprofile(note)
        try:
            yield ran
        finally:
            sys.setprofile(None)


def assert_all_ran(page: Path, ran: set[Place]) -> None:
    assert [place for row in rows(page) for place in row if place not in ran] == []


@pytest.mark.slow
@pytest.mark.pure
def test_a_write_passes_the_files_of_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {file for row in rows(WRITE) for file, _ in row}
    with recorded(monkeypatch) as ran, running_nodes(tmp_path, 3) as nodes:
        with connect(",".join(str(node.address) for node in nodes.values())) as kv:
            kv["b"] = "5"
        assert eventually(lambda: named <= {file for file, _ in ran}, "a follower's steps")


@pytest.mark.slow
@pytest.mark.pure
def test_a_watch_takes_the_steps_of_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        recorded(monkeypatch) as ran,
        running_nodes(tmp_path, 1) as nodes,
        connect(str(nodes["s1"].address)) as kv,
    ):
        kv["a"] = "0"
        watch = kv.watch("a")
        assert [event.kind for event in (watch.next_event(20),) if event] == ["has"]
        kv["a"] = "1"
        event = watch.next_event(20)
        assert event is not None
        assert event.value == "1"
        with kv.watch("a", after=event.index - 1) as later:
            assert later.next_event(20) == event
        nodes["s1"].close()
        assert watch.next_event(1) is None
        watch.close()
    assert_all_ran(WATCH, ran)


@pytest.mark.slow
@pytest.mark.pure
def test_a_lock_takes_the_steps_of_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens: list[int] = []
    with (
        recorded(monkeypatch) as ran,
        running_nodes(tmp_path, 1) as nodes,
        connect(str(nodes["s1"].address)) as kv,
        connect(str(nodes["s1"].address)) as program,
    ):
        mine, others = kv.lock("x", ttl=10), program.lock("x", ttl=3)
        first = mine.acquire()
        waiter = threading.Thread(target=lambda: tokens.append(others.acquire().token))
        waiter.start()
        assert eventually(lambda: any(key.startswith("lock/x/line/") for key in kv))
        assert first.check() == first.token
        first.release()
        waiter.join()
        assert tokens[0] > first.token
        assert eventually(lambda: ("clients/leases/lease_timer.py", "renewing") in ran, "a renewal")
    assert_all_ran(LOCK, ran)
