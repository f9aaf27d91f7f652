"""The requests about the users and roles of the cluster, with typed results. Pure.

A password never leaves the program: a request carries the verifier that is derived from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal, cast, get_args

from raftline.common.public import public
from raftline.wire.operands.login_operands import why_no_password
from raftline.wire.operands.user_operands import NO_PASSWORD
from raftline.wire.protocol import escape

from .calls import Call, answered, name_of, raw_text
from .value_codec import TEXT

Right = Literal["read", "write", "readwrite"]
_name, _role = partial(name_of, "user"), partial(name_of, "role")


@public("raftline.api")
@dataclass(frozen=True)
class UserFacts:
    """A user: its roles, and whether it can log in with a password."""

    roles: list[str]
    has_password: bool


@public("raftline.api")
@dataclass(frozen=True)
class Grant:
    """A right to the keys with a prefix; the prefix "" stands for all keys."""

    right: Right
    prefix: str


@public("raftline.api")
@dataclass(frozen=True)
class UsersFacts:
    """The users and the roles by their names, without the built-in roles."""

    users: dict[str, UserFacts]
    roles: dict[str, list[Grant]]


def _facts(text: str) -> UsersFacts:
    facts = json.loads(answered(text).rest)
    users = {
        name: UserFacts(list(one["roles"]), bool(one["has_password"]))
        for name, one in facts["users"].items()
    }
    roles = {
        name: [_grant(right, prefix) for right, prefix in grants]
        for name, grants in facts["roles"].items()
    }
    return UsersFacts(users, roles)


def _grant(right: str, prefix: str) -> Grant:
    if right not in get_args(Right):
        raise ValueError("an unknown right")
    return Grant(cast("Right", right), raw_text(prefix))


def _is_done(text: str) -> bool:
    return not answered(text).word


def _verifier(password: str | None) -> str:
    """Return the verifier of a password. Raises TypeError, ValueError."""
    if password is None:
        return NO_PASSWORD
    if not isinstance(password, str):
        raise TypeError(f"a password is a str, not {type(password).__name__}")
    if why := why_no_password(password):
        raise ValueError(f"{why}; nothing was sent")
    from raftline.access.users import make_verifier  # only needed for a new password

    return str(make_verifier(password))


def _prefix(prefix: str) -> list[str]:
    return [escape(TEXT.text(prefix, "a prefix"), key=True)] if prefix else []


class UserAdministration:
    """The requests about users and roles. All are for admins."""

    def list(self) -> Call[UsersFacts]:
        """Return the users and the roles, confirmed by a majority."""
        return Call("users", _facts)

    def add(self, name: str, password: str | None = None, roles: Iterable[str] = ()) -> Call[bool]:
        """Add a user with these roles; return false if the user exists, or if there is no such
        role. A user without a password logs in by a certificate."""
        if isinstance(roles, str):
            raise TypeError("roles is an iterable of names; give a list")
        words = [_name(name), _verifier(password), *map(_role, roles)]
        return Call(f"user-add {' '.join(words)}", _is_done)

    def set_password(self, name: str, password: str | None) -> Call[bool]:
        """Change the password of a user, or take it away with None; return false if there is no
        such user."""
        return Call(f"user-password {_name(name)} {_verifier(password)}", _is_done)

    def remove(self, name: str) -> Call[bool]:
        """Remove a user; return false if there is no such user."""
        return Call(f"user-remove {_name(name)}", _is_done)

    def grant(self, name: str, role: str) -> Call[bool]:
        """Give a user a role; return false if there is no such user or role."""
        return Call(f"user-grant {_name(name)} {_role(role)}", _is_done)

    def revoke(self, name: str, role: str) -> Call[bool]:
        """Take a role from a user; return false if there is no such user."""
        return Call(f"user-revoke {_name(name)} {_role(role)}", _is_done)

    def add_role(self, role: str) -> Call[bool]:
        """Add a role without rights; return false if it exists."""
        return Call(f"role-add {_role(role)}", _is_done)

    def remove_role(self, role: str) -> Call[bool]:
        """Remove a role, also from its users; return false if there is no such role."""
        return Call(f"role-remove {_role(role)}", _is_done)

    def grant_role(self, role: str, right: Right, prefix: str = "") -> Call[bool]:
        """Give a role a right to the keys with a prefix, or to all keys; return false if there is
        no such role. It replaces the right that the role had to this prefix."""
        if right not in get_args(Right):
            raise ValueError(f"{right!r} is not a right: read, write or readwrite")
        return Call(" ".join(["role-grant", _role(role), right, *_prefix(prefix)]), _is_done)

    def revoke_role(self, role: str, prefix: str = "") -> Call[bool]:
        """Take from a role its right to the keys with a prefix, or to all keys; return false if
        there is no such role."""
        return Call(" ".join(["role-revoke", _role(role), *_prefix(prefix)]), _is_done)
