"""The needs of entries in the core: when a log names them, and which servers get that log."""

from __future__ import annotations

from dataclasses import replace

import pytest

from raftline.net.protocol.host import Batch
from raftline.node.loop.parts import KnownParts
from raftline.raft.change import Change, ChangeRefused
from raftline.raft.effects import Effects
from raftline.raft.identity import (
    CannotApply,
    ClusterIdentity,
    identity_command,
    lacking,
    read,
    with_parts,
)
from raftline.raft.inputs import (
    ChangeMembers,
    NeedParts,
    PeerBuild,
    Propose,
    Receive,
    Tick,
    Transfer,
)
from raftline.raft.log import Entry
from raftline.raft.membership import Membership
from raftline.raft.messages import AppendEntries, RequestVoteReply
from raftline.raft.node import RawNode
from raftline.raft.roles import Role
from raftline.raft.upgrade import PATIENCE, check_newcomer
from raftline_testing.doubles.cores import (
    OPTIONS,
    TIMEOUT_MS,
    acknowledge,
    append,
    established,
    leader_of,
    members_of,
    node_of,
    sync,
)

IDENTITY = "9f86d081884c7d65"
FIRST = replace(OPTIONS, cluster_if_new=IDENTITY)
THREE = members_of("s1", "s2", "s3")
KERNEL, OTHER_KERNEL = "kernel=0123456789ab", "kernel=ba9876543210"
REDIS, OLDER, QUEUES = "redis=0123456789ab", "redis=ba9876543210", "recipes=0123456789ab"
WHOLE = replace(FIRST, applies=frozenset({REDIS, QUEUES}), own_parts=(REDIS, QUEUES))
ALL = frozenset({REDIS, QUEUES})
SOME = (frozenset[str](), frozenset({REDIS}), frozenset({QUEUES, OLDER}), ALL)
NEEDED = {  # what the commands of a batch need
    ("set a hold",): frozenset[str](),
    ("redis 1 SET a 1",): frozenset({REDIS}),
    ("client4#1@hold a/ alone lease-9 x", "get a"): frozenset({QUEUES}),
    ("txn set a 1 ; enqueue q/ x",): frozenset({QUEUES}),
    ("txn enqueue q/ x ; redis 1 SET a 1",): ALL,
    ("get a", "redis 1 SET a 1", "enqueue q/ x"): ALL,
}


def leader(*told: tuple[str, frozenset[str]], **more: object) -> RawNode:
    """Return s1, which leads s2 and s3; these have announced that they apply these parts."""
    node = established("s1", options=WHOLE, **more)
    for peer, parts in told:
        tell(node, peer, parts)
    return node


def tell(node: RawNode, peer: str, parts: frozenset[str] | None) -> Effects:
    return node.step(PeerBuild(peer, parts), node.view.now_ms)


def need(node: RawNode, *parts: str) -> list[str]:
    """Make the next commands need these parts; return the commands that were appended."""
    effects = node.step(NeedParts(parts), node.view.now_ms)
    return [entry.command for entry in effects.append]


def receivers(effects: Effects) -> set[str]:
    messages = [*effects.send, *effects.send_after_save, *effects.send_past_entries]
    return {one.to for one in messages if isinstance(one, AppendEntries) and one.entries}


def test_an_entry_names_a_part_once_before_what_needs_it() -> None:
    node = leader(("s2", ALL), ("s3", ALL))
    assert node.view.who_lacks([REDIS]) == ("", "")
    assert need(node, REDIS) == [identity_command(IDENTITY, REDIS)]
    assert need(node, REDIS) == []
    assert need(node, QUEUES) == [identity_command(IDENTITY, f"{QUEUES} {REDIS}")]
    assert node.view.identity.needs.latest == f"{QUEUES} {REDIS}"


@pytest.mark.parametrize("theirs", [frozenset(), frozenset({QUEUES}), frozenset({OLDER})])
def test_no_entry_needs_what_a_member_does_not_apply_alike(theirs: frozenset[str]) -> None:
    node = leader(("s2", ALL), ("s3", theirs))
    assert node.view.who_lacks([REDIS]) == (REDIS, "s3")
    tell(node, "s3", None)  # a member that is down counts by its last word
    assert node.view.who_lacks([REDIS]) == (REDIS, "s3")
    tell(node, "s3", ALL)
    assert node.view.who_lacks([REDIS]) == ("", "")


