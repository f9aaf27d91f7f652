"""The file of users of an earlier build: names, roles, password verifiers, and prefixes of keys.

    unknown BASE64
    bob writer SCRAM-SHA-256$65536:SALT$STOREDKEY:SERVERKEY app/ web/
    root admin SCRAM-SHA-256$65536:SALT$STOREDKEY:SERVERKEY

Prefixes follow the verifier, escaped like keys. Without a prefix, the role covers all keys. The
line `unknown` has no meaning any more. `raftline user import` adds the users to a cluster.
"""

from __future__ import annotations

from pathlib import Path

from raftline.access.users import read_private
from raftline.common.config import ConfigError
from raftline.state.user_table import User
from raftline.wire.commands.identity import EVERYWHERE, ROLES, identity_of
from raftline.wire.operands.operands import Limits
from raftline.wire.operands.user_operands import prefix_of, read_verifier
from raftline.wire.protocol import NAME, ProtocolError

OldUsers = dict[str, User]


def read_users(path: Path) -> OldUsers:
    """Return the users of a file, by name.

    Raises:
        ConfigError: it can't be used. The message explains what to do.
    """
    return parse_users(read_private(path, "users"), str(path))


def parse_users(text: str, name: str) -> OldUsers:
    """Return the users in a text. `name` is the name of its file. Raises ConfigError."""
    users: OldUsers = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split(" ")
        if not line.strip() or line.startswith("#") or words[0] == "unknown":
            continue
        try:
            user = _user(words)
        except (ValueError, ProtocolError) as problem:
            raise ConfigError(f"users file {name}, line {number}: {problem}") from None
        if user.identity.user in users:
            raise ConfigError(f"users file {name}, line {number}: this user is listed twice")
        users[user.identity.user] = user
    if not users:
        raise ConfigError(f"users file {name} has no users")
    return users


def _user(words: list[str]) -> User:
    """Return the user of a line. Raises ValueError or ProtocolError, without a verifier in the
    message."""
    if len(words) < 3:
        raise ValueError("the form is: NAME ROLE VERIFIER [PREFIX …], with one space between")
    name, role, verifier, *prefixes = words
    if not NAME.fullmatch(name):
        raise ValueError("this is not a user name")
    if role not in ROLES:
        raise ValueError(f"there is no such role; the roles are {', '.join(ROLES)}")
    checks = read_verifier(verifier)
    return User(identity_of(name, ROLES[role], prefixes_of(prefixes)), checks)


def prefixes_of(words: list[str]) -> tuple[str, ...]:
    """Return prefixes in canonical form. Without words, return the prefix of all keys.

    Raises:
        ProtocolError: a prefix is misspelled, or ends within a character.
    """
    prefixes = []
    for word in words:
        if not word:
            raise ProtocolError("a prefix is empty; without a prefix the role holds for all keys")
        prefixes.append(prefix_of(word, Limits()))
    return tuple(dict.fromkeys(prefixes)) or EVERYWHERE
