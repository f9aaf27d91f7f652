"""The login of a connection, and the users behind it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raftline
import raftline.aio
from raftline.access.login import (
    OUT_OF_PLACE,
    Access,
    Failures,
    Login,
    address_of,
    is_private,
)
from raftline.access.scram import Exchange, OutOfPlace
from raftline.access.throttle import Throttle
from raftline.access.users import derive, make_verifier
from raftline.clients.connections import client_access
from raftline.clients.connections.client_access import ClientAccess
from raftline.clients.connections.client_login import REPLY_MAX, Credentials, exchange
from raftline.clients.connections.client_login import log_in as send_login
from raftline.clients.connections.node_connection import LoginFailed, Unreachable
from raftline.clients.requests.conversation import Client
from raftline.clients.terminal import shell
from raftline.common.address import Address
from raftline.net.line_connection import LineConnection
from raftline.net.peers.peers import Speaker
from raftline.net.protocol.admission import Admission
from raftline.state.sessions import SessionTable
from raftline.state.user_table import Account, UserTable
from raftline.wire.commands.command_table import read_request
from raftline.wire.commands.identity import EVERYWHERE, identity_of
from raftline.wire.commands.parsing import ReadSettings, parse
from raftline.wire.commands.rights import UserRole
from raftline.wire.limits import LOGINS_WAITING, REFUSED_LOGIN_S
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline.wire.operands.operands import Limits
from raftline.wire.operands.user_operands import MECHANISM, Verifier
from raftline.wire.refusal import (
    INVENTED_NAME,
    LOGIN_FAILED,
    NOT_PRIVATE,
    OTHER_CLUSTER,
    TOO_MANY_LOGINS,
    error,
)
from raftline.wire.replies.replies import RequestOutcome, outcome_of
from raftline_course.controller.orders import ORDERS
from raftline_testing.doubles.fake_host import FakeHost
from raftline_testing.doubles.scripted_node import ScriptedNode
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.rim.access.logins import (
    BOB,
    PASSWORD,
    ROOT,
    access_of,
    asked,
    login_to,
    places_in,
    users_of,
)

SECRET = bytes(range(32))


@pytest.fixture
def access() -> Access:
    return access_of(BOB, ROOT)


def log_in(login: Login, name: str, password: str) -> str:
    """Carry out the client's half of SCRAM; return the last reply."""
    steps = exchange(Credentials(name, password))
    command, reply = next(steps), ""
    try:
        while True:
            reply = login.take(asked(command))
            command = steps.send(reply)
    except StopIteration:
        return reply


# --- the exchange -------------------------------------------------------------------------------


def test_a_right_password_gives_the_rights_of_the_user(access: Access) -> None:
    login = login_to(access)
    assert log_in(login, "bob", PASSWORD).startswith("AUTH response: v=")
    assert login.identity == identity_of(*BOB)
    assert login.denial_reason("get app/x", lambda lease: []) == ""
    assert login.denial_reason("get web/x", lambda lease: []) != ""


@pytest.mark.parametrize("password", ["wrong", PASSWORD + " ", PASSWORD[:-1]])
def test_a_wrong_password_is_refused(access: Access, password: str) -> None:
    login = login_to(access)
    with pytest.raises(LoginFailed, match="the name or the password is wrong"):
        log_in(login, "bob", password)
    assert login.identity == access.nobody


def test_client_refuses_a_node_that_lacks_the_verifier() -> None:
    """A client refuses a node that does not know its verifier."""
    steps = exchange(Credentials("bob", PASSWORD))
    first = next(steps)
    nonce = first.partition("r=")[2]
    salt = base64.b64encode(bytes(16)).decode()
    steps.send(f"AUTH response: r={nonce}more,s={salt},i=4096")
    with pytest.raises(LoginFailed, match="the node did not prove"):
        steps.send("AUTH response: v=" + base64.b64encode(bytes(32)).decode())


def test_refused_login_says_of_which_cluster_the_node_is() -> None:
    """Only so a client knows that its own cluster has ended."""
    steps = exchange(Credentials("bob", PASSWORD))
    next(steps)
    with pytest.raises(Unreachable) as refused:
        steps.send(OTHER_CLUSTER("a" * 16, "b" * 16).coded)
    assert (refused.value.code, refused.value.facts) == ("other-cluster", ("a" * 16,))


@pytest.mark.parametrize(
    "reply",
    ["AUTH response: r=other,s=AAAAAAAAAAAAAAAAAAAAAA==,i=4096", "AUTH response: ", "AUTH response",
     "AUTH response: r={0}x,s=AAAAAAAAAAAAAAAAAAAAAA==,i=1", "AUTH response: r={0}x,s=?,i=4096",
     "AUTH response: r={0}x,s=AAAAAAAAAAAAAAAAAAAAAA==,i=99999999999", "hello", ""],
)  # fmt: skip
def test_the_client_refuses_a_challenge_that_is_none(reply: str) -> None:
    steps = exchange(Credentials("bob", PASSWORD))
    nonce = next(steps).partition("r=")[2]
    with pytest.raises(LoginFailed):
        steps.send(reply.format(nonce))


