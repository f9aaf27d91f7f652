"""The load generator with TLS and with a login, and the protected systems of the bench."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from raftline.clients.connections.client_tls import ClientTls
from raftline.harness.added_users import add_users
from raftline_testing.nodes.cluster import Cluster
from raftline_testing.nodes.known_users import ROOT_ALONE
from raftline_testing.nodes.processes import ports_in_a_row
from raftline_testing.runner.at_night import at_night

ROOT = Path(__file__).resolve().parents[2]
CLI = ROOT / "src" / "cli.py"

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(shutil.which("cc") is None, reason="the generator needs cc"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificate and the key of s1."""
    pytest.importorskip("cryptography")
    folder = tmp_path_factory.mktemp("certs")
    raftline("certs", folder, "--node", "s1=localhost")
    return folder


@pytest.fixture(scope="module")
def node(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a node that speaks TLS alone, and takes no word without a login."""
    folder = tmp_path_factory.mktemp("protected")
    first = folder / "first-admin"
    raftline("user", "first", "ann", first, said="secret\n")
    options = ("--tls-only", "--tls-cert", made / "s1.pem", "--tls-key", made / "s1.key",
               "--first-admin", first, "--anonymous", "none", "--insecure")  # fmt: skip
    with Cluster(folder, 1, *map(str, options)) as cluster:
        (alone,) = cluster.nodes
        alone.start().wait_for_line("I am Leader")
        tls = ClientTls(ca=made / "ca.pem")
        add_users(f"localhost:{alone.port}", ROOT_ALONE, "secret", "ann", tls)
        yield alone.port


def raftline(*words: object, said: str = "") -> None:
    command = [sys.executable, str(CLI), *map(str, words)]
    subprocess.run(command, input=said, check=True, capture_output=True, text=True, timeout=60)


def run(generator: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(generator), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def login(folder: Path, line: str) -> Path:
    path = folder / "login"
    path.write_text(line)
    return path


def test_the_generator_speaks_tls_and_logs_in_on_each_connection(
    generator: Path, node: int, tmp_path: Path
) -> None:
    words = ("-p", node, "-T", "-l", login(tmp_path, "login ann secret\n"), "-c", 3, "-v", 40_000)
    loaded = run(generator, *words, "-o", "load", "-k", 9, "-d", 2)
    assert (loaded.returncode, loaded.stderr) == (0, "")
    done = run(generator, *words, "-o", "get", "-k", 9, "-n", 30)
    found = json.loads(done.stdout)
    assert (found["ops"], found["errors"]) == (30, 0)


def test_answers_in_several_tls_records_are_all_read(generator: Path, made: Path) -> None:
    """Answers in several records that come together are all heard."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / "s1.pem", made / "s1.key")
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(arrived, leaving, server_side=True)

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            carried(connection, tls.do_handshake)
            asked = b""
            while asked.count(b"\n") < 3:
                asked += carried(connection, lambda: tls.read(4096))
            for _ in range(3):
                tls.write(b"s1@SET response: done\n")
            connection.sendall(leaving.read())
            connection.recv(1)  # until the generator has left

    def carried(connection: socket.socket, step: Callable[[], Any]) -> Any:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                connection.sendall(leaving.read())
                arrived.write(connection.recv(4096))
            finally:
                connection.sendall(leaving.read())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=(listener,), daemon=True)
        server.start()
        done = run(generator, "-T", "-p", listener.getsockname()[1], "-d", 3, "-n", 3)
    assert json.loads(done.stdout)["ops"] == 3
    server.join(60)


def test_a_generator_that_is_kept_out_says_so_in_one_line(
    generator: Path, node: int, tmp_path: Path
) -> None:
    path = login(tmp_path, "login ann wrong\n")
    done = run(generator, "-p", node, "-T", "-l", path)
    assert (done.returncode, done.stderr) == (1, "loadgen: the login was refused\n")
    done = run(generator, "-p", node, "-T", "-n", 1)
    assert json.loads(done.stdout)["errors"] == 1
    assert "Sorry" in done.stderr
    done = run(generator, "-p", node, "-n", 1)
    assert "this port speaks TLS alone" in done.stderr


def test_a_server_without_tls_is_reported(generator: Path, tmp_path: Path) -> None:
    with Cluster(tmp_path, 1) as cluster:
        port = cluster.start()["s1"].port
        done = run(generator, "-p", port, "-T")
    assert (done.returncode, done.stderr) == (1, "loadgen: TLS: the server did not shake hands\n")


@pytest.mark.parametrize(
    "arguments",
    [["-T", "-b"], ["-T", "-i", "3"], ["-l", "no-such-file"], ["-l", "/dev/null"],
     ["-l", "LOGIN", "-P", "resp"]],
)  # fmt: skip
def test_wrong_arguments_are_refused_in_one_line(
    generator: Path, tmp_path: Path, arguments: list[str]
) -> None:
    path = str(login(tmp_path, "login ann secret\n"))
    done = run(generator, "-p", 1, *(path if word == "LOGIN" else word for word in arguments))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


PROGRAM = """
import json, sys
from pathlib import Path
from generator import Load
import protected_nodes
kind, how, folder, port = sys.argv[1:]
more = [how] if how else []
with getattr(protected_nodes, kind)(Path(folder), int(port), *more) as cluster:
    print(json.dumps(cluster.measure(Load(connections=4, seconds=1.5, warm_up=0.1))))
"""


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("Protected", "TLS"),
        *at_night(("Protected", "secret"), ("Protected", "users"), ("TlsEtcd", "")),
    ],
)
def test_a_protected_system_is_measured(
    generator: Path, tmp_path: Path, kind: str, how: str
) -> None:
    pytest.importorskip("cryptography")
    if kind == "TlsEtcd" and shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")
    command = [sys.executable, "-c", PROGRAM, kind, how, str(tmp_path), str(ports_in_a_row(40))]
    done = subprocess.run(
        command, cwd=ROOT / "bench", capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["per_s"] > 0
    assert found["fdatasyncs_s"] > 0
