"""Users at work during the attacks: each call must succeed within its time."""

from __future__ import annotations

import os
import statistics
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import raftline

from ..extensions import joined
from .field import PASSWORD, Field

PATIENCE_S = 30.0
PAUSE_S = 0.05
CHECK_S = 0.5  # between two checks whether the end has come
PRIORITY = -19
Role = Callable[[Any, threading.Event], None]  # the client, and the end


class WrongAnswer(Exception):
    """An impossible read or event; no disturbance excuses it."""


@dataclass
class Work:
    """The work of one user."""

    name: str
    done: int = 0
    longest_s: float = 0.0
    refused: list[str] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)  # of the calls, in order
    holds: bool = False  # something for a while, in each call

    @property
    def median_s(self) -> float:
        """The median of all calls; 0 if there were none."""
        return statistics.median(self.times_s) if self.times_s else 0.0


class UsersAtWork:
    """A writer, a reader, a watcher, one user who logs in, one who scrapes metrics, and those who
    hold something that an extension knows."""

    def __init__(self, place: Field) -> None:
        self.place = place
        self.works: list[Work] = []
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self._written = 0

    def begin(self) -> None:
        with self._connected("ann") as kv:
            kv["ann/a"] = "0"
        roles: dict[str, Callable[[Work], None]] = {
            "writer": self._write, "reader": self._read, "watcher": self._watch,
            "login": self._log_in, "scrape": self._scrape,
        }  # fmt: skip
        holders = {name: role for each in joined("users_at_work") for name, role in each.HOLDERS}
        roles |= {name: partial(self._hold, role) for name, role in holders.items()}
        for name, role in roles.items():
            work = Work(name, holds=name in holders)
            self.works.append(work)
            self._threads.append(threading.Thread(target=role, args=(work,), daemon=True))
            self._threads[-1].start()

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)
        for thread, work in zip(self._threads, self.works, strict=True):
            if thread.is_alive():
                work.refused.append("hangs at the end")

    def _connected(self, user: str) -> raftline.KV[str]:
        return raftline.connect(
            self.place.at, user=user, password=PASSWORD, tls=self.place.tls, timeout=PATIENCE_S
        )

    def _repeat(self, work: Work, call: Callable[[], None]) -> None:
        if os.geteuid() == 0:  # as the nodes: the processors of users are not under attack
            os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)  # of this thread, on Linux
        while not self._end.wait(PAUSE_S):
            begun_s = time.monotonic()
            try:
                call()
            except Exception as error:
                work.refused.append(f"{type(error).__name__}: {error}")
                self._end.wait(1)
            work.done += 1
            work.times_s.append(time.monotonic() - begun_s)
            work.longest_s = max(work.longest_s, work.times_s[-1])

    def _write(self, work: Work) -> None:
        with self._connected("ann") as kv:

            def once() -> None:
                kv["ann/a"] = str(self._written + 1)
                self._written += 1

            self._repeat(work, once)

    def _read(self, work: Work) -> None:
        with self._connected("bob") as kv:

            def once() -> None:
                least = self._written
                number = int(kv["ann/a"])
                if number < least:
                    raise WrongAnswer(f"read {number} after {least} was written")

            self._repeat(work, once)

    def _watch(self, work: Work) -> None:
        last = -1
        with self._connected("bob") as kv, kv.watch("ann/a") as watch:

            def once() -> None:
                nonlocal last
                # a follower may lag as long
                event, until_s = None, time.monotonic() + 2 * PATIENCE_S
                while event is None and time.monotonic() < until_s and not self._end.is_set():
                    event = watch.next_event(CHECK_S)
                assert event is not None or self._end.is_set(), "no event in time"
                if event is not None and event.value is not None:
                    found = int(event.value)
                    # A watch that starts again reports the present state, and misses the events
                    # between.
                    is_next = found in (last + 1, last) or (event.kind == "has" and found > last)
                    if not is_next and last >= 0:
                        raise WrongAnswer(f"watched {event} after {last}")
                    last = found

            self._repeat(work, once)

    def _hold(self, role: Role, work: Work) -> None:
        with self._connected("ann") as kv:
            self._repeat(work, partial(role, kv, self._end))

    def _log_in(self, work: Work) -> None:
        def once() -> None:
            with self._connected("bob") as kv:
                int(kv["ann/a"])

        self._repeat(work, once)

    def _scrape(self, work: Work) -> None:
        def once() -> None:
            for port in self.place.http_ports:
                for page in ("health", "metrics"):
                    url = f"http://localhost:{port}/{page}"
                    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                        assert answer.status == 200
                        answer.read()
            self._end.wait(1)

        self._repeat(work, once)
