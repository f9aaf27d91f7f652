"""Two clusters whose members have the same names: nothing of one gets into the other."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from raftline import KV, NoLeader, Refused, Unreachable, aio, connect
from raftline.common.config import FILE_NAME
from raftline.errors import Closed, OtherCluster
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.newcomers import joined
from raftline_testing.nodes.processes import DEADLINE_S, eventually


def cluster(folder: Path, *options: str) -> Cluster:
    folder.mkdir()
    return Cluster(folder, 3, *(options or STEADY))


def at_the_places_of(other: Cluster, folder: Path, *options: str) -> Cluster:
    """Return a cluster in another folder at the addresses of another one, which was stopped."""
    again = cluster(folder, *options)
    for node, earlier in zip(again.nodes, other.nodes, strict=True):
        node.port = earlier.port
    shutil.copy(other.folder / FILE_NAME, folder / FILE_NAME)
    return again


def identity(one: Cluster) -> str:
    """Return the identity of a cluster, once each of its nodes knows it."""

    def known() -> str:
        found = {node.status().get("cluster", "") for node in one.running}
        return found.pop() if len(found) == 1 else ""

    return eventually(known, "an identity")


def move(node: NodeProcess, folder: Path) -> None:
    """Make a node start in another folder from now on."""
    node.folder, node.where = folder, ["--dir", str(folder)]


def write(one: Cluster, value: str, count: int = 20) -> None:
    for number in range(count):
        assert one.ask(f"set k{number} {value}").startswith("SET response")


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that has written something."""
    with cluster(tmp_path / "earlier") as one:
        one.start().led_by("s1")
        write(one, "earlier", 30)
        yield one


def test_each_cluster_has_an_identity_that_all_its_nodes_keep(earlier: Cluster) -> None:
    known = identity(earlier)
    earlier.kill()
    assert all(
        f" cluster {known} " in (earlier.folder / f"{name}.storage").read_text()
        for name in ("s1", "s2", "s3")
    )
    log = earlier["s1"].log.read_text()
    assert re.search(rf"^1 \d+ cluster {known} level 1 with kernel=\w+$", log, re.M)
    earlier.start().leader()
    assert identity(earlier) == known


def test_a_node_with_the_files_of_an_earlier_cluster_stays_out(
    earlier: Cluster, tmp_path: Path
) -> None:
    """This happens in a second run of a tutorial, or with a wrong --dir in a unit."""
    theirs = identity(earlier)
    earlier.kill()
    with at_the_places_of(earlier, tmp_path / "later") as later:
        later.start().led_by("s1")
        write(later, "later", 20)
        mine = identity(later)
        later["s3"].kill()
        stray = later["s3"]
        move(stray, earlier.folder)
        stray.start()
        line = later["s1"].wait_for_line("[!] s3 at ")
        assert f"is of cluster {theirs}, and s1 of cluster {mine}: nothing is taken from it" in line
        stray.wait_for_line("is of cluster")
        eventually(lambda: later["s1"].status().get("foreign") == {"s3": theirs}, "a row")
        write(later, "latest", 20)
        assert later["s1"].ask("transfer s3").startswith("s1@Sorry")
        assert "late" not in stray.ask("get k0 read local")
        assert stray.status()["leader"] is None
        assert later.ask("get k0") == "GET response: latest"
        said = [line for line in later["s1"].said if line.startswith("[!] s3 at ")]
        assert len(said) <= 2  # one as s1 dials it, one as it dials s1; none for each try
        stray.kill()  # the right files bring it back
        move(stray, later.folder)
        stray.start()
        later.wait_until_whole()


def test_voter_cut_off_gets_no_vote_from_another_cluster(earlier: Cluster, tmp_path: Path) -> None:
    """A voter that is cut off gets no vote from a node of another cluster."""
    mine = identity(earlier)
    earlier.kill()
    with at_the_places_of(earlier, tmp_path / "other") as other:
        other.start().led_by("s3")
        write(other, "other", 40)
        theirs = identity(other)
        other["s1"].kill()
        end = other["s3"].status()["last_index"]
        cut_off = earlier["s1"].start()
        cut_off.wait_for_line("is of cluster")
        for _ in range(3):
            cut_off.ask("Controller@TIMEOUT")
        assert cut_off.status()["role"] != "leader"
        assert cut_off.status()["cluster"] == mine
        assert set(cut_off.status()["foreign"].values()) == {theirs}
        assert other["s3"].status()["last_index"] >= end
        assert other.ask("get k39") == "GET response: other"


