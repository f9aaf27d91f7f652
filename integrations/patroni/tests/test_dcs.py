"""Patroni's store at real nodes of raftline, method by method, without PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import addresses
from patroni.dcs import Leader, Member
from patroni.exceptions import PatroniFatalException
from raftline_patroni.dcs import Raftline, RaftlineError
from raftline_patroni.deadline import Deadline
from raftline_patroni.holding import seconds_for
from raftline_patroni.loading import NEVER, Loaded, cluster_of

import raftline
from raftline.harness.added_users import add_users
from raftline.wire.commands.rights import UserRole
from raftline_testing.doubles.in_process import raftline as run
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.known_users import first_admin
from raftline_testing.nodes.newcomers import begin_again, recover_from, restore
from raftline_testing.nodes.processes import eventually, free_ports

Store = Callable[..., Raftline]
NOWHERE = "localhost:1"


def leads(store: Raftline) -> Leader:
    leader = store.get_cluster().leader
    assert leader is not None
    return leader


def kv_of(nodes: Cluster) -> raftline.KV[str]:
    return raftline.connect(addresses(nodes))


def test_an_empty_store_is_an_empty_cluster(store: Store) -> None:
    cluster = store().get_cluster()
    assert cluster.is_empty()
    assert cluster.initialize is None
    assert cluster.sync.version is None


def test_all_keys_are_read_back(store: Store) -> None:
    one = store()
    assert one.initialize(create_new=True)
    assert one.get_cluster().initialize == ""  # somebody bootstraps it
    assert not store("p2").initialize(create_new=True)
    assert one.initialize(create_new=False, sysid="4711")
    assert one.set_config_value('{"ttl": 20}')
    assert one.touch_member({"conn_url": "postgres://a", "state": "running", "word": "ä b\nc"})
    assert one.attempt_to_acquire_leader()
    assert one.set_failover_value('{"leader": "p1", "member": "p2"}')
    assert one.set_history_value('[[1, 2, "x"]]')
    one.write_leader_optime(77)
    one.write_failsafe({"p1": "http://a"})
    assert one.write_sync_state("p1", ["p2"], 0)
    cluster = one.get_cluster()
    assert cluster.initialize == "4711"
    assert cluster.config
    assert cluster.config.data == {"ttl": 20}
    assert [each.name for each in cluster.members] == ["p1"]
    assert cluster.members[0].data["word"] == "ä b\nc"
    assert cluster.leader
    assert cluster.leader.member is cluster.members[0]
    assert cluster.failover
    assert cluster.failover.candidate == "p2"
    assert cluster.history
    assert cluster.history.lines == [[1, 2, "x"]]
    assert cluster.status.last_lsn == 77
    assert cluster.failsafe == {"p1": "http://a"}
    assert (cluster.sync.leader, cluster.sync.voters) == ("p1", ["p2"])
    assert one.cancel_initialization()
    assert one.get_cluster().initialize is None
    assert one.delete_cluster()
    assert one.get_cluster().is_empty()


def test_leader_without_a_member_key_is_known_by_name(store: Store) -> None:
    """The leader of a member that left no key is known by name."""
    one = store()
    assert one.attempt_to_acquire_leader()
    assert leads(one).member == Member(-1, "p1", None, {})


def test_one_of_two_acquires_the_leader_key(store: Store) -> None:
    """One of two acquires the leader's key, and the other is told so."""
    one, two = store("p1"), store("p2")
    assert one.attempt_to_acquire_leader()
    assert not two.attempt_to_acquire_leader()
    assert not one.attempt_to_acquire_leader()  # as with Patroni's own stores
    assert leads(two).name == "p1"
    assert one.update_leader(one.get_cluster(), 5)
    assert not two.update_leader(two.get_cluster(), 6)
    assert leads(two).name == "p1"
    assert two.get_cluster().status.last_lsn == 5


def test_the_leaders_key_is_given_up_by_its_holder_alone(store: Store) -> None:
    one, two = store("p1"), store("p2")
    assert one.attempt_to_acquire_leader()
    assert not two.delete_leader(leads(two))
    assert one.delete_leader(leads(one), last_lsn=9)
    cluster = two.get_cluster()
    assert cluster.leader is None
    assert cluster.status.last_lsn == 9
    assert two.attempt_to_acquire_leader()


