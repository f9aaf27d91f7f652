"""The login of a connection: a SCRAM-SHA-256 exchange, or a password that a person types.

A wrong name and a wrong password get the same replies, after the same work. After a failed
exchange, only its own connection waits. To check a typed password, the node derives a key (PBKDF2)
before it trusts the client. So it derives one key at a time. The wait after a wrong password is
part of its turn. The addresses that connect take turns, then the names that they ask for. Among the
attempts for one name, connections with at most a few attempts go first, in order of their first
attempt. A password that was right before takes no turn, so guessers keep no program with it out,
and a person gets a turn despite them, whether they keep their connections or make new ones.
"""

from __future__ import annotations

import hmac
import ipaddress
import itertools
import secrets
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from ..common.address import is_loopback
from ..common.mypyc_compat import mypyc_attr
from ..state.user_table import Account, User, UserTable
from ..wire.commands.authorization import KeysOfLease, denial_reason
from ..wire.commands.command_table import Request
from ..wire.commands.identity import Identity, nobody
from ..wire.commands.rights import Right, UserRole
from ..wire.limits import (
    FAILED_LOGIN_S,
    FAILED_LOGINS_S,
    LOGINS_WAITING,
    REFUSED_LOGIN_S,
)
from ..wire.operands.user_operands import MECHANISM, SALT_BYTES, read_verifier
from ..wire.refusal import LOGIN_FAILED, NOT_PRIVATE, TOO_MANY_LOGINS
from ..wire.refusal import error as refusal
from .known_passwords import KnownPasswords
from .proof import NONCE_BYTES
from .scram import Exchange, OutOfPlace
from .throttle import Throttle
from .users import derive, read_first_admin

PATIENT_TRIES = 2  # after the first try, before a connection yields to others
OUT_OF_PLACE = refusal(
    f"this is not a message of {MECHANISM}, or not the next one. Nothing was done; begin again."
)


