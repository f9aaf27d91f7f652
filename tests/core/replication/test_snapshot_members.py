"""A snapshot carries the configuration in force at its last entry: with learners, and joint."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.logmanager import LogManager
from raftline.raft.effects import Effects, HardState
from raftline.raft.inputs import Receive, SnapshotChecked, Tick
from raftline.raft.log import Snapshot
from raftline.raft.membership import Configurations, Membership, all_vote
from raftline.raft.messages import InstallSnapshot
from raftline.raft.node import RawNode
from raftline.storage.log_lines import base_line, format_members, read_base
from raftline.storage.snapshot_lines import LoadedSnapshot
from raftline.storage.sums import format_sum
from raftline_testing.doubles.cores import TIMEOUT_MS, node_of
from raftline_testing.files.faulty_folder import MemoryFolder
from raftline_testing.files.node_files import MEMBERS, boot, entries
from raftline_testing.files.snapshot_writing import write_snapshot

PLAIN = all_vote(MEMBERS)
FOURTH = {**MEMBERS, "s4": "localhost:10003"}
WITH_LEARNER = Membership(("s1", "s2", "s3"), ("s4",), (), FOURTH)
JOINT = WITH_LEARNER.joint_to(Membership(("s1", "s2", "s4"), (), (), FOURTH))
BOTH = Membership(("s1", "s4"), ("s3",), ("s1", "s2"), FOURTH)

NAMES = st.lists(st.sampled_from(["s1", "s2", "s3", "s4", "s5"]), unique=True, max_size=5)


@given(voters=NAMES, learners=NAMES, outgoing=NAMES)
def test_any_configuration_is_read_back_from_a_base_line(
    voters: list[str], learners: list[str], outgoing: list[str]
) -> None:
    learners = [name for name in learners if name not in voters]
    if not voters and (learners or outgoing):
        return  # nobody who votes: no configuration
    names = {*voters, *learners, *outgoing}
    members = Membership(
        tuple(voters), tuple(learners), tuple(outgoing), {name: f"{name}:1" for name in names}
    )
    assert read_base(base_line(members, 17, 4)) == (17, 4, members)


@pytest.mark.parametrize(
    "members",
    [
        "s1=a:1,voter s1=a:1,learner",
        "s1=a:1,learner",
        "s1=a:1,voter s2=a:2",
        "s1=a:1,learner | s2=a:2,voter",
        "s1=a:1,voter | s1=b:1,voter",
        "s1=a:1,voter |",
        "s1=a:1,voter,learner",
    ],
)
def test_a_base_line_without_a_configuration_is_refused(members: str) -> None:
    with pytest.raises(ValueError, match="the base line names a member as"):
        read_base(f"17 4 base {members}\n".encode())


def compacted(members: Membership) -> MemoryFolder:
    """Return the files of a node with a snapshot of entry 3, a configuration, and entries 4 and 5
    after."""
    folder = MemoryFolder()
    manager, _ = boot(folder)
    written = entries(1, 1, "noop", "set a 1", members.format(), "set b 2", PLAIN.format())
    manager.persist([Effects(save=HardState(1, "s1"), append=written)])
    manager.apply(written[:3])
    snapshot = write_snapshot(manager.snapshots, manager.freeze())
    manager.apply(written[3:])
    assert manager.snapshots.publish(snapshot)
    rewrite = manager.begin_rewrite(snapshot)
    rewrite.copy(written[3:4])
    manager.finish_rewrite(rewrite, written[4:])
    manager.close()
    return folder


@pytest.mark.parametrize("members", [WITH_LEARNER, JOINT, BOTH])
def test_base_line_keeps_learners_and_joint_halves(members: Membership) -> None:
    folder = compacted(members)
    formatted = format_members(members)
    manager, recovered = boot(folder.kill())
    where = f"{format_sum(recovered.chain)}{formatted}"
    assert folder.content("s1.log").startswith(f"3 1 base {where}\n".encode())
    assert folder.content("s1.state_machine").startswith(f"3 1 snapshot {where}\n".encode())
    assert recovered.members == members
    assert manager.members == members
    configurations = Configurations(3, recovered.members, recovered.log.commands)
    assert configurations.at(3) == configurations.at(4) == members
    assert configurations.latest == PLAIN  # entry 5, which may be rolled back
    configurations.cut_after(4)
    assert configurations.latest == members


def test_base_lines_members_count_until_others_are_applied() -> None:
    """The snapshot's members count, not those of the configuration file."""
    folder = MemoryFolder()
    LogManager("s1", folder, {"s1": "a:1"}).recover()
    manager, _ = boot(folder.kill())
    manager.apply(entries(1, 1, "set a 1"))
    assert manager.freeze().members == all_vote({"s1": "a:1"})


def test_snapshot_after_an_installed_one_has_its_members() -> None:
    manager, _ = boot(MemoryFolder())
    loaded = LoadedSnapshot(Snapshot(20, 3, 8, 5), WITH_LEARNER, ['{"forgotten": false}'])
    manager.arrived(loaded)
    manager.take_over(loaded.snapshot)
    manager.apply(entries(21, 3, "set a 1"))
    state = manager.freeze()
    assert (state.index, state.members) == (21, WITH_LEARNER)


@pytest.mark.parametrize("members", [WITH_LEARNER, JOINT])
def test_a_configuration_that_is_not_applied_is_in_no_snapshot(members: Membership) -> None:
    manager, _ = boot(MemoryFolder())
    written = entries(1, 1, "noop", WITH_LEARNER.format(), "set a 1", members.format())
    manager.persist([Effects(save=HardState(1, "s1"), append=written)])
    manager.apply(written[:1])
    assert manager.freeze().members == PLAIN
    manager.apply(written[1:3])
    state = manager.freeze()
    manager.apply(written[3:])  # while it is being written
    assert (state.index, state.members) == (3, WITH_LEARNER)
    assert manager.freeze().members == members


def test_value_like_a_configuration_changes_no_members() -> None:
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    manager.apply(entries(1, 1, "members s9", "client4@members s9=a:1,voter", "set members s9"))
    assert manager.members == PLAIN


@given(
    st.lists(
        st.sampled_from(
            [
                "set a 1",
                "noop",
                "members x",
                *(one.format() for one in (PLAIN, WITH_LEARNER, JOINT, BOTH)),
            ]
        ),
        max_size=12,
    )
)
def test_the_state_machine_and_the_core_read_the_same_members(commands: list[str]) -> None:
    manager = LogManager("s1", MemoryFolder(), MEMBERS)
    configurations = Configurations(0, PLAIN, commands)
    for entry in entries(1, 1, *commands):
        manager.apply([entry])
        assert manager.freeze().members == configurations.at(entry.index)


SENT = Snapshot(7, 2, 8, 5)


def installed(name: str, members: Membership) -> RawNode:
    """Return a follower that knew s1, s2, s3 and has installed a snapshot with these members."""
    node = node_of(name, voters=PLAIN)
    piece = InstallSnapshot("s1", name, 2, SENT, 0, 8, 3, "a 4\nb 5\n")
    assert node.step(Receive(piece), 0).check == SENT
    effects = node.step(SnapshotChecked(SENT, members), 0)
    assert effects.install == SENT
    assert effects.members_changed
    return node


def test_a_learner_that_installs_a_snapshot_is_a_learner() -> None:
    node = installed("s3", Membership(("s1", "s2"), ("s3",), (), MEMBERS))
    assert set(node.view.contacts) == {"s1", "s2"}
    effects = node.step(Tick(), 10 * TIMEOUT_MS)
    assert effects.send == effects.send_after_save == []
