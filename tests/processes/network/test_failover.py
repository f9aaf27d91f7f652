"""Nodes die, stand still and come back: what was acknowledged stays, and somebody serves."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from raftline import aio, connect
from raftline.net.line_connection import LineConnection as Conversation
from raftline_testing.nodes.cluster import SERVER, Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually
from raftline_testing.runner.at_night import at_night
from tests.processes.stray_signal import with_stray_signal


def writes(cluster: Cluster, name: str, count: int) -> dict[str, str]:
    """Write `count` keys one after the other; return those that were acknowledged."""
    done = {}
    for number in range(count):
        key, value = f"{name}{number}", f"value of {name} {number}"
        if cluster.ask(f"client4@set {key} {value}") == f"SET response: {key} set to {value}":
            done[key] = value
    return done


def shown(cluster: Cluster) -> dict[str, str]:
    text = cluster.ask("client4@show").removeprefix("SHOW response: ")
    pairs: dict[str, str] = json.loads(text)
    return pairs


def test_after_the_leaders_death_another_serves_in_a_higher_term(cluster: Cluster) -> None:
    done = writes(cluster, "before", 5)
    old = cluster.leader()
    term = old.status()["term"]
    old.kill()
    new = cluster.leader()
    assert new is not old
    assert new.status()["term"] > term
    done |= writes(cluster, "after", 5)
    assert len(done) == 10
    assert shown(cluster) == done
    old.start()
    cluster.wait_until_equal()
    assert old.status()["role"] == "follower"
    assert old.status()["term"] == new.status()["term"]


def test_a_restart_of_all_killed_nodes_loses_no_write(fast: Cluster) -> None:
    done: dict[str, str] = {}
    term = 0
    for life in range(2):
        done |= writes(fast, f"life{life}-", 4)
        fast.wait_until_equal()  # so that all three have heard of this term
        status = fast.leader().status()
        assert status["term"] > term
        term = status["term"]
        fast.kill()
        fast.start()
        assert shown(fast) == done
    for node in fast.nodes:
        assert int(node.wait_for_line("[*] Current term: ").rpartition(" ")[2]) >= term


def test_follower_that_was_away_gets_everything(cluster: Cluster) -> None:
    """When a follower returns, it receives everything that it missed."""
    away = cluster.followers()[0]
    away.kill()
    done = writes(cluster, "missed", 20)
    away.start()
    cluster.wait_until_equal()
    lines = [f" set {key} {value}\n" for key, value in done.items()]
    assert eventually(lambda: all(line in away.log.read_text() for line in lines), "its log")


def test_follower_thousands_of_entries_behind_catches_up(cluster: Cluster) -> None:
    """A follower catches up after it missed thousands of entries."""
    away = cluster.followers()[0]
    away.kill()
    with cluster.leader().connect() as client:
        client.send(*[f"client4@set k{number} {number}" for number in range(9000)])
        assert client.read_lines(9000)[-1].endswith("SET response: k8999 set to 8999")
    away.start()
    cluster.wait_until_equal()
    assert eventually(lambda: " set k8999 8999\n" in away.log.read_text(), "its log")


def test_three_of_four_nodes_elect_and_serve(tmp_path: Path) -> None:
    with Cluster(tmp_path, 4) as cluster:
        for name in ("s1", "s2", "s4"):
            cluster[name].start()
        assert cluster.leader().name in ("s1", "s2", "s4")
        assert cluster.ask("client1@set a 4") == "SET response: a set to 4"


@pytest.mark.parametrize(("count", "alive"), [(4, 2), *at_night((2, 1), (3, 1))])
def test_half_of_the_nodes_or_less_never_elect(tmp_path: Path, count: int, alive: int) -> None:
    with Cluster(tmp_path, count, "--verbose") as cluster:
        nodes = [node.start() for node in cluster.nodes[:alive]]
        asked = nodes[0].ask
        reply = asked("client1@set a 4")  # kept for two elections
        assert reply == "s1@Sorry, I know of no leader. Try again."
        for node in nodes:
            eventually(lambda node=node: _times_stood(node) >= 1, "an attempt to be elected")
            status = node.status()
            assert (status["leader"], status["term"]) == (None, 0)
            assert not any("I am Leader" in line for line in node.said)
        cluster[f"s{alive + 1}"].start()
        assert cluster.ask("client1@set a 4") == "SET response: a set to 4"


def _times_stood(node: NodeProcess) -> int:
    return sum("asking for PreVotes" in line for line in node.said)


def test_a_stale_leader_commits_nothing_and_serves_no_old_value(cluster: Cluster) -> None:
    cluster.ask("client4@set b old")
    stale = cluster.leader()
    reader, writer = stale.connect(), stale.connect()
    with reader, writer:
        assert reader.ask("client4@get b") == f"{stale.name}@GET response: old"
        assert writer.ask("client5@get b") == f"{stale.name}@GET response: old"
        stale.pause()
        cluster.leader()
        assert cluster.ask("client4@set b new") == "SET response: b set to new"
        reader.send("client4@get b")  # they wait in its socket while it stands still
        writer.send("client5@set b stale")
        stale.resume()
        read, written = reader.read_line(), writer.read_line()
    assert not read.endswith("GET response: old")
    if not written.startswith(f"{stale.name}@Sorry, outcome unknown: "):
        refusals = ("I am not the leader. Last leader ", "I know of no leader. Try again.")
        assert written.partition("@Sorry, ")[2].startswith(refusals)
        assert cluster.ask("client4@get b") == "GET response: new"
    cluster.wait_until_equal()
    assert stale.status()["role"] == "follower"


def test_a_paused_follower_causes_no_election_when_it_returns(cluster: Cluster) -> None:
    def leads_on() -> bool:
        """Whether one leads all the while: not where it stood still itself."""
        leader, paused = cluster.leader(), cluster.followers()[0]
        term = leader.status()["term"]
        paused.pause()
        with leader.connect() as client:  # beyond its countdown
            replies = [client.ask(f"client4@set n {n}") for n in range(45) if not more(client)]
        paused.resume()
        cluster.wait_until_equal()
        led = (leader.status()["role"], leader.status()["term"]) == ("leader", term)
        said = [f"{leader.name}@SET response: n set to {number}" for number in range(45)]
        assert replies == said or not led
        return led

    eventually(leads_on, "a leader that stays", 90)


def more(client: Conversation) -> bool:
    """Whether something lies unread after a tenth of a second: nothing should."""
    client.socket.settimeout(0.1)
    try:
        return client.socket.recv(1) != b""
    except TimeoutError:
        return False
    finally:
        client.socket.settimeout(30)


def test_no_request_succeeds_while_a_majority_is_paused(fast: Cluster) -> None:
    assert fast.ask("client4@set b 1") == "SET response: b set to 1"
    leader = fast.leader()
    others = fast.followers()
    for node in others:
        node.pause()
    reply = leader.ask("client4@set b 2").partition("@")[2]
    assert reply.startswith(("Sorry, outcome unknown: ", "Sorry, I know of no leader."))
    leader.wait_for_line("hears from no quorum of followers: it leads no longer")
    reply = leader.ask("client4@get b").partition("@")[2]
    assert reply == "Sorry, I know of no leader. Try again."
    for node in others:
        node.resume()
    assert fast.ask("client4@get b") in ("GET response: 1", "GET response: 2")
    assert fast.ask("client4@set b 3") == "SET response: b set to 3"


def test_a_leader_paused_again_and_again_loses_nothing(fast: Cluster) -> None:
    done: dict[str, str] = {}
    for number in range(4):
        done |= writes(fast, f"round{number}-", 2)
        leader = fast.leader()
        leader.pause()
        eventually(lambda: fast._leader(), "another leader")
        done |= writes(fast, f"without{number}-", 2)
        leader.resume()
    assert shown(fast) == done
    assert len(done) == 16


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_node_ends_cleanly_and_frees_its_port(cluster: Cluster, number: int) -> None:
    """A node that is asked to stop ends cleanly, and its port is free at once."""
    leader = cluster.leader()
    with leader.connect() as client:
        assert client.ask("client4@set b 5") == f"{leader.name}@SET response: b set to 5"
        assert leader.terminate(number) == 0
        assert client.is_closed()
    assert [line for line in leader.said if "shut" in line] == [
        f"[*] {leader.name}: server is shutting down.",
        f"[*] {leader.name}: has shut down cleanly.",
    ]
    leader.start()
    assert cluster.ask("client4@get b") == "GET response: 5"


def test_a_signal_that_does_not_interrupt_the_wait_stops_a_node(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        node.program = [sys.executable, "-c", with_stray_signal(str(SERVER))]
        cluster.start().leader()
        assert node.terminate(signal.SIGUSR1) == 0
        assert node.said[-1] == "[*] s1: has shut down cleanly."


def test_an_inherited_ignored_sighup_stays_ignored_unlike_sigint(tmp_path: Path) -> None:
    """`nohup` is a request to ignore SIGHUP; a script's `&` ignores SIGINT without being asked."""
    with Cluster(tmp_path, 1) as cluster:
        node = cluster["s1"]
        node.program = ["sh", "-c", "trap '' HUP INT; exec \"$@\"", "sh", *node.program]
        cluster.start()
        node.send_signal(signal.SIGHUP)
        assert cluster.ask("client4@set b 5") == "SET response: b set to 5"
        assert node.terminate(signal.SIGINT) == 0
        ends = [line for line in node.said if "shutting down" in line or "shut down" in line]
        assert ends == ["[*] s1: server is shutting down.", "[*] s1: has shut down cleanly."]


