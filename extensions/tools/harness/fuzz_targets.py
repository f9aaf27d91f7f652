"""A fuzzer's files of users, and the rule that must hold for any bytes."""

from __future__ import annotations

import contextlib

from raftline.common.config import ConfigError
from raftline.tools.requests.users_file import parse_users, prefixes_of
from raftline_testing.fuzzing.targets import BYTES, FILES, Target


def check_users_file(data: bytes) -> None:
    """Check that a users file is accepted with a single meaning, or refused."""
    with contextlib.suppress(ConfigError, UnicodeDecodeError):
        users = parse_users(data.decode(), "users")
        for name, (identity, verifier) in users.items():
            assert identity.user == name
            assert verifier is not None
            assert prefixes_of([prefix for prefix in identity.reads if prefix]) == identity.reads


TARGETS = {"users": Target(FILES, check_users_file, BYTES)}