def test_a_node_that_answers_a_login_without_an_end_is_refused() -> None:
    here, there = socket.socketpair()
    connection = LineConnection.__new__(LineConnection)
    connection.socket, connection.timeout_s, connection.received = here, DEADLINE_S, bytearray()

    def answer() -> None:
        with contextlib.suppress(OSError):  # the client hangs up before the end
            there.sendall(b"x" * (REPLY_MAX + (128 << 10)))

    answering = threading.Thread(target=answer)
    answering.start()
    with pytest.raises(LoginFailed, match=r"answered the login with something else"):
        send_login(connection, Credentials("bob", PASSWORD), "c", DEADLINE_S)
    here.close()
    answering.join(DEADLINE_S)
    there.close()


def test_the_proof_is_that_of_rfc_7677() -> None:
    """This is the example of section 3."""
    steps = exchange(Credentials("user", "pencil"), lambda: "rOprNGfwEbeRWgbNEkqO")
    assert next(steps) == "auth n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    sent = steps.send(f"AUTH response: r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    assert sent == f"auth c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    with pytest.raises(StopIteration):
        steps.send("AUTH response: v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


def test_the_answer_of_a_node_is_that_of_rfc_7677() -> None:
    """This is the same example; changing any part of it makes the proof invalid."""
    nonce, token = "rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    verifier = derive("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    final = f"c=biws,r={nonce}{token},p={proof}"

    def begun(first: str) -> Exchange:
        return Exchange(first, lambda name: verifier, token)

    one = begun(f"n,,n=user,r={nonce}")
    assert one.challenge == f"r={nonce}{token},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert one.answer(final) == "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert begun(f"n,,n=other,r={nonce}").answer(final) == ""
    assert begun(f"n,,n=user,r={nonce},x=1").answer(final) == ""
    for wrong in (
        final.replace("c=biws", "c=eSws"),  # another first message
        final.replace("c=biws", "c=biw"),
        final.replace(token, token[:-1]),
        final.replace(proof, "AAAA"),
        final.removesuffix(f",p={proof}"),
        f"{final},x=1",
        f"{final}\n",
    ):
        with pytest.raises(OutOfPlace):
            begun(f"n,,n=user,r={nonce}").answer(wrong)


def test_recorded_exchange_is_worthless_on_another_connection(access: Access) -> None:
    """A recorded exchange proves nothing on another connection."""
    login, steps, said = login_to(access), exchange(Credentials("bob", PASSWORD)), []
    command = next(steps)
    for _ in range(2):
        said.append(command)
        reply = login.take(asked(command))
        if reply.startswith("AUTH response: r="):
            command = steps.send(reply)
    assert login.identity.user == "bob"
    other = login_to(access)
    replies = [other.take(asked(command)) for command in said]
    assert replies[1] == OUT_OF_PLACE  # the nonce of this node was another one
    assert other.identity == access.nobody


def test_a_step_that_is_out_of_place_begins_nothing(access: Access) -> None:
    login = login_to(access)
    for message in ("c=biws,r=abc,p=AAAA", "hello", "n,,n=bob", "p=tls-unique,,n=bob,r=abc"):
        assert login.take(asked(f"auth {message}")) == OUT_OF_PLACE
    assert login.identity == access.nobody


WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


@given(st.lists(WORD, max_size=6))
def test_no_auth_line_raises_or_logs_in(messages: list[str]) -> None:
    login = login_to(FIXED)
    for message in messages:
        reply = login.take(asked(f"auth {message}"))
        assert reply.startswith(("AUTH response: r=", "Sorry, "))
    assert login.identity == FIXED.nobody


PARTS = [
    "n,,", "y,,", "n=bob", "n=x", "r=abc", "r=", "c=biws", "p=AAAA", ",", "=", "m=1", "a=root",
]  # fmt: skip


@given(
    name=st.sampled_from(["bob", "nobody", "root"]),
    parts=st.lists(st.sampled_from(PARTS), max_size=8),
)
def test_no_mixture_of_parts_logs_in(name: str, parts: list[str]) -> None:
    login = login_to(FIXED)
    first = login.take(asked(f"auth n,,n={name},r=abc"))
    nonce = first.removeprefix("AUTH response: ").partition(",")[0]
    message = ",".join([*parts, nonce]) if parts else nonce
    assert login.take(asked(f"auth {message}")).startswith("Sorry, ")
    assert login.identity == FIXED.nobody


def _fixed() -> Access:
    access = access_of(BOB, ROOT)
    access.wait = lambda timeout=None: False
    return access


FIXED = _fixed()


# --- a typed password ---------------------------------------------------------------------------


def test_a_person_types_a_password_where_nobody_else_reads_it(access: Access) -> None:
    login = login_to(access)
    reply = login.take(asked(f"login bob {PASSWORD}"))
    assert reply == "LOGIN response: you are bob, who may read keys that begin with app/"
    assert login.identity.user == "bob"
    assert login.take(asked(f"login root {PASSWORD}")) == "LOGIN response: you are root, an admin"
    open_login = login_to(access, private=False)
    assert open_login.take(asked(f"login bob {PASSWORD}")) == NOT_PRIVATE(MECHANISM)
    assert open_login.identity == access.nobody


def test_a_login_that_fails_ends_the_one_before(access: Access) -> None:
    login = login_to(access)
    login.take(asked(f"login root {PASSWORD}"))
    assert login.take(asked("login root wrong")) == LOGIN_FAILED
    assert login.identity == access.nobody


def test_a_certificate_logs_its_user_in_and_no_other(access: Access) -> None:
    login = login_to(access)
    for name in ("mallory", ""):
        login.by_certificate(name)
        assert login.identity == access.nobody
    login.by_certificate("bob")
    assert login.identity == identity_of(*BOB)
    access.follow(users_of(BOB, password=PASSWORD + "!"))  # whose password it does not need
    assert login.now() == identity_of(*BOB)
    login.take(asked(f"login bob {PASSWORD}!"))
    access.follow(users_of(BOB))
    assert login.now() is None
    access.follow(users_of(ROOT))
    certified = login_to(access)
    certified.by_certificate("bob")
    assert certified.identity == access.nobody


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The rule is that for keys and secrets. A pipe has no mode: `--password-file <(pass show
    bob)`."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\nnotes\n")
    bob = Credentials("bob", file=str(file))
    for mode in (0o644, 0o640, 0o604):
        file.chmod(mode)
        if os.geteuid() == 0 and mode == 0o640:
            os.chown(file, 1, 1)  # root's may be read by its group, as containers mount it
        with pytest.raises(LoginFailed, match=f"file of the password .*chmod 600 {file}"):
            bob.secret  # noqa: B018
    file.chmod(0o600)
    assert bob.secret == PASSWORD
    here, there = os.pipe()
    os.write(there, f"{PASSWORD}\n".encode())
    os.close(there)
    assert Credentials("bob", file=f"/dev/fd/{here}").secret == PASSWORD
    os.close(here)


