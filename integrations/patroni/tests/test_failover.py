"""Three Patronis with PostgreSQL on three nodes of raftline, and what is done to them."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from members import (
    LONG_S,
    LOOP_WAIT_S,
    RETRY_TIMEOUT_S,
    SCOPE,
    TTL_S,
    Members,
    Writer,
    folder_for_all,
    postgresql,
)

from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import eventually

pytestmark = pytest.mark.skipif(postgresql() is None, reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    """One cluster for all tests: each waits until it is whole."""
    with (
        folder_for_all() as folder,
        Cluster(tmp_path_factory.mktemp("nodes"), 3) as nodes,
    ):
        nodes.start().wait_until_begun()
        them = Members(folder, nodes)
        try:
            for member in them.all:
                member.launch()
            yield them
        finally:
            them.close()


def say(text: str) -> None:
    """Print a figure; `make -C integrations patroni` shows it."""
    print(f"\n    {text}", flush=True)


def test_three_members_make_a_cluster(members: Members) -> None:
    started_s = time.monotonic()
    primary = members.whole()
    say(f"one primary and two replicas after {time.monotonic() - started_s:.1f} s")
    listed = members.ctl("list", SCOPE)
    assert primary.name in listed
    assert "Leader" in listed
    assert "Sync Standby" in listed


@pytest.mark.parametrize("harm", ["killed", "paused"])
def test_loss_of_the_raftline_leader_spares_postgresql(members: Members, harm: str) -> None:
    """The leader of raftline is lost and PostgreSQL does not notice."""
    primary, nodes = members.whole(), members.nodes
    timeline, started = primary.timeline, primary.asks("select pg_postmaster_start_time()")
    said = len(primary.log)
    with Writer(members) as writer:
        eventually(lambda: len(writer.acknowledged) > 50, "rows")
        leader = next(node for node in nodes.nodes if node.status().get("role") == "leader")
        if harm == "killed":
            leader.send_signal(signal.SIGKILL)
            leader.ended()
        else:
            leader.pause()
        over_s = time.monotonic() + 2 * (LOOP_WAIT_S + 2 * RETRY_TIMEOUT_S)
        try:
            eventually(lambda: writer.wrote_since(over_s), "rows for longer than that", LONG_S)
        finally:
            leader.resume() if harm == "paused" else leader.start()
    say(f"{harm}: the longest time between two commits was {writer.longest_pause_s():.2f} s")
    assert members.primary is primary
    assert primary.timeline == timeline
    assert primary.asks("select pg_postmaster_start_time()") == started
    assert not writer.missing_at(primary)
    assert "demot" not in primary.log[said:].lower()


def test_killed_primary_is_replaced_within_the_ttl(members: Members) -> None:
    """A killed primary is replaced within the ttl and no commit is lost."""
    old = members.whole()
    timeline = old.timeline
    with Writer(members) as writer:
        eventually(lambda: len(writer.acknowledged) > 200, "rows")
        old.kill_all()
        killed_s = time.monotonic()
        new = eventually(lambda: members.primary, "a new primary", LONG_S)
        promoted_s = time.monotonic() - killed_s
        written_s = eventually(lambda: writer.wrote_since(killed_s + 1), "rows", LONG_S) - killed_s
        say(f"promoted {promoted_s:.1f} s behind the kill, the next commit at {written_s:.1f} s")
    assert new is not old
    assert promoted_s <= TTL_S
    assert not writer.missing_at(new)
    old.launch()
    assert members.whole() is new
    assert new.state()["timeline"] > timeline
    eventually(lambda: writer.is_complete_at(*members.all), "all rows everywhere")
    say(f"{len(writer.acknowledged)} commits were acknowledged, and all are there")


def test_a_primary_that_is_cut_from_the_store_demotes_itself(members: Members) -> None:
    old = members.whole()
    with Writer(members) as writer:
        eventually(lambda: len(writer.acknowledged) > 50, "rows")
        members.cut(old)
        cut_s = time.monotonic()
        try:
            eventually(lambda: not old.is_primary, "it takes no writes", LONG_S)
            demoted_s = time.monotonic() - cut_s
            new = eventually(lambda: members.primary, "a new primary", LONG_S)
            promoted_s = time.monotonic() - cut_s
            eventually(lambda: writer.wrote_since(cut_s + promoted_s), "rows", LONG_S)
            assert new is not old
        finally:
            members.links.heal()
    say(f"demoted {demoted_s:.1f} s behind the cut, another was primary at {promoted_s:.1f} s")
    assert demoted_s < promoted_s
    assert demoted_s < LOOP_WAIT_S + 2 * RETRY_TIMEOUT_S + 5
    assert members.whole() is new
    eventually(lambda: writer.is_complete_at(*members.all), "all rows everywhere")


def test_no_primary_without_a_quorum_of_the_store(members: Members) -> None:
    """Without a quorum of the store nobody is primary until it is back."""
    old = members.whole()
    stopped = members.nodes.nodes[1:]
    for node in stopped:
        node.pause()
    paused_s = time.monotonic()
    try:
        eventually(lambda: not old.is_primary, "it takes no writes", LONG_S)
        say(f"demoted {time.monotonic() - paused_s:.1f} s behind the loss of the quorum")
        assert members.primary is None
    finally:
        for node in stopped:
            node.resume()
    members.whole()


def test_pause_and_resume(members: Members) -> None:
    primary = members.whole()
    timeline = primary.timeline
    assert "Success" in members.ctl("pause", SCOPE, "--wait")
    try:
        assert "Maintenance mode: on" in members.ctl("list", SCOPE)
        stopped = members.nodes.nodes[1:]
        for node in stopped:
            node.pause()
        time.sleep(LOOP_WAIT_S + 2 * RETRY_TIMEOUT_S + 3)  # nothing happens: there is no event
        for node in stopped:
            node.resume()
        assert primary.is_primary  # without a pause it were demoted by now
    finally:
        for node in members.nodes.nodes:
            if node.is_paused:
                node.resume()
        eventually(lambda: "Leader" in members.ctl("list", SCOPE), "the leader's key", LONG_S)
        assert "Success" in members.ctl("resume", SCOPE, "--wait")
    assert "Maintenance mode" not in members.ctl("list", SCOPE)
    assert members.whole() is primary
    assert primary.timeline == timeline


def test_a_switchover_by_patronictl(members: Members) -> None:
    old = members.whole()
    new = next(member for member in members.all if member.state().get("sync_standby"))
    started_s = time.monotonic()
    members.ctl("switchover", SCOPE, "--leader", old.name, "--candidate", new.name, "--force")
    eventually(lambda: members.primary is new, "the candidate is primary", LONG_S)
    say(f"switched over within {time.monotonic() - started_s:.1f} s")
    assert members.whole() is new


def test_the_configuration_is_edited_and_taken_over(members: Members) -> None:
    primary = members.whole()
    members.ctl("edit-config", SCOPE, "--force", "--set", "ttl=25")
    eventually(lambda: "ttl: 25" in members.ctl("show-config", SCOPE), "the new ttl")
    assert members.whole() is primary