def test_status_names_a_foreign_leader_and_fails(earlier: Cluster, tmp_path: Path) -> None:
    """`status` names the leader of another cluster, and exits with an error."""
    mine = identity(earlier)
    whole = raftline("status", "--dir", earlier.folder)
    assert whole.returncode == 0
    assert f"[*] cluster {mine}\n[*] s1 leads term " in whole.stdout
    earlier["s3"].kill()
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / FILE_NAME).write_text(nodes_at(earlier["s3"]))
    stray = earlier["s3"]
    move(stray, alone)
    stray.start("--new")  # else it would believe s1 that there is a history
    theirs = eventually(lambda: stray.status().get("cluster"), "its identity")
    asked = raftline("status", "--dir", earlier.folder)
    assert asked.returncode == 3
    last = asked.stdout.splitlines()[-1]
    assert "2 of 3 voters follow; none may fail; s3 is of another cluster. Correct " in last
    assert f"a node of another cluster answers there, {theirs}" in asked.stderr
    earlier["s2"].kill()
    earlier["s1"].kill()
    earlier["s1"].start()
    asked = raftline("status", "--dir", earlier.folder)
    assert asked.returncode == 3
    assert "no leader: 1 of 3 voters answers, 2 are needed" in asked.stdout


def test_restored_cluster_gets_nothing_from_its_origin(earlier: Cluster, tmp_path: Path) -> None:
    """The original cluster does not affect the one that was restored from its backup."""
    mine = identity(earlier)
    backup, copy = tmp_path / "backup.txt", tmp_path / "copy"
    assert raftline("backup", backup, "--dir", earlier.folder).returncode == 0
    earlier["s3"].kill()
    places = ",".join(f"{node.name}=localhost:{node.port}" for node in earlier.nodes)
    assert raftline("restore", backup, copy, "--members", places).returncode == 0
    stray = earlier["s3"]  # it was to be started later, when the old nodes are stopped
    move(stray, copy)
    stray.start()
    stray.wait_for_line("is of cluster")
    write(earlier, "earlier", 5)
    assert stray.status()["cluster"] not in ("", mine)
    assert stray.status()["leader"] is None
    assert earlier["s1"].status()["foreign"] == {"s3": stray.status()["cluster"]}


def test_removed_member_joins_another_cluster_as_itself(earlier: Cluster, tmp_path: Path) -> None:
    """The leader that removed it may keep dialing it for a while."""
    moved = earlier["s3"]
    moved.kill()
    for name in ("other", "moved"):
        (tmp_path / name).mkdir()
    with Cluster(tmp_path / "other", 2, *STEADY) as other:
        other.start().led_by("s1")
        write(other, "other", 5)
        assert earlier.ask("remove s3").startswith("REMOVE response")
        there = f"localhost:{other['s1'].port}"
        moved.options += ["--join", there]
        moved.start()  # with the files that it has, by which it is a member still
        moved.wait_for_line(f"they belong to another cluster than {there}. Move s3.*")
        moved.kill()
        move(moved, tmp_path / "moved")
        assert joined(moved).status()["cluster"] == identity(other)
        assert moved.ask("get k0 read local").endswith("GET response: other")
        assert moved.ask("get k20 read local").endswith("no such key: k20")
        assert "s3" not in earlier["s1"].status()["voters"]


def nodes_at(*nodes: NodeProcess) -> str:
    return "".join(f"{node.name} localhost {node.port}\n" for node in nodes)


