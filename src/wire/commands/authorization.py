"""The check of rights: what each line needs, and whether an identity has it. Pure.

Each command of wire/commands/command_table.py has a row with its right. A verb without a row is
refused for all users. tests/lists/test_command_pages.py makes the table of docs/use/users.md from
these rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ..operands.lease_operands import UNDER, without_lease
from ..operands.operands import NO_LIMITS, Kind, not_understood
from ..protocol import ProtocolError, shown
from ..refusal import NO_LOGIN, NOT_ALLOWED, Refusal
from .command_table import COMMANDS, IN_TRANSACTIONS, Request
from .identity import Identity
from .rights import KeyRight, LeaseKeys, Right, Touches, UserRole
from .transaction_line import read_transaction

_READ_LOG = " read log"
# What a refusal calls a command whose verb is a noun. Entries are not in it: their refusals are
# part of the state, which all builds that share a log compute alike.
_AS_VERBS = {
    "session": "write, nor begin a session for that",  # a client begins one before its first write
    "status": "read the status",
    "members": "list the members",
    "users": "list the users",
    "leases": "list the leases",
    "backup": "make a backup",
    "lines": "read the lines of a node",
}
_LOGGED = ", as it is an entry of the log; read with get or show"
_SHOWN = " too, as the reply shows the value"
_LOGGED_GET = ", as it is an entry of the log; leave read log out"


_PUBLIC_FIELDS = (
    "name", "role", "term", "leader", "members", "reads", "build", "version",
    "versions", "needs", "cluster", "recovering", "no_leader_because", "controlled", "down",
    "lacks_room_for", "refuses_entries", "connections", "max_connections", "commits_nothing",
    "applies_nothing",
    "disk_hangs", "lost_files", "lacks_users",
)  # fmt: skip
_NAMES = {
    UserRole.READER: "the right to read",
    UserRole.WRITER: "the right to write",
    UserRole.ADMIN: "the role admin",
}
KeysOfLease = Callable[[str], Sequence[str] | LeaseKeys | None]  # None: unknown here


class KeysUnknownError(Exception):
    """A line needs rights for the keys of a lease, and this node may not know these keys."""


class _Need(NamedTuple):
    """A right that a line needs for some keys."""

    role: UserRole
    line: str  # its name in a refusal
    # The keys and prefixes that the right must cover; None: no keys.
    keys: Sequence[str] | LeaseKeys | None = None
    where: str = " there"  # in a refusal
    hint: str = ""


def as_asked(request: Request) -> str:
    """Return the command of a request as `denial_reason` takes it."""
    return request.command + _READ_LOG if request.read == "log" else request.command


def denial_reason(
    identity: Identity, command: str, keys_of_lease: KeysOfLease, right: Right | None = None
) -> str:
    """Return the refusal of a command in canonical form, or "" if it is allowed.

    A `get` or `stat` may end in ` read log`, which makes it an entry. The answer depends on the
    command and the rights, not on the existing keys. A lease is the exception: ending it deletes
    all of its keys, and a new key under it may keep others from renewing it. For a line that is not
    a command, `right` is the right that it needs.

    Raises:
        KeysUnknownError: the lease's keys decide, and `keys_of_lease` returned None.
        ProtocolError: the command lacks an operand that decides, so it is in no canonical form.
    """
    verb = command.partition(" ")[0]
    if right is None and verb in COMMANDS:
        right = COMMANDS[verb].right
    if right is None:
        return _denied(identity, f"{shown(verb)}: no role allows it")
    if identity.is_everywhere and (identity.is_admin or right.role < UserRole.ADMIN):
        return ""  # a part of a line never needs the role admin
    for need in _needs(verb, right, command, keys_of_lease):
        if not _has(identity, need):
            where = "" if need.keys is None else need.where
            takes = f"it takes {_NAMES[need.role]}{where}{need.hint}"
            return _denied(identity, f"{need.line}: {takes}")
    return ""


def _denied(identity: Identity, what: str) -> Refusal:
    return NOT_ALLOWED(identity.user, what) if identity.user else NO_LOGIN(what)


def _has(identity: Identity, need: _Need) -> bool:
    keys, prefixes = need.keys, identity.prefixes_for(need.role)
    if identity.role < need.role:
        return False
    if isinstance(keys, LeaseKeys):
        return keys.are_held(prefixes)
    return all([key.startswith(prefixes) for key in keys or ()])


def _needs(verb: str, right: Right, command: str, keys_of_lease: KeysOfLease) -> Iterator[_Need]:
    """Yield the needs of a line. The line is refused at the first unmet need."""
    role = right.role
    match right.touches:
        case Touches.NOTHING:
            yield _Need(role, _AS_VERBS.get(verb, verb))
            return
        case Touches.EVERY:
            yield _Need(role, _AS_VERBS.get(verb, verb), [""], " for all keys")
            return
        case Touches.PARTS:
            yield _Need(role, verb, hint=_LOGGED)
            yield from _needs_of_parts(right, command, keys_of_lease)
            return
        case Touches.LEASE:
            yield _Need(role, verb)
        case Touches.INNER:
            yield from _needs_of(_inner(command), keys_of_lease)
    under = verb if right.touches is Touches.LEASE else "put a key under"
    for kind, name in COMMANDS[verb].operands.named_in(command):
        if kind in (Kind.KEY, Kind.PREFIX):
            yield from _needs_of_name(verb, right, command, name)
        else:
            lease = name.partition("/")[0]  # of a claim
            yield from _needs_of_lease(role, under, lease, keys_of_lease)


def _needs_of_name(verb: str, right: Right, command: str, name: str) -> Iterator[_Need]:
    """Yield the needs of a line for a key, or for a prefix."""
    line = f"{verb} {shown(name) or 'all keys'}"
    where = " there" if name else " for all keys"
    if command.rpartition(" read ")[2] == "log" and COMMANDS[verb].handling.takes_mode:
        yield _Need(UserRole.WRITER, f"{line}{_READ_LOG}", [name], hint=_LOGGED_GET)
    yield _Need(right.role, line, [name], where)
    if right.shows:
        yield _Need(UserRole.READER, line, [name], where, _SHOWN)


def _needs_of_keys(parts: Iterable[KeyRight]) -> Iterator[_Need]:
    """Yield the needs of parts of a line for the keys that they name."""
    for part in parts:
        line = f"{part.line} {shown(part.key)}"
        if part.writes:
            yield _Need(UserRole.WRITER, line, [part.key])
        if part.reads:
            yield _Need(UserRole.READER, line, [part.key], hint=_SHOWN if part.writes else "")


def _needs_of_lease(
    role: UserRole, does: str, lease: str, keys_of_lease: KeysOfLease
) -> Iterator[_Need]:
    """Yield the needs of a line about a lease, for the lease's keys."""
    keys = keys_of_lease(lease)
    if keys is None:
        raise KeysUnknownError
    if keys:
        yield _Need(role, f"{does} {lease}", keys, " for each of its keys")


