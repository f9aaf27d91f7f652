"""Members come and go while real nodes serve."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from raftline.clients.connections.node_connection import ClientError, OutcomeUnknown
from raftline.clients.requests.conversation import Client
from raftline.common.config import FILE_NAME
from raftline.wire.refusal import REMOVED
from raftline_testing.doubles import in_process
from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.newcomers import joined, members, newcomer
from raftline_testing.nodes.processes import eventually, free_ports


def raftline(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is told of one node alone, as it finds the others by itself."""
    return in_process.raftline(*words, "--at", f"localhost:{cluster.running[-1].port}")


def removed(cluster: Cluster, name: str) -> None:
    """Remove a member, also where the leader that was asked loses its place meanwhile."""

    def gone() -> bool:
        done = raftline(cluster, "remove", name)
        return done.returncode == 0 or name not in members(cluster)["members"]

    eventually(gone, f"{name} is removed")


class Without(Cluster):
    """A view of a cluster from which one node has gone."""

    def __init__(self, cluster: Cluster, gone: NodeProcess) -> None:
        self.folder = cluster.folder
        self.nodes = [node for node in cluster.nodes if node is not gone]

    def __getitem__(self, name: str) -> NodeProcess:
        return next(node for node in self.nodes if node.name == name)


class Writer:
    """Writes one key after another, in the background, and keeps those that were acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        first, *others = [("localhost", node.port) for node in cluster.nodes]
        self.acknowledged: list[str] = []
        self.unknown = 0
        self._client = Client(*first, "writer", 20.0, follow=True, also=others)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        eventually(lambda: len(self.acknowledged) > 3, "first writes")
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(30)
        self._client.close()

    def _write(self) -> None:
        number = 0
        while not self._enough.is_set():
            number += 1
            try:
                self._client.request(f"set k{number} {number}")
                self.acknowledged.append(f"k{number}")
            except OutcomeUnknown:
                self.unknown += 1
            except ClientError:
                self._enough.wait(0.05)

    def more(self, count: int = 5) -> None:
        """Wait until that number of further writes was acknowledged."""
        wanted = len(self.acknowledged) + count
        eventually(lambda: len(self.acknowledged) >= wanted, "writes go on")


def assert_nothing_is_lost(cluster: Cluster, writer: Writer) -> None:
    for key in writer.acknowledged:
        assert cluster.ask(f"get {key}") == f"GET response: {key[1:]}"


def test_joiner_without_a_reachable_member_retries(tmp_path: Path) -> None:
    """If no member is reachable, a joining node reports that and retries."""
    with Cluster(tmp_path, 1) as cluster:
        node = newcomer(cluster, cluster["s1"], tmp_path / "elsewhere")
        node.launch()
        node.wait_for_line("s2 is not added yet: nothing listens on localhost port")
        cluster.start()
        node.wait_for_line("ADD response: s2 added as a learner, votes from entry")
        assert "s2" in members(cluster)["members"]


def test_a_node_joins_learns_and_votes(cluster: Cluster, tmp_path: Path) -> None:
    leader = cluster.leader()
    assert leader.ask("set a 4").endswith("a set to 4")
    there = cluster.followers()[0]  # it sends the newcomer on to the leader
    node = newcomer(cluster, there, tmp_path / "elsewhere").start()
    node.wait_for_line("knows no members yet")
    node.wait_for_line("ADD response: s4 added as a learner, votes from entry")
    view = eventually(lambda: v if "s4" in (v := node.status()).get("voters", []) else None)
    assert view["members"]["s4"] == f"localhost:{node.port}"
    cluster.wait_until_equal()
    # With s4 three of four are there; without it this would be two of four.
    [follower, *_] = [one for one in cluster.followers() if one is not node]
    follower.kill()
    assert cluster.ask("set b 5") == "SET response: b set to 5"


def test_a_node_that_began_among_members_who_left_joins(cluster: Cluster, tmp_path: Path) -> None:
    """Its log begins with names that no member has any more; started with --join, it forgets
    them."""
    leader, folder = cluster.leader(), tmp_path / "elsewhere"
    node = newcomer(cluster, leader, folder)
    to_join, node.options = node.options, node.options[:-2]
    folder.mkdir()
    gone = "".join(f"{name} localhost {next(free_ports)}\n" for name in ("s8", "s9"))
    (folder / FILE_NAME).write_text(f"s4 localhost {node.port}\n{gone}")
    node.start()
    node.wait_for_line("Heard from no leader: asking for PreVotes")
    node.kill()
    node.options = to_join
    joined(node)
    node.wait_for_line("[*] s4 joins: it forgets the members that its log began with, s4 s8 s9")
    cluster.wait_until_equal()


def test_a_joined_node_restarts_without_join(cluster: Cluster, tmp_path: Path) -> None:
    node = joined(newcomer(cluster, cluster.leader(), tmp_path / "elsewhere"))
    node.kill()
    node.options = []  # no --join, and no file that names it
    node.start()
    cluster.ask("set a 4")
    cluster.wait_until_equal()
    assert not any("asks" in line for line in node.said)


def test_removed_node_joins_another_cluster_with_new_files_only(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The terms of both clusters match: a leader would take its entries for those of its own
    log."""
    folder = tmp_path / "elsewhere"
    node = joined(newcomer(cluster, cluster.leader(), folder))
    cluster.ask("set k old")
    removed(cluster, "s4")
    node.wait_for_line("s4 was removed from the cluster by entry")
    node.kill()
    cluster.nodes.remove(node)
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    with Cluster(other_folder, 1, prefix="b") as other:
        other.start()
        for number in range(20):
            assert other.ask(f"set k {number}").startswith("SET response")
        node.options = ["--join", f"localhost:{other['b1'].port}"]
        other.nodes.append(node)
        assert node.launch().ended() == 3
        assert any("s4 can't join with the files that it has" in line for line in node.said)
        for path in (*folder.glob("s4.*"), folder / ".s4.born"):
            path.unlink()
        node.start()
        eventually(lambda: node.ask("get k read local").endswith("GET response: 19"), "its keys")


