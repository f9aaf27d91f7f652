"""`raftline.connect()` at real nodes: a mapping, watches, leases."""

from __future__ import annotations

import copy
import json
import os
import pickle
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

import raftline
from raftline.api import KVSnapshot, Version
from raftline.clients.leases.lease_timer import LeaseTimer
from raftline.clients.requests.one_node import NodeStep
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.processes.typed import at


def ours() -> list[str]:
    """Return the names of the threads of clients."""
    return [each.name for each in threading.enumerate() if "renews" in each.name]


def test_it_is_a_mapping(kv: raftline.KV[str]) -> None:
    kv["m/a"] = "5"
    kv["m/two words"] = "x\ny"
    assert kv["m/a"] == "5"
    assert kv.get("m/none") is None
    assert kv.get("m/none", "else") == "else"
    assert "m/a" in kv
    assert "m/none" not in kv
    assert 5 not in kv
    assert dict(kv.items("m/")) == {"m/a": "5", "m/two words": "x\ny"}
    assert list(kv.keys("m/")) == ["m/a", "m/two words"]
    assert list(kv.values("m/")) == ["5", "x\ny"]
    assert ("m/a", "5") in kv.items()
    assert set(kv.keys("m/")) <= set(kv)
    assert len(kv) >= 2
    assert kv.setnx("timed", "1", ttl=100)
    assert not kv.cas("timed", "2", "3", ttl=200)
    assert 90 < (kv.ttl("timed") or 0) <= 100
    assert kv.cas("timed", "1", "2", ttl=200)
    assert 190 < (kv.ttl("timed") or 0) <= 200
    assert kv.setdefault("m/a", "6") == "5"
    assert kv.setdefault("m/b", "6") == "6"
    assert kv.pop("m/b") == "6"
    assert kv.pop("m/b", None) is None
    with pytest.raises(KeyError, match="m/b"):
        kv.pop("m/b")
    with pytest.raises(KeyError, match="m/b"):
        kv["m/b"]
    with pytest.raises(KeyError, match="m/b"):
        del kv["m/b"]
    kv.update({"m/c": "1", "m/d": "2"})
    del kv["m/c"]
    with pytest.raises(TypeError, match="would delete every key"):
        kv.clear()
    assert kv.clear("m/") == 3
    assert dict(kv.items("m/")) == {}
    assert kv != {}
    assert kv == kv
    assert len({kv, kv}) == 1


def test_more_keys_than_a_page_has_are_all_listed(kv: raftline.KV[str]) -> None:
    names = [f"page/{number:04}" for number in range(2100)]
    for begin in range(0, len(names), 100):
        operations = kv.txn().then
        for name in names[begin : begin + 100]:
            operations.set(name, name)
        assert operations.commit().succeeded
    assert list(kv.keys("page/")) == names
    assert kv.clear("page/") == len(names)


def test_the_atomic_commands_answer_in_types(kv: raftline.KV[str]) -> None:
    assert kv.setnx("t/a", "1") is True
    assert kv.setnx("t/a", "2") is False
    assert kv.cas("t/a", "1", "two words") is True
    assert kv.cas("t/a", "1", "3") is False
    assert kv.append("t/a", "!") == 10
    assert kv.incr("t/n") == 1
    assert kv.incr("t/n", 41) == 42
    with pytest.raises(raftline.Refused, match="not a whole number"):
        kv.incr("t/a")
    stat = kv.stat("t/n")
    assert stat is not None
    assert (stat.bytes, stat.lease) == (2, None)
    same = kv.txn().if_.unchanged("t/n", stat.index).then.incr("t/n").commit()
    assert same.results == [43]
    assert not kv.txn().if_.unchanged("t/n", stat.index).then.incr("t/n").commit()
    kv.set("t/e", "x", ttl=100)
    assert 0 < (kv.ttl("t/e") or 0) <= 100
    assert kv.persist("t/e") is True
    assert kv.ttl("t/e") is None
    assert kv.expire("t/e", 1) is True
    eventually(lambda: "t/e" not in kv, "the end of a key's time")
    with pytest.raises(KeyError):
        kv.ttl("t/e")
    assert kv.delete("t/a") is True
    assert kv.delete("t/a") is False


