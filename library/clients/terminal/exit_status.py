"""The exit status of a command whose request failed (docs/use/commands.md)."""

from __future__ import annotations

from raftline.wire.replies.refusals import code_of
from raftline.wire.replies.replies import outcome_to

from ..connections.node_connection import ClientError, LoginFailed, OtherCluster, Unreachable

EXIT_LOGIN, EXIT_TLS, EXIT_OTHER_CLUSTER = 6, 8, 9
_TLS_ONLY = "tls-only"


def exit_status_of(failure: ClientError) -> int:
    """Return the exit status: the outcome, unless a failed login or TLS is the reason.

    They have their own statuses, since a script that tries again while nodes start must not try
    again with a wrong password or a wrong CA.
    """
    if isinstance(failure, LoginFailed):
        return EXIT_LOGIN
    if isinstance(failure, OtherCluster):
        return EXIT_OTHER_CLUSTER
    if failure.code == _TLS_ONLY or (isinstance(failure, Unreachable) and failure.lasts):
        return EXIT_TLS
    return failure.outcome


def exit_status_to(command: str, text: str) -> int:
    """Return the exit status of this command with this reply."""
    return EXIT_TLS if code_of(text) == _TLS_ONLY else outcome_to(command, text)
