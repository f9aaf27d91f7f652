"""A fuzzer's lines and bytes for a node, and the rules that must hold for any input.

A target is a strategy and a check. `tests/rim/connections/test_fuzzed.py` draws a hundred examples
of each, `make -C testing fuzz MINUTES=` further ones for a given time.
"""

from __future__ import annotations

import contextlib
import functools
import random
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from raftline.access.login import Access, Login
from raftline.access.proof import Initiator, ProofError, Responder
from raftline.access.secret import PeerAuth, read_secrets
from raftline.access.tls_socket import TlsSocket
from raftline.common.config import ConfigError
from raftline.net.protocol.admission import Admission
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.wire import peer_lines
from raftline.wire.commands.command_table import COMMANDS
from raftline.wire.commands.parsing import ReadSettings, parse
from raftline.wire.commands.rights import UserRole
from raftline.wire.operands.operands import Limits
from raftline.wire.refusal import error

from ..doubles.fake_host import FakeHost
from ..nodes.known_users import ROOT_ALONE, access_with, format_old_users
from .file_targets import (
    CERTIFICATES,
    CERTIFICATES_FORM,
    CONFIGURATIONS,
    NODE_FILES,
    NODE_FILES_FORM,
    SETTINGS,
    Form,
    changed,
    check_certificates,
    check_configuration,
    check_node_files,
    check_settings,
    scratch,
)

SECRET = b"0123456789abcdef0123456789abcdef"
NONCE = "2" * 32
PATIENCE_S = 30.0
SEEDS, SEED_BYTES = 2000, 400
KINDS = {
    "peer", "control", "write", "read", "show", "members", "backup", "watch", "observe", "login",
    "build", "proof", "local", "refused", "garbled",
}  # fmt: skip
MESSAGES = (
    "RequestVote 3-5-2 transfer", "PreVote 3-5-2 newborn", "TimeoutNow 7", "ReadIndex 7 round 9",
    'AppendEntries 3-1-1-[{"index": 2, "term": 3, "command": "set a 5"}] commit 1 round 4 lease 9',
    'InstallSnapshot 5-17-4 offset 0 of 66 crc32 1ff08c67 round 9 data "17 4 snapshot"',
    "Count on me term 3 without vote 7 maybe new", "Not this time term 3 hears s3: I hear it",
    "I am up to date term 3 index 2 round 4 lease 9", "GiveEntriesAfterIndex 1 term 3 round 4",
    "GiveSnapshotAfterByte 66 of 17-4 term 5 round 9", "Read at index 5 term 3 round 4",
    "Level 1 version 0.1.0",
)  # fmt: skip


class Target(NamedTuple):
    """A strategy for examples, and a rule that must hold for them."""

    strategy: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    form: Form | None = None  # None: Hypothesis turns a fuzzer's bytes into an example
    words: Sequence[str] = ()  # words that a fuzzer inserts

    def of_bytes(self) -> Callable[[bytes], object]:
        """Return a function that checks the example for some bytes."""
        form = self.form
        if form is not None:
            return lambda data: self.check(form.read(data))

        @settings(database=None, deadline=None)
        @given(self.strategy)
        def drawn(example: object) -> None:
            self.check(example)

        one_input: Callable[[bytes], object] = cast(Any, drawn).hypothesis.fuzz_one_input
        return one_input

    def seeds(self, number: int, count: int = SEEDS) -> list[bytes]:
        """Return `count` drawn examples as bytes; any bytes if Hypothesis makes the examples."""
        form, found = self.form, []
        if form is None:
            chance = random.Random(number)
            return [chance.randbytes(SEED_BYTES) for _ in range(count)]

        @settings(max_examples=count, database=None, suppress_health_check=list(HealthCheck))
        @seed(number)
        @given(self.strategy)
        def drawn(example: object) -> None:
            found.append(form.write(example))

        drawn()
        return found


BYTES = Form(bytes, bytes)
TEXTS = Form(  # no more than are drawn: a login derives a key
    lambda data: data.decode(errors="replace").split("\n")[:8],
    lambda said: "\n".join(said).encode(),
)
SAID = Form(
    lambda data: [each.partition("@")[::2] for each in TEXTS.read(data)],
    lambda said: TEXTS.write(["@".join(each) for each in said]),
)


