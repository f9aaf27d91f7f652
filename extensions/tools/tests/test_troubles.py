"""The troubles between a person and a cluster: word, next step and exit code of each."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

import raftline
from raftline.access import authority
from raftline.common.extensions import is_there
from raftline.tools.status import status, status_report
from raftline.wire.refusal import NO_LEADER, NO_USERS_YET, TLS_ONLY
from raftline_testing.doubles import certificates, in_process
from raftline_testing.doubles.scripted_node import free_port, scripted_nodes

# The time of a command, where it is waited for; elsewhere it ends at once, however long it has.
WAITED_S: Mapping[str, float] = {
    "hangs": 0.3,
    "no quorum": 0.3,
    "no users yet": 0.3,
    "no node": 0.3,
    "no such host": 0.3,
}
COMMANDS: Mapping[str, list[str]] = {
    "get": ["get", "k"],
    "set": ["set", "k", "v"],
    "show": ["show"],
    "member list": ["member", "list"],
    "lock": ["lock", "night", "--wait", "0"],
    "watch": ["watch", "k"],
    "backup": ["backup", "NEW"],
}
MORE = (  # which have the same exit code, and perhaps another form
    "transfer", "keys", "lease 5 --keep", "check perf --for 0.1", "member add s9 h 9",
)  # fmt: skip
EXITS = {"lock": 125}  # whatever it was, as COMMAND has the other statuses
STATUS = {
    "role": "follower", "term": 4, "last_index": 9, "commit_index": 9, "last_applied": 9,
    "voters": ["s1", "s2", "s3"], "leader": None,
}  # fmt: skip


class Trouble(NamedTuple):
    """One of them: what each command prints, with its exit code, and the word of `status`."""

    wrong: str
    said: str
    next_step: str
    code: int
    word: str
    error: type[raftline.RaftlineError]


TROUBLES = (
    Trouble("no login", "a client without a login may not ", "Log in: --user USER", 5,
            "no login", raftline.NotAllowed),
    Trouble("wrong password", "the login failed: the name or the password is wrong",
            "Check --user, and the first line of --password-file", 6,
            "login failed", raftline.LoginFailed),
    Trouble("no users yet", "this server does not know the users yet", "", 5,
            "no users yet", raftline.Unreachable),
    Trouble("plain text to TLS", "this port speaks TLS alone", "--tls-ca FILE", 8,
            "TLS alone", raftline.Refused),
    Trouble("user without TLS", "this port speaks TLS alone", "RAFTLINE_TLS_CA", 8,
            "TLS alone", raftline.Unreachable),
    Trouble("TLS to plain text", "it does not speak TLS here", "Leave out --tls-ca", 8,
            "no TLS", raftline.Unreachable),
    Trouble("expired node", "certificate has expired", "raftline certs DIR --renew", 8,
            "bad certificate", raftline.Unreachable),
    Trouble("other CA", "CERTIFICATE_VERIFY_FAILED", "--tls-ca FILE, or $RAFTLINE_TLS_CA", 8,
            "bad certificate", raftline.Unreachable),
    Trouble("other host", "certificate is not valid for", "--tls-server-name HOST", 8,
            "bad certificate", raftline.Unreachable),
    Trouble("expired client", "the certificate of this client has expired",
            "raftline certs DIR --renew", 8, "certificate refused", raftline.Unreachable),
    Trouble("early client", "the certificate of this client is not valid, or not yet, by the clock",
            "Compare that clock", 8, "certificate refused", raftline.Unreachable),
    Trouble("no such host", "no such host: nowhere.invalid", "Check how it is spelled", 5,
            "no such host", raftline.Unreachable),
    Trouble("no node", "nothing listens on ", "Start one with raftline up", 5,
            "unreachable", raftline.Unreachable),
    Trouble("hangs", "(gave )?no answer (within|from)", "", 5, "no answer",
            raftline.errors.TimedOut),
    Trouble("no quorum", "I know of no leader. .*1 of 3 voters answers, 2 are needed",
            "raftline status shows", 3, "unreachable", raftline.NoLeader),
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    authority.make(folder, ["s1=localhost"], [])
    authority.make(folder / "other", ["s1=localhost"], [])
    gone = -certificates.DAY
    certificates.issue(folder, "expired", certificates.named("s1"), ["localhost"], until=gone)
    client = certificates.named("app", is_member=False)
    certificates.issue(folder, "old", client, until=gone)
    certificates.issue(folder, "early", client, since=certificates.DAY, until=2 * certificates.DAY)
    return folder


@contextlib.contextmanager
def tls_listener(made: Path, name: str) -> Iterator[int]:
    """Give the port of one that takes a TLS handshake, looks at the client's certificate, and hangs
    up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made / f"{name}.pem", made / f"{name}.key")
    context.load_verify_locations(made / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL

    def serve(there: socket.socket) -> None:
        with there, contextlib.suppress(OSError):
            there.settimeout(60)
            try:
                context.wrap_socket(there.dup(), server_side=True).close()
            finally:  # what was sent is read, else a reset would overtake the alert
                there.shutdown(socket.SHUT_WR)
                while there.recv(1 << 12):
                    pass

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    with socket.create_server(("localhost", 0)) as listener:
        taker = threading.Thread(target=take, daemon=True)
        taker.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        taker.join(10)


@contextlib.contextmanager
def refusing(text: str) -> Iterator[int]:
    with scripted_nodes() as start:
        yield start(lambda _: f"Sorry, {text}").port


@contextlib.contextmanager
def hanging() -> Iterator[int]:
    """Give the port of a node whose system takes connections, while it takes none itself."""
    with socket.create_server(("localhost", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def without_quorum() -> Iterator[str]:
    """Give the addresses of three nodes, one of which answers: that it knows no leader."""
    dead = [f"localhost:{free_port()}" for _ in range(2)]
    with scripted_nodes() as start:
        known = ""
        node = start(lambda said: NO_LEADER if said and said != "status" else known)
        places = [f"localhost:{node.port}", *dead]
        members = {f"s{number}": place for number, place in enumerate(places, start=1)}
        known = f"STATUS response: {json.dumps({'name': 's1', **STATUS, 'members': members})}"
        yield ",".join(places)


NO_LOGIN = "a client without a login may not do so: it takes the right to read. Nothing was done."
WRONG = "the login failed: the name or the password is wrong. Nothing was done."


@contextlib.contextmanager
def troubled(wrong: str, made: Path, folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Give the addresses where this is wrong, and the environment of a person who asks there."""
    (folder / "password").write_text("wrong-password\n")
    (folder / "password").chmod(0o600)
    password = str(folder / "password")
    ann = {"RAFTLINE_USER": "ann", "RAFTLINE_PASSWORD_FILE": password}
    ca = {"RAFTLINE_TLS_CA": str(made / "ca.pem")}
    other = {"RAFTLINE_TLS_CA": str(made / "other" / "ca.pem")}
    old, early = (
        {"RAFTLINE_TLS_CERT": str(made / f"{it}.pem"), "RAFTLINE_TLS_KEY": str(made / f"{it}.key")}
        for it in ("old", "early")
    )
    ports: Mapping[str, Callable[[], contextlib.AbstractContextManager[int]]] = {
        "no login": lambda: refusing(NO_LOGIN),
        "wrong password": lambda: refusing(WRONG),
        "no users yet": lambda: refusing(NO_USERS_YET.sentence),
        "plain text to TLS": lambda: refusing(TLS_ONLY.sentence),
        "user without TLS": lambda: refusing(TLS_ONLY.sentence),
        "TLS to plain text": lambda: refusing("what is this?"),
        "expired node": lambda: tls_listener(made, "expired"),
        "other CA": lambda: tls_listener(made, "s1"),
        "other host": lambda: tls_listener(made, "s1"),
        "expired client": lambda: tls_listener(made, "s1"),
        "early client": lambda: tls_listener(made, "s1"),
        "hangs": hanging,
    }
    environment = {
        "wrong password": ann, "user without TLS": ann, "no users yet": ann,
        "TLS to plain text": ca, "expired node": ca,
        "other CA": other,
        "other host": ca | {"RAFTLINE_TLS_SERVER_NAME": "h9.example.org"},
        "expired client": ca | old, "early client": ca | early,
    }.get(wrong, {})  # fmt: skip
    with contextlib.ExitStack() as stack:
        if wrong == "no quorum":
            where = stack.enter_context(without_quorum())
        elif wrong in ports:
            where = f"localhost:{stack.enter_context(ports[wrong]())}"
        else:
            where = {"no such host": "nowhere.invalid:1"}.get(wrong, f"localhost:{free_port()}")
        yield where, environment | {"RAFTLINE": where}


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(
            each,
            id=each.wrong.replace(" ", "-"),
            marks=[pytest.mark.slow] if each.wrong in WAITED_S else [],
        )
        for each in TROUBLES
    ],
)
def test_each_trouble_has_a_word_a_step_and_an_exit_code(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    """Each trouble has its word, its next step and its exit code."""
    for module in (status, status_report):
        monkeypatch.setattr(module, "CHECK_S", 0.1 if trouble.wrong == "hangs" else 30.0)
    try:
        look_at(trouble, WAITED_S.get(trouble.wrong, 30.0), made, tmp_path, monkeypatch)
    except (AssertionError, raftline.RaftlineError):  # all stood still until the time was over
        look_at(trouble, 3.0, made, tmp_path, monkeypatch)


def look_at(
    trouble: Trouble, waited_s: float, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Make each command meet the trouble for so long, and check what it says."""
    limit_s = str(waited_s)
    with troubled(trouble.wrong, made, tmp_path) as (where, environment):
        commands = {name: [*words] for name, words in COMMANDS.items()}
        if not is_there("recipes"):
            del commands["lock"]
        commands["backup"][-1] = str(tmp_path / "new")
        for name, words in commands.items():
            typed = [*words, "--timeout", limit_s, *(["--", "true"] * (name == "lock"))]
            done = in_process.raftline(*typed, environment=environment)
            assert (done.stdout, done.returncode) == ("", EXITS.get(name, trouble.code)), name
            check(done.stderr, trouble, name)
        for line in MORE:
            done = in_process.raftline(*line.split(), "--timeout", limit_s, environment=environment)
            # A node that hangs may yet carry out a change without a number.
            has_no_number = line.startswith(("transfer", "member"))
            may_be_done = has_no_number and trouble.wrong == "hangs"
            assert done.returncode == (4 if may_be_done else trouble.code), line
        one_shot = ["client", "--at", where, "--timeout", limit_s, "get", "k"]
        done = in_process.raftline(*one_shot, environment=environment)
        assert done.returncode == trouble.code
        assert re.search(trouble.said, done.stdout + done.stderr)

        done = in_process.raftline("status", "--timeout", limit_s, environment=environment)
        assert f"  {trouble.word}  " in done.stdout
        assert done.returncode == trouble.code
        is_shut = trouble.word not in ("no such host", "unreachable", "no answer")
        assert ("can't tell" in done.stdout) == is_shut
        assert ("nobody answers at" in done.stdout) == (trouble.code == 5 and not is_shut)

        for name, text in environment.items():
            monkeypatch.setenv(name, text)
        with (
            raftline.connect(timeout=float(limit_s)) as kv,
            pytest.raises(trouble.error) as raised,
        ):
            kv.get("k")
        assert type(raised.value) is trouble.error
        assert "--" not in str(raised.value), "the options of a command"


def check(said: str, trouble: Trouble, command: str) -> None:
    """Check what a command prints on standard error: one line, after what it says meanwhile."""
    *before, last = said.splitlines()
    assert all(line.startswith("[*] No answer yet: ") for line in before), (command, said)
    assert last.startswith("Sorry, "), command
    assert re.search(trouble.said, last), (command, last)
    assert trouble.next_step in last, (command, last)
