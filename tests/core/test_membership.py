"""The quorum (§5.2): a majority of the voters, never half of them."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raftline.common.address import Address
from raftline.raft.change import Change, ChangePlan, ChangeRefused, advice, plan
from raftline.raft.membership import Configurations, Membership, read
from raftline.storage.log_lines import read_base

NAMES = ("s1", "s2", "s3", "s4", "s5", "s6", "s7")


@pytest.mark.parametrize(
    ("voters", "quorum"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)]
)
def test_a_quorum_is_more_than_half(voters: int, quorum: int) -> None:
    membership = Membership(NAMES[:voters])
    assert membership.is_quorum(NAMES[:quorum])
    assert not membership.is_quorum(NAMES[: quorum - 1])


@pytest.mark.parametrize("count", range(1, 8))
def test_two_quorums_always_share_a_voter(count: int) -> None:
    membership = Membership(NAMES[:count])
    quorums = [
        set(names)
        for size in range(count + 1)
        for names in combinations(NAMES[:count], size)
        if membership.is_quorum(names)
    ]
    assert quorums
    assert all(one & other for one in quorums for other in quorums)


def test_strangers_do_not_count() -> None:
    assert not Membership(("s1", "s2", "s3")).is_quorum(["s1", "client4", "s9"])


def test_a_quorum_waits_neither_for_the_slowest_nor_for_dead_voters() -> None:
    assert Membership(("s1", "s2", "s3")).reached_by_quorum({"s1": 9, "s2": 4}) == 4
    assert Membership(("s1", "s2", "s3", "s4")).reached_by_quorum({"s1": 9, "s2": 4}) == 0


@given(st.integers(1, 7), st.dictionaries(st.sampled_from(NAMES), st.integers(0, 50)))
def test_the_quorum_index_is_the_highest_index_that_a_quorum_holds(
    count: int, values: dict[str, int]
) -> None:
    membership = Membership(NAMES[:count])
    reached = membership.reached_by_quorum(values)
    assert membership.is_quorum([n for n in NAMES[:count] if values.get(n, 0) >= reached])
    assert not membership.is_quorum([n for n in NAMES[:count] if values.get(n, 0) > reached])


# --- joint configurations (paper §6) ---------------------------------------------------------

JOINT = Membership(("s1", "s4", "s5"), (), ("s1", "s2", "s3"))


@pytest.mark.parametrize(
    ("names", "enough"),
    [
        (("s1", "s4", "s5"), False),
        (("s1", "s2", "s3"), False),
        (("s1", "s2", "s4"), True),
        (("s2", "s3", "s4", "s5"), True),
        (("s1",), False),
    ],
)
def test_a_joint_quorum_is_a_majority_of_each_half(names: tuple[str, ...], enough: bool) -> None:
    assert JOINT.is_quorum(names) is enough


def test_a_joint_quorum_index_is_the_lower_of_both_halves() -> None:
    assert JOINT.reached_by_quorum({"s1": 9, "s4": 9, "s5": 9, "s2": 4}) == 4
    assert JOINT.reached_by_quorum({"s1": 9, "s2": 9, "s3": 9, "s4": 3, "s5": 2}) == 3


def test_learners_count_nowhere() -> None:
    members = Membership(("s1", "s2", "s3"), ("s4", "s5"))
    assert not members.is_quorum(("s1", "s4", "s5"))
    assert members.reached_by_quorum({"s1": 9, "s4": 9, "s5": 9}) == 0


some_names = st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=7)


@given(some_names, some_names, some_names)
def test_quorums_before_during_and_after_a_change_always_share_a_voter(
    old: list[str], new: list[str], names: list[str]
) -> None:
    before, after = Membership(tuple(old)), Membership(tuple(new))
    during = before.joint_to(after)
    if during.is_quorum(names):
        assert before.is_quorum(names)
        assert after.is_quorum(names)
        rest = [name for name in NAMES if name not in names]
        assert not before.is_quorum(rest)
        assert not after.is_quorum(rest)


# --- spelling ---------------------------------------------------------------------------------


@given(some_names, some_names, st.booleans())
def test_a_configuration_is_read_back_as_it_was_spelled(
    old: list[str], new: list[str], cut: bool
) -> None:
    half = len(new) // 2
    target = Membership(
        tuple(new[half:]), tuple(new[:half]), (), {n: f"h{n}:{i}" for i, n in enumerate(new, 1)}
    )
    before = Membership(tuple(old), addresses={n: target.addresses.get(n, f"{n}:7") for n in old})
    spelled = before.joint_to(target) if cut else target
    assert read(spelled.spell()) == spelled
    assert before.joint_to(target).settled() == target


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
def test_an_entry_that_is_no_configuration_changes_no_members(command: str) -> None:
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
    """A node would end, with all others, at an entry that it can't act on."""
    try:
        Address.parse(address)
        can_be_dialled = True
    except ValueError:
        can_be_dialled = False
    assert (read(f"members s1={address},voter") is not None) == can_be_dialled
    for spelled in (f" s1={address}", f" s1={address},voter"):
        line = f"0 0 base{spelled}\n".encode()
        if can_be_dialled:
            assert read_base(line)[2].addresses == {"s1": address}
        else:
            with pytest.raises(ValueError, match="the base line names a member as"):
                read_base(line)


