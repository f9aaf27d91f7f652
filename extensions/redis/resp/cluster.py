"""The cluster as Redis clients see it: one shard of all slots, whose primary is the leader, and
sentinels that name the leader. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from .connection import facts
from .programs import CommandContext, CommandRefused, Program, Run, Steps, choose
from .replies import SLOTS, Pairs, Value, slot_of

SERVICE: Final = "raftline"  # the name of the primary for sentinels


class ClusterMember(NamedTuple):
    """A node of the cluster."""

    name: str
    host: str
    port: int
    leads: bool
    is_me: bool

    @property
    def id(self) -> str:
        """The 40 digits by which Redis Cluster knows a node."""
        return hashlib.sha1(self.name.encode(), usedforsecurity=False).hexdigest()


def members_in(status: Mapping[str, Any]) -> list[ClusterMember]:
    """Return the members, the leader first. Without a leader among them this node takes its place:
    a request waits here for the next one, whose address is the answer. A node that has yet to join
    or was removed may know no primary, and then names no member."""
    me, addresses = status["name"], status["members"]
    leader, members = status["leader"] if _has_leader(status) else me, []
    if leader not in addresses:
        return []
    for name, address in addresses.items():
        host, port = dialed(address)
        members.append(ClusterMember(name, host, port, name == leader, name == me))
    return sorted(members, key=lambda member: (not member.leads, member.name))


def dialed(address: str) -> tuple[str, int]:
    """Return the host and the port of an address, as clients dial them."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _has_leader(status: Mapping[str, Any]) -> bool:
    """Whether a leader is known, and a member: one that was removed leads until that is
    committed."""
    return status["leader"] in status["members"]


def _slots(context: CommandContext, words: list[str]) -> Program:
    members = members_in((yield from facts()))
    nodes: list[Value] = [[one.host, one.port, one.id, []] for one in members]
    return [[0, SLOTS - 1, *nodes]] if nodes else []


def _shards(context: CommandContext, words: list[str]) -> Program:
    members = members_in((yield from facts()))
    nodes: list[Value] = [
        Pairs(
            "map",
            [
                ("id", one.id),
                ("port", one.port),
                ("ip", one.host),
                ("endpoint", one.host),
                ("role", "master" if one.leads else "replica"),
                ("replication-offset", 0),
                ("health", "online"),
            ],
        )
        for one in members
    ]
    return [Pairs("map", [("slots", [0, SLOTS - 1]), ("nodes", nodes)])] if nodes else []


def _nodes(context: CommandContext, words: list[str]) -> Program:
    status = yield from facts()
    members = members_in(status)
    primary = members[0].id if members else "-"
    lines = []
    for one in members:
        flags = ("myself," if one.is_me else "") + ("master" if one.leads else "slave")
        end = f"connected 0-{SLOTS - 1}" if one.leads else "connected"
        address = f"{one.host}:{one.port}@{one.port}"
        master = "-" if one.leads else primary
        lines.append(f"{one.id} {address} {flags} {master} 0 0 {status['term']} {end}\n")
    return "".join(lines)


def _my_id(context: CommandContext, words: list[str]) -> Program:
    status = yield from facts()
    return ClusterMember(status["name"], "", 0, leads=False, is_me=True).id


def _info(context: CommandContext, words: list[str]) -> Program:
    status = yield from facts()
    is_up, count = status["leader"] is not None, len(status["members"])
    lines = {
        "cluster_enabled": 1,
        "cluster_state": "ok" if is_up else "fail",
        "cluster_slots_assigned": SLOTS,
        "cluster_slots_ok": SLOTS if is_up else 0,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0 if is_up else SLOTS,
        "cluster_known_nodes": count,
        "cluster_size": 1,
        "cluster_current_epoch": status["term"],
        "cluster_my_epoch": status["term"],
    }
    return "".join([f"{name}:{value}\r\n" for name, value in lines.items()])


def _keyslot(context: CommandContext, words: list[str]) -> Value:
    return slot_of(words[2])


_CLUSTER: Final[Mapping[str, tuple[int, Run]]] = {
    "INFO": (2, _info),
    "KEYSLOT": (3, _keyslot),
    "MYID": (2, _my_id),
    "NODES": (2, _nodes),
    "SHARDS": (2, _shards),
    "SLOTS": (2, _slots),
}


def _cluster(context: CommandContext, words: list[str]) -> Program | Value:
    return choose(words, "CLUSTER", _CLUSTER, context)


# --- sentinels -----------------------------------------------------------------------------------


def _check_service(words: list[str]) -> None:
    if words[2] != SERVICE:
        raise CommandRefused("ERR No such master with that name")


def _described(one: ClusterMember, flags: str, others: int) -> Pairs:
    """Return the facts of a node as a sentinel tells them: all of them are texts."""
    pairs: dict[str, str] = {
        "name": SERVICE if flags == "master" else f"{one.host}:{one.port}",
        "ip": one.host,
        "port": str(one.port),
        "runid": one.id,
        "flags": flags,
        "num-slaves": "0",
        "num-other-sentinels": str(others),
        "quorum": str((others + 1) // 2 + 1),
        "master-link-status": "ok",
        "slave-priority": "100",
    }
    return Pairs("map", list(pairs.items()))


def _leader_first() -> Steps[list[ClusterMember]]:
    """Return the members, the leader first; none if no leader is known among them."""
    status = yield from facts()
    return members_in(status) if _has_leader(status) else []


def switched(before: str, after: str) -> str:
    """Return the text about a new leader, with the addresses of the former one and of this one."""
    return " ".join(map(str, [SERVICE, *dialed(before), *dialed(after)]))


def _address(context: CommandContext, words: list[str]) -> Program:
    members = yield from _leader_first()
    if words[2] != SERVICE or not members:
        return None
    return [members[0].host, str(members[0].port)]


def _masters(context: CommandContext, words: list[str]) -> Program:
    members = yield from _leader_first()
    return [_described(one, "master", len(members) - 1) for one in members[:1]]


def _master(context: CommandContext, words: list[str]) -> Program:
    masters = yield from _masters(context, words)
    if words[2] != SERVICE or not isinstance(masters, list) or not masters:
        raise CommandRefused("ERR No such master with that name")
    return masters[0]


def _replicas(context: CommandContext, words: list[str]) -> Value:
    """There are none that serve such a client: a follower reads only after `READONLY`, which no
    client in Sentinel mode sends. So one that asks for a replica reads at the leader."""
    _check_service(words)
    return []


def _sentinels(context: CommandContext, words: list[str]) -> Program:
    _check_service(words)
    members = yield from _leader_first()
    return [_described(one, "sentinel", len(members) - 1) for one in members if not one.is_me]


_SENTINEL: Final[Mapping[str, tuple[int, Run]]] = {
    "GET-MASTER-ADDR-BY-NAME": (3, _address),
    "MASTER": (3, _master),
    "MASTERS": (2, _masters),
    "REPLICAS": (3, _replicas),
    "SENTINELS": (3, _sentinels),
    "SLAVES": (3, _replicas),
}


def _sentinel(context: CommandContext, words: list[str]) -> Program | Value:
    return choose(words, "SENTINEL", _SENTINEL, context)


CLUSTER: Final[tuple[tuple[str, int, Run, str], ...]] = (
    ("CLUSTER", -2, _cluster, "loading stale"),
    ("SENTINEL", -2, _sentinel, "admin noscript"),
)
