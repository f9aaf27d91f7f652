"""Typed passwords: who gets a turn while others guess, and which password needs none."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from raftline.access import login as login_module
from raftline.access.login import Access, Login
from raftline.access.throttle import Throttle
from raftline.access.users import make_verifier
from raftline.state.user_table import Account
from raftline.wire.limits import LOGINS_WAITING
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline.wire.operands.user_operands import Verifier
from raftline.wire.refusal import LOGIN_FAILED, TOO_MANY_LOGINS
from raftline_testing.nodes.processes import DEADLINE_S, eventually
from tests.rim.access.logins import BOB, PASSWORD, ROOT, access_of, asked, login_to, places_in

RIGHT = f"login bob {PASSWORD}"


@pytest.fixture
def access() -> Access:
    return access_of(BOB, ROOT)


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords whose keys are derived."""
    passwords: list[str] = []
    derive = login_module.derive

    def noting(password: str, salt: bytes, iterations: int) -> Verifier:
        passwords.append(password)
        return derive(password, salt, iterations)

    monkeypatch.setattr(login_module, "derive", noting)
    return passwords


def no_turns(access: Access) -> None:
    """Make somebody keep the only turn."""
    access.turns, access.wait = Throttle(0), lambda timeout=None: True
    assert access.turns.take()


def test_a_password_that_was_right_takes_no_turn(access: Access, derived: list[str]) -> None:
    """So guessers cannot lock out a connection pool that logs in with the same password."""
    assert login_to(access).take(asked(RIGHT)).startswith("LOGIN response: ")
    no_turns(access)
    again = login_to(access)
    assert again.take(asked(RIGHT)).startswith("LOGIN response: you are bob")
    assert again.identity.user == "bob"
    assert derived == [PASSWORD]
    for line in ("login bob wrong", f"login root {PASSWORD}x", f"login nobody {PASSWORD}"):
        assert login_to(access).take(asked(line)) == TOO_MANY_LOGINS


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_known_password_is_forgotten_with_its_verifier(access: Access, is_removed: bool) -> None:
    """This holds even if the user returns with the earlier verifier."""
    assert login_to(access).take(asked(RIGHT)).startswith("LOGIN response: ")
    before = access.users
    other = Account(make_verifier("another", ITERATIONS_LEAST), ("reader",))
    access.follow(before.with_account("bob", None if is_removed else other))
    assert login_to(access).take(asked(RIGHT)) == LOGIN_FAILED
    access.follow(before)
    no_turns(access)
    assert login_to(access).take(asked(RIGHT)) == TOO_MANY_LOGINS


def test_a_known_password_survives_a_change_of_rights(access: Access) -> None:
    assert login_to(access).take(asked(RIGHT)).startswith("LOGIN response: ")
    verifier = access.users.accounts["bob"].verifier
    access.follow(access.users.with_account("bob", Account(verifier, ("writer",))))
    no_turns(access)
    reply = login_to(access).take(asked(RIGHT))
    assert reply == "LOGIN response: you are bob, who may read and write all keys"


class Crowd:
    """Threads that log in at the same time, while the first of them derives its key."""

    def __init__(self, access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
        self.access, self.replies = access, dict[str, list[str]]()
        self.go = threading.Event()
        self.derived: list[str] = []
        self._threads: list[threading.Thread] = []
        derive = login_module.derive

        def waiting(password: str, salt: bytes, iterations: int) -> Verifier:
            assert self.go.wait(DEADLINE_S)
            self.derived.append(password)
            return derive(password, salt, iterations)

        access.wait = lambda timeout=None: self.go.wait(DEADLINE_S)
        monkeypatch.setattr(login_module, "derive", waiting)

    def log_in(self, who: str, line: str, address: str) -> None:
        """Log in on a new connection."""

        def take() -> None:
            reply = Login(self.access, lambda: True, lambda: address).take(asked(line))
            self.replies.setdefault(who, []).append(reply)

        self._threads.append(threading.Thread(target=take, daemon=True))
        self._threads[-1].start()

    def fill(self, line_of: Callable[[int], str], address: str) -> None:
        """Take every place."""
        for number in range(1 + LOGINS_WAITING):
            self.log_in("crowd", line_of(number), address)
            eventually(lambda count=number + 1: places_in(self.access.turns) == count, "a place")

    def bob_comes(self, address: str) -> None:
        """Log bob in for the first time, and wait until he has a place."""
        turns = self.access.turns
        seen = {id(one) for one in turns._present}
        self.log_in("bob", RIGHT, address)
        eventually(lambda: any(id(one) not in seen for one in turns._present), "a place for bob")

    def finish(self) -> None:
        self.go.set()
        for one in self._threads:
            one.join(DEADLINE_S)


@pytest.fixture
def crowd(access: Access, monkeypatch: pytest.MonkeyPatch) -> Crowd:
    return Crowd(access, monkeypatch)


@pytest.mark.parametrize(
    ("line_of", "address"),
    [
        (lambda number: "login root guess", "192.0.2.7 port 4"),
        (lambda number: f"login name{number} guess", "192.0.2.66 port 4"),
        (lambda number: "login bob guess", "2001:db8:0:1::66 port 4"),
    ],
    ids=["one name", "many names of one address", "the same name from another network"],
)
def test_guessers_keep_no_other_name_or_address_out(
    crowd: Crowd, line_of: Callable[[int], str], address: str
) -> None:
    """The first login on a new connection gets the next turn, although it came last."""
    crowd.fill(line_of, address)
    crowd.bob_comes("192.0.2.7 port 5")
    crowd.finish()
    assert crowd.replies["bob"][0].startswith("LOGIN response: ")
    assert crowd.derived.index(PASSWORD) == 1
    assert TOO_MANY_LOGINS in crowd.replies["crowd"]


def test_a_machine_that_takes_many_addresses_has_one_share(crowd: Crowd) -> None:
    """It may choose the last 64 bits of its address."""
    for number in range(1 + LOGINS_WAITING):
        crowd.log_in("crowd", f"login name{number} guess", f"2001:db8::{number + 1} port 4")
        eventually(lambda count=number + 1: places_in(crowd.access.turns) == count, "a place")
    crowd.bob_comes("2001:db8:0:1::1 port 5")
    crowd.finish()
    assert crowd.replies["bob"][0].startswith("LOGIN response: ")


def test_a_pool_that_starts_derives_its_password_once(crowd: Crowd) -> None:
    """Its connections log in at the same time, and none is refused."""
    access = crowd.access
    access.wait = lambda timeout=None: bool(eventually(lambda: access.known._macs, "a password"))
    for _ in range(4 * LOGINS_WAITING):
        crowd.log_in("pool", RIGHT, "192.0.2.7 port 4")
    eventually(lambda: places_in(access.turns) == 1 + LOGINS_WAITING, "a full queue")
    crowd.finish()
    assert len(crowd.replies["pool"]) == 4 * LOGINS_WAITING
    assert all(reply.startswith("LOGIN response: ") for reply in crowd.replies["pool"])
    assert crowd.derived == [PASSWORD]
