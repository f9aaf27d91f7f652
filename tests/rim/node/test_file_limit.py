"""The files that a process may have open bound the connections that a node takes."""

from __future__ import annotations

import resource
import sys

import pytest

from raftline.common.config import ConfigError
from raftline.net.connections.connection_slots import LEAST_CONNECTIONS
from raftline.net.connections.file_limit import RESERVED_FILES, places_for
from raftline.net.connections.listener import Listener
from raftline_testing.nodes.processes import free_ports

EVER_MORE = resource.RLIM_INFINITY


class Limits:
    """The limit of a process that does not exist."""

    RLIMIT_NOFILE, RLIM_INFINITY = resource.RLIMIT_NOFILE, EVER_MORE

    def __init__(self, soft: int, hard: int) -> None:
        self.of = soft, hard

    def getrlimit(self, which: int) -> tuple[int, int]:
        return self.of

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        self.of = limits


@pytest.mark.parametrize(
    ("soft", "hard", "others", "places", "then"),
    [
        (1024, 524_288, 0, 1146, 1146 + RESERVED_FILES),
        (1024, 524_288, 256, 1146, 1146 + 256 + RESERVED_FILES),
        (1024, EVER_MORE, 0, 1146, 1146 + RESERVED_FILES),
        (65_536, 65_536, 0, 1146, 65_536),
        (EVER_MORE, EVER_MORE, 0, 1146, EVER_MORE),
        (1024, 1024, 0, 1024 - RESERVED_FILES, 1024),
        (256, 1024, 256, 1024 - 256 - RESERVED_FILES, 1024),
    ],
)
def test_connection_limit_leaves_the_node_its_own_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, others: int, places: int, then: int
) -> None:
    """The connection limit leaves enough descriptors for the node's own files."""
    limits = Limits(soft, hard)
    monkeypatch.setitem(sys.modules, "resource", limits)
    assert places_for(1146, others) == places
    assert limits.of == (then, hard)


@pytest.mark.parametrize(("wanted", "least"), [(1146, LEAST_CONNECTIONS), (3, 3)])
def test_a_limit_with_room_for_hardly_any_connection_is_refused(
    monkeypatch: pytest.MonkeyPatch, wanted: int, least: int
) -> None:
    limit = RESERVED_FILES + least
    monkeypatch.setitem(sys.modules, "resource", Limits(limit, limit))
    assert places_for(wanted) == least
    monkeypatch.setitem(sys.modules, "resource", Limits(limit - 1, limit - 1))
    with pytest.raises(ConfigError, match=f"have {limit - 1} files .* needs at least {limit}"):
        places_for(wanted)


def test_a_listener_has_the_places_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = RESERVED_FILES + 100
    monkeypatch.setitem(sys.modules, "resource", Limits(limit, limit))
    listener = Listener("127.0.0.1", next(free_ports), 1146, other_files=60)
    listener.close()
    assert listener.connections_max == 40
    places = listener._places
    for _ in range(40):
        assert not places.is_for_peers_only
        places.take(object(), 0.0)  # type: ignore[arg-type]
    assert places.is_for_peers_only
