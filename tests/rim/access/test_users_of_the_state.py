"""Users of the replicated state at the door of a node: logins, rights, and reads that are judged
again after a change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from raftline.access.login import Access, Login
from raftline.access.users import make_verifier
from raftline.net.protocol.admission import Admission
from raftline.net.protocol.host import Batch
from raftline.net.protocol.outgoing_protocol import OutgoingProtocol
from raftline.state.commands.key_commands import execute
from raftline.state.store import Store
from raftline.wire.commands.command_table import read_request
from raftline.wire.commands.parsing import ReadSettings, parse
from raftline.wire.commands.rights import UserRole
from raftline.wire.operands.login_operands import ITERATIONS_LEAST
from raftline.wire.operands.operands import Limits
from raftline_testing.doubles.fake_host import FakeHost

PASSWORD, OTHER = "correct horse", "staple"
VERIFIERS = {word: str(make_verifier(word, ITERATIONS_LEAST)) for word in (PASSWORD, OTHER)}


class Door:
    """A connection at a node that was started without a setting for users."""

    def __init__(self, anonymous: UserRole | None = None) -> None:
        self.store = Store(is_at_floor=False)
        self.access = Access(anonymous, failed_s=0.0)
        self.store.on_users = self.access.follow
        self.host: Any = FakeHost(access=self.access, is_at_floor=False)
        self.admission = Admission(self.host, object(), lambda: True)  # type: ignore[arg-type]

    def do(self, *commands: str) -> None:
        for command in commands:
            assert " response: " in execute(self.store, command)

    def say(self, line: str) -> str:
        """Return the reply to a line, or its kind if it is admitted."""
        admitted = self.admission.admit(parse(line.encode(), Limits(), ReadSettings(), "s1"))
        return admitted.reply or admitted.kind


@pytest.fixture
def door() -> Door:
    return Door()


def test_everybody_may_do_everything_until_there_is_a_user(door: Door) -> None:
    assert door.say("set a 1") == "write"
    assert door.admission.user is None
    door.do(f"user-add root {VERIFIERS[PASSWORD]} admin")
    assert door.say("set a 1").startswith("Sorry, a client without a login may not set a")
    assert door.say(f"login root {PASSWORD}") == "LOGIN response: you are root, an admin"
    assert door.say("set a 1") == "write"


def test_node_with_a_role_for_strangers_is_closed_before_users() -> None:
    """A node with a role for clients without a login refuses them until it knows its users."""
    door = Door(UserRole.NONE)
    assert door.say("get a").startswith("Sorry, a client without a login may not get a")
    assert "this server does not know the users yet" in door.say(f"login root {PASSWORD}")


def test_a_new_password_works_at_once_and_the_old_one_no_more(door: Door) -> None:
    door.do(f"user-add root {VERIFIERS[PASSWORD]} admin")
    door.say(f"login root {PASSWORD}")
    door.do(f"user-password root {VERIFIERS[OTHER]}")
    assert door.say("get a").startswith("Sorry, a client without a login may not get a")
    assert door.say(f"login root {PASSWORD}").startswith("Sorry, the login failed")
    assert door.say(f"login root {OTHER}").startswith("LOGIN response")


def test_a_user_without_a_password_logs_in_by_certificate_alone(door: Door) -> None:
    door.do(f"user-add root {VERIFIERS[PASSWORD]} admin", "user-add bob - reader")
    assert door.say("login bob -").startswith("Sorry, the login failed")
    login = Login(door.access, lambda: True)
    login.by_certificate("bob")
    assert login.identity.in_words() == "bob, who may read all keys"


def test_change_of_members_awaits_a_leader_that_knows_all_users(door: Door) -> None:
    """A change of members waits until the leader knows all users."""
    door.do(f"user-add root {VERIFIERS[PASSWORD]} admin")
    door.say(f"login root {PASSWORD}")
    assert door.say("remove s2") == "members"
    door.host.keys_of_lease = lambda lease: None  # it has not applied all committed entries
    assert door.say("remove s2") == door.host.not_here()


class Sent(OutgoingProtocol):
    """Keeps what is sent."""

    def __init__(self, host: Any) -> None:
        super().__init__(host)
        self.lines = b""

    def _send(self, data: bytes) -> int:
        self.lines += data
        return len(data)


class Replies:
    """A state whose user is removed while it is read."""

    def __init__(self, door: Door, change: str) -> None:
        self.door, self.change = door, change

    def read(self, commands: Sequence[str], room: int = 0, *, waits: bool = True) -> list[str]:
        replies = [execute(self.door.store, command) for command in commands]
        if self.change:
            self.door.do(self.change)
        return replies


@pytest.mark.parametrize("change", ["user-remove bob", "user-revoke bob app", ""])
def test_a_confirmed_read_is_judged_by_the_rights_after_it(door: Door, change: str) -> None:
    door.do(f"user-add root {VERIFIERS[PASSWORD]} admin", "role-add app")
    door.do("role-grant app read app/", f"user-add bob {VERIFIERS[PASSWORD]} app", "set app/x 1")
    door.say(f"login bob {PASSWORD}")
    sent = Sent(door.host)
    sent.denial_by_now = door.admission.denial_by_now
    batch = Batch(["get app/x"], is_read=True, ids=[""], reply_sink=sent)
    batch.rights = door.access.users
    batch.reader = Replies(door, change)
    sent.add(batch)
    batch.is_answered = True
    sent.flush()
    said = sent.lines.decode()
    if change:
        assert "may not get app/x" in said
        assert "GET response" not in said
    else:
        assert said.endswith("GET response: 1\n")


def test_the_request_of_users_is_for_admins(door: Door) -> None:
    door.do(f"user-add root {VERIFIERS[PASSWORD]} admin", f"user-add bob {VERIFIERS[OTHER]} writer")
    door.say(f"login bob {OTHER}")
    for line in ("users", "role-add app", f"user-add eve {VERIFIERS[OTHER]}", "user-remove root"):
        verb = "list the users" if line == "users" else line.partition(" ")[0]
        assert door.say(line) == (
            f"Sorry, bob may not {verb}: it takes the role admin. Nothing was done."
        )
    request = read_request("c", "", "users", Limits())
    assert request.command == "users"
