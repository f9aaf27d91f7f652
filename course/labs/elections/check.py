"""Prove every row of the report, 004-01 to 004-37, with real nodes and clients:
`python3 course/labs/elections/check.py`."""

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

import json
import re
import subprocess
import threading

from labs.checking import Rows, end_with, expect
from labs.elections.figures import Shown, entries_that_count, made, nodes
from labs.elections.terminal import CLIENT, Screen
from raftline.common.config import FAST, FILE_NAME
from raftline_testing.nodes.cluster import STARTED, Cluster
from raftline_testing.nodes.played import has_counted_down
from raftline_testing.nodes.processes import eventually

REPORT_LOG = ("0 1 set a 4", "1 2 set b 30", "2 3 get b", "3 3 set c 5", "4 3 delete b")
ROWS = Rows(*(f"004-{number:02}" for number in range(1, 38)))
row = ROWS.row


def text(shown: Shown) -> str:
    """Return the text on the screens of a figure."""
    return "\n".join(line for lines in shown.values() for line in lines)


def check_boot() -> None:
    """Check the start of nodes and clients, and the use of a hand-written log."""
    with nodes(3) as cluster:
        for node in cluster.nodes:
            node.log.write_text("".join(f"{line}\n" for line in REPORT_LOG))
        first = cluster["s1"]
        with row("004-01", what="python server.py s1 PORT starts a node, with two arguments"):
            # The configuration is found in the folder logs/ where the command is typed.
            (cluster.folder / "logs").mkdir()
            (cluster.folder / FILE_NAME).rename(cluster.folder / "logs" / FILE_NAME)
            for node in cluster.nodes:
                node.log.rename(cluster.folder / "logs" / node.log.name)
                node.folder = cluster.folder / "logs"
                node.where, node.working_folder = [], cluster.folder
            cluster.start()
        with row("004-14", "004-28", what="it recovers, tells its term, then arms its countdown"):
            lines = first.said[:5]
            assert lines[1] == "[*] Recovering logs...", lines
            assert lines[3] == "[*] Current term: 3", lines
            begin = f"[*] Server started on ('localhost', {first.port}) with timeout "
            assert re.fullmatch(re.escape(begin) + r"[0-9.]+ seconds", lines[4]), lines
        with row("004-15", what="peers come from logs/server-configuration.txt, a path printed"):
            assert lines[0] == str(cluster.folder / "logs" / FILE_NAME), lines
            assert sorted(first.status()["voters"]) == ["s1", "s2", "s3"]
        with row("004-12", what="the report's log of five lines yields a=4, c=5 and no b"):
            assert cluster.ask("client1@show") == 'SHOW response: {"a": "4", "c": "5"}'
            entries = entries_that_count(first)[:5]
            expected = [line.partition(" ")[2] for line in REPORT_LOG]
            assert [line.partition(" ")[2] for line in entries] == expected, entries
        with row("004-36", what="a restarted node keeps its log, and its term never goes back"):
            term, last = first.status()["term"], entries_that_count(first)
            first.kill()
            first.start()
            assert int(first.wait_for_line("[*] Current term: ").rpartition(" ")[2]) >= term
            assert entries_that_count(first)[: len(last)] == last
    with nodes(3, "--pace", "human") as cluster, row("004-14", what="timeouts of 10 to 18 s"):
        cluster["s1"].launch()
        seconds = float(cluster["s1"].wait_for_line(STARTED).split(" ")[-2])
        assert 10 <= seconds <= 18, seconds
    with nodes(1) as cluster, row("004-15", what="a node registers itself with --register"):
        (cluster.folder / FILE_NAME).unlink()
        cluster["s1"].start("--register")
        expect((cluster.folder / FILE_NAME).read_text(), f"s1 localhost {cluster['s1'].port}\n")


