"""A connection to a node, or to one of some others while it hangs (RFC 8305, "happy eyeballs").

A name may lead to several addresses. They are tried one after the other, without a wait for one
that hangs; after them those of the other nodes. A name is looked up each time.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator

from raftline.common.address import Address

NEXT_S = 0.25  # for an address alone; RFC 8305, section 8
UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)  # the last on Windows
NOBODY: Iterator[Address] = iter(())
_Place = tuple[int, int, int, str, tuple[object, ...]]


def dial(
    node: Address, limit_s: float, others: Iterator[Address] = NOBODY
) -> tuple[socket.socket, Address]:
    """Return a connection to a node, or to the one of the others that answers first, and which it
    is. Another one is tried each NEXT_S while the node has not answered.

    Raises:
        OSError: of the first address of the node, once all of its addresses have failed, or if
            nobody has answered within `limit_s`.
    """
    until_s = time.monotonic() + limit_s
    places = deque((node, each) for each in _looked_up(node))
    own, errors = len(places), list[OSError]()  # of the node
    under_way: dict[socket.socket, Address] = {}
    with selectors.DefaultSelector() as selector:
        try:
            while len(errors) < own and (left_s := until_s - time.monotonic()) > 0:
                if places:
                    tried, place = places.popleft()
                    try:
                        begun = _begin(place)
                    except OSError as error:
                        errors += [error] if tried == node else []
                        continue
                    under_way[begun] = tried
                    selector.register(begun, selectors.EVENT_WRITE)
                for key, _ in selector.select(min(NEXT_S, left_s)):
                    ended = next(each for each in under_way if each is key.fileobj)
                    selector.unregister(ended)
                    tried = under_way.pop(ended)
                    number = ended.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not number:
                        ended.settimeout(limit_s)
                        return ended, tried
                    ended.close()
                    errors += [OSError(number, os.strerror(number))] if tried == node else []
                if not places and len(errors) < own:
                    places.extend(_of_the_next(others))
            raise errors[0] if errors else TimeoutError("timed out")
        finally:
            for each in under_way:
                each.close()


def _looked_up(node: Address) -> list[_Place]:
    return socket.getaddrinfo(*node, type=socket.SOCK_STREAM)  # type: ignore[return-value]


def _of_the_next(others: Iterator[Address]) -> list[tuple[Address, _Place]]:
    """Return the addresses of the next node; none if its name leads nowhere."""
    for node in others:
        with contextlib.suppress(OSError, UnicodeError):
            return [(node, each) for each in _looked_up(node)]
    return []


def _begin(place: _Place) -> socket.socket:
    """Raises OSError: this machine has no such family of addresses, or no way to this one."""
    family, kind, protocol, _, address = place
    begun = socket.socket(family, kind, protocol)
    begun.setblocking(False)
    number = begun.connect_ex(address)
    if number in UNDER_WAY:
        return begun
    begun.close()
    raise OSError(number, os.strerror(number))
