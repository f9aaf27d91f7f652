"""Reproduce each figure of the report with real nodes: `figures.py 1` … `figures.py 7`, and
`figures.py leaders` for the one that its author left to the future.

The nodes run in a separate folder, on free ports; nothing is left of them. Exit status: 0 the
figure is as expected, 1 it isn't.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This also runs in a clone that isn't installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "testing"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":  # first, as the rest takes a while to load
    from raftline.common.process.quiet_exit import end_quietly

    end_quietly()

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from labs.checking import end_with, expect
from labs.elections.report import FIGURES as REPORTED
from labs.elections.report import differs_from_report
from labs.elections.terminal import Screen
from labs.leftovers import LabFolder
from raftline.logmanager import LogManager
from raftline.net.line_connection import LineConnection
from raftline.raft.effects import Effects
from raftline.storage.folder import Folder
from raftline.storage.log_lines import CUT_PREFIX
from raftline_testing.nodes.cluster import Cluster, NodeProcess
from raftline_testing.nodes.processes import NotAsExpected, eventually
from raftline_testing.nodes.proxy import LinkedCluster

Shown = dict[str, list[str]]  # the lines of each screen, by its title

# The log of the report's figures 2, 3 and 7, as `index term command`.
FIGURE_LOG = (
    "1 2 set b 30", "2 3 get b", "3 3 set b 5", "4 3 get b", "5 4 get ana", "6 5 get ana",
    "7 5 set d 8", "8 5 get d", "9 5 get d", "10 6 set e 1", "11 6 get e",
)  # fmt: skip


@contextmanager
def nodes(count: int, *options: str, logs: dict[str, int] | None = None) -> Iterator[Cluster]:
    """Yield nodes that aren't started, with the course's console; `logs` says how much of the
    figures' log each one has. Such a log has no identity, nor has what a leader adds to it."""
    options = ("--course-console", *(("--floor",) if logs else ()), *options)
    with LabFolder() as scene, Cluster(scene.folder, count, *options) as cluster:
        for name, length in (logs or {}).items():
            cluster[name].log.write_text("".join(f"{line}\n" for line in FIGURE_LOG[:length]))
        yield cluster


def figure_1() -> Shown:
    """Two clients at once; what the first sets, the second gets."""
    with nodes(3) as cluster:
        cluster.start()
        cluster.ask("client9@set ana 4")
        port = cluster.leader().port
        one, two = Screen(port, 1, "--follow"), Screen(port, 2, "--follow")
        expect(one.type("get ana"), ">> GET response:\n4")
        expect(one.type("set d 8"), ">> SET response:\nd set to 8")
        for client in (two, one):
            expect(client.type("get d"), ">> GET response:\n8")
        return {"client 1": one.leave(), "client 2": two.leave()}


def figure_2() -> Shown:
    """A follower that has one entry of nine asks for the others."""
    # s3 stays down: with two of three up, s1, whose log is longer, must lead.
    with nodes(3, logs={"s1": 9, "s2": 1}) as cluster:
        leader, follower = cluster["s1"].start(), cluster["s2"].start()
        follower.wait_for_line("Last log: 10 6 noop")
        leader.wait_for_line("I am up to date term 6 index 10")
        eventually(lambda: "\n10 6 noop\n" in follower.log.read_text(), "all of it on the disk")
        text = [line for line in follower.log.read_text().splitlines() if line[0] != "#"]
        assert text[1:10] == list(FIGURE_LOG[:9]), text
        return {
            "s2, the follower": _between(follower.said, " : AppendEntries ", "Last log: 10 6 noop"),
            "s1, the leader": _lines_with(leader, "GiveEntries", "up to date", "I am Leader"),
            "s2.log": text,
        }


def figure_3() -> Shown:
    """A candidate becomes leader, by a true majority: two of four are none, three are."""
    # s3 also has an entry: a node without files can't know that it never voted, so it has no vote.
    with nodes(4, "--verbose", logs={"s1": 9, "s2": 1, "s3": 1}) as cluster:
        for node in cluster.nodes[:3]:
            _was_a_member(node, cluster)
        first = cluster["s1"].start()
        cluster["s2"].start()
        for _ in range(2):  # each is kept for two election timeouts: time enough to be elected
            reply = first.ask("client1@get d")
            assert reply == "s1@Sorry, I know of no leader. Try again.", reply
        first.wait_for_line("Count on me term 6 prevote")
        first.wait_for_line("s1 denies its PreVote to s2 for term 6: log not up to date")
        alone = list(first.said)
        assert not any("I am Leader" in line or "Starting election" in line for line in alone)
        cluster["s3"].start()
        first.wait_for_line("[*] I am Leader")
        table = first.wait_for_line("'s4': False}")
        assert table.count("True") >= 3, table
        first.wait_for_line("Received from s2 : I am up to date term 6 index 10")
        won = _between(first.said, "[*] Starting election...", "from s2 : I am up to date")
        return {
            "s1, with s2 up: two of four": [
                line for line in dict.fromkeys(alone) if "message" not in line
            ],
            "s1, once s3 is up: three of four": won,
        }


