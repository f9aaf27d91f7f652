"""Members that prove themselves, in schedules of faults: who knows no secret is never heard."""

from __future__ import annotations

import pytest

from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.faults import proofs
from raftline_testing.virtual.seeds import counts_of

STEPS = 3000
COVERED = (
    "broken secrets",
    "impostors",
    "messages of proven members",
    "proofs",
    "proofs refused",
    "secrets changed",
    "secrets read again",
)


@pytest.fixture(autouse=True)
def secrets_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "SHARE", 1.0)


@pytest.mark.parametrize(("first", "count"), [(0, 1), in_the_rest(0, 8), *at_night((100, 300))])
def test_who_lacks_the_secret_is_ignored_and_rotation_is_safe(first: int, count: int) -> None:
    """A node without the secret is not heard, and a change in steps parts nobody."""
    counts = counts_of(first, count, steps=STEPS)
    assert count == 1 or [name for name in COVERED if not counts[name]] == []
