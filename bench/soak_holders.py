"""The holders in the soak: renewed leases, and watches of single keys."""

from __future__ import annotations

import contextlib
import selectors
import threading
import time
from collections.abc import Callable
from types import TracebackType

from generator import BenchError
from raftline.net.line_connection import LineConnection
from soak_nodes import SoakNodes

AT_ONCE = 500  # requests in flight together
TURN_S = 0.02
AGAIN_S = 0.2
CONNECTIONS = 21  # connections of the watchers: a third of them at each member
ANSWER_S = 30.0


class Holder(threading.Thread):
    """A thread that runs until the context ends, or it has failed."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stopping = threading.Event()
        self.failure = ""

    def __enter__(self) -> None:
        self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self.join()

    def check(self) -> None:
        """Raise BenchError if the thread has failed."""
        if self.failure:
            raise BenchError(self.failure)

    def run(self) -> None:
        try:
            self.hold()
        except Exception as error:  # reported by check()
            self.failure = f"{type(self).__name__}: {error!r}"

    def hold(self) -> None:
        raise NotImplementedError


class Leases(Holder):
    """Leases with a key under each, renewed every third of their time at the leader."""

    def __init__(self, nodes: SoakNodes, count: int, seconds: int) -> None:
        super().__init__()
        self.lost = 0
        self._nodes, self._seconds = nodes, seconds
        self._connection: LineConnection | None = None
        grants = self._ask([f"lease {seconds}"] * count)
        self._names = [reply.split()[2] for reply in grants]
        puts = [f"under {name} set lease/{n} held" for n, name in enumerate(self._names)]
        if not all(reply.startswith("SET response: ") for reply in self._ask(puts)):
            raise BenchError("a key was not put under its lease")

    def hold(self) -> None:
        count, sent, begun_s = len(self._names), 0, time.monotonic()
        while not self.stopping.wait(TURN_S):
            due = int((time.monotonic() - begun_s) * count * 3 / self._seconds)
            names = [self._names[n % count] for n in range(sent, min(due, sent + AT_ONCE))]
            try:
                replies = self._some([f"renew {name}" for name in names])
            except OSError:
                self._hang_up()
                self.stopping.wait(AGAIN_S)
                continue
            self.lost += sum(each.startswith("RENEW response, ") for each in replies)
            sent += len(names)
        self._hang_up()

    def _ask(self, lines: list[str]) -> list[str]:
        replies: list[str] = []
        end_s = time.monotonic() + ANSWER_S
        while len(replies) < len(lines):
            try:
                replies += self._some(lines[len(replies) : len(replies) + AT_ONCE])
            except OSError as error:
                if time.monotonic() > end_s:
                    raise BenchError(f"no leases: {error}") from None
                self._hang_up()
                time.sleep(AGAIN_S)
        return replies

    def _some(self, lines: list[str]) -> list[str]:
        """Return the answers of the leader. Raises OSError if it no longer leads."""
        if not lines:
            return []
        if self._connection is None:
            leader = self._nodes.leader()
            if leader is None:
                raise OSError("no node leads")
            self._connection = LineConnection(self._nodes.port(leader), ANSWER_S)
        self._connection.send(*lines)
        replies = [each.partition("@")[2] for each in self._connection.read_lines(len(lines))]
        refused = [each for each in replies if "response" not in each]
        if refused:
            raise OSError(refused[0])
        return replies

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


class Watches(Holder):
    """Watches of one key each, on some connections, a third at each member. A connection that a
    member ends is opened again, at its replacement."""

    def __init__(self, nodes: SoakNodes, keys: list[str]) -> None:
        super().__init__()
        self.events = self.opened = 0
        self._nodes = nodes
        self._keys = [each for n in range(CONNECTIONS) if (each := keys[n::CONNECTIONS])]
        self._selector = selectors.DefaultSelector()
        for number in range(len(self._keys)):
            self._open(number)

    def hold(self) -> None:
        missing: set[int] = set()
        while not self.stopping.is_set():
            for key, _ in self._selector.select(AGAIN_S):
                number, connection = key.data
                if not self._take(connection):
                    self._selector.unregister(connection.socket)
                    connection.close()
                    missing.add(number)
            for number in list(missing):
                with contextlib.suppress(OSError):
                    self._open(number)
                    missing.discard(number)
        for key in list(self._selector.get_map().values()):
            key.data[1].close()
        self._selector.close()

    def _take(self, connection: LineConnection) -> bool:
        """Count the received events; return whether more may arrive."""
        try:
            data: bytes = connection.socket.recv(1 << 16)
        except OSError:
            return False
        self.events += data.count(b" set k")  # a line without a key has only an index
        return bool(data)

    def _open(self, number: int) -> None:
        living = self._nodes.living()
        place = self._nodes.port(living[number % len(living)])
        connection = LineConnection(place, ANSWER_S)
        keys = self._keys[number]
        try:
            connection.send(*(f"w#{n}@watch {key}" for n, key in enumerate(keys, 1)))
            _began(connection.read_line, len(keys))
        except (OSError, BenchError):
            connection.close()
            raise
        self.opened += 1
        self._selector.register(connection.socket, selectors.EVENT_READ, (number, connection))


def _began(read_line: Callable[[], str], count: int) -> None:
    """Wait until `count` watches have begun. Raises OSError if one was refused."""
    while count:
        line = read_line()
        if not line or "@Sorry" in line:
            raise ConnectionError(line or "the connection was ended")
        count -= "@WATCH response: " in line
