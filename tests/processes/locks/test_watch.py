"""Watches of real nodes: leader, follower and learner, faults, slow readers, bad input."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from raftline.net.line_connection import LineConnection
from raftline_testing.nemesis.watch_judge import SentEvent, Stream, Stretch, judge
from raftline_testing.nemesis.watching import campaign
from raftline_testing.nodes.cluster import CALM, STEADY, Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually, free_ports

IO_MODES = ("threads", "shared", "auto")


def number_in(line: str) -> int:
    found = re.search(r"(?:EVENT |as of |after |up to )([0-9]+)", line)
    assert found, line
    return int(found[1])


def first(line: LineConnection, request: str) -> list[str]:
    """Return the first lines of a watch, without the numbers."""
    said = [answer(line, request)]
    keys = re.search(r"response: ([0-9]+) key", said[0])
    said += heard(line, int(keys[1]) if keys else 0)
    return [bare(one) for one in said]


def heard(line: LineConnection, count: int = 1) -> list[str]:
    """Return the next lines, without those that break a silence."""
    found: list[str] = []
    while len(found) < count:
        said = line.read_line()
        if not re.search(r"EVENT [0-9]+$", said):
            found.append(said)
    return found


def answer(line: LineConnection, request: str) -> str:
    line.send(request)
    return heard(line)[0]


def bare(line: str) -> str:
    return re.sub(r"(?<=EVENT )[0-9]+ ?|(?<=as of )[0-9]+|(?<=after )[0-9]+", "", line).rstrip()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Cluster:  # type: ignore[misc]
    with Cluster(tmp_path_factory.mktemp("watch"), 3, *CALM) as cluster:
        yield cluster.start().led_by("s1")


def test_leader_and_follower_tell_the_same_events(three: Cluster) -> None:
    three.ask("set same/a 1")
    lines = {node.name: node.connect() for node in three.nodes}
    for name, line in lines.items():
        assert first(line, "watch same/") == [
            f"{name}@WATCH response: 1 key as of",
            f"{name}@EVENT has same/a 1",
        ]
    for command in ("set same/a 2", "append same/a 3", "cas same/a 1 x", "delete same/a"):
        three.ask(command)
    sent = {tuple(one.partition("@")[2] for one in heard(line, 3)) for line in lines.values()}
    assert len(sent) == 1
    assert [bare(one) for one in sent.pop()] == [
        "EVENT set same/a 2",
        "EVENT set same/a 23",
        "EVENT delete same/a",
    ]
    for line in lines.values():
        line.close()


def test_a_learner_tells_events_too(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, *STEADY) as cluster:
        cluster.start().led_by("s1")
        joiner = NodeProcess("s2", next(free_ports), tmp_path, [*STEADY])
        joiner.options += ["--join", f"localhost:{cluster['s1'].port}"]
        cluster.nodes.append(joiner)
        joiner.start()
        eventually(lambda: "s2" in cluster["s1"].status()["voters"], "s2 votes")
        # It votes in the joint configuration already, when the change is not over.
        eventually(lambda: "is a learner" in cluster.ask("demote s2"), "s2 is demoted")
        with joiner.connect() as line:
            assert first(line, "watch a") == ["s2@WATCH response: 0 keys as of"]
            cluster.ask("set a 1")
            assert bare(heard(line)[0]) == "s2@EVENT set a 1"
            cluster.ask("remove s2")
            assert heard(line)[0].startswith(
                "s2@Sorry, this server was removed from the cluster, so this watch has ended. "
                "Go on with: watch a after "
            )
            with cluster["s1"].connect() as other:
                answer(other, f"add s2 localhost {joiner.port}")
            begun = "s2@WATCH response: 1 key as of"
            eventually(lambda: first(line, "watch a")[0].startswith(begun), "s2 serves watches")


def test_watches_with_ids_share_a_connection_with_other_requests(three: Cluster) -> None:
    with three["s2"].connect() as line:
        assert first(line, "client4#7@watch ids/a") == ["s2#7@WATCH response: 0 keys as of"]
        assert first(line, "client4#8@watch ids/") == ["s2#8@WATCH response: 0 keys as of"]
        three.ask("set ids/a 1")
        assert sorted(bare(one) for one in heard(line, 2)) == [
            "s2#7@EVENT set ids/a 1",
            "s2#8@EVENT set ids/a 1",
        ]
        assert answer(line, "client4#9@get ids/a read index") == "s2#9@GET response: 1"
        assert bare(answer(line, "client4#7@unwatch")) == "s2#7@UNWATCH response: ended after"
        three.ask("set ids/a 2")
        assert bare(heard(line)[0]) == "s2#8@EVENT set ids/a 2"
        assert answer(line, "client4#7@unwatch").startswith("s2#7@Sorry, no watch with the id 7 ")
        assert answer(line, "client4#8@watch").startswith("s2#8@Sorry, a watch with the id 8 runs ")
        assert answer(line, "unwatch").startswith("s2@Sorry, no watch without an id runs ")


def test_silence_is_broken_by_how_far_the_node_is(three: Cluster) -> None:
    with three["s3"].connect() as line:
        begin = number_in(answer(line, "watch silence/"))
        three.ask("set elsewhere 1")
        assert number_in(line.read_line()) >= begin + 1


def test_bad_requests_get_one_clear_line(three: Cluster) -> None:
    with three["s2"].connect() as line:
        last = number_in(answer(line, "client4#1@watch none/"))
        for request, part in {
            f"watch a after {last + 1000}": f"Sorry, there is no entry {last + 1000} yet; ",
            "watch a after 9223372036854775807": "Sorry, there is no entry 9223372036854775807 ",
            "watch a after -1": 'Sorry, "-1" is not the index of an entry, ',
            "watch a b c": "Sorry, the form is: watch [PREFIX] [after INDEX]; ",
            "watch " + "x" * 2_000_000: "Sorry, the prefix has 2000000 bytes; the limit is 1024.",
            "watch a\\q": "Sorry, \\q is not an escape. ",
            "unwatch": "Sorry, no watch without an id runs on this connection.",
            "unwatch now": "Sorry, unwatch takes no operands. Nothing was done.",
        }.items():
            said = answer(line, request)
            assert said.startswith(f"s2@{part}"), said[:200]
        assert bare(answer(line, "client4#1@unwatch")) == "s2#1@UNWATCH response: ended after"


def test_without_a_leader_a_watch_continues_but_none_begins(cluster: Cluster) -> None:
    cluster.ask("set a 1")
    cluster.wait_until_equal()
    with cluster["s2"].connect() as line:
        begin = number_in(answer(line, "watch a"))
        assert heard(line)[0] == f"s2@EVENT {begin} has a 1"
        for name in ("s1", "s3"):
            cluster[name].kill()
        assert answer(line, f"client4#1@watch a after {begin}").startswith(
            "s2#1@WATCH response: goes"
        )
        assert answer(line, "client4#2@watch a").startswith("s2#2@Sorry, I know of no leader.")


@pytest.mark.parametrize("io", IO_MODES)
def test_a_connection_that_watches_sends_many_writes_as_well(tmp_path: Path, io: str) -> None:
    with Cluster(tmp_path, 1, *STEADY, "--io", io) as cluster:
        cluster.start().led_by("s1")
        with cluster["s1"].connect() as line:
            assert first(line, "client4#1@watch k") == ["s1#1@WATCH response: 0 keys as of"]
            line.send("\n".join(f"client4#{n}@set k {n}" for n in range(10, 210)))
            said = [bare(heard(line)[0]) for _ in range(400)]
            assert [one for one in said if "EVENT" in one] == [
                f"s1#1@EVENT set k {n}" for n in range(10, 210)
            ]
            assert [one for one in said if "SET" in one] == [
                f"s1#{n}@SET response: k set to {n}" for n in range(10, 210)
            ]


def test_a_watch_that_a_node_left_behind_begins_again(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, *STEADY, "--history-events", "5") as cluster:
        cluster.start().led_by("s1")
        for n in range(20):
            cluster.ask(f"set app/{n % 2} {n}")
        with cluster["s1"].connect() as line:
            said = answer(line, "watch app/ after 2")
            assert re.sub("[0-9]+", "N", said) == (
                "sN@Sorry, events up to N are gone; watch app/ begins anew with what there is."
            )
            gone = number_in(said)
            assert bare(heard(line)[0]) == "s1@WATCH response: 2 keys as of"
            assert [bare(one) for one in heard(line, 2)] == [
                "s1@EVENT has app/0 18",
                "s1@EVENT has app/1 19",
            ]
        with cluster["s1"].connect() as line:
            assert bare(answer(line, f"watch after {gone}")) == "s1@WATCH response: goes on after"
            assert len(heard(line, 5)) == 5


def test_a_slow_reader_is_ended_with_a_place_to_continue_from(tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, *STEADY, "--history-events", "8") as cluster:
        node = cluster.start().led_by("s1")["s1"]
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("localhost", node.port))
        with node.connect() as line, node.connect() as other:
            line.socket.close()
            line.socket = slow
            assert bare(answer(line, "watch big")) == "s1@WATCH response: 0 keys as of"
            assert bare(answer(other, "watch big")) == "s1@WATCH response: 0 keys as of"
            for n in range(60):  # none of these waits for the slow one
                cluster.ask(f"set big{n} {'v' * 500_000}")
                assert f" set big{n} " in heard(other)[0][:40]
            slow.settimeout(30)
            numbers = []
            while " set big" in (said := heard(line)[0]):
                numbers.append(number_in(said))
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert len(numbers) < 60
            assert said == (
                "s1@Sorry, this watch was read too slowly and has ended. Go on with: "
                f"watch big after {numbers[-1]}"
            )


def test_watches_live_on_while_their_node_takes_over_a_snapshot(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, *STEADY, "--compact-at", "3000") as cluster:
        cluster.start().led_by("s1")
        cluster.ask("set app/old 1")
        cluster.wait_until_equal()
        with cluster["s3"].connect() as line:
            assert first(line, "watch app/")[1:] == ["s3@EVENT has app/old 1"]
            cluster["s3"].pause()
            cluster.ask("delete app/old")
            began = cluster["s1"].status()["base_index"]
            n = 0
            while cluster["s1"].status()["base_index"] <= began + 50:
                n += 1
                cluster.ask(f"set fill/{n % 10} {'v' * 200}")
            cluster.ask("set app/new 2")
            cluster["s3"].resume()
            said: list[str] = []
            while not said or "app/new" not in said[-1]:
                said.append(heard(line)[0])
            text = [re.sub("[0-9]+", "N", one) for one in said]
            if "installs the snapshot" in cluster["s3"].transcript():
                assert (
                    "sN@Sorry, events up to N are gone; watch app/ begins anew with what there"
                    " is." in text
                )
            cluster.ask("set app/new 3")
            assert " set app/new 3" in heard(line)[0]


def test_a_node_that_stops_tells_where_to_continue(cluster: Cluster) -> None:
    with cluster["s2"].connect() as line, cluster["s3"].connect() as other:
        answer(line, "watch app/")
        cluster.ask("set app/a 1")
        assert bare(heard(line)[0]) == "s2@EVENT set app/a 1"
        cluster["s2"].send_signal()
        said = heard(line)[0]
        while " Sorry" not in said and "@Sorry" not in said:
            said = heard(line)[0]
        assert said.startswith(
            "s2@Sorry, this server is stopping, so this watch has ended. Go on with: watch app/ "
        )
        cluster.ask("set app/a 2")
        assert (
            bare(answer(other, said.partition("Go on with: ")[2]))
            == "s3@WATCH response: goes on after"
        )
        assert bare(heard(other)[0]) == "s3@EVENT set app/a 2"


def test_watch_amid_a_restart_finds_the_events_of_the_log(cluster: Cluster) -> None:
    """A watch during a restart finds the events in the log."""
    cluster.ask("set a 1")
    with cluster["s2"].connect() as line:
        begin = number_in(answer(line, "watch a"))
    cluster.ask("set a 2")
    cluster["s2"].kill()
    cluster.ask("set a 3")
    cluster["s2"].start()
    cluster.wait_until_whole()
    with cluster["s2"].connect() as line:
        assert bare(answer(line, f"watch a after {begin}")) == "s2@WATCH response: goes on after"
        assert [bare(one) for one in heard(line, 2)] == ["s2@EVENT set a 2", "s2@EVENT set a 3"]


def test_moving_watchers_get_each_event_once_in_order(tmp_path: Path) -> None:
    """A watch never misses a final state, but it may skip states in between."""
    wrong, happened = campaign(tmp_path, 6.0, seed=1)
    assert wrong == []
    assert happened["gone on"] > 50
    assert happened["writes"] > 50


def test_judge_sees_missing_repeated_disordered_or_wrong_events() -> None:
    """The judge finds events that are missing, repeated, out of order or wrong."""
    one, two, three = (SentEvent(n, "set", "k", str(n)) for n in (1, 2, 3))
    writes = [[SentEvent(0, "set", "k", str(n)) for n in (1, 2, 3)]]
    whole = Stream("", [Stretch(0, {}, [one, two, three], 3)])

    def problems(*sent: SentEvent, keys: dict[str, str] | None = None, begin: int = 0) -> int:
        return len(judge([whole, Stream("", [Stretch(begin, keys, [*sent], 3)])], writes))

    assert problems(one, two, three) == 0
    assert problems(two, three, begin=1, keys={"k": "1"}) == 0
    assert problems(one, three) == 1
    assert problems(one, two, two, three) == 1
    assert problems(two, one, three) == 1
    assert problems(one, SentEvent(2, "set", "k", "x"), three) > 0
    assert problems(two, three, begin=1, keys={"k": "0"}) == 1
    assert judge([Stream("", [Stretch(0, {}, [one, two], 3)])], writes)
    assert judge([whole], [writes[0][::-1]])
    assert judge([whole], [writes[0][:2]])
    # Nobody was sent the second write, and each stretch lies on one side of it.
    apart = [Stretch(0, {}, [one], 1), Stretch(2, {"k": "2"}, [three], 3)]
    assert judge([Stream("", apart)], writes) == []
    assert judge([Stream("", apart), Stream("", [Stretch(0, {}, [one, three], 3)])], writes)
    back = Stream("", [*whole.stretches, Stretch(1, None, [two, three], 3)])
    assert judge([back], writes)
