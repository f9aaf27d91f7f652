"""The cluster as a node describes it to Redis clients."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raftline.resp.commands import COMMANDS
from raftline.resp.replies import SLOTS

pytestmark = pytest.mark.pure


def told(status: dict[str, Any], command: str) -> Any:
    """Return the reply of a node with this status."""
    context: Any = None  # only the status is used
    run: Any = COMMANDS["CLUSTER"].run
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
