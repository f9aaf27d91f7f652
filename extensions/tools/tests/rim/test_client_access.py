"""As whom a command asks: a login is its own, and a password that is not typed is one line."""

from __future__ import annotations

import os
import sys
import termios
from pathlib import Path

import pexpect
import pytest

from raftline import cli, client
from raftline.clients.connections.client_login import Credentials
from raftline.clients.connections.node_connection import Unreachable
from raftline.clients.requests.conversation import Client
from raftline.clients.requests.pool import Clients
from raftline.tools.verbs import HELD
from raftline_testing.doubles import in_process
from raftline_testing.doubles.scripted_node import DEADLINE_S, SOURCE
from raftline_testing.runner.at_night import in_the_rest


@pytest.mark.parametrize("words", [["get", "--at", "localhost:1", "a"], ["status"]])
def test_a_command_leaves_its_login_to_no_other_client(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAFTLINE_USER", "RAFTLINE_PASSWORD_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "server-configuration.txt").write_text("s1 localhost 1\n", encoding="utf-8")
    if words == ["status"]:
        words = ["status", "--dir", str(tmp_path)]
    head, *rest = words
    password = tmp_path / "password"
    password.write_text("horse\n", encoding="utf-8")
    password.chmod(0o600)
    assert cli.main([head, "--user", "ann", "--password-file", str(password), *rest]) not in (0, 2)
    assert Client().access.credentials is None
    assert Clients("localhost:1").access.credentials is None


@pytest.mark.parametrize("command", ["get", "status", "backup", "client", *HELD])
@pytest.mark.parametrize(
    ("option", "content", "why"),
    [
        ("--password-file", None, "No such file or directory"),
        ("--password-file", b"\xff\n", "it is not valid UTF-8"),
        ("--password-file", b"\n", "a password has 1 to 256 characters"),
        ("--tls-ca", None, "No such file or directory"),
    ],
)
def test_a_file_for_the_login_that_cannot_be_used_is_wrong_usage(
    command: str, option: str, content: bytes | None, why: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    program, *words = PROMPTED[command]
    place = words.index("--user") + 2
    words = [*words[:place], option, str(file), *words[place:]]
    main = cli.main if program == "cli.py" else client.main
    done = in_process.run_main(main, program, *words, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert why in done.stderr


PROMPTED = {
    "get": ["cli.py", "get", "a", "--user", "ann", "--at", "localhost:1"],
    "status": ["cli.py", "status", "--user", "ann", "--at", "localhost:1"],
    "backup": ["cli.py", "backup", "file", "--user", "ann", "--at", "localhost:1"],
    "client": ["client.py", "1", "--user", "ann", "get", "a"],
    "user": ["cli.py", "user", "add", "ann", "--role", "reader", "--at", "localhost:1"],
    **{
        verb: ["cli.py", verb, "a", "--user", "ann", "--at", "localhost:1", "--", "true"]
        for verb in HELD
    },
}


def at_the_prompt(folder: Path, words: list[str]) -> pexpect.spawn:
    screen = pexpect.spawn(
        sys.executable,
        [str(SOURCE / words[0]), *words[1:]],
        env=os.environ | {"PYTHONUTF8": "1"},
        timeout=DEADLINE_S,
        cwd=folder,
    )
    screen.expect(rb"(?:P|New p)assword of ann: ")
    return screen


def end_of(screen: pexpect.spawn) -> tuple[int, list[bytes]]:
    """Return the exit status, and the lines that were printed since."""
    screen.expect(pexpect.EOF)
    lines = screen.before.split(b"\r\n")
    screen.close()
    return screen.exitstatus, [each for each in lines if each]


@pytest.mark.parametrize(
    "command", ["get", *(in_the_rest(each) for each in PROMPTED if each != "get")]
)
def test_a_password_that_is_not_typed_is_wrong_usage(command: str, tmp_path: Path) -> None:
    for typed, why in (
        (b"\x04", b"is missing"),
        (b"\xff\n", b"is not valid UTF-8"),
        (b"\n", b"1 to 256 "),
    ):
        screen = at_the_prompt(tmp_path, PROMPTED[command])
        screen.send(typed)
        if command == "user" and typed == b"\n":
            screen.expect_exact(b"Once more: ")
            screen.send(typed)
        status, lines = end_of(screen)
        assert (status, len(lines)) == (2, 1), lines
        assert why in lines[0]


def test_the_second_prompt_wants_a_password_too(tmp_path: Path) -> None:
    screen = at_the_prompt(tmp_path, PROMPTED["user"])
    screen.send(b"horse\n")
    screen.expect_exact(b"Once more: ")
    screen.send(b"\x04")
    status, lines = end_of(screen)
    assert (status, lines[-1][:28]) == (2, b"raftline: the password is mi"), lines
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["get", "client", "user"])
def test_ctrl_c_at_the_prompt_restores_the_echo(command: str, tmp_path: Path) -> None:
    """Ctrl-C at the prompt ends it and gives the terminal its echo."""
    screen = at_the_prompt(tmp_path, PROMPTED[command])
    assert screen.waitnoecho(DEADLINE_S)
    terminal = os.dup(screen.child_fd)  # it outlives the command
    screen.sendintr()
    assert end_of(screen) == (130, [])
    assert termios.tcgetattr(terminal)[3] & termios.ECHO
    os.close(terminal)


URL = "raftline://anna:secret@localhost:1,localhost:2/"


@pytest.mark.parametrize(
    ("words", "url", "credentials"),
    [
        (["get", "a"], URL, Credentials("anna", "secret")),
        (["get", "a", "--at", URL], "localhost:3", Credentials("anna", "secret")),
        (["client", "--at", URL, "get", "a"], "localhost:3", Credentials("anna", "secret")),
        (["client"], URL, Credentials("anna", "secret")),
        (["get", "a", "--at", "localhost:1"], URL, None),
        (["get", "a", "--user", "bob"], URL, Credentials("bob")),
        (["client", "localhost:1", "get", "a"], URL, None),
    ],
)
def test_a_url_names_the_login_of_a_command(
    words: list[str], url: str, credentials: Credentials | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URL of other nodes than those asked has no say."""
    seen: list[Credentials | None] = []

    def connects(client: Client) -> None:
        seen.append(client.access.credentials)
        raise Unreachable("that is all")

    monkeypatch.setattr(Client, "connect", connects)
    monkeypatch.setenv("RAFTLINE", url)
    assert cli.main(words) == 5
    assert seen == [credentials]


def test_a_broken_url_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["get", "a", "--at", "raftline://anna:secret@h1/?tsl-ca=x"])
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert "a URL of raftline has no option 'tsl-ca'" in said
    assert "secret" not in said
