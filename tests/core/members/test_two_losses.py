"""A node that loses its memory twice, or during a snapshot: only its last incarnation counts.
Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018."""

from __future__ import annotations

import contextlib
from random import Random

import pytest

from raftline.raft.effects import Effects, HardState
from raftline.raft.inputs import Propose, Receive
from raftline.raft.log import Entry
from raftline.raft.messages import (
    AppendAccepted,
    AppendEntries,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
)
from raftline.raft.node import RawNode
from raftline.raft.progress import Mode
from raftline_testing.doubles.compacted_leader import fall_behind, leader_with_snapshot
from raftline_testing.doubles.cores import (
    TIMEOUT_MS,
    acknowledge,
    beat,
    established,
    sync,
)
from raftline_testing.files.faulty_folder import Died, Fault, Kind, MemoryFolder
from raftline_testing.files.node_files import boot, known, storage_file


def loses(leader: RawNode, incarnation: int, peer: str = "s3") -> Effects:
    """Make a follower answer that has nothing left, in this incarnation of it."""
    state = leader.view
    answer = AppendRejected(peer, "s1", state.term, 0, state.round, without_vote=incarnation)
    effects = leader.step(Receive(answer), state.now_ms)
    sync(leader)
    return effects


def holds_all(leader: RawNode, incarnation: int, peer: str = "s3") -> list[Message]:
    """Make the follower acknowledge the whole log, still without a vote; return what is sent."""
    state = leader.view
    index = state.log.last_index
    answer = AppendAccepted(peer, "s1", state.term, index, state.round, without_vote=incarnation)
    return leader.step(Receive(answer), state.now_ms).send


def beat_twice(leader: RawNode) -> list[Message]:
    beat(leader)
    return beat(leader).send


def lives_sent(messages: list[Message]) -> set[int]:
    """Return the incarnations that are asked to vote again."""
    return {m.vote_again for m in messages if isinstance(m, AppendEntries) and m.vote_again}


def test_each_loss_has_its_own_fence() -> None:
    leader = established("s1")
    fences = [loses(leader, incarnation).append for incarnation in (1, 2, 3)]
    assert fences == [[Entry(2, 1, "noop")], [Entry(3, 1, "noop")], [Entry(4, 1, "noop")]]
    holds_all(leader, 3)
    for index in (2, 3):
        assert lives_sent(acknowledge(leader, "s2", index).send) == set()
    assert lives_sent(acknowledge(leader, "s2", 4).send) == {3}


def sent_to_s2(effects: Effects) -> list[tuple[int, int]]:
    """Return offset and length of the pieces that are sent."""
    return [(m.offset, m.length) for m in effects.send_after_save if isinstance(m, InstallSnapshot)]


@pytest.mark.parametrize("how", ["entries", "snapshot"])
def test_snapshot_restarts_for_a_node_that_loses_its_log(how: str) -> None:
    leader = leader_with_snapshot()
    state = leader.view
    fall_behind(leader)
    leader.step(
        Receive(InstallSnapshotReply("s2", "s1", state.term, 3, 1, 20, state.round)), state.now_ms
    )
    if how == "snapshot":  # a piece came after the loss
        answer = InstallSnapshotReply("s2", "s1", state.term, 3, 1, 0, state.round, without_vote=1)
        assert sent_to_s2(leader.step(Receive(answer), state.now_ms)) == []
        assert state.progress["s2"].mode is Mode.PROBE
        beat_twice(leader)
    loss = AppendRejected("s2", "s1", state.term, 0, state.round, without_vote=1)
    assert sent_to_s2(leader.step(Receive(loss), state.now_ms)) == [(0, 10), (10, 10)]


MADE_WHOLE = Effects(append=[Entry(1, 4, "noop"), Entry(2, 4, "set a 1")], recovered=True)


def recovering_folder() -> MemoryFolder:
    """Return the files of a node that lost its log, and has begun to catch up."""
    folder = MemoryFolder({"s1.storage": storage_file(4, "s2", mark=(17, 4))})
    manager, recovered = boot(folder)
    assert recovered.recovering
    manager.close()
    return folder


