"""The verdict of `raftline status` in one line, from the nodes' own words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.node_connection import NotLeader, OutcomeUnknown, Unreachable
from raftline.common.address import Address
from raftline.tools.status import status_report
from raftline.tools.status.status import NodeStatus
from raftline.tools.status.status_report import as_json, clocks, explained, verdict

THREE = ["s1", "s2", "s3"]


def says(name: str, role: str = "follower", **facts: object) -> NodeStatus:
    """Return the answer of a node of term 3 that knows the voters s1, s2 and s3."""
    known = {"voters": THREE, "learners": [], "outgoing": [], "members_since": 0}
    counts = {"last_index": 1, "commit_index": 1, "last_applied": 1}
    answer = {"name": name, "role": role, "term": 3, **counts, **known, **facts}
    return NodeStatus(name, Address("h", 1), answer)


def silent(name: str) -> NodeStatus:
    return NodeStatus(name, Address("h", 1), None, "connection refused")


def foreign(name: str) -> NodeStatus:
    """A node of another cluster answers at a member's address, as `ask_all` has it."""
    return NodeStatus(name, Address("h", 1), None, "another cluster", is_foreign=True)


def leads(**facts: object) -> NodeStatus:
    return says("s1", "leader", **facts)


JOINT: dict[str, Any] = {"voters": ["s1", "s2", "s4"], "outgoing": THREE}
LEARNERS: dict[str, Any] = {"learners": ["s4", "s5"]}
OUT: dict[str, Any] = {"voters": ["s1"]}
FIVE: dict[str, Any] = {"voters": ["s1", "s2", "s3", "s4", "s5"]}


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([leads(), says("s2"), says("s3")],
         "s1 leads term 3: 3 of 3 voters follow; one more may fail"),
        ([leads(), says("s2"), silent("s3")],
         "s1 leads term 3: 2 of 3 voters follow; none may fail"),
        ([leads(voters=["s1"])], "s1 leads term 3: 1 of 1 voter follows; none may fail"),
        ([leads(**LEARNERS), says("s2"), says("s3"), says("s4"), silent("s5")],
         "s1 leads term 3: 3 of 3 voters follow; one more may fail; learners: s4 s5"),
        ([leads(), says("s2"), says("s3", recovering=True)],
         "s1 leads term 3: 2 of 3 voters follow; none may fail; "
         "s3 has no vote until it has caught up"),
        ([leads(**JOINT), says("s2"), silent("s3"), says("s4")],
         "s1 leads term 3: 3 of 3 voters follow in the new configuration, 2 of 3 in the old; "
         "none may fail"),
        ([leads(**OUT), says("s2"), silent("s3")],
         "s1 leads term 3: 1 of 1 voter follows; none may fail; s2 is not a member"),
        ([says("s1"), says("s2", "leader", term=4, leader="s2"), leads()],
         "s2 leads term 4: 2 of 3 voters follow; none may fail"),
    ],
)  # fmt: skip
def test_a_leader_with_a_quorum_serves(nodes: list[NodeStatus], text: str) -> None:
    assert verdict(nodes)[:2] == (True, text)


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([says("s1"), silent("s2"), silent("s3")],
         "no leader: 1 of 3 voters answers, 2 are needed"),
        ([says("s1", "candidate"), says("s2"), silent("s3")],
         "no leader: 2 of 3 voters answer, enough to elect one"),
        ([says("s1", members={"s1": "h:2", "s2": "h2:1"}),
          says("s2", members={"s1": "h1:9", "s2": "h:2"}), silent("s3")],
         "no leader: 2 of 3 voters answer, enough to elect one; "
         "dialed at another address: s1 at h:1 (others dial h1:9)"),
        ([says("s1", term=2, leader="s1"), says("s2", leader="s3"), silent("s3")],
         "no leader answers, and others follow s3: 2 of 3 voters answer"),
        ([says("s1"), says("s2", recovering=True), says("s3", recovering=True)],
         "no leader can be elected: 1 of 3 voters answers and has a vote, 2 are needed; "
         "s2, s3 have no vote until they have caught up"),
        ([says("s1", no_leader_because="s2 is new. This ends so."), silent("s3"),
          says("s2", recovering=True, may_be_new=True, no_leader_because="I am new.")],
         "no leader: 1 of 3 voters answers and has a vote, 2 are needed; s2 is new. This ends so."),
        ([silent("s1"), says("s2", recovering=True, may_be_new=True), silent("s3")],
         "no leader: 0 of 3 voters answer and have a vote, 2 are needed; "
         "s2 may be new or may have lost everything, and has no vote until it has caught up"),
        ([says("s1"), says("s2", recovering=True), says("s3", recovering=True, may_be_new=True)],
         "no leader can be elected: 1 of 3 voters answers and has a vote, 2 are needed; s3 may be "
         "new or may have lost everything, and has no vote until it has caught up; s2 has no vote "
         "until it has caught up"),
        ([says("s1"), says("s2", "down"), silent("s3")],
         "no leader: 1 of 3 voters answers, 2 are needed"),
        ([leads(), silent("s2"), silent("s3")],
         "no quorum for s1, leader of term 3: 1 of 3 voters answers, 2 are needed"),
        ([leads(**JOINT), silent("s2"), silent("s3"), says("s4")],
         "no quorum for s1, leader of term 3: 2 of 3 voters answer in the new configuration, "
         "1 of 3 in the old, 2 and 2 are needed"),
        ([says("s1"), says("s2", voters=["s2"], members_since=9), silent("s3")],
         "no leader: 1 of 1 voter answers, enough to elect one; s1 is not a member"),
        ([says("s1", voters=[], term=0), silent("s2")],
         "no leader: 1 of 2 voters answers, 2 are needed"),
        ([leads(), says("s2"), foreign("s3")],
         "s1 leads term 3: 2 of 3 voters follow; none may fail; s3 is of another cluster"),
        ([leads(), foreign("s2"), foreign("s3")],
         "no quorum for s1, leader of term 3: 1 of 3 voters answers, 2 are needed; "
         "s2, s3 are of another cluster"),
    ],
)  # fmt: skip
def test_without_a_leader_or_a_quorum_status_reports_no_service(
    nodes: list[NodeStatus], text: str
) -> None:
    assert verdict(nodes)[:2] == (False, text)


