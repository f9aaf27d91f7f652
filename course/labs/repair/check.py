"""Prove every row of the repair lab, 003-01 to 003-16: `python3 course/labs/repair/check.py`."""

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

import contextlib
import re
import signal
import threading
from xmlrpc.client import ServerProxy

from labs.checking import Rows, end_with, expect
from labs.elections.figures import entries_in
from labs.leftovers import LabFolder
from labs.repair.actions import RepairLab
from labs.repair.gateway import Gateway, calls_of
from labs.repair.nodes import RepairCluster
from labs.repair.scenario import SCENARIOS, play_settled
from labs.repair.terminals import as_in_the_sheet, client, terminal
from raftline.common.config import FILE_NAME
from raftline_testing.nodes.processes import Process, eventually, free_ports
from raftline_testing.transcripts.player import perform

HERE = Path(__file__).resolve().parent
ROWS = Rows(*(f"003-{number:02}" for number in range(1, 17)))
row = ROWS.row


def check_by_hand() -> None:
    """Check three nodes and the menu, as in the sheet."""
    with as_in_the_sheet() as (nodes, file, lab):
        with row("003-03", what="log file not found, listening on, and log lines TERM,VALUE"):
            for name, node in nodes.items():
                node.wait_for_line(f"{name} log file not found. Starting with an empty log.")
                node.wait_for_line(f"{name} is listening on localhost:{lab.members[name].port}")
        with row("003-01", what="node.py NAME three times, client.py; a file of addresses"):
            leader = lab.leader()
            screen = client(file, "5\nexit\n")
            expect(screen, f"  {leader:6} leader ")
        with row("003-04", what="timeout, requesting votes, voted for, is now the leader"):
            for part in (
                "timeout, starting election.",
                "is requesting votes for term ",
                "is now the leader.",
            ):
                nodes[leader].wait_for_line(f"{leader} {part}")
            says(nodes, rf"Received vote request from {leader} for term \d+ with last_log_term 0")
            says(nodes, rf"node\d voted for {leader} for term \d+")
            nodes[leader].wait_for_line(f"time out set for {leader} to ")
            nodes[leader].wait_for_line("election timeout ")
        check_menu(nodes, file, lab)
        check_deleted(nodes, file, lab)
        with row("003-16", what="Ctrl-C: server is shutting down, has shut down cleanly"):
            for name, node in nodes.items():
                status = node.terminate(signal.SIGINT)
                node.wait_for_line(f"{name} server is shutting down.")
                node.wait_for_line(f"{name} has shut down cleanly.")
                assert status == 0, status


