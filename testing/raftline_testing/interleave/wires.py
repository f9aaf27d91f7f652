"""Sockets and epoll of a schedule: sends and receives are steps and waits of its threads."""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from raftline.net.connections.shared_reader import SharedReader

from .threads import Broken, Thread


class Way:
    """Bytes on their way in one direction."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.data = bytearray()
        self.is_ended = False

    @property
    def left(self) -> int:
        return self.room - len(self.data)


class Wire:
    """One end of a connection, as a socket."""

    family = socket.AF_INET
    _numbers = itertools.count(1000)

    def __init__(self, incoming: Way, outgoing: Way) -> None:
        self.incoming, self.outgoing = incoming, outgoing
        self._number = next(self._numbers)
        self._users = 0  # threads that have its number and are about to use it or wait for it
        self.is_closed = False
        self.is_forgotten_first = False  # by its user, before it is closed

    def fileno(self) -> int:
        return self._number

    @property
    def is_readable(self) -> bool:
        return bool(self.incoming.data) or self.incoming.is_ended

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        if self.is_closed:
            if self.is_forgotten_first:
                raise Broken("a thread uses a connection that was closed")
            raise OSError(9, "Bad file descriptor")
        self._users += 1
        try:
            Thread.schedule.step()
            yield
        finally:
            self._users -= 1

    def send(self, data: bytes, flags: int = 0) -> int:
        with self._in_use():
            return self._send(data, flags)

    def _send(self, data: bytes, flags: int) -> int:
        way = self.outgoing
        if not flags & socket.MSG_DONTWAIT:
            Thread.schedule.block(lambda: way.left > 0 or way.is_ended)
        if way.is_ended:
            raise BrokenPipeError(32, "Broken pipe")
        if way.left <= 0:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        piece = bytes(data[: way.left])
        way.data += piece
        return len(piece)

    def sendall(self, data: bytes) -> None:
        while data:
            data = data[self.send(data) :]

    def recv(self, size: int, flags: int = 0) -> bytes:
        with self._in_use():
            return self._recv(size, flags)

    def _recv(self, size: int, flags: int) -> bytes:
        way = self.incoming
        if not flags & socket.MSG_DONTWAIT:
            Thread.schedule.block(lambda: self.is_readable)
        if not self.is_readable:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        piece = bytes(way.data[:size])
        if not flags & socket.MSG_PEEK:
            del way.data[:size]
        return piece

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        data = self.recv(size or len(buffer), flags)
        buffer[: len(data)] = data
        return len(data)

    def shutdown(self, how: int) -> None:
        with self._in_use():
            if how != socket.SHUT_WR:
                self.incoming.is_ended = True
            if how != socket.SHUT_RD:
                self.outgoing.is_ended = True

    def close(self) -> None:
        """Release its number: a thread about to use it would reach another connection."""
        Thread.schedule.step()
        if self._users:
            raise Broken("a connection was closed while a thread was about to use it")
        self.is_closed = self.incoming.is_ended = self.outgoing.is_ended = True

    def setsockopt(self, *_: object) -> None:
        pass

    def settimeout(self, _: float | None) -> None:
        pass

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", self._number


def connected(room: int = 1 << 16) -> tuple[Wire, Wire]:
    """Return the two ends of a connection that holds `room` bytes each way."""
    one, other = Way(room), Way(room)
    return Wire(one, other), Wire(other, one)


class Epoll:
    """Stands in for `select.epoll`, for reading."""

    def __init__(self, wires: list[Wire]) -> None:
        """Take the wires that may be registered, by their numbers."""
        self._known = {wire.fileno(): wire for wire in wires}
        self._registered: dict[int, Wire] = {}
        self._silent: set[int] = set()  # numbers that are not polled
        self._is_closed = False

    def register(self, number: int, _: int) -> None:
        Thread.schedule.step()
        self._registered[number] = self._known[number]

    def modify(self, number: int, events: int) -> None:
        Thread.schedule.step()
        assert number in self._registered
        (self._silent.discard if events else self._silent.add)(number)

    def unregister(self, number: int) -> None:
        Thread.schedule.step()
        self._registered.pop(number)
        self._silent.discard(number)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        def ready() -> list[int]:
            polled = self._registered.keys() - self._silent
            return sorted(number for number in polled if self._registered[number].is_readable)

        Thread.schedule.block(lambda: bool(ready()), timeout)
        return [(number, select.EPOLLIN) for number in ready()]

    def close(self) -> None:
        self._is_closed = True


def reader_for(wires: list[Wire], make: Callable[[], SharedReader]) -> SharedReader:
    """Make a shared reader for these wires."""
    bell = connected()
    with (
        mock.patch.object(select, "epoll", return_value=Epoll([bell[0], *wires])),
        mock.patch.object(socket, "socketpair", return_value=bell),
    ):
        return make()