DISK: dict[str, Any] = {"disk_hangs": True}
LOST: dict[str, Any] = {"lost_files": ["s3.log"]}


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([leads(), says("s2"), says("s3", **DISK)],
         "s1 leads term 3: 2 of 3 voters follow; none may fail; s3 has a disk that hangs"),
        ([leads(differs={"s3": 17}), says("s2"), says("s3")],
         "s1 leads term 3: 2 of 3 voters follow; none may fail; s3 differs from the others"),
        ([leads(**DISK), says("s2"), says("s3")],
         "s1 leads term 3: 2 of 3 voters follow; none may fail; s1 has a disk that hangs"),
        ([leads(**FIVE), says("s2"), says("s3", **LOST), says("s4"), says("s5")],
         "s1 leads term 3: 4 of 5 voters follow; one more may fail; "
         "s3 has lost files while it ran"),
        ([leads(**LOST), says("s2", **LOST), says("s3", **LOST)],  # and writes them again
         "s1 leads term 3: 0 of 3 voters follow; none may fail; "
         "s1, s2, s3 have lost files while they ran"),
    ],
)  # fmt: skip
def test_a_voter_with_a_bad_disk_is_named_and_costs_the_zero(
    nodes: list[NodeStatus], text: str
) -> None:
    assert verdict(nodes)[:2] == (True, text)
    assert verdict(nodes).exit_status == 3


@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        ([leads(), says("s2", **DISK), says("s3", **DISK)],
         "no quorum for s1, leader of term 3: 1 of 3 voters answers and can take entries, 2 are "
         "needed; s2, s3 have disks that hang"),
        ([says("s1"), says("s2", **DISK), silent("s3")],
         "no leader: 1 of 3 voters answers and can take entries, 2 are needed; "
         "s2 has a disk that hangs"),
    ],
)  # fmt: skip
def test_disks_that_hang_make_no_quorum(nodes: list[NodeStatus], text: str) -> None:
    assert verdict(nodes)[:2] == (False, text)


def looks(*pairs: tuple[dict[str, Any], dict[str, Any]]) -> list[list[NodeStatus]]:
    """Return two looks at s1, which leads, s2, which is well, and s3, from the facts of s1 and s3
    in each."""
    well = says("s2", leader="s1", last_index=9, commit_index=9)
    return [
        [says("s1", "leader", **{"leader": "s1", **AT_9, **led}), well,
         says("s3", **{"leader": "s1", **AT_9, **facts})]
        for led, facts in pairs
    ]  # fmt: skip


