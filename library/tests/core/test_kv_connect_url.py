"""The forms in which `connect` takes the nodes: a text, a list, a URL with options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import raftline
from raftline.clients.connections.client_login import Credentials
from raftline.clients.kv.connecting import ConnectSettings, settings_of
from raftline.common.address import Address

H1, H2 = Address("h1", 10000), Address("h2", 10001)


@pytest.mark.parametrize(
    ("at", "addresses"),
    [
        ("h1:10000, h2:10001", [H1, H2]),
        (["h1:10000", "h2:10001"], [H1, H2]),
        (("h1:10000,h2:10001",), [H1, H2]),
        (iter(["h1:10000"]), [H1]),
        ("raftline://h1", [H1]),
        ("raftline://h1,h2:10001/", [H1, H2]),
        ("raftline://[::1],[::2]:5/", [Address("::1", 10000), Address("::2", 5)]),
    ],
)
def test_nodes_are_a_text_a_list_or_a_url(at: Any, addresses: list[Address]) -> None:
    assert settings_of(at, {}).addresses == addresses


def settings(url: str) -> ConnectSettings:
    return settings_of(url, {})


def test_a_url_has_the_login_and_the_options() -> None:
    made = settings("raftline://%61nna:p%3Aw%2Fd%40@h1,h2:10001/?timeout=2.5&silence=3&name=web")
    assert made.access.credentials == Credentials("anna", "p:w/d@")
    assert (made.timeout_s, made.silence_s, made.name) == (2.5, 3.0, "web")
    assert made.addresses == [H1, H2]
    assert settings("raftline://h1").access.credentials is None


def test_the_password_may_be_in_a_file_and_an_option_an_argument(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAFTLINE_PASSWORD_FILE", "here")
    assert settings("raftline://anna@h1").access.credentials == Credentials("anna", file="here")
    assert settings_of("raftline://anna@h1", {"timeout": 3}).timeout_s == 3.0
    assert settings_of("raftline://anna@h1", {"password": "x"}).access.credentials == Credentials(
        "anna", "x"
    )


@pytest.mark.parametrize(
    ("at", "error", "why"),
    [
        (5, TypeError, "one text, .* or a list of such texts, not int"),
        (b"h1:1", TypeError, "a node is a text, .* not int"),
        ([5], TypeError, 'a node is a text, "h1:10000", not int'),
        ([], ValueError, "the list names no node"),
        (["h1"], ValueError, "'h1' is not an address: host:port"),
        ("redis://h1", ValueError, "is not an address"),
        ("raftline://", ValueError, "is not an address"),
        ("raftline://h1/0", ValueError, "no path and no fragment: raftline://"),
        ("raftline://h1/#x", ValueError, "no path and no fragment"),
        ("raftline://h1/?timeout", ValueError, "options of a URL of raftline are invalid"),
        ("raftline://h1/?timeout=soon", ValueError, "timeout=soon: give a number of seconds"),
        ("raftline://h1/?timeout=0", ValueError, "a timeout of 0.0 s is invalid"),
        ("raftline://h1/?name=a&name=b", ValueError, "the URL gives name twice"),
        ("raftline://h1/?tls-ca=a&tls-ca=b", ValueError, "the URL gives tls-ca twice"),
        ("raftline://h1/?tsl-ca=x", ValueError, "no option 'tsl-ca'; the options are name, time"),
        ("raftline://h1/?tls-ca=nowhere.pem", ValueError, "nowhere.pem"),
        ("raftline://two%20words:x@h1", ValueError, "not a valid user name"),
    ],
)
def test_what_names_no_nodes_is_refused(at: Any, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        settings_of(at, {})


def test_an_option_is_given_once() -> None:
    with pytest.raises(ValueError, match="timeout is in the URL and an argument of connect"):
        settings_of("raftline://h1/?timeout=1", {"timeout": 2})
    with pytest.raises(ValueError, match="at and folder both name the nodes"):
        settings_of("raftline://h1", {"folder": Path()})


def test_no_error_repeats_a_password() -> None:
    with pytest.raises(ValueError, match="no path") as caught:
        settings("raftline://anna:secret@h1/0")
    assert "secret" not in str(caught.value)


def test_url_in_the_variable_yields_to_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument overrides the same option of a URL in the environment variable."""
    monkeypatch.setenv("RAFTLINE", "raftline://anna:secret@h1,h2:10001/?timeout=2&name=web")
    made = settings_of(None, {"timeout": 3})
    assert made.addresses == [H1, H2]
    assert made.access.credentials == Credentials("anna", "secret")
    assert (made.timeout_s, made.name) == (3.0, "web")
    other = settings_of(None, {"user": "bob", "password": "x"})
    assert other.access.credentials == Credentials("bob", "x")
    monkeypatch.setenv("RAFTLINE_PASSWORD_FILE", "here")
    assert settings_of(None, {"user": "bob"}).access.credentials == Credentials("bob", file="here")
    assert settings_of("h2:10001", {}).access.credentials is None


def test_a_broken_url_in_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFTLINE", "raftline://anna:secret@h1/0")
    with pytest.raises(raftline.Unreachable, match=r"\$RAFTLINE: a URL .* has no path") as caught:
        settings_of(None, {})
    assert "secret" not in str(caught.value)
