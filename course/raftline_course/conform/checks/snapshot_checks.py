"""Level 7, snapshots: a log that is kept short, sent as a snapshot, and taken from one."""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import dataclass

from raftline.raft.log import Snapshot
from raftline.raft.messages import (
    AppendAccepted,
    AppendRejected,
    InstallSnapshot,
    InstallSnapshotReply,
)
from raftline.wire.replies.replies import RequestOutcome, outcome_of
from raftline_course.conform.checks.checks import check
from raftline_course.conform.checks.line_checks import served
from raftline_course.conform.played.clients import KitClient
from raftline_course.conform.played.installer import Installer
from raftline_course.conform.played.rules import KitFollower
from raftline_course.conform.played.wires import silent
from raftline_course.conform.scene import Scene
from raftline_course.conform.transcript import Line
from raftline_course.conform.verdicts import Failed

SECTION = "Raft §7, Figure 13"
VALUE_BYTES = 1 << 20
WRITES_MAX = 24  # values of a mebibyte, after which any node must have compacted its log
PIECE_BYTES = 200_000
PAUSE_S = 0.02  # between two requests to a node with a busy disk


def compacted(scene: Scene, installer: Installer) -> KitClient:
    """Make the node lead, and write until a follower without entries is sent a snapshot."""
    scene.start()
    # A follower may not lose an entry that it acknowledged, so s3 acknowledges none.
    scene.lead(deaf=["s3"])
    client = scene.client()
    write(scene, client, "set small yes", "SET response: small set to yes")
    for number in range(1, 4):
        write(scene, client, "incr n", f"INCR response: {number}")
    for number in range(WRITES_MAX):
        value = chr(ord("a") + number) * (VALUE_BYTES - 100)
        write(scene, client, f"set big {value}", "SET response: big set to ")
    start = scene.transcript.end
    scene.peers["s3"].rule = installer
    scene.await_line(
        lambda line: isinstance(line.message, InstallSnapshot),
        f"{WRITES_MAX} MiB were written, and an empty follower is sent no snapshot",
        start,
    )
    scene.await_line(lambda _: installer.is_whole, "the snapshot never comes to its end", start)
    return client


def write(scene: Scene, client: KitClient, request: str, begins: str) -> None:
    """Send a request to the node, which leads. If it no longer leads, the check is repeated."""
    does = client.ask(request)
    if outcome_of(does) in (RequestOutcome.UNKNOWN, RequestOutcome.NO_LEADER):
        scene.transcript.disturb()
    scene.expect(does.startswith(begins), f"{request[:20]!r} is answered {does[:99]!r}")


@dataclass(frozen=True)
class Sent:
    """A snapshot that the kit sends as the leader s2 in a term."""

    snapshot: Snapshot
    data: bytes
    term: int

    @property
    def end(self) -> tuple[int, int]:
        """Index and term of its last entry."""
        return self.snapshot.index, self.snapshot.term

    def piece(self, offset: int, size: int, round_: int) -> str:
        """Return the line of a piece."""
        text = self.data[offset : offset + size].decode("utf-8", "surrogateescape")
        at = self.snapshot
        return (
            f"InstallSnapshot {self.term}-{at.index}-{at.term} offset {offset} of {at.size} "
            f"crc32 {at.crc:08x} round {round_} data {json.dumps(text)}"
        )


def taken(scene: Scene) -> Sent:
    """Make the node take a snapshot, and start it again, empty and led by s2."""
    installer = Installer()
    compacted(scene, installer)
    snapshot = installer.snapshot
    assert snapshot is not None
    scene.kill()
    scene.node.forget()
    scene.all_do(silent)
    scene.transcript.act("s1 starts again with an empty folder")
    scene.node.start()
    scene.show_no_history()
    term = snapshot.term + 3
    scene.be_led("s2", term)
    return Sent(snapshot, installer.data, term)


