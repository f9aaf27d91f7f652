"""`Raftline`: Patroni's store on a cluster of raftline.

Where a method decides who leads, False says for certain that another one does. If the store
can't be asked, or what became of a request is unknown, it raises `RaftlineError`: a primary then
demotes itself. The other methods say False in both cases, as those of Patroni's own stores.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from patroni.dcs import AbstractDCS, Cluster, Leader
from patroni.exceptions import DCSError, PatroniFatalException
from patroni.utils import deep_compare

import raftline
from raftline.errors import OtherCluster
from raftline_patroni.deadline import Deadline
from raftline_patroni.holding import Holding, seconds_for
from raftline_patroni.loading import Loaded, cluster_of
from raftline_patroni.waking import Waker

logger = logging.getLogger(__name__)
Method = TypeVar("Method", bound=Callable[..., Any])
REPLICA_WAITS_S = 0.5  # so that a replica's loop comes behind that of the primary


class RaftlineError(DCSError):
    """The store does not answer, or what became of a request is unknown."""


def decisive(method: Method) -> Method:
    """Raise RaftlineError for whatever goes wrong in a method."""

    @functools.wraps(method)
    def wrapper(*args: Any) -> Any:
        kv = args[0]._kv
        try:
            return method(*args)
        except raftline.ClientError as problem:
            logger.error("%s: %s", method.__name__, problem)
            args[0].follow(problem, kv)
            raise RaftlineError(str(problem)) from None
        except Exception as problem:  # a primary that goes on without an answer is the worse
            logger.exception("%s", method.__name__)
            raise RaftlineError(repr(problem)) from None

    return wrapper  # type: ignore[return-value]


def or_false(method: Method) -> Method:
    """Return False from a method where the store does not do it."""

    @functools.wraps(method)
    def wrapper(*args: Any, **options: Any) -> Any:
        kv = args[0]._kv
        try:
            return method(*args, **options)
        except raftline.ClientError as problem:
            logger.error("%s: %s", method.__name__, problem)
            args[0].follow(problem, kv)
            return False

    return wrapper  # type: ignore[return-value]


def nodes_of(config: dict[str, Any]) -> str | None:
    """Return the addresses in Patroni's section, "h1:10000,h2:10000". Without any it is $RAFTLINE
    that says where."""
    hosts = config.get("hosts") or config.get("host")
    return ",".join(map(str, hosts)) if isinstance(hosts, list) else hosts


class Raftline(AbstractDCS):
    """The keys of one PostgreSQL cluster in raftline, below `/NAMESPACE/SCOPE/`."""

    def __init__(self, config: dict[str, Any], mpp: Any) -> None:
        super().__init__(config, mpp)
        if mpp.is_enabled():
            raise PatroniFatalException(
                "raftline is a store for plain PostgreSQL clusters, so one with a section "
                f"{mpp.type.lower()} is not served. Take the section out, or take another store."
            )
        self._ttl = int(config.get("ttl") or 30)
        self._retry_timeout = float(config.get("retry_timeout") or 10)
        self._has_new_ttl = False
        self._connect = functools.partial(
            raftline.connect,
            nodes_of(config),
            timeout=self._retry_timeout,
            name="patroni",
            user=config.get("username"),
            password=config.get("password"),
        )
        self._following = threading.Lock()
        try:
            self._begin()
        except (ValueError, TypeError, raftline.Unreachable) as problem:
            raise PatroniFatalException(f"the section raftline: {problem}") from None

    def _begin(self) -> None:
        self._kv = self._connect()
        self._holding = Holding(self._kv)
        self._member_lease: str | None = None  # that our member key was last written under
        if not self._ctl:
            Waker(self._kv, self.client_path(""), self._name, self.event.set).start()

    def follow(self, problem: raftline.ClientError, kv: raftline.KV[str]) -> None:
        """Connect again if the cluster of `kv` was restored, recovered or begun again. The call
        that noticed it fails all the same."""
        with self._following:
            if isinstance(problem, OtherCluster) and kv is self._kv:
                self._begin()
                kv.close()

    # --- times ----------------------------------------------------------------------------------

    def set_ttl(self, ttl: int) -> bool | None:
        # The loop runs once more at once, so that the keys come under a lease of the new time.
        self._has_new_ttl = self._ttl != int(ttl)
        self._ttl = int(ttl)
        return None

    @property
    def ttl(self) -> int:
        return self._ttl

    def set_retry_timeout(self, retry_timeout: int) -> None:
        self._retry_timeout = float(retry_timeout)

    def _deadline(self) -> Deadline:
        return Deadline(self._retry_timeout)

    def _fresh_lease(self, deadline: Deadline) -> str:
        seconds = seconds_for(self._ttl, self._loop_wait, self._retry_timeout)
        return self._holding.fresh(seconds, self._loop_wait, deadline)

    # --- reads ----------------------------------------------------------------------------------

    def _postgresql_cluster_loader(self, path: str) -> Cluster:
        loaded = Loaded(self._kv, path, self._deadline())
        return cluster_of(loaded)

    def _mpp_cluster_loader(self, path: str) -> dict[int, Cluster]:
        raise RaftlineError("raftline is a store for plain PostgreSQL clusters")

    @decisive
    def _load_cluster(self, path: str, loader: Callable[[str], Any]) -> Any:
        return loader(path)

    def watch(self, leader_version: Any | None, timeout: float) -> bool:
        self._holding.due()
        if self._has_new_ttl:
            self._has_new_ttl = False
            return True
        if leader_version:
            timeout += REPLICA_WAITS_S
        try:
            return super().watch(None, timeout)
        finally:
            self.event.clear()

    # --- the leader's key -----------------------------------------------------------------------

    @decisive
    def attempt_to_acquire_leader(self) -> bool:
        deadline = self._deadline()
        lease = self._fresh_lease(deadline)
        try:
            done = self._claim_free(lease, deadline)
        except raftline.LeaseLost:
            self._holding.drop()
            done = self._claim_free(self._fresh_lease(deadline), deadline)
        if not done:
            logger.info("Could not take out TTL lock")
        return bool(done)

    def _claim_free(self, lease: str, deadline: Deadline) -> Any:
        path = self.leader_path
        claim = self._kv.within(deadline.left).txn().if_.absent(path).then
        return claim.set(path, self._name, lease=lease).else_.get(path).commit()

    @decisive
    def _update_leader(self, leader: Leader) -> bool:
        deadline = self._deadline()
        self._holding.due()
        lease = self._fresh_lease(deadline)
        stat = self._kv.within(deadline.left).stat(self.leader_path)
        if stat is not None and stat.lease == lease:
            return True
        claimed = self._claim_free(lease, deadline)
        if claimed or claimed.results[0] != self._name:
            return bool(claimed)
        # It is ours, under an earlier lease: of another ttl, or of this member before a restart.
        path = self.leader_path
        move = self._kv.within(deadline.left).txn().if_.equal(path, self._name).then
        return bool(move.set(path, self._name, lease=lease).commit())

    @or_false
    def take_leader(self) -> bool:
        deadline = self._deadline()
        lease = self._fresh_lease(deadline)
        self._kv.within(deadline.left).set(self.leader_path, self._name, lease=lease)
        return True

    @or_false
    def _delete_leader(self, leader: Leader) -> bool:
        path = self.leader_path
        return bool(self._within.txn().if_.equal(path, self._name).then.delete(path).commit())

    # --- the member's key -----------------------------------------------------------------------

    @or_false
    def touch_member(self, data: dict[str, Any]) -> bool:
        deadline = self._deadline()
        lease = self._fresh_lease(deadline)
        cluster = self.cluster
        member = cluster and cluster.get_member(self._name, fallback_to_leader=False)
        if member and self._member_lease == lease and deep_compare(data, member.data):
            return True
        value = json.dumps(data, separators=(",", ":"))
        try:
            self._kv.within(deadline.left).set(self.member_path, value, lease=lease)
        except raftline.LeaseLost:
            self._holding.drop()
            raise
        self._member_lease = lease
        return True

    # --- all other keys -------------------------------------------------------------------------

    @property
    def _within(self) -> raftline.KV[str]:
        return self._kv.within(self._retry_timeout)

    def _put(self, path: str, value: str) -> bool:
        self._within.set(path, value)
        return True

    def _put_unchanged(self, path: str, value: str, version: Any | None) -> int | bool:
        """Set a key where nobody has changed it since `version`, or in any case where that is None;
        return its new version, False where it was not set."""
        txn = self._within.txn()
        then = txn.then if version is None else txn.if_.unchanged(path, int(version)).then
        done = then.set(path, value).stat(path).commit()
        stat = done.results[1] if done else None
        return stat.index if isinstance(stat, raftline.api.Stat) else False

    @or_false
    def set_failover_value(self, value: str, version: Any | None = None) -> bool:
        return bool(self._put_unchanged(self.failover_path, value, version))

    @or_false
    def set_config_value(self, value: str, version: Any | None = None) -> bool:
        return bool(self._put_unchanged(self.config_path, value, version))

    @or_false
    def set_sync_state_value(self, value: str, version: Any | None = None) -> int | bool:
        return self._put_unchanged(self.sync_path, value, version)

    @or_false
    def delete_sync_state(self, version: Any | None = None) -> bool:
        path = self.sync_path
        if version is None:
            self._within.delete(path)
            return True
        unchanged = self._within.txn().if_.unchanged(path, int(version))
        return bool(unchanged.then.delete(path).commit())

    @or_false
    def set_history_value(self, value: str) -> bool:
        return self._put(self.history_path, value)

    @or_false
    def _write_leader_optime(self, last_lsn: str) -> bool:
        return self._put(self.leader_optime_path, last_lsn)

    @or_false
    def _write_status(self, value: str) -> bool:
        return self._put(self.status_path, value)

    @or_false
    def _write_failsafe(self, value: str) -> bool:
        return self._put(self.failsafe_path, value)

    @or_false
    def initialize(self, create_new: bool = True, sysid: str = "") -> bool:
        if create_new:
            return self._within.setnx(self.initialize_path, sysid)
        return self._put(self.initialize_path, sysid)

    @or_false
    def cancel_initialization(self) -> bool:
        self._within.delete(self.initialize_path)
        return True

    @or_false
    def delete_cluster(self) -> bool:
        self._within.clear(self.client_path(""))
        return True
