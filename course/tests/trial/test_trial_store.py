"""put and get: after the leader, again under the same Message-ID, and what is counted."""

from __future__ import annotations

import random
import time

import pytest

from raftline.wire.refusal import not_leader, outcome_unknown
from raftline_course.trial.load import Due, LoadClient
from raftline_course.trial.metrics_dictionary import Metrics
from raftline_course.trial.store_client import StoreClient, Unanswered
from raftline_course.trial.trial_messages import BadMessage
from raftline_testing.doubles.scripted_node import (
    DEADLINE_S,
    Handler,
    ScriptedNode,
    Start,
    free_port,
    store,
)
from raftline_testing.nodes.processes import eventually


def client(*nodes: ScriptedNode | int) -> StoreClient:
    """Return a client that knows these as 0000, 0001, … and asks 0000 first."""
    ports = {
        f"{number:04}": node if isinstance(node, int) else node.port
        for number, node in enumerate(nodes)
    }

    class First(random.Random):
        def choice(self, seq):  # type: ignore[no-untyped-def]
            return seq[0]

    return StoreClient("0005", ports, First())


def once(first: str | None, then: Handler) -> Handler:
    """Return a handler that answers `first` to the first line, and continues with another."""
    answers = iter([first])

    def handler(command: str) -> str | None:
        try:
            return next(answers)
        except StopIteration:
            return then(command)

    return handler


def test_put_and_get_are_answered_with_messages(start: Start) -> None:
    with client(start(store(), "s0000")) as asking:
        assert asking.put("lamp", "on")["req_category"] == "success"
        answer = asking.get("lamp")
        missing = asking.get("nothing")
    assert answer == {
        "source": "0000",
        "destination": "0005",
        "leader": "0000",
        "req_category": "success",
        "Message-ID": 2,
        "value": "on",
    }
    assert (missing["req_category"], missing["absent"]) == ("failure", True)


def test_redirect_is_followed_with_the_same_message_id(start: Start) -> None:
    """A redirect is followed and counted with the same message id."""
    leader = start(store(), "s0001")
    follower = start(lambda _: not_leader("s0001", "localhost", leader.port), "s0000")
    with client(follower, leader) as asking:
        asking.put("lamp", "on")
        asking.get("lamp")
    assert follower.received == ["c0005#1@set lamp on"]
    assert leader.received == ["c0005#1@set lamp on", "c0005#2@get lamp"]
    assert asking.tally.redirects == 1
    assert (asking.tally.sent, asking.tally.received) == (3, 3)


def test_unknown_outcome_is_retried_under_its_message_id(start: Start) -> None:
    """An unknown outcome is asked again under the same message id."""
    left = start(lambda _: outcome_unknown("it lost its place"), "s0000")
    leader = start(store(), "s0001")
    with client(left, leader) as asking:
        assert asking.put("lamp", "on")["req_category"] == "success"
    assert left.received == leader.received == ["c0005#1@set lamp on"]
    assert [attempt.category for attempt in asking.attempts] == ["unknown", "success"]


def test_a_server_that_is_down_or_hangs_up_is_passed_over(start: Start) -> None:
    leader = start(store(), "s0002")
    hanging = start(lambda _: None, "s0001")
    with client(free_port(), hanging, leader) as asking:
        asking.chance = random.Random(1)
        assert asking.get("ana")["value"] == "4"
    assert leader.received[-1] == "c0005#1@get ana"


def test_answer_to_another_message_is_not_taken(start: Start) -> None:
    """An answer to another message is never taken for this one."""
    doubled = once("SET response: lamp set to on\ns0000#1@SET response: lamp set to on", store())
    with client(start(doubled, "s0000")) as asking:
        asking.put("lamp", "on")
        assert asking.get("ana")["value"] == "4"
    assert (asking.tally.duplicates, asking.tally.rejected) == (1, 0)


def test_an_unrequested_answer_is_rejected_and_counted(start: Start) -> None:
    stray = once("GET response: 4\ns0000#77@GET response: 9", store())
    with client(start(stray, "s0000")) as asking:
        assert asking.get("ana")["value"] == "4"
        assert asking.get("ana")["value"] == "4"
    assert (asking.tally.duplicates, asking.tally.rejected) == (0, 1)


def test_an_invalid_message_is_rejected_counted_and_never_sent(start: Start) -> None:
    node = start(store(), "s0000")
    whole = {"source": "0005", "destination": "0000", "leader": "unkown", "req_category": "get",
             "Message-ID": 1, "key": "ana"}  # fmt: skip
    wrong: list[object] = [{}, None, {**whole, "source": "0009"}, {**whole, "destination": "0005"},
                           {**whole, "req_category": "success"}]  # fmt: skip
    with client(node) as asking:
        for message in wrong:
            with pytest.raises(BadMessage):
                asking.ask(message)
        assert asking.ask(whole)["value"] == "4"
    assert asking.tally.rejected == len(wrong)
    assert node.received == ["c0005#1@get ana"]


def test_an_unknown_leader_is_rejected(start: Start) -> None:
    lying = once(not_leader("s0009", "localhost", 1), store())
    with client(start(lying, "s0000")) as asking:
        assert asking.get("ana")["value"] == "4"
    assert asking.tally.rejected == 1


def test_get_takes_a_key_that_its_client_put(start: Start) -> None:
    """A get takes a key that its client put and counts an empty store."""
    node = start(store(), "s0000")
    dues = [Due(0, 0.0, is_get) for is_get in (True, True, False, True)]
    now_s = time.monotonic()
    made = LoadClient("0005", dues, client(node), Metrics(), now_s)
    made.start()
    made.join(DEADLINE_S)
    assert made.problem is None
    assert [each.category for each in made.requests] == ["put", "get", "put", "get"]
    assert made.prior_get_requests == 1
    put, first_get, other_put, last_get = made.requests
    assert (first_get.key, first_get.value) == (put.key, put.value)
    assert last_get.key in (put.key, other_put.key)
    assert not any(each.wrong for each in made.requests)
    assert all(each.latency is not None and each.latency > 0 for each in made.requests)


def test_a_get_of_another_value_than_was_put_is_wrong(start: Start) -> None:
    def forgetful(command: str) -> str:
        verb, key, *value = command.split()
        return f"SET response: {key} set to {value[0]}" if verb == "set" else "GET response: old"

    dues = [Due(0, 0.0, False), Due(0, 0.0, True)]
    made = LoadClient("0005", dues, client(start(forgetful, "s0000")), Metrics(), time.monotonic())
    made.start()
    made.join(DEADLINE_S)
    assert [each.wrong for each in made.requests] == [False, True]


def test_a_request_without_an_outcome_in_time_is_reported(start: Start) -> None:
    nowhere = start(lambda _: "Sorry, I know of no leader. Try again.", "s0000")

    def is_said() -> bool:
        """Whether it is, after answers that did not settle it; none comes in time where all stood
        still."""
        with client(nowhere) as asking, pytest.raises(Unanswered, match="get ana: no answer"):
            asking.get("ana", time.monotonic() + 0.2)
        return {attempt.category for attempt in asking.attempts} == {"forward2leader"}

    assert eventually(is_said, "answers that do not settle it")
