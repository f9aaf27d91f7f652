"""Each trouble of the table in commands.md: its last line, exit status, alarm and `/ready`."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from raftline.common.address import Address
from raftline.monitoring.endpoints import lacking
from raftline.tools.status.status import NodeStatus
from raftline.tools.status.status_report import verdict
from raftline.tools.status.troubles import CLUSTER, MEMBERS, NOT_READY, SHUT, Trouble

ROOT = Path(__file__).resolve().parents[3]
THREE = ["s1", "s2", "s3"]
BUILDS: dict[str, Any] = {"cluster": "b" * 16, "versions": dict.fromkeys(THREE, "0.1.0")}
ROOM: dict[str, Any] = {
    "lacks_room_for": "", "refuses_entries": "", "connections": 3, "max_connections": 9,
}  # fmt: skip


def says(name: str, **facts: object) -> NodeStatus:
    """Return the answer of a healthy node; s1 leads."""
    role = "leader" if name == "s1" else "follower"
    counts = {"last_index": 9, "commit_index": 9, "last_applied": 9}
    known = {"voters": THREE, "learners": [], "outgoing": [], "members_since": 0, "foreign": {}}
    answer = {"name": name, "role": role, "term": 3, "leader": "s1"}
    return NodeStatus(
        name, Address("h", 1), {**answer, **counts, **known, **BUILDS, **ROOM, **facts}
    )


def silent(name: str, word: str = "unreachable") -> NodeStatus:
    return NodeStatus(name, Address("h", 1), None, "a reason", word)


WELL = [says("s1"), says("s2"), says("s3")]


class Case(NamedTuple):
    """A cluster with one trouble, and the node that has it."""

    nodes: list[NodeStatus]
    at: str = "s3"


def leads(**facts: object) -> Case:
    return Case([says("s1", **facts), says("s2"), says("s3")], "s1")


def follows(**facts: object) -> Case:
    return Case([says("s1"), says("s2"), says("s3", **facts)])


def told(**facts: object) -> Case:
    """The leader has these facts of s3."""
    return Case([says("s1", **facts), says("s2"), says("s3")])


OTHER = NodeStatus("s3", Address("h", 1), None, "", "other cluster", is_foreign=True)
NO_BUILD: dict[str, Any] = {"versions": {**BUILDS["versions"], "s3": None}}
# By the words of the trouble.
CASES: Mapping[str, Case] = {
    "refuses writes, since its disk is nearly full": leads(
        lacks_room_for="disk", refuses_entries="disk"
    ),
    "refuses writes, since keys and leases take all of --max-bytes": leads(lacks_room_for="bytes"),
    "refuses new leases, since there are as many as there may be": leads(lacks_room_for="leases"),
    "commits nothing, although it leads": leads(commits_nothing=True, last_index=12),
    "has a full disk, and takes no entries": follows(refuses_entries="disk", lacks_room_for="disk"),
    "takes no entries until it has taken a snapshot": follows(refuses_entries="log"),
    "has a nearly full disk, and would refuse writes as the leader": follows(lacks_room_for="disk"),
    "has a smaller --max-bytes, and would refuse writes as the leader": follows(
        lacks_room_for="bytes"
    ),
    "has a disk that hangs": follows(disk_hangs=True),
    "applies no entries": follows(applies_nothing=True, last_applied=5),
    "has lost files while it ran": follows(lost_files=["s3.log"]),
    "has another secret than the leader": told(secret="require", unproven=["s3"]),
    "and the leader do not accept each other's certificates": told(
        certificates_refused={"s3": "its certificate is not accepted: Hostname mismatch"}
    ),
    "does not follow the leader": follows(leader=None),
    "is ahead of the leader": follows(last_index=12),
    "differs from the others": told(differs={"s3": 40}),
    "and the leader have other states, and no quorum says which is right": told(
        undecided={"s3": 40}
    ),
    "lacks committed entries and gets none": follows(last_index=5, commit_index=5),
    "has no connection left for clients": follows(connections=9),
    "knows no user, so nobody can log in": follows(lacks_users=True),
    "announces no build, so it gets no entries": told(**NO_BUILD),
    "is of another cluster": Case([says("s1"), says("s2"), OTHER]),
    "is also the name of a server of another cluster": told(foreign={"s3": "c" * 16}),
    "no leader": Case([says("s2", leader=None), silent("s1"), silent("s3")]),
    "no leader can be elected": Case(
        [says(name, role="follower", leader=None, recovering=True) for name in THREE]
    ),
    "enough to elect one": Case([says("s2", leader=None), says("s3", leader=None), silent("s1")]),
    "dialed at another address": Case(
        [says("s2", leader=None), says("s3", leader=None, members={"s2": "h:2"}), silent("s1")]
    ),
    "no quorum for": Case([says("s1"), silent("s2"), silent("s3")]),
    "no leader answers, and others follow": Case([silent("s1"), says("s2"), says("s3")]),
    "nobody answers at": Case([silent("s1"), silent("s2"), silent("s3")]),
    **{trouble.one: Case([silent(name, word) for name in THREE]) for word, trouble in SHUT.items()},
}
TABLE: Mapping[str, Trouble] = {
    trouble.one: trouble for trouble in (*MEMBERS, *CLUSTER, *SHUT.values())
}


def test_status_of_a_healthy_cluster_is_0() -> None:
    seen = verdict(WELL, WELL)
    assert seen.line == "s1 leads term 3: 3 of 3 voters follow; one more may fail"
    assert seen.exit_status == 0


def test_each_trouble_has_a_case() -> None:
    assert {*CASES} == {*TABLE}


@pytest.mark.parametrize("words", TABLE)
def test_status_names_the_trouble_and_what_to_do(words: str) -> None:
    """The exit status is that of the table, and never 0."""
    trouble, case = TABLE[words], CASES[words]
    seen = verdict(case.nodes, case.nodes)
    assert words in seen.line
    assert seen.line.endswith(f"{trouble.do}.")
    assert seen.exit_status == trouble.exit_status != 0
    assert seen.to_do == [trouble.do]
    of_members = {case.at: [trouble]} if trouble in MEMBERS else {}
    assert seen.troubles == of_members


def test_member_that_knows_no_status_is_in_trouble() -> None:
    """Another implementation in the place of s3: it announces no build, and refuses `status`."""
    trouble = TABLE["announces no build, so it gets no entries"]
    leader, follower = says("s1", **NO_BUILD), says("s2")
    down, other = [leader, follower, silent("s3")], [leader, follower, silent("s3", "refuses")]
    seen = verdict(other, other)
    assert seen.exit_status == trouble.exit_status
    assert f"; s3 {trouble.one}. {trouble.do}." in seen.line
    assert verdict(down, down).exit_status == 0
    assert verdict(other, down).exit_status == verdict(down, other).exit_status == 0


@pytest.mark.parametrize("odd", [None, 5, "s3", ["s3"]])
def test_versions_in_an_unknown_form_are_no_trouble(odd: object) -> None:
    """Another build may lead."""
    nodes = [says("s1", versions=odd), *WELL[1:]]
    assert verdict(nodes, nodes).exit_status == 0


def test_several_members_in_one_trouble_are_named_together() -> None:
    full = {"refuses_entries": "disk"}
    line = verdict([says("s1"), says("s2", **full), says("s3", **full)]).line
    assert "; s2, s3 have full disks, and take no entries. Free space" in line


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs" / "use" / "commands.md").read_text(encoding="utf-8")
    nodes, _, section = page.partition("\n### Troubles of a cluster\n")
    rows = re.findall(r"^\| ([^`|]+) \| (`.+`) \| (\d+) \|$", section, re.M)
    assert rows == rows_of_the_page()
    status, other, word = re.findall(
        r"^.* exit status is (\d), and (\d) for `(.+)`;", section, re.M
    )[0]
    for trouble in (*MEMBERS, *CLUSTER):
        assert str(trouble.exit_status) == (other if trouble.one == word else status), trouble.one
    shown = re.findall(r"^\| (`.+`) \| [^|]+ \| (\d) \|$", nodes, re.M)
    statuses = {word: status for words, status in shown for word in re.findall("`(.+?)`", words)}
    for word, trouble in SHUT.items():
        assert statuses.get(word) == str(trouble.exit_status), word


def rows_of_the_page() -> list[tuple[str, ...]]:
    """Return the alarm, the words of all troubles that are alike, and /ready."""
    alike: dict[tuple[str, int], list[str]] = {}
    for trouble in (*MEMBERS, *CLUSTER):
        alike.setdefault((trouble.alarm, trouble.ready), []).append(f"`{trouble.one}`")
    return [
        (alarm_on_the_page(alarm), ", ".join(words), str(ready))
        for (alarm, ready), words in alike.items()
    ]


def alarm_on_the_page(alarm: str) -> str:
    return f"[{alarm}](../operate/monitoring.md#{alarm.lower()})"


def test_each_alarm_of_the_table_is_a_rule_and_on_the_dashboard() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    board = json.loads((ROOT / "deploy" / "grafana" / "raftline.json").read_text(encoding="utf-8"))
    shown = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    for alarm in {trouble.alarm for trouble in (*MEMBERS, *CLUSTER)}:
        rule = rules.partition(f"- alert: {alarm}")[2].partition("labels:")[0]
        figures = re.findall(r"raftline_[a-z_]+|\bup\b", rule)
        assert figures, alarm
        assert any(re.search(rf"{figure}\b", shown) for figure in figures), alarm


def node_with(facts: Mapping[str, Any]) -> Any:
    """Return a node with these facts, as /ready sees it before it confirms a read."""
    stalls = {name: facts.get(name) for name in ("commits_nothing", "applies_nothing")}
    driver = SimpleNamespace(core=threading.Lock(), **stalls)
    is_full = facts["connections"] >= facts["max_connections"]
    return SimpleNamespace(room_facts=lambda: facts, has_all_connections=is_full, driver=driver)


CONFIRMS = (
    "has another secret than the leader",
    "and the leader do not accept each other's certificates",
    "does not follow the leader",
    "lacks committed entries and gets none",
)
# tests/processes/disks/test_slow_disk.py, test_divergence.py
ELSEWHERE = ("has a disk that hangs", "differs from the others")


@pytest.mark.parametrize(
    "words", [row.one for row in MEMBERS if row.one not in (*CONFIRMS, *ELSEWHERE)]
)
def test_ready_is_503_where_the_table_says_so(words: str) -> None:
    """Where a node does not follow, no read is confirmed there, and /ready says that."""
    case = CASES[words]
    answer = next((node.answer for node in case.nodes if node.name == case.at), None) or ROOM
    assert bool(lacking(node_with(answer))) is (TABLE[words].ready == NOT_READY)
