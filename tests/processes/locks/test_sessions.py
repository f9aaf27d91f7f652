"""A retried request takes effect once, across leaders and restarts."""

from __future__ import annotations

from raftline.net.line_connection import LineConnection as Conversation
from raftline.state.sessions import SESSIONS_MAX
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import eventually


def test_a_retry_takes_effect_once_across_leaders_and_restarts(cluster: Cluster) -> None:
    """A retried write takes effect once, at any node, if it carries a number."""
    retried = "client4#17@incr visits"
    assert cluster.ask(retried) == "INCR response: 1"
    first = cluster.leader()
    first.kill()
    assert cluster.ask(retried) == "INCR response: 1"  # at another leader
    first.start()
    cluster.wait_until_equal()
    for node in cluster.nodes:
        node.terminate()
    for node in cluster.nodes:
        node.start()
    assert cluster.ask(retried) == "INCR response: 1"  # after everybody was restarted
    assert cluster.ask("client4@get visits") == "GET response: 1"
    assert eventually(lambda: first.log.read_text().count(f" {retried}\n") >= 3, "as it travelled")


def test_a_retried_condition_or_change_takes_effect_once(cluster: Cluster) -> None:
    asked = {
        "client4#1@setnx lock client4": "SETNX response: lock set to client4",
        "client5#1@setnx lock client5": "SETNX response, key exists: lock",
        "client4#2@cas lock client4 nobody": "CAS response: lock set to nobody",
        "client4#3@append lock  at all": "APPEND response: lock has 13 bytes",
        "client4#4@incr lock": "Sorry, the value of lock is not a whole number, so nothing was "
        "added to it",
    }
    assert [cluster.ask(line) for line in asked] == list(asked.values())
    cluster.leader().kill()
    assert [cluster.ask(line) for line in asked] == list(asked.values())
    assert cluster.ask("client4@get lock") == "GET response: nobody at all"


def test_least_recently_used_session_is_forgotten_by_all(cluster: Cluster) -> None:
    """All nodes evict the least recently used session."""
    assert cluster.ask("old#1@incr n") == "INCR response: 1"
    first = cluster.leader()
    with Conversation(first.port) as many:
        for begin in range(0, SESSIONS_MAX, 256):
            many.send(*(f"new{number}@session" for number in range(begin, begin + 256)))
            assert all(": new" in line for line in many.read_lines(256))
    assert first.status()["sessions"] == SESSIONS_MAX
    assert cluster.ask("old#1@incr n").startswith("Sorry, session expired: ")
    first.kill()
    assert cluster.ask("old#1@incr n").startswith("Sorry, session expired: ")  # all forget alike
    assert cluster.leader().status()["sessions"] == SESSIONS_MAX
    assert cluster.ask("client4@get n") == "GET response: 1"


def test_transaction_that_is_too_much_is_in_no_log(cluster: Cluster) -> None:
    """With a number and without. A retry of what was done before is still answered."""
    too_much = " ; ".join(["get long"] * 9)
    done = f"client4#1@txn set was done ; {too_much}"
    first = cluster.ask(done)
    assert first.startswith('TXN response, then: ["was set to done", null')
    assert cluster.ask(f"set long {'v' * 1_000_000}").startswith("SET response")
    for sender in ("", "client4@", "client4#2@"):
        reply = cluster.ask(f"{sender}txn set was refused ; {too_much}")
        assert reply.startswith("Sorry, the first 10 operations answer more than "), reply
    assert cluster.ask(done) == first
    assert cluster.ask("get was") == "GET response: done"
    cluster.wait_until_equal()
    assert not any("was refused" in node.log.read_text() for node in cluster.nodes)


def test_each_new_session_has_a_fresh_name(cluster: Cluster) -> None:
    begun = {cluster.ask("client4@session") for _ in range(3)}
    assert len(begun) == 3
    assert all(reply.startswith("SESSION response: client4-") for reply in begun)
    name = begun.pop().removeprefix("SESSION response: ")
    assert cluster.ask(f"{name}#1@incr visits") == "INCR response: 1"
    assert cluster.ask("client4-999999#1@incr visits").startswith("Sorry, session expired: ")
    assert cluster.ask("client4@get visits") == "GET response: 1"
