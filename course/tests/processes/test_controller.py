"""A controller's verbs, given to real nodes over their own ports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually


@pytest.fixture
def controlled(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that obey a controller; s1 leads, until something is done."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        yield cluster.start().led_by("s1")


def order(node: NodeProcess, text: str) -> str:
    """Return what a node answers to its controller, without the node's name."""
    return node.ask(f"Controller@{text}").partition("@")[2]


def facts(reply: str) -> dict[str, Any]:
    verb, _, text = reply.partition(" response: ")
    found: dict[str, Any] = json.loads(text)
    return {"verb": verb, **found}


def of_leader(cluster: Cluster, text: str) -> str:
    """Return the answer of the leader, even if the leadership moves meanwhile."""

    def answer() -> str:
        reply = order(cluster.leader(), text)
        return "" if reply.startswith("LEADER_INFO") else reply

    return eventually(answer, f"a leader's answer to {text}")


def logs(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = facts(of_leader(cluster, "RETRIEVE"))["COMMITED_LOGS"]
    return found


def test_a_store_is_an_entry_each_time_and_retrieve_shows_them(controlled: Cluster) -> None:
    for _ in range(2):
        assert of_leader(controlled, "STORE Op Add") == "STORE response: Op set to Add"
    held = logs(controlled)
    assert list(held) == ["1", "2"]
    assert [(one["Op"], one["term"] >= 1, len(one)) for one in held.values()] == [
        ("Add", True, 2)
    ] * 2
    assert controlled.ask("get Op") == "GET response: Add"


def test_a_follower_names_the_leader_instead(controlled: Cluster) -> None:
    for text in ("STORE k v", "RETRIEVE", "LEADER_INFO"):

        def named(text: str = text) -> bool:
            leader, follower = controlled.leader(), controlled.followers()[0]
            answered = facts(order(follower, text))
            where = {"LEADER": leader.name, "address": f"localhost:{leader.port}"}
            term = leader.status().get("term")
            return answered == {"verb": "LEADER_INFO", **where, "term": term}

        assert eventually(named, f"the leader's name as an answer to {text}")
    assert logs(controlled) == {}


def test_retrieve_shows_only_committed_entries(controlled: Cluster) -> None:
    def hidden() -> str:
        """Return the key that a leader alone has, and does not show; "" where it lost its place."""
        leader = controlled.leader()
        order(leader, "SKIP-REPLICATION on")
        with leader.connect() as client:
            key = f"after-{leader.status()['last_index']}"
            client.send(f"set {key} 5")
            eventually(lambda: key in leader.log.read_text(), "the entry")
            held, answered = leader.status(), order(leader, "RETRIEVE")
            order(leader, "HEAL")
            reply = client.read_line()
        if held["role"] != "leader" or not reply.endswith(f"{key} set to 5"):
            return ""
        assert held["commit_index"] < held["last_index"]
        assert answered.startswith("RETRIEVE response: ")
        assert key not in answered
        return key

    key = eventually(hidden, "a leader with an entry of its own")
    assert any(key in one for one in logs(controlled).values())


def test_a_node_that_is_shut_down_comes_back_from_its_files(controlled: Cluster) -> None:
    assert of_leader(controlled, "STORE k before") == "STORE response: k set to before"
    held = logs(controlled)
    controlled.wait_until_equal()
    old = controlled.leader()
    with old.connect() as client, old.connect() as controller:
        assert client.ask("get k read local").endswith("GET response: before")
        said = controller.ask("Controller@SHUTDOWN").partition("@")[2]
        assert said == f"SHUTDOWN response: {old.name} is down; it hears its controller alone"
        assert client.read_line() == ""  # its clients lost it
        down = json.loads(controller.ask("status").partition(": ")[2])
        assert (down["role"], down["leader"], down["down"]) == ("down", None, True)
        assert down["log_bytes"] is None  # not 0, as if it were empty
        assert controlled.leader() is not old
        assert logs(controlled) == held
        assert of_leader(controlled, "STORE k after") == "STORE response: k set to after"
        refused = "Sorry, this server was shut down by its controller; ask another"
        assert old.ask("get k") == f"{old.name}@{refused}"
        said = controller.ask("Controller@RETRIEVE").partition("@")[2]
        assert said == f"Sorry, {old.name} was shut down by its controller; RESTART it first"
        said = controller.ask("Controller@RESTART").partition("@")[2]
        assert said.startswith(f"RESTART response: {old.name} is up in term ")
        # Its connection is from the life before: what it asks now is answered by the new one.
        said = controller.ask("client4#1@set other 5").partition("@")[2]
        assert said.startswith(("SET response: other ", "Sorry, I am not the leader. "))
        assert controller.ask("get k read local").partition("@")[2].startswith("GET response: ")
    controlled.wait_until_equal()
    assert old.ask("get k read local") == f"{old.name}@GET response: after"
    old.wait_for_line(f"[*] {old.name}: restarted by its controller in term")


def test_a_node_that_is_down_gives_no_vote_and_takes_no_entry(controlled: Cluster) -> None:
    leader, (asleep, other) = controlled.leader(), controlled.followers()
    order(asleep, "SHUTDOWN")
    other.kill()
    before = eventually(asleep.status)
    assert eventually(lambda: leader.status()["role"] != "leader", "a leader without a quorum")
    with asleep.connect() as peer:
        peer.send(f"{other.name}@RequestVote {before['term'] + 7}-900-{before['term'] + 6}")
        assert peer.ask("status").startswith(f"{asleep.name}@STATUS")  # nothing came before it
    after = asleep.status()
    assert (after["term"], after["last_index"]) == (before["term"], before["last_index"])
    assert order(leader, "LEADER_INFO").startswith('LEADER_INFO response: {"LEADER": null')
    down = f"[!] {asleep.name}: shut down by its controller; it waits for RESTART"
    asleep.wait_for_line(down)
    said = asleep.said[asleep.said.index(down) :]
    assert [line for line in said if "Received from" in line] == []
    order(asleep, "RESTART")
    assert controlled.leader(timeout_s=30) in (leader, asleep)


def test_orders_are_obeyed_only_from_an_enabled_controller(fast: Cluster, tmp_path: Path) -> None:
    """Orders are obeyed only if enabled and only from the controller."""
    leader = fast.leader()
    for text in ("SHUTDOWN", "PARTITION s2", "RETRIEVE"):
        assert order(leader, text).startswith(f"Sorry, I don't understand: {text}. ")
    assert "controlled" not in leader.status()
    (tmp_path / "other").mkdir()
    with Cluster(tmp_path / "other", 1, "--controller") as single:
        node = single.start().leader()
        only = f"{node.name}@Sorry, only Controller gives orders: Controller@STORE KEY VALUE"
        assert node.ask("client4@SHUTDOWN") == node.ask("SHUTDOWN") == only
        assert order(node, "STORE k v") == "STORE response: k set to v"


def test_misspelt_order_is_answered_with_the_nearest_order(tmp_path: Path) -> None:
    """A misspelt order is answered with the nearest order and the list of orders."""
    verbs = (
        "CONVERT_FOLLOWER, DELAY, DELETE-LOG, DROP, HEAL, HEARTBEAT, LEADER_INFO, PARTITION, "
        "RESTART, RETRIEVE, SHUTDOWN, SKIP-REPLICATION, STORE, TIMEOUT"
    )
    with Cluster(tmp_path, 1, "--controller") as cluster:
        node = cluster.start().leader()
        said = f"Sorry, STOER is not an order; did you mean STORE? There are {verbs}"
        assert order(node, "STOER k v") == said
        assert order(node, "shutdown").startswith(
            "Sorry, shutdown is not an order; did you mean SHUT"
        )
        assert order(node, "xyz").startswith(
            "Sorry, xyz is not an order. There are CONVERT_FOLLOWER, "
        )
        assert order(node, "set a").startswith("Sorry, the value is missing: set KEY VALUE")
        assert order(node, "  HEAL") == "HEAL response: no fault in force"  # as before a command
        assert node.ask("client4@STOER k v").startswith("s1@Sorry, I don't understand: STOER k v")
        assert order(node, "SHUTDOWN").startswith("SHUTDOWN response: ")
        assert order(node, "RESTRAT").startswith(
            "Sorry, RESTRAT is not an order; did you mean RESTART"
        )


def cut_off(cluster: Cluster) -> tuple[NodeProcess, dict[str, Any]]:
    """Return a leader that hears nobody any more, and its status from then on."""

    def is_cut() -> tuple[NodeProcess, dict[str, Any]] | None:
        old, others = cluster.leader(), cluster.followers()
        order_of_it = f"PARTITION {' '.join(node.name for node in others)}"
        assert order(old, order_of_it) == f"PARTITION response: in force: {order_of_it}"
        status = old.status()
        assert status["faults"] == [order_of_it]
        if status["role"] == "leader":
            return old, status
        order(old, "HEAL")  # it lost its place before
        return None

    return eventually(is_cut, "a leader that is cut off")


def test_partition_cuts_a_leader_off_until_heal(controlled: Cluster) -> None:
    old, before = cut_off(controlled)
    others = [node for node in controlled.nodes if node is not old]
    new = eventually(
        lambda: next((n for n in others if n.status()["role"] == "leader"), None), "a new leader"
    )
    assert order(new, "STORE k v") == "STORE response: k set to v"
    assert eventually(lambda: old.status()["role"] != "leader")
    assert (old.status()["last_index"], old.status()["term"]) == (
        before["last_index"],
        before["term"],
    )
    assert new.status()["term"] > before["term"]
    assert order(old, "HEAL") == "HEAL response: no fault in force"
    controlled.wait_until_equal()
    assert old.ask("get k read local") == f"{old.name}@GET response: v"


def test_leader_skipping_replication_leads_but_commits_nothing(controlled: Cluster) -> None:
    """A leader that skips replication leads on and commits nothing."""

    def skipped() -> bool:
        """Whether one node led all the while: on a busy machine it may lose its place."""
        leader, follower = controlled.leader(), controlled.followers()[0]
        said = order(leader, "SKIP-REPLICATION on")
        assert said == "SKIP-REPLICATION response: in force: SKIP-REPLICATION on"
        before = leader.status()
        with leader.connect() as client:
            client.send("set k skipped")
            controlled.wait_for_consoles()
            after = leader.status()
            held = follower.status()["last_index"]
            order(leader, "SKIP-REPLICATION off")
            reply = client.read_line()
        if (after["role"], after["term"]) != ("leader", before["term"]):
            return False
        assert (after["last_index"], after["commit_index"]) == (
            before["last_index"] + 1,
            before["commit_index"],
        )
        assert held <= before["last_index"]
        return reply == f"{leader.name}@SET response: k set to skipped"

    assert eventually(skipped, "a leader that skips replication")


def test_a_leader_with_slowed_heartbeats_loses_the_leadership(controlled: Cluster) -> None:
    old = controlled.leader()
    said = order(old, "HEARTBEAT 20s")
    assert said == "HEARTBEAT response: in force: HEARTBEAT 20000ms"
    # Without an end: the old leader may be elected again itself, and loses its place again.
    new = eventually(
        lambda: next(
            (n for n in controlled.nodes if n is not old and n.status()["role"] == "leader"), None
        ),
        "another leader",
    )
    assert new.status()["term"] > 1
    assert old.status()["faults"] == ["HEARTBEAT 20000ms"]
    assert order(old, "HEARTBEAT 20s for 1s") == said
    old.wait_for_line("heartbeats are 0.3 s apart")
    assert eventually(lambda: old.status()["faults"] == [])


def test_delete_log_brings_a_node_back_without_a_vote(controlled: Cluster) -> None:
    leader, node = controlled.leader(), controlled.followers()[0]
    order(leader, "STORE k v")
    controlled.wait_until_equal()
    eventually(lambda: b" set k v\n# " in node.log.read_bytes(), "its log on its disk")
    log = node.log.read_bytes()
    for number in (1, 2):
        said = order(node, "DELETE-LOG")
        assert said == (
            f"DELETE-LOG response: {node.name}.log is put aside as {node.name}.log.aside-{number};"
            f" {node.name} is back without a vote until it has caught up"
        )
        eventually(lambda: node.status().get("recovering") is False, "a vote again")
        controlled.wait_until_equal()
    assert (node.folder / f"{node.name}.log.aside-1").read_bytes().startswith(log)
    assert node.ask("get k read local") == f"{node.name}@GET response: v"


def test_a_restart_reports_a_lost_log(controlled: Cluster) -> None:
    node = controlled.followers()[0]
    order(node, "SHUTDOWN")
    node.log.unlink()
    said = order(node, "RESTART")
    assert said.startswith(f"RESTART response: {node.name} is up in term ")
    assert said.endswith(" without a vote until it has caught up")
    assert eventually(lambda: node.status().get("recovering") is False, "a vote again")


def test_the_only_member_keeps_its_log(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, "--controller") as single:
        node = single.start().leader()
        said = order(node, "DELETE-LOG")
        assert said == f"Sorry, {node.name} is the only member: there is no node to catch up from"
        assert node.status()["role"] == "leader"


def test_convert_follower_and_timeout_move_the_leadership(calm: Cluster) -> None:
    leader, follower = calm["s1"], calm["s2"]
    term = leader.status()["term"]
    assert order(follower, "CONVERT_FOLLOWER") == f"Sorry, s2 follows already, in term {term}"
    assert order(follower, "TIMEOUT") == f"TIMEOUT response: s2 stands in term {term + 1}"
    leader = calm.led_by("s2").leader()
    term = leader.status()["term"]
    said = order(leader, "CONVERT_FOLLOWER")
    assert said == f"CONVERT_FOLLOWER response: {leader.name} follows in term {term}"
    held = leader.status()
    assert (held["role"], held["term"]) == ("follower", term)
    calm.led_by("s3")


def test_a_cluster_serves_under_drop_and_delay(controlled: Cluster) -> None:
    leader, (first, second) = controlled.leader(), controlled.followers()
    order(leader, f"DROP 30% {first.name}")
    said = order(leader, f"DELAY 20ms {second.name}")
    assert said == f"DELAY response: in force: DROP 30% {first.name}; DELAY 20ms {second.name}"
    for number in range(20):
        assert controlled.ask(f"set k {number}") == f"SET response: k set to {number}"
    assert order(leader, f"HEAL {first.name}") == (
        f"HEAL response: in force: DELAY 20ms {second.name}"
    )
    order(leader, "HEAL")
    controlled.wait_until_equal()


def test_drop_loses_answers_as_well_as_requests(controlled: Cluster) -> None:
    leader, followers = controlled.leader(), controlled.followers()
    for node in followers:
        order(node, f"DROP 100% {leader.name}")
    leader.wait_for_line("hears from no quorum of followers: it leads no longer")
    for node in followers:
        order(node, "HEAL")
    assert controlled.leader().status()["faults"] == []
