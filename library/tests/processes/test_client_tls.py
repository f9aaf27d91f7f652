"""Clients that name their TLS: programs by `tls=`, commands by options, both with a login."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import raftline
from raftline import ClientError, ClientTls, aio, connect
from raftline.access import authority
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.requests.conversation import Client
from raftline.harness.added_users import add_users
from raftline.wire.commands.rights import UserRole
from raftline_testing.doubles.in_process import without_notices
from raftline_testing.nodes.cluster import STEADY, Cluster
from raftline_testing.nodes.known_users import first_admin
from raftline_testing.nodes.processes import DEADLINE_S, eventually

CLI = Path(__file__).resolve().parents[3] / "src" / "cli.py"
PASSWORD = "correct horse battery"
PATIENT = ("--timeout", "20")  # with a node that stands still for a while


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates: that of s1 is for the host `localhost`; of a user; a password."""
    folder = tmp_path_factory.mktemp("certs")
    authority.make(folder, ["s1=localhost"], ["ann"])
    (folder / "password").write_text(f"{PASSWORD}\n")
    (folder / "password").chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def closed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A node that speaks TLS alone, and serves nobody who did not log in."""
    options = ["--tls-cert", str(made / "s1.pem"), "--tls-key", str(made / "s1.key"),
               "--tls-ca", str(made / "ca.pem"), "--tls-only", "--controller",
               *first_admin(made, PASSWORD, "ann")]  # fmt: skip
    with Cluster(tmp_path_factory.mktemp("cluster"), 1, *STEADY, *options) as cluster:
        cluster["s1"].start()
        bob = {"bob": (UserRole.READER, ("app/",))}
        add_users(at(cluster), bob, PASSWORD, "ann", ClientTls(ca=made / "ca.pem"))
        with connect(at(cluster), tls=as_ann(made)) as kv:
            eventually(lambda: serves(kv), "a leader")
        yield cluster


def serves(kv: raftline.KV[str]) -> bool:
    try:
        kv.set("app/a", "5")
    except ClientError:
        return False
    return True


def at(cluster: Cluster, host: str = "localhost") -> str:
    return f"{host}:{cluster['s1'].port}"


def as_ann(made: Path) -> ClientTls:
    return ClientTls(ca=made / "ca.pem", cert=made / "ann.pem", key=str(made / "ann.key"))


def test_program_names_its_files_and_logs_in_by_certificate(closed: Cluster, made: Path) -> None:
    """A program gives its files, and its certificate logs it in."""
    with connect(at(closed), tls=as_ann(made)) as kv:
        kv["app/b"] = "1"
        with kv.watch("app/b") as watch:
            event = watch.next_event(DEADLINE_S)
            assert event is not None
            assert event.value == "1"
        with kv.lease(10) as lease:
            assert lease.is_held
    client = Client("localhost", closed["s1"].port, access=ClientAccess(tls=as_ann(made)))
    with client:
        assert client.request("get app/b") == "GET response: 1"


def test_a_program_logs_in_by_a_password_over_tls(closed: Cluster, made: Path) -> None:
    tls = ClientTls(ca=made / "ca.pem")
    with connect(at(closed), tls=tls, user="bob", password=PASSWORD) as kv:
        assert kv["app/a"] == "5"
        with pytest.raises(
            raftline.NotAllowed,
            match="bob may not write, nor begin a session for that: it takes the right to write",
        ):
            kv["app/a"] = "6"


async def test_asyncio_names_its_files_as_well(closed: Cluster, made: Path) -> None:
    async with aio.connect(at(closed), tls=as_ann(made)) as kv:
        await kv.set("app/aio", "2")
        async with kv.watch("app/aio") as watch:
            event = await watch.next_event(DEADLINE_S)
        assert event is not None
        assert await kv.get("app/aio") == event.value == "2"


def test_a_server_name_takes_the_place_of_the_host(closed: Cluster, made: Path) -> None:
    """The certificate is valid for s1 and localhost, but not for 127.0.0.1."""
    here = at(closed, "127.0.0.1")
    with (
        connect(here, tls=as_ann(made), timeout=DEADLINE_S) as kv,
        pytest.raises(
            raftline.Unreachable, match=r"its certificate is not accepted.*IP address mismatch"
        ),
    ):
        kv.get("app/a")
    named = ClientTls(
        ca=made / "ca.pem", cert=made / "ann.pem", key=made / "ann.key", server_name="s1"
    )
    with connect(here, tls=named) as kv:
        assert kv["app/a"] == "5"

    async def ask() -> str | None:
        async with aio.connect(here, tls=named) as kv:
            return await kv.get("app/a")

    assert asyncio.run(ask()) == "5"


def test_what_a_program_names_counts_and_not_the_environment(
    closed: Cluster, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.make(tmp_path, [], [])
    monkeypatch.setenv("RAFTLINE_TLS_CA", str(tmp_path / "ca.pem"))
    with connect(at(closed), tls=as_ann(made)) as kv:
        assert kv["app/a"] == "5"
    with (
        connect(at(closed), timeout=DEADLINE_S) as kv,
        pytest.raises(raftline.Unreachable, match="its certificate is not accepted"),
    ):
        kv.get("app/a")


def test_a_node_without_tls_is_reported_in_words(made: Path, tmp_path: Path) -> None:
    with Cluster(tmp_path, 1, *STEADY) as cluster:
        cluster.start().leader()
        with (
            connect(at(cluster), tls=as_ann(made), timeout=DEADLINE_S) as kv,
            pytest.raises(raftline.Unreachable, match="it does not speak TLS here"),
        ):
            kv.get("app/a")
        assert cluster.ask("client4@get app/a") == "GET response, no such key: app/a"


# --- the shell ----------------------------------------------------------------------------------


def run(*words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command; return what came of it, without the line that there is no answer yet."""
    done = subprocess.run(
        [sys.executable, CLI, *words],
        env=dict(os.environ) | more,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    done.stderr = without_notices(done.stderr)
    return done


def ann(made: Path) -> list[str]:
    """Return the options of a command with a certificate that is ann's."""
    return ["--tls-ca", str(made / "ca.pem"), "--tls-cert", str(made / "ann.pem"),
            "--tls-key", str(made / "ann.key")]  # fmt: skip


def typed(made: Path, user: str) -> list[str]:
    """Return the options of a command that logs in by a password."""
    return ["--tls-ca", str(made / "ca.pem"), "--user", user,
            "--password-file", str(made / "password")]  # fmt: skip


def test_every_command_that_asks_nodes_takes_a_login_and_tls(
    closed: Cluster, made: Path, tmp_path: Path
) -> None:
    here, folder = ["--at", at(closed)], ["--dir", str(closed.folder)]
    port = str(closed["s1"].port)
    backup = tmp_path / "copy"
    for access in (ann(made), typed(made, "ann")):
        for words, said in (
            (["set", *access, *here, "app/shell", "7"], "SET response: app/shell set to 7"),
            (["get", "-q", *access, *here, "app/shell"], "7"),
            (["status", *PATIENT, *access, *folder], "leader"),
            (["members", *access, *folder], "s1"),
            ([*access, "member", *folder], "s1"),
            ([*folder, "member", *access, "list"], "s1"),
            (["backup", *access, *folder, str(backup)], "the state after entry"),
            (["controller", *access, *folder, "s1", "RETRIEVE"], "RETRIEVE response"),
            (["lock", "-q", *access, *here, "nightly", "--", "echo", "held"], "held"),
            (["client", *access, port, "1", "get", "app/shell"], "GET response: 7"),
        ):
            done = run(*words)
            assert (done.returncode, done.stderr) == (0, ""), words
            assert said in done.stdout, words
        backup.unlink()
    refused = run("transfer", *typed(made, "bob"), *folder)
    assert (refused.returncode, refused.stdout) == (5, "")
    assert "Sorry, bob may not transfer" in refused.stderr
    nobody = json.loads(run("status", "--json", *PATIENT, *ann(made)[:2], *folder).stdout)
    assert "a client without a login may not read the status" in nobody[0]["problem"]


def test_status_says_who_did_not_let_it_in(closed: Cluster, made: Path, tmp_path: Path) -> None:
    """None of these nodes is down, but none can be asked whether it leads."""
    other = tmp_path / "other"
    authority.make(other, ["s1=localhost"], [])
    (tmp_path / "wrong").write_text("not this one\n")
    (tmp_path / "wrong").chmod(0o600)
    ca = ["--tls-ca", str(made / "ca.pem")]
    for access, word, status, why in (
        (ca, "no login", 5, "a client without a login may not read the status"),
        ([*ca, "--user", "ann"], "no login", 5, "ann has no password here"),
        (
            [*ca, "--user", "ann", "--password-file", str(tmp_path / "wrong")],
            "login failed",
            6,
            "the login failed",
        ),
        (["--tls-ca", str(other / "ca.pem")], "bad certificate", 8, "CERTIFICATE_VERIFY_FAILED"),
        ([], "TLS alone", 8, "this port speaks TLS alone"),
    ):
        for verb in ("status", "transfer"):
            done = run(verb, *PATIENT, *access, "--dir", str(closed.folder))
            assert done.returncode == status, done
            assert f"[!] can't tell whether a leader serves: {word} at s1; 1 of 1" in (
                done.stdout + done.stderr
            )
            assert why in done.stderr
            assert "no leader" not in done.stdout + done.stderr


def test_the_picture_is_saved_over_tls_by_an_admin(
    closed: Cluster, made: Path, tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp")
    page, words = tmp_path / "page.html", ["--dir", str(closed.folder), "--for", "0.5"]
    done = run("view", *ann(made), "--save", page, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "events of 0.5 s" in done.stdout
    for access, why, status in (
        (typed(made, "bob"), "[!] s1 can't be observed: Sorry, bob may not observe", 5),
        ([], "[!] s1 can't be observed: Sorry, this port speaks TLS alone", 8),
        (["--tls-ca", str(made / "ann.pem")], "[!] s1 can't be observed: TLS: ", 8),
    ):
        done = run("view", *access, "--save", tmp_path / "none.html", *words)
        assert done.returncode == status
        assert done.stdout.startswith(why)
        assert done.stdout.count("\n") == done.stderr.count("\n") == 1
        assert done.stderr.endswith("answered; nothing was saved\n")
    assert not (tmp_path / "none.html").exists()


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"ca": "none.pem"}, "tls: ca none.pem: No such file or directory"),
        ({"cert": "none.pem"}, "tls: cert none.pem: No such file or directory"),
        ({"key": "ann.key"}, "tls: key ann.key: a key without a certificate; name cert as well"),
        ({"server_name": ""}, "a server name has at least one character"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    made: Path, monkeypatch: pytest.MonkeyPatch, named: dict[str, str], why: str
) -> None:
    monkeypatch.chdir(made)
    with pytest.raises(ValueError, match=f"^{why}$"):
        ClientTls(**named)


def test_a_key_of_a_client_that_others_can_read_is_refused(made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "ann.key", tmp_path)
    (tmp_path / "ann.key").chmod(0o644)
    with pytest.raises(ValueError, match="others on this machine can read or change it"):
        ClientTls(cert=made / "ann.pem", key=tmp_path / "ann.key")


def test_tls_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="of type str"):
        connect("localhost:1", tls="ca.pem")  # type: ignore[arg-type]


def test_mistake_in_files_is_reported_by_the_typed_name(
    closed: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake in a file is reported with the name of the file as typed."""
    for words in (
        ["status", "--dir", str(closed.folder)],
        ["get", "--at", at(closed), "a"],
        ["client", str(closed["s1"].port), "1", "get", "a"],
    ):
        by_option = run(words[0], "--tls-ca", "none.pem", *words[1:])
        by_variable = run(*words, RAFTLINE_TLS_CA="none.pem")
        for done, name in ((by_option, "--tls-ca"), (by_variable, "$RAFTLINE_TLS_CA")):
            assert (done.returncode, done.stdout) == (2, "")
            assert f"{name} none.pem: No such file or directory" in done.stderr
            assert done.stderr.count("\n") == 1
    monkeypatch.setenv("RAFTLINE_TLS_CA", "none.pem")
    with pytest.raises(ValueError, match=r"^\$RAFTLINE_TLS_CA none.pem: No such file"):
        connect(at(closed))
    monkeypatch.delenv("RAFTLINE_TLS_CA")
    monkeypatch.setenv("RAFTLINE_TLS_SERVER_NAME", "s1")
    with pytest.raises(ValueError, match="RAFTLINE_TLS_CA names the CA"):
        connect(at(closed))