@pytest.mark.parametrize(
    ("bound", "said"), [(("127.0.0.1", 5), "127.0.0.1"), (("::1", 5, 0, 0), "::1"), ("", "nowhere")]
)
def test_address_of_a_connection_is_readable(bound: Any, said: str) -> None:
    ends: Any = SimpleNamespace(getpeername=lambda: bound, getsockname=lambda: bound)
    expected = f"{said} port 5" if bound else said
    assert address_of(ends) == address_of(ends, is_own=True) == expected


def test_a_login_over_a_network_is_not_private() -> None:
    class Remote:
        family = socket.AF_INET

        def getpeername(self) -> tuple[str, int]:
            return "192.0.2.7", 5

    remote: Any = Remote()
    assert not is_private(remote)
    remote.is_tls = True
    assert is_private(remote)
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as here:
            assert is_private(here)
        assert not is_private(here)  # it is closed: nobody knows who was there


# --- attackers ----------------------------------------------------------------------------------


def test_an_unknown_name_looks_like_a_user(access: Access) -> None:
    """An unknown name gets the same salt each time, the same replies, and costs the same work."""
    seen = {}
    for name in ("bob", "mallory", "Mallory"):
        first = [login_to(access).take(asked(f"auth n,,n={name},r=abc")) for _ in range(2)]
        fields = [
            dict(part.split("=", 1) for part in one.split(": ")[1].split(",")) for one in first
        ]
        assert fields[0]["s"] == fields[1]["s"]
        assert fields[0]["i"] == "4096"
        assert fields[0]["r"] != fields[1]["r"]
        seen[name] = fields[0]["s"]
        with pytest.raises(LoginFailed, match="the name or the password is wrong"):
            log_in(login_to(access), name, "wrong")
        assert login_to(access).take(asked(f"login {name} wrong")) == LOGIN_FAILED
    assert len(set(seen.values())) == 3
    assert len({len(salt) for salt in seen.values()}) == 1


def test_iteration_count_does_not_reveal_a_user() -> None:
    """Unknown names have each iteration count as often as users do, and one name always has the
    same."""
    users = users_of(BOB, ROOT, ("eve", UserRole.READER, EVERYWHERE))
    old = make_verifier(PASSWORD, 2 * ITERATIONS_LEAST)
    users = users.with_account("eve", Account(old, ("reader",)))
    seen = [users.verifier_of(f"name{number}").iterations for number in range(300)]
    assert seen == [users.verifier_of(f"name{number}").iterations for number in range(300)]
    assert {*seen} == {ITERATIONS_LEAST, 2 * ITERATIONS_LEAST}
    assert 50 < seen.count(2 * ITERATIONS_LEAST) < 150  # a third


