"""A connection to a node, or to another node while the first hangs (RFC 8305, "happy eyeballs").

A name may resolve to several addresses. They are tried one after another, without waiting for an
address that hangs, and then the addresses of the other nodes. A name is looked up each time; if its
name server hangs, that is treated like a node that hangs.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator

from ..common.address import Address
from ..common.process.guarded_thread import begin_thread, print_uncaught
from ..common.process.wakeup import Flag

NEXT_S = 0.25  # for one address; RFC 8305, section 8
UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)  # the last on Windows
NOBODY: Iterator[Address] = iter(())
_Place = tuple[int, int, int, str, tuple[object, ...]]


def dial(
    node: Address, limit_s: float, others: Iterator[Address] = NOBODY
) -> tuple[socket.socket, Address]:
    """Return a connection to a node, or to one of `others` if it answers first, and its address.
    Until the node answers, another node is tried every NEXT_S.

    Raises:
        OSError: the error of the node's first address, once all of its addresses have failed, or if
            no node has answered within `limit_s`.
    """
    until_s = time.monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        attempts = _Attempts(node, others, selector)
        try:
            while not attempts.have_failed and (left_s := until_s - time.monotonic()) > 0:
                reached = attempts.advance(min(NEXT_S, left_s))
                if reached is not None:
                    reached[0].settimeout(limit_s)
                    return reached
            raise attempts.errors[0] if attempts.errors else TimeoutError("timed out")
        finally:
            attempts.close()


class _Attempts:
    """The connections in progress to a node and to others."""

    def __init__(
        self, node: Address, others: Iterator[Address], selector: selectors.BaseSelector
    ) -> None:
        self.errors: list[OSError] = []  # of the addresses of the node
        self._node = node
        self._others = others
        self._selector = selector
        self._count: int | None = None  # of the node's addresses, once they are known
        self._lookups = [_Lookup.of(node)]
        self._places: deque[tuple[Address, _Place]] = deque()
        self._under_way: dict[socket.socket, Address] = {}

    @property
    def have_failed(self) -> bool:
        """Whether all addresses of the node have failed."""
        return self._count == len(self.errors)

    def advance(self, wait_s: float) -> tuple[socket.socket, Address] | None:
        """Try the next address, and wait; return a finished connection and its address."""
        if not self._under_way and self._lookups:
            self._lookups[-1].ended.wait(wait_s)
        self._take_names()
        if self._places and not self._begin(*self._places.popleft()):
            return None
        for key, _ in self._selector.select(wait_s) if self._under_way else ():
            ended = next(each for each in self._under_way if each is key.fileobj)
            self._selector.unregister(ended)
            address = self._under_way.pop(ended)
            number = ended.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not number:
                return ended, address
            ended.close()
            self._failed(address, OSError(number, os.strerror(number)))
        if not self._places and not self.have_failed:
            self._lookups += map(_Lookup.of, itertools.islice(self._others, 1))
        return None

    def _take_names(self) -> None:
        """Add the addresses of finished look-ups. Raise if the node's look-up failed."""
        for each in [each for each in self._lookups if each.ended.is_set()]:
            self._lookups.remove(each)
            if each.node == self._node:
                self._count = len(each.places)
                if each.error is not None:
                    raise each.error
            self._places.extend((each.node, place) for place in each.places)

    def _begin(self, address: Address, place: _Place) -> bool:
        try:
            connection = _begin(place)
        except OSError as error:
            self._failed(address, error)
            return False
        self._under_way[connection] = address
        self._selector.register(connection, selectors.EVENT_WRITE)
        return True

    def _failed(self, address: Address, error: OSError) -> None:
        self.errors += [error] if address == self._node else []

    def close(self) -> None:
        """Close the connections that are still in progress."""
        for each in self._under_way:
            each.close()


class _Lookup:
    """The addresses of one host. A separate thread looks them up: a name server may hang, and
    neither a time limit nor the end of the program should wait for it."""

    def __init__(self, node: Address) -> None:
        self.node = node
        self.ended = Flag()
        self.places: list[_Place] = []
        self.error: Exception | None = None
        self._process = os.getpid()

    @classmethod
    def of(cls, node: Address) -> _Lookup:
        """Return the current look-up of a node, or start one. It is shared once its thread runs: a
        signal handler may raise at any line here, and no other call waits for what never ran."""
        lookup = _looked_up.get(node)
        if lookup is None or lookup.ended.is_set() or lookup._process != os.getpid():
            lookup = cls(node)
            if lookup._begin():
                _looked_up[node] = lookup
                if lookup.ended.is_set():
                    _looked_up.pop(node, None)
        return lookup

    def _begin(self) -> bool:
        """Look the host up; return whether that takes a thread."""
        if not _is_numeric(self.node.host):
            with contextlib.suppress(RuntimeError):  # no thread can be started
                name = f"looks up {self.node.host}"
                begin_thread(self._run, name, print_uncaught)
                return True
        self._run()
        return False

    def _run(self) -> None:
        try:
            places = socket.getaddrinfo(*self.node, type=socket.SOCK_STREAM)
            self.places = places  # type: ignore[assignment]
        except (OSError, UnicodeError) as error:
            self.error = error
        finally:
            self.ended.set()
            _looked_up.pop(self.node, None)  # afterwards: `of` looks at `ended`


# The look-ups in progress. One that has ended is not used.
_looked_up: dict[Address, _Lookup] = {}


def _is_numeric(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            return bool(socket.inet_pton(family, host))
    return False


def _begin(place: _Place) -> socket.socket:
    """Start a connection. Raises OSError if this machine lacks the address family, or a route to
    the address."""
    family, kind, protocol, _, address = place
    connection = socket.socket(family, kind, protocol)
    connection.setblocking(False)
    number = connection.connect_ex(address)
    if number in UNDER_WAY:
        return connection
    connection.close()
    raise OSError(number, os.strerror(number))