def leads(node: NodeProcess) -> bool:
    return node.status()["role"] == "leader"


def test_list_line_that_hides_a_moved_member_is_printed(cluster: Cluster, tmp_path: Path) -> None:
    """The member was removed and added at another address: the leader's list was corrected, and
    another node still has the old one."""
    (old, other), there = cluster.followers(), cluster.leader()
    removed(cluster, old.name)
    old.kill()
    moved = NodeProcess(old.name, next(free_ports), tmp_path / "elsewhere")
    moved.options = [*there.options, "--join", f"localhost:{there.port}"]
    cluster.nodes[cluster.nodes.index(old)] = moved
    listed = cluster.folder / FILE_NAME
    listed.write_text(listed.read_text().replace(f" {old.port}", f" {moved.port}"))
    there.kill()
    there.start()
    eventually(lambda: leads(there) or not other.ask(f"transfer {there.name}"), "it leads")
    moved.start()
    other.wait_for_line(
        f"[!] {old.name} is at localhost:{moved.port} according to the log, but "
        f"{listed} says localhost:{old.port}: this node dials the latter."
    )
    other.kill()
    other.start()
    eventually(lambda: moved.status()["commit_index"] > 0, f"{moved.name} gets entries")


def test_a_member_starts_without_the_list_of_members(cluster: Cluster) -> None:
    node = cluster["s2"]
    node.kill()
    listed = node.folder / FILE_NAME
    listed.unlink()
    listed.mkdir()  # nobody can read it, root neither
    node.start()
    warning = f"[!] {listed}: can't be read: Is a directory. The members are those of the log: "
    assert any(line.startswith(warning) for line in node.said), node.transcript()
    listed.rmdir()
    cluster.wait_until_equal()


def test_a_leader_removes_itself_while_writes_continue(cluster: Cluster) -> None:
    leader = cluster.leader()
    with Writer(cluster) as writer:
        assert (
            leader.ask(f"remove {leader.name}")
            .partition("@")[2]
            .startswith(f"REMOVE response: {leader.name} removed with entry ")
        )
        leader.wait_for_line(f"{leader.name} was removed from the cluster by entry")
        writer.more()
        rest = Without(cluster, leader)
        assert rest.leader() is not leader
    assert sorted(members(rest)["voters"]) == sorted({"s1", "s2", "s3"} - {leader.name})
    assert_nothing_is_lost(rest, writer)
    assert leader.status()["role"] == "follower"
    assert leader.ask("client4@get b") == f"{leader.name}@{REMOVED}"


