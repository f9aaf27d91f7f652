"""The signs of life of a node that serves a watch: silence, and a node that was cut off."""

from __future__ import annotations

from raftline.clients.watches.liveness import Liveness


def test_a_silent_node_is_dead_at_its_time() -> None:
    liveness = Liveness(100.0, silent_s=25)
    assert not liveness.is_dead(124.9)
    assert liveness.is_dead(125)
    liveness.heard(110)
    assert not liveness.is_dead(134.9)
    assert liveness.is_dead(135)


def test_node_with_nothing_new_is_probed_once_then_must_answer() -> None:
    """A node that sends nothing new is probed once, and must answer that probe."""
    liveness = Liveness(0.0, silent_s=25)
    liveness.heard(10)
    assert liveness.due_s == 15
    assert not liveness.begin_probe(14.9)
    assert liveness.begin_probe(15)
    assert not liveness.begin_probe(16)
    assert liveness.due_s == 35  # silent since 10
    liveness.heard(30)  # it goes on saying that nothing happened
    assert liveness.due_s == 40
    assert liveness.is_dead(40)


def test_a_confirmed_node_is_asked_again_later() -> None:
    liveness = Liveness(0.0, silent_s=25)
    assert liveness.begin_probe(15)
    liveness.heard(16)
    liveness.confirmed(16)
    assert liveness.due_s == 31
    assert not liveness.is_dead(40)
    assert liveness.begin_probe(31)