@pytest.mark.parametrize("kind", [Kind.DIE_BEFORE, Kind.DIE_AFTER, Kind.TEAR])
def test_crash_in_the_recovering_write_leaves_no_lone_flag(kind: Kind) -> None:
    """A node that has recovered its vote holds the entries of that write."""
    became: set[bool] = set()
    for step in range(1, 20):
        folder = recovering_folder()
        manager, _ = boot(folder)
        folder.fault = Fault(folder.steps + step, kind)
        with contextlib.suppress(Died):
            manager.persist([MADE_WHOLE])
        for end in (folder.kill(), folder.crash(Random(step))):
            again, recovered = boot(end)
            became.add(recovered.recovering)
            assert recovered.recovering or len(known(recovered)) == 2, (kind, step)
            again.close()
            # Whether or not the mark had moved: what it has now is known at its next start.
            assert boot(MemoryFolder({"s1.storage": end.content("s1.storage")}))[1].recovering
    assert became == {True, False}


def test_a_node_that_loses_its_log_twice_is_still_without_a_vote() -> None:
    folder = recovering_folder()
    for _ in range(3):
        manager, recovered = boot(folder)
        assert recovered.recovering
        manager.persist([Effects(append=[Entry(1, 1, "noop"), Entry(2, 1, "set a 1")])])
        manager.close()
        folder = MemoryFolder({"s1.storage": folder.content("s1.storage")})
    manager, recovered = boot(folder)
    assert recovered.recovering
    assert recovered.hard_state == HardState(4, "s2")
    manager.persist([MADE_WHOLE])
    manager.close()
    assert not boot(folder)[1].recovering
    assert boot(MemoryFolder({"s1.storage": folder.content("s1.storage")}))[1].recovering


def test_the_mark_of_a_write_is_not_forgotten_by_the_next_one() -> None:
    folder = MemoryFolder()
    manager, _ = boot(folder)
    manager.write([Effects(save=HardState(1, "s2"), append=[Entry(1, 1, "noop")], recovered=True)])
    manager.write([Effects(save=HardState(2, None))])  # no entry; the mark was not noted yet
    manager.note_mark()
    assert folder.content("s1.storage") == storage_file(2, mark=(1, 1))
    manager.persist([Effects(save=HardState(3, None))])
    assert folder.content("s1.storage") == storage_file(3, mark=(1, 1))


def test_a_death_between_the_new_log_and_the_flag_hides_no_loss() -> None:
    for step in range(1, 30):
        folder = MemoryFolder({"s1.storage": storage_file(4, "s2", mark=(0, 0))})
        folder.fault = Fault(step, Kind.DIE_BEFORE)
        with contextlib.suppress(Died):
            boot(folder)
        for end in (folder.kill(), folder.crash(Random(step))):
            assert boot(end)[1].recovering, step


def test_a_write_of_many_steps_saves_each_loss_and_each_recovery() -> None:
    folder = MemoryFolder()
    entry = Entry(1, 1, "noop")
    found_out = [Effects(save=HardState(1, None)), Effects(forgot=True), Effects(append=[entry])]
    mended = [Effects(recovered=True), Effects()]
    for works, state in ((found_out, "unknown"), (mended, "whole")):
        manager, _ = boot(folder)
        manager.persist(works)
        manager.close()
        assert folder.content("s1.storage") == storage_file(1, mark=(1, 1), state=state)


@pytest.mark.parametrize("late_incarnation", [0, 1, 2])
def test_late_answer_of_an_earlier_incarnation_is_ignored(late_incarnation: int) -> None:
    leader = established("s1")
    leader.step(Propose(["set a 4"]), TIMEOUT_MS)
    sync(leader)
    late = AppendAccepted("s3", "s1", 1, 2, leader.view.round, without_vote=late_incarnation)
    for incarnation in (1, 2, 3):
        loses(leader, incarnation)
        acknowledge(leader, "s2", 1)
        beat_twice(leader)
    leader.step(Receive(late), leader.view.now_ms)
    progress = leader.view.progress["s3"]
    assert (progress.is_counted, progress.incarnation, progress.match_index) == (False, 3, 0)
    assert leader.view.commit_index == 1
