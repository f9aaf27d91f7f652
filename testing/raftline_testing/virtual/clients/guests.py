"""Clients that log in, by a password, by SCRAM or by a certificate, at nodes whose users change.

No client reads, writes or watches without a right once the node has reloaded its file. A client
with the right is not refused for lack of it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from random import Random

from raftline.clients.requests.client_login import Credentials, exchange
from raftline.clients.requests.node_connection import LoginFailed
from raftline.net.protocol.host import Batch
from raftline.wire.commands.rights import UserRole
from raftline.wire.limits import STRANGER_S

from ...invariants import InvariantError
from ..nodes.client_connection import ClientConnection
from ..nodes.node_connections import SimulatedConnection
from ..nodes.node_events import Watching
from ..nodes.request_interface import Asked, Asker, Server
from ..nodes.simulated_node import Host
from ..nodes.users_files import NAMES, Guest, Settings, UsersFile, is_denial
from ..watches.watchlines import WatchClient, WatchConnection
from ..world.plan import Plan
from ..world.world import World
from .client_history import History
from .client_request import ClientRequest
from .clients import SimulatedClient

SHARE = 1 / 8  # of schedules
NOBODY_LOGGED_IN = f"Sorry, nobody logged in on this connection within {STRANGER_S:g} s."
LOST_RIGHTS = "since the rights of the user have changed"


def certificate(name: str) -> dict[str, object]:
    """Return what a TLS library reports of a verified certificate of a user."""
    return {"subject": ((("commonName", name),),)}


class GuestClient(SimulatedClient):
    """A client that is refused now and then because it lacks a right."""

    def __init__(
        self, world: World, plan: Plan, name: str, servers: Sequence[Server], history: History
    ) -> None:
        super().__init__(world, plan, name, servers, history)
        self._session = None  # a node with users accepts no name that a client chose

    def answered(self, request: ClientRequest, reply: str) -> None:
        if reply == NOBODY_LOGGED_IN:
            self.refused(request, None)
        elif not is_denial(reply):
            super().answered(request, reply)
        elif self._settle(request):
            self._world.tell("answer", f"{self.name} <- {reply}")
            self._leave(request)
            self.think()


class GuestConnection(ClientConnection):
    """A connection that begins with a login; lines sent meanwhile wait for its end."""

    def __init__(self, file: UsersFile, guest: Guest, chance: Random) -> None:
        super().__init__(file.doors, file.host)
        self._file = file
        self._chance = chance
        self.guest: Guest | None = None  # the logged-in user
        self._trying = guest
        self._since: dict[Asked, int] = {}  # the version in force when a line arrived
        self._begun = file.version
        self._held_back = b""
        self._steps_of_login: Generator[str, str, None] | None = None
        if guest.password is None:
            self.admission.certify(certificate(guest.name))
            if True in file.logs_in(guest, file.version):
                self.guest = guest
        elif chance.random() < 0.9:
            self._log_in(guest)

    def _log_in(self, guest: Guest) -> None:
        name, password = guest.name, guest.password or ""
        if self._chance.random() < 0.5:
            self._steps_of_login = _typed(name, password)
        else:
            nonce = f"{self._chance.getrandbits(64):x}"
            self._steps_of_login = exchange(Credentials(name, password), lambda: nonce)
        self._send_login(next(self._steps_of_login))

    def _send_login(self, command: str) -> None:
        line = Asked(None, "", self._hear_login)
        self._since[line] = self._file.version
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
        except LoginFailed:
            self._logged_in(None)
        else:
            self._sim.beside(
                self._chance.randint(0, 20), self._chance.random(), self._go_on, command
            )

    def _go_on(self, command: str) -> None:
        if not self.is_over:
            self._send_login(command)

    def _logged_in(self, guest: Guest | None) -> None:
        since = self._begun if guest is None else self._file.version
        is_user = self._file.logs_in(self._trying, since)
        if guest is not None or self._file.doors.is_private:
            self._file.hold("a login", is_user, was_done=guest is not None)
        self.guest, self._steps_of_login = guest, None
        held_back, self._held_back = self._held_back, b""
        self.receive(held_back)

    def receive(self, data: bytes) -> None:
        if self._steps_of_login is not None:
            self._held_back += data
        elif data:
            for one in self.asked:
                self._since.setdefault(one, self._file.version)
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
        if one is not None and one.request is not None and is_denial(one.reply):
            self._hold(one, one.request, was_done=False)
            if self._chance.random() < 0.3:
                self._sim.beside(0, self._chance.random(), self.hang_up)

    def _hold(self, one: Asked, request: object, *, was_done: bool) -> None:
        assert isinstance(request, ClientRequest)
        reads = request.verb == "get" and not request.in_log
        key = None if request.verb == "session" else request.key
        role = UserRole.READER if reads else UserRole.WRITER
        may = self._file.may(self.guest, role, key, self._since[one])
        self._file.hold(request.line, may, was_done=was_done)


def _typed(name: str, password: str) -> Generator[str, str, None]:
    reply = yield f"login {name} {password}"
    if not reply.startswith("LOGIN response: "):
        raise LoginFailed(reply)


class GuestWatch(WatchClient):
    """A watch that begins after a login by password."""

    def __init__(
        self,
        world: World,
        chance: Random,
        name: str,
        files: dict[Host, UsersFile],
        watching: Watching,
    ) -> None:
        self._files = files
        super().__init__(world, chance, name, list(files), watching)

    def _connected(self, host: Host) -> WatchConnection:
        file = self._files[host]
        file.begin()
        name = self._chance.choice(NAMES)
        guest = Guest(name, file.password_of(name))
        connection = GuestWatchConnection(file, self, guest)
        file.keep(connection)
        login = f"{self._name}@login {guest.name} {guest.password}\n"
        host.beside(0, 0.0, connection.receive, login.encode())
        return connection

    def prefix(self) -> str:
        """Return the watched prefix."""
        return self._prefix


class GuestWatchConnection(WatchConnection):
    """The connection of such a watch: it gets no event of entries after its refusal."""

    def __init__(self, file: UsersFile, client: GuestWatch, guest: Guest) -> None:
        super().__init__(file.doors, file.host, client)
        self._file = file
        self._trying = guest
        self._prefix = client.prefix()
        self._guest: Guest | None = None
        self._since = file.version
        self._has_begun = False
        self._refused_at: int | None = None  # events up to this entry may still be sent

    def rights_changed(self) -> None:
        if self._has_begun:
            self._look()
        super().rights_changed()

    def _look(self) -> None:
        may = self._file.account(self._guest, self._file.version)
        if self._refused_at is None and not may.may(UserRole.READER, self._prefix):
            self._refused_at = self._file.host.manager.applied.index

    def _line_left(self, connection: SimulatedConnection, line: str) -> None:
        head, _, text = line.partition("@")
        if "#" not in head:  # a reply to the login
            self._guest = self._trying if text.startswith("LOGIN ") else None
            if self._guest is not None:
                is_user = self._file.logs_in(self._trying, self._file.version)
                self._file.hold("a login", is_user, was_done=True)
            return
        may = self._file.may(self._guest, UserRole.READER, self._prefix, self._since)
        if LOST_RIGHTS in text or is_denial(text):
            self._file.hold("a watch", may, was_done=False)
            self._file.world.counts["watches that lost their rights"] += LOST_RIGHTS in text
        elif text.startswith("WATCH "):
            self._file.hold("a watch", may, was_done=True)
            self._has_begun = True
            self._look()
        elif text.startswith("EVENT "):
            refused_at = self._refused_at
            if refused_at is not None and int(text.split(" ")[1]) > refused_at:
                raise InvariantError(f"{text!r} is sent, though it happened without a right")
        super()._line_left(connection, line)


class Guests:
    """The users of a schedule, their clients, and the changes of the files; in some schedules."""

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
        self.is_on = chance.random() < SHARE
        self.clients: list[SimulatedClient] = []
        self.watches: list[WatchClient] = []
        self.files: dict[Host, UsersFile] = {}
        if not self.is_on:
            return
        anonymous = chance.choice([UserRole.NONE, UserRole.NONE, UserRole.READER])
        self.files = {host: UsersFile(world, chance, host, anonymous) for host in hosts}
        for host, file in self.files.items():
            host.requests.porter = GuestDoor(file, chance)
        self._settings = Settings(world, chance, list(self.files.values()))
        for number in (1, 2):
            self.clients.append(GuestClient(world, plan, f"guest{number}", hosts, history))
        self.watches = [
            GuestWatch(world, chance, f"guestwatch{number}", self.files, watching)
            for number in (1, 2, 3)
        ]

    def finish(self) -> None:
        """Give every user all rights."""
        if self.is_on:
            self._settings.finish()


class GuestDoor:
    """The maker of guests' connections at one node."""

    def __init__(self, file: UsersFile, chance: Random) -> None:
        self._file = file
        self._chance = chance

    def connect(self, client: Asker) -> ClientConnection | None:
        """Return a connection on which a user logs in."""
        if not isinstance(client, GuestClient):
            return None
        self._file.begin()
        chance = self._chance
        name = chance.choice(NAMES)
        password = None if chance.random() < 0.2 else self._file.password_of(name)
        connection = GuestConnection(self._file, Guest(name, password), chance)
        self._file.keep(connection)
        return connection
