"""`raftline transfer [NAME]`: hand the leadership over, as a person would with `transfer s3`."""

from __future__ import annotations

import sys

from raftline import status
from raftline.config import Configuration
from raftline.conversation import Client
from raftline.handover import TAKEN_OVER
from raftline.link import ClientError
from raftline.protocol import NO_LEADER, error
from raftline.replies import Outcome, outcome_of


def transfer(configuration: Configuration, to: str | None, timeout_s: float) -> int:
    """Ask the leader to give way; print its reply and return the exit code: 0 done, 3 no leader,
    4 outcome unknown, 5 refused."""
    leader = status.leader_of(status.ask_all(configuration, timeout_s))
    if leader is None:
        print(NO_LEADER, file=sys.stderr)
        return Outcome.NO_LEADER
    try:
        with Client(*leader.address, "raftline", timeout_s) as client:
            text = client.ask(f"transfer {to}" if to else "transfer").text
    except ClientError as failure:
        print(error(str(failure)), file=sys.stderr)
        return failure.outcome
    done = text.startswith(TAKEN_OVER)
    print(text, file=sys.stdout if done else sys.stderr)
    return Outcome.DONE if done else outcome_of(text)
