"""Growth row of protections: the costs of a secret, users and TLS, compared with etcd with TLS."""

from __future__ import annotations

from collections.abc import Iterator

from clusters import Cluster
from etcd_nodes import Etcd
from generator import Load
from growth_setup import Setup
from protected_nodes import Protected, ProtectedWheel, TlsEtcd
from tables import RIVAL

PROTECTIONS = ("plain", "secret", "users", "TLS")
WHATS = ("set", "get")
CONNECTIONS = 64
KEYS = Load("load", connections=8, in_flight=16)


def security(setup: Setup) -> None:
    """Sets and gets at 64 connections: plain; with a secret among the nodes; with users, each
    connection logged in; with TLS among the nodes and with clients. etcd for comparison,
    plain and with TLS. The ratios are of the same round."""
    plain: dict[tuple[str, str], float] = {}  # by system and load
    for how in PROTECTIONS:
        rival: dict[str, float] = {}
        for cluster in _clusters(setup, how):
            with cluster:
                cluster.fill(KEYS)
                for what in WHATS:
                    load = Load(what, CONNECTIONS, seconds=setup.seconds)
                    figures = cluster.measure(load)
                    rate = figures["per_s"]
                    if cluster.name == RIVAL:
                        rival[what] = rate
                    elif what in rival:
                        figures["times etcd's"] = rate / rival[what]
                    figures["of plain's"] = rate / plain.setdefault((cluster.name, what), rate)
                    setup.add(f"{what}, {CONNECTIONS}, {how}", cluster, figures)


def _clusters(setup: Setup, how: str) -> Iterator[Cluster]:
    """Yield the systems that have such a protection, the rival first: the ratios of the others
    refer to its rate."""
    if setup.etcd and how == "plain":
        yield Etcd(setup.folder, setup.port)
    if setup.etcd and how == "TLS":
        yield TlsEtcd(setup.folder, setup.port)
    yield Protected(setup.folder, setup.port, how)
    if setup.wheel:
        yield ProtectedWheel(setup.folder, setup.port, how)
