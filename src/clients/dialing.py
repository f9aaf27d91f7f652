"""A connection to a node, or to one of some others while it hangs (RFC 8305, "happy eyeballs").

A name may lead to several addresses. They are tried one after the other, without a wait for one
that hangs; after them those of the other nodes. A name is looked up each time, and one whose name
server hangs is like a node that hangs.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator

from ..common.address import Address
from ..common.wakeup import Flag

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
    with selectors.DefaultSelector() as selector:
        attempts = _Attempts(node, others, selector)
        try:
            while not attempts.have_failed and (left_s := until_s - time.monotonic()) > 0:
                reached = attempts.go_on(min(NEXT_S, left_s))
                if reached is not None:
                    reached[0].settimeout(limit_s)
                    return reached
            raise attempts.errors[0] if attempts.errors else TimeoutError("timed out")
        finally:
            attempts.close()


class _Attempts:
    """The connections to a node and to others that are under way at once."""

    def __init__(
        self, node: Address, others: Iterator[Address], selector: selectors.BaseSelector
    ) -> None:
        self.errors: list[OSError] = []  # of the addresses of the node
        self._node = node
        self._others = others
        self._selector = selector
        self._count: int | None = None  # of these addresses, once they are known
        self._lookups = [_Lookup.of(node)]
        self._places: deque[tuple[Address, _Place]] = deque()
        self._under_way: dict[socket.socket, Address] = {}

    @property
    def have_failed(self) -> bool:
        """Whether no address of the node is left."""
        return self._count == len(self.errors)

    def go_on(self, wait_s: float) -> tuple[socket.socket, Address] | None:
        """Try the next address, and wait; return what was reached."""
        if not self._under_way and self._lookups:
            self._lookups[-1].ended.wait(wait_s)
        self._take_names()
        if self._places and not self._begin(*self._places.popleft()):
            return None
        for key, _ in self._selector.select(wait_s) if self._under_way else ():
            ended = next(each for each in self._under_way if each is key.fileobj)
            self._selector.unregister(ended)
            tried = self._under_way.pop(ended)
            number = ended.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not number:
                return ended, tried
            ended.close()
            self._failed(tried, OSError(number, os.strerror(number)))
        if not self._places and not self.have_failed:
            self._lookups += map(_Lookup.of, itertools.islice(self._others, 1))
        return None

    def _take_names(self) -> None:
        """Take the addresses that were found. Raise if there are none of the node."""
        for each in [each for each in self._lookups if each.ended.is_set()]:
            self._lookups.remove(each)
            if each.node == self._node:
                self._count = len(each.places)
                if each.error is not None:
                    raise each.error
            self._places.extend((each.node, place) for place in each.places)

    def _begin(self, tried: Address, place: _Place) -> bool:
        try:
            begun = _begin(place)
        except OSError as error:
            self._failed(tried, error)
            return False
        self._under_way[begun] = tried
        self._selector.register(begun, selectors.EVENT_WRITE)
        return True

    def _failed(self, tried: Address, error: OSError) -> None:
        self.errors += [error] if tried == self._node else []

    def close(self) -> None:
        """End those that are still under way."""
        for each in self._under_way:
            each.close()


class _Lookup:
    """The addresses of one host. A thread of its own asks for them: a name server may hang, and no
    time limit is to wait for it, nor the end of the program."""

    def __init__(self, node: Address) -> None:
        self.node = node
        self.ended = Flag()
        self.places: list[_Place] = []
        self.error: Exception | None = None
        self._process = os.getpid()

    @classmethod
    def of(cls, node: Address) -> _Lookup:
        """Return the look-up of a node that is under way, else begin one."""
        made = _looked_up.get(node)
        if made is None or made._process != os.getpid():
            made = _looked_up[node] = cls(node)
            made._begin()
        return made

    def _begin(self) -> None:
        if not _is_numeric(self.node.host):
            with contextlib.suppress(RuntimeError):  # no thread can be started
                name = f"looks up {self.node.host}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
                return
        self._run()

    def _run(self) -> None:
        try:
            found = socket.getaddrinfo(*self.node, type=socket.SOCK_STREAM)
            self.places = found  # type: ignore[assignment]
        except (OSError, UnicodeError) as error:
            self.error = error
        _looked_up.pop(self.node, None)
        self.ended.set()


_looked_up: dict[Address, _Lookup] = {}  # those under way


def _is_numeric(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            return bool(socket.inet_pton(family, host))
    return False


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
