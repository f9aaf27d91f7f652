"""Users at real nodes: their clients, attackers, and rights that change."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import raftline
from raftline import aio
from raftline.access import authority
from raftline.access.secret import make_secret
from raftline.access.tls import Tls, TlsFiles
from raftline.access.users import write_first_admin
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.client_login import Credentials, log_in
from raftline.clients.requests.pool import Clients
from raftline.harness.added_users import add_users
from raftline.net.line_connection import LineConnection
from raftline.wire.commands.identity import EVERYWHERE
from raftline.wire.commands.rights import UserRole
from raftline_testing.doubles import in_process
from raftline_testing.nodes.cluster import STEADY, Cluster, NodeProcess
from raftline_testing.nodes.known_users import first_admin, verifier_of
from raftline_testing.nodes.processes import DEADLINE_S, eventually, free_ports

PASSWORD = "correct horse battery"
NAMES = {
    "ann": (UserRole.ADMIN, EVERYWHERE),
    "bob": (UserRole.READER, ("app/",)),
    "eve": (UserRole.WRITER, ("app/", "lock/app/")),
    "max": (UserRole.WRITER, ("web/",)),
}
IN_FLIGHT = 1000
GUESSES, GUESSERS = 3, 200  # wrong passwords of each, and how many try at a time


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that nobody may ask without a login; s1 obeys a controller, too."""
    folder = tmp_path_factory.mktemp("users")
    make_secret(folder / "secret")
    options = [*first_admin(folder, PASSWORD, "ann"), "--secret", str(folder / "secret")]
    (folder / "nodes").mkdir()
    with Cluster(folder / "nodes", 3, *STEADY, *options) as nodes:
        for name in ("s1", "s2", "s3"):
            nodes[name].options += ["--record", str(folder / f"{name}.steps")]
            nodes[name].start()
        add_users(at(nodes), NAMES, PASSWORD, "ann")
        yield nodes


def at(cluster: Cluster) -> str:
    return ",".join(f"localhost:{node.port}" for node in cluster.nodes)


def ask(cluster: Cluster, user: str, command: str) -> str:
    with Clients(
        *at(cluster).split(","),
        access=ClientAccess(Credentials(user, PASSWORD)),
        timeout=DEADLINE_S,
    ) as clients:
        return clients.request(command)


def logged_in(cluster: Cluster, name: str, user: str) -> LineConnection:
    connection = LineConnection(cluster[name].port)
    log_in(connection, Credentials(user, PASSWORD), "c", DEADLINE_S)
    return connection


def connect(cluster: Cluster, user: str, password: str = PASSWORD) -> raftline.KV[str]:
    return raftline.connect(at(cluster), user=user, password=password, timeout=DEADLINE_S)


