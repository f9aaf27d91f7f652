"""Level 8, membership: members come and go, and a node that lost its disk has no vote."""

from __future__ import annotations

import json
from typing import Any

from raftline.raft.messages import AppendAccepted
from raftline_course.conform.checks.checks import check, cluster_check
from raftline_course.conform.checks.leading_checks import later_rounds
from raftline_course.conform.cluster import TestedCluster
from raftline_course.conform.played.clients import KitClient
from raftline_course.conform.played.rules import KitFollower
from raftline_course.conform.played.wires import HOST, silent
from raftline_course.conform.scene import Scene
from raftline_course.conform.verdicts import Failed

MEMBERS = "Raft §6; thesis §4; protocol.md, Members"
LOST = "repair.md, A node that lost files; Alagappan et al. 2018"


def leading(scene: Scene) -> KitClient:
    """Make the node the leader; return a client."""
    scene.start()
    scene.lead()
    client = scene.client()
    client.gets("set a 1", "SET response: a set to 1")
    return client


def members(client: KitClient) -> dict[str, Any]:
    """Return the answer to `members`: addresses by name, and lists of names."""
    reply = client.ask("members")
    try:
        facts = json.loads(reply.removeprefix("MEMBERS response: "))
    except (ValueError, RecursionError):
        facts = None
    kinds = {"members": dict, "voters": list, "learners": list}
    if not isinstance(facts, dict) or any(
        not isinstance(facts.get(name), kind)
        or not all(isinstance(one, str) for one in facts[name])
        for name, kind in kinds.items()
    ):
        raise Failed(f"'members' is answered {reply[:200]!r}")
    return facts


def add(scene: Scene, client: KitClient) -> None:
    """Add s4, which the kit plays, and wait until it votes."""
    newcomer = scene.newcomer("s4")
    does = client.ask(f"add s4 {HOST} {newcomer.port}")
    scene.expect(does.startswith("ADD response: s4 added"), f"add is answered {does!r}")
    facts = members(client)
    scene.expect(sorted(facts["voters"]) == ["s1", "s2", "s3", "s4"], f"the voters are {facts}")


@check(8, "members-listed", "members answers with voters, learners and addresses.", MEMBERS)
def members_answered(scene: Scene) -> None:
    facts = members(leading(scene))
    scene.expect(sorted(facts["voters"]) == ["s1", "s2", "s3"], f"the voters are {facts['voters']}")
    scene.expect(facts["learners"] == [], f"the learners are {facts['learners']}")
    address = f"{HOST}:{scene.peers['s2'].port}"
    place = facts["members"].get("s2")
    scene.expect(place == address, f"s2 is at {place}")


@check(8, "added", "A new member gets the whole log, then it votes.", MEMBERS)
def added(scene: Scene) -> None:
    client = leading(scene)
    add(scene, client)
    rule = scene.peers["s4"].rule
    assert isinstance(rule, KitFollower)
    commands = [command for _, command in rule.entries]
    scene.expect("set a 1" in commands, "s4 votes, and was never sent the first write")


@check(8, "new-majority", "With four voters three have to hold an entry.", MEMBERS)
def new_majority(scene: Scene) -> None:
    client = leading(scene)
    add(scene, client)
    held = scene.all_hold()
    for name in ("s3", "s4"):
        follower = KitFollower(held)
        follower.ack_max = len(held)
        scene.peers[name].rule = follower
    mark = client.say("client1@set a 2")
    later_rounds(scene, "s3", mark)
    scene.expect(not client.has_reply(mark), "two of four voters hold a write, and it is answered")
    scene.peers["s3"].rule = KitFollower(held)
    client.hears("s1@SET response: a set to 2")


@check(8, "removed", "A member that was removed is not part of any majority.", MEMBERS)
def removed(scene: Scene) -> None:
    client = leading(scene)
    does = client.ask("remove s3")
    scene.expect(does.startswith("REMOVE response: s3 removed"), f"remove is answered {does!r}")
    facts = members(client)
    scene.expect(sorted(facts["voters"]) == ["s1", "s2"], f"the voters are {facts['voters']}")
    held = scene.all_hold()
    follower = KitFollower(held)
    follower.ack_max = len(held)
    scene.peers["s2"].rule = follower  # s3 would still answer
    mark = client.say("client1@set a 2")
    later_rounds(scene, "s2", mark)
    scene.expect(not client.has_reply(mark), "a write is answered that one of two voters holds")


