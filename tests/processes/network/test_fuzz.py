"""Random lines on the port that clients and peers share: nothing falls, nothing diverges."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.runner.at_night import at_night

LINES = 1500

CLIENT_LINES = [
    b"client4@set b 5", b"client4#17@get b", b"show", b"show k after k1", b"delete b", b"status",
    b"client4@help", b"set two\\swords a\\nb", b"get \\xff", b"set poem two words, even  three",
]  # fmt: skip
PEER_LINES = [
    b"PreVote 2-1-1", b"RequestVote 3-1-1", b"RequestVote 1-0-0",
    b"AppendEntries 1-0-0-[] commit 0 round 1",
    b'AppendEntries 2-1-1-[{"index": 2, "term": 2, "command": "set b 5"}] commit 1 round 3',
    b'AppendEntries 1-0-0-[{"index": 1, "term": 1, "command": "noop"}] commit 1 round 3 vote again',
    b"I am up to date term 1 index 1 round 1", b"Not this time term 9 behind: because",
    b"I am up to date term 1 index 9 round 9 without vote", b"Count on me term 2 prevote",
    b"GiveEntriesAfterIndex 0 term 1 round 1", b"Count on me term 1",
]  # fmt: skip
PIECES = [b"@", b"#", b"-", b"[", b"]", b"{", b'"', b" ", b"\\", b"\x00", b"\xff\xfd\x06", b"\r",
          b"9223372036854775807", b"-1", b"1e9", b"\xc3\xa9", b"\xed\xa0\x80", b"term", b"round 7",
          b"null", b"\t", b"1" * 40]  # fmt: skip


def mutated(line: bytes, chance: random.Random) -> bytes:
    """Return `line` with a few things deleted, doubled, exchanged or put in."""
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(line) + 1)
        end = min(len(line), place + chance.randrange(6))
        kind = chance.randrange(4)
        if kind == 0:
            line = line[:place] + line[end:]
        elif kind == 1:
            line = line[:place] + line[place:end] * 2 + line[end:]
        elif kind == 2:
            line = line[:place] + chance.choice(PIECES) + line[place:]
        else:
            line = line[:place] + bytes([chance.randrange(256)]) + line[place + 1 :]
    return line.replace(b"\n", b" ")


def client_line(_: NodeProcess, chance: random.Random) -> bytes:
    return mutated(chance.choice(CLIENT_LINES), chance)


def any_bytes(_: NodeProcess, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(60)).replace(b"\n", b"")


def peer_line(target: NodeProcess, chance: random.Random) -> bytes:
    """Return a line in the name of a peer of `target`, or of somebody who isn't one."""
    names = [name for name in ("s1", "s2", "s3") if name != target.name]
    name = chance.choice([*names, *names, target.name, "s9"]).encode()
    return name + b"@" + mutated(chance.choice(PEER_LINES), chance)


def forged_line(target: NodeProcess, chance: random.Random) -> bytes:
    """Return a well-formed question of a peer with numbers that make little sense."""

    def number() -> int:
        return chance.choice([0, 1, 1, 2, 3, 4, 6, 9, 10**6, 2**62])

    name = chance.choice([name for name in ("s1", "s2", "s3") if name != target.name])
    kind = chance.choice(["PreVote", "RequestVote", "AppendEntries", "AppendEntries"])
    text = f"{kind} {number()}-{number()}-{number()}"
    if kind == "AppendEntries":
        first, term = number() + 1, number()
        entries = ", ".join(
            f'{{"index": {first + place}, "term": {term}, "command": "set forged {place}"}}'
            for place in range(chance.randrange(4))
        )
        text += f"-[{entries}] commit {number()} round {number()}"
    return f"{name}@{text}".encode()


def shower(
    nodes: Sequence[NodeProcess], pick: Callable[[NodeProcess, random.Random], bytes], seed: int
) -> int:
    """Send lines in bursts to all nodes; return how many replies came back."""
    chance = random.Random(seed)
    replies = 0
    for _ in range(LINES // 10):
        node = chance.choice(nodes)
        lines = [pick(node, chance) for _ in range(10)]
        with contextlib.suppress(OSError), node.connect() as conversation:
            conversation.socket.settimeout(10)
            conversation.send(*lines)
            conversation.send(b"client4#98765432123456789@help")
            while reply := conversation.read_line():
                replies += 1
                assert reply.startswith(node.name)
                if reply.startswith(f"{node.name}#98765432123456789@"):
                    break
    return replies


def committed(node: NodeProcess, up_to: int) -> list[str]:
    """Return the lines of the log's entries up to an index, cuts carried out."""
    entries: list[str] = []
    for line in node.log.read_text().splitlines()[1:]:
        if line.startswith("# cut after "):
            del entries[int(line.split(" ")[3]) :]
        elif not line.startswith("#"):
            entries.append(line)
    return entries[:up_to]


def assert_sound(cluster: Cluster) -> None:
    """Assert that all nodes live, serve, and hold the same log; also after a restart."""
    assert all(node.is_running for node in cluster.nodes), [n.transcript() for n in cluster.nodes]
    assert cluster.ask("client1@set after 1") == "SET response: after set to 1"
    up_to = cluster.wait_until_on_all_disks()
    logs = [committed(node, up_to) for node in cluster.nodes]
    assert len(logs[0]) == up_to
    assert logs[0] == logs[1] == logs[2]
    cluster.kill()
    cluster.start()
    assert cluster.ask("client1@get after") == "GET response: 1"


@pytest.mark.parametrize("seed", [1, *at_night(2)])
@pytest.mark.parametrize("pick", [client_line, any_bytes])
def test_no_line_of_a_client_brings_a_node_down(
    fast: Cluster, pick: Callable[[NodeProcess, random.Random], bytes], seed: int
) -> None:
    fast.leader()
    assert shower(fast.nodes, pick, seed) > LINES // 20
    assert_sound(fast)


@pytest.mark.parametrize("seed", [1, *at_night(2, 3)])
@pytest.mark.parametrize("pick", [peer_line, forged_line])
def test_no_line_in_a_peer_s_name_brings_a_node_down(
    fast: Cluster, pick: Callable[[NodeProcess, random.Random], bytes], seed: int
) -> None:
    fast.leader()
    for number in range(5):
        fast.ask(f"client1@set k{number} {number}")
    assert shower(fast.nodes, pick, seed) > LINES // 20
    assert all(node.is_running for node in fast.nodes), [n.transcript() for n in fast.nodes]
    assert fast.ask("client1@set after 1") == "SET response: after set to 1"
    for number in range(5):
        assert fast.ask(f"client1@get k{number}") == f"GET response: {number}"


@pytest.mark.parametrize("seed", [4, *at_night(5)])
@pytest.mark.parametrize("pick", [peer_line, forged_line])
def test_no_line_in_a_peer_name_brings_down_a_lone_node(
    tmp_path: Path, pick: Callable[[NodeProcess, random.Random], bytes], seed: int
) -> None:
    """No line under a peer's name stops a node that runs alone."""
    with Cluster(tmp_path, 3, "--pace", "human") as cluster:
        node = cluster["s1"].start()
        assert shower([node], pick, seed) > LINES // 20
        assert node.is_running, node.transcript()
        before = node.status()
        node.kill()
        node.start()
        assert node.status()["term"] >= before["term"]
        assert node.status()["last_index"] == before["last_index"]