@pytest.mark.parametrize("named", [(), (REDIS,), (QUEUES,)])
@pytest.mark.parametrize("second", [*SOME, None])
@pytest.mark.parametrize("third", [*SOME, None])
def test_writes_are_admitted_that_each_member_can_apply(
    second: frozenset[str] | None, third: frozenset[str] | None, named: tuple[str, ...]
) -> None:
    """Whatever two members announced, or one that was never heard, and whatever the log names."""
    node = leader(("s2", ALL), ("s3", ALL))
    need(node, *named)
    told = {"s2": second, "s3": third}
    node._state.peer_parts = {name: parts for name, parts in told.items() if parts is not None}
    own = dict(each.split("=") for each in sorted(ALL))
    batches = [Batch(commands, is_read=False) for commands in NEEDED]
    left, added = KnownParts(node.view, own, lambda name: f"of {name}").admit(batches)
    able = {*named} | {each for each in ALL if all(each in (told[name] or ()) for name in told)}
    assert left == [batch for batch in batches if NEEDED[tuple(batch.commands)] <= able]
    needed = {part for batch in left for part in NEEDED[tuple(batch.commands)]}
    assert added == sorted(needed - {*named})
    for batch in batches:
        if batch not in left:
            assert len(batch.replies) == len(batch.commands)
            member = batch.replies[0].split(", ", 1)[1].split(" ")[0]
            parts, missing = told[member], NEEDED[tuple(batch.commands)] - {*named}
            kinds = [
                "not heard yet" if parts is None
                else "otherwise than" if OLDER in parts and each == REDIS
                else "lacks the extension"
                for each in sorted(missing - (parts or frozenset()))
            ]  # fmt: skip
            assert kinds[0] in batch.replies[0]


