"""The most that a node takes besides its keys: its parts, and the settings that fit."""

from __future__ import annotations

import pytest

from raftline.common.config import ConfigError
from raftline.node.program import boot
from raftline.node.program.memory import FIXED_BYTES, shares_of
from raftline.wire.limits import (
    CONNECTION_BYTES,
    CONNECTIONS_MAX,
    HALF_LINES_BYTES,
    HISTORY_BYTES,
    MEMORY_BYTES,
    PLACES_FOR_PEERS,
    TLS_BYTES,
    WATCH_BYTES,
    WATCHES_MAX,
)

MANY = 4096


@pytest.mark.parametrize("has_tls", [False, True])
def test_the_parts_add_up_to_what_is_said(has_tls: bool) -> None:
    shares = shares_of(MEMORY_BYTES, HISTORY_BYTES, MANY, has_tls=has_tls)
    each = CONNECTION_BYTES + TLS_BYTES * has_tls
    sum_bytes = FIXED_BYTES + HISTORY_BYTES + shares.watches * WATCH_BYTES
    sum_bytes += shares.half_lines_bytes + (shares.connections + PLACES_FOR_PEERS) * each
    assert MEMORY_BYTES - each < sum_bytes <= MEMORY_BYTES
    lines = shares.lines("s1", shares.connections)
    assert len(lines) == 1
    assert lines[0].startswith("[*] s1 memory: its bounds add up to 256 MiB besides the keys")


def test_node_with_memory_for_fewer_connections_says_so() -> None:
    """If the memory suffices for fewer connections than configured, the node says so."""
    shares = shares_of(MEMORY_BYTES, HISTORY_BYTES, MANY, has_tls=False)
    usual, fewer = shares.lines("s1", 800)
    assert "with up to 800 connections" in usual
    assert fewer.startswith("[!] s1 takes 800 connections, not 1,146: ")


def test_more_memory_gives_more_places_up_to_the_wanted() -> None:
    """More memory allows more connections, up to the configured number."""
    usual = shares_of(MEMORY_BYTES, HISTORY_BYTES, MANY, has_tls=True)
    more = shares_of(8 * MEMORY_BYTES, HISTORY_BYTES, MANY, has_tls=True)
    assert usual.connections < MANY == more.connections
    assert usual.watches < more.watches == WATCHES_MAX
    assert HALF_LINES_BYTES < usual.half_lines_bytes < more.half_lines_bytes // 8
    assert shares_of(MEMORY_BYTES, HISTORY_BYTES, 200, has_tls=True).connections == 200


@pytest.mark.parametrize("has_tls", [False, True])
def test_settings_that_are_given_are_kept_if_no_memory_is(has_tls: bool) -> None:
    usual = shares_of(None, HISTORY_BYTES, None, has_tls=has_tls)
    assert usual == shares_of(MEMORY_BYTES, HISTORY_BYTES, CONNECTIONS_MAX, has_tls=has_tls)
    many = shares_of(None, HISTORY_BYTES, MANY, has_tls=has_tls)
    assert many.connections == MANY
    assert many.memory_bytes > MEMORY_BYTES
    long = shares_of(None, 10 * HISTORY_BYTES, None, has_tls=has_tls)
    assert long._replace(memory_bytes=MEMORY_BYTES) == usual
    assert long.memory_bytes == MEMORY_BYTES + 9 * HISTORY_BYTES


def test_too_little_memory_is_refused_with_the_minimum() -> None:
    """The refusal of too little memory names the minimum."""
    with pytest.raises(ConfigError, match=r"needs at least ([0-9]+) bytes") as refused:
        shares_of(1 << 20, HISTORY_BYTES, MANY, has_tls=True)
    least = int(str(refused.value).partition(" at least ")[2].split()[0])
    assert shares_of(least, HISTORY_BYTES, MANY, has_tls=True).connections > 0


@pytest.mark.parametrize("has_tls", [False, True])
@pytest.mark.parametrize("connections", [16, 100, 1000, 5000])
def test_memory_needed_by_connections_is_what_they_fit_into(
    connections: int, has_tls: bool
) -> None:
    """The memory that a number of connections needs is also enough for them."""
    shares = shares_of(None, HISTORY_BYTES, connections, has_tls=has_tls)
    assert shares.connections == connections
    if shares.memory_bytes > MEMORY_BYTES:
        less = shares_of(
            shares.memory_bytes - (1 << 20), HISTORY_BYTES, connections, has_tls=has_tls
        )
        assert less.connections < connections


def test_the_help_names_the_memory_that_is_taken() -> None:
    said = " ".join(boot.parser().format_help().split())
    assert f"(default: {MEMORY_BYTES}, or what --max-connections and --history-bytes need)" in said
    assert f"kept in memory (default: {HISTORY_BYTES})" in said
