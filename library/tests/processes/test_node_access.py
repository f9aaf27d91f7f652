"""Nodes inside programs that speak TLS, know users and a secret, as a server does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raftline
from raftline import ClientTls, Node, NodeError, ReplicatedDict
from raftline.access import authority
from raftline.access.secret import make_secret
from raftline.access.users import make_verifier, write_first_admin
from raftline.net.line_connection import LineConnection
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline_testing.nodes.processes import DEADLINE_S, free_ports

PASSWORD = "correct horse battery"
VERIFIER = make_verifier(PASSWORD, ITERATIONS_LEAST)
NAMES = ("s1", "s2", "s3")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of three members and of a user, a secret, and a first admin."""
    folder = tmp_path_factory.mktemp("made")
    authority.make(folder, [f"{name}=localhost" for name in NAMES], ["ann"])
    make_secret(folder / "secret")
    write_first_admin(folder / "first-admin", "ann", str(VERIFIER))
    return folder


def tls(made: Path, name: str) -> dict[str, Any]:
    return {"tls_cert": made / f"{name}.pem", "tls_key": str(made / f"{name}.key"),
            "tls_ca": made / "ca.pem", "tls_only": True}  # fmt: skip


def who(made: Path) -> dict[str, Any]:
    """Return the settings by which a node has users, and its objects log in as one."""
    return {
        "first_admin": made / "first-admin",
        "anonymous": "none",
        "user": "ann",
        "password": PASSWORD,
    }


@pytest.fixture
def members() -> dict[str, str]:
    return {name: f"localhost:{next(free_ports)}" for name in NAMES}


@pytest.fixture
def nodes(made: Path, members: dict[str, str], tmp_path: Path) -> Iterator[list[Node]]:
    """Three nodes that speak TLS alone, to members by certificate, and know users."""
    opened = [
        Node(name, members=members, dir=tmp_path / name, **tls(made, name), **who(made))
        for name in NAMES
    ]
    yield opened
    for node in opened:
        node.close()


def test_objects_work_over_tls_and_with_users(
    nodes: list[Node], members: dict[str, str], made: Path
) -> None:
    """Objects work with nodes that require TLS and have users."""
    ReplicatedDict("settings", node=nodes[0])["lamp"] = "on"
    assert ReplicatedDict("settings", node=nodes[2])["lamp"] == "on"
    assert all(node.wait_for_leader(DEADLINE_S) for node in nodes)
    port = int(members["s1"].partition(":")[2])
    with LineConnection(port) as plain:
        assert "this port speaks TLS alone" in plain.ask("get a")
    at, ann = (
        members["s1"],
        ClientTls(ca=made / "ca.pem", cert=made / "ann.pem", key=made / "ann.key"),
    )
    with raftline.connect(at, tls=ann) as kv:
        kv["a"] = "5"
        assert kv["a"] == "5"
    nobody = ClientTls(ca=made / "ca.pem")
    with raftline.connect(at, tls=nobody) as kv, pytest.raises(raftline.NotAllowed):
        kv.get("a")
    with LineConnection(port, tls=nobody) as stranger:
        forged = stranger.ask("s2@AppendEntries 999-0-0-[] commit 0 round 1")
        assert "s2 proved nothing on this connection" in forged


def test_the_leader_of_such_nodes_may_end_and_objects_continue(nodes: list[Node]) -> None:
    counts = [raftline.ReplicatedCounter("n", node=node) for node in nodes]
    counts[0].add()
    leader = nodes[0].wait_for_leader(DEADLINE_S)
    assert leader is not None
    nodes[NAMES.index(leader.name)].close()
    others = [count for node, count in zip(nodes, counts, strict=True) if node.is_running]
    assert [count.add() for count in others] == [2, 3]