def check_commands(cluster: Cluster) -> None:
    """Check the lines of a client, on the wire and on its screen."""
    leader = cluster.leader()
    with row("004-02", "004-33", what="python client.py PORT ID shows the screen of the figures"):
        screen = Screen(leader.port, 4, "--follow")
        assert screen.lines[:4] == [
            f"[*] Connecting to localhost port {leader.port}",
            "",
            "-----",
            "[*] Type your message:",
        ], screen.lines
        set_d = screen.type("set d 8")
        expect(set_d, "    >> set d 8\n[*] Sending: set d 8\n[*] Received:\n\n")
        assert "Sending" not in screen.type(""), "an empty line asked something"
    with row("004-06", what="set answers `>> SET response:` and `d set to 8`"):
        expect(set_d, "\n>> SET response:\nd set to 8\n")
    with row("004-07", what="get answers the value, or that there is none"):
        expect(screen.type("get d"), ">> GET response:\n8\n")
        expect(screen.type("get nowhere"), "Entry not found")
    with row("004-05", what="anything but the commands is not recognized"):
        expect(screen.type("sing a song"), "Command not recognized")
    with row("004-09", what="show lists all pairs as 'k': 'v', and is not logged"):
        expect(screen.type("show"), ">> SHOW response:", "'d': '8'")
        assert cluster.ask("client4@set shown 1") == "SET response: shown set to 1"
        cluster.wait_until_on_all_disks()
        log = entries_that_count(leader)
        assert any(line.endswith(" set shown 1") for line in log), log
        assert not any(line.endswith((" show", "@show")) for line in log), log
    with row("004-08", what="delete removes; a missing key leaves the connection in use"):
        expect(screen.type("delete d"), ">> DELETE response:\nd has been deleted\n")
        screen.type("delete d")
        expect(screen.type("get d"), "Entry not found")
    with row("004-33", what="leaving closes the socket, and says so"):
        assert screen.leave()[-1] == "[*] Closing socket"
    with row("004-03", what="a line is client4@set b 5 on the wire; client@… is served as well"):
        assert cluster.ask("client4@set b 5") == "SET response: b set to 5"
        assert cluster.ask("client@get b") == "GET response: 5"
    with row("004-10", what="a value is the rest of the line, each space kept"):
        cluster.ask("client4@set k a b  c ")
        assert cluster.ask("client4@get k") == "GET response: a b  c "
    with row("004-11", what="thirty clients at once lose no operation"):
        clients = [threading.Thread(target=_count, args=(leader.port, n)) for n in range(30)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert cluster.ask("get visits") == "GET response: 300"
    with row("004-17", what="the console tells connections, and what was received from whom"):
        cluster.wait_for_consoles()
        with leader.connect() as conversation:
            port = conversation.socket.getsockname()[1]
            leader.wait_for_line(f"[*] Connection from ('127.0.0.1', {port})")
            conversation.ask("client7@set seen 1")
        leader.wait_for_line("[*] Received from client7 : set seen 1")


def _count(port: int, number: int) -> None:
    client = [sys.executable, str(CLIENT), "--follow"]
    command = [*client, str(port), str(number)]
    subprocess.run(
        command, input="incr visits\n" * 10, text=True, capture_output=True, timeout=60, check=False
    )


def check_messages(cluster: Cluster) -> None:
    """Check the messages between the nodes, in the words of the report."""
    cluster.ask("client4@set b 30")
    cluster.wait_until_equal()
    form = re.compile(
        r"\[\*\] Received from s\d : AppendEntries (\d+)-(\d+)-(\d+)-(\[.*set b 30.*\]) .*"
    )

    def said() -> list[str]:
        return [line for node in cluster.nodes for line in node.said]

    def alone() -> re.Match[str] | None:
        for line in said():
            match = form.fullmatch(line)
            if match is not None:
                entry = {"index": int(match[2]) + 1, "term": int(match[1]), "command": "set b 30"}
                if json.loads(match[4]) == [entry]:
                    return match
        return None

    with row("004-04", "004-18", what="s1@AppendEntries TERM-PREVINDEX-PREVTERM-[ENTRIES]"):
        found = eventually(alone, "set b 30, alone")
        assert found is not None
        term, index = int(found[1]), int(found[2]) + 1
    with row("004-22", what="a follower shows the last line of its log"):
        eventually(lambda: f"Last log: {index} {term} set b 30" in said())
    with row("004-20", what="a follower that agrees says: I am up to date"):
        agreed = f" : I am up to date term {term} index {index} round "
        eventually(lambda: agreed in "\n".join(said()))
    with row("004-19", "004-26", what="heartbeats are AppendEntries with [], again and again"):
        beat = re.compile(r".*AppendEntries \d+-\d+-\d+-\[\] commit \d+ round \d+")
        follower, leader = cluster.followers()[0], cluster.leader()
        eventually(lambda: sum(bool(beat.fullmatch(line)) for line in follower.said) >= 3)
        eventually(lambda: leader.said.count("Sending heartbeat...") >= 3)
        sent = [line for line in leader.said if line.startswith("Sending ")]
        place = sent.index("Sending heartbeat...")
        assert sent[place + 1 : place + 3] == ["Sending message"] * 2


def check_figures() -> None:
    """Check figures 1 to 7, each line in its place (report.py), and the figure left to the
    future."""
    with row("004-16", what="figure 1: two clients at once, one sees what the other sets"):
        made("1")
    with row("004-20", "004-21", what="figure 2: it says what it lacks behind, and gets 2 to 9"):
        made("2")
    with row("004-35", what="figure 3 as it should be: two votes of four elect nobody, three do"):
        screen = text(made("3"))
    with row("004-23", "004-24", "004-25", "004-29", what="figure 3: election, votes, vote table"):
        expect(screen, "PreVote 6-1-2", "denies its PreVote to s2 for term 6: log not up to date")
        won = screen[screen.index("[*] Starting election...") :]
        expect(won, "Count on me term 6", "[*] I am Leader\n{'s1': True, ", "Sending heartbeat...")
    with row("004-27", "004-13", what="figure 4: a get, logged, goes to three followers at once"):
        made("4")
    with row("004-32", what="figure 5: a follower says who leads"):
        made("5")
    with row("004-06", "004-07", what="figure 6: the leader serves"):
        made("6")
    with row("004-34", what="figure 7: 9 of 11 entries, caught up; the leader dies"):
        made("7")
    with row("004-37", what="multiple leaders: of two stale and one that works, one commits"):
        made("leaders")


def check_elections() -> None:
    """Check rules of elections that no figure shows, played by hand at one node; and a late
    follower."""
    with nodes(3) as cluster:
        node = cluster["s1"].start()
        with row("004-29", "004-24", what="one vote in a term, first come first served"):
            assert node.ask_as_peer("s2@RequestVote 7-0-0") == "s1@Count on me term 7"
            denial = node.ask_as_peer("s3@RequestVote 7-0-0")
            assert denial == "s1@Not this time term 7 voted: already voted for s2 in term 7", denial
        with node.connect() as s3:
            with row("004-30", what="a higher term makes anybody a follower"):
                node.wait_for_line("asking for PreVotes for term 8")
                reply = s3.ask("s3@AppendEntries 9-0-0-[] commit 0 round 1")
                assert reply == "s1@I am up to date term 9 index 0 round 1", reply
                node.wait_for_line("[*] I am Follower of s3 in term 9")
            with row("004-28", what="each AppendEntries winds the countdown up again"):
                eventually(
                    lambda: not has_counted_down(node, s3, "s3", 9, FAST),
                    "beats without a long pause",
                    60,
                )
        with row("004-30", what="nobody is elected: it asks again, and again"):
            mark = len(node.said)
            node.wait_for_line("asking for PreVotes for term 10", since=mark)
        with row("004-31", what="the leader tries for ever, until one that was away has it all"):
            cluster["s2"].start()
            cluster.ask("client1@set late 1")
            threading.Event().wait(3)  # more than five election timeouts
            cluster["s3"].start()
            cluster.wait_until_on_all_disks()
            expect("\n".join(entries_that_count(cluster["s3"])), " set late 1")


def main() -> int:
    check_boot()
    with nodes(3, "--verbose") as cluster:
        cluster.start()
        check_messages(cluster)
    with nodes(3) as cluster:
        cluster.start()
        check_commands(cluster)
    check_figures()
    check_elections()
    return ROWS.finish()


if __name__ == "__main__":
    end_with(main)
