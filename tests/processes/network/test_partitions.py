"""Networks that are cut, silent, one-sided or flapping."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually
from raftline_testing.nodes.proxy import LinkedCluster, Network, Pair

LEADS_NO_LONGER = "hears from no quorum of followers: it leads no longer"


@pytest.fixture
def linked(tmp_path: Path) -> Iterator[LinkedCluster]:
    """Three nodes that serve, with a link between each two; s1 leads, until something is done."""
    with LinkedCluster(tmp_path, 3, *STEADY) as cluster:
        cluster.start().led_by("s1")
        assert cluster.ask("client4@set b 0") == "SET response: b set to 0"
        yield cluster


def other_leader(cluster: Cluster, old: NodeProcess) -> NodeProcess:
    """Wait until another node leads with a majority behind it."""

    def found() -> NodeProcess | None:
        views = {node.name: node.status() for node in cluster.nodes}
        for node in cluster.nodes:
            view = views[node.name]
            if node is not old and view.get("role") == "leader":
                followers = [v for v in views.values() if v.get("term") == view["term"]]
                return node if len(followers) > len(views) // 2 else None
        return None

    return eventually(found, f"a leader other than {old.name}")


@pytest.mark.parametrize("fault", [Network.hold, Network.cut])
def test_a_cut_off_leader_answers_no_request_and_another_serves(
    linked: LinkedCluster, fault: Callable[[Network, set[Pair]], None]
) -> None:
    old = linked.leader()
    fault(linked.network, linked.around(old))
    with old.connect() as reader, old.connect() as writer:
        reader.send("client4@get b")
        writer.send("client4@set b lost")
        new = other_leader(linked, old)
        assert new.ask("client4@set b 1") == f"{new.name}@SET response: b set to 1"
        assert reader.read_line().startswith(f"{old.name}@Sorry, ")
        assert writer.read_line() == (
            f"{old.name}@Sorry, outcome unknown: this server lost the leadership before the entry "
            "was committed"
        )
    old.wait_for_line(LEADS_NO_LONGER)
    assert old.ask("client4@get b") == f"{old.name}@Sorry, I know of no leader. Try again."
    linked.heal()
    linked.wait_until_equal()
    assert linked.ask("client4@get b") == "GET response: 1"


def test_nodes_without_links_commit_nothing_and_agree_later(tmp_path: Path) -> None:
    """Without any link, no node commits; once the links are back, all agree."""
    with LinkedCluster(tmp_path, 3) as cluster:
        cluster.start().wait_until_whole()
        cluster.network.cut(set.union(*(cluster.around(node) for node in cluster.nodes)))
        for node in cluster.nodes:
            reply = node.ask("client4@set b alone")
            # One that has not noticed yet may still send the client on to the leader it had.
            assert reply.startswith(f"{node.name}@Sorry, ")
        cluster.heal()
        assert cluster.ask("client4@set b together") == "SET response: b set to together"
        cluster.wait_until_equal()


def test_a_leader_without_answers_steps_down(linked: LinkedCluster) -> None:
    old = linked.leader()
    linked.block({pair for pair in linked.around(old) if pair[1] == old.name})
    old.wait_for_line(LEADS_NO_LONGER)
    new = other_leader(linked, old)
    assert new.ask("client4@set b 1") == f"{new.name}@SET response: b set to 1"
    linked.heal()
    linked.wait_until_equal()


def test_an_unheard_leader_is_replaced_and_follows_after_healing(linked: LinkedCluster) -> None:
    old = linked.leader()
    linked.block({pair for pair in linked.around(old) if pair[0] == old.name})
    new = other_leader(linked, old)
    assert new.ask("client4@set b 1") == f"{new.name}@SET response: b set to 1"
    linked.heal()
    linked.wait_until_equal()
    assert old.status()["role"] == "follower"


def test_nodes_linked_through_a_third_elect_a_stable_leader(linked: LinkedCluster) -> None:
    """Nodes that are connected only through a third one elect a stable leader."""
    leader = linked.leader()
    one, other = linked.followers()
    linked.network.cut(linked.between(leader, one))

    def stood() -> bool:
        """Whether the one without a leader asked for votes by now; writes continue."""
        assert linked.ask("client4@set b 1") == "SET response: b set to 1"
        return any("asking for PreVotes" in line for line in one.said)

    eventually(stood, f"{one.name} asks for votes")
    assert max(node.status()["term"] for node in linked.nodes) <= leader.status()["term"] + 3
    assert other.status()["leader"] is not None


def test_of_five_split_three_to_two_only_the_three_commit(tmp_path: Path) -> None:
    with LinkedCluster(tmp_path, 5, *STEADY) as cluster:
        cluster.start().led_by("s1")
        old = cluster.leader()
        friend = cluster.followers()[0]
        cluster.block(cluster.around(old, friend))
        with old.connect() as client:
            client.send("client4@set b two")
            new = other_leader(cluster, old)
            assert new not in (old, friend)
            assert new.ask("client4@set b three") == f"{new.name}@SET response: b set to three"
            assert client.read_line().startswith(f"{old.name}@Sorry, outcome unknown: ")
        cluster.heal()
        cluster.wait_until_equal()
        assert cluster.ask("client4@get b") == "GET response: three"


def test_a_follower_cut_off_for_long_does_not_depose_the_leader(linked: LinkedCluster) -> None:
    def leads_on() -> bool:
        """Whether one leads all the while: not where it stood still itself."""
        leader, away = linked.leader(), linked.followers()[0]
        term, since = leader.status()["term"], len(away.said)
        linked.network.cut(linked.around(away))
        away.wait_for_line("asking for PreVotes", since=since)
        eventually(lambda: away.ask("client4@get b").endswith("I know of no leader. Try again."))
        linked.heal()
        linked.wait_until_equal()
        return (leader.status()["role"], leader.status()["term"]) == ("leader", term)

    eventually(leads_on, "a leader that stays", 90)


def test_a_link_that_comes_and_goes_costs_no_acknowledged_write(linked: LinkedCluster) -> None:
    leader, flapping = linked.leader(), linked.followers()[0]
    done = []
    for number in range(10):
        linked.network.cut(linked.between(leader, flapping) if number % 2 else set())
        for part in range(5):
            assert linked.ask(f"client4@set n{number}-{part} v").startswith("SET response: ")
            done.append(f"n{number}-{part}")
        threading.Event().wait(0.3)
    linked.heal()
    linked.wait_until_equal()
    for node in linked.nodes:

        def lacking(node: NodeProcess = node) -> list[str]:
            log = node.log.read_text()
            return [key for key in done if f" set {key} v\n" not in log]

        assert eventually(lambda lacking=lacking: not lacking(), f"{node.name}'s log")