def test_removal_of_a_living_node_keeps_the_quorum(cluster: Cluster) -> None:
    """One node is down, and an operator removes the wrong one: the cluster refuses, and serves."""
    leader = cluster.leader()
    down, living = cluster.followers()
    down.kill()
    eventually(lambda: leader.status()["versions"][down.name] is None, "its connection has broken")
    done = raftline(cluster, "member", "remove", living.name)
    left = " ".join(name for name in ("s1", "s2", "s3") if name != living.name)
    assert (done.returncode, done.stdout, done.stderr) == (
        5,
        "",
        f"Sorry, {down.name} does not answer: without it, the voters {left} would have no "
        "majority, and no write could be committed. Start or remove it first; to do this all the "
        f"same: remove {living.name} force. Nothing was changed.\n",
    )
    assert leader.ask("set b 5") == f"{leader.name}@SET response: b set to 5"
    assert raftline(cluster, "member", "remove", down.name).returncode == 0
    assert cluster.ask("set b 6") == "SET response: b set to 6"
    done = raftline(cluster, "member", "remove", living.name, "force")
    assert done.stdout.startswith(f"REMOVE response: {living.name} removed with entry ")
    assert leader.ask("set b 7") == f"{leader.name}@SET response: b set to 7"


def test_a_node_removed_while_away_causes_no_election(calm: Cluster) -> None:
    leader = calm.leader()
    [away, other] = calm.followers()
    away.kill()
    assert "removed with entry" in leader.ask(f"remove {away.name}")
    rest = Without(calm, away)
    # A leader tells those who were removed, for a while; one that was elected since does not.
    leader.kill()
    leader.start()
    term = rest.led_by(other.name).leader().status()["term"]
    away.start("--pace", "fast")
    away.wait_for_line("asking for PreVotes")
    away.wait_for_line(f"{away.name} was removed from the cluster by entry")
    assert rest.ask("set b 5") == "SET response: b set to 5"
    assert rest.leader().status()["term"] == term


@pytest.mark.parametrize("when", ["at once", "while it learns"])
def test_a_leader_killed_amid_a_change_leaves_one_cluster(cluster: Cluster, when: str) -> None:
    leader = cluster.leader()
    node = newcomer(cluster, leader)
    with leader.connect() as conversation:
        conversation.send(f"add {node.name} localhost {node.port}")
        if when == "while it learns":
            eventually(lambda: leader.status().get("learners"), "a learner")
        leader.kill()
    rest = Without(Without(cluster, leader), node)
    assert rest.ask("set a 4") == "SET response: a set to 4"
    node.start()  # asks to be added, by way of the node that it knows, which is dead
    leader.start()
    eventually(lambda: "s4" in members(rest)["voters"], "s4 votes")

    def agreed() -> bool:
        views = [one.status() for one in cluster.nodes]
        voters = {str(view.get("voters")) for view in views}
        return len(voters) == 1 and all(view.get("outgoing") == [] for view in views)

    eventually(agreed, "one configuration, which nobody is about to leave")


def test_a_second_change_is_refused_amid_the_first(tmp_path: Path) -> None:
    def is_refused() -> bool:
        """Whether it was by the leader of the first, which led until that had its answer: at this
        pace one that stands still for seconds loses the lead."""
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        with Cluster(folder, 3, *STEADY) as cluster:
            leader = cluster.start().led_by("s1")["s1"]
            term = leader.status()["term"]
            with leader.connect(timeout_s=60) as first:  # it answers after ten election timeouts
                first.send("add s4 localhost 9")  # nobody is there: it catches up never

                def is_begun() -> bool:
                    view = leader.status()
                    return bool(view.get("learners")) or view.get("term", term) > term

                eventually(is_begun, "a learner")
                second = leader.ask("remove s2")
                said = first.read_line()
            if cluster.leader().status()["term"] > term:
                return False
            assert second == (
                "s1@Sorry, add s4 is under way, and only one change is made at a time. "
                "Nothing was changed."
            )
            assert "does not answer" in said
            removed(cluster, "s4")
            return True

    assert any(is_refused() for _ in range(3))


