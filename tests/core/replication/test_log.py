"""The log in memory, and what its entries set, against a list of entries: figure 2's `log[]`, Log
Matching (§5.3), and which log is better (§5.4.1)."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftline.raft import identity, membership
from raftline.raft.identity import ClusterIdentity, identity_command, with_parts
from raftline.raft.log import Entry, Log, SafetyError
from raftline.raft.membership import Configurations, Membership

MINE, OTHER = "9f86d081884c7d65", "0123456789abcdef"
REDIS, OLDER, QUEUES = "redis=0123456789ab", "redis=ba9876543210", "recipes=0123456789ab"
NOBODY = Membership(())
COMMANDS = (
    "set a 1", f"cluster {MINE}", f"cluster {MINE} level 2 with {REDIS}", "level 1",
    identity_command(OTHER), identity_command(OTHER, QUEUES), identity_command(MINE),
    *[identity_command(MINE, needs) for needs in (REDIS, OLDER, QUEUES, f"{QUEUES} {REDIS}")],
    "members s1=h:1", "members s1=h:1,voter", "members s1=h:1,voter s2=h:2,voter",
    "members s2=h:2,voter s3=h:3,learner", "members s1=h:1,voter | s1=h:1,voter s3=h:3,voter",
)  # fmt: skip
ACTIONS = st.sampled_from(["append", "append", "append", "cut", "compact"])
STEPS = st.lists(st.tuples(ACTIONS, st.integers(0, 99)), max_size=20)


def set_by_all(commands: list[str]) -> tuple[str, str, Membership]:
    """Return identity, needs and members after these entries, one after the other."""
    cluster, needs, members = "", "", NOBODY
    for command in commands:
        entry = identity.read(command)
        members = membership.read(command) or members
        if entry.cluster and cluster in ("", entry.cluster):
            cluster, needs = entry.cluster, with_parts(needs, entry.needs.split())
    return cluster, needs, members


@settings(max_examples=200)
@given(STEPS)
def test_log_and_what_its_entries_set_are_those_of_a_list(steps: list[tuple[str, int]]) -> None:
    """A compacted log is as one that was read from its new base on."""
    log, known, members = Log(), ClusterIdentity(0), Configurations(0, NOBODY)
    entries, base = list[Entry](), 0
    for action, number in steps:
        last, term = len(entries), entries[-1].term if entries else 0
        if action == "append":
            command = COMMANDS[number % len(COMMANDS)]
            entries.append(Entry(last + 1, max(term, 1) + number % 3 // 2, command))
            log.append(entries[-1].term, command)
            known.append(last + 1, command)
            members.append(last + 1, command)
        else:
            index = base + number % (last - base + 1)
            if action == "cut":
                del entries[index:]
            else:
                base = index
            for each in (log, known, members):
                each.cut_after(index) if action == "cut" else each.compact(index)
    check(log, known, members, entries, base)


def check(
    log: Log, known: ClusterIdentity, members: Configurations, entries: list[Entry], base: int
) -> None:
    terms, last = [0, *[entry.term for entry in entries]], len(entries)
    for one in (log, log.copy()):
        assert (one.base_index, one.last_index, one.last_term) == (base, last, terms[-1])
    here = dict(enumerate(terms[base:], base))
    assert [log.term_at(index) for index in range(-1, last + 3)] == [
        here.get(index) for index in range(-1, last + 3)
    ]
    assert log.commands == [entry.command for entry in entries[base:]]
    runs = [min(index for index, _ in run)
            for _, run in groupby([*here.items()][1:], lambda each: each[1])]  # fmt: skip
    assert log.copy().last_runs(len(runs) + 1) == [(first, terms[first]) for first in [base, *runs]]
    assert log.last_runs(len(runs)) == [(first, terms[first]) for first in runs] or not runs
    for first in range(base + 1, last + 2):
        assert log.entries(first, last) == entries[first - 1 :]
        assert log.entries(base + 1, first - 1) == entries[base : first - 1]
        if first <= last:
            assert log.first_index_of_term_at(first) == max(one for one in runs if one <= first)
    set_by = [set_by_all([one.command for one in entries[:end]]) for end in range(last + 1)]
    cluster, needs, at_base = set_by[base]
    read_again = ClusterIdentity(base, cluster, log.commands, needs)
    configured = Configurations(base, at_base, log.commands)
    for those, confs in ((known, members), (read_again, configured)):
        kept = those, those.needs, confs
        for index in range(last + 2):
            assert tuple(each.at(index) for each in kept) == set_by[min(max(index, base), last)]
        assert tuple(each.latest for each in kept) == set_by[-1]
        assert those.is_at_floor == (set_by[-1][0] == "")
    for name in ("s1", "s2", "s3", "s9"):
        has = [one[2].has(name) for one in set_by[base:]]
        left = [base + place for place in range(1, len(has)) if has[place - 1] and not has[place]]
        assert members.removed_by(name) == (left[-1] if left and not has[-1] else 0)
        assert members.has_known(name) == any(has)


@given(*[st.integers(0, 2)] * 4)
def test_log_accepts_one_at_least_as_up_to_date(
    base: int, term: int, last: int, other: int
) -> None:
    log = Log(base, term)
    assert log.accepts(last, other) == (other > term or (other == term and last >= base))


def test_log_refuses_what_it_does_not_have() -> None:
    log = Log(base_index=7, base_term=3)
    log.append(4, "set a 4")
    for wrong in (
        lambda: log.entries(7, 8),
        lambda: log.entries(8, 9),
        lambda: log.cut_after(6),
        lambda: log.compact(6),
        lambda: log.compact(9),
        lambda: log.append(3, "set a 3"),
    ):
        with pytest.raises(SafetyError):
            wrong()
    log.reset(9, 5)
    assert (log.base_index, log.last_index, log.last_term, log.commands) == (9, 9, 5, [])