def check_menu(nodes: dict[str, Process], file: Path, lab: RepairLab) -> None:
    """Check each choice of the menu, and the lines on the nodes' consoles."""
    with row("003-07", "003-11", what="menu: 2 writes values one at a time, any node may be asked"):
        screen = client(file, "2\n44\n77\n66\n\nexit\n")
        expect(screen, 'To restart election enter "1"', '(or "exit" to quit)')
        for value, name in zip(("44", "77", "66"), lab.members, strict=True):
            expect(screen, f"Success: {value} was submitted to {name}; ")
    with row("003-09", "003-03", what="appended, updated, committed, applied, in its words"):
        for part in (
            r"node\d appended log entry: \d+,77",
            r"node\d: Appended entry at index \d+: \d+,77",
            r"Successfully updated node\d with 1 entries\.",
            r"Leader node\d committed entry at index \d+",
            r"node\d: Updated commit index from \d+ to \d+",
            r"node\d applying entry \d+ \(term \d+\): 77",
        ):
            says(nodes, part)
    with row("003-08", what="menu: 1 slows the leader's heartbeats until another leads"):
        screen = client(file, "1\nexit\n")
        new = named(r"New leader found at .* \((\w+)\)", screen)
        where = named(r"interval temporarily set to 20\.0 seconds on (\S+)", screen)
        expect(screen, f"Heartbeat interval reset to original value of 0.1 seconds on {where}")
        assert where != lab.where(new), screen
        old = next(name for name in lab.members if lab.where(name) == where)
        nodes[old].wait_for_line(f"{old} heartbeat interval set to 20.0 seconds.")
    with row("003-06", "003-14", what="who missed its own heartbeats steps down"):
        nodes[old].wait_for_line(f"{old} switching to follower due to received heartbeat.")
    with row("003-10", what="menu: 3 writes to the leader only; then it replicates: committed"):
        screen = client(file, "3\n88\n1\nexit\n")
        leader = named(r"simulation enabled on (\w+)\.", screen)
        for name in sorted({*lab.members} - {leader}):
            expect(screen, f"Replication to {name} skipped due to simulation.")
            nodes[leader].wait_for_line(f"Replication to {name} skipped due to simulation.")
        expect(screen, "hears: SET response: value set to 88", "last value now: GET response: 88")
        nodes[leader].wait_for_line(f"Replication failure simulation enabled on {leader}.")
        nodes[leader].wait_for_line(f"Replication failure simulation disabled on {leader}.")
    with row("003-10", what="menu: 3, another is elected first: overwritten, not told done"):
        screen = client(file, "3\n99\n2\nexit\n")
        expect(screen, "hears: Sorry, outcome unknown", "last value now: GET response: 88")
        leader = named(r"simulation enabled on (\w+)\.", screen)
        says(nodes, rf"{leader}: Truncated conflicting entries from index \d+\.")
    with row("003-12", "003-07", what="menu: 4 deletes a follower's log; repaired, logs equal"):
        screen = client(file, f"4\n{number_of(lab.followers()[0])}\nexit\n")
        follower = named(r"(\w+)\.log is put aside as \w+\.log\.aside-1;", screen)
        expect(screen, "votes again")
        says(nodes, rf"{follower}: Missing entry at prev_log_index \d+\. Leader will backtrack\.")
        says(nodes, rf"Backtracking nextIndex for {follower} to 1 due to mismatch\.")
        nodes[follower].wait_for_line(f"{follower}: Log file not found. Resetting to empty log.")
        before = (file.parent / f"{follower}.log.aside-1").read_text()
        for value in ("44", "77", "66", "88"):
            expect(before, f"set value {value}\n")
            log = file.parent / f"{follower}.log"
            eventually(lambda v=value, log=log: f"set value {v}\n" in log.read_text(), "its log")


def number_of(name: str) -> str:
    """Return the number that the menu gives a node."""
    return name.removeprefix("node")


def check_deleted(nodes: dict[str, Process], file: Path, lab: RepairLab) -> None:
    """Check a log that is deleted under a running node."""
    with row("003-15", what="a log deleted under a running node is noticed, and whole again"):
        follower = lab.followers()[0]
        log, count = file.parent / f"{follower}.log", len(nodes[follower].lines)
        whole = entries_in(log)
        log.unlink()
        nodes[follower].wait_for_line(f"{follower}.log was deleted while it ran")
        says(nodes, rf"\[!\] {follower}.log ends at entry 0, .* rejoins without a vote")
        eventually(
            lambda: any("votes again" in line for line in nodes[follower].lines[count:]), "a vote"
        )
        lab.wait_until_equal()  # applied entries may still be on their way to the disk
        eventually(lambda: entries_in(log)[: len(whole)] == whole, "all of it in the log again")


def says(nodes: dict[str, Process], pattern: str) -> None:
    """Wait until a line on one of the consoles has this beginning."""

    def said() -> bool:
        return any(re.match(pattern, line) for node in nodes.values() for line in node.lines)

    eventually(said, pattern)


def named(pattern: str, text: str) -> str:
    """Return the text of the pattern's group in the output."""
    match = re.search(pattern, text)
    if match is None:
        raise AssertionError(f"{pattern!r} is not in {text[-600:]!r}")
    return match[1]


