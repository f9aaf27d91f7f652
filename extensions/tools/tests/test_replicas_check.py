"""`raftline check replicas`: its verdict, and the search for the first key that differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from raftline.common.address import Address
from raftline.tools.requests.replicas import (
    TRIES,
    Different,
    NotListed,
    ReplicaLines,
    ReplicaMember,
    Report,
    first_difference,
    gather,
    reference_of,
)
from raftline.tools.status.status import NodeStatus
from raftline.wire.key_stat import read_key_line

PLACE = Address("h", 1)
SAME, OTHER = ("1ff08c67", "0" * 16), ("1ff08c67", "f" * 16)
Read = Callable[[str, str], ReplicaLines]


def member(name: str, sums: tuple[str, str] | None = SAME) -> ReplicaMember:
    return ReplicaMember(name, PLACE, sums, "" if sums else "connection refused")


def report(
    *members: ReplicaMember, keys: dict[str, Different | str | None] | None = None
) -> Report:
    return Report(9, members, reference_of(members, "s1"), keys or {})


def holds(*lines: str, applied: int = 9, page: int = 2) -> Read:
    """A member with these lines of keys, which it shows page by page."""
    pairs = [(read_key_line(line)[0], line) for line in lines]

    def read(prefix: str, after: str) -> ReplicaLines:
        rest = [pair for pair in pairs if pair[0].startswith(prefix) and pair[0] > after]
        return ReplicaLines(applied, rest[:page], rest[page - 1][0] if len(rest) > page else None)

    return read


def no_pause(_: float) -> None:
    """Do not wait."""


def test_equal_members_pass() -> None:
    found = report(*map(member, ("s1", "s2", "s3")))
    assert found.outcome == 0
    first, *_, last = found.lines()
    assert first == "s1  entries 1ff08c67, state 0000000000000000"
    assert last == "[*] all 3 members are equal after entry 9"
    assert [*report(member("s1")).lines()][-1] == "[*] there is no other member to compare it with"


def test_the_largest_group_is_right_then_the_leader() -> None:
    """A leader may be the one that differs."""
    several = [member("s1", OTHER), member("s2"), member("s3")]
    assert reference_of(several, "s1") == several[1]
    assert reference_of([member("s2"), member("s1", OTHER)], "s1") == member("s1", OTHER)
    assert reference_of([member("s1", None)], "s1") is None


def test_a_difference_names_the_key_and_both_lines() -> None:
    key = Different("b", ("3 b 1", None))
    found = report(member("s1"), member("s2"), member("s3", OTHER), keys={"s3": key})
    assert found.outcome == 1
    assert [*found.lines()][2:] == [
        "s3  differs: state ffffffffffffffff, not 0000000000000000",
        "[!] s3 differs from s1 after entry 9; the first key is b",
        "    s1: 3 b 1",
        "    s3: no such key",
    ]
    facts = json.loads(found.as_json())
    assert (facts["ok"], facts["index"]) == (False, 9)
    assert facts["first_keys"] == {"s3": {"key": "b", "s1": "3 b 1", "s3": None}}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (None, "but no key that has stayed the same since does"),
        ("no answer", "its keys can't be compared: no answer"),
    ],
)
def test_a_difference_without_a_key_says_so(key: str | None, said: str) -> None:
    """It may be in the sessions, the leases or the users, or the member may be gone."""
    found = report(member("s1"), member("s2"), member("s3", OTHER), keys={"s3": key})
    assert found.outcome == 1
    assert said in [*found.lines()][-1]


def test_a_silent_member_is_named_and_not_equal() -> None:
    found = report(member("s1"), member("s2"), member("s3", None))
    assert found.outcome == 5
    assert [*found.lines()][2:] == [
        "s3  not compared: connection refused",
        "[!] s3 was not compared",
    ]
    assert json.loads(found.as_json())["members"]["s3"]["equal"] is None


def says(name: str, applied: int, sums: object) -> NodeStatus:
    answer = {"name": name, "role": "follower", "term": 1, "last_applied": applied}
    return NodeStatus(name, PLACE, {**answer, "state_sums": sums})


def test_gather_asks_until_all_who_answer_have_summed() -> None:
    behind = [says("s1", 9, {"9": [*SAME]}), says("s2", 7, {})]
    done = [says("s1", 9, {"9": [*SAME]}), says("s2", 12, {"9": [*SAME], "10": [*OTHER]})]
    silent = NodeStatus("s3", PLACE, None, "connection refused")
    looks = iter([[*behind, silent], [*done, silent]])
    found = gather(lambda: next(looks), 9, float("inf"), no_pause)
    assert found == [member("s1"), member("s2"), member("s3", None)]


@pytest.mark.parametrize(
    ("applied", "sums", "problem"),
    [
        (7, {}, "it has applied only entry 7 yet"),
        (12, {"11": [*SAME]}, "it has not summed its state there in time, or has forgotten"),
        (12, {"9": "x"}, "it has not summed its state there in time, or has forgotten"),
        (12, None, "its version reports no sums"),
    ],
)
def test_gather_gives_up_in_the_end(applied: int, sums: object, problem: str) -> None:
    (found,) = gather(lambda: [says("s1", applied, sums)], 9, 0.0, no_pause)
    assert found.sums is None
    assert found.problem.startswith(problem)


@pytest.mark.parametrize(
    ("one", "other", "key"),
    [
        (["1 a 1", "2 b 1", "3 c 1"], ["1 a 1", "2 b 1", "3 c 2"], "c"),
        (["1 a 1", "2 b 1", "3 c 1"], ["1 a 1", "3 c 1"], "b"),
        (["3 c 1"], ["1 a 1", "2 b 1", "3 c 1"], "a"),
        (["1 a 1"], ["2 a 1"], "a"),
        (["1,lease-1 a 1"], ["1 a 1"], "a"),
        (["1,,bob a 1"], ["1,,eve a 1"], "a"),
        (["1 a 1", "2 b 1"], ["1 a 1", "2 b 1"], None),
        (["12 a 5", "2 b 1"], ["1 a 1", "2 b 1"], None),
        (["12 a 5", "2 b 1"], ["2 b 2"], "b"),
    ],
)
def test_first_difference(one: Sequence[str], other: Sequence[str], key: str | None) -> None:
    """A key that was changed after the entry, 9, is left out."""
    for first, second in ((one, other), (other, one)):
        found = first_difference(holds(*first), holds(*second), 9, no_pause)
        assert (found.key if found is not None else None) == key


def test_a_key_deleted_between_two_looks_is_not_a_difference() -> None:
    """The second look waits until both have applied what either had applied."""
    pauses: list[float] = []

    def lagging(prefix: str, after: str) -> ReplicaLines:
        return holds(applied=12)(prefix, after) if pauses else holds("1 a 1")(prefix, after)

    assert first_difference(lagging, holds(applied=11), 9, pauses.append) is None
    assert len(pauses) == 1


def test_a_member_that_stands_still_is_compared_in_the_end() -> None:
    pauses: list[float] = []
    found = first_difference(holds("1 a 1"), holds(applied=11), 9, pauses.append)
    assert found == Different("a", ("1 a 1", None))
    assert len(pauses) == TRIES


def test_a_member_that_shows_no_lines_ends_the_search() -> None:
    def refuses(prefix: str, after: str) -> ReplicaLines:
        raise NotListed(f"no role allows it: {prefix}{after}")

    with pytest.raises(NotListed):
        first_difference(refuses, holds("1 a 1"), 9, no_pause)