def mutated(samples: st.SearchStrategy[bytes], bytes_max: int = 4) -> st.SearchStrategy[bytes]:
    """Return samples with some bytes changed, removed or repeated."""
    edits = st.tuples(
        st.integers(0, 1 << 16),
        st.sampled_from((0, 0, 1, 1, 1, 2, 9, 1 << 16)),
        st.binary(max_size=bytes_max),
    )
    return st.builds(changed, samples, st.lists(edits, max_size=4))


# --- lines --------------------------------------------------------------------------------------

WORDS = (
    *COMMANDS, "a", "5", "1", "app/", "lease-57", ";", "if", "then", "else", "=", "!=",
    "absent", "exists", "unchanged", "since", "after", "from", "read", "index", "lease", "local",
    "log", "s2", "localhost", "10001", '"x"', "[1]", '{"a": 1}', r"\s", r"\xff", "\\", "é", "\x00",
    str(1 << 63), "-1", "1e9", "٣",
)  # fmt: skip
_WORDS = st.sampled_from(WORDS)
_SPEAKERS = st.sampled_from(["", "c@", "s2@", "s2#7@", "c#1@", "c#x@", "@", "Controller@", "\xff@"])
_TYPED = st.builds(
    lambda speaker, words, gap: (speaker + gap.join(words)).encode("utf-8", "surrogateescape"),
    _SPEAKERS,
    st.lists(_WORDS, max_size=9),
    st.sampled_from([" ", " ", " ", "  ", "\t"]),
)
_MESSAGES = st.sampled_from([f"s2@{each}".encode() for each in MESSAGES])
LINES = mutated(_TYPED | _MESSAGES) | _TYPED | st.binary(max_size=200)


def check_line(line: bytes) -> None:
    """Check that a line has a meaning or a refusal, and that a valid message has a single
    form."""
    line = line.replace(b"\n", b"")
    parsed = parse(line, Limits(), ReadSettings(), "s1")
    assert parsed.kind in KINDS
    assert "\n" not in error(parsed.problem)
    if parsed.kind == "peer" and not parsed.problem:
        assert parsed.message is not None
        formatted = peer_lines.format_message(parsed.message)
        assert peer_lines.read(parsed.message.sender, "s1", formatted) == parsed.message


# --- proofs -------------------------------------------------------------------------------------

_PROOF_WORDS = st.sampled_from(
    ["Prove", "Proof", "Challenge", "s1", "s2", "s3", "nonce", NONCE, "0" * 64, "", "é", "\x00"]
)
_PROOF_TEXTS = st.lists(_PROOF_WORDS, max_size=5).map(" ".join) | st.text(max_size=100)
PROOFS = st.lists(st.tuples(st.sampled_from(["s1", "s2", "s3", ""]), _PROOF_TEXTS), max_size=8)


def check_proof(said: list[tuple[str, str]]) -> None:
    """Check that without the secret there is no valid proof, on either side, nor at a node's
    connection."""
    answering, dialing = Responder(SECRET, "s1", NONCE), Initiator(SECRET, "s1", "s2", NONCE)
    for sender, text in said:
        with contextlib.suppress(ProofError):
            answering.take(sender, text)
        with contextlib.suppress(ProofError):
            dialing.take(text)
    assert answering.proven is None
    assert not dialing.is_proven
    host = FakeHost(peer_auth=PeerAuth(SECRET, is_required=True))
    admission = Admission(host, object())  # type: ignore[arg-type]
    for sender, text in said:
        line = f"{sender}@{text}".encode().replace(b"\n", b"")
        admitted = admission.admit(parse(line, host.limits, host.readings, host.name))
        assert admitted.kind != "peer"
        assert SECRET.decode() not in admitted.reply
    assert (admission.proven, admission.speaks_for, host.heard) == (None, None, [])


# --- logins -------------------------------------------------------------------------------------


@functools.cache
def known_users() -> Access:
    """Return a door where nothing is permitted without a login."""
    access = access_with(OLD_USERS, "correct horse battery")
    access.wait = lambda timeout=None: False
    return access


