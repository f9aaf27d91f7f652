"""The addresses of simulated nodes. A member that moves gets another port, and is still reached at
its earlier ones, as a machine that has one more address is."""

from __future__ import annotations

from typing import Final

from raftline.common.address import Address

FIRST_PORT: Final = 10_000
APART: Final = 1_000  # between two ports of a node


def moved(address: str) -> str:
    """Return the next address of a node."""
    place = Address.parse(address)
    return str(place._replace(port=place.port + APART))


def first_of(place: Address) -> Address:
    """Return the first address of the node at this one."""
    return place._replace(port=FIRST_PORT + place.port % APART)
