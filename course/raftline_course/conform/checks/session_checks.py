"""Level 6, sessions: a request with a number takes effect once, however often it is sent."""

from __future__ import annotations

from raftline_course.conform.checks.checks import check, cluster_check
from raftline_course.conform.checks.line_checks import served
from raftline_course.conform.cluster import TestedCluster
from raftline_course.conform.played.clients import KitClient
from raftline_course.conform.scene import Scene

SECTION = "thesis §6.3; protocol.md, Sessions"


@check(
    6,
    "retry",
    "A request that is sent again gets the same answer, and is done once.",
    SECTION,
    size=1,
)
def retry(scene: Scene) -> None:
    client = served(scene)
    for _ in range(3):
        _numbered(scene, client, "client1#1@incr n", "s1#1@INCR response: 1")
    client.gets("get n", "GET response: 1")


def _numbered(scene: Scene, client: KitClient, request: str, should: str) -> None:
    client.say(request)
    does = client.reply(f"an answer to {request}")
    scene.expect(does == should, f"{request!r} is answered {does!r}, not {should!r}")


@check(
    6,
    "retries-in-any-order",
    "Each request that may still be retried is remembered, not the last alone.",
    SECTION,
    size=1,
)
def retries_in_any_order(scene: Scene) -> None:
    client = served(scene)
    for number in (1, 2, 3):
        _numbered(scene, client, f"client1#{number}@incr n", f"s1#{number}@INCR response: {number}")
    for number in (1, 3, 2):
        _numbered(scene, client, f"client1#{number}@incr n", f"s1#{number}@INCR response: {number}")
    client.gets("get n", "GET response: 3")


@check(6, "by-client", "Two clients may use the same number.", SECTION, size=1)
def by_client(scene: Scene) -> None:
    client = served(scene)
    for who, should in (("anna", 1), ("bert", 2), ("anna", 1), ("bert", 2)):
        _numbered(scene, client, f"{who}#7@incr n", f"s1#7@INCR response: {should}")


@check(
    6, "any-connection", "A session belongs to a client's name, on any connection.", SECTION, size=1
)
def any_connection(scene: Scene) -> None:
    client = served(scene)
    _numbered(scene, client, "anna#1@incr n", "s1#1@INCR response: 1")
    other = scene.client("client2")
    _numbered(scene, other, "anna#1@incr n", "s1#1@INCR response: 1")


@check(6, "without-number", "A request without a number is done each time.", SECTION, size=1)
def without_number(scene: Scene) -> None:
    client = served(scene)
    for number in (1, 2, 3):
        client.gets("incr n", f"INCR response: {number}")


@check(
    6,
    "outcome-remembered",
    "A retry is answered with what came of the request, not with what would now.",
    SECTION,
    size=1,
)
def outcome_remembered(scene: Scene) -> None:
    client = served(scene)
    _numbered(scene, client, "anna#1@delete a", "s1#1@DELETE response, no such key: a")
    client.gets("set a 1", "SET response: a set to 1")
    _numbered(scene, client, "anna#1@delete a", "s1#1@DELETE response, no such key: a")
    _numbered(scene, client, "anna#2@delete a", "s1#2@DELETE response: a deleted")
    client.gets("set a 2", "SET response: a set to 2")
    _numbered(scene, client, "anna#2@delete a", "s1#2@DELETE response: a deleted")
    client.gets("get a", "GET response: 2")


@check(6, "sessions-kept", "Sessions survive kill -9.", SECTION, size=1)
def kept(scene: Scene) -> None:
    client = served(scene)
    for number in (1, 2):
        _numbered(scene, client, f"anna#{number}@incr n", f"s1#{number}@INCR response: {number}")
    scene.restart()
    client = served(scene, started=True)
    for number in (2, 1):
        _numbered(scene, client, f"anna#{number}@incr n", f"s1#{number}@INCR response: {number}")
    client.gets("get n", "GET response: 2")


@cluster_check(6, "retry-elsewhere", "A retry at the next leader is known there.", SECTION)
def retry_elsewhere(cluster: TestedCluster) -> None:
    cluster.begin()
    for number in (1, 2):
        does = cluster.ask(f"anna#{number}@incr n")
        cluster.expect(does == f"INCR response: {number}", f"an increment is answered {does!r}")
    leader = cluster.leader()
    cluster.kill(leader)
    others = tuple(name for name in cluster.nodes if name != leader)
    for number in (2, 1):
        does = cluster.ask(f"anna#{number}@incr n", among=others)
        cluster.expect(
            does == f"INCR response: {number}", f"the retry of {number} is answered {does!r}"
        )
    does = cluster.ask("get n", among=others)
    cluster.expect(does == "GET response: 2", f"then n is answered {does!r}")