def test_a_rolling_restart_loses_no_acknowledged_write(cluster: Cluster) -> None:
    done = writes(cluster, "start", 2)
    for node in cluster.nodes:
        node.terminate()
        done |= writes(cluster, f"without-{node.name}-", 3)
        node.start()
        done |= writes(cluster, f"with-{node.name}-", 3)
        cluster.wait_until_equal()
    assert len(done) == 20
    assert shown(cluster) == done


def test_a_single_node_is_a_cluster(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        cluster.start()
        assert cluster.ask("client4@set b 5") == "SET response: b set to 5"
        cluster["s1"].kill()
        cluster["s1"].start()
        assert cluster.ask("client4@get b") == "GET response: 5"


def test_five_nodes_serve_with_two_down(tmp_path: Path) -> None:
    with Cluster(tmp_path, 5) as cluster:
        cluster.start().wait_until_whole()
        done = writes(cluster, "all", 3)
        cluster.leader().kill()
        done |= writes(cluster, "four", 3)
        cluster.leader().kill()
        done |= writes(cluster, "three", 3)
        assert shown(cluster) == done


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_hung_leader_is_left_within_the_default_limit(fast: Cluster, kind: str) -> None:
    """Its kernel still accepts connections and lines, while the others elect a leader."""
    at = [f"localhost:{node.port}" for node in fast.nodes]

    async def run() -> None:
        async with aio.connect(at) as kv:
            await kv.set("a", "1")
            fast.leader().pause()
            await kv.set("a", "2")
            assert await kv.get("a") == "2"

    if kind == "tasks":
        asyncio.run(run())
        return
    with connect(at) as kv:
        kv["a"] = "1"
        fast.leader().pause()
        kv["a"] = "2"
        assert kv["a"] == "2"
