"""A connection to one of the addresses of a name, tried one after the other without a wait for one
that hangs (RFC 8305, "happy eyeballs"). The name is looked up each time."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time

NEXT_S = 0.25  # for an address alone; RFC 8305, section 8
UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)  # the last on Windows


def dial(host: str, port: int, limit_s: float) -> socket.socket:
    """Return a connection to the address that answers first. Raises OSError, of the first address,
    if none does within `limit_s`."""
    until_s = time.monotonic() + limit_s
    places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    problem: OSError | None = None
    under_way: list[socket.socket] = []
    with selectors.DefaultSelector() as selector:
        try:
            while places or under_way:
                if places:
                    try:
                        under_way.append(_begin(places.pop(0)))
                    except OSError as error:
                        problem = problem or error
                        continue
                    selector.register(under_way[-1], selectors.EVENT_WRITE)
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    break
                for key, _ in selector.select(min(NEXT_S, left_s) if places else left_s):
                    ended = next(each for each in under_way if each is key.fileobj)
                    selector.unregister(ended)
                    under_way.remove(ended)
                    number = ended.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not number:
                        ended.settimeout(limit_s)
                        return ended
                    ended.close()
                    problem = problem or OSError(number, os.strerror(number))
            raise problem or TimeoutError("timed out")
        finally:
            for each in under_way:
                each.close()


def _begin(place: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
    """Raises OSError: this machine has no such family of addresses, or no way to this one."""
    family, kind, protocol, _, address = place
    begun = socket.socket(family, kind, protocol)
    begun.setblocking(False)
    number = begun.connect_ex(address)
    if number in UNDER_WAY:
        return begun
    begun.close()
    raise OSError(number, os.strerror(number))
