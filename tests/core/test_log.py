"""The log in memory: figure 2's `log[]`, Log Matching (§5.3), and which log is better (§5.4.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.raft.log import Entry, Log, SafetyError
from raftline_testing.doubles.cores import log_of


def test_an_empty_log_ends_at_index_0_of_term_0() -> None:
    log = Log()
    assert (log.last_index, log.last_term, log.term_at(0), log.term_at(1)) == (0, 0, 0, None)


def test_a_log_over_a_base_knows_the_term_of_its_base_and_nothing_before() -> None:
    log = Log(base_index=7, base_term=3)
    log.append(4, "set a 4")
    assert [log.term_at(index) for index in (6, 7, 8, 9)] == [None, 3, 4, None]
    assert log.entries(8, 8) == [Entry(8, 4, "set a 4")]
    with pytest.raises(SafetyError):
        log.entries(7, 8)
    with pytest.raises(SafetyError):
        log.cut_after(6)


def test_an_entrys_index_is_its_place_in_the_log() -> None:
    log = log_of(1, 1, 2)
    log.cut_after(1)
    log.append(5, "set y 1")
    assert log.entries(1, 2) == [Entry(1, 1, "set x 1.1"), Entry(2, 5, "set y 1")]


def test_terms_never_fall_along_a_log() -> None:
    log = log_of(1, 3)
    with pytest.raises(SafetyError):
        log.append(2, "set a 4")
    assert log.last_index == 2


def test_the_run_of_equal_terms_around_an_index_is_found() -> None:
    log = log_of(1, 1, 1, 4, 4, 5)
    assert [log.first_index_of_term_at(index) for index in range(1, 7)] == [1, 1, 1, 4, 4, 6]


def test_an_index_beyond_the_end_has_no_entry() -> None:
    with pytest.raises(SafetyError):
        log_of(1, 2).entries(1, 3)


@pytest.mark.parametrize(
    ("last_index", "last_term", "accepted"),
    [
        (3, 2, True),  # equal
        (4, 2, True),  # longer in the same term
        (1, 3, True),  # a later term, however short
        (2, 2, False),  # shorter in the same term
        (9, 1, False),  # an earlier term, however long
        (0, 0, False),
    ],
)
def test_logs_are_compared_by_last_term_then_by_length(
    last_index: int, last_term: int, accepted: bool
) -> None:
    assert log_of(1, 2, 2).accepts(last_index, last_term) is accepted


grown = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=12)


@given(st.lists(st.tuples(grown, st.integers(0, 12)), max_size=6))
def test_term_runs_give_the_same_terms_as_a_plain_list(
    rounds: list[tuple[list[tuple[int, int]], int]],
) -> None:
    """Grow a log and cut it, again and again, beside a list of entries."""
    log = Log()
    entries: list[Entry] = []
    term = 1
    for steps, keep in rounds:
        for rise, value in steps:
            term = max(term + rise, log.last_term)
            entries.append(Entry(len(entries) + 1, term, f"set x {value}"))
            log.append(term, f"set x {value}")
        del entries[keep:]
        log.cut_after(min(keep, log.last_index))
        assert log.entries(1, log.last_index) == entries
        assert [log.term_at(e.index) for e in entries] == [e.term for e in entries]
        assert log.last_term == (entries[-1].term if entries else 0)
        for first in range(1, len(entries) + 1):
            assert log.entries(first, len(entries)) == entries[first - 1 :]
            run = log.first_index_of_term_at(first)
            assert [e.term for e in entries[run - 1 : first]] == [entries[first - 1].term] * (
                first - run + 1
            )
            assert run == 1 or entries[run - 2].term < entries[first - 1].term


@given(st.integers(0, 5), st.lists(st.sampled_from(["set a 1", "delete a"]), max_size=5))
def test_extend_is_append_for_each(start: int, commands: list[str]) -> None:
    one, other = log_of(*[1] * start), log_of(*[1] * start)
    one.extend(2, commands)
    for command in commands:
        other.append(2, command)
    assert one.entries(1, one.last_index) == other.entries(1, other.last_index)