def test_unknown_name_changes_only_as_a_user_with_a_new_password() -> None:
    """Users come and go, with other iteration counts. The count of an unknown name stays; the few
    that move have another salt, too, as if that user had a new password."""
    names = [f"name{number}" for number in range(200)]

    def seen(users: UserTable) -> list[tuple[int, bytes]]:
        found = [users.verifier_of(name) for name in names]
        return [(one.iterations, one.salt) for one in found]

    users = users_of(BOB, ROOT)
    number = 2 * ITERATIONS_LEAST
    changed = 0
    for turn in range(30):
        before = seen(users)
        account = Account(make_verifier(PASSWORD, number + turn % 3), ("reader",))
        gone = turn % 4 == 3
        users = users.with_account(f"new{turn - gone}", None if gone else account)
        for (count, salt), (later, other) in zip(before, seen(users), strict=True):
            assert (count == later) == (salt == other)
            changed += count != later
    assert 0 < changed < 200 * 4  # of 6,000; each name moves as the shares of the counts do


def test_a_forged_proof_for_an_unknown_name_logs_nobody_in(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even the keys that the node makes up for that name do not help."""
    monkeypatch.setattr(
        "raftline.state.user_table.UserTable.verifier_of",
        lambda users, name: Verifier(4096, bytes(16), hashlib.sha256(SECRET).digest(), bytes(32)),
    )
    login = login_to(access)
    first = login.take(asked("auth n,,n=mallory,r=abc")).removeprefix("AUTH response: ")
    nonce = first.partition(",")[0]
    message = f"n=mallory,r=abc,{first},c=biws,{nonce}"
    key = hashlib.sha256(SECRET).digest()
    signature = hmac.new(key, message.encode(), hashlib.sha256).digest()
    proof = bytes(a ^ b for a, b in zip(SECRET, signature, strict=True))
    last = f"auth c=biws,{nonce},p={base64.b64encode(proof).decode()}"
    assert login.take(asked(last)) == LOGIN_FAILED
    assert login.identity == access.nobody


@pytest.mark.parametrize("is_equal", [False, True])
def test_nothing_but_the_comparison_in_constant_time_decides(
    access: Access, monkeypatch: pytest.MonkeyPatch, is_equal: bool
) -> None:
    """This holds for a typed password, for a SCRAM proof, and for the node's own proof at the
    client."""
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: is_equal)
    password = "wrong" if is_equal else PASSWORD
    typed = login_to(access)
    assert (typed.take(asked(f"login bob {password}")) != LOGIN_FAILED) is is_equal
    proved = login_to(access)
    with contextlib.suppress(LoginFailed):
        log_in(proved, "bob", password)
    assert (proved.identity.user == "bob") is is_equal


def test_each_failure_waits_by_itself() -> None:
    access = access_of(BOB, ROOT, failed_s=7.0)
    waits: list[float] = []
    access.wait = lambda timeout=None: waits.append(timeout or 0) is None
    login = login_to(access)
    assert login.take(asked("login bob wrong")) == LOGIN_FAILED
    with pytest.raises(LoginFailed):
        log_in(login, "mallory", "wrong")
    assert waits == [7.0, 7.0]
    log_in(login, "bob", PASSWORD)
    assert waits == [7.0, 7.0]


class Derivations:
    """Keys that are derived once `go` is set: how many were at it at most, and how many in all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.begun = self.under_way = self.most = 0
        self.passwords: list[str] = []
        self._lock = threading.Lock()
        monkeypatch.setattr("raftline.access.login.derive", self._derive)

    def _derive(self, password: str, salt: bytes, iterations: int) -> Verifier:
        with self._lock:
            self.begun += 1
            self.passwords.append(password)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        assert self.go.wait(DEADLINE_S)
        with self._lock:
            self.under_way -= 1
        return Verifier(iterations, salt, password.encode().ljust(32), bytes(32))


def test_one_password_of_a_hundred_is_derived_at_a_time(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are refused at once, with a line after which a client retries. So a flood of
    guesses takes the time of one thread, and no more."""
    derivations = Derivations(monkeypatch)
    replies: queue.Queue[str] = queue.Queue()

    def guess() -> None:
        replies.put(login_to(access).take(asked("login bob wrong")))

    guessers = [threading.Thread(target=guess, daemon=True) for _ in range(100)]
    for one in guessers:
        one.start()
    refused = [replies.get(timeout=DEADLINE_S) for _ in range(100 - 1 - LOGINS_WAITING)]
    assert set(refused) == {TOO_MANY_LOGINS}
    assert outcome_of(TOO_MANY_LOGINS) is RequestOutcome.NO_LEADER
    assert derivations.begun == 1
    log_in(login_to(access), "bob", PASSWORD)  # a program's login costs the node no key
    derivations.go.set()
    assert {replies.get(timeout=DEADLINE_S) for _ in range(1 + LOGINS_WAITING)} == {LOGIN_FAILED}
    assert (derivations.begun, derivations.most) == (1 + LOGINS_WAITING, 1)
    for one in guessers:
        one.join(DEADLINE_S)
    said = login_to(access).take(asked("login bob wrong"))
    assert said == LOGIN_FAILED  # all places are free again


@pytest.mark.parametrize("keep", [True, False])
def test_a_person_gets_a_turn_next_to_those_who_guess(
    access: Access, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    """This holds whether the guessers keep their connections or open one for each guess."""
    access.wait = lambda timeout=None: True
    derivations = Derivations(monkeypatch)
    derivations.go.set()
    person = login_to(access)
    guessing = [login_to(access) for _ in range(1 + LOGINS_WAITING)]
    if keep:
        for login in guessing * 4:
            login.take(asked("login bob guess"))
    else:
        person.take(asked("login bob mistyped"))
    derivations.go.clear()
    derivations.passwords.clear()
    replies: queue.Queue[str] = queue.Queue()

    def say(login: Login, password: str) -> threading.Thread:
        line = asked(f"login bob {password}")
        one = threading.Thread(target=lambda: replies.put(login.take(line)), daemon=True)
        one.start()
        return one

    talking = []
    for count, login in enumerate(guessing, start=1):
        talking.append(say(login, "guess"))
        eventually(lambda count=count: places_in(access.turns) == count, "a place")
    talking.append(say(person, "mine"))
    assert replies.get(timeout=DEADLINE_S) == TOO_MANY_LOGINS  # of the guess that came last
    derivations.go.set()
    for one in talking:
        one.join(DEADLINE_S)
    assert derivations.passwords[:2] == ["guess", "mine"]


def test_the_answer_to_a_login_that_is_refused_waits(
    access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, many guessers would keep the node busy with these replies."""
    waits: list[float] = []
    access.wait = lambda timeout=None: waits.append(timeout or 0) is None
    monkeypatch.setattr(access, "turns", Throttle(0))
    assert access.turns.take()
    assert login_to(access).take(asked("login bob wrong")) == TOO_MANY_LOGINS
    assert waits == [REFUSED_LOGIN_S]


def test_the_wait_after_a_wrong_password_is_a_part_of_its_turn() -> None:
    """Otherwise, many guessers would keep one processor busy without a pause."""
    access = access_of(BOB, ROOT, failed_s=7.0)
    seen: list[tuple[float, bool]] = []
    access.wait = lambda timeout=None: (
        seen.append((timeout or 0, places_in(access.turns) > 0)) is None
    )
    assert login_to(access).take(asked("login bob wrong")) == LOGIN_FAILED
    assert seen == [(7.0, True)]
    assert places_in(access.turns) == 0


def test_turns_come_in_the_order_in_which_they_were_asked_for() -> None:
    """Otherwise, others would wait for all guesses that one connection sends in a packet."""
    turns, order = Throttle(3), []

    def take(number: int) -> None:
        assert turns.take()
        order.append(number)
        turns.end()

    assert turns.take()
    waiting = []
    for number in range(3):
        waiting.append(threading.Thread(target=take, args=(number,), daemon=True))
        waiting[-1].start()
        eventually(lambda count=number + 2: places_in(turns) == count, "a place")
    assert not turns.take()
    turns.end()
    for one in waiting:
        one.join(DEADLINE_S)
    assert order == [0, 1, 2]
    assert places_in(turns) == 0


def test_turns_come_by_rank_and_excess_ones_are_refused() -> None:
    """Turns are given by rank; beyond the bound, the last in order is refused."""
    turns, order = Throttle(2), []

    def take(number: int) -> None:
        if turns.take((number, 0)):
            order.append(number)
            turns.end()
        else:
            order.append(-number)

    assert turns.take()
    waiting = []
    for count, number in ((2, 3), (3, 2)):
        waiting.append(threading.Thread(target=take, args=(number,), daemon=True))
        waiting[-1].start()
        eventually(lambda count=count: places_in(turns) == count, "a place")
    waiting.append(threading.Thread(target=take, args=(1,), daemon=True))
    waiting[-1].start()
    waiting[0].join(DEADLINE_S)
    assert order == [-3]
    turns.end()
    for one in waiting:
        one.join(DEADLINE_S)
    assert order == [-3, 1, 2]


# --- users that change --------------------------------------------------------------------------


def test_rights_that_change_count_from_the_next_line_on(access: Access) -> None:
    login = login_to(access)
    log_in(login, "root", PASSWORD)
    assert login.denial_reason("add s4 h 4", lambda lease: []) == ""
    access.follow(users_of(("root", UserRole.WRITER, ("app/",))))
    assert "it takes the role admin" in login.denial_reason("add s4 h 4", lambda lease: [])
    assert login.denial_reason("set app/x 1", lambda lease: []) == ""
    assert login.now() == identity_of("root", UserRole.WRITER, ("app/",))


@pytest.mark.parametrize("users", [users_of(BOB), users_of(BOB, ROOT, password="another")])
def test_a_user_who_is_gone_or_has_another_password_is_nobody(
    access: Access, users: UserTable
) -> None:
    login = login_to(access)
    log_in(login, "root", PASSWORD)
    access.follow(users)
    assert login.now() is None
    assert login.denial_reason("get a", lambda lease: []).startswith(
        "Sorry, a client without a login may not "
    )


# --- the lines of a connection ------------------------------------------------------------------


class Door:
    """The admission of one connection, and what it printed."""

    def __init__(self, access: Access | None, **facts: Any) -> None:
        self.host = cast(Any, FakeHost(access=access, is_at_floor=False, **facts))
        self.printed: list[str] = []
        self.host.traffic_log.requested = lambda sender, text: self.printed.append(text)
        self.admission = Admission(
            self.host, cast(Speaker, self), lambda: True, lambda: "192.0.2.7 port 5"
        )

    def say(self, line: str) -> str:
        """Return the reply, or the kind of a line that is taken."""
        one = self.admission.admit(parse(line.encode(), Limits(), ReadSettings(), "s1"))
        return one.reply or one.kind


def test_lines_of_every_kind_are_refused_before_a_login(access: Access) -> None:
    orders = SimpleNamespace(
        is_order=lambda text: text.partition(" ")[0] in ORDERS, why_no_order=lambda *_: ""
    )
    door = Door(access, orders=orders)
    for line in (
        "get a", "c@get a", "c#5@get a", "c#5@set a 1", "get a read local", "get a read log",
        "show", "show read local", "watch", "c#7@watch app/", "members", "remove s2", "backup",
        "backup from 0", "status", "transfer", "lease 5", "renew lease-1", "leases", "c@session",
        "txn set a 1", "Controller@SHUTDOWN", "Controller@STORE a 1", "Controller@DELETE-LOG",
        'machine bank {"a": 1}',
    ):  # fmt: skip
        said = door.say(line)
        assert said.startswith("Sorry, a client without a login may not "), line
        assert said.endswith(" Nothing was done."), line


def test_lines_of_a_user_are_taken_as_its_rights_are(access: Access) -> None:
    door = Door(access, status=lambda: 'STATUS response: {"name": "s1", "last_index": 9}')
    assert door.say(f"c#5@login bob {PASSWORD}").startswith("LOGIN response: ")
    assert [door.say(line) for line in ("get app/x", "watch app/", "show app/", "help")] == [
        "read",
        "watch",
        "show",
        "local",
    ]
    assert door.say("get app/x read local") == "local"
    assert door.say("set app/x 1") == (
        "Sorry, bob may not set app/x: it takes the right to write there. Nothing was done."
    )
    assert door.say("status") == "local"
    assert door.admission.status() == 'STATUS response: {"name": "s1"}'
    assert door.say("sing a song").startswith("Sorry, I don't understand: sing")


def test_a_lease_is_ended_where_its_keys_are_known_alone() -> None:
    """A restarted node has applied nothing, so it knows no keys of a lease yet."""
    access = access_of(("eve", UserRole.WRITER, ("app/",)), ROOT)
    door = Door(access, keys_of_lease=lambda lease: None, not_here=lambda: "ask s2")
    door.say(f"login eve {PASSWORD}")
    for line in ("release lease-5", "renew lease-5", "c#5@under lease-5 set app/x 1"):
        assert door.say(line) == "ask s2"
    door.host.keys_of_lease = lambda lease: ["app/x"]
    assert door.say("release lease-5") == "write"
    door.host.keys_of_lease = lambda lease: ["app/x", "db/x"]
    assert "eve may not release lease-5" in door.say("release lease-5")


def test_a_reader_begins_no_session_by_a_number(access: Access) -> None:
    """The number of sessions is bounded: a new one evicts the least recently used."""
    door = Door(access)
    door.say(f"login bob {PASSWORD}")
    log = "as it is an entry of the log"
    for number in ("", "c#5@"):
        assert door.say(f"{number}txn get app/x") == (
            f"Sorry, bob may not txn: it takes the right to write, {log}; read with get or "
            "show. Nothing was done."
        )
        assert door.say(f"{number}get app/x read log") == (
            "Sorry, bob may not get app/x read log: it takes the right to write there, "
            f"{log}; leave read log out. Nothing was done."
        )
    assert door.say("c#5@get app/x") == "read"


def test_number_needs_a_session_where_there_are_users(access: Access) -> None:
    """Otherwise, one could guess the kept reply of a request under a name that a client chose."""
    door, open_door = Door(access), Door(None)
    door.say(f"login root {PASSWORD}")
    for line in ("c#5@set a 1", "c#5@txn get a", "c#5@lease 10", "c-#5@incr a", "c#5@session"):
        name = line.partition("#")[0]
        assert door.say(line) == INVENTED_NAME(name)
        assert open_door.say(line) == "write"
    for line in ("c.9f86d081884c7d65-57#5@set a 1", "c@set a 1", "set a 1", "c#5@get a"):
        assert door.say(line) in ("write", "read")
    assert door.say("c@session") == door.say("c-57#5@forget") == "write"


def test_a_session_has_a_name_that_nobody_guesses(access: Access) -> None:
    """The random part is never cut off, however long the client's name. Without users, the name is
    as before."""
    names = []
    for client in ("c", "c", "client" * 10):
        admission = Admission(FakeHost(access=access), object())  # type: ignore[arg-type]
        name = SessionTable().begin(admission.session_of(client), 57)
        assert re.fullmatch(rf"{client[:27]}\.[0-9a-f]{{16}}-57", name)
        names.append(name)
    assert len(set(names)) == 3
    assert Admission(FakeHost(), object()).session_of("c") == "c"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("has_users", "entry"),
    [
        (True, "lease 10 [0-9a-f]{16}"),
        (False, "lease 10"),  # a person types the name
    ],
)
def test_a_node_with_users_draws_a_tag_for_each_lease(
    access: Access, has_users: bool, entry: str
) -> None:
    host: Any = FakeHost(access=access if has_users else None, is_at_floor=False)
    admission = Admission(host, object())  # type: ignore[arg-type]
    logged = []
    for number in ("", "", "7"):
        request = read_request("c", number, "lease 10", Limits())
        logged.append(admission.logged(request).removeprefix("c#7@"))
    assert all(re.fullmatch(entry, each) for each in logged)
    assert len(set(logged)) == (3 if "[" in entry else 1)
    assert admission.logged(read_request("c", "7", "set lease 10", Limits())) == "c#7@set lease 10"


def test_entry_names_its_user_above_the_floor(access: Access) -> None:
    """Other implementations take such a name for that of a client."""
    host: Any = FakeHost(access=access, is_at_floor=True)
    admission = Admission(host, object())  # type: ignore[arg-type]

    def logged(number: str, line: str) -> str:
        return admission.logged(read_request("c", number, line, Limits()))

    assert (admission.writer, admission.named_in_log) == ("", "")
    assert admission.login is not None
    admission.login.by_certificate("bob")
    assert (admission.writer, logged("", "set app/x 1")) == ("bob", "set app/x 1")
    assert re.fullmatch(r"c\.[0-9a-f]{16}@session", logged("", "session"))
    host.is_at_floor = False
    assert logged("", "set app/x 1") == "bob@set app/x 1"
    assert logged("7", "set app/x 1") == "c#7@set app/x 1"  # its session names bob
    assert re.fullmatch(r"c\.[0-9a-f]{16}@session bob", logged("", "session"))
    assert re.fullmatch(r"bob@lease 10 [0-9a-f]{16}", logged("", "lease 10"))
    admission.login.by_certificate("root")
    assert (admission.writer, logged("", "set a 1")) == (None, "root@set a 1")


def test_failed_login_is_logged_with_user_and_address(access: Access) -> None:
    """The log line of a failed login names the user and the address."""
    door = Door(access)
    assert door.say("login bob wrong") == LOGIN_FAILED
    assert door.printed == ["login"]
    assert door.host.reports == ["a login as bob from 192.0.2.7 port 5 failed"]
    assert access.failures.count == 1
    assert door.say(f"login bob {PASSWORD}").startswith("LOGIN response")
    assert access.failures.count == 1


def test_failed_exchange_is_logged_without_unknown_names(access: Access) -> None:
    """An unknown name may be the first word of a password."""
    door = Door(access)
    steps = exchange(Credentials("mallory", "wrong"))
    reply = door.say(next(steps))
    assert door.say(steps.send(reply)) == LOGIN_FAILED
    assert door.host.reports == ["a login as an unknown name from 192.0.2.7 port 5 failed"]


def test_many_logins_that_fail_are_few_lines_and_all_are_counted() -> None:
    failures = Failures()
    said = [failures.add("bob", "h9 port 5", now_s) for now_s in (0.0, 0.1, 5.0, 9.9)]
    assert said == ["a login as bob from h9 port 5 failed", "", "", ""]
    assert failures.add("", "h8 port 6", 10.0) == (
        "4 logins failed, the last one as an unknown name from h8 port 6"
    )
    assert failures.add("bob", "h9 port 5", 25.0) == "a login as bob from h9 port 5 failed"
    assert failures.count == 6


def test_a_line_after_a_login_in_the_same_packet_has_its_rights(access: Access) -> None:
    door = Door(access)
    lines = [f"login root {PASSWORD}", "set a 1", "login root wrong", "set a 2"]
    assert [door.say(line) for line in lines][1::2] == [
        "write",
        "Sorry, a client without a login may not set a: it takes the right to write there. "
        "Nothing was done.",
    ]


def test_no_password_is_printed(access: Access) -> None:
    door = Door(access)
    for line in (
        f"login bob {PASSWORD}", f"login bob  {PASSWORD}", f"Login bob {PASSWORD}", "login bob",
        f"login {PASSWORD}", f"lgoin bob {PASSWORD}", f"c#x@login bob {PASSWORD}",
        f"login 4b {PASSWORD}", f"c@ login bob {PASSWORD}", f"login bob {PASSWORD}\t",
        f"auth {PASSWORD}", f"LOGIN bob {PASSWORD}",
    ):  # fmt: skip
        reply = door.say(line)
        if line.lstrip("c@ ").startswith("login"):
            assert PASSWORD not in reply
    assert not [text for text in door.printed + door.host.reports if "horse" in text]
    assert "login" in door.printed


def test_a_node_without_users_takes_no_login() -> None:
    door = Door(None)
    assert door.say("login bob x") == (
        "Sorry, this node has no users, and takes no login. Nothing was done."
    )
    assert door.say("set a 1") == "write"
    assert not [text for text in door.printed if "x" in text]


def test_a_status_is_json(access: Access) -> None:
    door = Door(access, status=lambda: 'STATUS response: {"name": "s1", "sessions": 9}')
    door.say(f"login bob {PASSWORD}")
    assert json.loads(door.admission.status().partition(": ")[2]) == {"name": "s1"}


# --- a client's screen --------------------------------------------------------------------------


def test_the_screen_shows_no_password_and_keeps_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Kept:
        """The history of a line editor."""

        lines: tuple[str, ...] = ()

        def get_current_history_length(self) -> int:
            return len(self.lines)

        def remove_history_item(self, place: int) -> None:
            self.lines = self.lines[:place] + self.lines[place + 1 :]

    kept: Any = Kept()
    monkeypatch.setattr(shell, "readline", kept)
    for line in ("get a", f"login bob {PASSWORD}", f" login  bob {PASSWORD}", "login bob"):
        kept.lines += (line,)
        monkeypatch.setattr("builtins.input", lambda _, line=line: line)
        assert shell._read_typed() == line
    assert kept.lines == ("get a", "login bob")
    nobody: Any = Client("localhost", 1, access=ClientAccess(Credentials("4ve", "x")))
    shell._answer(nobody, f"login bob {PASSWORD}")
    assert capsys.readouterr().out == "[*] Sending: login bob ***\n"
    assert PASSWORD not in repr(Credentials("bob", PASSWORD))


# --- nodes of one cluster -----------------------------------------------------------------------


class UsersNode(ScriptedNode):
    """A node that lets these users read, once they have logged in. One client at a time."""

    def __init__(self, name: str, *users: tuple[str, UserRole, tuple[str, ...]]) -> None:
        self._access = access_of(*users)
        self._login = login_to(self._access)
        super().__init__(self._answer, name)

    def _answer(self, command: str) -> str:
        if command.startswith("auth n,,"):
            self._login = login_to(self._access)
        if command.startswith("auth "):
            return self._login.take(asked(command))
        if command.startswith("watch "):
            return "WATCH response: 0 keys as of 5"
        return "GET response: 5" if self._login.identity.user else error("you are nobody")


@pytest.fixture
def older_and_newer() -> Iterator[tuple[UsersNode, UsersNode]]:
    """Two nodes, the first of which does not know the last user yet."""
    nodes = UsersNode("s1", ROOT), UsersNode("s2", ROOT, BOB)
    yield nodes
    for node in nodes:
        node.close()


async def test_task_logs_in_though_its_loop_has_no_free_thread() -> None:
    """The threads of the loop may all wait for a name server that does not answer."""
    node, end = UsersNode("s1", ROOT, BOB), threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    async with raftline.aio.connect(f"127.0.0.1:{node.port}", user="bob", password=PASSWORD) as kv:
        waiting = loop.run_in_executor(None, end.wait, 30.0)
        try:
            assert await kv.get("a") == "5"
        finally:
            end.set()
            await waiting
    node.close()


def at_both(nodes: tuple[UsersNode, UsersNode]) -> str:
    return ",".join(f"localhost:{node.port}" for node in nodes)


def test_a_node_that_does_not_know_a_user_yet_is_passed_by(
    older_and_newer: tuple[UsersNode, UsersNode],
) -> None:
    async def by_task() -> str | None:
        async with raftline.aio.connect(at, user="bob", password=PASSWORD) as kv:
            return await kv.get("a")

    at = at_both(older_and_newer)
    with raftline.connect(at, user="bob", password=PASSWORD) as kv:
        assert kv["a"] == "5"
        assert kv.snapshot("a").index == 5
    assert asyncio.run(by_task()) == "5"
    host, port = at.partition(",")[0].split(":")
    also = [Address.parse(at.partition(",")[2])]
    bob = Credentials("bob", PASSWORD)
    with Client(host, int(port), follow=True, also=also, access=ClientAccess(bob)) as client:
        client.connect()
        assert client.address == also[0]


def test_a_login_that_all_nodes_refuse_fails_at_once(
    older_and_newer: tuple[UsersNode, UsersNode],
) -> None:
    at = f"{at_both(older_and_newer)},localhost:1"  # where nothing listens
    with raftline.connect(at, user="bob", password="wrong", timeout=DEADLINE_S) as kv:
        for use in (lambda: kv["a"], lambda: kv.snapshot("a")):
            with pytest.raises(LoginFailed, match="the name or the password is wrong"):
                use()
    assert sum("auth n,," in line for node in older_and_newer for line in node.received) <= 8


@pytest.mark.parametrize("ask", [lambda kv: kv["a"], lambda kv: kv.snapshot("a")])
def test_exception_amid_a_login_leaves_no_connection(
    ask: Callable[[Any], object],
    older_and_newer: tuple[UsersNode, UsersNode],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If an exception interrupts a login, no connection without a login is kept."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    at = at_both(older_and_newer).partition(",")[2]
    with raftline.connect(at, user="bob", password=PASSWORD) as kv:
        with monkeypatch.context() as patched:
            patched.setattr(client_access, "log_in", interrupted)
            with pytest.raises(KeyboardInterrupt):
                ask(kv)
        ask(kv)
        assert kv["a"] == "5"