def test_bytes_are_kept_as_bytes(kv: raftline.KV[str]) -> None:
    everything = bytes(range(256))
    with kv.within(DEADLINE_S).binary as raw:
        assert raw.timeout == DEADLINE_S
        raw[everything] = everything * 3
        assert raw[everything] == everything * 3
        assert list(raw.items(everything)) == [(everything, everything * 3)]
        assert raw.pop(everything) == everything * 3
        kv["seen as bytes"] = "5"
        assert raw[b"seen as bytes"] == b"5"
        with pytest.raises(TypeError, match="a key is bytes here, not str"):
            raw.get("a")  # type: ignore[call-overload]
    assert kv["seen as bytes"] == "5"  # the end of a view closes nothing


def test_a_value_is_read_with_its_version(kv: raftline.KV[str], nodes: Cluster) -> None:
    kv["v/a"] = "1"
    version = kv.read("v/a")
    assert (version.value, kv.read("v/none")) == ("1", (None, 0))
    kv.binary[b"v/b"] = b"\xff"
    assert kv.read_many(["v/a", "v/none"]) == {"v/a": version, "v/none": (None, 0)}
    listed = dict(kv.read_items("v/"))
    assert listed == {"v/a": version, "v/b": kv.read("v/b")}
    assert dict(kv.binary.read_items(b"v/"))[b"v/b"].value == b"\xff"
    snapshot = kv.snapshot("v/")
    assert snapshot.read("v/none") == (None, 0)
    assert kv.cas("v/a", snapshot.read("v/a"), "2")
    assert not kv.cas("v/a", version, "3")
    assert kv.exists("v/a")
    assert not kv.exists("v/none")
    assert not any(" read " in each.log.read_text() for each in nodes.nodes)


def test_times_have_milliseconds(kv: raftline.KV[str]) -> None:
    kv.set("s/float", "1", ttl=0.25)
    kv.set("s/delta", "1", ttl=timedelta(milliseconds=250))
    assert kv.setnx("s/long", "1", ttl=timedelta(hours=1))
    assert 3590 < (kv.ttl("s/long") or 0) <= 3600
    with kv.lease(1.5) as lease:
        assert 0 < lease.left <= 1.5
        assert lease.check(timedelta(seconds=5)) is lease
        assert (
            json.loads(kv.request("leases").removeprefix("LEASES response: "))["leases"][lease.id][
                "seconds"
            ]
            == 1.5
        )
        assert not lease.wait_lost(timedelta(milliseconds=1))
    eventually(lambda: not kv.exists("s/float") and not kv.exists("s/delta"), "their end")
    assert list(kv.keys("s/")) == ["s/long"]
    assert kv.within(timedelta(seconds=2)).timeout == 2.0


