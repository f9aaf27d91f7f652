"""An entry of an extension that this build lacks stops the node, wherever its verb stands."""

from __future__ import annotations

import pytest

from raftline.common.extensions import VERBS
from raftline.raft.identity import CannotApply, identity_command
from raftline.raft.log import Entry
from raftline.raft.membership import Membership
from raftline.state.commands.machines import Machines
from raftline.state.commands.replicated_state import ReplicatedState


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> ReplicatedState:
    """A state with a session and a lease, in a build that lacks the extension `gone`."""
    monkeypatch.setitem(VERBS, "gone", "gone")
    state = ReplicatedState(Membership(("s1",)), Machines())
    first = [identity_command("9f86d081884c7d65"), "c@session", "lease 5"]
    state.apply([Entry(index, 1, command) for index, command in enumerate(first, 1)])
    return state


@pytest.mark.parametrize(
    "command",
    [
        "gone a 1",
        "c-2#1@gone a 1",
        "c@gone a 1",
        "txn set q 1 ; gone a 1",
        "c-2#1@txn if q absent then set q 1 else gone a 1",
        "under lease-3 gone a 1",
        "txn set q 1 ; under lease-3 gone a 1",
    ],
)
def test_node_stops_at_a_verb_that_it_lacks(state: ReplicatedState, command: str) -> None:
    with pytest.raises(CannotApply, match=r"needs the extension gone, .* start the node from a"):
        state.apply([Entry(4, 1, command)])
    assert "q" not in state.store


def test_an_unknown_verb_of_no_extension_is_only_refused(state: ReplicatedState) -> None:
    (reply,) = state.apply([Entry(4, 1, "nonsense gone")])
    assert reply.startswith("Sorry, I don't understand: nonsense gone")
