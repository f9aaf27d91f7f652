"""The requests and lines of a watch."""

from __future__ import annotations

import pytest

from raftline.wire.commands.watch_lines import WatchAsked, event, format_watch, watch_operands
from tests.core.typed import command, refusal


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("watch", WatchAsked()),
        ("watch app/", WatchAsked("app/")),
        ("watch after 57", WatchAsked("", 57)),
        ("watch app/ after 0", WatchAsked("app/", 0)),
        ("watch after", WatchAsked("after")),
        ("watch after after 57", WatchAsked("after", 57)),
    ],
)
def test_each_form_round_trips(typed: str, asked: WatchAsked) -> None:
    assert watch_operands(command(typed)) == asked
    assert format_watch(asked) == typed


def test_a_prefix_has_one_form() -> None:
    assert command(r"watch \x74wo\swords after 7") == r"watch two\swords after 7"


@pytest.mark.parametrize(
    "typed",
    [
        "watch a b", "watch a after", "watch a after 5 6", "watch a after  5",
        "watch after x", "watch a after -1", "watch a after 07",
        "watch a after 9223372036854775808", "watch a after 5²", "watch a\\q",
        "watch " + "x" * 1025, "unwatch a",
    ],
)  # fmt: skip
def test_another_form_is_refused_in_one_line(typed: str) -> None:
    said = refusal(typed)
    assert "\n" not in said
    assert len(said) < 200


def test_the_largest_index_is_command() -> None:
    assert watch_operands(command("watch after 9223372036854775807")).after == 2**63 - 1


def test_event_is_written_with_a_value_only_if_it_has_one() -> None:
    """An event is written with a value only where the key has one."""
    assert event(5, "set", "k", "two words") == "EVENT 5 set k two words"
    assert event(5, "set", "k", "") == "EVENT 5 set k "
    assert event(5, "delete", "k", "") == "EVENT 5 delete k"
    assert event(5, "expire", "k", "") == "EVENT 5 expire k"