def figure_4() -> Shown:
    """The leader of four receives from a client, and sends to three at once."""
    with nodes(4, "--reads", "log") as cluster:
        cluster.start().wait_until_begun()
        leader = cluster.leader()
        cluster.wait_until_equal()
        cluster.wait_for_consoles()
        leader.ask("client@get ana")
        received = leader.wait_for_line("[*] Received from client : get ana")
        place = leader.said.index(received)
        eventually(lambda: leader.said[place:].count("Sending message") >= 3, "three messages")
        lines = [line for line in leader.said[place:] if "] Received from s" not in line]
        return {"the leader": lines[:5]}


def figure_5() -> Shown:
    """At a follower the client hears who leads."""
    with nodes(3) as cluster:
        cluster.start()
        leader, follower = cluster.leader(), cluster.followers()[0]
        cluster.wait_until_equal()
        screen = Screen(follower.port, 1)
        expect(screen.type("get ana"), f"Last leader I heard from is: {leader.name}")
        return {"a client at a follower": screen.leave()}


def figure_6() -> Shown:
    """At the leader it is served."""
    with nodes(3) as cluster:
        cluster.start()
        cluster.ask("client9@set d 8")
        screen = Screen(cluster.leader().port, 2, "--follow")
        expect(screen.type("get d"), "[*] Sending: get d\n[*] Received:\n\n>> GET response:\n8")
        return {"a client at the leader": screen.leave()}


def figure_7() -> Shown:
    """A follower with 9 entries of 11 catches up; then the leader fails, and a follower stands."""
    with nodes(3, "--verbose", logs={"s1": 11, "s2": 9, "s3": 9}) as cluster:
        first, follower, other = cluster.nodes
        for node in cluster.nodes:
            _was_a_member(node, cluster)
        # s2 starts while s1 leads: it hears a heartbeat first
        for node in (first, other, follower):
            node.start()
            node.wait_for_line(" 12 7 noop" if node is other else "[*]")
        follower.wait_for_line("Last log: 12 7 noop")
        cluster.wait_until_whole()
        first.kill()
        leader = cluster.leader()
        assert leader is not first
        assert leader.status()["term"] > 7
        assert cluster.ask("client1@get d") == "GET response: 8"
        stood = _between(leader.said, "Lost the connection to leader s1", "{'s1'")
        return {
            "s2, a follower": _between(follower.said, "AppendEntries 7-11-6-[]", "Last log: 12 7"),
            "a follower that stands": [line for line in stood if "Connection from" not in line],
        }


def _was_a_member(node: NodeProcess, cluster: Cluster) -> None:
    """Make a node's log count as entries of its cluster. A hand-written log is set aside if others
    have elected meanwhile: see "A node that begins with nothing" in docs/repair.md."""
    members = {one.name: f"localhost:{one.port}" for one in cluster.nodes}
    manager = LogManager(node.name, Folder(node.folder), members)
    manager.recover()
    manager.persist([Effects(recovered=True)])
    manager.close()