def _inner(command: str) -> str:
    """Return the command under a lease; another such command could nest without end."""
    inner = without_lease(command)
    if inner.partition(" ")[0] not in UNDER:
        raise ProtocolError(not_understood(command))
    return inner


def _needs_of(command: str, keys_of_lease: KeysOfLease) -> Iterator[_Need]:
    """Yield the needs of a command inside another one."""
    verb = command.partition(" ")[0]
    yield from _needs(verb, COMMANDS[verb].right, command, keys_of_lease)


def _needs_of_parts(right: Right, command: str, keys_of_lease: KeysOfLease) -> Iterator[_Need]:
    if right.keys is not None:
        yield from _needs_of_keys(right.keys(command))
        return
    looked_at: set[str] = set()

    def keys_once(lease: str) -> Sequence[str] | LeaseKeys | None:
        """Return the keys of a lease that no earlier part named, since it may have very many
        keys."""
        if lease in looked_at:
            return []
        looked_at.add(lease)
        return keys_of_lease(lease)

    operands = command.partition(" ")[2]
    transaction = read_transaction(operands, IN_TRANSACTIONS, NO_LIMITS, with_values=False)
    for condition in transaction.conditions:
        verb = "show" if condition.is_on_prefix else "get"
        yield _Need(UserRole.READER, f"{verb} {shown(condition.key)}", [condition.key])
    for inner in (*transaction.then, *transaction.otherwise):
        yield from _needs_of(inner, keys_once)


def sees_whole_status(identity: Identity) -> bool:
    """Return whether a status shows this identity the totals of all keys: entries and bytes."""
    return "" in identity.reads


def partial_status(reply: str) -> str:
    """Return a reply to `status` with the fields that reveal nothing about keys."""
    head, _, facts = reply.partition(": ")
    fields = {field: value for field, value in json.loads(facts).items() if field in _PUBLIC_FIELDS}
    return f"{head}: {json.dumps(fields)}"
