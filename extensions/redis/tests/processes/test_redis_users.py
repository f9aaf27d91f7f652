"""Users at a real node, who log in as Redis clients do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import raftline
from raftline.access.secret import make_secret
from raftline.harness.added_users import add_users
from raftline.net.line_connection import LineConnection
from raftline.redis.harness.redis_wire import framed
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.known_users import first_admin

PASSWORD = "correct horse battery"
NAMES = {"ann": (UserRole.ADMIN, EVERYWHERE), "eve": (UserRole.WRITER, ("app/",))}
GUESSES, GUESSERS = 3, 200  # wrong passwords of each, and how many try at a time


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A node that nobody may ask without a login."""
    folder = tmp_path_factory.mktemp("users")
    make_secret(folder / "secret")
    options = [*first_admin(folder, PASSWORD, "ann"), "--secret", str(folder / "secret")]
    (folder / "nodes").mkdir()
    with Cluster(folder / "nodes", 1, *STEADY, *options) as one:
        one.start("--new")
        add_users(f"localhost:{one['s1'].port}", NAMES, PASSWORD, "ann")
        yield one


def test_wrong_passwords_hold_nobody_up(cluster: Cluster) -> None:
    port = cluster["s1"].port
    connections = [LineConnection(port) for _ in range(GUESSERS)]
    users = ["ann", "eve", "mallory"]
    try:
        for number, one in enumerate(connections):
            user = users[number % len(users)]
            guesses = [framed("AUTH", user, f"wrong{each}") for each in range(GUESSES)]
            one.socket.sendall(b"".join(guesses))
        address = f"localhost:{port}"
        with raftline.connect(address, user="eve", password=PASSWORD) as eve:
            for number in range(20):  # others are served, and log in, meanwhile
                eve["app/meanwhile"] = str(number)
        with raftline.connect(address, user="ann", password=PASSWORD) as ann:
            assert ann["app/meanwhile"] == "19"
        assert {one.read_lines(1)[0].rstrip() for one in connections} == {
            "-WRONGPASS invalid username-password pair or user is disabled.",
            "-TRYAGAIN too many logins at a time. Nothing was done; try again.",
        }
    finally:
        for one in connections:
            one.close()


def test_no_password_is_in_any_file_or_line_of_a_node(cluster: Cluster) -> None:
    (node,) = cluster.nodes
    with LineConnection(node.port) as connection:
        for words in (("AUTH", "eve", PASSWORD), ("AUTH", PASSWORD), ("AUTHX", "eve", PASSWORD)):
            connection.socket.sendall(framed(*words))
        assert [line.rstrip()[:5] for line in connection.read_lines(3)] == ["+OK", "-WRON", "-ERR "]
        connection.socket.sendall(framed("HELLO", "3", "AUTH", "eve", f"{PASSWORD}!"))
        assert connection.read_lines(1)[0].startswith("-WRONGPASS")
    for path in cluster.folder.rglob("*"):
        if path.is_file():
            assert b"horse" not in path.read_bytes(), path
    assert "horse" not in "".join(node.lines)