def test_a_dead_node_is_replaced(cluster: Cluster) -> None:
    leader = cluster.leader()
    dead = cluster.followers()[0]
    leader.ask("set a 4")
    dead.kill()
    node = newcomer(cluster, leader)
    node.start()
    done = raftline(cluster, "replace", dead.name, "s4", "localhost", str(node.port))
    # The newcomer asks for itself as well: whoever comes second hears that s4 is there.
    rest = Without(cluster, dead)
    if done.returncode:
        eventually(lambda: "s4" in members(rest)["voters"], "s4 votes")
        raftline(cluster, "remove", dead.name)
    eventually(lambda: dead.name not in members(rest)["members"], "the dead one is out")
    assert sorted(members(rest)["voters"]) == sorted({"s1", "s2", "s3", "s4"} - {dead.name})
    rest.wait_until_equal()


def test_replacement_with_a_late_member_ends_by_repetition(
    cluster: Cluster, tmp_path: Path
) -> None:
    """If the new member is late, repeating the command completes the replacement."""
    leader = cluster.leader()
    old = cluster.followers()[0]
    node = newcomer(cluster, leader, tmp_path / "elsewhere")
    words = ["replace", old.name, "s4", "localhost", str(node.port)]
    begun = raftline(cluster, *words)
    assert (begun.returncode, begun.stdout) == (
        5,
        "REPLACE response: s4 is a learner without a vote, since it does not answer, and "
        f"{old.name} votes as before. Once s4 is up: {' '.join(words)}; to give it up: remove s4\n",
    )
    joined(node)  # it has itself added meanwhile: both vote

    def replaced() -> subprocess.CompletedProcess[str] | None:
        repeated = raftline(cluster, *words)
        is_busy = "is under way, and only one change" in repeated.stderr  # its own change
        return None if is_busy else repeated

    done = eventually(replaced, "the end of the change by which it was added")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"REPLACE response: s4 votes instead of {old.name} from entry ")
    assert sorted(members(cluster)["voters"]) == sorted({"s1", "s2", "s3", "s4"} - {old.name})
    again = raftline(cluster, *words)
    assert (again.returncode, again.stderr) == (0, "")
    assert f"s4 votes and {old.name} is not a member, as before; entry " in again.stdout
    added = raftline(cluster, "add", *words[2:])
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout.startswith("ADD response: s4 is a voter as before, entry ")


def test_three_become_five_become_three_while_writes_continue(fast: Cluster) -> None:
    with Writer(fast) as writer:
        for _ in range(2):
            joined(newcomer(fast, fast.leader()))
            writer.more()
        assert len(members(fast)["voters"]) == 5
        for name in ("s1", "s2"):
            removed(fast, name)
            fast[name].wait_for_line("was removed from the cluster")
            writer.more()
    rest = Without(Without(fast, fast["s1"]), fast["s2"])
    assert sorted(members(rest)["voters"]) == ["s3", "s4", "s5"]
    assert_nothing_is_lost(rest, writer)


def test_the_command_line_shows_and_changes_members(cluster: Cluster) -> None:
    cluster.leader()
    shown = raftline(cluster, "members")
    assert shown.returncode == 0
    assert [line.split()[::2] for line in shown.stdout.splitlines()] == [
        ["s1", "voter"],
        ["s2", "voter"],
        ["s3", "voter"],
    ]
    done = raftline(cluster, "members", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, members(cluster))
    follower = cluster.followers()[0].name
    done = raftline(cluster, "demote", follower)
    assert done.stdout.startswith(f"DEMOTE response: {follower} is a learner from entry ")
    assert "2 voters need each other" in done.stdout
    shown = raftline(cluster, "members")
    assert f"{follower}  localhost:{cluster[follower].port}  learner\n" in shown.stdout
    assert shown.stdout.splitlines()[-1].startswith("[!] 2 voters need each other")
    status = raftline(cluster, "status", "--timeout", "20")
    assert (
        next(line for line in status.stdout.splitlines() if line.startswith(follower)).split()[2]
        == "learner"
    )
    assert raftline(cluster, "promote", follower).returncode == 0
    wrong = raftline(cluster, "promote", follower)
    assert (wrong.returncode, wrong.stderr) == (
        5,
        f"Sorry, {follower} votes already. Nothing was changed.\n",
    )
    assert raftline(cluster, "add", "s4", "localhost", "0").returncode == 2


