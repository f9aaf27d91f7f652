"""Level 4, durability: kill -9, and the possible remains of the last write after a power cut."""

from __future__ import annotations

import time
from pathlib import Path

from raftline.common.config import FILE_NAME
from raftline.raft.messages import AppendAccepted, RequestVoteReply
from raftline_course.conform.checks.checks import check
from raftline_course.conform.checks.line_checks import served
from raftline_course.conform.played.rules import pre_voter
from raftline_course.conform.played.wires import silent
from raftline_course.conform.scene import Scene
from raftline_course.conform.verdicts import NotJudged

PERSISTENT = "Raft §5, Figure 2, persistent state"
BEFORE = "Raft Figure 2; thesis §3.8"
WHILE_HELD_S = 0.5
Files = dict[Path, bytes]


@check(4, "vote-kept", "A vote survives kill -9.", PERSISTENT)
def vote_kept(scene: Scene) -> None:
    scene.start()
    scene.granted("s2", 3)
    scene.restart()
    scene.denied("s3", 3, why=", in which it voted for s2 before it was killed")
    scene.granted("s2", 3)


@check(4, "term-kept", "A term survives kill -9, with or without an entry of it.", PERSISTENT)
def term_kept(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1")])
    scene.restart()
    scene.granted("s3", 7, (1, 1))
    scene.restart()
    reply = scene.denied("s2", 6, (1, 1), ", though it was in term 7 before it was killed")
    scene.expect(reply.term == 7, f"it was in term 7, and says {reply.term} after kill -9")


@check(4, "heard-term-kept", "A term that was only heard of survives kill -9.", PERSISTENT)
def heard_term_kept(scene: Scene) -> None:
    scene.follow()
    scene.append("s3", 4, (0, 0))
    scene.restart()
    reply = scene.denied("s2", 3, why=", though it was in term 4 before it was killed")
    scene.expect(reply.term == 4, f"it was in term 4, and says {reply.term} after kill -9")


@check(4, "own-vote-kept", "A candidate's vote for itself survives kill -9.", PERSISTENT)
def own_vote_kept(scene: Scene) -> None:
    scene.follow()
    scene.all_do(pre_voter)
    asked = scene.await_candidate(scene.let_stand("s2", 1))
    scene.restart()
    scene.denied("s3", asked.term, why=", in which it voted for itself before it was killed")


@check(4, "entries-kept", "Entries that were acknowledged survive kill -9.", PERSISTENT)
def entries_kept(scene: Scene) -> None:
    scene.follow()
    log = [(1, "set a 1"), (1, "set b two words"), (1, r"set c\sd a\nb\\"), (1, "delete a")]
    scene.append("s2", 1, (0, 0), log)
    scene.restart()
    scene.append("s2", 1, (4, 1))
    scene.lead(log)
    client = scene.client()
    client.gets("get a", "GET response, no such key: a")
    client.gets("get b", "GET response: two words")
    client.gets(r"get c\sd", r"GET response: a\nb\\")


@check(4, "cut-kept", "An entry that was replaced does not come back by kill -9.", PERSISTENT)
def cut_kept(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a 1"), (1, "set a 2"), (1, "set a 3")])
    scene.append("s3", 2, (1, 1), [(2, "set a 4")])
    scene.restart()
    scene.rejected("s3", 2, (3, 1))
    scene.append("s3", 2, (2, 2))


@check(
    4,
    "commit-not-kept",
    "A start takes no entry for committed: a leader says so.",
    "Raft Figure 2, volatile state",
)
def commit_not_kept(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set a good"), (1, "set a bad")], commit=1)
    scene.restart()
    scene.append("s3", 2, (1, 1), [(2, "set b 1")], commit=2)
    scene.lead([(1, "set a good"), (2, "set b 1")], "s3", 2)
    client = scene.client()
    client.gets("get a", "GET response: good")
    client.gets("get b", "GET response: 1")


@check(
    4,
    "applied-once-again",
    "After kill -9 each entry has its effect once.",
    "Raft Figure 2, volatile state",
)
def applied_once_again(scene: Scene) -> None:
    scene.follow()
    log = [(1, "incr n")] * 3
    scene.append("s2", 1, (0, 0), log)
    scene.append("s2", 1, (3, 1), commit=3)
    for _ in range(2):
        scene.restart()
        scene.append("s2", 1, (3, 1), commit=3)
    scene.lead(log)
    scene.client().gets("get n", "GET response: 3")


@check(4, "alone-kept", "A node alone keeps each acknowledged write over kill -9.", BEFORE, size=1)
def alone_kept(scene: Scene) -> None:
    client = served(scene)
    for number in range(1, 21):
        client.gets("incr n", f"INCR response: {number}")
    scene.restart()
    served(scene, started=True).gets("get n", "GET response: 20")


# --- the disk when an answer leaves -------------------------------------------------------------


def _held_sync(scene: Scene, peer: str, text: str, promise: type) -> None:
    """Send a line whose answer is a promise while each sync is held; fail if the answer comes."""
    assert scene.syncs is not None
    before = scene.syncs.hold()
    mark = scene.transcript.end
    wire = scene.peers[peer].wire_to(scene.node.port)
    wire.say(f"{peer}@{text}")
    try:
        line = wire.next_line(scene.patience_s) if not _asked(scene, before, mark) else None
        if line is None:
            # A node whose other threads continue shows by this that it is past the line above.
            scene.peers["s4"].wire_to(scene.node.port).say("s4@PreVote 90-0-0")
            scene.transcript.wait(lambda line: line.other == "s4", mark, WHILE_HELD_S)
        scene.expect(
            not scene.messages(promise, mark),
            "the answer left before the disk had it: no sync was done since the line",
        )
    finally:
        scene.syncs.release()
    answer = wire.next_line(scene.patience_s)
    scene.expect(answer is not None, f"no answer to {text[:60]!r} once the disk is done")


def _asked(scene: Scene, before: int, mark: int) -> bool:
    """Wait for a sync or for an answer; return whether the sync came first."""
    assert scene.syncs is not None
    end_s = time.monotonic() + scene.patience_s
    while time.monotonic() < end_s:
        if scene.syncs.wait_beyond(before, 0.05):
            return True
        if scene.transcript.find(lambda _: True, mark) is not None:
            return scene.syncs.wait_beyond(before, 0.0)
    return False


@check(
    4,
    "synced-before-answer",
    "Entries are on the disk before the answer: an fsync stands between.",
    BEFORE,
    size=4,
    watches_syncs=True,
)
def synced_before_answer(scene: Scene) -> None:
    scene.follow()
    _judgeable(scene)
    entry = '{"index": 1, "term": 1, "command": "set a 1"}'
    _held_sync(scene, "s2", f"AppendEntries 1-0-0-[{entry}] commit 0 round 9", AppendAccepted)


@check(
    4,
    "synced-before-vote",
    "Term and vote are on the disk before the vote is sent.",
    BEFORE,
    size=4,
    watches_syncs=True,
)
def synced_before_vote(scene: Scene) -> None:
    scene.start()
    scene.granted("s2", 1)
    _judgeable(scene)
    _held_sync(scene, "s3", "RequestVote 2-0-0", RequestVoteReply)


@check(
    4,
    "synced-before-reply",
    "A node alone answers a write when its disk has it.",
    BEFORE,
    size=1,
    watches_syncs=True,
)
def synced_before_reply(scene: Scene) -> None:
    client = served(scene)
    client.gets("set a 1", "SET response: a set to 1")
    _judgeable(scene)
    assert scene.syncs is not None
    before = scene.syncs.hold()
    mark = client.say("client1@set a 2")
    try:
        _asked(scene, before, mark)
        scene.transcript.wait(lambda _: True, mark, WHILE_HELD_S)
        scene.expect(
            not client.has_reply(mark), "the reply left before the disk had it: no sync was done"
        )
    finally:
        scene.syncs.release()
    client.hears("s1@SET response: a set to 2")


def _judgeable(scene: Scene) -> None:
    """Raise NotJudged if no sync was seen since the start, which may have a good reason."""
    assert scene.syncs is not None
    if scene.syncs.count == 0 and scene.node.writes_through():
        raise NotJudged("it opens its files with O_DSYNC or O_SYNC, which the kit can't watch")


@check(
    4,
    "torn-write",
    "Half an entry that a power cut left is no entry, and spoils none that follows.",
    "thesis §3.8",
)
def torn_write(scene: Scene) -> None:
    scene.follow()
    scene.append("s2", 1, (0, 0), [(1, "set price 1")])
    before = _files(scene)
    scene.append("s2", 1, (1, 1), [(1, "set price 4750")])
    scene.kill()
    after = _files(scene)
    path, end = _grown(before, after)
    growth = after[path][end:]
    places = {len(growth) // 4, len(growth) // 2, 3 * len(growth) // 4, len(growth) - 2}
    if b"4750" in growth:
        places.add(growth.index(b"4750") + 1)
    for place in sorted(place for place in places if place > 0):
        _torn(scene, after, path, end + place, f"{place} of {len(growth)} bytes")


def _torn(scene: Scene, after: Files, path: Path, size: int, kept: str) -> None:
    for each, data in after.items():
        each.write_bytes(data[:size] if each == path else data)
    scene.transcript.act(f"of its last write {kept} are on the disk; s1 starts again")
    scene.transcript.is_calm = True
    scene.node.start()
    line = scene.send_append("s2", 1, (2, 1))
    if isinstance(line.message, AppendAccepted):
        scene.lead([(1, "set price 1"), (1, "set price 4750")])
        scene.client().gets("get price", "GET response: 4750")
    else:
        scene.append("s2", 1, (1, 1), [(1, "set price 4750")])
        scene.restart()
        held = isinstance(scene.send_append("s2", 1, (2, 1)).message, AppendAccepted)
        scene.expect(held, "an entry that follows the torn line is acknowledged and then lost")
    scene.kill()


def _files(scene: Scene) -> Files:
    return {
        path: path.read_bytes()
        for path in sorted(scene.node.folder.rglob("*"))
        if path.is_file() and path.name != FILE_NAME
    }


def _grown(before: Files, after: Files) -> tuple[Path, int]:
    """Return the one file that an entry made longer, and its length before. `after` gets the old
    versions of other changed files: their bytes may reach the disk after the entry's bytes."""
    changed = [path for path in after if after[path] != before.get(path)]
    grown = [path for path in changed if after[path].startswith(before.get(path, b""))]
    found = [path for path in grown if b"price" in after[path]] or grown
    if len(found) != 1:
        names = ", ".join(path.name for path in changed) or "none"
        raise NotJudged(f"one file has to take the entry, at its end; changed: {names}")
    for path in changed:
        if path != found[0]:
            after[path] = before.get(path, b"")
    return found[0], len(before.get(found[0], b""))


@check(
    4,
    "leader-comes-back",
    "A leader that was killed comes back with what it acknowledged.",
    PERSISTENT,
)
def leader_comes_back(scene: Scene) -> None:
    scene.start()
    term = scene.lead()
    scene.peers["s3"].rule = silent  # so the leader's own disk is needed for a quorum
    scene.client().gets("set a 1", "SET response: a set to 1")
    held = scene.all_hold()
    scene.restart()
    end = (len(held), held[-1][0])
    scene.granted("s3", term + 1, end)
    scene.append("s3", term + 1, end, commit=len(held))
