"""`HOST:PORT` is read in one way, with or without brackets, and refused with a reason."""

from __future__ import annotations

import pytest

from raftline.common.address import Address, is_loopback, split


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost:10000", "localhost", 10000),
        ("db1.example.org:1", "db1.example.org", 1),
        ("[::1]:65535", "::1", 65535),
        ("::1:10000", "::1", 10000),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", "localhost", "localhost:", ":1", "h:0", "h:65536", "h:01", "h:x", "h:١", "a b:1", "a..b:1",
     "[localhost]:1", "[]:1", 8000],
)  # fmt: skip
def test_an_invalid_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address: host:port, such as 127\.0\.0\.1:80"):
        Address.parse(text)


def test_an_address_is_shown_as_it_is_read() -> None:
    assert Address.parse(str(Address("h", 1))) == Address("h", 1)


def test_the_host_may_be_missing_if_a_port_suffices() -> None:
    assert (split("10000"), split("h:10000"), split("[::1]:2")) == (
        ("", "10000"),
        ("h", "10000"),
        ("::1", "2"),
    )


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.255.0.7", True),
        ("::1", True),
        ("::1%lo", True),
        ("::ffff:127.0.0.1", True),
        ("localhost.example.com", False),
        ("127.evil.example", False),
        ("127.1.example.org", False),
        ("::1f00:1", False),
        ("::1:2", False),
        ("::ffff:10.0.0.1", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_a_host_that_only_begins_like_this_machine_is_another(host: str, is_so: bool) -> None:
    assert is_loopback(host) is is_so
