"""The quorum (§5.2): a majority of the voters, never half of them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raftline.common.address import Address
from raftline.raft.change import Change, ChangeRefused, plan
from raftline.raft.membership import Configurations, Membership, read
from raftline.storage.log_lines import read_base


@pytest.mark.parametrize(
    "command",
    [
        "noop",
        "members",
        "members ",
        "members s1",
        "members s1=h:1",
        "members s1=h:1,leader",
        "members s1=h:1,learner",
        "members s1=h:1,voter s1=h:1,voter",
        "members s1=h:1,voter s1=h:1,learner",
        "members s1=h:1,voter  s2=h:2,voter",
        "members s1=h:1,voter | ",
        "members  | s1=h:1,voter",
        "members s1=h:1,voter | s1=h:2,voter",
        "members s1=h:1,learner | s1=h:1,voter",
        "members s1=h:1,voter | s1=h:1,voter | s1=h:1,voter",
        "members 1s=h:1,voter",
        "members s1=h:0,voter",
        "members s1=h,voter",
        "members s1=h:65536,voter",
        "members s1=h:1,voter s2=h:99999,learner",
        "members s1=h:65536,voter | s1=h:65536,voter",
        "members s1=h..x:1,voter",
        "members s1=[h]:1,voter",
    ],
)
def test_an_entry_that_is_not_a_configuration_changes_no_members(command: str) -> None:
    assert read(command) is None
    configurations = Configurations(0, Membership(("s1",)), [command])
    assert (configurations.index, configurations.latest.voters) == (0, ("s1",))


@given(st.from_regex(r"[\[\].:%a-z0-9é-]{1,70}:[1-9][0-9]{0,4}", fullmatch=True))
@example("h:65535")
@example("::1:65535")
@example("[::1]:65535")
@example("[h]:1")
@example("[::1:1")
@example("h:65536")
@example(f"{'h' * 64}:1")
def test_a_member_s_address_is_one_that_a_node_can_dial(address: str) -> None:
    """An entry with an unusable address would stop every node."""
    try:
        Address.parse(address)
        can_be_dialled = True
    except ValueError:
        can_be_dialled = False
    assert (read(f"members s1={address},voter") is not None) == can_be_dialled
    for formatted in (f" s1={address}", f" s1={address},voter"):
        line = f"0 0 base{formatted}\n".encode()
        if can_be_dialled:
            assert read_base(line)[2].addresses == {"s1": address}
        else:
            with pytest.raises(ValueError, match="the base line names a member as"):
                read_base(line)


THREE = Membership(
    ("s1", "s2", "s3"), ("s4",), (), {"s1": "h:1", "s2": "h:2", "s3": "h:3", "s4": "h:4"}
)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (Change("add", "s1", "h:9"), "s1 is a member at h:1"),
        (Change("add", "s9", "h:1"), "h:1 is the address of s1"),
        (Change("add", "S1", "h:9"), "S1 differs from s1 by case only, .* share their files"),
        (Change("replace", "S4", "h:9", "s3"), "S4 differs from s4 by case only"),
        (Change("replace", "S3", "h:9", "s3"), "S3 differs from s3 by case only"),
        (Change("promote", "s9"), "s9 is not a member"),
        (Change("promote", "s1"), "s1 votes already"),
        (Change("demote", "s9"), "s9 is not a member"),
        (Change("demote", "s4"), "s4 is a learner already"),
        (Change("remove", "s9"), "s9 is not a member"),
        (Change("update", "s9", "h:9"), "s9 is not a member: add it"),
        (Change("update", "s2", "H:1"), "H:1 is the address of s1"),
        (Change("update", "s2", "h:4"), "h:4 is the address of s4"),
        (Change("add", "s9", "h:4"), "h:4 is the address of s4"),
        (Change("replace", "s9", "h:9", "s4"), "s4 is not a voter, .* add s9 h 9"),
        (Change("replace", "s4", "h:4", "s9"), "s9 is not a voter, .* add s4 h 4"),
        (Change("replace", "s4", "h:9", "s3"), "s4 is a member at h:4"),
        (Change("replace", "s1", "h:9", "s9"), "s1 is a member at h:1"),
        (Change("replace", "s1", "h:1", "s1"), "a name of its own"),
    ],
)
def test_an_impossible_change_of_members_is_refused(change: Change, why: str) -> None:
    with pytest.raises(ChangeRefused, match=why):
        plan(change, THREE)


def test_learners_count_nowhere() -> None:
    members = Membership(("s1", "s2", "s3"), ("s4", "s5"))
    assert not members.is_quorum(("s1", "s4", "s5"))
    assert members.reached_by_quorum({"s1": 9, "s4": 9, "s5": 9}) == 0


@pytest.mark.parametrize(
    ("listed", "added"),
    [("localhost:1", "127.0.0.1:1"), ("127.0.0.1:1", "localhost:1"), ("h1:1", "H1:1")],
)
def test_the_address_of_a_member_is_known_in_its_other_form(listed: str, added: str) -> None:
    members = Membership(("s1",), addresses={"s1": listed})
    with pytest.raises(ChangeRefused, match=f"{added} is the address of s1"):
        plan(Change("add", "s2", added), members)
    plan(Change("add", "s2", added + "0"), members)
