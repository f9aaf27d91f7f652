"""The cluster as a node describes it to Redis clients."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raftline.redis.resp.commands import COMMANDS
from raftline.redis.resp.replies import SLOTS

pytestmark = pytest.mark.pure


def told(status: dict[str, Any], command: str) -> Any:
    """Return the reply of a node with this status."""
    context: Any = None  # only the status is used
    run: Any = COMMANDS[command.partition(" ")[0]].run
    program = run(context, command.split())
    next(program)
    with pytest.raises(StopIteration) as end:
        program.send([f"STATUS response: {json.dumps(status)}"])
    return end.value.value


def test_the_leader_is_the_primary() -> None:
    members = {"s1": "h1:10", "s2": "[::1]:20"}
    status = {"name": "s1", "leader": "s2", "term": 3, "members": members}
    ((first, last, *nodes),) = told(status, "CLUSTER SLOTS")
    assert (first, last) == (0, SLOTS - 1)
    assert [node[:2] for node in nodes] == [["::1", 20], ["h1", 10]]
    primary, replica = told(status, "CLUSTER NODES").splitlines()
    assert " master - " in primary
    assert f" myself,slave {primary.split(' ')[0]} " in replica


@pytest.mark.parametrize(("what", "reply"), [("SLOTS", []), ("SHARDS", []), ("NODES", "")])
def test_a_node_that_has_yet_to_join_names_no_shard(what: str, reply: object) -> None:
    """redis-py fails with an IndexError at a shard without a node."""
    status: dict[str, Any] = {"name": "s4", "leader": None, "term": 0, "members": {}}
    assert told(status, f"CLUSTER {what}") == reply


LEADER_GONE: dict[str, Any] = {
    "leader": "s1", "term": 3, "members": {"s2": "h2:20", "s3": "h3:30"}
}  # fmt: skip


@pytest.mark.parametrize(("what", "reply"), [("SLOTS", []), ("SHARDS", []), ("NODES", "")])
def test_a_leader_that_was_removed_names_no_shard(what: str, reply: object) -> None:
    """It leads until its removal is committed, and a follower is not a primary."""
    assert told({"name": "s1", **LEADER_GONE}, f"CLUSTER {what}") == reply


def test_a_member_takes_the_place_of_a_leader_that_was_removed() -> None:
    """It sends a request on to the leader."""
    status = {"name": "s3", **LEADER_GONE}
    ((_, _, primary, _),) = told(status, "CLUSTER SLOTS")
    assert primary[:2] == ["h3", 30]
    (shard,) = told(status, "CLUSTER SHARDS")
    nodes = [dict(node.items) for node in dict(shard.items)["nodes"]]
    assert [(node["port"], node["role"]) for node in nodes] == [(30, "master"), (20, "replica")]
    first, second = told(status, "CLUSTER NODES").splitlines()
    assert " myself,master - " in first
    assert f" slave {first.split(' ')[0]} " in second


@pytest.mark.parametrize("name", ["s1", "s3"])
def test_sentinels_name_no_follower_for_a_removed_leader(name: str) -> None:
    status = {"name": name, **LEADER_GONE}
    assert told(status, "SENTINEL GET-MASTER-ADDR-BY-NAME raftline") is None
    assert told(status, "SENTINEL MASTERS") == []