AT_9: dict[str, Any] = {"last_index": 9, "commit_index": 9}
BEHIND: dict[str, Any] = {"last_index": 5, "commit_index": 5}
AHEAD: dict[str, Any] = {"last_index": 12}
LEADERLESS: dict[str, Any] = {"leader": None}


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (({}, BEHIND), ({}, BEHIND), "lacks committed entries and gets none"),
        (({}, BEHIND), ({"last_index": 30, "commit_index": 30}, BEHIND),
         "lacks committed entries and gets none"),
        (({}, BEHIND), ({}, {"last_index": 6}), ""),  # it catches up
        (({}, BEHIND), ({}, {**BEHIND, "arriving_bytes": 9}), ""),
        (({}, {}), ({"last_index": 30, "commit_index": 30}, {}), ""),  # no look showed it behind
        (({}, AHEAD), ({}, AHEAD), "is ahead of the leader"),
        (({}, AHEAD), ({"last_index": 15}, {"last_index": 18}), ""),  # it was asked later
        (({}, AHEAD), ({}, {}), ""),
        (({}, LEADERLESS), ({}, LEADERLESS), "does not follow the leader"),
        (({}, {"leader": "s2"}), ({}, {"leader": "s2"}), "does not follow the leader"),
        (({}, LEADERLESS), ({}, {}), ""),
        (({"term": 2}, BEHIND), ({}, BEHIND), ""),  # there was an election in between
        (({}, BEHIND), ({}, {**BEHIND, "withheld": True}), ""),
    ],
)  # fmt: skip
def test_a_voter_that_does_not_follow_in_two_looks_is_named(
    first: tuple[dict[str, Any], dict[str, Any]],
    second: tuple[dict[str, Any], dict[str, Any]],
    said: str,
) -> None:
    earlier, nodes = looks(first, second)
    seen = verdict(nodes, earlier)
    count, spare = ("2", "none") if said else ("3", "one more")
    end = f"; s3 {said}" if said else ""
    assert seen.text == f"s1 leads term 3: {count} of 3 voters follow; {spare} may fail{end}"
    assert (seen.serves, seen.exit_status) == (True, 3 if said else 0)
    troubles = [node["troubles"] for node in json.loads(as_json(nodes, None, seen.troubles))]
    assert troubles == [[], [], [said] if said else []]