def test_a_joiner_does_not_use_the_login_of_a_client(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator sets the admin's environment variables, and starts a node in the same shell."""
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    monkeypatch.setenv("RAFTLINE_USER", "ann")
    monkeypatch.setenv("RAFTLINE_PASSWORD_FILE", str(password))
    options = [*cluster["s1"].options[:-2], "--join", f"localhost:{cluster['s1'].port}"]
    with contextlib.closing(NodeProcess("s4", next(free_ports), tmp_path, options)) as joiner:
        joiner.launch()
        joiner.wait_for_line("[!] s4 waits until an admin adds it: raftline member add s4 ")
        assert "s4" not in ask(cluster, "ann", "members")
        added = ask(cluster, "ann", f"add s4 localhost {joiner.port}")
        assert added.startswith("ADD response: s4 added as a learner, votes from entry ")
        ask(cluster, "ann", "remove s4")


def test_a_program_logs_in_and_may_do_what_its_role_allows(cluster: Cluster) -> None:
    with connect(cluster, "eve") as eve, connect(cluster, "bob") as bob:
        eve["app/x"] = "5"
        assert bob["app/x"] == "5"
        assert dict(bob.items("app/")) == {"app/x": "5"}
        with eve.lock("app/lock", ttl=30):
            pass
        for forbidden in (
            lambda: bob.set("app/x", "6"),
            lambda: bob.get("web/x"),
            lambda: bob.get("web/not-there"),
            lambda: dict(bob.items()),
            lambda: eve.set("web/x", "6"),
            lambda: eve.clear("web/"),
            lambda: next(bob.watch("")),
        ):
            with pytest.raises(raftline.NotAllowed, match=r"may not .*Nothing was done"):
                forbidden()
        assert bob["app/x"] == "5"
    with connect(cluster, "bob", "wrong") as wrong, pytest.raises(raftline.LoginFailed):
        wrong.get("app/x")
    with raftline.connect(at(cluster)) as nobody, pytest.raises(raftline.NotAllowed):
        nobody.get("app/x")


def test_asyncio_logs_in_as_well(cluster: Cluster) -> None:
    async def converse() -> None:
        async with aio.connect(at(cluster), user="eve", password=PASSWORD) as kv:
            await kv.set("app/y", "7")
            async with kv.watch("app/y") as watch:
                assert (await watch.next_event(DEADLINE_S)).value == "7"  # type: ignore[union-attr]
            with pytest.raises(raftline.NotAllowed):
                await kv.set("web/y", "7")
            with pytest.raises(raftline.NotAllowed):
                await kv.watch("web/").next_event(DEADLINE_S)
        async with aio.connect(at(cluster), user="eve", password="wrong") as kv:
            with pytest.raises(raftline.LoginFailed):
                await kv.get("app/y")
            with pytest.raises(raftline.LoginFailed):
                await kv.watch("app/").next_event(DEADLINE_S)

    asyncio.run(converse())


def test_a_client_logs_in_again_where_it_connects_again(cluster: Cluster) -> None:
    with connect(cluster, "eve") as eve:
        eve["app/z"] = "1"
        ask(cluster, "ann", "transfer")
        eve["app/z"] = "2"
        assert eve["app/z"] == "2"


def test_shell_takes_the_user_from_environment_or_option(cluster: Cluster, tmp_path: Path) -> None:
    """The shell takes the user from the environment or from an option."""
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    environment = dict(os.environ) | {"RAFTLINE": at(cluster)}

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return in_process.raftline(*words, environment=environment | more)

    named = {"RAFTLINE_USER": "eve", "RAFTLINE_PASSWORD_FILE": str(file)}
    assert run("set", "app/shell", "5", **named).returncode == 0
    got = run("get", "--user", "bob", "--password-file", str(file), "app/shell")
    assert (got.returncode, got.stdout) == (0, "5\n")
    refused = run("get", "app/shell")
    assert refused.returncode == 5
    assert "a client without a login may not get app/shell" in refused.stderr
    missing = run("get", "--user", "bob", "a")
    assert missing.stderr.endswith(
        "bob has no password here; $RAFTLINE_PASSWORD_FILE names its file. "
        "Or --password-file FILE.\n"
    )
    words = ("status", "--timeout", "20", "--dir", str(cluster.folder))
    status = run(*words, **(named | {"RAFTLINE_USER": "ann"}))
    assert status.returncode == 0, status.stdout + status.stderr
    in_part = run(*words, **(named | {"RAFTLINE_USER": "bob"}))  # who reads no counts
    assert (in_part.returncode, in_part.stderr) == (0, "")
    rows = [line.split() for line in in_part.stdout.splitlines()[1:4]]
    assert sorted(row[2] for row in rows) == ["follower", "follower", "leader"]
    assert all(row[5:9] == ["-"] * 4 for row in rows)
    for facts in json.loads(run(*words, "--json", **(named | {"RAFTLINE_USER": "bob"})).stdout):
        assert facts["reachable"] is True
        assert facts["last_index"] is facts["lag"] is None


# --- attackers ----------------------------------------------------------------------------------


def test_a_reader_writes_by_no_way(cluster: Cluster) -> None:
    ask(cluster, "eve", "set app/safe 1")
    last = last_index(cluster)
    for name in ("s1", "s2", "s3"):
        with logged_in(cluster, name, "bob") as bob:
            for line in (
                "set app/safe 2",
                "c#7@set app/safe 2",
                "c-1#7@delete app/safe",
                "incr app/safe",
                "get app/safe read log",
                "stat app/safe read log",
                "txn get app/safe",
                "txn set app/safe 2",
                "txn if app/safe = 1 then delete app/safe",
                "txn object app/safe list.clear",
                "under lease-5 set app/safe 2",
                "clear app/",
                "setex app/safe 5 2",
                "expire app/safe 1",
                "lease 5",
                "release lease-5",
                'object app/safe dict.put "a" 1',
                'machine m {"a": 1}',
                "c@session",
                "Controller@STORE app/safe 2",
                "Controller@TIMEOUT",
                "Controller@SHUTDOWN",
                "Controller@DELETE-LOG",
                "remove s2",
                "transfer",
                "backup",
                "leases",
                "add s9 localhost 9",
                "promote s9",
                "demote s3",
                "replace s3 s9 localhost 9",
            ):
                said = bob.ask(line)
                assert f"{name}" in said.partition("@")[0]
                assert "@Sorry, bob may not " in said, line
                assert said.endswith("Nothing was done."), line
            assert "web" not in bob.ask("status")
            assert "last_index" not in bob.ask("status")
    assert ask(cluster, "bob", "get app/safe") == "GET response: 1"
    assert logged_after(cluster, last) == []


def test_a_writer_uses_up_no_numbers_of_another_s_session(cluster: Cluster) -> None:
    """The name of a session is shown only to its user and to admins."""
    leader = eventually(lambda: led(cluster), "a leader")
    with logged_in(cluster, leader, "eve") as eve, logged_in(cluster, leader, "max") as mallory:
        begun = [eve.ask("c@session").partition("SESSION response: ")[2] for _ in range(2)]
        for name in begun:
            assert re.fullmatch(r"c\.[0-9a-f]{16}-[0-9]+", name)
        assert begun[0].partition("-")[0] != begun[1].partition("-")[0]
        [name, _] = begun
        assert eve.ask(f"{name}#1@set app/s 1") == f"{leader}#1@SET response: app/s set to 1"
        number = name.rpartition("-")[2]
        mine = mallory.ask("c@session").partition("SESSION response: ")[2].rpartition("-")[0]
        mallory.send("watch web/")  # and with it what can be seen of the log
        assert "WATCH response" in mallory.read_line()
        guesses = [f"c-{number}", f"c.{'0' * 16}-{number}", f"{mine}-{number}", f"eve-{number}"]
        for guess in guesses:
            said = mallory.ask(f"{guess}#1000000@set web/s 1")
            assert "Sorry, session expired: nothing is known" in said
        for two in range(2, 5):
            answer = eve.ask(f"{name}#{two}@set app/s {two}")
            assert answer == f"{leader}#{two}@SET response: app/s set to {two}"
        assert name not in mallory.ask("status")


def led(cluster: Cluster) -> str:
    """Return who leads; "" where nobody does yet."""
    with logged_in(cluster, "s1", "ann") as ann:
        facts = json.loads(ann.ask("status").partition(": ")[2])
    return str(facts["leader"] or "")


def status(cluster: Cluster, name: str = "s1") -> dict[str, Any]:
    """Return what one node tells the admin."""
    with logged_in(cluster, name, "ann") as ann:
        facts: dict[str, Any] = json.loads(ann.ask("status").partition(": ")[2])
        return facts


def leading(cluster: Cluster) -> str:
    """Wait until a running node leads; return its name."""

    def leads(name: str) -> bool:
        with contextlib.suppress(raftline.LoginFailed):  # it has not applied the user yet
            return bool(status(cluster, name)["role"] == "leader")
        return False

    def leader() -> str:
        return next((node.name for node in cluster.running if leads(node.name)), "")

    return eventually(leader, "a leader")


def last_index(cluster: Cluster) -> int:
    return int(status(cluster)["last_index"])


def logged_after(cluster: Cluster, index: int) -> list[str]:
    """Return the commands that s1 has on its disk after that entry.

    Left out are those of elections, and a session's end: a command of an earlier test ends its
    own after it has printed its answer, so that entry may come at any time.
    """
    last = last_index(cluster)

    def entries() -> dict[int, str]:
        lines = cluster["s1"].log.read_text().splitlines()
        words = [line.split(" ", 2) for line in lines if line[:1].isdigit()]
        return {int(number): command for number, _, command in words}

    eventually(lambda: max(entries()) >= last, "the last entry on the disk")
    commands = [entries()[at] for at in range(index + 1, last + 1)]
    return [each for each in commands if each != "noop" and not each.endswith("@forget")]


def test_a_watch_tells_nothing_beyond_its_prefix(cluster: Cluster) -> None:
    with logged_in(cluster, "s2", "bob") as bob:
        for line in ("watch", "watch web/", "watch ap", "watch after 1", "c#7@watch web/ after 1"):
            assert "Sorry, bob may not watch " in bob.ask(line)
        bob.send("watch app/watched/")
        assert "WATCH response: 0 keys" in bob.read_line()
        ask(cluster, "ann", "set web/other 1")
        ask(cluster, "eve", "set app/watched/x 1")
        assert " set app/watched/x 1" in bob.read_line()


def test_wrong_passwords_on_200_connections_delay_nobody(cluster: Cluster) -> None:
    """Two hundred connections that try wrong passwords delay nobody else."""
    connections = [LineConnection(cluster["s1"].port) for _ in range(GUESSERS)]
    users = ["ann", "bob", "mallory"]
    try:
        for number, one in enumerate(connections):
            user = users[number % len(users)]
            one.send(*[f"login {user} wrong{each}" for each in range(GUESSES)])
        with connect(cluster, "eve") as eve:
            for number in range(20):  # others are served, and log in, meanwhile
                eve["app/meanwhile"] = str(number)
        with connect(cluster, "bob") as bob:
            assert bob["app/meanwhile"] == "19"
        assert {one.read_lines(1)[0].rstrip() for one in connections} == {
            "s1@Sorry, the login failed: the name or the password is wrong. Nothing was done.",
            "s1@Sorry, too many logins at a time. Nothing was done; try again.",
        }
    finally:
        for one in connections:
            one.close()
    assert ask(cluster, "bob", "get app/meanwhile") == "GET response: 19"


def test_no_password_is_in_any_file_or_line_of_a_node(cluster: Cluster) -> None:
    """It is in no log, state or recording, nor in the process list, a status or an error."""
    with LineConnection(cluster["s1"].port) as connection:
        assert "you are eve, who may read and write" in connection.ask(f"c#5@login eve {PASSWORD}")
        connection.ask(f"Login eve {PASSWORD}")
        connection.ask(f"login  eve {PASSWORD}")
        assert "Sorry, the login failed" in connection.ask(f"login eve {PASSWORD}!")
        assert "horse" not in connection.ask("status")
    for path in [*cluster.folder.parent.rglob("*")]:
        if path.is_file():
            assert b"horse" not in path.read_bytes(), path
    assert (cluster.folder.parent / "s1.steps").stat().st_size > 0
    for node in cluster.nodes:
        assert "horse" not in "".join(node.lines)
        for what in ("cmdline", "environ"):
            assert b"horse" not in Path(f"/proc/{node.pid}/{what}").read_bytes()


@contextlib.contextmanager
def one_with_users(folder: Path, *options: str, count: int = 1) -> Iterator[Cluster]:
    """A cluster of one node that has the users of `folder`, and admits nobody else; or of more."""
    make_secret(folder / "secret")
    (folder / "nodes").mkdir()
    known = first_admin(folder, PASSWORD, "ann")
    known += ["--secret", str(folder / "secret"), *options]
    with Cluster(folder / "nodes", count, *STEADY, *known) as cluster:
        cluster.start()
        add_users(at(cluster), NAMES, PASSWORD, "ann")
        yield cluster


def test_rights_that_an_admin_changes_count_at_once(tmp_path: Path) -> None:
    with (
        one_with_users(tmp_path) as cluster,
        connect(cluster, "ann") as ann,
        logged_in(cluster, "s1", "eve") as eve,
        logged_in(cluster, "s1", "bob") as bob,
    ):
        assert "WATCH response" in bob.ask("watch app/")
        for line in ("role-grant bob read web/", "role-revoke bob app/"):
            assert " response: " in ann.request(line)
        assert "the rights of the user have changed" in bob.read_line()
        assert " response: " in ann.request("role-grant eve read app/")
        assert "eve may not set app/x" in eve.ask("set app/x 1")
        assert "no such key: app/x" in eve.ask("get app/x")
        for line in (f"user-password eve {verifier_of('another')}", "user-remove bob"):
            assert " response: " in ann.request(line)
        assert eve.read_line() == bob.read_line() == ""  # both connections have ended


def test_a_login_ends_the_watches_that_its_user_may_not_have(cluster: Cluster) -> None:
    def read_until(text: str) -> str:
        """Return the lines before the first one with this text."""
        before = ""
        while text not in (line := connection.read_line()):
            assert line
            before += line
        return before

    with logged_in(cluster, "s1", "bob") as connection:
        connection.send("c#1@watch app/")
        read_until("WATCH response")
        connection.send("login eve wrong")
        if "#1@Sorry, this watch has ended" not in read_until("the login failed"):
            read_until("#1@Sorry, this watch has ended")  # another thread sends it
        connection.send(f"login bob {PASSWORD}")
        read_until("you are bob")
        connection.send("c#2@watch app/")
        read_until("WATCH response")
        connection.send(f"login ann {PASSWORD}")
        assert "has ended" not in read_until("you are ann")
        ask(cluster, "eve", "set app/other-login x")
        assert "has ended" not in read_until(" set app/other-login x")


def fill(kv: raftline.KV[str], prefix: str) -> str:
    """Set keys until one is refused; return the refusal."""
    for number in range(1000):
        try:
            kv[f"{prefix}{number}"] = "x" * 1000
        except raftline.Refused as problem:
            return str(problem)
    raise AssertionError("never refused")


def test_user_filling_the_store_keeps_nobody_from_writing(tmp_path: Path) -> None:
    """If one user fills the store, others can still write."""
    with (
        one_with_users(tmp_path, "--max-bytes", "200000", count=3) as cluster,
        connect(cluster, "eve") as eve,
        connect(cluster, "max") as bystander,
    ):
        refusal = fill(eve, "app/")
        assert re.search(r"no room: eve holds \d+ bytes, and a user may hold 3 times", refusal)

        def others_go_on() -> None:
            bystander["web/x"] = "1"
            with bystander.lease(30) as lease:
                bystander.set("web/y", "2", lease=lease)
            assert "no room: eve holds" in fill(eve, "app/")

        others_go_on()
        cluster[leading(cluster)].kill()
        others_go_on()  # the state knows what she holds, so the new leader does
        with logged_in(cluster, leading(cluster), "eve") as typed:
            assert "no room: eve holds" in typed.ask("set app/typed 1")  # without a session
            assert "deleted" in typed.ask("delete app/0")
        eve.clear("app/")
        eve["app/x"] = "1"
        accounts = status(cluster, leading(cluster))["accounts"]
        assert accounts["eve"]["bytes"] < 1000
        assert accounts["max"] == {"bytes": accounts["eve"]["bytes"], "leases": 0}  # web/x and 1


def test_a_certificate_logs_its_user_in(tmp_path: Path) -> None:
    authority.make(tmp_path, ["s1=localhost"], ["bob", "mallory"])
    files = TlsFiles(tmp_path / "s1.pem", tmp_path / "s1.key", tmp_path / "ca.pem")
    options = ["--tls-cert", str(files.cert), "--tls-key", str(files.key)]
    with one_with_users(tmp_path, *options, "--tls-ca", str(files.ca)) as cluster:
        node = cluster["s1"]

        def ask_as(name: str, line: str) -> str:
            of_user = TlsFiles(tmp_path / f"{name}.pem", tmp_path / f"{name}.key", files.ca)
            plain = socket.create_connection(("localhost", node.port), DEADLINE_S)
            with (
                Tls(of_user)
                .client_context()
                .wrap_socket(plain, server_hostname="s1") as connection,
                connection.makefile("rw") as file,
            ):
                file.write(f"{line}\n")
                file.flush()
                return file.readline()

        assert "no such key: app/x" in ask_as("bob", "get app/x")
        assert "bob may not set app/x" in ask_as("bob", "set app/x 1")
        for line in ("get app/x", "bob@get app/x"):
            assert "a client without a login may not get app/x" in ask_as("mallory", line)
        assert "s1 proved nothing on this connection" in ask_as("mallory", "s1@get app/x")
        assert "you are ann, an admin" in ask_as("mallory", f"login ann {PASSWORD}")


def test_observe_is_for_admins_and_ends_with_their_right(tmp_path: Path) -> None:
    with one_with_users(tmp_path) as cluster:
        with logged_in(cluster, "s1", "eve") as eve, logged_in(cluster, "s1", "ann") as ann:
            assert "eve may not observe" in eve.ask("observe")
            assert ann.ask("observe").startswith("s1@OBSERVE response: ")
            for line in ("user-grant max admin", "user-grant ann writer", "user-revoke ann admin"):
                assert " response: " in ask(cluster, "max" if "revoke" in line else "ann", line)
            while ann.read_line():
                pass  # what was observed until then; the connection has ended
        with logged_in(cluster, "s1", "ann") as ann:
            assert "ann may not observe" in ann.ask("observe")


@pytest.mark.parametrize(
    ("login", "answer"),
    [
        ("login ann wrong", "s1@Sorry, the login failed: the name or the password is wrong. "),
        (f"login eve {PASSWORD}", "s1@LOGIN response: you are eve, "),
    ],
)
def test_login_of_somebody_who_observed_is_answered(
    tmp_path: Path, login: str, answer: str
) -> None:
    """After an observation has ended, or was refused, the connection also stays; during one it ends
    with the answer, and no step follows that."""
    with one_with_users(tmp_path) as cluster:
        with logged_in(cluster, "s1", "ann") as ann:
            assert "the form is: observe" in ann.ask("observe everything")
            assert ann.ask("observe").startswith("s1@OBSERVE response: ")
            assert "observes already" in asked(ann, "observe")
            assert "UNOBSERVE response: ended after" in asked(ann, "unobserve")
            assert ann.ask(login).startswith(answer)
            assert "may not observe" in ann.ask("observe")
            assert ann.ask("help").startswith("s1@HELP response: ")
        with logged_in(cluster, "s1", "ann") as ann:
            assert ann.ask("observe").startswith("s1@OBSERVE response: ")
            assert asked(ann, login).startswith(answer)
            assert ann.read_line() == ""


def asked(connection: LineConnection, line: str) -> str:
    """Return the reply to a line; steps of the node may come before it."""
    connection.send(line)
    while (reply := connection.read_line()).startswith("s1@STEP"):
        pass
    return reply


def test_users_of_the_cluster_hold_on_every_node_at_once(tmp_path: Path) -> None:
    """An open cluster gets its first admin, and from that entry on, everybody needs a login."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        cluster.start()
        with raftline.connect(at(cluster), timeout=DEADLINE_S) as nobody:
            nobody["app/x"] = "1"
            added = nobody.request(f"user-add ann {verifier_of(PASSWORD)} admin")
            assert added == "USER-ADD response: ann added"
            with pytest.raises(raftline.NotAllowed, match="a client without a login may not"):
                nobody.get("app/x")
        with connect(cluster, "ann") as ann:
            for line in (
                "role-add app",
                "role-grant app readwrite app/",
                f"user-add bob {verifier_of(PASSWORD)} app",
            ):
                assert " response: " in ann.request(line)
            with connect(cluster, "bob") as bob, bob.watch("app/") as watch:
                assert next(watch).value == "1"
                bob["app/x"] = "2"
                with pytest.raises(raftline.NotAllowed):
                    bob.get("web/x")
                assert ann.request("user-remove bob") == "USER-REMOVE response: bob removed"
                for name in ("s1", "s2", "s3"):
                    eventually(
                        lambda name=name: not logs_in(cluster, name, "bob"), "bob is gone there"
                    )
                with pytest.raises((raftline.NotAllowed, raftline.LoginFailed)):
                    bob["app/x"] = "3"
            assert ann["app/x"] == "2"


def test_a_watch_ends_with_an_error_that_names_the_right(tmp_path: Path) -> None:
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        cluster.start()
        with raftline.connect(at(cluster), timeout=DEADLINE_S) as nobody:
            nobody.request(f"user-add ann {verifier_of(PASSWORD)} admin")
        with connect(cluster, "ann") as ann:
            for line in ("role-add app", "role-grant app read app/"):
                ann.request(line)
            ann.request(f"user-add bob {verifier_of(PASSWORD)} app")
            for change, error, words in (
                ("role-revoke app app/", raftline.NotAllowed, "bob may not watch app/: it takes"),
                ("user-remove bob", raftline.LoginFailed, "the login failed"),
            ):
                ann.request("role-grant app read app/")
                for node in cluster.nodes:
                    eventually(lambda name=node.name: logs_in(cluster, name, "bob"), "bob")
                ann["app/x"] = "seen"
                with connect(cluster, "bob") as bob, bob.watch("app/") as watch:
                    assert next(watch).value == "seen"
                    ann.request(change)
                    ann["app/x"] = "hidden"
                    with pytest.raises(error, match=words):
                        next(watch)


def test_each_write_in_flight_of_a_removed_user_is_answered(tmp_path: Path) -> None:
    """Each write is done before the removal or refused after it; then the connection ends."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        cluster.start()
        with raftline.connect(at(cluster), timeout=DEADLINE_S) as nobody:
            nobody.request(f"user-add ann {verifier_of(PASSWORD)} admin")
        with connect(cluster, "ann") as ann:
            ann.request(f"user-add bob {verifier_of(PASSWORD)} writer")
            leader = leading(cluster)
            with logged_in(cluster, leader, "bob") as bob:
                assert "WATCH response" in bob.ask("c#1@watch other/")
                bob.send(*(f"set app/x {number}" for number in range(IN_FLIGHT)))
                assert ann.request("user-remove bob") == "USER-REMOVE response: bob removed"
                said = []
                while line := bob.read_line():
                    said.append(line)
            [watch] = [line for line in said if line.startswith(f"{leader}#1@")]
            assert "since the rights of the user have changed" in watch
            said.remove(watch)
            assert len(said) == IN_FLIGHT, said[-1]
            done = [line for line in said if "SET response" in line]
            assert said[: len(done)] == done
            assert all(" may not set app/x" in line for line in said[len(done) :])
            assert ann.get("app/x") == (str(len(done) - 1) if done else None)


def logs_in(cluster: Cluster, name: str, user: str) -> bool:
    refused = contextlib.suppress(raftline.LoginFailed, raftline.Unreachable)
    with refused, logged_in(cluster, name, user):
        return True
    return False


def test_the_first_admin_comes_with_each_node_and_nobody_before(tmp_path: Path) -> None:
    write_first_admin(tmp_path / "first", "ann", str(verifier_of(PASSWORD)))
    make_secret(tmp_path / "secret")
    (tmp_path / "nodes").mkdir()
    options = ["--first-admin", str(tmp_path / "first"), "--secret", str(tmp_path / "secret")]
    with Cluster(tmp_path / "nodes", 3, *STEADY, *options) as cluster:
        cluster["s3"].start()
        with LineConnection(cluster["s3"].port) as early:
            assert "a client without a login may not get a" in early.ask("get a read local")
        cluster["s1"].start()
        cluster["s2"].start()
        eventually(lambda: all(logs_in(cluster, f"s{n}", "ann") for n in (1, 2, 3)), "the admin")
        with connect(cluster, "ann") as ann:
            eventually(lambda: '"users": {"ann": ' in ann.request("users"), "the entry of ann")
            ann.request(f"user-add zoe {verifier_of(PASSWORD)} admin")
        with connect(cluster, "zoe") as zoe:
            assert zoe.request("user-remove ann") == "USER-REMOVE response: ann removed"
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:
            node.start()
        with connect(cluster, "zoe") as zoe:
            zoe["a"] = "1"
            assert '"ann"' not in zoe.request("users")  # the file adds nobody a second time


def test_restarted_node_admits_nobody_before_it_knows_the_users(tmp_path: Path) -> None:
    """They are in its log, but nothing is applied before there is a leader."""
    with Cluster(tmp_path, 3, *STEADY) as cluster:
        cluster.start()
        with raftline.connect(at(cluster), timeout=DEADLINE_S) as nobody:
            nobody.request(f"user-add ann {verifier_of(PASSWORD)} admin")
        synced = re.compile("user-add ann .*\n# .* synced")  # a kill may take what is not
        for log in (tmp_path / "s1.log", tmp_path / "s2.log"):
            eventually(lambda log=log: synced.search(log.read_text()), f"the users in {log.name}")
        for node in cluster.nodes:
            node.kill()
        cluster["s1"].start()  # alone: there is no leader
        with LineConnection(cluster["s1"].port) as early:
            assert "a client without a login may not get a" in early.ask("get a read local")
            assert "does not know the users yet" in early.ask(f"login ann {PASSWORD}")
        cluster["s2"].start()
        with connect(cluster, "ann") as ann:
            ann["a"] = "1"
