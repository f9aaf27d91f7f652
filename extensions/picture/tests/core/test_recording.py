"""Recordings of a node's core: the state as text and back, and steps that are repeated."""

from __future__ import annotations

import io
import sys

import pytest

from raftline.picture.harness.recorded import MemoryRecorder, recorded
from raftline.picture.recording.plain_values import (
    CORE,
    PlainError,
    Tokens,
    core_types,
    plain,
    value_of,
)
from raftline.picture.recording.replay import BadRecording, replay
from raftline.raft.effects import HardState, ReadReady
from raftline.raft.inputs import (
    Propose,
    Read,
    Receive,
    Stop,
    Tick,
    Transfer,
)
from raftline.raft.messages import PeerError, RequestVoteReply
from raftline.raft.node import RawNode
from raftline.raft.roles import Role
from raftline.raft.transfer import TransferRefused
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    acknowledge,
    append,
    node_of,
    request,
    sync,
)
from raftline_testing.orders import Campaign, obey


def test_the_classes_of_the_core_have_different_names() -> None:
    """A value is named by its class alone."""
    named = [
        each
        for module in {kind.__module__ for kind in core_types().values()}
        for each in vars(sys.modules[module]).values()
        if isinstance(each, type) and each.__module__ == module and module.startswith(CORE)
    ]
    assert len({each.__name__ for each in named}) == len(named)


@pytest.mark.parametrize(
    "value",
    [
        None, True, -3, "é\x85", [1, [2]], (1, "a"), {"a": (1,)}, {3: b"\x00\xff"}, {"x", "y"},
        HardState(3, None), ReadReady("token", 4), Role.LEADER,
    ],
)  # fmt: skip
def test_a_plain_value_is_read_back(value: object) -> None:
    assert value_of(plain(value, Tokens())) == value


@pytest.mark.parametrize(
    "formatted",
    [{}, {"a": 1, "b": 2}, {"NoSuch": {}}, {"Role": "KING"}, {"Options": {}}, {"Snapshot": [1]}],
)
def test_a_text_that_is_not_a_value_of_the_core_is_refused(formatted: object) -> None:
    with pytest.raises(PlainError):
        value_of(formatted)


def test_a_request_keeps_its_number_until_it_is_answered() -> None:
    tokens, first, second = Tokens(), object(), object()
    assert [tokens.number(one) for one in (first, second, first)] == [1, 2, 1]
    tokens.forget(first)
    assert tokens.number(first) == 3


def run_a_little(node: RawNode) -> None:
    """Give a node of three a vote, a leadership, writes, reads, refusals and an end."""
    node.step(Tick(), TIMEOUT_MS)
    granted = RequestVoteReply("s2", "s1", node.view.term + 1, True, pre_vote=True)
    node.step(Receive(granted), TIMEOUT_MS)
    node.step(Receive(RequestVoteReply("s2", "s1", node.view.term, True)), TIMEOUT_MS)
    sync(node)
    node.step(Read([object()]), TIMEOUT_MS)
    acknowledge(node, "s2")
    acknowledge(node, "s2")
    node.step(Propose(["set a “é”", "delete a"]), TIMEOUT_MS + 1)
    sync(node)
    acknowledge(node, "s3")
    with pytest.raises(TransferRefused):
        node.step(Transfer("s9"), TIMEOUT_MS + 2)
    with pytest.raises(PeerError):
        node.step(Receive(append(node.view.term, (0, 0), sender="s3", to="s1")), TIMEOUT_MS + 2)
    node.step(Read([object(), object()]), TIMEOUT_MS + 3)
    node.step(Receive(request(9, (9, 5), sender="s3", to="s1")), TIMEOUT_MS + 4)
    node.step(Stop(), TIMEOUT_MS + 5)


def a_recording() -> MemoryRecorder:
    node, recorder = recorded(node_of("s1", 1, 1))
    run_a_little(node)
    return recorder


@pytest.mark.pure
def test_a_recording_begins_again_after_an_order_of_a_controller() -> None:
    node, recorder = recorded(node_of("s1", 1))
    node.step(Tick(), 1)
    obey(node, Campaign(), 2)
    node.step(Receive(RequestVoteReply("s2", "s1", 2, True)), 3)
    assert node.view.is_leader
    outcomes = recorder.replay()
    assert [(outcome.steps, outcome.difference) for outcome in outcomes] == [(1, None), (1, None)]


@pytest.mark.pure
@pytest.mark.parametrize(("old", "new"), [("draw 200\n", ""), ("draw 200\n", "draw 200\n" * 2)])
def test_a_draw_too_few_or_too_many_is_a_difference(old: str, new: str) -> None:
    (segment,) = a_recording().segments
    assert old in segment
    outcome = replay(io.StringIO(segment.replace(old, new, 1)))
    assert outcome.difference is not None


@pytest.mark.pure
@pytest.mark.slow
def test_a_recording_that_is_cut_anywhere_replays_up_to_there() -> None:
    (segment,) = a_recording().segments
    first = segment.index("\n\n") + 2
    counts = set()
    for end in range(first, len(segment)):
        outcome = replay(io.StringIO(segment[:end]))
        assert outcome.difference is None
        counts.add(outcome.steps)
    assert counts == set(range(15))
    for end in range(0, first - 1, 50):
        with pytest.raises(BadRecording, match="ends within its first state"):
            replay(io.StringIO(segment[:end]))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("state term 1\n", ""), ("state term 1\n", "state terms 1\n"), ("state log", "state lag"),
        ("state term 1\n", "term\n"), ("state term 1\n", "state term {\n"),
        ("entry 2 1", "entry 2 0"), ("entry 2 1", "entry 3 1"),
        (" Propose ", " Prepare "), (" Propose ", " State "), (" Tick\n", " Tick {}}\n"),
        ("@200 Tick", "200 Tick"), ("Receive s2 Count", "Receive s2 Coin"), ("draw 200", "draw x"),
        ('{"commands"', '{"comments"'), ('{"base": [0, 0]}', '{"base": 1}'),
        ('{"base": [0, 0]}', "[]"),
    ],
)  # fmt: skip
def test_a_damaged_recording_is_refused_in_one_line(old: str, new: str) -> None:
    (segment,) = a_recording().segments
    assert old in segment
    with pytest.raises(BadRecording) as refusal:
        replay(io.StringIO(segment.replace(old, new, 1)))
    assert "\n" not in str(refusal.value)