class Failures:
    """Counts failed logins, and makes the line about them. Any thread may call it."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._reported = 0  # failures in lines printed so far
        self._reported_s = -FAILED_LOGINS_S

    def add(self, user: str, address: str, now_s: float) -> str:
        """Count a failed login. Return the line about all failures since the last line, or "" if
        that was printed a short time ago. `user` is "" for an unknown name, which may be part of a
        password."""
        with self._lock:
            self.count += 1
            if now_s - self._reported_s < FAILED_LOGINS_S:
                return ""
            since, self._reported, self._reported_s = self.count - self._reported, self.count, now_s
        who = user or "an unknown name"
        if since == 1:
            return f"a login as {who} from {address} failed"
        return f"{since:,} logins failed, the last one as {who} from {address}"


@mypyc_attr(allow_interpreted_subclasses=True)
class Access:
    """The users of a cluster as this node knows them, and the rights of clients without a login.

    `users` are those at the last entry that was applied here. Each change makes another object.
    `is_on`: whether the rights of clients are checked. Any thread reads both for each line.
    """

    def __init__(
        self,
        anonymous: UserRole | None = None,
        failed_s: float = FAILED_LOGIN_S,
        *,
        first: Path | None = None,
    ) -> None:
        """Read the file of the first admin, if there is one. With it, or with a role for clients
        that are not logged in, the rights of clients are checked even before there are users.

        Raises:
            ConfigError: the file can't be used.
        """
        self._is_required = (anonymous, first) != (None, None)
        self.nobody = nobody(anonymous or UserRole.NONE)
        self.failed_s = failed_s
        self.wait = threading.Event().wait
        self.new_token: Callable[[int], str] = secrets.token_hex  # takes the number of bytes
        self.turns = Throttle(LOGINS_WAITING)  # for deriving a key
        self.known = KnownPasswords()
        self.arrivals = itertools.count(1)
        self.users = UserTable()
        # The command that adds the first admin of a cluster without users; "" if there is none.
        self.first_admin = "" if first is None else _first_admin_of(first)
        # An entry in the log adds a user, and is not applied yet: nobody is let in before.
        self.awaits_users = False
        self._settling = threading.RLock()  # changes come from several threads
        self.is_on = self._is_required
        self.failures = Failures()

    def follow(self, users: UserTable, *, has_begun: bool = True) -> None:
        """Take the users at an entry that was applied. This is called before anybody can read the
        state of that entry. Where no cluster `has_begun`, the first admin of this node is the only
        user, since somebody may have to begin it, and stays so until the first users come."""
        with self._settling:
            if self.first_admin and not has_begun:
                users = _table_of(self.first_admin)
            before, self.users = self.users, users
            self.known.follow(before, users)
            self._settle()

    def await_users(self, awaits: bool) -> None:
        """Require a login of everybody until the users are known, or no longer require it."""
        with self._settling:
            self.awaits_users = awaits
            self._settle()

    @property
    def lacks_users(self) -> bool:
        """Whether somebody has to log in to change the users, and nobody can: there are none."""
        return self.is_on and not self.users and not self.nobody.is_admin

    def _settle(self) -> None:
        self.is_on = self._is_required or self.awaits_users or bool(self.users)


def _first_admin_of(path: Path) -> str:
    """Return the command that adds the admin of a file. Raises ConfigError."""
    name, verifier = read_first_admin(path)
    return f"user-add {name} {verifier} {UserRole.ADMIN}"


def _table_of(first_admin: str) -> UserTable:
    """Return a table with the user of a command that adds the first admin."""
    _, name, verifier, role = first_admin.split(" ")
    secret = secrets.token_bytes(SALT_BYTES)
    return UserTable({name: Account(read_verifier(verifier), (role,))}, secret=secret)


class Login:
    """The identity of one connection. Only the connection's thread calls `take`."""

    def __init__(
        self,
        access: Access,
        is_private: Callable[[], bool],
        address: Callable[[], str] = lambda: "",
    ) -> None:
        """`address` returns where the connection comes from, as `address_of` does."""
        self._access = access
        self._is_private = is_private
        self._address = address
        self._users = access.users
        self._user: User | None = None
        self._name = ""  # of the current exchange
        self._passwords = self._arrival = 0  # typed passwords, and the time of the first
        self._exchange: Exchange | None = None
        self._exchange_users = access.users
        self.identity = access.nobody
        # The user who was found to be gone, and after whom nobody has logged in; or "".
        self.lost_user = ""
        self._is_certified = False  # logged in by a certificate: then no password counts

    def denial_reason(
        self, command: str, keys_of_lease: KeysOfLease, right: Right | None = None
    ) -> str:
        """Return why a command is refused on this connection, or "" if it is allowed. For a line
        that is not a command, `right` is the right that it needs."""
        if self._users is not self._access.users:
            self._check_again()
        return denial_reason(self.identity, command, keys_of_lease, right)

    def denial_by_now(self, command: str) -> str:
        """Return why a command is refused by the rights of now, or "". Any thread may call this.

        Raises:
            KeysUnknownError: it takes a right to the keys of a lease.
        """
        return denial_reason(self.identity_now(), command, lambda lease: None)

    def reads_by(self, users: UserTable) -> tuple[str, ...]:
        """Return the prefixes of the keys that this connection may read by these users. Any thread
        may call this."""
        return (self.by(users) or self._access.nobody).reads

    def identity_now(self) -> Identity:
        """Return the identity whose rights count now. Any thread may call this."""
        return self.now() or self._access.nobody

    def now(self) -> Identity | None:
        """Return this connection's identity by the current users; see `by`."""
        return self.by(self._access.users)

    def by(self, users: UserTable) -> Identity | None:
        """Return this connection's identity by these users. It is None if the user is not one of
        them, or has another password there. Any thread may call this."""
        user = self._user
        if user is None:
            return self._access.nobody
        now = users.find(user.identity.user)
        if now is not None and self._is_certified:
            return now.identity
        return now.identity if now is not None and now.verifier == user.verifier else None

    def _check_again(self) -> None:
        self._users, now, before = self._access.users, self.now(), self._user
        if now is None and before is not None:
            self._user, self.lost_user = None, before.identity.user
        self.identity = self._access.nobody if now is None else now

    def by_certificate(self, name: str) -> None:
        """Log in the user that a verified certificate names, if there is one."""
        self._succeeded(self._access.users, name, is_certified=True)

    @property
    def tried(self) -> str:
        """The user of the last login attempt, or "" for an unknown name."""
        return self._name if self._access.users.find(self._name) is not None else ""

    def take(self, request: Request) -> str:
        """Return the reply to a `login` or an `auth`."""
        verb, _, operands = request.command.partition(" ")
        if verb == "login":
            return self._by_password(*operands.split(" ", 1))
        return self._by_message(operands)

    def _by_password(self, name: str, password: str) -> str:
        self._exchange, self._name = None, name
        if not self._is_private():
            return NOT_PRIVATE(MECHANISM)
        if reply := self._if_known(name, password):
            return reply
        if not self._passwords:
            self._arrival = next(self._access.arrivals)
        rank = (max(0, self._passwords - PATIENT_TRIES), self._arrival)
        self._passwords += 1
        if not self._access.turns.take(rank, _network_of(self._address()), name):
            self._access.wait(REFUSED_LOGIN_S)
            return self._if_known(name, password) or TOO_MANY_LOGINS
        try:
            return self._if_known(name, password) or self._derived(name, password)
        finally:
            self._access.turns.end()

    def _if_known(self, name: str, password: str) -> str:
        """Log in by a password that was right before, perhaps moments ago on another connection;
        return the reply, or ""."""
        users = self._access.users
        if not self._access.known.is_right(name, password, users.verifier_of(name)):
            return ""
        return self._succeeded(users, name)

    def _derived(self, name: str, password: str) -> str:
        users = self._access.users
        expected = users.verifier_of(name)
        typed = derive(password, expected.salt, expected.iterations)
        if not hmac.compare_digest(typed.stored_key, expected.stored_key):
            return self._failed()
        reply = self._succeeded(users, name)
        if reply:
            self._access.known.add(name, password, expected)
        return reply or self._failed()

    def _by_message(self, message: str) -> str:
        """Take the next message of an exchange."""
        exchange, self._exchange = self._exchange, None
        try:
            if exchange is None:
                users, token = self._access.users, self._access.new_token(NONCE_BYTES)
                exchange = Exchange(message, users.verifier_of, token)
                self._exchange, self._exchange_users, self._name = exchange, users, exchange.name
                return f"AUTH response: {exchange.challenge}"
            last = exchange.answer(message)
        except OutOfPlace:
            return OUT_OF_PLACE
        if not last or not self._succeeded(self._exchange_users, self._name):
            return self._failed()
        return f"AUTH response: {last}"

    def _succeeded(self, users: UserTable, name: str, *, is_certified: bool = False) -> str:
        """Set the identity and return the reply, or "" for an unknown name. A name also counts as
        unknown if the users changed meanwhile, and it is gone or has a new password."""
        user = users.find(name)
        if user is None or (user.verifier is None and not is_certified):
            return ""
        self._is_certified = is_certified
        self._users, self._user, self.identity = users, user, user.identity
        if self.now() is None:  # a later change checks this login itself
            self._user, self.identity = None, self._access.nobody
            return ""
        self.lost_user = ""
        return f"LOGIN response: you are {user.identity.in_words()}"

    def _failed(self) -> str:
        self._user, self.identity = None, self._access.nobody
        self._access.wait(self._access.failed_s)
        return LOGIN_FAILED


def address_of(connection: socket.socket, *, is_own: bool = False) -> str:
    """Return the address of the other side, or of this one, in readable form."""
    try:
        host, port = (connection.getsockname if is_own else connection.getpeername)()[:2]
    except (OSError, ValueError):  # it is gone, or is a socket in the file system
        return "nowhere"
    return f"{host} port {port}"


def _network_of(address: str) -> str:
    """Return the part of an address from `address_of` that one machine can't choose at will."""
    host = address.partition(" port ")[0]
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(parsed, ipaddress.IPv4Address) or parsed.ipv4_mapped is not None:
        return host
    return parsed.packed[:8].hex()  # a network has 64 bits (RFC 4291, section 2.5.1)


def is_private(connection: socket.socket) -> bool:
    """Return whether others can't read a connection: it uses TLS, or stays within this machine."""
    if getattr(connection, "is_tls", False) or isinstance(connection, ssl.SSLSocket):
        return True
    if connection.family == getattr(socket, "AF_UNIX", None):
        return True
    try:
        return is_loopback(connection.getpeername()[0])
    except OSError:
        return False