def test_clusters_with_one_secret_and_a_stale_address_stay_apart(
    earlier: Cluster, tmp_path: Path
) -> None:
    """The s2 of a test cluster dials the s1 of production."""
    secret = tmp_path / "secret"
    secret.write_text("a-secret-that-both-clusters-were-given\n")
    secret.chmod(0o600)
    with cluster(tmp_path / "production", *STEADY, "--secret", str(secret)) as production:
        production.start().led_by("s3")
        write(production, "production")
        mine = identity(production)
        with cluster(tmp_path / "copy", *STEADY, "--secret", str(secret)) as copy:
            for name in ("s1", "s3"):
                copy[name].launch()
            stray = copy["s2"]
            (tmp_path / "stray").mkdir()
            listed = nodes_at(production["s1"], stray, copy["s3"])
            (tmp_path / "stray" / FILE_NAME).write_text(listed)
            move(stray, tmp_path / "stray")
            stray.start()
            write(copy, "copy")
            theirs = eventually(lambda: stray.status().get("cluster"), "its identity")
            production["s1"].wait_for_line(f"is of cluster {theirs}")
            production["s2"].kill()  # its place is free for another s2
            stray.ask("Controller@TIMEOUT")
            write(production, "production")
            assert production["s1"].status()["cluster"] == mine
            production["s2"].start()
            production.wait_until_whole()
            assert production.ask("get k3") == "GET response: production"
            term = production["s3"].status()["term"]
            assert production["s1"].status()["term"] == term


@pytest.fixture
def stranger(earlier: Cluster, tmp_path: Path) -> Iterator[NodeProcess]:
    """A node that leads another cluster, alone, at the address of s1; s1 has been killed."""
    folder = tmp_path / "stranger"
    folder.mkdir()
    with Cluster(folder, 1, "--new") as other:
        other["s1"].port = earlier["s1"].port
        (folder / FILE_NAME).write_text(f"s1 localhost {earlier['s1'].port}\n")
        yield other["s1"]


def take_place(earlier: Cluster, stranger: NodeProcess) -> None:
    earlier["s1"].kill()
    stranger.start()
    eventually(lambda: stranger.ask("set own 1").startswith("s1@SET"), "the stranger leads")
    eventually(lambda: earlier.ask("get k1"), "the two others serve")


def test_client_refuses_another_clusters_node(earlier: Cluster, stranger: NodeProcess) -> None:
    """The client knows its cluster; another one took over the first address."""
    at = [f"localhost:{node.port}" for node in earlier.nodes]
    with connect(at, timeout=DEADLINE_S) as kv, kv.watch("w/") as watch:
        kv["a"] = "1"
        kv["w/a"] = "1"
        assert kv["k1"] == "earlier"
        assert watch.next_event(DEADLINE_S) is not None
        take_place(earlier, stranger)
        for number in range(20):
            kv[f"w/{number}"] = "2"
            assert kv["k1"] == "earlier"
        seen = {watch.next_event(DEADLINE_S).key for _ in range(20)}  # type: ignore[union-attr]
    assert len(seen) == 20
    assert stranger.ask("get k1") == "s1@GET response, no such key: k1"
    assert '"own"' in (pairs := stranger.ask("show"))
    assert "w/" not in pairs


def test_task_refuses_another_clusters_node(earlier: Cluster, stranger: NodeProcess) -> None:
    """The same holds for asyncio, with all requests in flight at once."""
    at = [f"localhost:{node.port}" for node in earlier.nodes]

    async def run() -> None:
        async with aio.connect(at, timeout=DEADLINE_S) as kv:
            await kv.set("a", "1")
            await asyncio.to_thread(take_place, earlier, stranger)
            await asyncio.gather(*(kv.set(f"w/{number}", "2") for number in range(20)))
            assert set(await asyncio.gather(*(kv.get("k1") for _ in range(20)))) == {"earlier"}

    asyncio.run(run())
    assert "w/" not in stranger.ask("show")


