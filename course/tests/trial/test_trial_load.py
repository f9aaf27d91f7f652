"""The requests of a trial: spacing, keys, and what counts as a wrong get."""

from __future__ import annotations

import random
import re
import threading
import time
from typing import Any, cast

import pytest
from course.tests.trial.trials import asked

from raftline_course.trial.load import (
    Due,
    LoadClient,
    by_client,
    generate_string,
    mark_wrong_gets,
    plan,
)
from raftline_course.trial.metrics_dictionary import Metrics
from raftline_course.trial.store_client import ServerAttempt, StoreClient, Unanswered
from raftline_course.trial.trial_messages import Message


def test_requests_are_evenly_spaced_within_the_load() -> None:
    """Requests are evenly spaced between warm-up and cool-down."""
    dues = plan(Metrics(client_requests=46), random.Random(1))
    assert [due.at for due in dues] == [5 + number * 0.5 for number in range(46)]
    assert dues[-1].at < 30 - 2


def test_the_gp_ratio_is_the_share_of_gets_and_the_seed_decides() -> None:
    def gets(ratio: float, seed: int = 1) -> int:
        dues = plan(Metrics(gp_ratio=ratio, client_requests=1000), random.Random(seed))
        return sum(due.is_get for due in dues)

    assert (gets(0.0), gets(1.0)) == (0, 1000)
    assert 750 < gets(0.8) < 850
    assert gets(0.8) == gets(0.8) != gets(0.8, seed=2)


def test_a_key_is_eight_characters_of_digits_and_small_letters() -> None:
    found = {generate_string(random.Random(seed)) for seed in range(100)}
    assert len(found) == 100
    assert all(re.fullmatch("[0-9a-z]{8}", each) for each in found)


def test_each_request_belongs_to_one_client() -> None:
    dues = [Due(0, 1.0, True), Due(2, 2.0, True), Due(0, 3.0, False)]
    assert by_client(dues, 3) == {0: [dues[0], dues[2]], 1: [], 2: [dues[1]]}


class Confirms:
    """A store that confirms each put but that of one number, and knows what it was sent."""

    def __init__(self, lost: int | None = None, refused: int | None = None) -> None:
        self.pairs: dict[str, str] = {}
        self.attempts: list[ServerAttempt] = []
        self.last_message_id = 0
        self.stop = threading.Event()
        self._lost = lost
        self._refused = refused

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def put(self, key: str, value: str, _: float) -> Message:
        self.last_message_id += 1
        if self.last_message_id == self._lost:
            raise Unanswered
        if self.last_message_id == self._refused:
            return {"req_category": "failure"}
        self.pairs[key] = value
        return {"req_category": "success"}

    def get(self, key: str, _: float) -> Message:
        self.last_message_id += 1
        return {"req_category": "success", "value": self.pairs[key]}


def asked_by(store: Confirms, dues: list[Due], **more: Any) -> list[tuple[str, str, str | None]]:
    """Return what one client asks of a store, in order."""
    common: dict[str, str] | None = {} if more else None
    made = LoadClient(
        "0005", dues, cast(StoreClient, store), Metrics(**more), time.monotonic(), common
    )
    made.start()
    made.join(60)
    assert made.problem is None
    return [(each.category, each.key, each.value) for each in made.requests]


@pytest.mark.parametrize("shared_keys", [0, 5])
def test_the_same_seed_asks_the_same_but_for_gets_of_a_lost_put(
    shared_keys: int,
) -> None:
    more = {"shared_keys": shared_keys} if shared_keys else {}
    chance = random.Random(3)
    dues = [Due(0, 0.0, chance.random() < 0.5) for _ in range(200)]
    first = asked_by(Confirms(), dues, **more)
    assert first == asked_by(Confirms(), dues, **more)
    assert first != asked_by(Confirms(), dues, seed=2, **more)
    puts = [number for number, each in enumerate(first) if each[0] == "put"]
    lost = puts[5]
    other = asked_by(Confirms(lost=lost + 1), dues, **more)
    assert [each for each in first if each[0] == "put"] == [
        each for each in other if each[0] == "put"
    ]
    if not shared_keys:
        changed = {one[1] for one, two in zip(first, other, strict=True) if one != two}
        assert changed <= {first[lost][1]}


def test_a_key_whose_put_was_refused_is_not_asked_for() -> None:
    dues = [Due(0, 0.0, False), Due(0, 0.0, False), *(Due(0, 0.0, True) for _ in range(20))]
    (_, refused, _), (_, kept, _), *gets = asked_by(Confirms(refused=1), dues)
    assert refused != kept
    assert {key for _, key, _ in gets} == {kept}


def test_latency_counts_from_when_a_request_was_due() -> None:
    """Latency counts from when a request was due until its answer."""
    assert asked(1, due=1.0, called=3.0, returned=3.5).latency == 2.5

    class Slow(Confirms):
        def put(self, key: str, value: str, until_s: float) -> Message:
            self.stop.wait(0.05)
            return super().put(key, value, until_s)

    due, store = [Due(0, 0.0, False)], cast(StoreClient, Slow())
    made = LoadClient("0005", due, store, Metrics(), time.monotonic())
    made.start()
    made.join(60)
    [put] = made.requests
    assert put.called is not None
    assert put.returned is not None
    assert put.returned - put.called >= 0.05


def test_unsent_get_is_not_counted_as_a_missing_key() -> None:
    """A get that never leaves is not counted as one without a key."""
    store = Confirms()
    store.stop.set()
    made = LoadClient(
        "0005", [Due(0, 0.0, True)], cast(StoreClient, store), Metrics(), time.monotonic()
    )
    made.start()
    made.join(60)
    assert ([each.called for each in made.requests], made.prior_get_requests) == ([None], 0)


def test_a_value_that_was_not_put_before_the_get_is_wrong() -> None:
    right = asked(5, "get", key="key1", value="value1")
    from_nowhere = asked(6, "get", key="key1", value="value9")
    from_the_future = asked(7, "get", key="key8", value="value8")
    absent = asked(8, "get", key="key1", value=None, outcome="absent")
    mark_wrong_gets([asked(1), right, from_nowhere, from_the_future, absent, asked(8)])
    assert [each.wrong for each in (right, from_nowhere, from_the_future, absent)] == [
        False,
        True,
        True,
        False,
    ]
