"""The driver: a group is a key, a member is a key under its lease, a leader an election.

tooz beats for the members: a program that hangs leaves its groups. Locks and leaders are renewed by
raftline, as long as the program lives.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

import tooz
from tooz import coordination, locking, utils

import raftline
from raftline.errors import OtherCluster

Kind = TypeVar("Kind")
TIMEOUT_S = 30
GROUPS = b"tooz/group/"
MEMBERS = b"tooz/member/"


def _quoted(name: bytes | str) -> str:
    """Return a name without a slash; those of groups, members and locks may hold any byte."""
    return quote_from_bytes(utils.to_binary(name), safe="")


def _formatted(capabilities: Any, created_at: int | None = None) -> bytes:
    """Return the value of a member; its times are milliseconds of this machine's clock."""
    now = int(1000 * time.time())
    created = now if created_at is None else created_at
    facts = {"capabilities": capabilities, "created_at": created, "updated_at": now}
    return utils.dumps(facts)


class RaftlineLock(locking.Lock):
    """A lock of the cluster for all drivers, which one holds alone or many share."""

    def __init__(self, driver: RaftlineDriver, name: bytes) -> None:
        super().__init__(name)
        self._driver = driver
        self._key = f"tooz/{_quoted(name)}"
        self._held: list[raftline.api.Held] = []  # until their release; a driver may share it twice

    def acquire(
        self, blocking: bool | float = True, shared: bool = False, timeout: int | None = None
    ) -> bool:
        driver = self._driver
        lock = driver.kv.lock(self._key, shared=shared, ttl=driver.lock_timeout)
        blocking, limit_s = utils.convert_blocking(blocking, timeout)
        with self._driver.translated():
            held = lock.acquire(timeout=limit_s if blocking else 0)
        if held is None:
            return False
        self._held.append(held)
        self._driver.locks.add(self)
        return True

    def release(self) -> bool:
        """Release it once. If it was lost, and acquired again since, the lost one goes first."""
        lost = [each for each in self._held if not each.is_held]
        if not self._held:
            return False
        held = (lost or self._held)[-1]
        self._held.remove(held)
        try:
            held.release()
        except (RuntimeError, raftline.RaftlineError):
            return False
        finally:
            if not self._held:
                self._driver.locks.discard(self)
        return True

    def break_(self) -> bool:
        with self._driver.translated():
            return self._driver.kv.clear(f"lock/{self._key}/".encode()) > 0

    @property
    def acquired(self) -> bool:
        return any(each.is_held for each in self._held)

    def is_still_owner(self) -> bool:
        if not self._held:
            return False
        with self._driver.translated():
            try:
                self._held[-1].check()
            except (RuntimeError, raftline.LeaseLost, OtherCluster):
                return False
        return True

    def heartbeat(self) -> bool:
        """Return whether it is held: raftline renews it."""
        return self.acquired


