"""The state that all Redis clients of a node share: the numbers of their connections, the places of
their scans, the scripts that they have loaded, and the leader that they are told of."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from raftline.wire.operands.operands import Limits
from raftline.wire.protocol import size_of

from .redis_waiting import WaitingLines
from .resp.cluster import switched
from .resp.limits import (
    REDIS_CURSORS,
    REDIS_CURSORS_BYTES,
    REDIS_MATCHED_BYTES,
    REDIS_PATTERNS_COUNTED,
    REDIS_SCRIPTS,
)
from .resp.programs import NamePattern

_NUMBER_BITS = 32


class ServedConnection(Protocol):
    """A connection of a client."""

    def leave(self) -> None:
        """End it after its replies if the node has served it while it led, and now it does not."""


class SwitchListener(Protocol):
    """A connection that is told of each new leader."""

    def announce_switch(self, text: str) -> None:
        """Send a message, without waiting."""


class RedisNode:
    """The node, as commands see it. Any thread may call it."""

    def __init__(
        self, limits: Limits, time_s: Callable[[], float], new_token: Callable[[int], str]
    ) -> None:
        """`time_s` returns the time of day, and `new_token` random bytes in hexadecimal digits."""
        self.limits = limits
        self._time_s = time_s
        self._new_token = new_token
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        # A cursor of another node, or of an earlier run, must not be taken for one of these.
        self._last_cursor = int(new_token(3), 16) << _NUMBER_BITS
        self._cursors: dict[int, str] = {}  # the oldest first
        self._bytes = 0
        self._scripts: dict[str, bool] = {}  # by SHA1, the oldest first
        self._leader = ""  # the address of the last leader that was known
        self._listeners: dict[SwitchListener, None] = {}
        self._leads = False  # this node, as far as it was noted
        self._connections: dict[ServedConnection, None] = {}
        # The switches of which the listeners were not told yet, and the connections that each ends.
        self._switches: deque[tuple[str, list[ServedConnection]]] = deque()
        self._telling = threading.Lock()  # taken before `_lock`
        self._channels: dict[str, int] = {}  # how many subscriptions each has
        self._patterns: dict[str, tuple[int, NamePattern]] = {}  # the same
        self.waiting = WaitingLines()

    def open_connection(self, connection: ServedConnection) -> None:
        """Tell a connection when this node steps down."""
        with self._lock:
            self._connections[connection] = None

    def close_connection(self, connection: ServedConnection) -> None:
        """Forget a connection."""
        with self._lock:
            self._connections.pop(connection, None)

    def listen(self, listener: SwitchListener) -> None:
        """Tell a connection of each new leader from now on."""
        with self._lock:
            self._listeners[listener] = None

    def listen_no_more(self, listener: SwitchListener) -> None:
        """Forget a connection."""
        with self._lock:
            self._listeners.pop(listener, None)

    def is_led_from(self, address: str, *, is_here: bool) -> bool:
        """See `Door`."""
        with self._lock:
            before, self._leader = self._leader, address
            has_led, self._leads = self._leads, is_here
            served = list(self._connections) if has_led and not is_here else []
            if before in ("", address) or not (self._listeners or served):
                return False
            self._switches.append((switched(before, address), served))
            return True

    def announce_leader(self) -> None:
        """Send the messages about new leaders, in order and without waiting for a reader."""
        with self._telling:
            while self._switches:
                text, served = self._switches.popleft()
                with self._lock:
                    listeners = list(self._listeners)
                    served = [] if self._leads else served
                for one in listeners:
                    one.announce_switch(text)
                for connection in served:
                    connection.leave()

    def count_subscription(self, name: str, pattern: NamePattern | None, change: int) -> None:
        """See `Node`."""
        with self._lock:
            if pattern is None:
                count = self._channels.pop(name, 0) + change
                if count:
                    self._channels[name] = count
            else:
                count = self._patterns.pop(name, (0, pattern))[0] + change
                if count:
                    self._patterns[name] = count, pattern

    def receivers(self, channels: Sequence[str]) -> list[int]:
        """See `Node`."""
        with self._lock:
            counts = [self._channels.get(channel, 0) for channel in channels]
            is_much = len(self._patterns) > REDIS_PATTERNS_COUNTED
            patterns = [] if is_much else list(self._patterns.values())
        left = REDIS_MATCHED_BYTES  # of the channels of one request
        for place, channel in enumerate(channels):
            left -= len(patterns) + sum([pattern.steps(channel) for _, pattern in patterns])
            if left < 0:
                break
            counts[place] += sum([each for each, pattern in patterns if pattern.fits(channel)])
        return counts

    def channels(self) -> dict[str, int]:
        """See `Node`."""
        with self._lock:
            return dict(self._channels)

    def count_patterns(self) -> int:
        """See `Node`."""
        return len(self._patterns)

    def number(self) -> int:
        """Return the number of a new connection."""
        return next(self._numbers)

    def now_ms(self) -> int:
        """Return the time of day."""
        return int(1000 * self._time_s())

    def chance(self, count: int) -> int:
        """Return a random number below this one."""
        return int(self._new_token(8), 16) % count

    def blocked(self) -> int:
        """Return how many connections wait for an element."""
        return self.waiting.count

    def keep_cursor(self, key: str) -> int:
        """Return a number under which the key of a scan is kept for a while."""
        with self._lock:
            self._last_cursor += 1
            self._cursors[self._last_cursor] = key
            self._bytes += size_of(key)
            while len(self._cursors) > REDIS_CURSORS or self._bytes > REDIS_CURSORS_BYTES:
                self._bytes -= size_of(self._cursors.pop(next(iter(self._cursors))))
            return self._last_cursor

    def cursor(self, number: int) -> str | None:
        """Return the key that was kept under a number; None if it is gone."""
        with self._lock:
            return self._cursors.get(number)

    def script(self, sha: str) -> bool | None:
        """See `CommandNode`."""
        with self._lock:
            return self._scripts.get(sha)

    def keep_script(self, sha: str, *, takes_times: bool = False) -> None:
        """See `CommandNode`. If there are too many, the oldest goes."""
        with self._lock:
            self._scripts[sha] = takes_times or self._scripts.get(sha, False)
            if len(self._scripts) > REDIS_SCRIPTS:
                del self._scripts[next(iter(self._scripts))]
