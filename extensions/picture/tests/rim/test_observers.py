"""Observers without a network: who is sent what, and what becomes of the slow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from raftline.picture.harness.observed_core import ObserverScene, shown
from raftline.picture.live import observers as module
from raftline.picture.observe.facts import Step
from raftline.raft.inputs import Receive
from raftline.raft.messages import PeerError
from raftline.wire.commands.observe_lines import ObserveAsked
from raftline_testing.doubles.cores import (
    append,
    established,
    node_of,
)
from raftline_testing.doubles.watched_store import FakeSink
from raftline_testing.nodes.processes import DEADLINE_S, eventually


@pytest.fixture
def scene() -> Iterator[ObserverScene]:
    made = ObserverScene()
    yield made
    made.close()


def test_the_first_line_tells_the_state_and_each_step_has_one(scene: ObserverScene) -> None:
    sink = scene.sink()
    assert scene.observers.open(sink, "7", ObserveAsked()) == ""
    scene.propose("set a 5")
    lines = shown(sink, "Propose").splitlines()
    assert lines[0].startswith("s1#7@OBSERVE response: clock ")
    assert ", leader in term 1, log ends at 1 of term 1, commit 1, applied 1; " in lines[0]
    assert lines[1].startswith("s1#7@OBSERVED ")
    assert "Propose set a 5: I append entry 2 (§5.3) | changed: log end 1 → 2" in lines[1]


def test_a_connection_observes_once_and_ends_it(scene: ObserverScene) -> None:
    sink = scene.sink()
    scene.observers.open(sink, "", ObserveAsked())
    again = scene.observers.open(sink, "8", ObserveAsked())
    assert again.startswith("Sorry, this connection observes already.")
    scene.propose("set a 5")
    shown(sink, "Propose")
    assert scene.observers.close(sink) == "UNOBSERVE response: ended after 2 lines"
    assert scene.node.observer is None
    assert scene.observers.close(sink).startswith("Sorry, this connection observes nothing.")


def test_nobody_looks_once_the_last_observer_has_gone(scene: ObserverScene) -> None:
    first, second = scene.sink(), scene.sink()
    for sink in (first, second):
        scene.observers.open(sink, "", ObserveAsked())
    scene.observers.close(first)
    assert scene.node.observer is scene.observers
    scene.propose("set a 5")
    shown(second, "Propose")
    assert "Propose" not in first.text
    scene.observers.close(second)
    assert scene.node.observer is None
    gone = "s1 observed"
    eventually(lambda: gone not in {each.name for each in threading.enumerate()}, gone)


def test_ended_observation_takes_no_more_lines(scene: ObserverScene) -> None:
    """The thread that sends may have found it among the observers just before its end."""
    observer = module.Observer("s1", "", scene.sink(), ObserveAsked())
    observer.put("before")
    assert observer.end() == 0
    observer.put("after")
    assert observer.next_piece() == b""


def test_an_observer_is_sent_no_step_of_before_its_first_line(scene: ObserverScene) -> None:
    first, second = scene.sink(), scene.sink()
    scene.observers.wake = lambda: None  # nothing is sent before the test says so
    scene.observers.open(first, "", ObserveAsked())
    scene.propose("set a 1")
    scene.observers.open(second, "", ObserveAsked())
    scene.propose("set a 2")
    scene.observers.send_gathered()
    assert "Propose set a 1" in first.text
    assert "log ends at 2 of term 1" in second.text.splitlines()[0]
    assert "Propose set a 1" not in second.text
    assert "Propose set a 2" in second.text


def test_observer_is_sent_steps_although_the_one_before_left(
    scene: ObserverScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An observer is sent steps although the one before left in between."""
    first, second = scene.sink(), scene.sink()
    waits, explain = threading.Event(), module.step_lines.explained

    def explained_and_left(step: Step) -> object:
        waits.wait(DEADLINE_S)
        monkeypatch.setattr(module.step_lines, "explained", explain)
        scene.observers.close(first)
        return explain(step)

    monkeypatch.setattr(module.step_lines, "explained", explained_and_left)
    scene.observers.open(first, "", ObserveAsked())
    for number in range(5):
        scene.propose(f"set a {number}")
    waits.set()
    eventually(lambda: scene.node.observer is None, "the first has left")
    scene.observers.open(second, "", ObserveAsked())
    scene.propose("set a last")
    assert "Propose" in shown(second, "set a last")