def test_any_threads_ask_at_once(kv: raftline.KV[str]) -> None:
    kv["sum"] = "0"
    threads = [
        threading.Thread(target=lambda: [kv.incr("sum") for _ in range(25)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kv["sum"] == "200"


def test_a_replicated_object_asks_through_it(kv: raftline.KV[str]) -> None:
    settings = raftline.ReplicatedDict("settings", kv)
    settings["lamp"] = "on"
    assert settings == {"lamp": "on"}


def test_the_nodes_are_found_as_commands_find_them(
    nodes: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAFTLINE", raising=False)
    said = r"name its folder with folder=, .* or say where: connect\(.*or \$RAFTLINE"
    with pytest.raises(raftline.Unreachable, match=said):
        raftline.connect()
    with raftline.connect(folder=nodes.folder) as kv:
        kv["found"] = "by folder"
    monkeypatch.setenv("RAFTLINE", at(nodes))
    with raftline.connect() as kv:
        assert kv["found"] == "by folder"
    monkeypatch.setenv("RAFTLINE", "nowhere:x")
    with pytest.raises(raftline.Unreachable, match=r"^\$RAFTLINE: "):
        raftline.connect()
    for wrong in ("nowhere:x", "", "h1:1,,h2:2"):
        with pytest.raises(ValueError, match="is not an address: host:port"):
            raftline.connect(wrong)
    with pytest.raises(ValueError, match="give one of them"):
        raftline.connect("h1:1", folder=tmp_path)
    with pytest.raises(ValueError, match="is not a valid client name"):
        raftline.connect("h1:1", name="two words")
    with pytest.raises(ValueError, match="s is invalid"):
        raftline.connect("h1:1", timeout=0)


def test_it_says_what_it_is_and_can_not_be_copied(kv: raftline.KV[str]) -> None:
    assert repr(kv).startswith("<raftline.KV at localhost port ")
    assert repr(kv.within(0.5)).endswith(", 0.5 s>")
    for each in (kv, kv.watch("none/"), kv.lease(10)):
        with pytest.raises(TypeError, match="can't be copied or pickled"):
            pickle.dumps(each)
        with pytest.raises(TypeError, match="can't be copied or pickled"):
            copy.copy(each)
        assert repr(each).startswith("<")


def test_watch_gives_keys_then_changes_until_closed(kv: raftline.KV[str]) -> None:
    """A watch yields the keys, then the changes, and ends when it is closed."""
    kv["w/a"] = "1"
    watch = kv.watch("w/")
    first = watch.next_event(DEADLINE_S)
    assert first is not None
    assert (first.kind, first.key, first.value) == ("has", "w/a", "1")
    kv["w/b"] = "2"
    kv["other"] = "3"
    del kv["w/a"]
    kv.set("w/c", "4", ttl=1)
    got = [watch.next_event(DEADLINE_S) for _ in range(4)]
    assert [(each.kind, each.key, each.value) for each in got if each is not None] == [
        ("set", "w/b", "2"),
        ("delete", "w/a", None),
        ("set", "w/c", "4"),
        ("expire", "w/c", None),
    ]
    assert watch.next_event(0.05) is None
    assert got[1] is not None
    with kv.watch("w/", after=got[1].index) as later:
        assert [later.next_event(DEADLINE_S), later.next_event(DEADLINE_S)] == got[2:]
    ended = threading.Thread(target=lambda: list(watch))
    ended.start()
    watch.close()
    ended.join(DEADLINE_S)
    assert not ended.is_alive()
    with pytest.raises(raftline.Refused, match="there is no entry"):
        next(kv.watch("w/", after=10**9))


class InterruptedOnce:
    """Carries out the steps of a watch, and is interrupted after one of them."""

    def __init__(self, watch: raftline.api.Watch[str], at: int) -> None:
        self._do = watch._node.do
        self._left = at

    def __call__(self, step: NodeStep) -> object:
        answer = self._do(step)
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        return answer


def test_interrupted_watch_resumes_and_misses_nothing(kv: raftline.KV[str]) -> None:
    """Ctrl-C may come after a line was received and before it was handled."""
    is_whole, steps = False, 0
    while not is_whole:
        steps += 1
        with kv.watch("interrupted/") as watch:
            assert watch.sync(DEADLINE_S) is not None
            kv["interrupted/a"] = str(steps)
            watch._node.do = InterruptedOnce(watch, steps)  # type: ignore[method-assign]
            try:
                events = watch.sync(DEADLINE_S)
                is_whole = True
            except KeyboardInterrupt:
                events = watch.sync(DEADLINE_S)
            assert events is not None
            assert [each.value for each in events] == [str(steps)]
    assert steps > 5


def test_closing_the_client_ends_its_watches_and_its_thread(nodes: Cluster) -> None:
    assert ours() == []
    kv = raftline.connect(at(nodes))
    watch = kv.watch("w/")
    loop = threading.Thread(target=lambda: list(watch))
    loop.start()
    lease = kv.lease(10).grant()
    eventually(lambda: ours() == ["program renews leases"], "the thread has its name")
    kv.close()
    loop.join(DEADLINE_S)
    assert not loop.is_alive()
    eventually(lambda: ours() == [], "the thread has ended")
    assert not lease.is_held
    for use in (lambda: kv.get("a"), lambda: kv.watch("a"), kv.lease(10).grant):
        with pytest.raises(raftline.Unreachable, match="was closed"):
            use()
    kv.close()


def test_a_lease_renews_itself_and_takes_its_keys_along(kv: raftline.KV[str]) -> None:
    with kv.lease(5) as lease:
        kv.set("l/a", "1", lease=lease)
        assert kv.setnx("l/b", "1", lease=lease)
        end_s = time.monotonic() + 6.5
        while time.monotonic() < end_s:
            assert lease.is_held
            assert "l/a" in kv
        assert lease.check() is lease
        assert repr(lease).endswith("5 s, held>")
    assert dict(kv.items("l/")) == {}
    assert not lease.is_held
    eventually(lambda: ours() == [], "the thread that renews has ended")
    with pytest.raises(raftline.LeaseLost, match="has ended"):
        kv.set("l/a", "1", lease=lease)
    with pytest.raises(raftline.LeaseLost, match="has ended"):
        lease.check()


def test_a_lease_without_keep_is_renewed_by_check_alone(kv: raftline.KV[str]) -> None:
    lease = kv.lease(5, keep=False).grant()
    kv.set("l/own", "1", lease=lease)
    assert lease.check(timeout=5) is lease
    eventually(lambda: "l/own" not in kv, "the lease has ended")
    with pytest.raises(raftline.LeaseLost):
        lease.check()


def test_a_lease_that_somebody_ended_is_reported_as_lost(
    kv: raftline.KV[str], nodes: Cluster
) -> None:
    lost = threading.Event()
    lease = kv.lease(3, on_lost=lost.set).grant()
    nodes.ask(f"release {lease}")
    assert lost.wait(DEADLINE_S)
    assert lease.wait_lost(0)
    assert not lease.is_held
    with pytest.raises(raftline.LeaseLost, match=f"{lease} has ended"):
        lease.release()

    def loses_one() -> None:
        with kv.lease(3) as other:
            nodes.ask(f"release {other}")
            assert other.wait_lost(DEADLINE_S)

    with pytest.raises(raftline.LeaseLost):
        loses_one()


def test_child_process_asks_afresh_and_spares_its_parent(kv: raftline.KV[str]) -> None:
    """A child process opens its own connections, and leaves its parent's alone."""
    kv["fork"] = "parent"
    lease = kv.lease(60).grant()
    watch = kv.watch("fork")
    assert watch.next_event(DEADLINE_S) is not None
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            assert kv["fork"] == "parent"
            kv["fork"] = "child"
            assert not lease.is_held
            for use in (lease.release, lease.check, watch.next_event):
                with pytest.raises(RuntimeError, match="process that forked"):
                    use()
            watch.close()
            lease.__exit__(None, None, None)
            with kv.lease(1) as own:
                timer = own._timer
                assert isinstance(timer, LeaseTimer)
                before_s = timer.sent_s
                eventually(lambda: timer.sent_s > before_s, "the child renews its lease")
                assert own.is_held
            failed = 0
        finally:
            os._exit(failed)
    assert os.waitpid(child, 0)[1] == 0
    event = watch.next_event(DEADLINE_S)
    assert event is not None
    assert event.value == "child"
    assert lease.is_held
    assert lease.check()
    lease.release()


def test_call_ends_at_its_deadline_where_the_leader_hangs(three: Cluster) -> None:
    """If the leader hangs, a call ends at its deadline."""
    with raftline.connect(at(three)) as kv:
        kv["a"] = "1"
        three["s2"].pause()
        three["s3"].pause()
        begun_s = time.monotonic()
        with pytest.raises(raftline.OutcomeUnknown, match="outcome unknown"):
            kv.within(1.0).set("a", "2")
        with pytest.raises((raftline.Unreachable, raftline.NoLeader)):
            kv.within(1.0).get("a")
        assert time.monotonic() - begun_s < DEADLINE_S / 2
        three["s2"].resume()
        three["s3"].resume()
        assert eventually(lambda: kv.get("a"), "an answer") in ("1", "2")


def test_where_nobody_listens_a_call_says_so_within_its_time() -> None:
    with raftline.connect("localhost:1,localhost:2", timeout=0.5) as kv:
        begun_s = time.monotonic()
        with pytest.raises(raftline.Unreachable, match="nobody answers at"):
            kv["a"] = "1"
        with pytest.raises(raftline.Unreachable, match="no node serves it at"):
            next(kv.watch())
        assert time.monotonic() - begun_s < DEADLINE_S / 2


def test_a_leader_killed_amid_writes_has_each_of_them_done_once(three: Cluster) -> None:
    with raftline.connect(at(three), timeout=DEADLINE_S) as kv:
        counts = [0] * 4
        stop = threading.Event()

        def count(number: int) -> None:
            while not stop.is_set():
                counts[number] = kv.incr(f"n{number}")

        threads = [threading.Thread(target=count, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        eventually(lambda: min(counts) > 20, "writes under way")
        leader = three.leader()
        leader.kill()
        reached = max(counts)
        eventually(lambda: min(counts) > reached + 20, "writes at another leader")
        stop.set()
        for thread in threads:
            thread.join()
        assert [kv[f"n{number}"] for number in range(4)] == [str(count) for count in counts]


def serving(watch: raftline.api.Watch[str]) -> int:
    """Return the port of the node that serves a watch; 0 while it looks for one."""
    connection = watch._node.connection
    return 0 if connection is None else connection.address.port


def test_a_watch_continues_at_another_node_and_misses_nothing(three: Cluster) -> None:
    with raftline.connect(at(three), timeout=DEADLINE_S) as kv:
        watch = kv.watch("n")
        seen: list[int] = []

        def follow() -> None:
            for event in watch:
                seen.append(int(event.value or 0))

        follower = threading.Thread(target=follow)
        follower.start()
        kv["n"] = "0"
        eventually(lambda: seen, "the watch has begun")  # else it begins with a later value
        for number in range(1, 301):
            kv["n"] = str(number)
            if number % 100 == 50:  # the node that serves the watch
                port = eventually(lambda: serving(watch), "a node that serves the watch")
                node = next(each for each in three.nodes if each.port == port)
                node.kill()
                node.start()
        eventually(lambda: seen[-1:] == [300], "the last event")
        assert seen == list(range(301))
        watch.close()
        follower.join()


def test_lease_outlives_its_leader_and_is_lost_without_a_quorum(three: Cluster) -> None:
    """A lease survives a change of leader, and is lost without a quorum."""
    with raftline.connect(at(three), timeout=DEADLINE_S) as kv:
        lost = threading.Event()
        lease = kv.lease(11, on_lost=lost.set).grant()
        kv.set("a", "1", lease=lease)
        leader = three.leader()
        leader.kill()
        assert lease.check()
        assert kv["a"] == "1"
        leader.start()
        for node in three.nodes[:2]:
            node.pause()
        assert lost.wait(DEADLINE_S)
        assert not lease.is_held
        for node in three.nodes[:2]:
            node.resume()
        eventually(lambda: "a" not in kv, "the key goes with its lease")


def test_watch_is_brought_up_to_now_and_a_listing_has_its_index(kv: raftline.KV[str]) -> None:
    """`sync` brings a watch up to date, and a listing has its index."""
    kv["y/a"] = "1"
    with kv.watch("y/") as watch:
        assert [each.value for each in watch.sync(DEADLINE_S) or []] == ["1"]
        for number in range(20):
            kv["elsewhere"] = str(number)
            kv["y/b"] = str(number)
            assert [each.value for each in watch.sync(DEADLINE_S) or []] == [str(number)]
        assert watch.sync(DEADLINE_S) == []
    found = kv.snapshot("y/")
    assert found.pairs == {"y/a": "1", "y/b": "19"}
    kv["y/c"] = "3"
    with kv.watch("y/", after=found.index) as later:
        assert [each.key for each in later.sync(DEADLINE_S) or []] == ["y/c"]
    assert kv.snapshot("none/").pairs == {}
    assert kv.snapshot("none/").index > found.index
    with kv.pipeline() as batch:
        sums = [batch.incr("y/n") for _ in range(300)]
    assert [each.result() for each in sums] == [*range(1, 301)]
    assert kv.get_many(["y/a", "y/none"]) == {"y/a": "1"}


def test_snapshot_has_the_versions_that_read_gives(kv: raftline.KV[str]) -> None:
    for number in range(3):
        kv[f"snap/{number}"] = str(number)
    snapshot = kv.snapshot("snap/")
    assert {key: snapshot.read(key) for key in snapshot.pairs} == dict(kv.read_items("snap/"))
    assert snapshot.read("snap/none") == kv.read("snap/none") == (None, 0)
    kv["snap/1"] = "changed"
    assert kv.cas("snap/0", snapshot.read("snap/0"), "2")
    assert not kv.cas("snap/1", snapshot.read("snap/1"), "2")


def test_snapshot_tells_a_key_that_changed_meanwhile() -> None:
    """If a key changed again before its index was read, it gets the index of the snapshot."""
    snapshot = KVSnapshot(7, {"a": "1", "b": "2"})._with_indices(
        [("a", Version("1", 5)), ("b", Version("3", 9)), ("c", Version("4", 8))]
    )
    assert snapshot.read("a") == ("1", 5)
    assert snapshot.read("b") == ("2", 7)
    assert snapshot.read("c") == (None, 0)
