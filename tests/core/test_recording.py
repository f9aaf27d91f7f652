"""Recordings of a node's core: the state as text and back, and steps that are repeated."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

from raftline.raft import node as core
from raftline.raft.change import Change
from raftline.raft.effects import Effects, HardState, ReadReady
from raftline.raft.inputs import (
    AskLeader,
    ChangeMembers,
    Propose,
    Read,
    Receive,
    SnapshotTaken,
    Stop,
    Tick,
    Transfer,
)
from raftline.raft.log import Snapshot
from raftline.raft.membership import all_vote
from raftline.raft.messages import PeerError, RequestVoteReply
from raftline.raft.node import RawNode
from raftline.raft.roles import Role
from raftline.raft.state import State
from raftline.raft.transfer import TransferRefused
from raftline.recording.plain_values import CORE, PlainError, Tokens, core_types, plain, value_of
from raftline.recording.recorded_node import RecordedNode, spell_effects, spell_state
from raftline.recording.replay import BadRecording, replay, state_of
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    acknowledge,
    append,
    candidate_of,
    compact,
    established,
    leader_of,
    node_of,
    request,
    sync,
)
from raftline_testing.doubles.recorded import MemoryRecorder, recorded
from raftline_testing.orders import Campaign, obey


def busy_leader() -> RawNode:
    """Return a leader with reads that wait, a change under way and one after, and a snapshot."""
    voters = all_vote({name: f"h:{name[1:]}" for name in ("s1", "s2", "s3")})
    node = established("s1", 1, 1, 1, voters=voters)
    node.step(SnapshotTaken(Snapshot(2, 1, 40, 7)), TIMEOUT_MS)
    compact(node, 2)
    node.step(Propose(["set a 1", "set é “2”"]), TIMEOUT_MS)
    node.step(Read([object(), object()]), TIMEOUT_MS)
    node.step(ChangeMembers(Change("add", "s4", "h:4"), object()), TIMEOUT_MS)
    return node


def asking_follower() -> RawNode:
    """Return a follower whose reads wait for its leader's answer."""
    node = node_of("s2", 1, 1)
    node.step(Receive(append(2, (2, 1), 2, commit=2)), 10)
    node.step(AskLeader([object()]), 11)
    return node


STATES: dict[str, Callable[[], RawNode]] = {
    "follower": lambda: node_of("s1", 1, 2, 2),
    "recovering": lambda: node_of("s1", 1, recovering=True, may_be_new=True, incarnation=9),
    "newborn": lambda: node_of("s1", newborn=True),
    "candidate": lambda: candidate_of("s1", 1, 3),
    "leader": lambda: leader_of("s1", 1, 1),
    "busy leader": busy_leader,
    "asking follower": asking_follower,
}


def lines_of(node: RawNode) -> list[str]:
    return list(spell_state(node._state, Tokens()))


@pytest.mark.pure
@pytest.mark.parametrize("role", STATES)
def test_a_state_that_is_spelled_and_read_is_spelled_the_same(role: str) -> None:
    lines = lines_of(STATES[role]())
    assert lines[-1] == ""
    assert list(spell_state(state_of(lines[:-1], 1), Tokens())) == lines


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
    "spelled",
    [{}, {"a": 1, "b": 2}, {"NoSuch": {}}, {"Role": "KING"}, {"Options": {}}, {"Snapshot": [1]}],
)
def test_a_text_that_is_no_value_of_the_core_is_refused(spelled: object) -> None:
    with pytest.raises(PlainError):
        value_of(spelled)


def test_a_request_keeps_its_number_until_it_is_answered() -> None:
    tokens, first, second = Tokens(), object(), object()
    assert [tokens.number(one) for one in (first, second, first)] == [1, 2, 1]
    tokens.forget(first)
    assert tokens.number(first) == 3


def test_many_entries_are_shown_as_ranges_and_a_checksum() -> None:
    node = established("s1", 1, 2)
    effects = node.step(Propose(["set a 1", "set a 2"]), TIMEOUT_MS)
    lines = spell_effects(effects, Tokens())
    assert lines[-1] == "append 4-5 of term 3 crc32 e1e274b6"
    assert lines[0].startswith("send s2 AppendEntries 3-3-3-[4-5 of term 3 crc32 e1e274b6] commit")
    log = node._state.log
    assert spell_effects(Effects(apply=log.entries(1, 3)), Tokens())[0].startswith(
        "apply 1-1 of term 1, 2-2 of term 2, 3-3 of term 3 crc32 "
    )


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
def test_a_recorded_node_replays_with_the_same_effects() -> None:
    (outcome,) = a_recording().replay()
    assert (outcome.steps, outcome.difference) == (15, None)


@pytest.mark.pure
def test_every_step_may_begin_a_segment() -> None:
    node, recorder = recorded(node_of("s1", 1, 1), steps_max=1)
    run_a_little(node)
    outcomes = recorder.replay()
    assert [outcome.difference for outcome in outcomes if outcome.difference] == []
    assert [outcome.steps for outcome in outcomes] == [1] * 15 + [0]


@pytest.mark.pure
def test_a_refused_input_is_recorded_as_refused() -> None:
    (segment,) = a_recording().segments
    assert "raises TransferRefused: s9 is not a member of this cluster\n" in segment
    assert "raises PeerError: " in segment


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
def test_a_changed_rule_is_the_first_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = a_recording()

    def propose(state: State, commands: list[str]) -> None:
        core.propose(state, commands[:1])

    monkeypatch.setitem(core._RULES, Propose, lambda state, taken: propose(state, taken.commands))
    (outcome,) = recorder.replay()
    difference = outcome.difference
    assert difference is not None
    assert difference.event.startswith(f"@{TIMEOUT_MS + 1} Propose ")
    assert (outcome.steps, difference.step) == (7, 8)
    assert "append 4-5 of term 2" in difference.recorded[-1]
    assert difference.replayed[-1] == "append 4 2 set a “é”"
    assert recorder.segments[0].split("\n")[difference.line - 1] == difference.event


@pytest.mark.pure
@pytest.mark.parametrize(("old", "new"), [("draw 200\n", ""), ("draw 200\n", "draw 200\n" * 2)])
def test_a_draw_too_few_or_too_many_is_a_difference(old: str, new: str) -> None:
    (segment,) = a_recording().segments
    assert old in segment
    outcome = replay(io.StringIO(segment.replace(old, new, 1)))
    assert outcome.difference is not None


@pytest.mark.pure
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


@pytest.mark.pure
def test_a_node_goes_on_when_it_can_be_recorded_no_longer() -> None:
    class Full(MemoryRecorder):
        given_up = ""

        def add(self, step: str, now_ms: int, *, may_be_last: bool) -> bool:
            super().add(step, now_ms, may_be_last=may_be_last)
            if self._steps == 4:
                raise OSError("full")
            return False

        def give_up(self, error: Exception) -> None:
            assert not self.given_up
            self.given_up = str(error)

    recorder = Full()
    run_a_little(RecordedNode(node_of("s1", 1, 1), recorder))
    assert recorder.given_up == "full"
    assert recorder.replay()[0].steps == 4