def leaders() -> Shown:
    """Two stale leaders, each with a client's write in its log, along with one that works."""
    # At this pace a leader without a quorum notices that only after seconds.
    with LabFolder() as scene, LinkedCluster(scene.folder, 5, "--pace", "class") as cluster:
        cluster.start()
        assert cluster.ask("client9@set a before") == "SET response: a set to before"
        stale: list[tuple[NodeProcess, LineConnection]] = []
        facts = []
        for _ in range(2):
            node = cluster.leader()
            _cut_off_with_a_write(cluster, node, stale)
            facts.append(f"{_fact(node)}; cut off with `set a from-{node.name}` in its log")
            scene.ends_with_us(node.pid)  # while it is paused, it can't do that itself
            node.pause()  # else it notices within a second that it has no quorum
        facts.append(_fact(cluster.leader()))
        replies = [f"of the working leader, `set a after`: {cluster.ask('client9@set a after')}"]
        assert replies[0].endswith(": SET response: a set to after"), replies
        for node, _ in stale:
            node.resume()
        for node, conversation in stale:
            reply = conversation.read_line()
            conversation.close()
            expect(reply, f"{node.name}@Sorry, outcome unknown")
            replies.append(f"of a stale one, `set a from-{node.name}`: {reply}")
        cluster.heal()
        cluster.wait_until_equal()
        replies.append(f"of everybody's leader, `get a`: {cluster.ask('client9@get a')}")
        assert replies[-1].endswith(": GET response: after"), replies
        cluster.wait_until_equal()
        eventually(lambda: len({tuple(entries_that_count(n)) for n in cluster.nodes}) == 1, "logs")
        logs = {node.name: entries_that_count(node) for node in cluster.nodes}
        assert not any("from-" in line for line in logs["s1"]), logs["s1"]
        return {
            "who leads": facts,
            "what the clients heard": replies,
            "the log of each, afterwards": logs["s1"],
        }


def _cut_off_with_a_write(
    cluster: LinkedCluster, node: NodeProcess, stale: list[tuple[NodeProcess, LineConnection]]
) -> None:
    """Hold all messages from and to the previous leaders from now on, and let a client write
    there."""
    conversation = node.connect()
    stale.append((node, conversation))
    cluster.block(set().union(*(cluster.around(each) for each, _ in stale)))
    conversation.send(f"client1@set a from-{node.name}")
    eventually(lambda: f" set a from-{node.name}\n" in node.log.read_text(), "its own entry")


def _fact(node: NodeProcess) -> str:
    status = node.status()
    assert status["role"] == "leader", status
    return f"{node.name} says of itself: {status['role']}, term {status['term']}"


def entries_that_count(node: NodeProcess) -> list[str]:
    """Return the entries of a node's log, without entries that a cut has voided."""
    return entries_in(node.log)


def entries_in(log: Path) -> list[str]:
    """Return the valid entries in a log file."""
    entries: dict[int, str] = {}
    for line in log.read_text().splitlines():
        if line.startswith(CUT_PREFIX.decode()):
            last = int(line[len(CUT_PREFIX) :])
            entries = {index: text for index, text in entries.items() if index <= last}
        elif line[0] != "#" and not line.startswith("0 0 base"):
            entries[int(line.partition(" ")[0])] = line
    return list(entries.values())


def _place(lines: list[str], part: str) -> int:
    return next(place for place, line in enumerate(lines) if part in line)


def _between(lines: list[str], first: str, last: str) -> list[str]:
    """Return the lines from the first that holds `first` to the next one that holds `last`."""
    rest = lines[_place(lines, first) :]
    return rest[: _place(rest, last) + 1]


def _lines_with(node: NodeProcess, *parts: str) -> list[str]:
    return [line for line in node.said if any(part in line for part in parts)]


FIGURES: dict[str, Callable[[], Shown]] = {
    "1": figure_1, "2": figure_2, "3": figure_3, "4": figure_4, "5": figure_5, "6": figure_6,
    "7": figure_7, "leaders": leaders,
}  # fmt: skip


def made(name: str) -> Shown:
    """Make a figure; if it fails, repeat it at most twice. On a busy machine the leadership may
    move during a figure, which then shows that."""
    for _ in range(2):
        try:
            return _compared(name)
        except (AssertionError, NotAsExpected) as problem:
            print(f"(once more: {' '.join(str(problem).split())[:200]})", flush=True)
    return _compared(name)


def _compared(name: str) -> Shown:
    shown = FIGURES[name]()
    if name in REPORTED:
        problem = differs_from_report(name, shown)
        assert not problem, problem
    return shown


def main() -> int:
    """Make the requested figures, and print the text of each screen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("figure", choices=[*FIGURES, "all"])
    options = parser.parse_args().figure
    for name in FIGURES if options == "all" else [options]:
        print(f"===== {name}: {FIGURES[name].__doc__}")
        try:
            shown = made(name)
        except (AssertionError, NotAsExpected) as problem:
            print(f"It did not come out: {problem}")
            return 1
        for title, lines in shown.items():
            print(f"\n--- {title}")
            print("\n".join(lines))
        print()
    return 0


if __name__ == "__main__":
    end_with(main)
