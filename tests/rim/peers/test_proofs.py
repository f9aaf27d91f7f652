"""Lines in a member's name on a connection: with a secret none counts before a proof."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftline.access.proof import WRONG, Initiator, mac_of
from raftline.access.secret import PeerAuth, make_secret, read_peer_auth, read_secrets
from raftline.common.address import Address
from raftline.common.config import ConfigError
from raftline.net.connections.connection import Connection
from raftline.net.peers.peers import Peer
from raftline.net.protocol import server_protocol
from raftline.net.protocol.admission import Admission
from raftline.raft.messages import RequestVote
from raftline.wire.commands.parsing import parse
from raftline.wire.limits import STRANGER_LINE_BYTES
from raftline.wire.refusal import FULL
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.nodes.processes import eventually

SECRET = b"0123456789abcdef0123456789abcdef"
NONCE = "2" * 32
VOTE = "RequestVote 9-0-0"
UNPROVEN = "proved nothing on this connection, so nothing is taken in its name"
DEADLINE_S = 30.0


class Door:
    """A connection of s1, served by a thread; the other end speaks lines."""

    def __init__(self, rule: PeerAuth, *, for_peers_only: bool = False) -> None:
        here, self.there = socket.socketpair()
        self.there.settimeout(DEADLINE_S)
        self.noted: list[str] = []
        self.host = FakeHost(peer_auth=rule)
        self.host.traffic_log = SimpleNamespace(
            connected=lambda _: None,
            requested=lambda name, text: self.noted.append(text),
            shows_requests=lambda _: True,
            received=lambda name, text, _: self.noted.append(text),
        )
        self.connection = Connection(self.host, here, for_peers_only=for_peers_only)  # type: ignore[arg-type]
        self.thread = threading.Thread(target=self.connection.serve, daemon=True)
        self.thread.start()
        self.file = self.there.makefile("r")

    def ask(self, line: str) -> str:
        self.there.sendall(f"{line}\n".encode())
        return self.line()

    def line(self) -> str:
        return self.file.readline().removesuffix("\n")

    def prove(self, name: str = "s2", secret: bytes = SECRET) -> str:
        dialing = Initiator(secret, name, "s1", NONCE)
        challenge = self.ask(f"{name}@{dialing.first}")
        return self.ask(f"{name}@{dialing.take(challenge.removeprefix('s1@'))}")

    def end(self) -> None:
        self.file.close()
        self.there.close()
        self.thread.join(DEADLINE_S)


@pytest.fixture
def doors() -> Iterator[list[Door]]:
    opened: list[Door] = []
    yield opened
    for door in opened:
        door.end()


def test_a_proven_name_is_heard_and_no_other_on_its_connection(doors: list[Door]) -> None:
    doors.append(door := Door(PeerAuth(SECRET, is_required=True)))
    assert door.prove().startswith("s1@Proof ")
    door.there.sendall(f"s2@{VOTE}\n".encode())
    eventually(lambda: door.host.heard, "a vote that was asked for")
    assert [type(one) for one in door.host.heard] == [RequestVote]
    answer = door.ask(f"s3@{VOTE}")
    assert answer == "s1@Sorry, s2 proved itself on this connection, and s3 did not"
    assert len(door.host.heard) == 1
    assert not any("Pro" in text for text in door.noted)


@pytest.mark.parametrize(
    "line",
    [
        "AppendEntries 999-0-0-[] commit 0 round 1", "RequestVote 999-0-0", "PreVote 999-0-0",
        "TimeoutNow 999", "InstallSnapshot 999-5-1 offset 0 of 10 crc32 0 round 1 data \"\"",
        "ReadIndex 999 round 1", "Count on me term 999", "set a 1", "show", "remove s3", "nonsense",
    ],
)  # fmt: skip
def test_an_unproven_name_of_a_member_gets_nothing_done(doors: list[Door], line: str) -> None:
    doors.append(door := Door(PeerAuth(SECRET, is_required=True)))
    assert door.ask(f"s2@{line}") == f"s1@Sorry, s2 {UNPROVEN}"
    assert door.ask("s1@set a 1") == f"s1@Sorry, s1 {UNPROVEN}"
    assert (door.host.heard, door.host.batches) == ([], [])
    assert door.host.speakers.release("s2", door.connection) is False
    assert door.noted == []


def test_name_of_no_member_needs_a_proof_to_speak(doors: list[Door]) -> None:
    """Without a proof nobody learns whether a name is a member's."""
    doors.append(door := Door(PeerAuth(SECRET, is_required=True)))
    assert door.ask(f"s9@{VOTE}") == f"s1@Sorry, s9 {UNPROVEN}"
    assert door.prove("s9").startswith("s1@Proof ")
    assert door.ask(f"s9@{VOTE}") == f"s1@Sorry, s9 is not a peer of s1, so it can't say {VOTE}"


