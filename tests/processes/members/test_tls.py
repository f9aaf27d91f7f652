"""TLS on the port of plain lines: members by certificates, attackers, and files that change."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raftline import ClientError, ClientTls, aio, connect
from raftline.access import authority
from raftline.access.tls import Tls, TlsFiles, tls_of_node
from raftline.common.config import FILE_NAME, ConfigError
from raftline_testing.doubles import certificates
from raftline_testing.doubles.in_process import raftline
from raftline_testing.nodes.at_work import of_process
from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.processes import eventually, free_ports
from tests.processes.writer import Writer, writer_of

NODES = [f"s{number}=localhost,127.0.0.1" for number in range(1, 5)]
TLS_ONLY = "this port speaks TLS alone. Try: openssl s_client -quiet -connect HOST:PORT"
DEADLINE_S = 30.0
RECORDS = 100
CLI = Path(__file__).resolve().parents[3] / "src" / "cli.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    authority.make(folder, NODES, ["app", "s2-user"])
    return folder


def options(folder: Path, name: str, *more: str) -> list[str]:
    return ["--tls-cert", str(folder / f"{name}.pem"), "--tls-key", str(folder / f"{name}.key"),
            "--tls-ca", str(folder / "ca.pem"), *more]  # fmt: skip


@pytest.fixture(scope="module")
def closed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that speak TLS alone; tests leave them as they were."""
    with Cluster(
        tmp_path_factory.mktemp("cluster"), 3, *STEADY, "--max-connections", "4096"
    ) as cluster:
        for node in cluster.nodes:
            node.options += options(made, node.name, "--tls-only")
        for node in cluster.nodes:
            node.start()
        yield cluster


def said(node: NodeProcess, *lines: str, files: TlsFiles) -> list[str]:
    """Return the answers to lines over TLS."""
    return spoken(node, Tls(files).client_context(), *lines)


def spoken(node: NodeProcess, context: ssl.SSLContext, *lines: str) -> list[str]:
    plain = socket.create_connection(("localhost", node.port), DEADLINE_S)
    with (
        context.wrap_socket(plain, server_hostname=node.name) as connection,
        connection.makefile("rw") as file,
    ):
        answers = []
        for line in lines:
            file.write(f"{line}\n")
            file.flush()
            answers.append(file.readline().removesuffix("\n"))
        return answers


def is_refused(node: NodeProcess, files: TlsFiles) -> bool:
    """Whether nothing is answered to a member with these files."""
    try:
        return said(node, "s2@Level 1 version 0.1.0", files=files) == [""]
    except OSError:
        return True


def as_client(made: Path, name: str = "app") -> TlsFiles:
    return TlsFiles(made / f"{name}.pem", made / f"{name}.key", made / "ca.pem")


def led(cluster: Cluster, made: Path) -> NodeProcess:
    """Return the node that serves a write; one whose certificate is wrong serves none."""

    def leader() -> NodeProcess | None:
        for node in cluster.nodes:
            with contextlib.suppress(ssl.SSLCertVerificationError):
                if node.is_running:
                    [answer] = said(node, "client4@set a 5", files=as_client(made))
                    if "SET response" in answer:
                        return node
        return None

    return eventually(leader, "a leader that serves over TLS")


def test_a_cluster_serves_over_tls_alone(closed: Cluster, made: Path) -> None:
    node = led(closed, made)
    long = "x" * 1_000_000
    assert said(node, f"set long {long}", "get long", files=as_client(made)) == [
        f"{node.name}@SET response: long set to {long}",
        f"{node.name}@GET response: {long}",
    ]
    assert node.ask("get a") == f"{node.name}@Sorry, {TLS_ONLY}"
    [status] = said(node, "status", files=TlsFiles(ca=made / "ca.pem"))  # no certificate of its own
    assert '"role": "leader"' in status


