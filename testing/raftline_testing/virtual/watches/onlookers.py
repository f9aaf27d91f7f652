"""Observers of simulated nodes in some schedules, which change nothing: backups and listings over
connections, and those that extensions add.

A backup is the state after the entry that it names, and holds all entries acknowledged before. A
page of a listing has exactly the expected keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from io import BytesIO
from random import Random
from typing import NamedTuple, Protocol
from zlib import crc32

from raftline.common.process.wakeup import no_pause
from raftline.state import key_pages as state_pages
from raftline.state.key_index import key_bytes
from raftline.storage.snapshot_lines import SnapshotReader
from raftline.wire.key_stat import value_of
from raftline.wire.protocol import escape, unescape

from ...extensions import joined
from ...invariants import InvariantError
from ..nodes.simulated_node import Host
from ..nodes.users_at_node import UsersAtNode
from ..world.plan import Plan
from ..world.world import World
from .looking import LookingConnection, Seen

SHARE = 1 / 8  # of schedules
BACKUP = re.compile(r"BACKUP response: ([0-9]+)-([0-9]+) of ([0-9]+) bytes crc32 ([0-9a-f]{8})")

Job = Generator[str, tuple[str, Seen], None]  # yields a command, receives its reply


class Scene(NamedTuple):
    """The scene that onlookers watch."""

    world: World
    hosts: Sequence[Host]
    addresses: Mapping[str, str]
    users_at: Mapping[Host, UsersAtNode]
    seed: int
    is_chosen: bool  # one of the schedules with onlookers at nodes without users


class Onlooker(Protocol):
    """One that asks each node whether it serves."""

    def see_ready(self, names: Sequence[str]) -> bool:
        """Whether all these nodes, once asked, have reported that they serve."""


class Looker:
    """A client that takes backups and lists keys, each on its own connection."""

    def __init__(self, world: World, chance: Random, hosts: Sequence[Host]) -> None:
        self._world = world
        self._chance = chance
        self._hosts = hosts
        self._host = hosts[0]
        self._connection: LookingConnection | None = None
        self._job: Job | None = None
        self._wait()

    def _wait(self) -> None:
        self._world.beside(self._chance.randint(1, 300), self._chance.random(), self._act)

    def _act(self) -> None:
        self._wait()
        connection, chance = self._connection, self._chance
        is_up = connection is not None and not connection.is_over
        if is_up and self._job is not None and chance.random() < 0.9:
            return  # it continues by itself
        if connection is not None and is_up:
            self._host.beside(0, chance.random(), connection.hang_up)
        self._connection = self._job = None
        host = self._host = chance.choice(self._hosts)
        if host.node is not None and not host.paused:
            job = self._job = self._back_up() if chance.random() < 0.5 else self._list()
            self._connection = LookingConnection(host, partial(self._hear, job))
            host.requests.keep(self._connection)
            self._send(next(job))

    def _send(self, command: str) -> None:
        connection, chance = self._connection, self._chance
        if connection is not None:
            line = f"looker@{command}\n".encode()
            self._host.beside(chance.randint(0, 5), chance.random(), connection.receive, line)

    def _hear(self, job: Job, reply: str, seen: Seen) -> None:
        if job is not self._job:
            return  # it was abandoned, and its connection ends in a moment
        try:
            self._send(job.send((reply, seen)))
        except StopIteration:
            self._job = None

    def _back_up(self) -> Job:
        host, least = self._host, self._host.requests.acknowledged_index
        reply, seen = yield "backup"
        if reply.startswith("Sorry, "):
            return
        match = BACKUP.fullmatch(reply)
        if match is None or int(match[1]) != seen.applied or seen.applied < least:
            raise InvariantError(f"{host.name} at {seen.applied} backs up {reply}; {least} counts")
        data = b""
        while True:
            reply, _ = yield f"backup from {len(data)}"
            text = reply.removeprefix(f"BACKUP response: from {len(data)} ")
            piece = str(json.loads(text)).encode("utf-8", "surrogateescape")
            if not piece or len(data) > int(match[3]):
                break
            data += piece
        if len(data) != int(match[3]) or f"{crc32(data):08x}" != match[4]:
            raise InvariantError(f"{host.name} says {match[0]} and sends {len(data)} bytes")
        loaded = SnapshotReader(BytesIO(data), no_pause).read()
        pairs = {key: value_of(held) for key, held in loaded.pairs.items()}
        expected = {key: value_of(held) for key, held in seen.held.items()}
        if loaded.snapshot.index != seen.applied or pairs != expected:
            raise InvariantError(f"{host.name} backs up {pairs}, and has {expected}")
        self._world.counts["backups over lines"] += 1

    def _list(self) -> Job:
        """List keys page by page, as `kv.items` does."""
        host, chance = self._host, self._chance
        prefix, after = chance.choice(["", "", "a", "bank"]), chance.choice(["", "", "a", "b", "c"])
        throughout: set[str] | None = None
        listed: list[str] = []
        while True:
            least, command = host.requests.acknowledged_index, "show"
            if prefix:
                command += f" {escape(prefix, key=True)}"
            if after:
                command += f" after {escape(after, key=True)}"
            reply, seen = yield command
            if reply.startswith("Sorry, "):
                return
            text = reply.removeprefix("SHOW response: ")
            found, end = json.JSONDecoder().raw_decode(text)
            pairs, is_last = [*found.items()], end == len(text)
            expected = _listing(seen, prefix, after)
            size, what = state_pages.PAGE_KEYS, f"{command} of {host.name}: {reply}"
            if seen.applied < least or pairs != expected[:size]:
                raise InvariantError(f"{what}, and it has {expected}; {least} counts")
            if is_last is not (len(expected) <= size):
                raise InvariantError(f"{what} ends, or does not: it has {expected}")
            there = {key for key, _ in expected} | set(listed)
            throughout = there if throughout is None else throughout & there
            listed += [key for key, _ in pairs]
            if is_last:
                break
            after = pairs[-1][0]
            self._world.counts["pages of listings that went on"] += 1
        if len(listed) > len(set(listed)) or throughout - set(listed):
            raise InvariantError(f"{host.name} lists {listed}; it had {throughout} all the time")
        self._world.counts["listings over lines"] += 1


def _listing(seen: Seen, prefix: str, after: str) -> list[tuple[str, str]]:
    """Return all expected pairs of a listing after that key."""
    found = {unescape(key): unescape(value_of(held)) for key, held in seen.held.items()}
    keys = [key for key in found if key.startswith(prefix)]
    keys = [key for key in keys if not after or key_bytes(key) > key_bytes(after)]
    return [(key, found[key]) for key in sorted(keys, key=key_bytes)]


class Onlookers:
    """All onlookers, in some schedules."""

    def __init__(
        self,
        world: World,
        plan: Plan,
        hosts: Sequence[Host],
        users_at: Mapping[Host, UsersAtNode],
        addresses: Mapping[str, str],
        seed: int,
    ) -> None:
        """Create the onlookers, with those of extensions (`look_on`); `users_at` is for those that
        log in."""
        chance = Random(f"onlookers {seed}")
        is_chosen = chance.random() < SHARE
        self.page_keys = state_pages.PAGE_KEYS
        if is_chosen:
            Looker(world, chance, hosts)
            if not plan.dealers:  # because dealers read all accounts in one page
                self.page_keys = chance.choice([1, 2, self.page_keys])
        scene = Scene(world, hosts, addresses, users_at, seed, is_chosen)
        self._asking: list[Onlooker] = []
        for module in joined("onlookers"):
            self._asking += module.look_on(scene)

    def see_ready(self, names: Sequence[str]) -> bool:
        """Whether all these nodes, once asked, have reported that they serve, to every onlooker."""
        return all([one.see_ready(names) for one in self._asking])