def test_a_client_and_the_question_for_the_build_need_no_proof(doors: list[Door]) -> None:
    doors.append(door := Door(PeerAuth(SECRET, is_required=True)))
    assert door.ask("s2@Level 1 version 0.1.0").startswith("s1@Level 1 version ")
    assert door.ask("client4@help").startswith("s1@HELP response")


def test_a_wrong_secret_is_reported_and_changes_nothing(doors: list[Door]) -> None:
    doors.append(door := Door(PeerAuth(SECRET, is_required=True)))
    assert door.prove(secret=b"x" * 32) == (
        "s1@Sorry, that is not a valid proof: it was made with another secret, or for another "
        "connection"
    )
    assert door.ask(f"s2@{VOTE}") == f"s1@Sorry, s2 {UNPROVEN}"
    assert door.ask(f"s2@Prove s1 nonce {NONCE}") == (
        "s1@Sorry, what was proved on this connection is settled; begin another for a new proof"
    )


def test_an_offer_hears_those_who_prove_nothing_as_well(doors: list[Door]) -> None:
    for proves in (False, True):
        doors.append(door := Door(PeerAuth(SECRET, is_required=False)))
        if proves:
            assert door.prove().startswith("s1@Proof ")
        door.there.sendall(f"s2@{VOTE}\n".encode())
        eventually(lambda door=door: door.host.heard, "a vote that was asked for")
        if proves:
            assert "s3 did not" in door.ask(f"s3@{VOTE}")


def test_a_node_without_a_secret_answers_as_it_always_did(doors: list[Door]) -> None:
    doors.append(door := Door(PeerAuth()))
    answer = door.ask(f"s2@Prove s1 nonce {NONCE}")
    assert answer.startswith(f"s1@Sorry, I don't understand: Prove s1 nonce {NONCE}. Try")


def test_only_a_proven_member_may_send_a_long_line(doors: list[Door]) -> None:
    doors.append(door := Door(PeerAuth(SECRET, is_required=True)))
    admission, begin = door.connection._admission, b"s2@AppendEntries 1-0-0-["
    assert admission.longest(begin) == STRANGER_LINE_BYTES
    door.prove()
    assert admission.longest(begin) == 2 * door.host.limits.line_bytes