PARTS = (
    "n,,", "y,,", "p=tls-unique,,", "n=bob", "n=root", "n=nobody", "r=abc", "r=", "c=biws", "c=",
    "p=AAAA", "p=" + "A" * 43 + "=", ",", "=", "m=1", "a=root", "\x00", "é", "NONCE",
)  # fmt: skip
_PARTS = st.sampled_from(PARTS)
_AUTHS = st.lists(_PARTS, max_size=8).flatmap(
    lambda parts: st.sampled_from(["", ",", "=", " "]).map(lambda gap: "auth " + gap.join(parts))
)
_LOGINS = st.builds(
    lambda verb, name, password: f"{verb} {name} {password}",
    st.sampled_from(["login", "Login", "login ", "auth"]),
    st.sampled_from(["bob", "root", "nobody", "", "é"]),
    st.text(max_size=20),
)
_ORDERS = st.sampled_from(["get app/a", "set a 5", "status", "observe", "c#1@set a 5", "members"])
LOGINS = st.lists(_AUTHS | _LOGINS | _ORDERS | st.text(max_size=60), max_size=8)


def check_login(said: list[str]) -> None:
    """Check that there is no login without a password, and no effect before the login."""
    access = known_users()
    host = FakeHost(access=access)
    admission = Admission(host, object(), lambda: True)  # type: ignore[arg-type]
    login, nonce = admission.login, ""
    assert isinstance(login, Login)
    for text in said:
        if "correct horse battery" in text:
            continue
        line = text.replace("NONCE", nonce).encode("utf-8", "surrogatepass").replace(b"\n", b"")
        if line.startswith(b"login ") and len(line) > 60:
            continue  # a derivation takes a while, and shows nothing new
        admitted = admission.admit(parse(line, host.limits, host.readings, host.name))
        assert admitted.kind in ("local", "refused", "garbled", "proof", "build", "peer")
        assert login.identity == access.nobody
        if admitted.reply.startswith("AUTH response: r="):
            nonce = admitted.reply.partition("r=")[2].partition(",")[0]


# --- after a login --------------------------------------------------------------------------------

FOREIGN = "foreign"
ORDERS_OF_ADMINS = ("control", "members", "backup", "observe")
_NAMES = st.sampled_from(["web/x", "web/", "app/k", "w", r"web/\x78", "get", "show"])
_FOREIGN_WORDS = _WORDS | _NAMES
_ASKED = st.builds(
    lambda speaker, words, gap: (speaker + gap.join(words)).encode("utf-8", "surrogateescape"),
    st.sampled_from(["", "c@", "c#1@", "s2@", "Controller@"]),
    st.lists(_FOREIGN_WORDS, min_size=1, max_size=9),
    st.sampled_from([" ", " ", " ", "  ", "\t"]),
)
RIGHTS = mutated(_ASKED) | _ASKED


def check_rights(line: bytes) -> None:
    """Check that a line permitted to a reader of `app/` changes no key, and shows no other key."""
    status = f'STATUS response: {{"name": "s1", "leases": "{FOREIGN}"}}'
    host = FakeHost(access=known_users(), is_at_floor=False, status=lambda: status)
    admission = Admission(host, object(), lambda: True)  # type: ignore[arg-type]
    assert admission.login is not None
    admission.login.by_certificate("bob")
    taken = admission.admit(parse(line.replace(b"\n", b""), host.limits, host.readings, host.name))
    if taken.reply or taken.kind not in ("read", "write", "show"):
        assert FOREIGN not in taken.reply
        is_open = taken.request.verb == "unobserve"  # of an observation that could not begin here
        assert taken.reply or is_open or taken.kind not in ORDERS_OF_ADMINS
        return
    store = Store(is_at_floor=False)
    store["web/x"], store["app/k"] = FOREIGN, "own"
    reply = execute(store, taken.request.command)
    assert dict(store) == {"web/x": FOREIGN, "app/k": "own"}
    assert FOREIGN not in reply


# --- TLS ----------------------------------------------------------------------------------------


