"""The time of a lease as its holder counts it: from the sending, never from the answer."""

from __future__ import annotations

from raftline.kv.holding import RENEWALS, RETRY_S, Holding, clock


def test_a_lease_is_held_from_its_sending_for_its_time() -> None:
    holding = Holding("lease-57", 9, sent_s=100.0)
    assert holding.is_held(108.9)
    assert not holding.is_held(109.0)
    assert holding.renew_at_s == 100.0 + 9 / RENEWALS


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    holding = Holding("lease-57", 9, sent_s=100.0)
    holding.renewed(103.0)
    assert holding.until_s == 112.0
    assert holding.renew_at_s == 106.0
    holding.renewed(101.0)  # an answer that came late
    assert holding.until_s == 112.0


def test_a_renewal_without_an_answer_is_tried_again_soon_and_lengthens_nothing() -> None:
    holding = Holding("lease-57", 9, sent_s=100.0)
    holding.not_renewed(105.0)
    assert holding.renew_at_s == 105.0 + RETRY_S
    assert holding.until_s == 109.0


def test_a_lease_that_is_over_is_not_held() -> None:
    holding = Holding("lease-57", 9, sent_s=clock())
    holding.is_over = True
    assert not holding.is_held(clock())