@pytest.mark.pure
def test_a_proof_that_is_begun_and_not_ended_ends_the_connection(
    doors: list[Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_protocol, "PROOF_S", 0.2)
    doors.append(door := Door(PeerAuth(SECRET, is_required=True)))
    assert door.ask(f"s2@Prove s1 nonce {NONCE}").startswith("s1@Challenge s2 nonce ")
    assert door.line() == "s1@Sorry, nobody proved to be a member within 0.2 s."
    assert door.line() == ""
    doors.append(proven := Door(PeerAuth(SECRET, is_required=True)))
    assert proven.prove().startswith("s1@Proof ")
    door.thread.join(DEADLINE_S)
    assert "HELP" in proven.ask("help")


@pytest.mark.pure
def test_places_for_peers_are_not_held_without_a_proof(
    doors: list[Door], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection without a proof does not hold a place reserved for peers."""
    monkeypatch.setattr(server_protocol, "PROOF_S", 0.2)
    doors.append(door := Door(PeerAuth(SECRET, is_required=True), for_peers_only=True))
    assert door.line() == "s1@Sorry, nobody proved to be a member within 0.2 s."
    doors.append(door := Door(PeerAuth(SECRET, is_required=True), for_peers_only=True))
    assert door.ask("client4@get a") == f"s1@{FULL}"
    doors.append(door := Door(PeerAuth(SECRET, is_required=True), for_peers_only=True))
    assert door.prove().startswith("s1@Proof ")


WORDS = st.sampled_from(
    ["Prove s1 nonce", "Proof", "Challenge s2 nonce", NONCE, "0" * 64, "AppendEntries", "set", VOTE]
)
SAID = st.lists(
    st.builds(
        lambda name, number, words, end: f"{name}{number}@{' '.join(words)}{end}".encode(),
        st.sampled_from(["s1", "s2", "s3", "s9", ""]),
        st.sampled_from(["", "#1"]),
        st.lists(WORDS, max_size=3),
        st.text(max_size=8),
    )
    | st.binary(max_size=80),
    max_size=6,
)


@given(SAID)
def test_no_lines_without_the_secret_pass_as_a_member(said: list[bytes]) -> None:
    """Without the secret, no lines pass as a member's."""
    host = FakeHost(peer_auth=PeerAuth(SECRET, is_required=True))
    admission = Admission(host, object())  # type: ignore[arg-type]
    for line in said:
        admitted = admission.admit(parse(line, host.limits, host.readings, host.name))
        assert admitted.kind != "peer"
        assert SECRET.decode() not in admitted.reply or SECRET in line  # a reply may quote the line
    assert (admission.proven, admission.speaks_for, host.heard) == (None, None, [])


# --- the side that dials ---------------------------------------------------------------------


class Dialed:
    """A peer s1 that the test plays, and the node s2 that dials it."""

    def __init__(self, rule: PeerAuth) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(DEADLINE_S)
        self.complaints: list[str] = []
        self.answers: list[object] = []
        address = Address("127.0.0.1", self.listener.getsockname()[1])
        self.peer = Peer(
            "s2",
            "s1",
            address,
            self.answers.extend,
            lambda _: None,
            self.complaints.append,
            lambda *_: None,
            rule,
        )
        self.peer.start()

    def __enter__(self) -> Dialed:
        return self

    def __exit__(self, *_: object) -> None:
        self.peer.stop()
        self.listener.close()

    def meet(self) -> tuple[socket.socket, list[str]]:
        """Return the next connection of s2 and its first line, split."""
        there, _ = self.listener.accept()
        there.settimeout(DEADLINE_S)
        return there, hear(there).split(" ")


def hear(there: socket.socket) -> str:
    """Return the next line; "" where it ends."""
    data = b""
    while not data.endswith(b"\n"):
        piece = there.recv(1)
        if not piece:
            return ""
        data += piece
    return data.decode().removesuffix("\n")


def test_a_node_says_nothing_to_a_peer_that_proves_nothing() -> None:
    with Dialed(PeerAuth(SECRET, is_required=True)) as dialed:
        there, first = dialed.meet()
        assert first[:3] == ["s2@Prove", "s1", "nonce"]
        dialed.peer.send(b"s2@set b a secret\n")
        there.sendall(f"s1@Challenge s2 nonce {NONCE}\n".encode())
        assert hear(there).startswith("s2@Proof ")
        there.sendall(b"s1@Proof " + b"0" * 64 + b"\n")
        assert hear(there) == ""
        assert not dialed.peer.is_proven
        assert "that is not a valid proof" in dialed.complaints[0]
        assert dialed.meet()[1][3] != first[3]  # another connection, another nonce


@pytest.mark.parametrize(
    "answer",
    ["s1@Sorry, I don't understand: Prove", "s1@Level 1 version 1", "s3@Challenge", "\x00", "no"],
)
def test_where_a_proof_is_required_nothing_else_will_do(answer: str) -> None:
    with Dialed(PeerAuth(SECRET, is_required=True)) as dialed:
        there, _ = dialed.meet()
        there.sendall(f"{answer}\n".encode())
        assert hear(there) == ""
        eventually(lambda: dialed.complaints, "a complaint")
        assert SECRET.decode() not in dialed.complaints[0]


def test_answers_after_a_proof_belong_to_its_maker() -> None:
    """After a proof, the answers on that connection count as those of the member that made it."""
    with Dialed(PeerAuth(SECRET, is_required=True)) as dialed:
        there, first = dialed.meet()
        there.sendall(f"s1@Challenge s2 nonce {NONCE}\n".encode())
        hear(there)
        mac = mac_of(SECRET, "answers", ("s2", "s1"), (first[3], NONCE))
        there.sendall(f"s1@Proof {mac}\n".encode())
        assert hear(there).startswith("s2@Level ")
        assert dialed.peer.is_proven
        there.sendall(b"s3@Count on me term 1\ns1@Count on me term 1\n")
        eventually(lambda: dialed.answers, "an answer")
        assert len(dialed.answers) == 1
        assert "it calls itself s3" in dialed.complaints[0]


@pytest.mark.parametrize(
    "answer",
    ["Count on me term 999", "I am up to date term 999 index 9999 round 1",
     "GiveEntriesAfterIndex 0 term 999 round 1", "Read at index 9 term 999 round 1",
     "GiveSnapshotAfterByte 66 of 17-4 term 999 round 9"],
)  # fmt: skip
def test_member_answers_nothing_asked_on_another_connection(doors: list[Door], answer: str) -> None:
    """This holds even after a proof: an answer belongs to the connection of its question."""
    door = Door(PeerAuth(SECRET, is_required=True))
    doors.append(door)
    door.prove()
    said = door.ask(f"s2@{answer}")
    assert said == "s1@Sorry, an answer is only taken on the connection that asked"
    assert door.host.heard == []


def test_an_answer_that_comes_with_the_proof_is_refused() -> None:
    """Nothing was asked yet, so it cannot be an answer of that member."""
    with Dialed(PeerAuth(SECRET, is_required=True)) as dialed:
        there, first = dialed.meet()
        there.sendall(f"s1@Challenge s2 nonce {NONCE}\n".encode())
        hear(there)
        mac = mac_of(SECRET, "answers", ("s2", "s1"), (first[3], NONCE))
        there.sendall(f"s1@Proof {mac}\ns1@Count on me term 1\n".encode())
        assert hear(there) == ""
        assert dialed.answers == []


def test_an_offer_continues_with_a_build_that_knows_no_proofs() -> None:
    with Dialed(PeerAuth(SECRET, is_required=False)) as dialed:
        there, _ = dialed.meet()
        there.sendall(b"s1@Sorry, I don't understand: Prove s1. Try: help\n")
        assert hear(there).startswith("s2@Level ")
        assert not dialed.peer.is_proven
        there.sendall(b"s1@Count on me term 1\n")
        eventually(lambda: dialed.answers, "an answer")


def test_offer_begins_without_a_proof_for_an_old_build() -> None:
    """Such a build has places for peers only, and takes a proof for a client's line."""
    with Dialed(PeerAuth(SECRET, is_required=False)) as dialed:
        there, _ = dialed.meet()
        there.sendall(f"s1@{FULL}\n".encode())
        assert hear(there) == ""
        there, _ = dialed.listener.accept()
        dialed.peer.send(b"s2@PreVote 1-0-0\n")
        eventually(lambda: dialed.peer.send(b"s2@PreVote 1-0-0\n") or dialed.peer._socket, "a dial")
        dialed.peer.send(b"s2@PreVote 1-0-0\n")
        assert hear(there) == "s2@PreVote 1-0-0"


# --- the file --------------------------------------------------------------------------------


def test_a_secret_is_made_for_its_owner_alone_and_never_twice(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    make_secret(path)
    assert path.stat().st_mode & 0o777 == 0o600
    secret, other = read_secrets(path)
    assert (len(secret), other) == (64, b"")
    assert secret != SECRET
    with pytest.raises(ConfigError, match="already exists"):
        make_secret(path)
    with pytest.raises(ConfigError, match="can't write"):
        make_secret(tmp_path / "no" / "secret")


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o622, 0o660, 0o644, 0o666])
def test_a_secret_that_others_can_read_or_change_is_none(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    make_secret(path)
    text = path.read_text().strip()
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others on this machine can read or change") as refused:
        read_secrets(path)
    assert text not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "32 to 4096 characters"), (b"a" * 31, "32 to 4096"), (b"a" * 4097, "32 to 4096"),
        (b"two words that are long enough for it", "one word"), (b"\xc3\xa9" * 32, "one word"),
        (b"a" * 40 + b"\r" + b"b" * 40, "one word"), (b"a" * 40 + b"\nshort", "32 to 4096"),
        (b"\n".join([b"a" * 40] * 3), "one secret, or two during a change"),
    ],
)  # fmt: skip
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=why):
        read_secrets(path)


