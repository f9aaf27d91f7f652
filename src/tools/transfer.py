"""`raftline transfer [NAME]`: hand the leadership over, as a person would with `transfer s3`."""

from __future__ import annotations

import sys

from raftline.clients.connection import ClientError
from raftline.clients.conversation import Client
from raftline.clients.deadline import say_waiting
from raftline.common.config import Configuration, check_name
from raftline.node.handover import TAKEN_OVER
from raftline.tools import status
from raftline.tools.statusverdict import verdict
from raftline.wire.protocol import NO_LEADER, error
from raftline.wire.replies import Outcome, outcome_of


def transfer(configuration: Configuration, to: str | None, timeout_s: float) -> int:
    """Ask the leader to give way; print its reply and return the exit code: 0 done, 3 no leader,
    4 outcome unknown, 5 refused.

    Raises:
        ConfigError: no node can have that name.
    """
    if to is not None:
        check_name(to)
    nodes = status.ask_all(configuration, min(timeout_s, status.LOOK_S))
    leader = status.leader_of(nodes)
    if leader is None:
        print(f"{NO_LEADER}\n[!] {verdict(nodes).text}", file=sys.stderr)
        status.complain_of(nodes)
        return Outcome.NO_LEADER
    try:
        with Client(*leader.address, "raftline", timeout_s, on_wait=say_waiting) as client:
            text = client.ask(f"transfer {to}" if to else "transfer").text
    except ClientError as failure:
        print(error(str(failure)), file=sys.stderr)
        return failure.outcome
    done = text.startswith(TAKEN_OVER)
    print(text, file=sys.stdout if done else sys.stderr)
    return Outcome.DONE if done else outcome_of(text)
