"""Who asks what and when: spacing, keys, and what counts as a wrong get."""

from __future__ import annotations

import random
import re

from raftline.trial.load import Due, by_client, generate_string, mark_wrong_gets, plan
from raftline.trial.metrics import Metrics
from tests.unit.trials import asked


# seed 001-14
def test_requests_are_evenly_spaced_between_warm_up_and_cool_down() -> None:
    dues = plan(Metrics(client_requests=46), random.Random(1))
    assert [due.at for due in dues] == [5 + number * 0.5 for number in range(46)]
    assert dues[-1].at < 30 - 2


# seed 001-12
def test_the_gp_ratio_is_the_share_of_gets_and_the_seed_decides() -> None:
    def gets(ratio: float, seed: int = 1) -> int:
        dues = plan(Metrics(gp_ratio=ratio, client_requests=1000), random.Random(seed))
        return sum(due.is_get for due in dues)

    assert (gets(0.0), gets(1.0)) == (0, 1000)
    assert 750 < gets(0.8) < 850
    assert gets(0.8) == gets(0.8) != gets(0.8, seed=2)


# seed 001-15
def test_a_key_is_eight_characters_of_digits_and_small_letters() -> None:
    found = {generate_string(random.Random(seed)) for seed in range(100)}
    assert len(found) == 100
    assert all(re.fullmatch("[0-9a-z]{8}", each) for each in found)


def test_each_request_belongs_to_one_client() -> None:
    dues = [Due(0, 1.0, True), Due(2, 2.0, True), Due(0, 3.0, False)]
    assert by_client(dues, 3) == {0: [dues[0], dues[2]], 1: [], 2: [dues[1]]}


# seed 001-16
def test_a_value_that_nobody_had_put_by_then_is_wrong() -> None:
    right = asked(5, "get", key="key1", value="value1")
    from_nowhere = asked(6, "get", key="key1", value="value9")
    from_the_future = asked(7, "get", key="key8", value="value8")
    absent = asked(8, "get", key="key1", value=None, outcome="absent")
    mark_wrong_gets([asked(1), right, from_nowhere, from_the_future, absent, asked(8)])
    assert [each.wrong for each in (right, from_nowhere, from_the_future, absent)] == [
        False, True, True, False,
    ]  # fmt: skip