def test_two_line_secret_has_one_used_and_one_accepted(tmp_path: Path) -> None:
    """Of two lines, the first secret is used and both are accepted."""
    path = tmp_path / "secret"
    path.write_bytes(b"a" * 40 + b"\n" + b"b" * 40 + b"\n")
    path.chmod(0o600)
    rule = read_peer_auth(path, None)
    assert (rule.secrets, rule.is_required) == ((b"a" * 40, b"b" * 40), True)
    path.write_bytes(b"b" * 40)
    assert rule.read_again().secrets == (b"b" * 40,)
    path.write_bytes(b"too short")
    with pytest.raises(ConfigError, match="32 to 4096"):
        rule.read_again()


def test_a_connection_ends_with_the_secret_that_proved_it(doors: list[Door]) -> None:
    """The proof counts as long as one of the lines of the file is that secret."""
    old, new = SECRET, b"b" * 40
    door = Door(PeerAuth(new, True, other=old))
    by_new = Door(PeerAuth(new, True, other=old))
    doors += [door, by_new]
    assert door.prove(secret=old).startswith("s1@Proof ")
    assert by_new.prove(secret=new).startswith("s1@Proof ")
    for one in (door, by_new):
        one.connection.secret_changed()
        assert one.ask("s2@Level 1 version 0.1.0").startswith("s1@Level ")
        one.host.peer_auth = PeerAuth(new, True)
        one.connection.secret_changed()
    assert by_new.ask("s2@Level 1 version 0.1.0").startswith("s1@Level ")
    assert door.line() == ""


def test_proof_by_a_secret_that_goes_meanwhile_is_void(doors: list[Door]) -> None:
    """If the secret is removed before the proof is complete, the proof is void."""
    door = Door(PeerAuth(SECRET, True))
    doors.append(door)
    dialing = Initiator(SECRET, "s2", "s1", NONCE)
    challenge = door.ask(f"s2@{dialing.first}").removeprefix("s1@")
    door.host.peer_auth = PeerAuth(b"b" * 40, True)
    assert door.ask(f"s2@{dialing.take(challenge)}") == f"s1@Sorry, {WRONG}"
    assert door.ask(f"s2@{VOTE}") == f"s1@Sorry, s2 {UNPROVEN}"


def test_no_file_and_no_secret_are_reported_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_secrets(tmp_path / "none")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_secrets(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="that is not a file"):
        read_secrets(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="add --secret FILE"):
        read_peer_auth(None, "offer")
    assert "0123" not in repr(PeerAuth(SECRET, True))
