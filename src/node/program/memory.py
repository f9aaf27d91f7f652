"""The memory of a node apart from its keys, and how many connections and watches fit in it. Pure
functions.

The table in docs/operate/limits.md has each part. Keys, values, leases and the log of their latest
changes are not included: they grow with the stored data.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ...common.config import ConfigError
from ...net.connections.connection_slots import LEAST_CONNECTIONS, fewer_than_wanted
from ...wire.limits import (
    ALLOCATOR_BYTES,
    CONNECTION_BYTES,
    CONNECTIONS_MAX,
    HALF_LINES_BYTES,
    HISTORY_BYTES,
    LISTINGS_BYTES,
    LONG_REPLIES_BYTES,
    MEMORY_BYTES,
    OUTBOX_BYTES,
    OUTBOXES,
    PLACES_FOR_PEERS,
    PROGRAM_BYTES,
    QUEUED_BYTES,
    REMEMBERED_BYTES,
    REMEMBERED_REQUESTS,
    REPLIES_BYTES,
    SHORT_REPLIES_BYTES,
    TLS_BYTES,
    WATCH_BYTES,
    WATCHES_MAX,
    WORK_BYTES,
)

FIXED_BYTES = sum(
    (
        PROGRAM_BYTES,
        ALLOCATOR_BYTES,
        WORK_BYTES,
        QUEUED_BYTES,
        3 * REPLIES_BYTES,  # twice for replies that are being made, once for replies of entries
        LISTINGS_BYTES,
        LONG_REPLIES_BYTES + SHORT_REPLIES_BYTES + REMEMBERED_REQUESTS * REMEMBERED_BYTES,
        OUTBOXES * OUTBOX_BYTES,
    )
)
# The parts of the rest: an eighth for watches, a sixth for partial lines, the remainder for
# connections.
PART_OF_WATCHES = 8
PART_OF_HALF_LINES = 6
PART_OF_CONNECTIONS = 1 - 1 / PART_OF_WATCHES - 1 / PART_OF_HALF_LINES
MIB = 1 << 20


class Shares(NamedTuple):
    """The bounds that follow from the bytes of `--memory`."""

    memory_bytes: int
    connections: int
    watches: int
    half_lines_bytes: int

    def lines(self, name: str, connections: int) -> list[str]:
        """Return the lines that a node prints at its start, with room for this many connections."""
        lines = [
            f"[*] {name} memory: its bounds add up to {self.memory_bytes // MIB} MiB besides the"
            f" keys, with up to {connections:,} connections and {self.watches:,} watches"
            " (--memory)"
        ]
        if connections < self.connections:
            lines.append(fewer_than_wanted(name, connections, self.connections))
        return lines


def shares_of(
    memory_bytes: int | None, history_bytes: int, connections: int | None, *, has_tls: bool
) -> Shares:
    """Return the bounds. If `memory_bytes` is None, use as much memory as the other settings need,
    but at least MEMORY_BYTES. If `connections` is None, allow as many as fit, but at most
    CONNECTIONS_MAX.

    Raises:
        ConfigError: the memory is not enough to serve anybody.
    """
    each = CONNECTION_BYTES + TLS_BYTES * has_tls
    fixed = FIXED_BYTES + history_bytes
    if memory_bytes is None:
        memory_bytes = max(
            MEMORY_BYTES + history_bytes - HISTORY_BYTES, fixed + _rest_for(connections or 0, each)
        )
    rest = memory_bytes - fixed
    watches = min(WATCHES_MAX, rest // PART_OF_WATCHES // WATCH_BYTES)
    half_lines = max(HALF_LINES_BYTES, rest // PART_OF_HALF_LINES)
    fitting = (rest - watches * WATCH_BYTES - half_lines) // each - PLACES_FOR_PEERS
    if fitting < LEAST_CONNECTIONS:
        least = fixed + _rest_for(LEAST_CONNECTIONS, each)
        raise ConfigError(
            f"--memory {memory_bytes}: a node with these settings needs at least {least} bytes"
            " besides its keys; this includes --history-bytes"
        )
    return Shares(memory_bytes, min(connections or CONNECTIONS_MAX, fitting), watches, half_lines)


def _rest_for(connections: int, each: int) -> int:
    """Return the bytes for this many connections, with their share of watches and partial lines."""
    needed = (connections + PLACES_FOR_PEERS) * each
    with_least = (needed + HALF_LINES_BYTES) * PART_OF_WATCHES // (PART_OF_WATCHES - 1)
    return max(with_least, math.ceil(needed / PART_OF_CONNECTIONS)) + WATCH_BYTES
