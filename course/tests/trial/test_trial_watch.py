"""The leader, as the lines between the servers show it."""

from __future__ import annotations

import pytest

from raftline_course.trial.actions import LeaderTracker

SERVERS = ("0000", "0001", "0002", "0003", "0004")


class Wire:
    """A watch that starts at second 0, and lines for it."""

    def __init__(self) -> None:
        self.watch = LeaderTracker(SERVERS, 0.0)

    def beat(self, leader: str, term: int, at: float, *hearers: str, arrives: bool = True) -> None:
        for hearer in hearers or [server for server in SERVERS if server != leader]:
            line = f"s{leader}@AppendEntries {term}-0-0-[] commit 0 round 1".encode()
            self.watch.saw(leader, hearer, line, arrives, at)

    @property
    def leaders(self) -> list[str]:
        return [leader for _, leader in self.watch.leaders]


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_leader_is_unknown_before_the_first_and_after_death(wire: Wire) -> None:
    """A leader is unknown before the first and after its death."""
    wire.beat("0001", 1, 0.5)
    wire.beat("0001", 1, 0.6)
    wire.watch.gone("0001", 0.7)
    wire.beat("0001", 1, 0.71)  # was under way when it died
    wire.beat("0004", 2, 1.5)
    assert wire.watch.leaders == [
        (0.0, "unkown"),
        (0.5, "0001"),
        (0.7, "unkown"),
        (1.5, "0004"),
    ]


def test_leader_elected_during_start_leads_from_second_0(wire: Wire) -> None:
    """A leader elected while the servers start leads from second 0."""
    wire.beat("0001", 1, 3.0)
    wire.beat("0003", 2, 4.0)
    wire.watch.start_at(5.0)
    wire.beat("0003", 2, 5.1)
    wire.beat("0002", 3, 7.5)
    assert wire.watch.leaders == [(0.0, "unkown"), (0.0, "0001"), (0.0, "0003"), (2.5, "0002")]
    assert wire.watch.terms == [(0.0, "0001", 1), (0.0, "0003", 2), (2.5, "0002", 3)]
    assert [at for at, *_ in wire.watch.takeovers] == [0.0, 2.5]


def test_the_death_of_a_follower_changes_nothing(wire: Wire) -> None:
    wire.beat("0001", 1, 0.5)
    wire.watch.gone("0002", 0.7)
    assert wire.leaders == ["unkown", "0001"]


def test_a_leader_that_no_quorum_hears_is_unknown(wire: Wire) -> None:
    wire.beat("0001", 1, 0.5)
    wire.beat("0001", 1, 1.4, "0000", arrives=False)
    wire.beat("0001", 1, 1.4, "0002")
    wire.watch.look(1.49)
    assert wire.leaders == ["unkown", "0001"]
    wire.watch.look(1.6)
    assert wire.leaders == ["unkown", "0001", "unkown"]


def test_leader_heard_again_before_a_successor_continues(wire: Wire) -> None:
    """A leader that is heard again before another was elected leads on."""
    wire.beat("0001", 1, 0.5)
    wire.watch.look(1.6)
    wire.beat("0001", 1, 2.0, "0000")
    assert wire.leaders == ["unkown", "0001", "unkown"]
    wire.beat("0001", 1, 2.0, "0002")
    assert wire.leaders == ["unkown", "0001", "unkown", "0001"]


def test_a_leader_of_a_lower_term_does_not_count(wire: Wire) -> None:
    wire.beat("0001", 3, 0.5)
    wire.beat("0002", 2, 0.6)
    assert wire.leaders == ["unkown", "0001"]
    assert wire.watch.two_leaders == ""


def test_takeover_reports_the_old_leaders_time_without_quorum(wire: Wire) -> None:
    """A takeover reports the time without a quorum for the old leader."""
    wire.beat("0001", 1, 0.5)
    wire.beat("0001", 1, 2.0, "0000", "0002")
    wire.beat("0001", 1, 2.5, "0000")  # one of four others is not a quorum with it
    wire.beat("0002", 2, 2.7)
    wire.beat("0002", 3, 3.2)  # elected anew
    wire.watch.gone("0002", 5.0)  # killed: whoever is next takes over from nobody
    wire.beat("0004", 4, 6.0)
    found = [(at, new, old, round(silent, 3)) for at, new, old, silent in wire.watch.takeovers]
    assert found == [(2.7, "0002", "0001", 0.7), (3.2, "0002", "0002", 0.5)]


def test_leader_without_a_quorum_is_silent_since_its_first_line(wire: Wire) -> None:
    """A leader without a quorum is silent since its first message."""
    wire.beat("0001", 1, 0.5, "0000")
    wire.beat("0002", 2, 1.5)
    assert wire.watch.takeovers == [(1.5, "0002", "0001", 1.0)]


def test_two_leaders_of_one_term_are_noticed(wire: Wire) -> None:
    wire.beat("0001", 3, 0.5, arrives=False)
    wire.beat("0002", 3, 0.6)
    assert wire.watch.two_leaders == "0001 and 0002 both led term 3"


def test_gaps_between_leader_messages_are_kept_by_follower(wire: Wire) -> None:
    """The gaps between a leader's messages are kept for each follower."""
    wire.beat("0001", 1, 0.5, "0000", "0002")
    wire.beat("0001", 1, 0.75, "0000")
    wire.beat("0002", 2, 1.0, "0000")
    assert wire.watch.gaps_s == [0.25]


def test_the_time_in_which_a_follower_was_down_is_not_a_gap(wire: Wire) -> None:
    wire.beat("0001", 1, 0.5, "0000", "0002")
    wire.watch.gone("0000", 0.6)
    wire.beat("0001", 1, 0.75, "0002")
    wire.beat("0001", 1, 2.5, "0000")
    wire.beat("0001", 1, 3.0, "0000")
    assert wire.watch.gaps_s == [0.25, 0.5]


def test_only_requests_for_votes_are_counted(wire: Wire) -> None:
    for line in (
        b"s0001@PreVote 1-0-0",
        b"s0001@RequestVote 1-0-0",
        b"s0001@AppendEntries x-0",
        b"s0002@AppendEntries 9-0-0-[]",
        b"\xff",
        b"",
        b"s0001@I am up to date",
    ):
        wire.watch.saw("0001", "0000", line, True, 0.5)
    assert wire.watch.vote_requests == {("0001", "0000"): 2}
    assert wire.leaders == ["unkown"]
