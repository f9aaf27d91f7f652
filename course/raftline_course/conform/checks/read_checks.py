"""Level 5, reads: no answer that may be stale."""

from __future__ import annotations

from raftline.raft.messages import AppendEntries, Message
from raftline_course.conform.checks.checks import check
from raftline_course.conform.checks.leading_checks import later_rounds, stands_again
from raftline_course.conform.played.clients import KitClient
from raftline_course.conform.played.rules import KitFollower
from raftline_course.conform.played.wires import silent
from raftline_course.conform.scene import Scene

SECTION = "Raft §8; thesis §6.4"


def leading(scene: Scene) -> tuple[int, KitClient]:
    """Make the node the leader, with `a` set to 1; return its term and a client."""
    scene.start()
    term = scene.lead()
    client = scene.client()
    client.gets("set a 1", "SET response: a set to 1")
    return term, client


def not_answered(scene: Scene, client: KitClient, since: int, why: str) -> None:
    """Fail if a read was answered with a value."""
    lines = scene.transcript.lines[since:]
    values = [line.text for line in lines if line.wire is client.wire and "GET resp" in line.text]
    scene.expect(not values, f"a read is answered {''.join(values[:1])!r} {why}")


@check(5, "read-own-write", "A read sees each write that was acknowledged before it.", SECTION)
def read_own_write(scene: Scene) -> None:
    _, client = leading(scene)
    other = scene.client("client2")
    for number in range(2, 12):
        client.gets(f"set a {number}", f"SET response: a set to {number}")
        other.gets("get a", f"GET response: {number}")


@check(
    5,
    "read-confirmed",
    "A leader answers a read when a quorum has confirmed that it leads.",
    SECTION,
)
def read_confirmed(scene: Scene) -> None:
    term, client = leading(scene)
    scene.all_do(silent)
    mark = client.say("client1@get a")
    stands_again(scene, term, mark)
    not_answered(scene, client, mark, "by a leader that no other server has confirmed")


@check(5, "read-confirmed-once", "One of two other servers is a quorum with the leader.", SECTION)
def read_confirmed_once(scene: Scene) -> None:
    _, client = leading(scene)
    scene.peers["s3"].cut()
    client.gets("get a", "GET response: 1")


@check(
    5, "confirmed-afterwards", "An answer to an earlier heartbeat confirms no later read.", SECTION
)
def confirmed_afterwards(scene: Scene) -> None:
    term, client = leading(scene)
    held = scene.all_hold()
    earlier = max(
        message.round for message in scene.messages(AppendEntries) if message.term == term
    )

    def late(message: Message) -> str | None:
        if not isinstance(message, AppendEntries):
            return None
        index = min(message.prev_index + len(message.entries), len(held))
        number = min(earlier, message.round)
        return f"I am up to date term {message.term} index {index} round {number}"

    scene.all_do(late)
    mark = client.say("client1@get a")
    later_rounds(scene, "s2", mark)
    not_answered(scene, client, mark, "though each answer names a round before the read")


@check(5, "deposed-reads", "A leader that is deposed answers no read that waits.", SECTION)
def deposed_reads(scene: Scene) -> None:
    term, client = leading(scene)
    held = scene.all_hold()
    end = (len(held), held[-1][0])
    scene.all_do(silent)
    mark = client.say("client1@get a")
    scene.append("s3", term + 1, end, [(term + 1, "set a 2")], commit=end[0])
    does = client.reply("word of its read")
    not_answered(scene, client, mark, "after another leader was heard")
    scene.expect("Sorry, " in does, f"the read is answered {does!r}")


@check(
    5,
    "first-read",
    "A new leader answers a read when an entry of its own term is committed.",
    "thesis §6.4, step 1",
)
def first_read(scene: Scene) -> None:
    scene.follow()
    # s2 has committed entry 2, and informed no peer: a read must still see it.
    log = [(1, "set a 1"), (1, "set a 2")]
    scene.append("s2", 1, (0, 0), log)
    scene.append("s2", 1, (2, 1), commit=1)
    for peer in scene.peers.values():
        follower = KitFollower(list(log))
        follower.ack_max = 2
        peer.rule = follower
    scene.await_leader(scene.let_stand("s2", 1))
    client = scene.client()
    mark = client.say("client1@get a")
    later_rounds(scene, "s2", scene.transcript.end)
    not_answered(scene, client, mark, "before the leader knows what is committed")
    for peer in scene.peers.values():
        peer.rule = KitFollower(list(log))
    does = client.reply("an answer, once its own entry is committed")
    scene.expect(does == "s1@GET response: 2", f"the read is answered {does!r}")


@check(5, "follower-reads", "A follower answers no read from its own copy.", SECTION)
def follower_reads(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1")])
    scene.append("s2", 1, (1, 1), commit=1)
    scene.client().refused("get a")


@check(
    5,
    "no-read-is-lost",
    "Reads and writes of one connection are answered in order.",
    "protocol.md, Order",
)
def no_read_is_lost(scene: Scene) -> None:
    _, client = leading(scene)
    requests, replies = [], []
    for number in range(50):
        requests += [f"client1@set a {number}", "client1@get a"]
        replies += [f"s1@SET response: a set to {number}", f"s1@GET response: {number}"]
    client.say(*requests)
    for should in replies:
        does = client.reply(should)
        scene.expect(does == should, f"a reply is {does!r} where {should!r} should be")