def test_status_follows_a_member_that_moved_by_the_file(cluster: Cluster) -> None:
    """The log has its old address, where nobody listens."""
    moved, there = cluster.followers()[0], cluster.leader()
    cluster.kill()
    listed = cluster.folder / FILE_NAME
    before, moved.port = moved.port, next(free_ports)
    listed.write_text(listed.read_text().replace(f" {before}", f" {moved.port}"))
    cluster.start().wait_until_whole()
    shown = in_process.raftline("status", "--at", f"localhost:{there.port}")
    assert "3 of 3 voters follow" in shown.stdout
    assert f"localhost:{moved.port}" in shown.stdout
    assert shown.returncode == 0


def test_update_moves_a_member_that_is_stopped(cluster: Cluster) -> None:
    """No file names it, so all nodes and clients go by the log."""
    node = joined(newcomer(cluster, cluster.leader()))
    node.kill()
    cluster.leader().ask("set a 1")
    node.port = next(free_ports)
    moved = raftline(cluster, "update", "s4", "localhost", str(node.port))
    assert moved.returncode == 0
    assert moved.stdout.startswith(f"UPDATE response: s4 is at localhost:{node.port} from entry ")
    node.start()
    eventually(lambda: node.ask("get a read local").endswith("GET response: 1"), "it follows")
    assert members(cluster)["members"]["s4"] == f"localhost:{node.port}"
    assert "s4" in members(cluster)["voters"]


def test_update_that_contradicts_the_file_is_refused(cluster: Cluster) -> None:
    name = cluster.followers()[0].name
    wrong = raftline(cluster, "update", name, "localhost", "9")
    assert wrong.returncode == 5
    assert f"says that {name} is at localhost:" in wrong.stderr


def test_an_add_that_contradicts_the_file_is_refused(cluster: Cluster) -> None:
    """All nodes would dial the address of the file, and clients that of the log."""
    follower = cluster.followers()[0]
    assert raftline(cluster, "remove", follower.name).returncode == 0
    wrong = raftline(cluster, "add", follower.name, "localhost", "9")
    assert wrong.returncode == 5
    assert f"says that {follower.name} is at localhost:{follower.port}" in wrong.stderr
    assert wrong.stderr.endswith("restart these nodes one after another. Nothing was changed.\n")
    assert follower.name not in members(cluster)["members"]
    right = raftline(cluster, "add", follower.name, "127.0.0.1", str(follower.port))
    assert right.returncode == 0


def test_status_shows_a_member_that_the_file_does_not_name(cluster: Cluster) -> None:
    node = joined(newcomer(cluster, cluster.leader()))
    status = raftline(cluster, "status", "--timeout", "20")
    assert status.returncode == 0
    assert f"s4    localhost:{node.port}" in status.stdout
    assert status.stdout.splitlines()[-1].endswith(": 4 of 4 voters follow; one more may fail")


def test_a_member_without_its_log_catches_up_without_a_vote(cluster: Cluster) -> None:
    node = joined(newcomer(cluster, cluster.leader()))
    cluster.ask("set a 4")
    cluster.wait_until_equal()
    node.kill()
    node.log.unlink()
    node.start()
    node.wait_for_line("votes again")
    eventually(lambda: node.status().get("recovering") is False, "a vote")
    assert sorted(node.status()["voters"]) == ["s1", "s2", "s3", "s4"]
    assert node.ask("show read local") == 's4@SHOW response: {"a": "4"}'


def test_node_listening_everywhere_joins_as_advertised(tmp_path: Path) -> None:
    """A node that listens on all addresses joins with the one that it advertises."""
    with Cluster(tmp_path, 1).start() as cluster:
        node = newcomer(cluster, cluster["s1"])
        node.options += ["--host", "0.0.0.0", "--open-to-network", "--insecure"]
        node.options += ["--advertise", f"127.0.0.1:{node.port}"]
        joined(node)
        assert members(cluster)["members"]["s2"] == f"127.0.0.1:{node.port}"