def send(scene: Scene, sent: Sent, offset: int, size: int = PIECE_BYTES) -> Line:
    """Send one piece; return the answer to it, or to the heartbeat after the last one."""
    scene.round += 1
    text = sent.piece(offset, size, scene.round)
    if offset + size < sent.snapshot.size:
        return scene.call("s2", text, scene.round)
    # The last piece may have no separate answer: the answer to the heartbeat shows it.
    scene.peers["s2"].wire_to(scene.node.port).say(f"s2@{text}")
    return scene.send_append("s2", sent.term, sent.end, commit=sent.end[0])


def send_all(scene: Scene, sent: Sent) -> None:
    """Send all of it, piece by piece; fail unless the node accepts it."""
    offset = 0
    while offset + PIECE_BYTES < sent.snapshot.size:
        offset = held_after(send(scene, sent, offset), offset + PIECE_BYTES)
    whole(scene, send(scene, sent, offset), sent)


def held_after(line: Line, should: int) -> int:
    """Return how much the node holds, which must be this much."""
    answer = line.message
    if not isinstance(answer, InstallSnapshotReply) or answer.offset != should:
        raise Failed(f"a piece is answered {line.text[:99]!r}, not: GiveSnapshotAfterByte {should}")
    return answer.offset


def whole(scene: Scene, line: Line, sent: Sent) -> None:
    """Wait until the node answers that it has installed it: its disk may take a while."""
    end_s = time.monotonic() + scene.patience_s
    while time.monotonic() < end_s:
        if isinstance(line.message, AppendAccepted) and line.message.index >= sent.end[0]:
            return
        time.sleep(PAUSE_S)
        line = scene.send_append("s2", sent.term, sent.end, commit=sent.end[0])
    raise Failed(f"the whole snapshot was sent, and the answer is {line.text[:99]!r}")


def holds_all(scene: Scene, sent: Sent) -> None:
    """Make the node lead, and read all the keys of the snapshot."""
    for peer in scene.peers.values():
        peer.rule = holder(sent)
    scene.await_leader(scene.let_stand("s2", sent.term))
    client = scene.client()
    client.gets("get small", "GET response: yes")
    client.gets("incr n", "INCR response: 4")


def holder(sent: Sent) -> KitFollower:
    """Return a follower that holds the snapshot and nothing after it."""
    return KitFollower([(sent.end[1], "")] * sent.end[0])


@check(
    7,
    "snapshot-sent",
    "A follower that lacks compacted entries is sent the snapshot, whole.",
    SECTION,
)
def sent_whole(scene: Scene) -> None:
    installer = Installer()
    client = compacted(scene, installer)
    snapshot = installer.snapshot
    assert snapshot is not None
    scene.expect(
        zlib.crc32(installer.data) == snapshot.crc, "the bytes have another CRC-32 than announced"
    )
    client.gets("set last 1", "SET response: last set to 1")


@check(
    7, "pieces-again", "A piece that the follower lost is sent again, from where it says.", SECTION
)
def pieces_again(scene: Scene) -> None:
    installer = Installer(loses=2)
    compacted(scene, installer)
    snapshot = installer.snapshot
    assert snapshot is not None
    scene.expect(zlib.crc32(installer.data) == snapshot.crc, "the bytes do not fit together")


@check(7, "entries-after", "After the snapshot the log goes on.", SECTION)
def entries_after(scene: Scene) -> None:
    installer = Installer()
    client = compacted(scene, installer)
    snapshot = installer.snapshot
    assert snapshot is not None
    mark = scene.transcript.end
    client.gets("set last 1", "SET response: last set to 1")
    scene.await_line(lambda _: bool(installer.entries_after), "no entry is sent after it", mark)
    scene.expect(
        installer.entries_after[0] == snapshot.index + 1,
        f"after entry {snapshot.index} comes entry {installer.entries_after[0]}",
    )