@functools.cache
def _certified() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a node with its own certificate, and of its client."""
    from raftline.access import authority
    from raftline.access.tls import Tls, TlsFiles

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority.make(folder, ["s1=localhost"], [])
        ca = folder / "ca.pem"
        node = Tls(TlsFiles(folder / "s1.pem", folder / "s1.key", ca))
        return node.server_context(), Tls(TlsFiles(ca=ca)).client_context()


@functools.cache
def _hello() -> bytes:
    """Return the first flight of a client."""
    leaving = ssl.MemoryBIO()
    hello = _certified()[1].wrap_bio(ssl.MemoryBIO(), leaving, server_hostname="s1")
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    return leaving.read()


HELLOS = st.deferred(lambda: mutated(st.just(_hello()), 40) | st.binary(max_size=400))


def check_hello(data: bytes) -> None:
    """Check that an arbitrary hello only causes an error of the connection."""
    here, there = socket.socketpair()
    with TlsSocket(here) as door, there:
        door.settimeout(PATIENCE_S)
        there.sendall(data)
        there.shutdown(socket.SHUT_WR)
        try:
            door.begin(_certified()[0], server_side=True, limit_s=PATIENCE_S)
        except OSError:
            assert not door.is_tls
        else:
            raise AssertionError("a handshake without a client was taken")


RECORDS = st.tuples(
    st.lists(st.binary(min_size=1, max_size=60), max_size=3),
    st.integers(0, 1 << 16),
    st.integers(0, 255),
    st.booleans(),
)


def check_record(drawn: tuple[list[bytes], int, int, bool]) -> None:
    """Check that all data read was sent, whatever was changed in transit."""
    sent, place, flip, is_cut = drawn
    node, client = _certified()
    here, there = socket.socketpair()
    with TlsSocket(here) as door, there:
        door.settimeout(PATIENCE_S)
        there.settimeout(PATIENCE_S)
        shaking = threading.Thread(target=lambda: _begun(door, node))
        shaking.start()
        arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        other = client.wrap_bio(arrived, leaving, server_hostname="s1")
        while True:
            try:
                other.do_handshake()
                break
            except ssl.SSLWantReadError:
                there.sendall(leaving.read())
                arrived.write(there.recv(1 << 16))
        there.sendall(leaving.read())
        shaking.join(PATIENCE_S)
        for piece in sent:
            other.write(piece)
        data = bytearray(leaving.read())
        if data:
            data[place % len(data)] ^= flip
        there.sendall(data[: place % (len(data) + 1)] if is_cut else data)
        there.shutdown(socket.SHUT_WR)
        read = b""
        with contextlib.suppress(OSError):
            while more := door.recv(1000):
                read += more
        assert b"".join(sent).startswith(read)


def _begun(door: TlsSocket, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):
        door.begin(context, server_side=True, limit_s=PATIENCE_S)


# --- files --------------------------------------------------------------------------------------

OLD_USERS = {**ROOT_ALONE, "bob": (UserRole.READER, ("app/",))}
_ROWS = st.deferred(lambda: st.just(format_old_users(OLD_USERS, "correct horse").encode()))
FILES = st.deferred(lambda: mutated(_ROWS, 12) | st.binary(max_size=200))


def check_file(data: bytes) -> None:
    """Check that a secret file is accepted or refused."""
    with scratch() as folder:
        path = Path(folder) / "secret"
        path.write_bytes(data)
        path.chmod(0o600)
        with contextlib.suppress(ConfigError):
            read_secrets(path)


TARGETS = {
    "lines": Target(LINES, check_line, BYTES, WORDS),
    "proofs": Target(PROOFS, check_proof, SAID),
    "logins": Target(LOGINS, check_login, TEXTS, PARTS),
    "hellos": Target(HELLOS, check_hello, BYTES),
    "records": Target(RECORDS, check_record),
    "files": Target(FILES, check_file, BYTES),
    "rights": Target(RIGHTS, check_rights, BYTES, WORDS),
    "node files": Target(NODE_FILES, check_node_files, NODE_FILES_FORM),
    "configurations": Target(CONFIGURATIONS, check_configuration, BYTES),
    "settings": Target(SETTINGS, check_settings, BYTES),
    "certificates": Target(CERTIFICATES, check_certificates, CERTIFICATES_FORM),
}