def test_leader_with_an_ended_lease_leads_only_if_unopposed(store: Store, nodes: Cluster) -> None:
    """A leader whose lease has ended leads on only where nobody else does."""
    one, two = store("p1"), store("p2")
    assert one.attempt_to_acquire_leader()
    cluster = one.get_cluster()
    with kv_of(nodes) as kv:
        kv.request(f"release {leads(one).session}")
        assert one.update_leader(cluster, None)  # nobody was faster
        assert leads(one).session != cluster.leader.session
        kv.request(f"release {leads(one).session}")
    assert two.attempt_to_acquire_leader()
    assert not one.update_leader(cluster, None)
    assert leads(one).name == "p2"


def test_deleted_or_overwritten_leader_key_is_noticed(store: Store, nodes: Cluster) -> None:
    """A leader's key that was deleted or overwritten is noticed."""
    one, two = store("p1"), store("p2")
    assert one.attempt_to_acquire_leader()
    cluster = one.get_cluster()
    assert two.take_leader()
    assert not one.update_leader(cluster, None)  # its own lease is there, and is not enough
    with kv_of(nodes) as kv:
        del kv[two.leader_path]
    assert one.update_leader(cluster, None)
    assert leads(two).name == "p1"


def test_restarted_member_moves_its_keys_to_its_new_lease(store: Store, nodes: Cluster) -> None:
    """A member that was restarted moves its keys to its new lease."""
    before = store("p1")
    assert before.attempt_to_acquire_leader()
    assert before.touch_member({"state": "running"})
    old = leads(before).session
    after = store("p1")
    cluster = after.get_cluster()
    assert after.touch_member({"state": "running"})
    assert after.update_leader(cluster, None)
    assert leads(after).session != old
    with kv_of(nodes) as kv:
        assert kv.request(f"release {old}").endswith("0 keys deleted")


@pytest.mark.parametrize(
    ("ttl", "loop_wait", "retry_timeout", "seconds"),
    [
        (20, 1, 3, 17),  # ends after 18.7 s
        (30, 10, 10, 30),  # Patroni's own times: a primary relies on all of it
        (60, 10, 10, 55),  # not before the watchdog
        (2, 10, 10, 2),
        (1, 10, 10, 1),
    ],
)
def test_the_lease_lasts_as_long_as_a_primary_relies_on_it(
    ttl: int, loop_wait: int, retry_timeout: int, seconds: int
) -> None:
    assert seconds_for(ttl, loop_wait, retry_timeout) == seconds


def test_a_new_ttl_gives_the_keys_a_lease_of_that_time_at_once(
    store: Store, nodes: Cluster
) -> None:
    one = store("p1")
    assert one.attempt_to_acquire_leader()
    assert one.touch_member({"state": "running"})
    one.set_ttl(100)
    assert one.ttl == 100
    quiet = store("p2", patronictl=True)  # has no watch that wakes it
    quiet.set_ttl(100)
    assert quiet.watch(None, 5)  # does not wait: the loop runs again
    assert not quiet.watch(None, 0.01)
    cluster = one.get_cluster()
    assert one.touch_member({"state": "running"})
    assert one.update_leader(cluster, None)
    with kv_of(nodes) as kv:
        for path in (one.leader_path, one.member_path):
            assert 80 < (kv.ttl(path) or 0) <= 95


def test_a_write_on_a_version_fails_once_the_key_was_changed(store: Store) -> None:
    one, two = store("p1"), store("p2")
    for key, write in (
        ("config", lambda each, version: each.set_config_value("{}", version)),
        ("failover", lambda each, version: each.set_failover_value('{"member": "p2"}', version)),
        ("sync", lambda each, version: each.write_sync_state("p1", None, 0, version)),
    ):
        assert write(one, None), key
        version = getattr(two.get_cluster(), key).version
        assert write(two, version), key
        assert not write(one, version), key
    cluster = two.get_cluster()
    assert not one.delete_sync_state(version)
    assert one.delete_sync_state(cluster.sync.version)
    assert not write(one, cluster.sync.version)  # it is no more
    assert one.delete_sync_state()
    assert not write(one, NEVER)


