"""The effect of the commands about users and roles. Deterministic and total.

docs/use/users.md describes users for administrators.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from ...wire.commands.command_table import COMMANDS
from ...wire.limits import GRANTS_MAX, ROLES_MAX, USER_ROLES_MAX, USERS_MAX
from ...wire.operands.operands import NO_LIMITS
from ...wire.operands.user_operands import NO_PASSWORD, RoleGrant, Verifier, read_verifier
from ...wire.protocol import ProtocolError
from ...wire.refusal import FIRST_USER, LAST_ADMIN, TOO_MANY_USERS
from ..store import Store
from ..user_table import ADMIN, Account
from .key_commands import applies

Change = Callable[[Store, list[str]], str]


def _changes(verb: str) -> Callable[[Change], Change]:
    """Register the function of a verb. It gets the words of operands that have been checked, and
    returns the reply after `VERB response`, or a refusal."""

    def register(change: Change) -> Change:
        answered = f"{verb.upper()} response"

        @applies(verb)
        def apply(store: Store, operands: str) -> str | None:
            command = f"{verb} {operands}"
            try:
                if COMMANDS[verb].operands.read(verb, operands, NO_LIMITS) != command:
                    return None
            except ProtocolError:
                return None
            reply = change(store, operands.split(" "))
            return f"{answered}{reply}" if reply.startswith((":", ",")) else reply

        return change

    return register


def _no_user(name: str) -> str:
    return f", no such user: {name}"


def _no_role(name: str) -> str:
    return f", no such role: {name}"


@applies("users")
def _users(store: Store, operands: str) -> str | None:
    return None if operands else f"USERS response: {json.dumps(store.users.facts())}"


def may_add_first_admin(command: str) -> bool:
    """Whether an entry may add the first user of a cluster, who is an admin with a password."""
    client, at, bare = command.partition("@")
    words = (bare if at and " " not in client else command).split(" ")
    return words[0] == "user-add" and words[2:3] != [NO_PASSWORD] and ADMIN in words[3:]


@_changes("user-add")
def _add_user(store: Store, words: list[str]) -> str:
    name, verifier, *roles = words
    table = store.users
    if name in table.accounts:
        return f", user exists: {name}"
    if missing := [role for role in roles if not table.has_role(role)]:
        return _no_role(missing[0])
    if not table and (ADMIN not in roles or verifier == NO_PASSWORD):
        return FIRST_USER
    if len(table) >= USERS_MAX:
        return TOO_MANY_USERS(f"{USERS_MAX} users")
    if len(roles) > USER_ROLES_MAX:
        return TOO_MANY_USERS(f"{USER_ROLES_MAX} roles of one user")
    store.change_users(table.with_account(name, Account(_verifier(verifier), tuple(roles))))
    return f": {name} added"


@_changes("user-password")
def _change_password(store: Store, words: list[str]) -> str:
    name, verifier = words
    account = store.users.accounts.get(name)
    if account is None:
        return _no_user(name)
    changed = account._replace(verifier=_verifier(verifier))
    store.change_users(store.users.with_account(name, changed))
    return f": {name} changed"


@_changes("user-remove")
def _remove_user(store: Store, words: list[str]) -> str:
    (name,) = words
    if name not in store.users.accounts:
        return _no_user(name)
    if store.users.admins() == [name]:
        return LAST_ADMIN(name)
    store.change_users(store.users.with_account(name, None))
    return f": {name} removed"


@_changes("user-grant")
def _grant_user(store: Store, words: list[str]) -> str:
    name, role = words
    account = store.users.accounts.get(name)
    if account is None:
        return _no_user(name)
    if not store.users.has_role(role):
        return _no_role(role)
    if role not in account.roles:
        if len(account.roles) >= USER_ROLES_MAX:
            return TOO_MANY_USERS(f"{USER_ROLES_MAX} roles of one user")
        changed = account._replace(roles=(*account.roles, role))
        store.change_users(store.users.with_account(name, changed))
    return f": {name} has {role}"


@_changes("user-revoke")
def _revoke_user(store: Store, words: list[str]) -> str:
    name, role = words
    account = store.users.accounts.get(name)
    if account is None:
        return _no_user(name)
    if role == ADMIN and store.users.admins() == [name]:
        return LAST_ADMIN(name)
    if role in account.roles:
        roles = tuple([one for one in account.roles if one != role])
        store.change_users(store.users.with_account(name, account._replace(roles=roles)))
    return f": {name} does not have {role}"


@_changes("role-add")
def _add_role(store: Store, words: list[str]) -> str:
    (role,) = words
    if role in store.users.roles:
        return f", role exists: {role}"
    if len(store.users.roles) >= ROLES_MAX:
        return TOO_MANY_USERS(f"{ROLES_MAX} roles")
    store.change_users(store.users.with_role(role, ()))
    return f": {role} added"


@_changes("role-remove")
def _remove_role(store: Store, words: list[str]) -> str:
    (role,) = words
    if role not in store.users.roles:
        return _no_role(role)
    store.change_users(store.users.with_role(role, None))
    return f": {role} removed"


@_changes("role-grant")
def _grant_role(store: Store, words: list[str]) -> str:
    role, right, *prefixes = words
    grants = store.users.roles.get(role)
    if grants is None:
        return _no_role(role)
    grant = RoleGrant(right, "".join(prefixes))
    kept = _without(grants, grant.prefix)
    if len(kept) >= GRANTS_MAX:
        return TOO_MANY_USERS(f"{GRANTS_MAX} rights of one role")
    if grant not in grants:
        store.change_users(store.users.with_role(role, (*kept, grant)))
    return f": {role} may {grant.in_words}"


@_changes("role-revoke")
def _revoke_role(store: Store, words: list[str]) -> str:
    role, *prefixes = words
    grants, prefix = store.users.roles.get(role), "".join(prefixes)
    if grants is None:
        return _no_role(role)
    kept = _without(grants, prefix)
    if kept != grants:
        store.change_users(store.users.with_role(role, kept))
    return f": {role} has no right to {prefix or 'all keys'}"


def _without(grants: tuple[RoleGrant, ...], prefix: str) -> tuple[RoleGrant, ...]:
    return tuple([one for one in grants if one.prefix != prefix])


def _verifier(text: str) -> Verifier | None:
    return None if text == NO_PASSWORD else read_verifier(text)
