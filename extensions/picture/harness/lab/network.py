"""The network of the lab: each message travels for some milliseconds, and a person decides about
the messages in flight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from raftline.raft.messages import Message
from raftline.wire.peer_lines import format_message
from raftline_testing.virtual.world.chance import up_to
from raftline_testing.virtual.world.network import ScriptedNetwork
from raftline_testing.virtual.world.world import World

DELAY_MS = (5, 15)  # the shortest and the longest way of a message

Line = tuple[str, str, str]  # from, to, text


@dataclass
class Flight:
    """A message in flight."""

    line: Line
    sent_ms: int
    due_ms: int
    is_held: bool = False


class LabNetwork(ScriptedNetwork):
    """A network whose messages arrive by themselves, unless a person holds or drops them."""

    def __init__(
        self,
        world: World,
        is_up: Callable[[str], bool],
        chance: Random,
        arrive: Callable[[Line], None],
    ) -> None:
        super().__init__(world, is_up)
        self.flights: dict[int, Flight] = {}
        self.delay_ms = DELAY_MS
        self._chance = chance
        self._arrive = arrive
        self._sent = 0

    def mend_between(self, one: str, other: str) -> None:
        """Mend the link between two nodes, in both directions."""
        for link in ((one, other), (other, one)):
            self._cut.pop(link, None)

    def send(self, message: Message) -> bool:
        is_lost = self.is_cut(message) or not self._is_up(message.to)
        if not is_lost:
            self._launch((message.sender, message.to, format_message(message)))
        return not is_lost

    def take(self, sender: str = "all", to: str = "all") -> list[Line]:
        fits = [
            number
            for number, flight in self.flights.items()
            if sender in ("all", flight.line[0]) and to in ("all", flight.line[1])
        ]
        return [self.flights.pop(number).line for number in fits]

    def take_one(self, number: int) -> Line:
        """Remove a message from the network, to deliver or to drop it."""
        return self.flights.pop(number).line

    def double(self, number: int) -> None:
        """Send a copy of a message along with it."""
        self._launch(self.flights[number].line)

    def hold(self, number: int) -> None:
        """Keep a message in flight until it is delivered or dropped."""
        self.flights[number].is_held = True

    def _launch(self, line: Line) -> None:
        shortest_ms, longest_ms = self.delay_ms
        way_ms = shortest_ms + up_to(longest_ms - shortest_ms, self._chance)
        number = self._sent = self._sent + 1
        now_ms = self._world.now_ms
        self.flights[number] = Flight(line, now_ms, now_ms + way_ms)
        self._world.after(way_ms, self._ends, number)

    def _ends(self, number: int) -> None:
        flight = self.flights.get(number)
        if flight is not None and not flight.is_held:
            self._arrive(self.take_one(number))
