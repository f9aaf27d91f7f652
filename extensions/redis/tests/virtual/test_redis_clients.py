"""Clients that speak as Redis clients do, in schedules of faults."""

from __future__ import annotations

import pytest

from raftline.redis import redis_serving
from raftline.redis.resp import forms, transactions
from raftline.redis.resp.replies import Failure, failure_of
from raftline_testing.runner.at_night import in_the_rest
from raftline_testing.virtual.seeds import counts_of, first_failure

EACH = (
    "commands of Redis clients answered",
    "Redis dealers: looked",
    "Redis dealers: transferred",
    "Redis dealers: transferred after a watch",
)


@pytest.mark.parametrize(("first", "count"), [(0, 1), in_the_rest(1, 7)])
def test_clients_of_both_protocols_see_one_order_of_everything(first: int, count: int) -> None:
    counts = counts_of(first, count)
    assert not [name for name in EACH if not counts[name]], counts


def test_watch_that_overlooks_a_change_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = transactions.write
    monkeypatch.setattr(transactions, "write", lambda context, tasks, _: real(context, tasks, {}))
    assert "the accounts hold" in first_failure([20])


@pytest.mark.judge
def test_unknown_outcome_reported_as_refused_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(reply: str, key: str) -> Failure | None:
        failure = failure_of(reply, key)
        is_unknown = failure is not None and failure.startswith("UNKNOWN")
        return Failure("TRYAGAIN") if is_unknown else failure

    monkeypatch.setattr(forms, "failure_of", refused)
    monkeypatch.setattr(redis_serving, "failure_of", refused)
    assert "was not requested by any client" in first_failure([273])