@pytest.mark.parametrize("end", ["", "."])
def test_unknown_outcome_ends_its_sentence_before_the_status(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """The sentence of an unknown outcome ends before that of a second look."""
    nodes = [says("s1"), silent("s2"), silent("s3")]
    monkeypatch.setattr(status_report, "ask_all", lambda *_: nodes)
    failure = OutcomeUnknown(f"outcome unknown: it was under way; see: members{end}")
    assert str(explained(failure, {}, ClientAccess())) == (
        "outcome unknown: it was under way; see: members. 1 of 3 voters answers, 2 are needed."
    )


def test_a_request_at_a_leader_without_a_quorum_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = {"refuses_entries": "disk"}
    nodes = [leads(), says("s2", **full), says("s3", **full)]
    monkeypatch.setattr(status_report, "ask_all", lambda *_: nodes)
    failure = NotLeader("I am not the leader. Last leader I heard from is: s1 (h:1)")
    assert str(explained(failure, {}, ClientAccess())) == (
        "s1 leads, but no quorum confirms its entries. Nothing was done; try again. See: status. "
        "1 of 3 voters answers and can take entries, 2 are needed; s2, s3 have full disks, and "
        "take no entries."
    )


def shut(name: str, word: str = "no login") -> NodeStatus:
    return NodeStatus(name, Address("h", 1), None, "long words", word)


@pytest.mark.parametrize(
    ("nodes", "text", "status"),
    [
        ([shut("s1"), shut("s2"), shut("s3")],
         "can't tell whether a leader serves: no login at s1, s2, s3; 3 of 3 voters answer", 5),
        ([says("s1"), shut("s2", "bad certificate"), shut("s3")],
         "can't tell whether a leader serves: bad certificate at s2; no login at s3; 3 of 3 voters "
         "answer", 5),
        ([leads(), shut("s2", "no TLS"), silent("s3")],
         "can't tell whether a leader serves: no TLS at s2; 2 of 3 voters answer", 8),
        ([says("s1", leader="s3"), says("s2"), shut("s3")],
         "can't tell whether a leader serves: no login at s3; 3 of 3 voters answer", 5),
    ],
)  # fmt: skip
def test_a_voter_that_let_nobody_in_may_lead(
    nodes: list[NodeStatus], text: str, status: int
) -> None:
    assert verdict(nodes)[:2] == (None, text)
    assert verdict(nodes).exit_status == status


def test_status_without_answers_ends_as_other_commands_do() -> None:
    """Where nobody answers, `status` ends as each other command does."""
    found = verdict([silent("s1"), silent("s2")])
    assert (found.text, found.exit_status) == ("nobody answers at s1, s2", Unreachable.outcome)


def test_refused_certificate_explains_what_is_missing_besides() -> None:
    """Without TLS a member proves no secret and announces no build."""
    known = {"cluster": "9f86d081884c7d65", "versions": {"s1": "0.1.0", "s2": "0.1.0", "s3": None}}
    rule = {"secret": "require", "unproven": ["s3"]}
    looked = [leads(certificates_refused={"s3": "why"}, **rule, **known), says("s2"), says("s3")]
    (trouble,) = verdict(looked, looked).troubles["s3"]
    assert trouble.one == "and the leader do not accept each other's certificates"
    looked = [leads(**rule, **known), says("s2"), says("s3", certificates_refused={"s1": "why"})]
    assert verdict(looked, looked).troubles["s3"] == [trouble]


def test_typed_addresses_are_not_counted_as_voters() -> None:
    """Of four addresses three may be those of voters: nobody said which."""
    nodes = [shut(f"h{number}:1", "no users yet") for number in (1, 2)]
    nodes += [silent("h3:1"), silent("h4:1")]
    result = verdict(nodes)
    assert result.serves is None
    assert result.text == (
        "can't tell whether a leader serves: no users yet at h1:1, h2:1; 2 of 4 nodes answer"
    )
    told = verdict([says("s1", leader="s2"), *nodes[1:]])
    assert "of 3 voters" in told.text


def test_who_lets_nobody_in_counts_as_one_that_answers() -> None:
    found = verdict([shut("s1"), silent("s2"), silent("s3")])
    assert (found.text, found.serves) == ("no leader: 1 of 3 voters answers, 2 are needed", False)


@pytest.mark.parametrize(
    ("nodes", "serves"),
    [
        ([leads(), says("s2"), shut("s3")], True),
        ([says("s1", **FIVE), shut("s2"), silent("s3"), silent("s4"), silent("s5")], False),
        ([says("s1"), silent("s2"), silent("s3"), shut("s9")], False),  # which is not a member
        ([says("s1", **JOINT), says("s2"), silent("s3"), shut("s4")], None),
        ([says("s1", **JOINT), silent("s2"), silent("s3"), shut("s4")], False),
    ],
)  # fmt: skip
def test_a_voter_that_let_nobody_in_is_one_vote(
    nodes: list[NodeStatus], serves: bool | None
) -> None:
    assert verdict(nodes).serves is serves
    assert verdict(nodes).exit_status == {True: 0, False: 3, None: 5}[serves]


def test_names_of_learners_can_t_steer_the_terminal() -> None:
    said = verdict([leads(learners=["\x1b[2J"]), says("s2"), says("s3")]).text
    assert said.endswith(r"learners: \x1b[2J")


def at(name: str, node_s: float, took_s: float = 0.1) -> NodeStatus:
    """Return the status of a node whose clock showed this as it was asked at 1,000 s."""
    answer = {**(says(name).answer or {}), "time": node_s}
    return NodeStatus(name, Address("h", 1), answer, asked_s=(1000, 1000 + took_s))


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([at("s1", 1000), at("s2", 1001.9), at("s3", 999)], []),
        ([at("s1", 1000), at("s2", 1003), at("s3", 1000)],
         ["s2: its clock is 3.0 s ahead of the others"]),
        ([at("s1", 1000), at("s2", 1000), at("s3", 1000 - 3 * 86_400)],
         ["s3: its clock is 3.0 days behind the others"]),
        ([at("s1", 11_900), at("s2", 11_900), at("s3", 11_900)],
         ["the clock of this machine is 3.0 h behind the others"]),
        ([at("s1", 1004, took_s=10), at("s2", 1000), at("s3", 1000)], []),  # it may be right
        ([at("s1", 1600)], ["s1: its clock is 10.0 min ahead of this machine's"]),
        ([at("s1", 995)], ["s1: its clock is 5.0 s behind this machine's"]),
        ([at(f"s{number}", 1006, took_s=6) for number in (1, 2, 3)], []),  # all answered late
        ([says("s1"), says("s2")], []),  # of an older build
        ([silent("s1"), shut("s2", "no login")], []),
    ],
)  # fmt: skip
def test_a_clock_that_differs_from_most_is_named(nodes: list[NodeStatus], said: list[str]) -> None:
    assert list(clocks(nodes)) == said
