"""A sender that isn't a member, and its messages to newborn nodes, which change nothing, since none
of them tells of a history."""

from __future__ import annotations

from collections.abc import Sequence

from raftline.raft.inputs import Receive
from raftline.raft.messages import (
    Message,
    PeerError,
    RequestVote,
    RequestVoteReply,
)
from raftline.raft.state import State

from ..nodes.simulated_node import Host
from ..world.plan import Plan
from ..world.world import World

NAME = "s99"


class NonMember:
    """A sender of repeated messages to each newborn that knows its members."""

    def __init__(self, world: World, plan: Plan, hosts: Sequence[Host]) -> None:
        self._world = world
        self._pause_ms = plan.nonmember_every_ms
        self._hosts = hosts
        if self._pause_ms:
            self._wait()

    def _wait(self) -> None:
        self._world.after(1 + self._world.up_to(2 * self._pause_ms - 1), self._send)

    def _send(self) -> None:
        for host in self._hosts:
            node = host.node
            if node is None or not node._state.newborn or not node._state.membership.names:
                continue
            self._world.counts["messages to newborns refused"] += 1
            before = _known(node._state)
            message = self._message(host.name, node._state.term)
            try:
                node.step(Receive(message), host.clock.now_ms())
            except PeerError:
                if _known(node._state) != before or node.accepts(message):
                    raise AssertionError(f"{message} changed {before}") from None
            else:
                raise AssertionError(f"{host.name} took {message} from a non-member")
        self._wait()

    def _message(self, to: str, term: int) -> Message:
        chance = self._world.random
        term += chance.randint(0, 3) + 1
        log = (chance.randint(1, 9), chance.randint(1, term))
        messages: list[Message] = [
            RequestVote(NAME, to, term + 1, 0, 0, pre_vote=True),
            RequestVote(NAME, to, term + 1, 0, 0),
            RequestVote(NAME, to, term + 1, *log, newborn=True),
            RequestVote(NAME, to, term + 1, 0, 0, never_ran=("s1", "s2", "s3")),
            RequestVoteReply(NAME, to, term, True, True),
        ]  # fmt: skip
        return chance.choice(messages)


def _known(state: State) -> tuple[object, ...]:
    return (
        state.term, state.vote, state.role, state.leader, state.newborn, state.recovering,
        state.log.last_index, dict(state.votes), state.commit_index, state.never_ran,
    )  # fmt: skip
