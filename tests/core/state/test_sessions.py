"""Exactly once: a retry gets the first reply, and what is forgotten is refused."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raftline.state.sessions import SESSIONS_MAX, WINDOW, SessionTable
from tests.core.state.machine import Machine


def test_a_retry_takes_effect_once_and_gets_the_first_reply() -> None:
    machine = Machine()
    assert machine.do("client4#17@incr n") == "INCR response: 1"
    assert machine.do("client4#18@incr n") == "INCR response: 2"
    assert [machine.do("client4#17@incr n") for _ in range(3)] == ["INCR response: 1"] * 3
    assert machine.do("get n") == "GET response: 2"


def test_the_same_number_of_two_clients_is_two_requests() -> None:
    machine = Machine()
    assert machine.do("client4#1@incr n") == "INCR response: 1"
    assert machine.do("client5#1@incr n") == "INCR response: 2"


def test_a_number_with_another_command_is_refused() -> None:
    machine = Machine()
    machine.do("client4#1@set a 1")
    assert machine.do("client4#1@set a 2") == (
        "Sorry, request 1 of client4 was another command; nothing was executed"
    )
    assert machine.do("get a") == "GET response: 1"


def test_numbers_may_come_in_any_order_within_the_window() -> None:
    machine = Machine()
    for number in (5, 3, 4, 1, 2):
        assert machine.do(f"client4#{number}@append a {number}").startswith("APPEND response")
    for number in range(1, 6):
        machine.do(f"client4#{number}@append a {number}")
    assert machine.do("get a") == "GET response: 53412"


def test_a_number_below_the_window_is_refused_and_not_executed() -> None:
    machine = Machine()
    machine.do("client4#1@incr n")
    machine.do(f"client4#{WINDOW + 1}@incr n")
    for number in (0, 1):
        assert machine.do(f"client4#{number}@incr n") == (
            f"Sorry, session expired: request {number} of client4 is earlier than those that are "
            "remembered, so it may be a retry; it was not executed"
        )
    assert machine.do("client4#2@incr n") == "INCR response: 3"


def test_a_new_session_has_a_name_that_no_session_had() -> None:
    machine = Machine()
    assert machine.do("client4@session") == "SESSION response: client4-1"
    assert machine.do("client4@session") == "SESSION response: client4-2"
    assert machine.do("client4-1#1@incr n") == "INCR response: 1"
    assert machine.do("client4-2#1@incr n") == "INCR response: 2"


def test_a_name_of_that_form_is_never_begun_by_a_request() -> None:
    machine = Machine()
    assert machine.do("client4-9#1@incr n") == (
        "Sorry, session expired: nothing is known of client4-9 any more, so this request may be a "
        "retry; it was not executed. Begin a session with NAME@session"
    )
    assert machine.do("get n") == "GET response, no such key: n"


def test_least_recently_used_session_is_dropped_for_ever() -> None:
    """The least recently used session is dropped, and refused from then on."""
    machine = Machine()
    machine.do("used#1@incr n")  # the older one of the two
    machine.do("old#1@incr n")
    for number in range(SESSIONS_MAX - 2):
        machine.do(f"c{number}#1@noop")
    machine.do("used#2@incr n")
    machine.do("another@session")  # one too many: `old` goes
    assert len(machine.manager.state.sessions) == SESSIONS_MAX
    assert machine.do("used#2@incr n") == "INCR response: 3"
    for _ in range(2):
        assert machine.do("old#1@incr n").startswith("Sorry, session expired: nothing is known")
    assert machine.do("fresh#1@incr n").startswith("Sorry, session expired: nothing is known")
    assert machine.do("get n") == "GET response: 3"


@pytest.mark.parametrize("length", [1, 450, 600, 1024])
def test_a_retry_with_a_long_key_gets_the_first_reply(length: int) -> None:
    machine, key = Machine(), "k" * length
    asked = [
        f"set {key} {key}", f"setnx {key} 2", f"cas {key} 7 {key}", f"append {key} {key}",
        f"incr {key}", f"cas {key} {key}{key} k", f"delete {key}", f"delete {key}",
        f"cas {key} 7 8", f"setnx {key} {'v' * 600}",
    ]  # fmt: skip
    first = [machine.do(f"client4#{n}@{command}") for n, command in enumerate(asked)]
    assert f"SETNX response, key exists: {key}" in first
    table = SessionTable.load(machine.manager.state.sessions.dump())
    assert max(len(line) for line in table.dump()) < 4000  # no key is kept with each
    machine.manager.state.sessions = table
    assert [machine.do(f"client4#{n}@{command}") for n, command in enumerate(asked)] == first


@pytest.mark.parametrize("verb", ["set a", "setnx a", "cas a old"])
def test_a_long_reply_is_repeated_without_being_kept(verb: str) -> None:
    machine = Machine()
    if verb.startswith("cas"):
        machine.do("set a old")
    command = f"{verb} {'v' * 5000} and more"
    reply = machine.do(f"client4#1@{command}")
    assert reply.endswith("and more")
    machine.do("client4#2@set a changed")
    assert machine.do(f"client4#1@{command}") == reply
    assert machine.do("get a") == "GET response: changed"


def test_an_error_is_a_reply_too() -> None:
    machine = Machine()
    machine.do("set n x")
    refused = machine.do("client4#1@incr n")
    machine.do("set n 1")
    assert machine.do("client4#1@incr n") == refused
    assert machine.do("get n") == "GET response: 1"


REQUESTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 300), st.integers(0, 2)),
    max_size=60,
)


@given(REQUESTS, REQUESTS)
def test_a_table_that_was_dumped_and_loaded_answers_alike(
    before: list[tuple[str, int, int]], after: list[tuple[str, int, int]]
) -> None:
    first = Machine()
    for client, number, step in before:
        first.do(f"{client}#{number}@incr n {step}")
    second = Machine()
    second.manager.store.update(first.manager.store)
    second.manager.state.sessions = SessionTable.load(first.manager.state.sessions.dump())
    for client, number, step in after:
        command = f"{client}#{number}@incr n {step}"
        assert first.do(command) == second.do(command)
    assert first.manager.store == second.manager.store


@pytest.mark.parametrize(
    "line",
    ["x", "[1]", '["a"]', '{"other": 1}', '["a", 1, [[1]]]', '["a", true, []]', '["a", "1", []]',
     '["a", 1.0, []]', '["a", Infinity, []]', '["a", 1, [["1", 2, "x"]]]', '["a", 1, [[1, 2, 3]]]',
     '[["a"], 1, []]', "[" * 100_000, f'["a", {"9" * 5000}, []]'],
)  # fmt: skip
def test_a_damaged_dump_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        SessionTable.load([line])


@given(st.text(max_size=8), st.text(max_size=12))
def test_no_prefix_makes_apply_raise(client: str, command: str) -> None:
    line = f"{client}@{command}"
    assume("machine " not in line)  # for a machine that is not here: the node must stop
    assert isinstance(Machine().do(line), str)


def test_forgotten_session_is_gone_and_refused() -> None:
    """A forgotten session is gone, and its requests are refused."""
    machine = Machine()
    machine.do("cluster 9f86d081884c7d65 level 1")
    name = machine.do("client4@session").removeprefix("SESSION response: ")
    machine.do(f"{name}#1@incr n")
    for _ in range(2):  # a second time it makes no difference
        assert machine.do(f"{name}@forget") == f"FORGET response: {name}"
        assert len(machine.manager.state.sessions) == 0
    assert machine.do(f"{name}#1@incr n").startswith("Sorry, session expired: ")
    assert machine.do("get n") == "GET response: 1"
    assert machine.do("client9#1@incr n") == "INCR response: 2"  # a name of one's own still begins


def test_a_name_that_a_client_made_up_is_not_forgotten() -> None:
    """Otherwise, a delayed copy of its request would begin it again and take effect twice."""
    machine = Machine()
    machine.do("cluster 9f86d081884c7d65 level 1")
    machine.do("client4#1@incr n")
    assert machine.do("client4@forget").startswith("Sorry, client4 is not a session that")
    assert machine.do("client4#1@incr n") == "INCR response: 1"


def test_at_the_floor_a_session_is_not_forgotten() -> None:
    """Another implementation would keep it, and answer its retries."""
    machine = Machine()
    name = machine.do("client4@session").removeprefix("SESSION response: ")
    machine.do(f"{name}#1@incr n")
    assert machine.do(f"{name}@forget").startswith("Sorry, ")
    assert machine.do(f"{name}#1@incr n") == "INCR response: 1"


def test_sessions_that_are_given_back_push_nobody_out() -> None:
    machine = Machine()
    machine.do("cluster 9f86d081884c7d65 level 1")
    machine.do("quiet#1@incr n")
    for _ in range(SESSIONS_MAX + 10):
        name = machine.do("raftline@session").removeprefix("SESSION response: ")
        machine.do(f"{name}#1@set a 1")
        machine.do(f"{name}@forget")
    assert len(machine.manager.state.sessions) == 1
    assert machine.do("quiet#1@incr n") == "INCR response: 1"