def test_the_secret_is_read_again_when_the_program_asks(
    made: Path, members: dict[str, str], tmp_path: Path
) -> None:
    own = {"s1": members["s1"]}
    secret = tmp_path / "secret"
    make_secret(secret)
    with Node("s1", members=own, dir=tmp_path / "1", secret=secret, **who(made)) as node:
        assert node.wait_until_leader(timeout=DEADLINE_S)
        node.reload()
        secret.write_text("short")
        with pytest.raises(NodeError, match=r"secret .*: a secret"):
            node.reload()
        assert node.request("set a 5") == "SET response: a set to 5"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({}, "add secret FILE .*, or tls_only and tls_ca FILE; .*add insecure"),
        ({"secret": "secret", "secret_mode": "offer"}, "secret_mode offer accepts members"),
        ({"tls_cert": "s1.pem", "tls_key": "s1.key", "tls_only": True}, "add secret FILE"),
    ],
)
def test_a_node_that_others_reach_does_not_start_unprotected(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], why: str
) -> None:
    monkeypatch.chdir(made)
    members = {"s1": "0.0.0.0:1"}
    with pytest.raises(NodeError, match=why):
        Node("s1", members=members, dir=tmp_path, open_to_network=True, **settings)


def test_node_in_a_program_says_that_it_is_open(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A node inside a program warns that every client may do everything."""
    members = {"s1": f"0.0.0.0:{next(free_ports)}"}
    known: dict[str, Any] = {"secret": made / "secret", "open_to_network": True}
    with Node("s1", members=members, dir=tmp_path, **known):
        pass
    assert "[!] while the cluster has no users, every client that reaches this" in caplog.text


def test_reachable_node_needs_a_secret_or_an_open_setting(made: Path, tmp_path: Path) -> None:
    """A node that other hosts can reach starts only with a secret, or if it is configured to be
    open."""
    ways: tuple[dict[str, Any], ...] = ({"secret": made / "secret"}, {"insecure": True})
    for number, settings in enumerate(ways):
        members = {"s1": f"0.0.0.0:{next(free_ports)}"}
        folder = tmp_path / str(number)
        with Node("s1", members=members, dir=folder, open_to_network=True, **settings) as node:
            assert node.is_running


@pytest.mark.parametrize(
    ("settings", "error", "why"),
    [
        ({"tls_only": True}, NodeError, "TLS needs both tls_cert FILE and tls_key FILE"),
        ({"tls_cert": "none", "tls_key": "none"}, NodeError, "tls_cert none, tls_key none: No"),
        ({"secret": "none"}, NodeError, "^secret none: No such file"),
        ({"secret_mode": "offer"}, NodeError, "secret_mode says how .* add secret FILE"),
        ({"secret": "secret", "secret_mode": "ask"}, NodeError, "not one of: require, offer"),
        ({"anonymous": "none"}, NodeError, "anonymous none does not stop .* add secret FILE"),
        ({"first_admin": "none"}, NodeError, "anonymous none does not stop .* add secret FILE"),
        ({"anonymous": "root"}, NodeError, "not one of: none, reader, writer, adm"),
        ({"tls_require": True}, NodeError, "tls_require requires .*: add tls_only and tls_ca FILE"),
        ({"tls_crl": "none"}, NodeError, "tls_crl names .* add tls_ca FILE"),
        ({"password": "p"}, ValueError, "a password without a user"),
        ({"user": "bob"}, ValueError, "bob has no password: give password=, or "),
        ({"tls": True}, TypeError, "unexpected keyword argument 'tls'"),
    ],
)
def test_settings_that_cannot_be_are_reported_by_their_keywords(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    members: dict[str, str],
    settings: dict[str, Any],
    error: type[Exception],
    why: str,
) -> None:
    monkeypatch.chdir(made)
    with pytest.raises(error, match=why) as refused:
        Node("s1", members=members, dir=tmp_path, **settings)
    assert "\n" not in str(refused.value)
    assert "--" not in str(refused.value)
    with Node("s1", members=members, dir=tmp_path) as node:  # port and files are free
        assert node.is_running
