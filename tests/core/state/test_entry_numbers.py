"""The numbers that tokens and session names are made from grow, and none comes twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.raft.log import Entry
from raftline.state.sessions import (
    EPOCH_MAX,
    EPOCH_NUMBERS,
    EPOCH_TERMS,
    entry_number,
    entry_numbers_of,
    next_epoch,
)

TERMS = st.integers(1, 2**50)


@given(TERMS, TERMS, st.integers(1, 10**11), st.integers(1, 10**11))
def test_a_number_grows_along_a_log(term: int, other: int, index: int, more: int) -> None:
    earlier, later = sorted((term, other))
    assert entry_number(index, earlier) < entry_number(index + more, later) < 2**63


@given(st.integers(1, 10**12), st.integers(0, EPOCH_TERMS), st.integers(1, 10**12 - 1))
def test_a_new_era_begins_beyond_all_terms_of_the_lost_nodes(
    term: int, elections: int, lost: int
) -> None:
    assert entry_number(1, next_epoch(term)) > entry_number(lost, term + elections)


def test_in_the_first_era_the_number_of_an_entry_is_its_index() -> None:
    assert entry_number(57, EPOCH_TERMS - 1) == 57
    assert entry_number(57, EPOCH_TERMS) == EPOCH_NUMBERS + 57
    assert entry_number(57, 2**60) == entry_number(
        57, EPOCH_MAX * EPOCH_TERMS
    )  # forged: it still fits


@pytest.mark.parametrize("terms", [[], [1, 1, 2], [5, EPOCH_TERMS, EPOCH_TERMS], [EPOCH_TERMS] * 2])
def test_entries_applied_together_keep_their_numbers(terms: list[int]) -> None:
    """Entries applied in one batch get the same numbers as entries applied one by one."""
    entries = [Entry(index, term, "noop") for index, term in enumerate(terms, start=7)]
    numbers = [entry_number(entry.index, entry.term) for entry in entries]
    assert list(entry_numbers_of(entries)) == numbers
