"""What a quorum is (§5.2): a majority of the voters, never half of them."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.raft.membership import Membership

NAMES = ("s1", "s2", "s3", "s4", "s5", "s6", "s7")


# mistake 1
# seed 004-35
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


# mistake 18
def test_a_quorum_does_not_wait_for_the_slowest_nor_for_the_dead() -> None:
    assert Membership(("s1", "s2", "s3")).reached_by_quorum({"s1": 9, "s2": 4}) == 4
    assert Membership(("s1", "s2", "s3", "s4")).reached_by_quorum({"s1": 9, "s2": 4}) == 0


@given(st.integers(1, 7), st.dictionaries(st.sampled_from(NAMES), st.integers(0, 50)))
def test_what_a_quorum_reached_is_the_highest_number_that_a_quorum_has(
    count: int, values: dict[str, int]
) -> None:
    membership = Membership(NAMES[:count])
    reached = membership.reached_by_quorum(values)
    assert membership.is_quorum([n for n in NAMES[:count] if values.get(n, 0) >= reached])
    assert not membership.is_quorum([n for n in NAMES[:count] if values.get(n, 0) > reached])
