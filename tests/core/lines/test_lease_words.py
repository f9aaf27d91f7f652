"""The operands of the commands about leases: their one form, and what is refused in words."""

from __future__ import annotations

import pytest

from raftline.wire.operands.lease_operands import SECONDS_MAX, without_lease
from tests.core.typed import command, refusal

NO_TIME = (
    "is not a lease time: seconds from 0.001 to 1000000000, with at most three decimals. "
    "Nothing was done."
)
NO_LEASE = (
    "is not a lease; use the name that `lease SECONDS` returns, as in lease-57. Nothing was done."
)


@pytest.mark.parametrize(
    ("line", "formatted"),
    [
        ("lease  10 ", "lease 10"),
        ("lease 0.001", "lease 0.001"),
        ("lease 1.50", "lease 1.5"),
        ("expire a 2.000", "expire a 2"),
        ("setex a 0.25 b", "setex a 0.25 b"),
        (f"lease {SECONDS_MAX}", f"lease {SECONDS_MAX}"),
        ("renew lease-57 ", "renew lease-57"),
        ("release lease-57", "release lease-57"),
        ("under lease-57 set a two words ", "under lease-57 set a two words "),
        (r"under lease-57 set \x61 \x62", "under lease-57 set a b"),
        (r"under lease-57 cas a \x62 c", "under lease-57 cas a b c"),
        ("under lease-57 incr a 5 ", "under lease-57 incr a 5"),
        ("under lease-57 append a  b", "under lease-57 append a  b"),
        (r"setex \x61 10 two words ", "setex a 10 two words "),
        ("setex a 10 ", "setex a 10 "),
        (r"expire \x61 10 ", "expire a 10"),
        ("persist a", "persist a"),
        ("ttl a", "ttl a"),
        ("leases ", "leases"),
    ],
)
def test_a_command_has_one_form(line: str, formatted: str) -> None:
    assert command(line) == formatted


@pytest.mark.parametrize(
    "seconds",
    [
        "-1",
        "0.0005",
        ".5",
        "1.2345",
        "1000000000.001",
        "0.0",
        "1,5",
        "10000000000",
        "1000000001",
        "0",
        "010",
        "1e3",
        "10s",
        "١٠",
    ],
)
def test_a_time_that_no_lease_has_is_refused_in_words(seconds: str) -> None:
    for line in (f"lease {seconds}", f"expire a {seconds}", f"setex a {seconds} b"):
        assert refusal(line) == f'"{seconds}" {NO_TIME}'


@pytest.mark.parametrize("name", ["nothing", "57", "lease-", "lease-057", "lease-x", "lease--5"])
def test_a_word_that_names_no_lease_is_refused(name: str) -> None:
    for line in (f"renew {name}", f"release {name}", f"under {name} set a 1"):
        assert refusal(line) == f'"{name}" {NO_LEASE}'


@pytest.mark.parametrize("verb", ["get", "delete", "lease", "under", "setex", "nothing"])
def test_a_command_that_gives_no_value_can_t_stand_under_a_lease(verb: str) -> None:
    assert refusal(f"under lease-5 {verb} a") == (
        f'"{verb}" can\'t stand under a lease; set, setnx, cas, incr and append can. '
        "Nothing was done."
    )


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("lease", "lease SECONDS"),
        ("lease 10 20", "lease SECONDS"),
        ("renew", "renew LEASE"),
        ("renew lease-5 lease-6", "renew LEASE"),
        ("under lease-5", "under LEASE set KEY VALUE"),
        ("under", "under LEASE set KEY VALUE"),
        ("setex a 10", "setex KEY SECONDS VALUE, with one space before each"),
        ("setex  a 10 b", "setex KEY SECONDS VALUE, with one space before each"),
        ("expire a", "expire KEY SECONDS"),
    ],
)
def test_wrong_number_of_operands_is_answered_with_the_form(line: str, form: str) -> None:
    """Too few or too many operands are refused with the form of the command."""
    assert refusal(line) == f"the form is: {form}. Nothing was done."


def test_a_command_under_a_lease_is_refused_for_its_own_reasons() -> None:
    assert refusal("under lease-5 set a").startswith("the value is missing")
    assert refusal("under lease-5 incr a x").startswith("x is not a whole number")
    assert "the limit is 1024" in refusal(f"setex {'a' * 1025} 10 b")


def test_a_command_is_seen_without_its_lease() -> None:
    assert without_lease("under lease-57 set a two words") == "set a two words"
    assert without_lease("set under lease-57 b") == "set under lease-57 b"
