"""`HOST:PORT` is read in one way, with or without brackets, and refused with a reason."""

from __future__ import annotations

import pytest

from raftline.common.address import Address, split


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
    with pytest.raises(ValueError, match=r"is no address: host:port, such as 127\.0\.0\.1:8000"):
        Address.parse(text)


def test_an_address_is_shown_as_it_is_read() -> None:
    assert Address.parse(str(Address("h", 1))) == Address("h", 1)


def test_the_host_may_be_missing_if_a_port_suffices() -> None:
    assert (split("10000"), split("h:10000"), split("[::1]:2")) == (
        ("", "10000"), ("h", "10000"), ("::1", "2"),
    )  # fmt: skip