def test_a_change_amid_the_reads_never_lets_a_write_pass(store: Store, nodes: Cluster) -> None:
    one, two = store("p1"), store("p2")
    assert one.set_config_value('{"a": 1}')
    with kv_of(nodes) as kv:

        class Amid:
            """A client; between its reads of indexes and of values somebody writes."""

            has_told_indexes = False

            def within(self, _: float) -> Amid:
                return self

            def stat(self, key: str) -> raftline.api.Stat | None:
                self.has_told_indexes = True
                return kv.stat(key)

            def items(self, prefix: str) -> object:
                before = dict(kv.items(prefix)).items()
                assert two.set_config_value('{"a": 2}')
                return kv.items(prefix) if self.has_told_indexes else before

        config = cluster_of(Loaded(Amid(), one.client_path(""), Deadline(30))).config
    assert config is not None
    assert config.data == {"a": 2}
    assert not one.set_config_value('{"a": 3}', config.version)
    config = one.get_cluster().config
    assert config is not None
    assert one.set_config_value('{"a": 3}', config.version)


def test_sync_state_can_be_rewritten_on_its_version(store: Store) -> None:
    """The sync state that was written can be written again on its version."""
    one = store()
    sync = one.write_sync_state("p1", None, 0, None)
    assert sync is not None
    sync = one.write_sync_state("p1", ["p2"], 0, version=sync.version)
    assert sync is not None
    assert sync == one.get_cluster().sync


def test_the_version_of_the_config_changes_only_with_it(store: Store) -> None:
    one = store()
    assert one.set_config_value('{"ttl": 20}')
    first = one.get_cluster().config
    one.write_leader_optime(1)
    assert one.get_cluster().config == first


def test_a_members_key_goes_when_its_loop_hangs(store: Store, nodes: Cluster) -> None:
    one = store("p1", ttl=2, retry_timeout=1, loop_wait=1)
    two = store("p2")
    assert one.touch_member({"state": "running"})
    assert one.attempt_to_acquire_leader()
    eventually(lambda: two.get_cluster().leader is None, "nobody renewed the leader's key")
    assert two.get_cluster().members == []
    assert one.touch_member({"state": "running"})  # under a new lease
    assert [each.name for each in two.get_cluster().members] == ["p1"]


def test_a_members_key_that_was_deleted_comes_again(store: Store, nodes: Cluster) -> None:
    one = store()
    assert one.touch_member({"state": "running"})
    index = one.get_cluster().members[0].version
    assert one.touch_member({"state": "running"})
    with kv_of(nodes) as kv:
        del kv[one.member_path]
    assert one.get_cluster().members == []
    assert one.touch_member({"state": "stopped"})
    assert one.get_cluster().members[0].version != index


def test_a_change_of_leader_or_config_wakes_the_loop(store: Store) -> None:
    one, two = store("p1"), store("p2")
    assert two.set_config_value('{"a": 1}')

    def is_woken_by(change: Callable[[], object]) -> bool:
        """Other changes may have woken it before; so each is repeated until it is heard."""
        one.event.clear()
        change()
        return one.watch(7, 30)

    started = time.monotonic()
    assert is_woken_by(two.attempt_to_acquire_leader)
    assert is_woken_by(lambda: two.set_config_value('{"a": 2}'))
    assert is_woken_by(lambda: two.write_leader_optime(100))  # a replica works in step
    assert is_woken_by(lambda: two.delete_leader(leads(two)))
    assert time.monotonic() - started < 30
    assert not one.event.is_set()


def test_silent_store_is_an_error_where_leadership_is_at_stake(store: Store) -> None:
    """A store that does not answer is an error where the leader is at stake."""
    one = store(at=NOWHERE, retry_timeout=1)
    for call in (
        one.get_cluster,
        one.attempt_to_acquire_leader,
        lambda: one._update_leader(Leader(1, None, Member(-1, "p1", None, {}))),
    ):
        started = time.monotonic()
        with pytest.raises(RaftlineError):
            call()
        assert time.monotonic() - started < 10
    assert not one.touch_member({})
    assert not one.initialize()
    assert not one.set_config_value("{}")
    assert not one.take_leader()


def test_a_store_without_a_quorum_keeps_no_leader(store: Store, nodes: Cluster) -> None:
    one = store()
    assert one.attempt_to_acquire_leader()
    cluster = one.get_cluster()
    nodes["s2"].pause()
    nodes["s3"].pause()
    try:
        with pytest.raises(RaftlineError):
            one.update_leader(cluster, None)
        with pytest.raises(RaftlineError):
            one.get_cluster()
        assert one.cluster is None
    finally:
        nodes["s2"].resume()
        nodes["s3"].resume()
    eventually(lambda: not one.touch_member({}) or one.update_leader(cluster, None), "it is back")
    assert leads(one).name == "p1"


