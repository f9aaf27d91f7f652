"""Clients that log in, by a password, by SCRAM or by a certificate, while an administrator changes
the users.

No client writes without a right at the place of its entry, or reads without one at the place that
it reads from. No client watches without a right for long. A client with the right is not refused
for lack of it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from random import Random

from raftline.net.protocol.host import Batch
from raftline.wire.commands.rights import UserRole
from raftline.wire.limits import STRANGER_S

from ...extensions import joined
from ...invariants import InvariantError
from ...workloads.client_history import History
from ...workloads.client_request import ClientRequest
from ...workloads.line_request import LineRequest
from ...workloads.workload_machine import Answer
from ..nodes.client_connection import ClientConnection
from ..nodes.node_connections import SimulatedConnection
from ..nodes.node_events import Watching
from ..nodes.request_interface import Asked, Asker, Server
from ..nodes.simulated_node import Host
from ..nodes.users_at_node import (
    NAMES,
    NEEDS,
    PASSWORDS,
    READ,
    ROOT,
    UPDATE,
    Census,
    Guest,
    NotLoggedIn,
    UsersAtNode,
    any_change,
    change_to_all_rights,
    is_denial,
    verifier,
)
from ..watches.watchlines import WatchClient, WatchConnection
from ..world.plan import Plan
from ..world.world import World
from .clients import SimulatedClient
from .one_at_a_time import OneAtATime

SHARE = 1 / 8  # of schedules
NOBODY_LOGGED_IN = f"Sorry, nobody logged in on this connection within {STRANGER_S:g} s."
LOST_RIGHTS = "since the rights of the user have changed"

# The modules `virtual.logins`: a login by SCRAM.
LOGINS = joined("virtual.logins")


class GuestClient(SimulatedClient):
    """A client that is refused now and then because it lacks a right."""

    def __init__(
        self, world: World, plan: Plan, name: str, servers: Sequence[Server], history: History
    ) -> None:
        super().__init__(world, plan, name, servers, history)
        self.machine.session = None  # a node with users accepts no name that a client chose

    def answered(self, request: ClientRequest, reply: str) -> None:
        if reply == NOBODY_LOGGED_IN:
            self.refused(request, None)
        elif not is_denial(reply):
            super().answered(request, reply)
        elif self._settle(request):
            self._world.tell("answer", f"{self.name} <- {reply}")
            self._go_on(Answer("denied"))


class GuestConnection(ClientConnection):
    """A connection that begins with a login; lines sent meanwhile wait for its end."""

    def __init__(self, users: UsersAtNode, guest: Guest, chance: Random) -> None:
        super().__init__(users.doors, users.host)
        self._users = users
        self._chance = chance
        self.guest: Guest | None = None  # the logged-in user
        self._trying = guest
        self._since: dict[Asked, int] = {}  # the last applied entry when a line arrived
        self._begun = self._logged_in_at = users.version
        self._held_back = b""
        self._steps_of_login: Generator[str, str, None] | None = None
        if guest.password is None:
            self.admission.certify(guest.name, is_member=False)
            if True in users.logs_in(guest, users.version):
                self.guest, self._logged_in_at = guest, users.version
        elif chance.random() < 0.9:
            self._log_in(guest)

    def _log_in(self, guest: Guest) -> None:
        name, password = guest.name, guest.password or ""
        if self._chance.random() < 0.5 or not LOGINS:
            self._steps_of_login = _typed(name, password)
        else:
            nonce = f"{self._chance.getrandbits(64):x}"
            self._steps_of_login = LOGINS[0].log_in(name, password, nonce)
        self._send_login(next(self._steps_of_login))

    def _send_login(self, command: str) -> None:
        line = Asked(None, "", self._hear_login)
        self._since[line] = self._users.version
        self.asked.insert(0, line)
        super().receive(f"guest@{command}\n".encode())

    def _hear_login(self, reply: str | None) -> None:
        steps = self._steps_of_login
        if reply is None or steps is None or self.is_over:
            return
        try:
            command = steps.send(reply)
        except StopIteration:
            self._logged_in(self._trying)
        except NotLoggedIn:
            self._logged_in(None)
        else:
            self._sim.beside(
                self._chance.randint(0, 20), self._chance.random(), self._go_on, command
            )

    def _go_on(self, command: str) -> None:
        if not self.is_over:
            self._send_login(command)

    def _logged_in(self, guest: Guest | None) -> None:
        since = self._begun if guest is None else self._users.version
        is_user = self._users.logs_in(self._trying, self._begun)  # the reply may be late
        if guest is not None or self._users.doors.is_private:
            self._users.hold("a login", is_user, was_done=guest is not None)
        self.guest, self._steps_of_login = guest, None
        self._logged_in_at = since
        held_back, self._held_back = self._held_back, b""
        self.receive(held_back)

    def receive(self, data: bytes) -> None:
        if self._steps_of_login is not None:
            self._held_back += data
        elif data:
            for one in self.asked:
                self._since.setdefault(one, self._users.version)
            super().receive(data)

    # --- the rule -------------------------------------------------------------------------------

    def add(self, batch: Batch) -> None:
        super().add(batch)
        for one in self.asked:
            if one.batch is batch and one.request is not None:
                self._hold(one, one.request, was_done=True)

    def _line_left(self, connection: SimulatedConnection, line: str) -> None:
        one = self.asked[0] if self.asked else None
        sender, _, text = line.partition("@")
        if text == NOBODY_LOGGED_IN and one is not None and one.request_id:
            # This reply ends the connection, so it has no id; the line that arrived too late was
            # not accepted.
            line = f"{sender}#{one.request_id}@{text}"
        super()._line_left(connection, line)
        if one is None or one.request is None:
            return
        is_entry = one.batch is not None and one.batch.first_index > 0  # the census judges it
        if one.reply.startswith("GET ") and not is_entry:
            # A right that was known to be gone when the request began does not count.
            self._hold(one, one.request, was_done=True, since=one.request.must_see_index)
        elif is_denial(one.reply):
            if not is_entry:
                self._hold(one, one.request, was_done=False)
            if self._chance.random() < 0.3:
                self._sim.beside(0, self._chance.random(), self.hang_up)

    def _hold(self, one: Asked, request: object, *, was_done: bool, since: int = 0) -> None:
        if isinstance(request, LineRequest):
            return  # root keeps all rights
        assert isinstance(request, ClientRequest)
        need = UPDATE if request.verb == "get" and request.in_log else NEEDS[request.verb]
        key = None if request.verb == "session" else request.key
        users, since = self._users, max(since, self._since[one])
        may = users.may(self.guest, need, key, since)
        if self.guest is not None and False in users.logs_in(self.guest, self._logged_in_at):
            may |= users.may(None, need, key, since)  # it was gone, and has to log in again
        users.hold(request.line, may, was_done=was_done)


def _typed(name: str, password: str) -> Generator[str, str, None]:
    reply = yield f"login {name} {password}"
    if not reply.startswith("LOGIN response: "):
        raise NotLoggedIn(reply)


class GuestWatch(WatchClient):
    """A watch that begins after a login by password."""

    def __init__(
        self,
        world: World,
        chance: Random,
        name: str,
        users_at: dict[Host, UsersAtNode],
        watching: Watching,
    ) -> None:
        self._users_at = users_at
        super().__init__(world, chance, name, list(users_at), watching)

    def _connected(self, host: Host) -> WatchConnection:
        users = self._users_at[host]
        users.begin()
        name = self._chance.choice(NAMES)
        guest = Guest(name, users.password_of(name))
        connection = GuestWatchConnection(users, self, guest)
        users.keep(connection)
        login = f"{self.name}@login {guest.name} {guest.password}\n"
        host.beside(0, 0.0, connection.receive, login.encode())
        return connection


class GuestWatchConnection(WatchConnection):
    """The connection of such a watch: it gets no event of entries after its refusal."""

    def __init__(self, users: UsersAtNode, client: GuestWatch, guest: Guest) -> None:
        super().__init__(users.doors, users.host, client)
        self._users = users
        self._trying = guest
        self._prefix = client.prefix
        self._guest: Guest | None = None
        self._since = users.version
        self._has_begun = False
        self._refused_at: int | None = None  # events up to this entry may still be sent

    def rights_changed(self) -> None:
        if self._has_begun:
            self._look()
        super().rights_changed()

    def _look(self) -> None:
        may = self._users.may_now(self._guest, READ, self._prefix)
        if self._refused_at is None and not may:
            manager = self._users.host.manager  # the numbers of events are those of entries
            self._refused_at = max(manager.applied.index, manager.store.number)

    def _line_left(self, connection: SimulatedConnection, line: str) -> None:
        head, _, text = line.partition("@")
        if "#" not in head:  # a reply to the login
            self._guest = self._trying if text.startswith("LOGIN ") else None
            if self._guest is not None:
                is_user = self._users.logs_in(self._trying, self._since)  # the reply may be late
                self._users.hold("a login", is_user, was_done=True)
            return
        may = self._users.may(self._guest, READ, self._prefix, self._since)
        if LOST_RIGHTS in text or is_denial(text):
            self._users.hold("a watch", may, was_done=False)
            self._users.world.counts["watches that lost their rights"] += LOST_RIGHTS in text
        elif text.startswith("WATCH "):
            self._users.hold("a watch", may, was_done=True)
            self._has_begun = True
            self._look()
        elif text.startswith("EVENT "):
            refused_at = self._refused_at
            if refused_at is not None and int(text.split(" ")[1]) > refused_at:
                raise InvariantError(f"{text!r} is sent, though it happened without a right")
        super()._line_left(connection, line)


class Administrator(OneAtATime):
    """An administrator who adds users with all rights, and then changes users and roles at any
    time. Some requests are made after a login as the first admin."""

    def __init__(
        self, world: World, plan: Plan, census: Census, hosts: Sequence[Host], chance: Random
    ) -> None:
        super().__init__(world, plan, "administrator", hosts)
        self._census = census
        self._chance = chance
        self._has_begun = False  # all users had all rights
        self._think()

    def logs_in(self) -> bool:
        """Whether it begins the next connection with a login."""
        return ROOT in self._census.latest.accounts and self._chance.random() < 0.5

    def stop(self) -> None:
        """Give every user all rights, and then change nothing."""
        self.stopped = True

    @property
    def is_done(self) -> bool:
        """Whether every user has all rights, and nothing changes any more."""
        return self.stopped and self.waiting is None and not self._next()

    def _next(self) -> str:
        users = self._census.latest
        if ROOT not in users.accounts:
            return f"user-add {ROOT} {verifier(ROOT, PASSWORDS[0])} admin"
        if self._has_begun and not self.stopped:
            return any_change(self._chance)
        return change_to_all_rights(users)

    def _think(self) -> None:
        is_busy = self.stopped or not self._has_begun
        self._world.within(5 if is_busy else self._chance.choice([2, 10, 50]), self._change)

    def _change(self) -> None:
        command = self._next()
        if not command:
            self._has_begun = True
            command = self._next()
        if command:
            self._send(LineRequest(self, command, self._world.now_ms))

    def answered(self, request: LineRequest, reply: str) -> None:
        """Take the reply."""
        if self._settle(request):
            self._world.tell("answer", f"{self.name} <- {reply}")
            self._think()

    def refused(self, request: LineRequest, leader: str | None) -> None:
        """Try another node."""
        if self._settle(request):
            self._leader = leader if leader in self._servers else None
            self._think()

    def unknown(self, request: LineRequest) -> None:
        """Go on, whether the request was carried out or not."""
        self.refused(request, None)


class Guests:
    """The users of a schedule, their clients, and their administrator; in some schedules."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        hosts: Sequence[Host],
        history: History,
        watching: Watching,
        seed: int,
    ) -> None:
        chance = self._chance = Random(f"guests {seed}")
        self.is_on = chance.random() < SHARE and not plan.by_hand  # users need an identity
        self.clients: list[SimulatedClient] = []
        self.watches: list[WatchClient] = []
        self.users_at: dict[Host, UsersAtNode] = {}
        if not self.is_on:
            return
        census = Census(world)
        anonymous = chance.choice([UserRole.NONE, UserRole.NONE, UserRole.READER])
        self._administrator = Administrator(world, plan, census, hosts, chance)
        for host in hosts:
            host.watch_entries(census.applied)
            users = self.users_at[host] = UsersAtNode(world, chance, host, census, anonymous)
            host.requests.porter = GuestDoor(users, chance)
        for number in (1, 2):
            self.clients.append(GuestClient(world, plan, f"guest{number}", hosts, history))
        self.watches = [
            GuestWatch(world, chance, f"guestwatch{number}", self.users_at, watching)
            for number in (1, 2, 3)
        ]

    def finish(self) -> None:
        """Give every user all rights."""
        if self.is_on:
            self._administrator.stop()

    def are_settled(self) -> bool:
        """Whether every user has all rights."""
        return not self.is_on or self._administrator.is_done


class GuestDoor:
    """The maker of guests' connections at one node."""

    def __init__(self, users: UsersAtNode, chance: Random) -> None:
        self._users = users
        self._chance = chance

    def connect(self, client: Asker) -> ClientConnection | None:
        """Return a connection on which a user logs in."""
        guest = self._guest(client)
        if guest is None:
            return None
        self._users.begin()
        connection = GuestConnection(self._users, guest, self._chance)
        self._users.keep(connection)
        return connection

    def _guest(self, client: Asker) -> Guest | None:
        if isinstance(client, Administrator):
            return Guest(ROOT, PASSWORDS[0]) if client.logs_in() else None
        if not isinstance(client, GuestClient):
            return None
        name = self._chance.choice(NAMES)
        is_certified = self._chance.random() < 0.2
        return Guest(name, None if is_certified else self._users.password_of(name))
