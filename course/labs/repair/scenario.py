"""The lab's scenarios with real nodes: `python3 course/labs/repair/scenario.py a`, b, c or bonus.

Each line that begins with `ok` is an expected outcome that occurred. The nodes run in a separate
folder, on free ports. Exit status: 0 all occurred, 1 one did not.
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
import re
from collections.abc import Callable

from labs.checking import end_with
from labs.elections.figures import entries_that_count
from labs.leftovers import LabFolder
from labs.repair.asking import LabError
from labs.repair.nodes import RepairCluster
from raftline.client import ClientError
from raftline_testing.nodes.cluster import NodeProcess
from raftline_testing.nodes.processes import NotAsExpected, eventually

UNEXPECTED = (LabError, AssertionError, NotAsExpected, ClientError)


def came(what: str, fact: object, seen: object = "") -> None:
    """Report that the expected outcome has occurred; fail if it has not."""
    if not fact:
        raise LabError(f"expected: {what}. Seen: {seen}")
    print(f"ok  {what}", flush=True)


def act(what: str) -> None:
    print(f"--- {what}", flush=True)


def log_of(node: NodeProcess) -> tuple[str, ...]:
    return tuple(entries_that_count(node))


def logs_are_equal(cluster: RepairCluster, *values: str) -> None:
    """Check that the logs of all three hold the same entries, with exactly these values of the
    client."""
    cluster.lab.wait_until_equal()
    # Applied entries may still be on their way to a slower disk.
    equal = eventually(lambda: len({*map(log_of, cluster.nodes)}) == 1, "equal logs")
    logs = cluster.values()
    held = [entry.partition(",")[2] for entry in logs["node1"]]
    came(f"all three logs are equal; values in them: {logs['node1']}", equal, logs)
    came(f"the values are {' '.join(values)}", held == list(values), held)


def scenario_a(cluster: RepairCluster) -> None:
    """An election, and everything goes well."""
    lab = cluster.lab
    act("three nodes start")
    cluster.start()
    leader = lab.leader()
    views = {name: lab.status(name) for name in lab.members}
    term = views[leader]["term"]
    came(f"{leader} leads term {term}", views[leader]["role"] == "leader")
    came(
        "the other two follow it in the same term",
        all(views[name]["leader"] == leader and views[name]["term"] == term for name in views),
        views,
    )
    votes = [line for node in cluster.nodes for line in node.said if "gives its vote to" in line]
    came(
        "each of the others gave one vote, or none, in a term", len(votes) == len(set(votes)), votes
    )
    act("the client submits 44, 77 and 66, each to another node")
    for value, name in zip(("44", "77", "66"), lab.members, strict=True):
        lab.submit(value, name)
    logs_are_equal(cluster, "44", "77", "66")


def scenario_b(cluster: RepairCluster) -> None:
    """The leader changes while nothing is left half replicated."""
    lab = cluster.lab
    cluster.start()
    lab.submit("44", "node1")
    lab.submit("77", "node2")
    lab.wait_until_equal()
    old = lab.leader()
    term = lab.status(old)["term"]
    act("the client types 1: the leader's heartbeats slow down")
    new = lab.restart_election()
    came(f"{new} leads instead of {old}", new != old)
    came(f"in a later term than {term}", lab.status(new)["term"] > term)
    follows = eventually(lambda: lab.status(old).get("role") == "follower", f"{old} follows")
    came(f"{old}, which missed its own heartbeats, follows", follows)
    act("the client types 2: 66 for all")
    lab.submit("66", old)
    logs_are_equal(cluster, "44", "77", "66")


def scenario_c(cluster: RepairCluster) -> None:
    """The leader crashes, its log is deleted, and the followers' logs are shorter."""
    lab = cluster.lab
    cluster.start()
    lab.submit("44", "node1")
    lab.submit("77", "node2")
    lab.wait_until_equal()
    act("1. both followers miss one entry: the client types 3, 66 is at the leader only")
    old = lab.leader()
    others = lab.followers()
    pending = lab.write_to_leader_only("66")
    lagging = {name: [v.partition(",")[2] for v in cluster.values()[name]] for name in others}
    came("the followers have 44 and 77", all(v == ["44", "77"] for v in lagging.values()), lagging)
    act(f"{old} crashes (kill -9), and its log file is deleted")
    cluster[old].kill()
    cluster[old].log.unlink()
    answer = pending.answer()
    came(f"its client is not told that 66 is written: {answer}", "SET response" not in answer)
    new = lab.leader(but=old)
    came(f"{new} leads; 66, on no other disk, is gone for good", new != old)
    act(f"{old} comes back, without a log")
    cluster[old].start()
    said = cluster[old].wait_for_line("[!]")
    came(f"it says so: {said}", "without a vote" in said, said)
    lab.wait_until_equal()
    logs_are_equal(cluster, "44", "77")
    request = f"Received from {old} : GiveEntriesAfterIndex 0"
    heard = [line for node in cluster.nodes for line in node.said if request in line]
    came(f"the leader stepped back for it: {heard[:1]}", heard)
    one_follower_misses_an_entry(cluster)
    act("3. a follower's whole log is deleted under it: the client types 4")
    lab.delete_log(lab.followers()[0])
    logs_are_equal(cluster, "44", "77", "88")


