"""How a request asks to be read, and what the node makes of it."""

from __future__ import annotations

import pytest

from raftline.wire.commands.command_table import READ_MODES, read_request
from raftline.wire.commands.parsing import Reading, ReadSettings
from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import ProtocolError


@pytest.mark.parametrize("mode", READ_MODES)
def test_a_get_may_name_its_read_mode(mode: str) -> None:
    request = read_request("client4", "", f"get b read {mode} ", Limits())
    assert (request.verb, request.command, request.read) == ("get", "get b", mode)


@pytest.mark.parametrize(
    ("line", "command", "read"),
    [
        ("get read", "get read", ""),
        ("get read read local", "get read", "local"),
        ("show read local", "show", "local"),
        ("show read", "show read", ""),
        ("show read read index", "show read", "index"),
        ("show p after k read lease", "show p after k", "lease"),
        ("show after read local", "show after", "local"),
        ("set b read local", "set b read local", ""),
    ],
)
def test_keys_and_values_may_look_like_a_read_mode(line: str, command: str, read: str) -> None:
    request = read_request("", "", line, Limits())
    assert (request.command, request.read) == (command, read)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("get b read foo", "there is no read mode foo; the modes are index, lease, log, local"),
        ("get read local", "get takes one key"),
        ("get b read", "get takes one key"),
        ("get b read local now", "get takes one key"),
        ("show read log", "a show is never an entry of the log"),
        ("delete b read local", "delete takes one key"),
    ],
)
def test_an_unknown_read_mode_is_refused_with_the_rule(line: str, rule: str) -> None:
    with pytest.raises(ProtocolError, match=rule):
        read_request("", "", line, Limits())


@pytest.mark.parametrize(
    ("line", "command"),
    [("transfer", "transfer"), ("transfer s3", "transfer s3"), (" transfer  s3 ", "transfer s3")],
)
def test_a_transfer_names_one_server_or_none(line: str, command: str) -> None:
    assert read_request("", "", line, Limits()).command == command


@pytest.mark.parametrize("line", ["transfer s2 s3", "transfer 3", r"transfer s\s3"])
def test_a_transfer_to_anything_else_is_refused(line: str) -> None:
    with pytest.raises(ProtocolError, match="transfer takes the name of one server, or none"):
        read_request("", "", line, Limits())


@pytest.mark.parametrize(
    ("node", "asked_for", "kind"),
    [
        (ReadSettings(), "", ("read", Reading(by_lease=False, may_ask=False))),
        (ReadSettings(), "index", ("read", Reading(by_lease=False, may_ask=True))),
        (ReadSettings(), "lease", ("read", Reading(by_lease=True, may_ask=False))),
        (ReadSettings("index", at_followers=True), "", ("read", Reading(False, True))),
        (ReadSettings("lease", at_followers=True), "", ("read", Reading(True, True))),
        (ReadSettings("lease"), "", ("read", Reading(True, False))),
        (ReadSettings("lease"), "index", ("read", Reading(False, True))),
        (ReadSettings("log"), "", ("write", Reading())),
        (ReadSettings("log"), "local", ("local", Reading())),
        (ReadSettings("local"), "", ("local", Reading())),
        (ReadSettings("local"), "log", ("write", Reading())),
    ],
)
def test_the_read_mode_is_the_requests_else_the_nodes(
    node: ReadSettings, asked_for: str, kind: tuple[str, Reading]
) -> None:
    assert node.kind_of("read", asked_for) == kind


def test_a_show_is_never_an_entry() -> None:
    assert ReadSettings("log").kind_of("show", "") == ("show", Reading())
