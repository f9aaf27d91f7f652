"""The prefixes that match a key."""

from __future__ import annotations

import pytest

from raftline.state.prefixes import PrefixIndex


def index(*prefixes: str) -> PrefixIndex[str]:
    found: PrefixIndex[str] = PrefixIndex()
    for prefix in prefixes:
        found.put(prefix, prefix)
    return found


def test_every_prefix_of_a_key_matches_and_no_other() -> None:
    found = index("", "a", "app/", "app/b", "b", "app/abc")
    assert found.matching("app/ab") == ["", "a", "app/"]
    assert found.matching("app/b") == ["", "a", "app/", "app/b"]
    assert found.matching("x") == [""]


def test_a_prefix_that_was_removed_matches_no_more() -> None:
    found = index("a", "b", "ab")
    found.remove("a")
    assert found.matching("abc") == ["ab"]
    found.remove("b")
    found.remove("ab")
    assert found.matching("abc") == []
    assert (len(found), found.lengths) == (0, [])


def test_two_forms_of_a_prefix_are_one() -> None:
    found = index(r"two\swords")
    assert found.get(r"\x74wo\swords") == r"two\swords"
    assert found.matching(r"two\swords\sand") == [r"two\swords"]
    assert found.matching(r"two\nwords") == []


def test_a_prefix_is_compared_as_it_is_not_as_it_is_written() -> None:
    assert index("\\xc2").matching("\\xc2\\x85") == []  # one character; not the half of it
    assert index("\\xc2\\x85").matching("\\xc2\\x85\\x85") == ["\\xc2\\x85"]


@pytest.mark.pure  # a look is counted by a dict of another class
def test_key_costs_a_lookup_a_length_not_a_prefix() -> None:
    """A key costs a look for each length and not for each prefix."""
    found = index(*(f"{number:05}/" for number in range(10_000)))
    looks: list[str] = []

    class Counted(dict):  # type: ignore[type-arg]
        def get(self, key: str, default: object = None) -> object:
            looks.append(key)
            return super().get(key, default)

    found._groups = Counted(found._groups)
    assert found.matching("00042/x") == ["00042/"]
    assert looks == ["00042/"]
