"""The errors of a program's client: their names, and messages without the words of the shell."""

from __future__ import annotations

import importlib
import pickle
import re

import pytest

import raftline
from raftline.clients.connections.node_connection import ClientError, unreachable
from raftline.clients.requests.search import lost, text_of
from raftline.common.address import Address
from raftline.wire.refusal import TLS_ONLY, error
from raftline.wire.replies.replies import Reply

ERRORS = [
    each
    for name in raftline.errors.__all__
    if isinstance(each := getattr(raftline.errors, name), type)
]
AT_THE_SHELL = re.compile(r"--[a-z]|raftline up|python3|openssl|src/")
HERE = Address("localhost", 1)
PUBLIC = re.compile(r"raftline(\.errors|\.clients\..*)?$")  # the homes of a client's errors


def derived(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*map(derived, kind.__subclasses__()))


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_called_as_a_program_imports_it(kind: type[Exception]) -> None:
    home = "raftline" if kind.__qualname__ in raftline.__all__ else "raftline.errors"
    assert kind.__module__ == home
    assert getattr(importlib.import_module(home), kind.__qualname__) is kind


def test_each_client_error_can_be_imported_from_the_package() -> None:
    """Programs need no internal module to catch an error."""
    ours = {each for each in derived(ClientError) if PUBLIC.match(each.__module__)}
    assert ours <= set(ERRORS)
    assert raftline.errors.Closed in ERRORS


def test_errors_share_one_base_and_some_those_of_python() -> None:
    """All errors share one base class; those of connections and of time also derive from
    Python's."""
    assert all(issubclass(each, raftline.RaftlineError) for each in ERRORS)
    network = {
        each.__name__: " ".join(found)
        for each in ERRORS
        if (found := [one.__name__ for one in (ConnectionError, TimeoutError) if one in each.mro()])
    }
    assert network == {
        "Unreachable": "ConnectionError",
        "Closed": "ConnectionError",
        "TimedOut": "ConnectionError TimeoutError",
        "NoLeader": "TimeoutError",
        "NotLeader": "TimeoutError",
    }


def test_unknown_outcome_is_not_an_error_that_libraries_retry() -> None:
    """Libraries that retry after connection errors must not retry after an unknown outcome."""
    assert not issubclass(raftline.OutcomeUnknown, OSError)


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_goes_from_one_process_to_another(kind: type[Exception]) -> None:
    said = pickle.loads(pickle.dumps(kind("it may yet take effect")))
    assert type(said) is kind
    assert str(said) == "it may yet take effect"


def test_error_keeps_the_leader_address_across_processes() -> None:
    """An error with the leader's address keeps it when it is pickled."""
    said = pickle.loads(pickle.dumps(raftline.errors.NotLeader("I am not the leader", HERE)))
    assert said.leader == HERE


def test_message_has_no_shell_words_and_a_command_adds_them() -> None:
    """A message mentions no options of the shell; the command adds those."""
    nobody = unreachable(HERE, ConnectionRefusedError(), 10.0)
    late = [lost(command, HERE, TimeoutError(), 10.0) for command in ("get a", "set a 5")]
    for failure, advice in (
        (nobody, "raftline up"),
        *((each, "--timeout 60") for each in late),
    ):
        assert not AT_THE_SHELL.search(str(failure))
        assert advice in failure.at_the_shell
        assert failure.at_the_shell.startswith(f"{failure} ")
    assert raftline.Refused("no").at_the_shell == "no"


def test_a_port_that_speaks_tls_alone_asks_a_program_for_tls() -> None:
    with pytest.raises(raftline.Refused, match=r"speaks TLS alone.*ClientTls") as refused:
        text_of(Reply("", error(TLS_ONLY)))
    assert not AT_THE_SHELL.search(str(refused.value))