@check(8, "members-kept", "The members are those of the log, also after kill -9.", MEMBERS)
def members_kept(scene: Scene) -> None:
    client = leading(scene)
    add(scene, client)
    scene.peers["s3"].rule = silent  # so the leader's own disk is needed for three of four
    client.gets("set a 2", "SET response: a set to 2")
    held = scene.all_hold()
    term, end = held[-1][0] + 1, (len(held), held[-1][0])
    scene.restart()
    scene.granted("s4", term, end)
    scene.append("s4", term, end, commit=len(held))


@check(
    8,
    "outsider",
    "A candidate that is not a member moves no leader from its term.",
    "Raft §6; thesis §4.2.3",
)
def outsider(scene: Scene) -> None:
    client = leading(scene)
    does = client.ask("remove s3")
    scene.expect(does.startswith("REMOVE response: s3 removed"), f"remove is answered {does!r}")
    line = scene.call("s3", "RequestVote 50-90-1")
    scene.expect(not line.text.startswith("Count on me"), "a removed server is voted for")
    client.gets("set a 2", "SET response: a set to 2")
    last = later_rounds(scene, "s2", scene.transcript.end)
    scene.expect(last.term < 50, f"its term moved the leader to term {last.term}")


@check(8, "refused", "A change that can't be meant is refused, and nothing is changed.", MEMBERS)
def refused(scene: Scene) -> None:
    client = leading(scene)
    for wrong in ("add s4 localhost", "remove s9", "demote s9", "add"):
        client.refused(wrong)
    facts = members(client)
    scene.expect(sorted(facts["voters"]) == ["s1", "s2", "s3"], f"the voters are {facts['voters']}")


# --- a disk that was lost -----------------------------------------------------------------------


def wiped(scene: Scene) -> None:
    """Make the node acknowledge two entries of s2, one of which s3 has; then remove its files."""
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1"), (1, "set a 2")])
    scene.append("s2", 1, (2, 1), commit=2)
    scene.kill()
    scene.node.forget()
    scene.transcript.act("s1 starts again with an empty folder")
    scene.transcript.is_calm = True
    scene.node.start()


@check(
    8,
    "lost-disk",
    "A node that lost its disk votes for nobody: it may have acknowledged more.",
    LOST,
)
def lost_disk(scene: Scene) -> None:
    wiped(scene)
    scene.denied("s3", 2, (1, 1), ", which lacks an entry that s1 had acknowledged")
    scene.denied("s2", 3, (2, 1), ", without knowing what it has forgotten")


@check(8, "lost-disk-answered", "It answers its leader that it has no vote.", LOST)
def lost_disk_reported(scene: Scene) -> None:
    wiped(scene)
    line = scene.send_append("s2", 1, (0, 0), [(1, "set a 1"), (1, "set a 2")], commit=2)
    answer = line.message
    without_vote = isinstance(answer, AppendAccepted) and answer.without_vote
    scene.expect(without_vote, "its answer does not end in: without vote INCARNATION")


@check(8, "vote-again", "Its leader gives the vote back, for that start alone.", LOST)
def vote_again(scene: Scene) -> None:
    wiped(scene)
    log = [(1, "set a 1"), (1, "set a 2"), (1, "set a 3")]
    answer = scene.send_append("s2", 1, (0, 0), log, commit=3).message
    incarnation = answer.without_vote if isinstance(answer, AppendAccepted) else 0
    scene.expect(incarnation, "its answer does not end in: without vote INCARNATION")
    for given, should in ((incarnation + 1, False), (incarnation, True)):
        scene.call("s2", f"AppendEntries 1-3-1-[] commit 3 round 90 vote again {given}")
        has = scene.send_append("s2", 1, (3, 1), commit=3).message
        is_voter = isinstance(has, AppendAccepted) and not has.without_vote
        scene.expect(
            is_voter is should, f"after vote again {given} of {incarnation} it votes: {is_voter}"
        )


@cluster_check(8, "three-to-two", "Two nodes of three go on when the third was removed.", MEMBERS)
def three_to_two(cluster: TestedCluster) -> None:
    cluster.begin()
    leader = cluster.leader()
    gone, other = (name for name in cluster.nodes if name != leader)
    does = cluster.ask(f"remove {gone}")
    cluster.expect(does.startswith("REMOVE response: "), f"remove is answered {does!r}")
    cluster.kill(gone)
    does = cluster.ask("set a 1", among=(leader, other))
    cluster.expect(does == "SET response: a set to 1", f"a write is answered {does!r}")
