"""The first call of a client with a login, interrupted at each of its lines: the client serves, and
closes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest

import raftline
from raftline.access.secret import make_secret
from raftline.harness.added_users import add_users
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline_testing.doubles.interruptions import interrupted
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.known_users import first_admin
from raftline_testing.nodes.processes import DEADLINE_S
from raftline_testing.runner.at_night import at_night, in_the_rest

PASSWORD = "correct horse battery"
MODULES = ("/clients/", "/access/", "/wire/", "/common/")
CALLS: dict[str, Callable[[raftline.KV[str]], object]] = {
    "get": lambda kv: kv.get("a"),
    "set": lambda kv: kv.set("b", "1"),
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node that admits nobody without a login."""
    folder: Path = tmp_path_factory.mktemp("login")
    make_secret(folder / "secret")
    known = [*first_admin(folder, PASSWORD, "ann"), "--secret", str(folder / "secret")]
    with Cluster(folder, 1, *STEADY, *known) as cluster:
        cluster.start()
        address = f"localhost:{cluster.nodes[0].port}"
        add_users(address, {"eve": (UserRole.WRITER, EVERYWHERE)}, PASSWORD, "ann")
        yield address


@pytest.mark.parametrize("name", [in_the_rest("get"), *at_night("set")])
def test_first_call_with_a_login_may_be_interrupted(address: str, name: str) -> None:
    """Another thread, which can't take the locks of this one, uses and closes the client."""
    for number in count(1):
        kv = raftline.connect(address, user="eve", password=PASSWORD, timeout=DEADLINE_S)
        place = interrupted(number, partial(CALLS[name], kv), MODULES)
        found: list[str | None] = []
        thread = threading.Thread(target=use_and_close, args=(kv, found), daemon=True)
        thread.start()
        thread.join(2 * DEADLINE_S)
        assert found == [None, "closed"], f"interrupted at line {number}, {place}"
        if not place:
            break
    assert number > 700


def use_and_close(kv: raftline.KV[str], found: list[str | None]) -> None:
    found.append(kv.get("a"))
    kv.close()
    found.append("closed")
