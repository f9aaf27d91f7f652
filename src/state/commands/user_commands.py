"""The effect of the commands about users and roles. Deterministic and total.

docs/use/users.md describes users for administrators.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from ...wire.commands.command_table import COMMANDS
from ...wire.done_reply import NO_SUCH_ROLE, NO_SUCH_USER, ROLE_EXISTS, USER_EXISTS, with_word
from ...wire.limits import GRANTS_MAX, ROLES_MAX, USER_ROLES_MAX, USERS_MAX
from ...wire.operands.operands import NO_LIMITS
from ...wire.operands.user_operands import NO_PASSWORD, RoleGrant, Verifier, read_verifier
from ...wire.protocol import ProtocolError
from ...wire.refusal import FIRST_USER, LAST_ADMIN, TOO_MANY_USERS, Refusal
from ..store import Store
from ..user_table import ADMIN, Account
from .key_commands import applies

Lacks = tuple[str, str]  # a word of wire/done_reply.py, and what it is about
Change = Callable[[Store, list[str]], "str | Lacks"]


def _changes(verb: str) -> Callable[[Change], Change]:
    """Register the function of a verb. It gets the words of operands that have been checked, and
    returns the result, or the word and the name of what it lacks, or a refusal."""

    def register(change: Change) -> Change:
        @applies(verb)
        def apply(store: Store, operands: str) -> str | None:
            command = f"{verb} {operands}"
            try:
                if COMMANDS[verb].operands.read(verb, operands, NO_LIMITS) != command:
                    return None
            except ProtocolError:
                return None
            result = change(store, operands.split(" "))
            if isinstance(result, Refusal):
                return result
            if isinstance(result, tuple):
                return with_word(verb.upper(), *result)
            return f"{verb.upper()} response: {result}"

        return change

    return register


@applies("users")
def _users(store: Store, operands: str) -> str | None:
    return None if operands else f"USERS response: {json.dumps(store.users.facts())}"


def may_add_first_admin(command: str) -> bool:
    """Whether an entry may add the first user of a cluster, who is an admin with a password."""
    client, at, bare = command.partition("@")
    words = (bare if at and " " not in client else command).split(" ")
    return words[0] == "user-add" and words[2:3] != [NO_PASSWORD] and ADMIN in words[3:]


@_changes("user-add")
def _add_user(store: Store, words: list[str]) -> str | Lacks:
    name, verifier, *roles = words
    table = store.users
    if name in table.accounts:
        return USER_EXISTS, name
    if missing := [role for role in roles if not table.has_role(role)]:
        return NO_SUCH_ROLE, missing[0]
    if not table and (ADMIN not in roles or verifier == NO_PASSWORD):
        return FIRST_USER
    if len(table) >= USERS_MAX:
        return TOO_MANY_USERS(f"{USERS_MAX} users")
    if len(roles) > USER_ROLES_MAX:
        return TOO_MANY_USERS(f"{USER_ROLES_MAX} roles of one user")
    store.change_users(table.with_account(name, Account(_verifier(verifier), tuple(roles))))
    return f"{name} added"


@_changes("user-password")
def _change_password(store: Store, words: list[str]) -> str | Lacks:
    name, verifier = words
    account = store.users.accounts.get(name)
    if account is None:
        return NO_SUCH_USER, name
    changed = account._replace(verifier=_verifier(verifier))
    store.change_users(store.users.with_account(name, changed))
    return f"{name} changed"


@_changes("user-remove")
def _remove_user(store: Store, words: list[str]) -> str | Lacks:
    (name,) = words
    if name not in store.users.accounts:
        return NO_SUCH_USER, name
    if store.users.admins() == [name]:
        return LAST_ADMIN(name)
    store.change_users(store.users.with_account(name, None))
    return f"{name} removed"


@_changes("user-grant")
def _grant_user(store: Store, words: list[str]) -> str | Lacks:
    name, role = words
    account = store.users.accounts.get(name)
    if account is None:
        return NO_SUCH_USER, name
    if not store.users.has_role(role):
        return NO_SUCH_ROLE, role
    if role not in account.roles:
        if len(account.roles) >= USER_ROLES_MAX:
            return TOO_MANY_USERS(f"{USER_ROLES_MAX} roles of one user")
        changed = account._replace(roles=(*account.roles, role))
        store.change_users(store.users.with_account(name, changed))
    return f"{name} has {role}"


@_changes("user-revoke")
def _revoke_user(store: Store, words: list[str]) -> str | Lacks:
    name, role = words
    account = store.users.accounts.get(name)
    if account is None:
        return NO_SUCH_USER, name
    if role == ADMIN and store.users.admins() == [name]:
        return LAST_ADMIN(name)
    if role in account.roles:
        roles = tuple([one for one in account.roles if one != role])
        store.change_users(store.users.with_account(name, account._replace(roles=roles)))
    return f"{name} does not have {role}"


@_changes("role-add")
def _add_role(store: Store, words: list[str]) -> str | Lacks:
    (role,) = words
    if role in store.users.roles:
        return ROLE_EXISTS, role
    if len(store.users.roles) >= ROLES_MAX:
        return TOO_MANY_USERS(f"{ROLES_MAX} roles")
    store.change_users(store.users.with_role(role, ()))
    return f"{role} added"


@_changes("role-remove")
def _remove_role(store: Store, words: list[str]) -> str | Lacks:
    (role,) = words
    if role not in store.users.roles:
        return NO_SUCH_ROLE, role
    store.change_users(store.users.with_role(role, None))
    return f"{role} removed"


@_changes("role-grant")
def _grant_role(store: Store, words: list[str]) -> str | Lacks:
    role, right, *prefixes = words
    grants = store.users.roles.get(role)
    if grants is None:
        return NO_SUCH_ROLE, role
    grant = RoleGrant(right, "".join(prefixes))
    kept = _without(grants, grant.prefix)
    if len(kept) >= GRANTS_MAX:
        return TOO_MANY_USERS(f"{GRANTS_MAX} rights of one role")
    if grant not in grants:
        store.change_users(store.users.with_role(role, (*kept, grant)))
    return f"{role} may {grant.in_words}"


@_changes("role-revoke")
def _revoke_role(store: Store, words: list[str]) -> str | Lacks:
    role, *prefixes = words
    grants, prefix = store.users.roles.get(role), "".join(prefixes)
    if grants is None:
        return NO_SUCH_ROLE, role
    kept = _without(grants, prefix)
    if kept != grants:
        store.change_users(store.users.with_role(role, kept))
    return f"{role} has no right to {prefix or 'all keys'}"


def _without(grants: tuple[RoleGrant, ...], prefix: str) -> tuple[RoleGrant, ...]:
    return tuple([one for one in grants if one.prefix != prefix])


def _verifier(text: str) -> Verifier | None:
    return None if text == NO_PASSWORD else read_verifier(text)
