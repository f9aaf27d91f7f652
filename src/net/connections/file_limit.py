"""The limit of open files and sockets of this process, and how many connections fit below it."""

from __future__ import annotations

from ...common.config import ConfigError
from ...wire.limits import (
    BACKUPS,
    LISTING_FILES,
    OWN_FILES,
    PLACES_FOR_PEERS,
    PLACES_GIVEN_UP,
)
from .connection_slots import LEAST_CONNECTIONS

RESERVED_FILES = PLACES_FOR_PEERS + PLACES_GIVEN_UP + LISTING_FILES + BACKUPS + OWN_FILES


def places_for(connections: int, others: int = 0) -> int:
    """Raise this process's limit of open files as far as these connections need and the system
    allows; return how many connections fit below it, at most `connections`. `others` is the number
    of open files in addition to these connections and RESERVED_FILES.

    Clients must not use up the files that the node needs for its log.

    Raises:
        ConfigError: the limit is too low for LEAST_CONNECTIONS, and for `connections`.
    """
    reserved = RESERVED_FILES + others
    limit = raise_file_limit(connections + reserved)
    least = min(connections, LEAST_CONNECTIONS)
    if limit < least + reserved:
        raise ConfigError(
            f"this process may have {limit} files and sockets open, and a node with these settings"
            f" needs at least {least + reserved}; raise the limit (ulimit -n, LimitNOFILE)"
        )
    return limit - reserved


def raise_file_limit(count: int) -> int:
    """Raise the limit of open files and sockets to this number, or as far as the system allows;
    return the smaller of the two."""
    import resource  # here: CPython in WebAssembly lacks it, and runs all but the network

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
    return enough