def test_openssl_is_the_nc_of_tls(closed: Cluster, made: Path) -> None:
    node = led(closed, made)
    where = ["-connect", f"localhost:{node.port}", "-CAfile", str(made / "ca.pem")]
    with subprocess.Popen(
        ["openssl", "s_client", "-quiet", *where, "-verify_hostname", "localhost"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as typed:
        assert typed.stdin is not None
        assert typed.stdout is not None
        typed.stdin.write("get a\n")
        typed.stdin.flush()
        assert typed.stdout.readline() == f"{node.name}@GET response: 5\n"
        typed.kill()


def test_shared_reader_leaves_no_decrypted_line_behind(made: Path, tmp_path: Path) -> None:
    """Many lines arrive in few records: the kernel does not wake the reader for bytes that are
    already decrypted."""
    with Cluster(tmp_path, 1, *STEADY, "--io", "shared") as cluster:
        node = cluster["s1"]
        node.options += options(made, "s1", "--tls-only")
        led_by_itself = node.start()
        led(cluster, made)
        plain = socket.create_connection(("localhost", node.port), DEADLINE_S)
        context = Tls(as_client(made)).client_context()
        with context.wrap_socket(plain, server_hostname="s1") as connection:
            for size in (1, 5_000, 1, 400):
                lines = [f"client4#{number}@get a\n" for number in range(size)]
                connection.sendall("".join(lines).encode())
                heard = b""
                while heard.count(b"\n") < size:
                    heard += connection.recv(1 << 16)
                assert heard.decode() == "".join(
                    f"{led_by_itself.name}#{number}@GET response: 5\n" for number in range(size)
                )


@pytest.fixture
def tls_in_environment(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the files of a client in the environment."""
    for part, file in zip(("CERT", "KEY", "CA"), as_client(made), strict=True):
        monkeypatch.setenv(f"RAFTLINE_TLS_{part}", str(file))


@pytest.mark.usefixtures("tls_in_environment")
def test_programs_and_the_shell_speak_tls_by_the_environment(closed: Cluster, made: Path) -> None:
    led(closed, made)
    at = ",".join(f"localhost:{node.port}" for node in closed.nodes)
    with connect(at) as kv:
        kv["shared"] = "1"
        assert kv["shared"] == "1"
    done = subprocess.run(
        [sys.executable, CLI, "get", "-q", "--at", at, "shared"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "1\n")

    async def ask() -> str | None:
        async with aio.connect(at) as kv:
            await kv.set("shared", "2")
            return await kv.get("shared")

    assert asyncio.run(ask()) == "2"


def test_a_client_without_the_ca_reads_why(
    closed: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority.make(tmp_path, [], [])
    monkeypatch.setenv("RAFTLINE_TLS_CA", str(tmp_path / "ca.pem"))
    kv = connect(f"localhost:{closed.nodes[0].port}", timeout=6)
    with kv, pytest.raises(ClientError, match="CERTIFICATE_VERIFY_FAILED"):
        kv.get("a")


@pytest.mark.parametrize("name", ["app", "s2"])
def test_a_certificate_speaks_for_its_own_name_alone(
    closed: Cluster, made: Path, name: str
) -> None:
    node = led(closed, made)
    other = next(one.name for one in closed.nodes if one.name not in (name, node.name))
    line = f"{other}@AppendEntries 999-0-0-[] commit 0 round 1"
    [answer] = said(node, line, files=as_client(made, name))
    proved = {
        "app": f"{other} proved nothing on this connection, so nothing is taken in its name",
        "s2": f"s2 proved itself on this connection, and {other} did not",
    }[name]
    assert answer == f"{node.name}@Sorry, {proved}"
    assert led(closed, made) is node


def forged(folder: Path, made: Path, **change: object) -> TlsFiles:
    """Return the files of a member whose certificate is not as it should be."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    folder.mkdir()
    shutil.copy(made / "ca.key", folder)
    shutil.copy(made / "ca.pem", folder)
    authority.make(folder, ["s2=localhost"], [])
    path, key = folder / "s2.pem", folder / "ca.key"
    was = x509.load_pem_x509_certificate(path.read_bytes())
    ca_key: Any = serialization.load_pem_private_key(key.read_bytes(), None)
    facts: dict[str, Any] = {
        "begin": was.not_valid_before_utc, "end": was.not_valid_after_utc, **change
    }  # fmt: skip
    builder = x509.CertificateBuilder(
        was.issuer,
        was.subject,
        was.public_key(),
        was.serial_number,
        facts["begin"],
        facts["end"],
        list(was.extensions),
    )
    path.write_bytes(builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return TlsFiles(path, folder / "s2.key", made / "ca.pem")


NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


@pytest.mark.parametrize(
    "change",
    [{"begin": NOW - 2 * DAY, "end": NOW - DAY}, {"begin": NOW + DAY, "end": NOW + 2 * DAY}],
    ids=["expired", "not yet valid"],
)
def test_a_certificate_out_of_its_time_is_refused(
    closed: Cluster, made: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    node = led(closed, made)
    files = forged(tmp_path / "forged", made, **change)
    assert is_refused(node, files)
    assert not is_refused(node, as_client(made, "s2"))
    assert led(closed, made) is node


def test_a_certificate_of_another_ca_is_refused(
    closed: Cluster, made: Path, tmp_path: Path
) -> None:
    node = led(closed, made)
    authority.make(tmp_path, ["s2=localhost"], [])
    files = TlsFiles(tmp_path / "s2.pem", tmp_path / "s2.key", made / "ca.pem")
    assert is_refused(node, files)
    assert led(closed, made) is node


def test_node_gives_nothing_to_a_peer_with_a_foreign_name(made: Path, tmp_path: Path) -> None:
    """The peer that is dialed has a wrong name or a foreign CA."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        for node in cluster.nodes:
            node.options += options(made, node.name, "--tls-only")
        cluster["s3"].options[3:7] = options(made, "app")[:4]
        for node in cluster.nodes:
            node.start("--new")
        cluster["s1"].wait_for_line("no certificate for s3: ")
        assert led(cluster, made).name in ("s1", "s2")
        [status] = said(cluster["s1"], "status", files=as_client(made))
        assert '"s3"' in status


@pytest.mark.parametrize(
    ("days", "why"),
    [
        (None, "Hostname mismatch, certificate is not valid for 's2'"),
        ((1, 3), "certificate is not yet valid"),
        ((-3, -1), "certificate has expired"),
    ],
    ids=["another name", "not yet valid", "expired"],
)
def test_status_names_a_certificate_that_is_refused(
    made: Path, tmp_path: Path, days: tuple[int, int] | None, why: str
) -> None:
    """A line has the reason, and the advice is neither a secret nor the removal of the member."""
    now = datetime.datetime.now(datetime.timezone.utc)
    wrong = as_client(made, "s4")
    if days is not None:
        begin, end = (now + datetime.timedelta(days=each) for each in days)
        wrong = forged(tmp_path / "forged", made, begin=begin, end=end)
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        for node in cluster.nodes:
            node.options += options(made, node.name, "--tls-only")
        cluster["s2"].options[3:7] = ["--tls-cert", str(wrong.cert), "--tls-key", str(wrong.key)]
        for node in cluster.nodes:
            node.start("--new")
        leader = led(cluster, made)

        def looked() -> subprocess.CompletedProcess[str] | None:
            asked = raftline(
                "status", "--dir", tmp_path, "--tls-ca", made / "ca.pem",
                "--tls-cert", made / "app.pem", "--tls-key", made / "app.key",
            )  # fmt: skip
            return asked if f"{leader.name} has no TLS with s2: " in asked.stderr else None

        asked = eventually(looked, "the reason")
        assert f"[!] {leader.name} has no TLS with s2: its certificate is not accepted: {why}" in (
            asked.stderr
        )
        last = asked.stdout.splitlines()[-1]
        assert "s2 and the leader do not accept each other's certificates" in last
        assert "member remove" not in last
        assert "another secret" not in last
        assert asked.returncode == 3
        if days is None:  # the right files end it
            cluster["s2"].kill()
            cluster["s2"].options[3:7] = options(made, "s2")[:4]
            cluster["s2"].start()
            eventually(lambda: looked() is None, "TLS with s2")


def test_handshakes_that_never_end_keep_nobody_from_being_served(
    closed: Cluster, made: Path
) -> None:
    """Slow handshakes send nothing, a part of a hello, or a record without an end."""
    node = led(closed, made)
    threads = of_process(node.pid, "Threads")
    begun = []
    for number in range(600):
        connection = socket.create_connection(("localhost", node.port))
        connection.sendall(b"\x16\x03\x01\x02\x00\x01"[: 1 + number % 6])
        begun.append(connection)
    [answer] = said(node, "client4@get a", files=as_client(made))
    assert answer == f"{node.name}@GET response: 5"
    assert of_process(node.pid, "Threads") <= threads + 610
    eventually(lambda: of_process(node.pid, "Threads") < threads + 50, "the end of all of them")
    for connection in begun:
        connection.close()


@pytest.mark.parametrize("io", ["threads", "shared"])
def test_records_that_never_end_keep_nobody_from_being_served(
    made: Path, tmp_path: Path, io: str
) -> None:
    """Each connection completes its handshake, begins a record of 16 KB after a line, and continues
    byte by byte."""
    with Cluster(tmp_path, 1, *STEADY, "--io", io) as cluster:
        node = cluster["s1"]
        node.options += options(made, "s1", "--tls-only")
        node.start()
        led(cluster, made)
        threads, memory = of_process(node.pid, "Threads"), of_process(node.pid, "VmRSS")
        context, begun = Tls(as_client(made)).client_context(), []
        for _ in range(RECORDS):
            plain = socket.create_connection(("localhost", node.port), DEADLINE_S)
            with context.wrap_socket(plain, server_hostname="s1") as connection:
                connection.sendall(b"get a\n")
                assert connection.recv(100) == b"s1@GET response: 5\n"
                raw = socket.socket(fileno=os.dup(connection.fileno()))
            raw.sendall(b"\x17\x03\x03\x40\x00" + b"x" * 100)
            begun.append(raw)
        for round_ in range(20):
            for raw in begun:
                raw.send(b"x")
            [answer] = said(node, f"client4@set b {round_}", files=as_client(made))
            assert answer == f"s1@SET response: b set to {round_}"
        assert of_process(node.pid, "Threads") <= threads + RECORDS + 10
        assert (
            of_process(node.pid, "VmRSS") < memory + 400 * RECORDS
        )  # KB: each has its thread and TLS
        for raw in begun:
            raw.close()
        eventually(lambda: of_process(node.pid, "Threads") < threads + 10, "the end of all of them")


@contextlib.contextmanager
def one_with_certificates(made: Path, folder: Path) -> Iterator[NodeProcess]:
    """A node that speaks TLS alone, and leads, with a copy of the certificates in `certs`."""
    shutil.copytree(made, folder / "certs")
    with Cluster(folder, 1, *STEADY) as cluster:
        cluster["s1"].options += options(folder / "certs", "s1", "--tls-only")
        cluster["s1"].start()
        led(cluster, made)
        yield cluster["s1"]


def test_new_certificates_are_taken_without_a_refused_request(made: Path, tmp_path: Path) -> None:
    """No request is refused while new certificates are loaded."""
    with one_with_certificates(made, tmp_path) as node:
        before = serial(node, made)

        def write(number: int) -> None:  # by a connection of its own, and so a handshake
            [answer] = said(node, f"set a {number}", files=as_client(made))
            assert "SET response" in answer

        with Writer(write) as writer:
            newer = tmp_path / "newer"
            newer.mkdir()
            for name in ("ca.pem", "ca.key"):
                shutil.copy(made / name, newer)
            authority.make(newer, NODES[:1], [])
            for name in ("s1.key", "s1.pem"):  # between the two they do not fit each other
                os.replace(newer / name, tmp_path / "certs" / name)
                writer.goes_on(5)
            eventually(lambda: serial(node, made) != before, "the new certificate")
            writer.goes_on(0)


def test_unusable_certificates_at_sighup_change_nothing(made: Path, tmp_path: Path) -> None:
    """At SIGHUP, unusable certificates are reported, and the old ones stay in use."""
    with one_with_certificates(made, tmp_path) as node:
        before = serial(node, made)
        node.send_signal(signal.SIGHUP)
        node.wait_for_line("[*] s1 has reloaded: settings, certificates")
        (tmp_path / "certs" / "s1.pem").write_text("no certificate\n")
        node.send_signal(signal.SIGHUP)
        node.wait_for_line("[!] s1 did not reload certificates: ")
        assert serial(node, made) == before


def serial(node: NodeProcess, made: Path) -> object:
    context = Tls(as_client(made)).client_context()
    plain = socket.create_connection(("localhost", node.port), DEADLINE_S)
    with context.wrap_socket(plain, server_hostname="localhost") as connection:
        return (connection.getpeercert() or {})["serialNumber"]


def test_tls_is_turned_on_node_by_node_under_load(made: Path, tmp_path: Path) -> None:
    """TLS is first allowed along with plain lines, then required; until then, a client without TLS
    is served."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        cluster.start().led_by("s1")
        with writer_of(cluster, "a") as writer:
            for name in ("s3", "s2", "s1"):
                restarted(cluster[name], options(made, name))
                eventually(lambda name=name: cluster[name].status()["recovering"] is False, "vote")
                writer.goes_on()
        assert cluster.ask("client4@get a") == f"GET response: {writer.written}"
        for name in ("s3", "s2", "s1"):
            restarted(cluster[name], options(made, name, "--tls-only"))
            led(cluster, made)
        assert cluster["s1"].ask("get a") == f"s1@Sorry, {TLS_ONLY}"


# --- certificates that are required, and revoked ones -------------------------------------------


@pytest.fixture
def strict(made: Path, tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes that answer nobody without a certificate; none is revoked yet."""
    certificates.revoke(made, tmp_path / "revoked.pem")
    (tmp_path / "nodes").mkdir()
    with Cluster(tmp_path / "nodes", 3, *STEADY) as cluster:
        for node in cluster.nodes:
            node.options += options(made, node.name, "--tls-only", "--tls-require")
            node.options += ["--tls-crl", str(tmp_path / "revoked.pem")]
        for node in cluster.nodes:
            node.start()
        led(cluster, made)
        yield cluster


def read_again(cluster: Cluster, *names: str) -> None:
    for name in names:
        cluster[name].send_signal(signal.SIGHUP)
    for name in names:
        cluster[name].wait_for_line(f"[*] {name} has reloaded: settings, certificates")


def test_required_certificate_bars_clients_without_one(strict: Cluster, made: Path) -> None:
    """If a certificate is required, a client without one gets no reply."""
    node = led(strict, made)
    assert is_refused(node, TlsFiles(ca=made / "ca.pem"))
    assert node.ask("get a") == f"{node.name}@Sorry, {TLS_ONLY}"
    at = f"localhost:{node.port}"
    env = {**os.environ, "RAFTLINE_TLS_CA": str(made / "ca.pem")}
    done = subprocess.run(
        [sys.executable, CLI, "get", "-q", "--at", at, "--timeout", "3", "a"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=env,
    )
    assert done.returncode == 8
    assert "it requires a client certificate: name one and its key" in done.stderr
    stranger = connect(at, tls=ClientTls(ca=made / "ca.pem"), timeout=3)
    with stranger, pytest.raises(ClientError, match="it requires a client certificate"):
        stranger["a"] = "6"  # certainly not done, which OutcomeUnknown would leave open
    with connect(
        at, tls=ClientTls(ca=made / "ca.pem", cert=made / "app.pem", key=made / "app.key")
    ) as kv:
        assert kv["a"] == "5"


def test_client_with_a_revoked_certificate_is_cut_at_sighup(
    strict: Cluster, made: Path, tmp_path: Path
) -> None:
    """At SIGHUP, a client whose certificate is revoked is disconnected."""
    node = led(strict, made)
    standing = [open_as(node, as_client(made, name)) for name in ("app", "s2-user")]
    certificates.revoke(made, tmp_path / "revoked.pem", "app")
    assert is_refused(node, as_client(made))  # a new connection, before SIGHUP as well
    read_again(strict, node.name)
    for connection in standing:  # both are made anew, which one of the two can't be
        assert connection.recv(100) == b""
        connection.close()
    assert is_refused(node, as_client(made))
    open_as(node, as_client(made, "s2-user"), "help").close()


def open_as(node: NodeProcess, files: TlsFiles, line: str = "get a") -> ssl.SSLSocket:
    """Return a connection on which something was answered."""
    plain = socket.create_connection(("localhost", node.port), DEADLINE_S)
    connection = Tls(files).client_context().wrap_socket(plain, server_hostname=node.name)
    connection.sendall(f"{line}\n".encode())
    assert b" response: " in connection.recv(1 << 14)
    return connection


def test_member_with_a_revoked_certificate_is_excluded(
    strict: Cluster, made: Path, tmp_path: Path
) -> None:
    """This holds for the connections that it opens, and for those that others open to it."""
    node = led(strict, made)
    gone = next(one for one in strict.nodes if one is not node)
    others = [one.name for one in strict.nodes if one is not gone]
    certificates.revoke(made, tmp_path / "revoked.pem", gone.name)
    read_again(strict, *others)
    for name in others:
        strict[name].wait_for_line(f"no certificate for {gone.name}: certificate revoked")
    assert is_refused(node, as_client(made, gone.name))
    leader = eventually(lambda: served_by(strict, others, made), "a write of the two others")
    before = gone.log.stat().st_size
    for number in range(20):
        [answer] = said(strict[leader], f"set late {number}", files=as_client(made))
        assert "SET response" in answer
    assert gone.log.stat().st_size == before


def served_by(cluster: Cluster, names: list[str], made: Path) -> str:
    """Return the one of these nodes that serves a write, "" where none does yet."""
    for name in names:
        [answer] = said(cluster[name], "set a 6", files=as_client(made))
        if "SET response" in answer:
            return name
    return ""


def test_unusable_revocation_list_is_refused(made: Path, tmp_path: Path) -> None:
    """A revocation list that cannot be used is refused."""
    files = as_client(made, "s1")
    for content, why in (
        (None, "No such file or directory"),
        (b"", "no list of revoked certificates in PEM"),
        ((made / "ca.pem").read_bytes(), "no list of revoked certificates in PEM"),
    ):
        path = tmp_path / "revoked.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=why):
            tls_of_node(files, is_only=True, crl=path)
    with pytest.raises(ConfigError, match=r"--tls-crl names certificates .* add --tls-ca FILE"):
        tls_of_node(files._replace(ca=None), is_only=True, crl=path)
    for is_only, given in ((False, files), (True, files._replace(ca=None))):
        with pytest.raises(ConfigError, match=r"--tls-require .* --tls-only and --tls-ca FILE"):
            tls_of_node(given, is_only=is_only, is_required=True)


def restarted(node: NodeProcess, more: list[str]) -> None:
    node.terminate()
    node.options = [*STEADY, *more]
    node.start()


def test_a_node_is_added_to_a_cluster_that_speaks_tls_alone(
    closed: Cluster, made: Path, tmp_path: Path
) -> None:
    node = led(closed, made)
    newcomer = NodeProcess("s4", next(free_ports), tmp_path, [*STEADY])
    newcomer.options += [*options(made, "s4", "--tls-only"), "--join", f"localhost:{node.port}"]
    closed.nodes.append(newcomer)
    newcomer.start()
    newcomer.wait_for_line("ADD response: s4 added as a learner, votes from entry")
    [answer] = said(led(closed, made), "remove s4", files=as_client(made))
    assert "REMOVE response: s4" in answer
    newcomer.close()
    closed.nodes.remove(newcomer)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("s2", "its certificate is not accepted: Hostname mismatch, certificate is not valid for"),
        ("s4", "its certificate is not accepted: "),
    ],
    ids=["another name", "another CA"],
)
def test_node_whose_certificate_is_refused_is_not_added(
    closed: Cluster, made: Path, tmp_path: Path, name: str, why: str
) -> None:
    node, port = led(closed, made), next(free_ports)
    authority.make(tmp_path, ["s4=localhost"], [])
    files = options(made if name == "s2" else tmp_path, name, "--tls-only")
    newcomer = NodeProcess("s4", port, tmp_path, [*STEADY, *files])
    with contextlib.closing(newcomer):
        newcomer.start("--join", f"localhost:{next(free_ports)}")
        for request in (f"add s4 localhost {port}", f"replace s3 s4 localhost {port}"):
            [refusal] = said(node, request, files=as_client(made))
            assert f"Sorry, s4 at localhost:{port}: {why}" in refusal
            assert f"Give s4 a certificate for its name by the CA of {node.name} " in refusal
            assert refusal.endswith("Nothing was changed.")
        [members] = said(node, "members", files=as_client(made))
        assert '"s4"' not in members


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--tls-only"], "TLS needs both --tls-cert FILE and --tls-key FILE"),
        (["--tls-cert", "none.pem", "--tls-key", "none.key"], "none.key: No such file"),
    ],
)
def test_tls_without_its_files_is_refused_in_words(
    tmp_path: Path, given: list[str], why: str
) -> None:
    with Cluster(tmp_path, 1, *given) as cluster:
        node = cluster["s1"].launch()
        assert node.ended() == 2
        assert node.said[-1].startswith("[!] ")
        assert why in node.said[-1]


def test_a_key_of_another_certificate_needs_a_person(made: Path, tmp_path: Path) -> None:
    given = ["--tls-cert", str(made / "s1.pem"), "--tls-key", str(made / "s2.key")]
    with Cluster(tmp_path, 1, *given) as cluster:
        assert cluster["s1"].launch().ended() == 2
        assert "s2.key: the key belongs to another certificate" in cluster["s1"].said[-1]


@pytest.mark.parametrize("name", ["s" * 64, "s..1"])
def test_tls_with_a_name_that_no_handshake_can_have_is_refused(
    made: Path, tmp_path: Path, name: str
) -> None:
    with Cluster(tmp_path, 1, *options(made, "s1")) as cluster:
        path = tmp_path / FILE_NAME
        path.write_text(f"{path.read_text()}{name} localhost 1\n")
        assert cluster["s1"].launch().ended() == 2
        assert cluster["s1"].said[-1] == (
            f"[!] TLS can't ask for a certificate of {name}: between dots a name has 1 to 63 "
            "characters. Give that member another name, or do not use TLS"
        )


def test_a_key_that_others_can_read_is_refused(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "certs")
    (tmp_path / "certs" / "s1.key").chmod(0o644)
    with Cluster(tmp_path, 1, *options(tmp_path / "certs", "s1")) as cluster:
        assert cluster["s1"].launch().ended() == 2
        assert "others on this machine can read or change it" in cluster["s1"].said[-1]