class RaftlineDriver(
    coordination.CoordinationDriverCachedRunWatchers, coordination.CoordinationDriverWithExecutor
):
    """Coordinates by a cluster of raftline, `raftline://HOST:PORT[,HOST:PORT]?OPTION=VALUE`.

    Options: `timeout`, the seconds of a call; `membership_timeout` and `lock_timeout`, the seconds
    after which a member or a lock of a program that died is gone (30 each); `user`, `password`.
    """

    CHARACTERISTICS = (
        coordination.Characteristics.NON_TIMEOUT_BASED,
        coordination.Characteristics.DISTRIBUTED_ACROSS_THREADS,
        coordination.Characteristics.DISTRIBUTED_ACROSS_PROCESSES,
        coordination.Characteristics.DISTRIBUTED_ACROSS_HOSTS,
        coordination.Characteristics.LINEARIZABLE,
        coordination.Characteristics.SERIALIZABLE,
        coordination.Characteristics.CAUSAL,
        coordination.Characteristics.SEQUENTIAL,
    )

    def __init__(self, member_id: bytes, parsed_url: Any, options: dict[str, Any]) -> None:
        super().__init__(member_id, parsed_url, options)
        given = utils.collapse(options)
        self._at = parsed_url.netloc
        self._timeout_s = float(given.get("timeout", TIMEOUT_S))
        self._login = {name: given[name] for name in ("user", "password") if name in given}
        self.lock_timeout = int(given.get("lock_timeout", TIMEOUT_S))
        self.membership_timeout = int(given.get("membership_timeout", TIMEOUT_S))
        self.locks: set[RaftlineLock] = set()
        self._following = threading.Lock()
        self._leads: dict[bytes, raftline.api.Held] = {}  # by the group's name

    # --- its life ---------------------------------------------------------------------------------

    def _start(self) -> None:
        super()._start()
        self.kv = self._connect()
        with self.translated():
            self._lease = self.kv.lease(self.membership_timeout, keep=False).grant()

    def _connect(self) -> raftline.KV[bytes]:
        kv = raftline.connect(self._at, timeout=self._timeout_s, name="tooz", **self._login)
        return kv.binary

    def _follow(self, before: raftline.KV[bytes]) -> None:
        """Connect again if the cluster was restored, recovered or begun again. All that it held in
        the earlier one is lost, so this program has left its groups."""
        with self._following, contextlib.suppress(raftline.RaftlineError):  # the next call tries
            if self.kv is before:
                kv = self._connect()
                self._lease = kv.lease(self.membership_timeout, keep=False).grant()
                self.kv = kv
                self._leads.clear()
                before.close()

    @contextlib.contextmanager
    def translated(self, kv: raftline.KV[bytes] | None = None) -> Any:
        """Turn errors of raftline into those of tooz. `kv` is the client that is used."""
        kv = self.kv if kv is None else kv
        try:
            yield
        except OtherCluster as error:
            self._follow(kv)
            utils.raise_with_cause(coordination.ToozConnectionError, str(error), cause=error)
        except (raftline.Unreachable, raftline.NoLeader) as error:
            utils.raise_with_cause(coordination.ToozConnectionError, str(error), cause=error)
        except raftline.RaftlineError as error:
            utils.raise_with_cause(tooz.ToozError, str(error), cause=error)

    def _stop(self) -> None:
        for lock in self.locks.copy():
            while lock._held:
                lock.release()
        for held in (*self._leads.values(), self._lease):
            with contextlib.suppress(RuntimeError, raftline.RaftlineError):  # it runs out
                held.release()
        self._leads.clear()
        self.kv.close()
        super()._stop()

    def heartbeat(self) -> float:
        """Renew the membership; return within how many seconds to do so again."""
        with self.translated():
            try:
                self._lease.check()
            except raftline.LeaseLost:  # the groups are left by now
                self._lease = self.kv.lease(self.membership_timeout, keep=False).grant()
        return min(self.lock_timeout, self.membership_timeout)

    def _done(self, do: Callable[[], Kind]) -> coordination.CoordinatorResult[Kind]:
        return coordination.CoordinatorResult(
            self._executor.submit(do), functools.partial(self.translated, self.kv)
        )

    # --- groups and members -----------------------------------------------------------------------

    def _group(self, group_id: bytes) -> bytes:
        return GROUPS + _quoted(group_id).encode()

    def _members(self, group_id: bytes) -> bytes:
        return MEMBERS + _quoted(group_id).encode() + b"/"

    def _member(self, group_id: bytes, member_id: bytes) -> bytes:
        return self._members(group_id) + _quoted(member_id).encode()

    def create_group(self, group_id: bytes) -> coordination.CoordinatorResult[None]:
        def create() -> None:
            if not self.kv.setnx(self._group(group_id), b""):
                raise coordination.GroupAlreadyExist(group_id)

        return self._done(create)

    def get_groups(self) -> coordination.CoordinatorResult[list[bytes]]:
        def groups() -> list[bytes]:
            return [unquote_to_bytes(key[len(GROUPS) :]) for key in self.kv.keys(GROUPS)]

        return self._done(groups)

    def delete_group(self, group_id: bytes) -> coordination.CoordinatorResult[None]:
        def delete() -> None:
            group = self._group(group_id)
            empty = self.kv.txn().if_.exists(group).none_under(self._members(group_id))
            done = empty.then.delete(group).else_.get(group).commit()
            if not done:
                is_there = done.value(0) is not None
                kind = coordination.GroupNotEmpty if is_there else coordination.GroupNotCreated
                raise kind(group_id)

        return self._done(delete)

    def join_group(
        self, group_id: bytes, capabilities: coordination.Capabilities | None = None
    ) -> coordination.CoordinatorResult[None]:
        def join() -> None:
            group, member = self._group(group_id), self._member(group_id, self._member_id)
            free = self.kv.txn().if_.exists(group).absent(member)
            joins = free.then.set(member, _formatted(capabilities), lease=self._lease)
            done = joins.else_.get(group).commit()
            if not done and done.value(0) is None:
                raise coordination.GroupNotCreated(group_id)
            if not done:
                raise coordination.MemberAlreadyExist(group_id, self._member_id)
            self._joined_groups.add(group_id)

        return self._done(join)

    def leave_group(self, group_id: bytes) -> coordination.CoordinatorResult[None]:
        def leave() -> None:
            if not self.kv.delete(self._member(group_id, self._member_id)):
                raise coordination.MemberNotJoined(group_id, self._member_id)
            self._joined_groups.discard(group_id)

        return self._done(leave)

    def get_members(self, group_id: bytes) -> coordination.CoordinatorResult[set[bytes]]:
        return self._done(lambda: set(self._read(group_id)))

    def get_members_with_capabilities(
        self, group_id: bytes
    ) -> coordination.CoordinatorResult[dict[bytes, coordination.Capabilities | None]]:
        return self._done(functools.partial(self._read, group_id))

    def _read(self, group_id: bytes) -> dict[bytes, Any]:
        prefix = self._members(group_id)
        found = list(self.kv.items(prefix))
        if not found and self._group(group_id) not in self.kv:
            raise coordination.GroupNotCreated(group_id)
        return {
            unquote_to_bytes(key[len(prefix) :]): utils.loads(value)["capabilities"]
            for key, value in found
        }

    def get_member_capabilities(
        self, group_id: bytes, member_id: bytes
    ) -> coordination.CoordinatorResult[Any]:
        return self._done(lambda: self._facts(group_id, member_id)["capabilities"])

    def get_member_info(
        self, group_id: bytes, member_id: bytes
    ) -> coordination.CoordinatorResult[dict[str, Any]]:
        """Return capabilities and the times of joining and of the last update, which are those of
        the member's machine."""

        def info() -> dict[str, Any]:
            facts = self._facts(group_id, member_id)
            times = ("created_at", "updated_at")
            return {**facts, **{each: utils.millis_to_datetime(facts[each]) for each in times}}

        return self._done(info)

    def _facts(self, group_id: bytes, member_id: bytes) -> Any:
        value = self.kv.get(self._member(group_id, member_id))
        if value is None:
            raise coordination.MemberNotJoined(group_id, member_id)
        return utils.loads(value)

    def update_capabilities(
        self, group_id: bytes, capabilities: coordination.Capabilities
    ) -> coordination.CoordinatorResult[None]:
        def update() -> None:
            member = self._member(group_id, self._member_id)
            value = _formatted(capabilities, self._facts(group_id, self._member_id)["created_at"])
            joined = self.kv.txn().if_.exists(member).then
            if not joined.set(member, value, lease=self._lease).commit():
                raise coordination.MemberNotJoined(group_id, self._member_id)

        return self._done(update)

    # --- leaders and locks ------------------------------------------------------------------------

    def _election(self, group_id: bytes) -> raftline.api.Election[bytes]:
        return self.kv.election(f"tooz/{_quoted(group_id)}", ttl=self.membership_timeout)

    def get_leader(self, group_id: bytes) -> coordination.CoordinatorResult[Any]:
        return self._done(lambda: self._election(group_id).leader())

    def run_elect_coordinator(self) -> None:
        """Try to lead each group whose leader is watched for, unless this member leads it."""
        with self.translated():
            for group_id, hooks in list(self._hooks_elected_leader.items()):
                held = self._leads.get(group_id)
                if held is not None and held.is_held:
                    continue
                held = self._election(group_id).campaign(self._member_id, timeout=0)
                if held is not None:
                    self._leads[group_id] = held
                    hooks.run(coordination.LeaderElected(group_id, self._member_id))

    def stand_down_group_leader(self, group_id: bytes) -> bool:
        """Hand the leadership over; return whether this member led."""
        held = self._leads.pop(group_id, None)
        if held is None or not held.is_held:
            return False
        with self.translated():
            held.release()
        return True

    def run_watchers(self, timeout: float | None = None) -> list[Any]:
        """Call what waits for members that came or went, then see who leads."""
        found = super().run_watchers(timeout=timeout)
        self.run_elect_coordinator()
        return found

    def get_lock(self, name: bytes) -> RaftlineLock:
        return RaftlineLock(self, name)