@pytest.mark.parametrize("line", ["getdel a", "c#1@getdel a", "txn set a 1 ; getdel a"])
def test_verb_that_a_release_lacks_waits_for_all_members(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """Its other commands are served meanwhile, by a build that applies them alike."""
    lacks = {"kernel": {"ba9876543210": ("getdel",)}}
    monkeypatch.setattr("raftline.node.loop.parts.ALIKE", lacks)
    both = frozenset({KERNEL, OTHER_KERNEL})
    options = replace(WHOLE, applies=both, own_parts=(OTHER_KERNEL,))
    node = established("s1", options=options)
    node._state.options = replace(options, own_parts=(KERNEL,))
    node._state.own_needs = None  # as at a start
    parts = KnownParts(node.view, {"kernel": "0123456789ab"}, lambda name: "0.1.0")
    tell(node, "s2", both)
    tell(node, "s3", frozenset({OTHER_KERNEL}))
    known, new = Batch(["set a getdel"], is_read=False), Batch([line], is_read=False)
    assert parts.admit([known, new]) == ([known], [])
    assert new.replies[0].startswith("Sorry, s3 (0.1.0) applies the kernel otherwise")
    tell(node, "s3", both)
    assert node.view.identity.needs.latest == KERNEL
    assert parts.admit([known, new]) == ([known, new], [])


def test_new_leader_waits_for_members_that_were_never_heard() -> None:
    node = leader(("s2", ALL))
    assert node.view.who_lacks([REDIS]) == (REDIS, "s3")
    state = node._state
    timeout_ms = state.options.election_timeout_ms
    state.now_ms = state.as_leader.since_ms + PATIENCE * timeout_ms - 1
    assert node.view.who_lacks([REDIS]) == (REDIS, "s3")
    node._state.now_ms += 1
    assert node.view.who_lacks([REDIS]) == ("", "")


def test_a_quorum_must_have_announced_a_part() -> None:
    node = leader()
    node._state.now_ms += PATIENCE * TIMEOUT_MS
    assert node.view.who_lacks([REDIS]) == (REDIS, "s2")


def test_quorum_of_both_halves_must_have_announced_a_part() -> None:
    """s1 and s3 are a quorum of the three, but not of s1 and s2, which remain."""
    node = leader()
    node.step(ChangeMembers(Change("remove", "s3"), "token"), node.view.now_ms)
    node._state.now_ms += PATIENCE * TIMEOUT_MS
    tell(node, "s3", ALL)
    assert node.view.who_lacks([REDIS]) == (REDIS, "s2")
    tell(node, "s2", ALL)
    assert node.view.who_lacks([REDIS]) == ("", "")


def test_new_leader_needs_no_word_for_what_its_log_names() -> None:
    node = leader(("s2", ALL), ("s3", ALL))
    need(node, REDIS)
    node._state.peer_parts.clear()
    assert node.view.who_lacks([REDIS]) == ("", "")
    assert node.view.who_lacks([REDIS, QUEUES]) == (QUEUES, "s2")


def test_log_goes_only_to_members_that_apply_what_it_names() -> None:
    """A member was never heard, the others continued, and then it comes without the extension."""
    node = leader(("s2", ALL))
    need(node, REDIS)
    sync(node)
    acknowledge(node, "s2")
    effects = tell(node, "s3", frozenset({OLDER}))
    assert receivers(effects) == set()
    assert "as an earlier or later build applies it" in effects.notes[-1]
    assert receivers(node.step(Propose(["redis x"]), node.view.now_ms)) == {"s2"}
    tell(node, "s3", ALL)
    assert node._state.may_send("s3")


def test_server_stops_at_an_entry_that_names_what_it_lacks() -> None:
    node = node_of("s2", 1, options=replace(FIRST, applies=frozenset({QUEUES})))
    entry = Entry(2, 1, identity_command(IDENTITY, REDIS))
    message = replace(append(1, (1, 1)), entries=[entry])
    with pytest.raises(CannotApply, match="need the extension redis, which this build of raftline"):
        node.step(Receive(message), node.view.now_ms)


@pytest.mark.parametrize(
    ("theirs", "why"),
    [(frozenset(), "which this build of raftline lacks"), (frozenset({OLDER}), "as an earlier")],
)
def test_newcomer_without_a_part_is_refused(theirs: frozenset[str], why: str) -> None:
    node = leader(("s2", ALL), ("s3", ALL))
    add = Change("add", "s4", "h4:1", applies=theirs)
    check_newcomer(node._state, add)
    need(node, REDIS)
    with pytest.raises(ChangeRefused, match=f"s4 can't follow: .* redis.* {why}"):
        check_newcomer(node._state, add)
    check_newcomer(node._state, add._replace(applies=ALL))


def test_digest_of_this_build_replaces_one_that_it_applies_alike() -> None:
    """Once all members announce it: until then entries need what the others have."""
    alike = replace(WHOLE, applies=ALL | {OLDER})
    both = ALL | {OLDER}
    node = established("s1", options=alike)
    for peer in ("s2", "s3"):
        tell(node, peer, both)
    node._state.append([Entry(2, 1, identity_command(IDENTITY, OLDER))])
    node._state.peer_parts["s3"] = frozenset({OLDER})
    assert tell(node, "s2", both).append[1:] == []
    effects = tell(node, "s3", both)
    assert [entry.command for entry in effects.append] == [identity_command(IDENTITY, REDIS)]
    assert tell(node, "s2", both).append == []


def test_first_entry_of_a_cluster_names_the_kernel_of_its_leader() -> None:
    """A member that applies its commands otherwise is sent nothing."""
    options = replace(FIRST, applies=frozenset({KERNEL, *ALL}), own_parts=(KERNEL, REDIS, QUEUES))
    node = leader_of("s1", options=options)
    assert node.view.identity.needs.latest == KERNEL
    assert node._state.log.commands == [identity_command(node.view.identity.latest, KERNEL)]
    for parts in (set(), ALL, {OTHER_KERNEL}):
        effects = tell(node, "s3", frozenset(parts))
        assert receivers(effects) == set()
        assert "need the kernel as an earlier or later build applies it" in effects.notes[-1]
    assert receivers(tell(node, "s2", frozenset({KERNEL}))) == set()
    assert node._state.may_send("s2")


@pytest.mark.parametrize("newborn", [False, True])
def test_log_is_begun_only_where_a_quorum_has_the_kernel(newborn: bool) -> None:
    """The others would be sent nothing, so the entry would stay in this one log for good."""
    options = replace(FIRST, applies=frozenset({KERNEL}), own_parts=(KERNEL,))
    node = node_of("s1", options=options, newborn=newborn)

    def stands() -> bool:
        node.step(Tick(), node.view.now_ms + 2 * TIMEOUT_MS)
        for peer in ("s2", "s3"):
            granted = RequestVoteReply(peer, "s1", node.view.term + 1, True, pre_vote=True)
            node.step(Receive(granted), node.view.now_ms)
        return node.view.role is Role.CANDIDATE

    assert not stands()
    assert "begins a log only with a quorum of its own" in tell(node, "s2", ALL).notes[-1]
    tell(node, "s3", frozenset({OTHER_KERNEL}))
    assert not stands()
    tell(node, "s3", frozenset({KERNEL, OTHER_KERNEL}))
    tell(node, "s3", None)
    assert stands()


def without_kernel(voters: Membership = THREE) -> RawNode:
    """Return a leader of a log that names no kernel; its build has one."""
    node = established("s1", voters=voters, options=FIRST)
    node._state.options = replace(FIRST, applies=frozenset({KERNEL}), own_parts=(KERNEL,))
    node._state.own_needs = None  # as at a start
    return node


@pytest.mark.parametrize(
    "voters", [THREE, Membership(("s1", "s2"), ("s3",), addresses=THREE.addresses)]
)
def test_log_without_a_kernel_names_it_once_all_announce_it(voters: Membership) -> None:
    node = without_kernel(voters)
    assert tell(node, "s2", frozenset({KERNEL})).append == []
    assert tell(node, "s3", frozenset({OTHER_KERNEL})).append == []
    effects = tell(node, "s3", frozenset({KERNEL}))
    assert [entry.command for entry in effects.append] == [identity_command(IDENTITY, KERNEL)]
    assert tell(node, "s2", frozenset({KERNEL})).append == []


def test_both_halves_must_announce_the_kernel() -> None:
    node = without_kernel()
    node.step(ChangeMembers(Change("remove", "s3"), "token"), node.view.now_ms)
    assert node.view.membership.is_joint
    assert tell(node, "s2", frozenset({KERNEL})).append == []
    effects = tell(node, "s3", frozenset({KERNEL}))
    assert [entry.command for entry in effects.append] == [identity_command(IDENTITY, KERNEL)]


def test_leader_that_transfers_names_nothing() -> None:
    node = without_kernel()
    tell(node, "s2", frozenset({KERNEL}))
    node.step(Transfer("s2"), node.view.now_ms)
    assert tell(node, "s3", frozenset({KERNEL})).append == []


def test_leader_that_steps_down_names_nothing() -> None:
    """A transfer kept both the name and the step back, and ends in that step."""
    node = without_kernel()
    tell(node, "s2", frozenset({KERNEL}))
    node.step(ChangeMembers(Change("remove", "s1"), "token"), node.view.now_ms)
    sync(node)
    acknowledge(node, "s2")
    acknowledge(node, "s3")
    sync(node)
    node.step(Transfer("s2"), node.view.now_ms)
    assert tell(node, "s3", frozenset({KERNEL})).append == []
    acknowledge(node, "s2")
    acknowledge(node, "s3")
    assert node.view.is_leader
    effects = node.step(Tick(), node.view.now_ms + OPTIONS.election_timeout_ms)
    assert not node.view.is_leader
    assert effects.append == []


def test_a_cut_takes_needs_back_and_a_compaction_keeps_them() -> None:
    commands = [identity_command(IDENTITY), "a", identity_command(IDENTITY, REDIS), "b"]
    identity = ClusterIdentity(0, "", commands)
    identity.compact(3)
    assert identity.needs.latest == REDIS
    identity.append(5, identity_command(IDENTITY, f"{QUEUES} {REDIS}"))
    identity.cut_after(4)
    assert identity.needs.latest == REDIS
    identity.append(5, identity_command("0" * 16, QUEUES))  # of another cluster
    assert identity.needs.latest == REDIS


def test_needs_have_one_form() -> None:
    assert with_parts("", []) == ""
    assert with_parts(REDIS, [QUEUES]) == with_parts(QUEUES, [REDIS]) == f"{QUEUES} {REDIS}"
    assert with_parts(f"{QUEUES} {OLDER}", [REDIS]) == f"{QUEUES} {REDIS}"
    assert lacking(f"{QUEUES} {REDIS}", [OLDER, QUEUES]) == [REDIS]
    for text in ("redis", "redis=0", f"{REDIS}  {QUEUES}", f"{REDIS} ", "Redis=0123456789ab"):
        assert read(f"cluster {IDENTITY} level 1 with {text}").cluster == ""