def test_a_section_that_can_t_be_is_refused_in_words(store: Store) -> None:
    with pytest.raises(PatroniFatalException, match="the section raftline: "):
        store(at="localhost:port")
    with pytest.raises(PatroniFatalException, match="a store for plain PostgreSQL clusters"):
        store(citus={"group": 0, "database": "d"})


def test_patronictl_needs_neither_a_lease_nor_a_watch(store: Store, nodes: Cluster) -> None:
    reader = store(patronictl=True)
    assert reader.get_cluster().is_empty()
    assert reader._holding._lease is None


def test_nodes_may_be_a_list_and_some_may_be_down(store: Store, nodes: Cluster) -> None:
    at = [f"localhost:{next(free_ports)}", *addresses(nodes).split(",")]
    one = store(raftline={"hosts": at})
    assert one.set_config_value(json.dumps({}))
    assert one.get_cluster().config is not None


def test_a_member_logs_in_as_a_writer_of_its_own_keys(store: Store, tmp_path: Path) -> None:
    users = {
        name: (UserRole.WRITER, (prefix,))
        for name, prefix in (("patroni", "/service/"), ("other", "app/"))
    }
    options = (*STEADY, *first_admin(tmp_path, "secret"), "--insecure")
    with Cluster(tmp_path, 1, *options) as nodes:
        nodes["s1"].start()
        add_users(addresses(nodes), users, "secret")
        section = {"hosts": addresses(nodes), "username": "patroni", "password": "secret"}
        one = store("p1", raftline=section)

        def leads_at_last() -> bool:
            with contextlib.suppress(RaftlineError):  # until the node serves
                return one.attempt_to_acquire_leader()
            return False

        eventually(leads_at_last, "it serves")
        assert one.touch_member({"state": "running"})
        assert one.update_leader(one.get_cluster(), 5)
        one.event.clear()
        assert one.set_config_value('{"a": 1}')
        assert one.set_config_value('{"a": 2}')
        assert one.watch(None, 30)  # it may watch, too
        assert one.delete_cluster()
        with pytest.raises(RaftlineError):
            store("p1", raftline={**section, "username": "other"}).get_cluster()
        with pytest.raises(RaftlineError) as refused:
            store("p1", raftline={**section, "password": "4711"}).get_cluster()
        assert "4711" not in str(refused.value)


def test_store_follows_a_cluster_that_began_again(store: Store, tmp_path: Path) -> None:
    """The call that notices it fails; the next one may lead, and a write wakes the others."""
    with Cluster(tmp_path, 1, *STEADY) as cluster:
        node = cluster.start().leader()
        one = store(at=f"localhost:{node.port}")
        before = [each.name for each in threading.enumerate()].count("raftline watch")
        assert one.attempt_to_acquire_leader()
        assert leads(one).name == "p1"
        eventually(lambda: one._kv._shared.clients.addresses.cluster, "it knows its cluster")
        begin_again(node)
        with pytest.raises(RaftlineError):
            one.attempt_to_acquire_leader()
        assert one.attempt_to_acquire_leader()
        assert leads(one).name == "p1"
        one.event.clear()
        with raftline.connect(f"localhost:{node.port}") as kv:
            del kv[one.leader_path]
        assert one.event.wait(10)

        def one_watches() -> bool:
            return [each.name for each in threading.enumerate()].count("raftline watch") == before

        eventually(one_watches, "the earlier watch has ended")


@pytest.mark.parametrize("how", ["recover", "restore"])
def test_a_primary_leads_on_in_a_repaired_cluster(how: str, store: Store, tmp_path: Path) -> None:
    """The keys are there, and nobody else takes the leader's."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        node = cluster.start().leader()
        one, other = store("p1", at=addresses(cluster)), store("p2", at=addresses(cluster))
        assert one.set_config_value('{"a": 1}')
        assert one.attempt_to_acquire_leader()
        assert not other.attempt_to_acquire_leader()
        if how == "recover":
            recover_from(node, cluster)
        else:
            backup = tmp_path / "backup"
            assert run("backup", backup, "--at", f"localhost:{node.port}").returncode == 0
            restore(cluster, backup)
        for each in (one, other):
            with pytest.raises(RaftlineError):
                each.get_cluster()
        found = one.get_cluster()
        assert found.config is not None
        assert found.config.data == {"a": 1}
        assert leads(other).name == "p1"
        assert not other.attempt_to_acquire_leader()
        assert one.update_leader(found, 5)
        assert one.touch_member({"state": "running"})
        assert [member.name for member in other.get_cluster().members] == ["p1"]
