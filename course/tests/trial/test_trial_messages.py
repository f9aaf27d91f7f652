"""Messages in the seed's form: what each must have, and the lines that they become."""

from __future__ import annotations

from typing import Any

import pytest

from raftline.wire.refusal import not_leader, outcome_unknown
from raftline_course.trial.trial_messages import BadMessage, Message, answer_to, checked, line_of

KNOWN = {"0000", "0001", "0005"}
PUT: Message = {
    "source": "0005", "destination": "0000", "leader": "unkown", "req_category": "put",
    "Message-ID": 17, "key": "a b", "value": "c  d\n",
}  # fmt: skip
GET: Message = {**PUT, "req_category": "get", "key": "b"}


@pytest.mark.parametrize("form", ["Message-ID", "Message ID", "Message_ID"])
def test_complete_message_is_accepted_with_any_id_form(form: str) -> None:
    """A complete message is accepted with any form of its id."""
    message = {**PUT, form: 17}
    if form != "Message-ID":
        del message["Message-ID"]
    assert checked(message, KNOWN) == PUT


@pytest.mark.parametrize("part", ["source", "destination", "leader", "req_category", "Message-ID"])
def test_a_message_without_a_mandatory_component_is_rejected(part: str) -> None:
    message = {name: value for name, value in PUT.items() if name != part}
    with pytest.raises(BadMessage, match=f"the message lacks {part}"):
        checked(message, KNOWN)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": "5"}, "source '5' is not an id: four digits"),
        ({"source": 5}, "source 5 is not an id"),
        ({"source": "٠٠٠٠"}, "is not an id"),
        ({"destination": "0009"}, "destination '0009' is unknown here"),
        ({"leader": "unknown"}, "leader 'unknown' is not an id"),
        ({"leader": "0007"}, "leader '0007' is unknown here"),
        ({"req_category": "steal"}, "'steal' is not a req_category: put, get, success"),
        ({"Message-ID": "17"}, "'17' is no Message-ID"),
        ({"Message-ID": True}, "True is no Message-ID"),
        ({"Message-ID": -1}, "-1 is no Message-ID"),
        ({"key": None}, "put lacks its key"),
        ({"value": 4}, "put lacks its value"),
    ],
)
def test_an_invalid_component_is_rejected(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadMessage) as caught:
        checked({**PUT, **change}, KNOWN)
    assert said in str(caught.value)


def test_a_text_that_is_not_a_dictionary_is_rejected() -> None:
    with pytest.raises(BadMessage, match="a message is a dictionary, not list"):
        checked([], KNOWN)


def test_put_and_get_become_lines_of_our_wire() -> None:
    assert line_of(PUT) == r"c0005#17@set a\sb c  d\n"
    assert line_of(GET) == "c0005#17@get b"


def test_follower_reply_is_forward2leader_with_the_leader_id() -> None:
    """A follower's reply is Forward2Leader with the leader's id."""
    assert answer_to(GET, not_leader("s0001", "localhost", 10000)) == {
        "source": "0000",
        "destination": "0005",
        "leader": "0001",
        "req_category": "forward2leader",
        "Message-ID": 17,
    }
    unknown = answer_to(GET, "Sorry, I know of no leader. Try again.")
    assert (unknown["req_category"], unknown["leader"]) == ("forward2leader", "unkown")


def test_an_answer_is_success_with_the_value_or_failure() -> None:
    found = answer_to(GET, r"GET response: c  d\n")
    assert (found["req_category"], found["value"], found["leader"]) == ("success", "c  d\n", "0000")
    missing = answer_to(GET, "GET response, no such key: b")
    assert (missing["req_category"], missing["absent"]) == ("failure", True)
    assert answer_to(PUT, r"SET response: a\sb set to c  d\n")["req_category"] == "success"
    refused = answer_to(PUT, "Sorry, the disk is full")
    assert (refused["req_category"], refused["absent"]) == ("failure", False)
    assert refused["reason"] == "Sorry, the disk is full"


def test_a_put_of_unknown_outcome_is_not_a_failure() -> None:
    assert answer_to(PUT, outcome_unknown("it lost its place"))["req_category"] == "unknown"
    assert checked(answer_to(PUT, outcome_unknown("x")), KNOWN)["req_category"] == "unknown"