def test_a_cut_restores_the_previous_configuration() -> None:
    base = Membership(("s1",))
    known = Configurations(5, base, ["noop", "members s1=h:1,voter s2=h:2,voter", "noop"])
    assert known.index == 7
    known.append(9, "members s2=h:2,voter")
    known.cut_after(8)
    assert known.latest.voters == ("s1", "s2")
    known.cut_after(6)
    assert known.latest is base


def test_a_configuration_can_be_asked_for_by_index_also_after_a_snapshot() -> None:
    known = Configurations(0, Membership(("s1",)), ["members s2=h:2,voter", "noop"])
    known.append(3, "members s3=h:3,voter")
    assert [known.at(index).voters for index in (0, 1, 2, 3, 9)] == [
        ("s1",),
        ("s2",),
        ("s2",),
        ("s3",),
        ("s3",),
    ]
    known.compact(2)
    assert [known.at(index).voters for index in (2, 3)] == [("s2",), ("s3",)]
    assert not known.has_known("s1")


def test_a_removed_member_is_named_with_the_entry_of_its_removal() -> None:
    base = Membership(("s1", "s2"))
    known = Configurations(0, base, ["members s1=h:1,voter", "members s1=h:1,voter s3=h:3,learner"])
    assert [known.removed_by(name) for name in ("s1", "s2", "s3", "s9")] == [0, 1, 0, 0]
    known.append(3, "members s1=h:1,voter s2=h:2,voter")
    assert [known.removed_by(name) for name in ("s2", "s3")] == [0, 3]


# --- what may be asked --------------------------------------------------------------------------

THREE = Membership(
    ("s1", "s2", "s3"), ("s4",), (), {"s1": "h:1", "s2": "h:2", "s3": "h:3", "s4": "h:4"}
)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (Change("add", "s1", "h:9"), "s1 is a member at h:1"),
        (Change("add", "s9", "h:1"), "h:1 is the address of s1"),
        (Change("promote", "s9"), "s9 is not a member"),
        (Change("promote", "s1"), "s1 votes already"),
        (Change("demote", "s9"), "s9 is not a member"),
        (Change("demote", "s4"), "s4 is a learner already"),
        (Change("remove", "s9"), "s9 is not a member"),
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


@pytest.mark.parametrize(
    ("listed", "added"),
    [("localhost:1", "127.0.0.1:1"), ("127.0.0.1:1", "localhost:1"), ("h1:1", "H1:1")],
)
def test_the_address_of_a_member_is_known_in_its_other_spelling(listed: str, added: str) -> None:
    members = Membership(("s1",), addresses={"s1": listed})
    with pytest.raises(ChangeRefused, match=f"{added} is the address of s1"):
        plan(Change("add", "s2", added), members)
    plan(Change("add", "s2", added + "0"), members)


@pytest.mark.parametrize("verb", ["remove", "demote"])
def test_the_last_voter_stays(verb: str) -> None:
    with pytest.raises(ChangeRefused, match="no voter would be left"):
        plan(Change(verb, "s1"), Membership(("s1",), ("s2",), (), {"s1": "h:1", "s2": "h:2"}))


def test_a_learner_may_be_replaced_in_by_its_name() -> None:
    planned = plan(Change("replace", "s4", "h:4", "s2"), THREE)
    assert planned.learner_first is None
    assert planned.target.voters == ("s1", "s3", "s4")
    assert planned.target.learners == ()
    assert "s2" not in planned.target.addresses


def test_replacing_by_a_voter_takes_the_old_one_out_at_once() -> None:
    planned = plan(Change("replace", "s1", "h:1", "s2"), THREE)
    assert (planned.candidate, planned.learner_first) == (None, None)
    assert planned.target.voters == ("s1", "s3")
    assert planned.target.learners == ("s4",)
    assert "s2" not in planned.target.addresses


@pytest.mark.parametrize(
    "change", [Change("add", "s1", "h:1"), Change("replace", "s1", "h:1", "s9")]
)
def test_repeating_a_completed_change_changes_no_member(change: Change) -> None:
    assert plan(change, THREE) == ChangePlan(THREE)


def test_even_sizes_are_advised_against_with_the_reason() -> None:
    assert "the loss of either" in advice(2)
    assert "4 voters tolerate the loss of 1, like 3 voters" in advice(4)
    assert [advice(count) for count in (1, 3, 5)] == ["", "", ""]