def test_a_slow_reader_loses_lines_and_reads_how_many(
    scene: ObserverScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OBSERVED_LINES", 5)
    slow, quick = scene.sink(), scene.sink()
    for sink in (slow, quick):
        scene.observers.open(sink, "", ObserveAsked())
    slow.is_slow = True
    for number in range(8):
        scene.propose(f"set a {number}")
        shown(quick, f"Propose set a {number}:")
    slow.is_slow = False
    slow.pump()
    assert "set a 4:" in slow.text
    assert "set a 5:" not in slow.text
    scene.propose("set a last")
    assert "s1@OBSERVED lost 3 lines: this reader is too slow\n" in shown(slow, "set a last")


def test_lines_waiting_for_a_slow_reader_are_bounded(
    scene: ObserverScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines that wait for a slow reader are bounded in characters."""
    monkeypatch.setattr(module, "OBSERVED_CHARACTERS", 2000)
    monkeypatch.setattr(module, "PIECE_CHARACTERS", 1000)
    observer = module.Observer("s1", "", scene.sink(), ObserveAsked())
    for number in range(100):
        observer.put(f"{number:0100}")
    assert observer.sent == 20
    sizes = []
    while piece := observer.next_piece():
        sizes.append(piece.count(b"\n"))
    assert sizes == [10, 10]
    for number in range(20):
        observer.put(f"{number:0100}")
    assert observer.sent == 39  # how many were lost is a line as well
    assert b"lost 80 lines" in observer.next_piece()


def test_the_heads_of_lines_count_while_a_reader_takes_some(
    scene: ObserverScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OBSERVED_CHARACTERS", 2000)
    monkeypatch.setattr(module, "PIECE_CHARACTERS", 100)
    observer = module.Observer("s1", "7", scene.sink(), ObserveAsked())
    for number in range(2000):
        observer.put(f"{number:0100}")
        observer.put(f"{number:0100}")
        observer.next_piece()
    left = 0
    while piece := observer.next_piece():
        left += len(piece)
    assert left < 3000


def test_steps_that_nobody_explains_in_time_are_counted(
    scene: ObserverScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "OBSERVED_STEPS", 0)
    sink = scene.sink()
    scene.observers.open(sink, "", ObserveAsked())
    for number in range(3):
        scene.propose(f"set a {number}")
    monkeypatch.setattr(module, "OBSERVED_STEPS", 10)
    scene.propose("set a last")
    assert "OBSERVED lost 3 lines" in shown(sink, "set a last")


def test_a_refused_message_is_reported(scene: ObserverScene) -> None:
    sink = scene.sink()
    scene.observers.open(sink, "", ObserveAsked())
    message = append(1, (0, 0), sender="s2", to="s1")
    with pytest.raises(PeerError):
        scene.node.step(Receive(message), 0)
    scene.observers.refused(message, "s1 leads term 1, so s2 does not")
    assert "refused: s1 leads term 1, so s2 does not" in shown(sink, "refused")


def test_a_step_that_cannot_be_explained_does_not_reach_the_node(
    scene: ObserverScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ValueError("no such rule")

    sink = scene.sink()
    scene.observers.open(sink, "", ObserveAsked())
    monkeypatch.setattr(module.step_lines, "explained", fail)
    scene.propose("set a 1")
    eventually(lambda: scene.said, "a line on the console")
    assert "a step can't be explained: ValueError('no such rule')" in scene.said[0]
    monkeypatch.undo()
    monkeypatch.setattr(module, "facts_of", fail)
    scene.propose("set a 2")
    monkeypatch.undo()
    scene.propose("set a 3")
    assert "OBSERVED lost 2 lines" in shown(sink, "set a 3")


def test_the_next_life_of_a_node_is_observed_by_the_same(scene: ObserverScene) -> None:
    sink = scene.sink()
    scene.observers.open(sink, "", ObserveAsked())
    after: Callable[[], object] = lambda: scene.node.step(Receive(append(1, (0, 0))), 5)  # noqa: E731
    scene.node = node_of("s2")
    scene.observers.follow(scene.node, scene.core)
    after()
    assert "my election timer restarts" in shown(sink, "AppendEntries")


def test_a_node_has_a_bounded_number_of_observers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OBSERVERS_MAX", 2)
    node = established("s1")
    all_of_them = module.ObserverRegistry("s1", lambda _: None)
    all_of_them.follow(node, module.threading.Lock())
    sinks: list[Any] = [FakeSink() for _ in range(3)]
    said = [all_of_them.open(sink, "", ObserveAsked()) for sink in sinks]
    assert [bool(one) for one in said] == [False, False, True]
    all_of_them.close(sinks[0])
    assert all_of_them.open(sinks[2], "", ObserveAsked()) == ""
    for sink in sinks[1:]:
        all_of_them.close(sink)
    eventually(lambda: not all_of_them._has_sender, "the end of the thread that tells")


def test_the_lines_of_an_observer_come_in_pieces() -> None:
    sink: Any = FakeSink()
    observer = module.Observer("s1", "", sink, ObserveAsked())
    for number in range(2 * module.PIECE_LINES + 1):
        observer.put(str(number))
    pieces = []
    while piece := observer.next_piece():
        pieces.append(piece.decode().splitlines())
    assert [len(piece) for piece in pieces] == [module.PIECE_LINES] * 2 + [1]
    assert [line for piece in pieces for line in piece] == [
        f"s1@{number}" for number in range(2 * module.PIECE_LINES + 1)
    ]


def test_observers_are_cut_off_by_an_error_and_may_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = ObserverScene()
    first, broken = scene.sink(), threading.Event()
    scene.observers.open(first, "", ObserveAsked())
    monkeypatch.setattr(first, "break_off", broken.set, raising=False)

    def fail() -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(scene.observers, "send_gathered", fail)
        scene.propose("set a 5")
        assert broken.wait(DEADLINE_S)
    assert scene.said == ["[!] s1: the observers are disconnected: MemoryError('no room')"]
    second = scene.sink()
    assert scene.observers.open(second, "", ObserveAsked()) == ""
    scene.propose("set b 6")
    shown(second, "Propose set b 6")
    scene.close()