@check(
    7,
    "compacted-kept",
    "With a compacted log all of the state is there after kill -9.",
    SECTION,
    size=1,
)
def kept(scene: Scene) -> None:
    client = served(scene)
    client.gets("set small yes", "SET response: small set to yes")
    for number in range(WRITES_MAX):
        client.gets("incr n", f"INCR response: {number + 1}")
        value = chr(ord("a") + number) * (VALUE_BYTES - 100)
        client.gets(f"set big {value}", f"SET response: big set to {value}")
    for _ in range(2):
        scene.restart()
        client = served(scene, started=True)
        client.gets("get small", "GET response: yes")
        client.gets("get n", f"GET response: {WRITES_MAX}")
        client.gets("get big", f"GET response: {value}")
    size = sum(path.stat().st_size for path in scene.node.folder.rglob("*") if path.is_file())
    scene.expect(
        size < (WRITES_MAX - 2) * VALUE_BYTES,
        f"one value was overwritten {WRITES_MAX} times, and the folder has {size:,} bytes",
    )


@check(7, "installed", "A follower takes a snapshot in pieces, and what comes after it.", SECTION)
def installed(scene: Scene) -> None:
    sent = taken(scene)
    send_all(scene, sent)
    holds_all(scene, sent)


@check(7, "installed-kept", "A snapshot that was acknowledged survives kill -9.", SECTION)
def installed_kept(scene: Scene) -> None:
    sent = taken(scene)
    send_all(scene, sent)
    scene.restart()
    scene.append("s2", sent.term, sent.end, commit=sent.end[0])
    holds_all(scene, sent)


@check(
    7,
    "piece-missing",
    "A piece that does not fit is not taken: the node says what it holds.",
    SECTION,
)
def piece_missing(scene: Scene) -> None:
    sent = taken(scene)
    held_after(send(scene, sent, 0), PIECE_BYTES)
    held_after(send(scene, sent, 2 * PIECE_BYTES), PIECE_BYTES)
    held_after(send(scene, sent, 0), PIECE_BYTES)
    offset = PIECE_BYTES
    while offset + PIECE_BYTES < sent.snapshot.size:
        offset = held_after(send(scene, sent, offset), offset + PIECE_BYTES)
    whole(scene, send(scene, sent, offset), sent)


@check(
    7,
    "damaged",
    "A snapshot that was damaged on the way is not installed.",
    "protocol.md, Peers: crc32",
)
def damaged(scene: Scene) -> None:
    sent = taken(scene)
    middle = len(sent.data) // 2
    data = sent.data[:middle] + bytes([sent.data[middle] ^ 1]) + sent.data[middle + 1 :]
    bad = Sent(sent.snapshot, data, sent.term)
    offset = 0
    while offset + PIECE_BYTES < sent.snapshot.size:
        offset = held_after(send(scene, bad, offset), offset + PIECE_BYTES)
    line = send(scene, bad, offset)
    scene.expect(not isinstance(line.message, AppendAccepted), "a damaged snapshot is installed")
    end_s = time.monotonic() + scene.patience_s
    while time.monotonic() < end_s:  # the node may take a while to check all bytes
        answer = send(scene, sent, 0).message
        if not isinstance(answer, InstallSnapshotReply) or answer.offset < sent.snapshot.size:
            break
        time.sleep(PAUSE_S)
    send_all(scene, sent)


@check(
    7,
    "earlier-snapshot",
    "A snapshot of a leader of an earlier term is refused.",
    "Raft Figure 13, receiver 1",
)
def earlier_term(scene: Scene) -> None:
    sent = taken(scene)
    scene.append("s3", sent.term + 1, (0, 0))
    answer = send(scene, Sent(sent.snapshot, sent.data, sent.term), 0).message
    is_answer = isinstance(answer, AppendRejected | InstallSnapshotReply)
    scene.expect(
        is_answer and answer is not None and answer.term == sent.term + 1,
        f"a leader of term {sent.term} gets no answer with term {sent.term + 1}",
    )
