"""The picture of a closed cluster: TLS, a login, a secret; and who may open the page."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from raftline.access import authority
from raftline.access.secret import make_secret
from raftline.clients.connections.client_login import PASSWORD_FILE, USER
from raftline.clients.connections.client_tls import ClientTls
from raftline.harness.added_users import add_users
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.known_users import first_admin
from raftline_testing.nodes.processes import Process, free_ports

pytest.importorskip("aiohttp", reason="the page needs aiohttp")
PROGRAM = [sys.executable, str(Path(__file__).parents[4] / "src" / "cli.py")]
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates, a secret, users, and their password."""
    folder = tmp_path_factory.mktemp("closed")
    authority.make(folder, [f"s{number}=localhost,127.0.0.1" for number in (1, 2, 3)], [])
    make_secret(folder / "secret")
    (folder / "password").write_text(f"{PASSWORD}\n")
    (folder / "password").chmod(0o600)
    (folder / "wrong").write_text("correct horse\n")
    (folder / "wrong").chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def three(folder: Path) -> Iterator[Cluster]:
    (folder / "nodes").mkdir()
    users = first_admin(folder, PASSWORD, "ann")
    options = [*STEADY, "--secret", str(folder / "secret"), *users]
    with Cluster(folder / "nodes", 3, *options) as cluster:
        for node in cluster.nodes:
            files = {"cert": f"{node.name}.pem", "key": f"{node.name}.key", "ca": "ca.pem"}
            for what, name in files.items():
                node.options += [f"--tls-{what}", str(folder / name)]
            node.options.append("--tls-only")
        at = ",".join(f"localhost:{node.port}" for node in cluster.start().nodes)
        bob = {"bob": (UserRole.READER, EVERYWHERE)}
        add_users(at, bob, PASSWORD, "ann", ClientTls(ca=folder / "ca.pem"))
        yield cluster


def viewer(three: Cluster, folder: Path, user: str, password: str, *more: str) -> Process:
    command = [*PROGRAM, "view", "--dir", str(three.folder), *more]
    env = {**os.environ, "RAFTLINE_TLS_CA": str(folder / "ca.pem"),
           USER: user, PASSWORD_FILE: str(folder / password)}  # fmt: skip
    return Process("view", command, env=env)


def get(port: int, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection("localhost", port, timeout=20)
    connection.request("GET", path, None, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def test_the_page_of_a_closed_cluster_opens_with_its_key_alone(
    three: Cluster, folder: Path
) -> None:
    port = next(free_ports)
    with closing(viewer(three, folder, "ann", "password", "--port", str(port))) as page:
        line = page.launch().wait_for_line("the picture: http://")
        key = line.partition("/#key=")[2]
        assert len(key) >= 24
        for headers in ({}, {"X-Raftline-Key": "other"}, {"Cookie": f"key={key}"}):
            assert get(port, "/facts", **headers)[0] == get(port, "/events", **headers)[0] == 403
            assert get(port, f"/facts?key={key}", **headers)[0] == 403
        status, answered, text = get(port, "/")  # what everybody may read, and no cookie
        assert (status, "Set-Cookie" in answered, key in text) == (200, False, False)
        mine = {"X-Raftline-Key": key}
        assert json.loads(get(port, "/facts", **mine)[2])["controller"] is True
        assert begun(port, mine) == {"s1", "s2", "s3"}
        assert PASSWORD not in "\n".join(page.lines)


def begun(port: int, headers: dict[str, str]) -> set[str]:
    """Return the nodes that are observed, once all three are."""
    connection = http.client.HTTPConnection("localhost", port, timeout=20)
    connection.request("GET", "/events", None, headers)
    stream, found = connection.getresponse(), set[str]()
    while len(found) < 3:
        line = stream.fp.readline().decode()
        batch = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
        found |= {event["node"] for event in batch.get("events", []) if event["k"] == "begin"}
    connection.close()
    return found


@pytest.mark.parametrize(
    ("user", "password", "why", "status"),
    [
        ("ann", "wrong", "the login failed: ", 6),
        ("bob", "password", "Sorry, ", 5),
    ],
)
def test_who_may_not_observe_reads_why(
    three: Cluster, folder: Path, user: str, password: str, why: str, status: int
) -> None:
    page = folder / "page.html"
    more = ["--save", str(page), "--for", "0.5"]
    saver = viewer(three, folder, user, password, *more).launch()
    assert saver.ended() == status
    warnings = [line for line in saver.lines if line.startswith("[!] ")]
    assert [line for line in warnings if f"can't be observed: {why}" in line] == warnings != []
    assert saver.lines[-1].endswith("answered; nothing was saved")
    assert not page.exists()


@pytest.mark.parametrize(
    ("trusted", "why"), [({"RAFTLINE_TLS_CA": "s1.pem"}, "TLS: "), ({}, "Sorry, ")]
)
def test_without_the_authority_no_node_is_trusted(
    three: Cluster, folder: Path, trusted: dict[str, str], why: str
) -> None:
    env = {**os.environ, **{name: str(folder / file) for name, file in trusted.items()}}
    command = [*PROGRAM, "view", "--dir", str(three.folder), "--save", str(folder / "x.html")]
    saver = Process("save", [*command, "--for", "0.5"], env=env).launch()
    assert saver.ended() == 8
    assert any(f"can't be observed: {why}" in line for line in saver.lines)
