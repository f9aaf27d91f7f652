"""The signs of life of a node that serves a watch: silence, and a node that was cut off."""

from __future__ import annotations

from raftline.kv.pulse import Pulse


def test_a_silent_node_is_dead_at_its_time() -> None:
    pulse = Pulse(100.0, silent_s=25, probe_s=1000)
    assert pulse.due_s == 125
    pulse.heard(110)
    assert not pulse.is_dead(134.9)
    assert pulse.due_s == 135
    assert pulse.is_dead(135)


def test_a_node_that_tells_nothing_new_is_asked_once_and_then_has_to_answer() -> None:
    pulse = Pulse(0.0, silent_s=25, probe_s=15)
    pulse.heard(10)
    assert pulse.due_s == 15
    assert not pulse.probes(14.9)
    assert pulse.probes(15)
    assert not pulse.probes(16)
    assert pulse.due_s == 40
    pulse.heard(30)  # it goes on saying that nothing happened
    assert pulse.is_dead(40)


def test_a_confirmed_node_is_asked_again_later() -> None:
    pulse = Pulse(0.0, silent_s=25, probe_s=15)
    assert pulse.probes(15)
    pulse.heard(16)
    pulse.confirmed(16)
    assert pulse.due_s == 31
    assert not pulse.is_dead(40)
    assert pulse.probes(31)
