"""Worlds with renamed servers. The first server keeps its name, since it leads in the beginning.

The others begin alike. So the same can follow under other names, if no rule of the core depends on
the order of names. This is verified: `compiled.Search` takes each step under all names, and
compares the results.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from itertools import permutations
from typing import Any

from raftline.raft.membership import Membership
from raftline.raft.messages import AppendRejected
from raftline.raft.node import RawNode

from .ends import no_complaint
from .facts import History
from .frozen import freeze, is_frozen_dict, thaw, thaw_state
from .server import DOWN, Event, Local
from .world import World


class Asymmetry(Exception):
    """A step that differs under other names."""


def can_rename(world: World) -> bool:
    """Whether all servers except the first begin alike in a world, and may receive the same
    requests."""
    return not world.budget.change and len(world.names) > 2


class Renaming:
    """Other names for the servers of a world."""

    def __init__(self, world: World, places: tuple[int, ...]) -> None:
        self._world = world
        self.places = places  # the new index of each server
        names = {world.names[old]: world.names[new] for old, new in enumerate(places)}
        hosts = {f"h{old[1:]}": f"h{new[1:]}" for old, new in names.items()}
        self._words = {**names, **hosts}
        self._word = re.compile(rf"\b({'|'.join(self._words)})\b")
        self._texts: dict[str, str] = {}
        self._cores: dict[tuple[int, int], int] = {}
        self._messages: dict[int, int] = {}

    def local(self, place: int, local: Local) -> Local:
        """Return a server under its new name; its core has a number of that name."""
        queue = [
            self.of(work._replace(messages=()))._replace(messages=self.messages(work.messages))
            for work in local.queue
        ]
        return Local(
            self._core(place, local.core),
            local.starts,
            self.of(local.disk),
            tuple(queue),
            self.messages(local.inbox),
            tuple(sorted(self.of(local.cast))),
        )

    def messages(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """Return the numbers of messages under the new names, sorted."""
        return tuple(sorted(map(self.message, numbers)))

    def message(self, number: int) -> int:
        """Return the number of a message under the new names."""
        if number not in self._messages:
            message = thaw(self.of(freeze(self._world.messages.sent[number])))
            if isinstance(message, AppendRejected) and message.index < 0:
                message = no_complaint(self._world.names, message.to, message.term)
            self._messages[number] = self._world.messages.of(message)
        return self._messages[number]

    def history(self, history: History) -> History:
        """Return a history under the new names."""
        renamed: History = self.of(history)
        return renamed._replace(leaders=tuple(sorted(renamed.leaders)))

    def event(self, number: int) -> int:
        """Return the number of an event under the new names."""
        renamed = self.of(self._world.events.values[number])
        if isinstance(renamed, Event) and renamed.elected is not None:
            log, voters = renamed.elected
            renamed = renamed._replace(elected=(log, tuple(sorted(voters))))
        return self._world.events.of(renamed)

    def _core(self, place: int, core: int) -> int:
        if core == DOWN:
            return DOWN
        if (place, core) not in self._cores:
            server = self._world.servers[self.places[place]]
            frozen = self.of(self._world.servers[place].cores[core].frozen)
            node = RawNode(thaw_state(frozen, 0, server.options.__hash__))
            self._cores[place, core] = server.number_of(node)
        return self._cores[place, core]

    def of(self, value: Any) -> Any:
        """Return a value, frozen or immutable, under the new names."""
        kind = type(value)
        if kind is str:
            return self._text(value)
        if is_frozen_dict(value):
            pairs = zip(map(self.of, value[1::2]), map(self.of, value[2::2]), strict=True)
            return value[0], *[each for pair in sorted(pairs) for each in pair]
        if kind is tuple:
            return tuple(map(self.of, value))
        if isinstance(value, tuple):
            return kind._make(map(self.of, value))
        if isinstance(value, Mapping):
            return {self.of(key): self.of(item) for key, item in value.items()}
        if isinstance(value, Membership):
            roles = value.voters, value.learners, value.outgoing
            voters, learners, outgoing = (tuple(sorted(self.of(each))) for each in roles)
            return Membership(voters, learners, outgoing, self.of(value.addresses))
        if dataclasses.is_dataclass(kind):
            names = [each.name for each in dataclasses.fields(kind)]
            return kind(**{name: self.of(getattr(value, name)) for name in names})
        return value

    def _text(self, text: str) -> str:
        if text not in self._texts:
            self._texts[text] = self._word.sub(lambda found: self._words[found[0]], text)
        return self._texts[text]


def renamings(world: World) -> list[Renaming]:
    """Return all other names that the servers of a world may have."""
    others = permutations(range(1, len(world.names)))
    return [Renaming(world, (0, *places)) for places in others][1:]
