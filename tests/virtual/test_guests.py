"""Users in schedules of faults: nobody does anything without a right, whoever has it is served."""

from __future__ import annotations

import pytest

from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.clients import guests
from raftline_testing.virtual.seeds import counts_of, first_failure

STEPS = 3000
COVERED = (
    "allowed by rights",
    "broken settings",
    "observers that lost their rights",
    "refused by rights",
    "users read again",
    "watches that lost their rights",
)


@pytest.fixture(autouse=True)
def users_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "SHARE", 1.0)


@pytest.mark.parametrize(("first", "count"), [(0, 1), in_the_rest(0, 10), *at_night((100, 300))])
def test_rights_count_from_the_moment_in_which_they_were_read(first: int, count: int) -> None:
    counts = counts_of(first, count, steps=STEPS)
    assert count == 1 or [name for name in COVERED if not counts[name]] == []


@pytest.mark.slow
@pytest.mark.pure  # it replaces a method of a compiled class
def test_rights_as_of_the_login_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raftline.access.login.Login._look_again", lambda _: None)
    assert "must not be" in first_failure(range(10), steps=STEPS)