@pytest.fixture
def later(earlier: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that is to take the places of all nodes of the earlier one: `begin_again`."""
    with at_the_places_of(earlier, tmp_path / "later") as one:
        yield one


def begin_again(earlier: Cluster, later: Cluster) -> None:
    earlier.kill()
    later.start().led_by("s1")


@pytest.mark.parametrize("line", ["set a 2", "get a", "get a read local", "watch a"])
def test_node_without_a_cluster_serves_nobody_of_another_one(
    line: str, earlier: Cluster, later: Cluster
) -> None:
    """Until it has heard the others it does not know its cluster. Requests that it took by then
    would be done in the cluster that begins later, and a watch would stay with that one."""
    theirs = identity(earlier)
    earlier.kill()
    alone = later["s2"].start()
    with alone.connect() as connection:
        connection.send(f"program#0@codes {theirs}", f"program@{line}")
        connection.read()
        for other in ("s1", "s3"):
            later[other].start()
        assert connection.read().decode().startswith("s2@Sorry [no-leader]")


ENDLESS_S = 100 * DEADLINE_S  # of a request that is to end long before


def test_client_says_that_all_nodes_are_of_another_cluster(
    earlier: Cluster, later: Cluster
) -> None:
    """A new cluster was started at the same addresses: programs must connect again. No call waits
    for its time limit, and the error is none that a worker tries again."""
    at = [f"localhost:{node.port}" for node in earlier.nodes]
    with connect(at, timeout=ENDLESS_S) as kv:
        kv["a"] = "1"
        begin_again(earlier, later)
        for call in (lambda: kv.set("a", "2"), lambda: kv.get("a")):
            with pytest.raises(OtherCluster, match=r"another cluster.*connect again") as refused:
                call()
            assert refused.value.code == "other-cluster"
            assert not isinstance(refused.value, (NoLeader, Unreachable, Refused))
        with pytest.raises(OtherCluster):
            set_two(kv)
        with connect(at, timeout=DEADLINE_S) as again:
            assert again.get("a") is None


def set_two(kv: KV[str]) -> None:
    with kv.pipeline() as batch:
        batch.set("a", "2")
        batch.set("b", "2")


def test_whatever_waits_ends_if_the_cluster_was_replaced(earlier: Cluster, later: Cluster) -> None:
    """Watches, observers, copies and waiting locks of a program raise the same error."""
    at = [f"localhost:{node.port}" for node in earlier.nodes]
    with (
        ThreadPoolExecutor() as threads,
        connect(at, timeout=DEADLINE_S) as other,
        connect(at, timeout=ENDLESS_S) as kv,
        kv.cached("w/") as cache,
        kv.watch("w/") as watch,
    ):
        other.lock("l").acquire()
        kv["w/a"] = "1"
        assert watch.next_event() is not None
        waits: list[Future[object]] = [
            threads.submit(kv.lock("l").acquire),
            threads.submit(lambda: list(watch)),
            threads.submit(lambda: list(kv.election("e").observe())),
            threads.submit(lambda: kv.queue("q").take(ttl=30)),
        ]
        eventually(lambda: len(list(other.keys("lock/l/"))) > 1, "a claim")
        begin_again(earlier, later)
        for wait in waits:
            with pytest.raises(OtherCluster):
                wait.result(DEADLINE_S)
        with pytest.raises(OtherCluster):
            cache.sync()
        with pytest.raises(OtherCluster):
            cache["w/a"]


def test_tasks_end_if_the_cluster_was_replaced(earlier: Cluster, later: Cluster) -> None:
    """The same holds for asyncio."""
    at = [f"localhost:{node.port}" for node in earlier.nodes]

    async def run() -> None:
        async with aio.connect(at, timeout=ENDLESS_S) as kv:
            await kv.set("w/a", "1")

            async def watched() -> None:
                async for _ in kv.watch("w/"):
                    pass

            watching = asyncio.create_task(watched())
            held = await kv.lock("l").acquire()
            assert held is not None
            await asyncio.to_thread(begin_again, earlier, later)
            for call in (kv.get("w/a"), kv.set("w/a", "2"), watching):
                with pytest.raises(OtherCluster):
                    await asyncio.wait_for(call, DEADLINE_S)

    asyncio.run(run())


def recovered(earlier: Cluster) -> None:
    """Continue with s1 alone; the other nodes are gone for good."""
    earlier.kill()
    done = raftline("recover", "s1", "--dir", earlier.folder, "--yes")
    assert done.returncode == 0, done.stderr
    earlier["s1"].start().wait_for_line("I am Leader")


def test_recover_ends_programs_whose_other_nodes_are_silent(earlier: Cluster) -> None:
    """The word of `recover` that these are stopped for good is in the new identity: calls, watches
    and waits end at once, and a program that connects again continues."""
    at = [f"localhost:{node.port}" for node in earlier.nodes]

    async def tasks() -> None:
        async with aio.connect(at, name="task", timeout=ENDLESS_S) as task_kv:
            await task_kv.set("w/b", "1")
            watching = asyncio.create_task(anext(task_kv.watch("none/")))
            await asyncio.to_thread(recovered, earlier)
            for call in (task_kv.get("w/b"), task_kv.set("w/b", "2"), watching):
                with pytest.raises(OtherCluster):
                    await asyncio.wait_for(call, DEADLINE_S)
            async with await task_kv.within(DEADLINE_S).connect_again() as again:
                assert (again.name, again.timeout) == ("task", DEADLINE_S)
                assert await again.get("w/b") == "1"
                await again.set("w/b", "3")
            with pytest.raises(Closed):
                await task_kv.get("w/b")

    with (
        ThreadPoolExecutor() as threads,
        connect(at, timeout=DEADLINE_S) as other,
        connect(at, name="web", timeout=ENDLESS_S) as kv,
        kv.watch("w/") as watch,
    ):
        other.lock("l").acquire()
        kv["w/a"] = "1"
        assert watch.next_event() is not None
        waits: list[Future[object]] = [
            threads.submit(lambda: list(watch)),
            threads.submit(lambda: list(kv.election("e").observe())),
            threads.submit(kv.lock("l").acquire),
        ]
        eventually(lambda: len(list(other.keys("lock/l/"))) > 1, "a claim")
        asyncio.run(tasks())
        for wait in waits:
            with pytest.raises(OtherCluster):
                wait.result(DEADLINE_S)
        with pytest.raises(OtherCluster):
            kv.set("w/a", "2")
        lock = kv.lock("l")
        with kv.within(DEADLINE_S).connect_again() as again:
            assert again.get("w/a") == "1"
            assert again.get("w/b") == "3"
            again["w/a"] = "2"
            assert (again.name, again.timeout) == ("web", DEADLINE_S)
        for call in (lambda: kv.get("w/a"), lock.acquire):
            with pytest.raises(Closed):
                call()


def test_silence_of_a_node_ends_no_program(earlier: Cluster, later: Cluster) -> None:
    """Two of three nodes were replaced, and the third one does not answer: it may still be of the
    program's cluster. Calls say what is wrong, and all continues once it is back."""
    at = [f"localhost:{node.port}" for node in earlier.nodes]
    with connect(at, timeout=3) as kv, kv.watch("own") as watch:
        kv["own"] = "1"
        assert watch.next_event() is not None
        begin_again(earlier, later)
        later["s3"].kill()
        with pytest.raises(NoLeader, match="connect again if the cluster was replaced") as refused:
            kv.get("own")
        assert refused.value.code == "other-cluster"
        assert watch.next_event(4) is None
        later.kill()
        earlier.start().leader()
        kv.within(DEADLINE_S).set("own", "again")
        event = watch.next_event(DEADLINE_S)
        assert event is not None
        assert event.value == "again"


def test_commands_end_if_the_cluster_was_replaced(earlier: Cluster, later: Cluster) -> None:
    """A supervisor starts `elect` and `watch --exec` again, and they find the new cluster."""
    at = ",".join(f"localhost:{node.port}" for node in earlier.nodes)
    commands = [
        ("elect", "--ttl", "5", "e", "--", "sleep", "600"),
        ("watch", "w/", "--exec", "cat; echo"),
        ("lease", "5", "--keep"),
    ]
    with connect(at, timeout=DEADLINE_S) as kv, ExitStack() as ends:
        kv["w/a"] = "1"
        kv.election("e").campaign("first")
        running = [ends.enter_context(command(*each, "--at", at)) for each in commands]
        for each in running:
            ends.callback(each.kill)
            assert each.stdout is not None
            assert each.stdout.readline()  # it is served
        begin_again(earlier, later)
        assert [each.wait(DEADLINE_S) for each in running] == [125, 9, 124]


def command(verb: str, *words: str) -> subprocess.Popen[bytes]:
    """Start a command of raftline, with all that it prints in one pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "raftline", verb, *words[-2:], *words[:-2]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
