"""Users in schedules of faults: nobody acts without a right, and everybody with it is served."""

from __future__ import annotations

import pytest

from raftline_testing.runner.at_night import at_night, in_the_rest
from raftline_testing.virtual.clients import guests
from raftline_testing.virtual.seeds import counts_of, first_failure

STEPS = 8000
COVERED = (
    "allowed by rights",
    "entries with a right",
    "entries without a right",
    "observers that lost their rights",
    "refused by rights",
    "users changed",
    "watches that lost their rights",
)


@pytest.fixture(autouse=True)
def users_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "SHARE", 1.0)


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), in_the_rest(80, 16), *at_night((60, 40), (96, 304))]
)
def test_rights_count_at_their_place_in_the_log(first: int, count: int) -> None:
    counts = counts_of(first, count, steps=STEPS)
    assert count == 1 or [name for name in COVERED if not counts[name]] == []


# Each of these takes out one place where rights are checked again after a change of users; the
# number is the first seed to try.
AS_OF_BEFORE = {
    "raftline.access.login.Login._check_again": (lambda _: None, "must not be", 0),
    "raftline.state.commands.replicated_state.ReplicatedState._why_denied": (
        lambda *_: "",
        "is carried out, and must not be",
        35,
    ),
    "raftline.net.protocol.outgoing_protocol.OutgoingProtocol._judged_again": (
        lambda self, batch, replies: replies,
        "is done, and must not be",
        298,
    ),
}


@pytest.mark.slow
@pytest.mark.pure  # it replaces a method of a compiled class
@pytest.mark.parametrize("method", AS_OF_BEFORE)
def test_rights_of_before_a_change_are_found(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    instead, found, first = AS_OF_BEFORE[method]
    monkeypatch.setattr(method, instead)
    assert found in first_failure(range(first, first + 150), steps=STEPS)