def check_door() -> None:
    """Check the nine calls of the course's program, over XML-RPC."""
    with LabFolder() as scene, RepairCluster(scene.folder) as cluster:
        cluster.lab.say = lambda _: None
        # a node that has voted isn't a newcomer, which must catch up first
        for name in ("node2", "node3"):
            cluster[name].start("--new")
            assert cluster.lab.vote(name, "node1", 1, 0, 0) is True
            cluster[name].kill()
        cluster["node1"].start("--new")
        server = Gateway(calls_of(cluster.lab, "node1"), 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        door = ServerProxy(f"http://localhost:{server.server_address[1]}/", allow_none=True)
        with row("003-02", what="XML-RPC: vote, heartbeat, append entries, played to one node"):
            assert door.vote("node2", 7, 0, -1) is True
            assert door.vote("node3", 7, 0, -1) is False  # the vote of term 7 is given
            assert door.receive_heartbeat(8, "node3") is True
            assert door.receive_heartbeat(6, "node2") is False  # a lower term
            assert door.receive_append_entries(8, -1, 0, ["8,44", "8,77"], 0, "node3") is True
            assert door.receive_append_entries(8, 5, 8, ["8,66"], 0, "node3") is False  # a gap
            assert cluster.values()["node1"] == ["8,44", "8,77"], cluster.values()
            assert door.is_leader() is False
        with row("003-06", what="a heartbeat of a lower term is ignored, and said"):
            cluster["node1"].wait_for_line("ignored AppendEntries from node2: term 6 < 8")
        with row("003-02", what="XML-RPC: submit_value, is_leader, intervals, simulation, delete"):
            cluster["node2"].start()
            cluster["node3"].start()
            cluster.lab.leader()
            assert str(door.submit_value(66)).startswith("Success: ")
            eventually(lambda: "66" in str(cluster.values()["node1"]), "66 in the log of node1")
            eventually(lambda: door.is_leader() is (cluster.lab.leader() == "node1"), "who leads")
            assert door.get_heartbeat_interval() == 0.1
            door.set_heartbeat_interval(20.0)
            assert door.get_heartbeat_interval() == 20.0
            door.set_heartbeat_interval(0.1)
            door.set_replication_simulation(True)
            assert "SKIP-REPLICATION on" in cluster.lab.status("node1")["faults"]
            door.set_replication_simulation(False)
            assert cluster.lab.status("node1")["faults"] == []
            assert "node1.log is put aside" in str(door.delete_log_file())
            cluster.lab.wait_until_equal()
        server.shutdown()
        server.server_close()


def check_cloud() -> None:
    """Check a node that all can reach, but that obeys only allowed controllers."""
    with row("003-01", what="--cloud listens on 0.0.0.0"), LabFolder() as scene:
        file, port = scene.folder / FILE_NAME, next(free_ports)
        file.write_text(f"node1 127.0.0.9 {port}\n")
        options = ("--config", str(file), "--cloud", "--course-words")
        node = terminal("node1", *options)
        try:
            node.wait_for_line(f"node1 is listening on 0.0.0.0:{port}")
            expect(client(file, "5\nexit\n"), "  node1  ")  # by an address that is not localhost
        finally:
            node.close()


def main() -> int:
    check_by_hand()
    check_door()
    check_cloud()
    proofs = {"a": ["003-12"], "b": ["003-12", "003-08", "003-14"], "c": ["003-12", "003-15"]}
    for name in SCENARIOS:
        names = proofs.get(name, ["003-05", "003-13"])
        with row(*names, what=f"scenario {name}, real nodes"), contextlib.redirect_stdout(None):
            play_settled(name)
        with row(*names, what=f"scenario {name}, the transcript happens as it is written"):
            written = (HERE / f"scenario-{name}.txt").read_text(encoding="utf-8")
            assert perform(written) == written, "see tests/transcripts for the difference"
    return ROWS.finish()


if __name__ == "__main__":
    end_with(main)