def one_follower_misses_an_entry(cluster: RepairCluster) -> None:
    """A node that lacks an acknowledged entry is not elected; the leader repairs its log."""
    lab = cluster.lab
    leader = lab.leader()
    lagging, whole = lab.followers()
    act(f"2. {lagging} alone misses one entry, 88; then {leader} crashes")
    for name in (leader, whole):
        lab.order(lagging, f"PARTITION {name}")
    lab.submit("88", whole)
    cluster[leader].kill()
    lab.order(lagging, "HEAL")
    new = lab.leader(but=leader)
    came(f"{whole} is elected, not {lagging}, whose log is shorter", new == whole, new)
    lab.wait_until_equal()
    came(
        f"{lagging} has 88 now",
        any(entry.endswith(",88") for entry in cluster.values()[lagging]),
        cluster.values(),
    )
    cluster[leader].start()
    logs_are_equal(cluster, "44", "77", "88")


def scenario_bonus(cluster: RepairCluster) -> None:
    """A crashed node comes back, more than once; a stale one is denied its votes, and why."""
    lab = cluster.lab
    cluster.start()
    lab.submit("1", "node1")
    lab.restart_election()
    for round_number in (2, 3):
        act(f"node2 crashes, {round_number} and {round_number}0 are written, it comes back")
        cluster["node2"].kill()
        lab.submit(str(round_number), "node1")
        lab.submit(f"{round_number}0", "node3")
        cluster["node2"].start()
        lab.wait_until_equal()
    logs_are_equal(cluster, "1", "2", "20", "3", "30")
    act("node2 crashes, 4 is written; then all are stopped, and start again. node2 stands first")
    cluster["node2"].kill()
    lab.submit("4", "node1")
    lab.wait_until_equal()
    cluster.kill()
    three_reasons(cluster)
    act("all are stopped, and start again at their usual pace")
    cluster.kill()
    cluster.start()
    leader = lab.leader()
    came(f"{leader} is elected, not node2, which lacks 4", leader != "node2")
    logs_are_equal(cluster, "1", "2", "20", "3", "30", "4")
    act("node2 crashes, its log is deleted, it comes back")
    cluster["node2"].kill()
    cluster["node2"].log.unlink()
    cluster["node2"].start()
    line = cluster["node2"].wait_for_line("without a vote")
    came(f"without a log it doesn't vote, nor stand: {line}", line)
    lab.wait_until_equal()
    logs_are_equal(cluster, "1", "2", "20", "3", "30", "4")


def three_reasons(cluster: RepairCluster) -> None:
    """node1 and node3 wait for at least 10 s before they stand; node2 stands within one."""
    lab = cluster.lab
    for name in ("node1", "node3"):
        cluster[name].start("--pace", "human")
    term = lab.status("node1")["term"]
    reply = cluster["node1"].ask_as_peer(f"node2@RequestVote {term - 1}-0-0")
    came(f"reason 1, a term that is over: {reply}", "is over, I am in term" in reply, reply)
    for name in ("node1", "node3"):
        reply = cluster[name].ask_as_peer(f"node2@RequestVote {term + 1}-0-0")
        came(
            f"reason 2, an empty log, at {name}: {reply}", "it ends at 0 of term 0" in reply, reply
        )
    cluster["node2"].start()
    lab.order("node2", "TIMEOUT")
    for name in ("node1", "node3"):
        line = denial_of_node2(cluster[name])
        came(f"reason 2, a log that is not up to date: {line}", line)
    cluster["node2"].kill()
    term = max(lab.status(name)["term"] for name in ("node1", "node3")) + 1
    last = lab.status("node1")["last_index"]
    # Played by hand, at node3: the first candidate gets the vote of that term, the second does not.
    question = f"RequestVote {term}-{last + 1}-{term - 1}"
    cluster["node3"].ask_as_peer(f"node2@{question}")
    reply = cluster["node3"].ask_as_peer(f"node1@{question}")
    came(f"reason 3, the vote is given: {reply}", "already voted for node2" in reply, reply)


def denial_of_node2(node: NodeProcess) -> str:
    """Wait until a node denies the real node2 its vote because of its log, and return its line."""
    begin = rf"\[\*\] {node.name} denies its (Pre)?[Vv]ote to node2 for term \d+: "
    denial = re.compile(begin + r"log not up to date: it ends at [1-9].*")
    return eventually(lambda: next(filter(denial.match, node.said), ""), "a denial")


SCENARIOS: dict[str, Callable[[RepairCluster], None]] = {
    "a": scenario_a, "b": scenario_b, "c": scenario_c, "bonus": scenario_bonus,
}  # fmt: skip


def play(name: str) -> None:
    """Play one scenario.

    Raises:
        LabError, AssertionError, NotAsExpected, ClientError: the outcome was not as expected.
    """
    with LabFolder() as scene, RepairCluster(scene.folder) as cluster:
        SCENARIOS[name](cluster)


def play_settled(name: str) -> None:
    """Play one scenario; if the outcome differs, repeat it at most twice: on a busy machine the
    leadership may move during a scenario."""
    for _ in range(2):
        try:
            play(name)
        except UNEXPECTED as problem:
            print(f"(once more: {' '.join(str(problem).split())[:200]})", file=sys.stderr)
        else:
            return
    play(name)


def main() -> int:
    """Play the requested scenarios; return the exit status."""
    parser = argparse.ArgumentParser(description="The repair lab's scenarios.")
    parser.add_argument("scenario", choices=SCENARIOS)
    name = parser.parse_args().scenario
    print(f"===== {name}: {SCENARIOS[name].__doc__}")
    try:
        play(name)
    except UNEXPECTED as problem:
        print(f"NOT AS EXPECTED  {problem}")
        return 1
    print("All came as expected.")
    return 0


if __name__ == "__main__":
    end_with(main)
