"""Lists as queues: producers add elements, and workers move each one into a list of their own.

A worker removes an element from its list when it is done. After an answer that it has missed, it
looks into its list, so no element is lost with a connection. `BRPOP` and `LMPOP` have no such list:
elements may be lost with their answer. `LMPOP` names two queues, and takes from the second one only
while the first is empty.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, MutableMapping, Sequence
from itertools import cycle
from math import inf
from typing import Any

from raftline_testing.workloads.workload_machine import Steps

from .command_machine import CommandMachine

WAITS = ("0.05", "0.2", "1")  # of a command that blocks, in seconds


class QueueBeliefs:
    """The elements as producers and workers know them, and their judge."""

    def __init__(self, counts: MutableMapping[str, int], prefix: str = "") -> None:
        """Begin without elements; the lists are below `prefix`."""
        self.prefix = f"{prefix}elements"
        self.queues = (self.prefix, f"{self.prefix}/late")
        self.turns = cycle(self.queues)  # of the producers
        self.is_closing = False  # the producers add nothing more
        self._counts = counts
        self._asked: dict[str, float] = {}  # element to the time of its LPUSH
        self._queue_of: dict[str, str] = {}
        self._added: dict[str, float] = {}  # to that of the answer
        self._given: dict[str, str] = {}  # to its worker
        self._taken_from: dict[str, float] = {}  # to the time since when it may have been taken
        self._order: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        self._may_have_ended: set[str] = set()
        self._ended: set[str] = set()
        self._empty: list[tuple[str, float, float]] = []  # queues, and the times of such answers
        self._open_pops = 0  # elements that pops of unknown outcome may have removed

    @property
    def is_drained(self) -> bool:
        """Whether each acknowledged element has reached a worker."""
        return len(self._added.keys() - self._given.keys()) <= self._open_pops

    # --- producers ------------------------------------------------------------------------------

    def asks(self, queue: str, elements: Sequence[str], at: float) -> None:
        """Record elements that a producer is about to add."""
        self._asked |= dict.fromkeys(elements, at)
        self._queue_of |= dict.fromkeys(elements, queue)

    def added(self, elements: Sequence[str], at: float) -> None:
        """Record elements whose addition was acknowledged."""
        self._added |= dict.fromkeys(elements, at)
        self._counts["elements added"] += len(elements)

    # --- workers --------------------------------------------------------------------------------

    def taken(
        self, worker: str, element: str, called_at: float, at: float, how: str = "taken"
    ) -> None:
        """Check an element that an answer gives to a worker.

        Raises:
            AssertionError: it is delivered twice, or before an older one of its producer.
        """
        self._give(worker, element, called_at)
        producer, _, number = element.rpartition(".")
        overtakes = [n for told_at, n in self._order[producer] if told_at < called_at]
        newest = max(overtakes, default=0)
        is_late = element in self._added and newest > int(number)
        assert not is_late, f"{element} is delivered after {producer}.{newest}"
        self._order[producer].append((at, int(number)))
        self._counts[f"elements {how}"] += 1

    def found(self, worker: str, elements: Sequence[str], held: set[str], since: float) -> None:
        """Check what a worker sees in its list. It holds some of them for certain, and since a time
        it may have got others without an answer.

        Raises:
            AssertionError: an element is missing, or was delivered to somebody else, or has ended.
        """
        assert len({*elements}) == len(elements), f"{worker} has one twice: {elements}"
        missing = held - {*elements} - self._may_have_ended
        assert not missing, f"{sorted(missing)} are lost from the list of {worker}"
        for element in elements:
            if element not in held and element not in self._may_have_ended:
                assert since < inf, f"{worker} has {element}, and has not moved it"
                self._give(worker, element, since)
                self._counts["elements found after a lost answer"] += 1
            other = self._given[element]
            assert other == worker, f"{worker} has {element}, which was delivered to {other}"
            assert element not in self._ended, f"{element} is delivered after its end"

    def _give(self, worker: str, element: str, since: float) -> None:
        assert element in self._asked, f"nobody has added {element}"
        other = self._given.get(element)
        assert other is None, f"{element} is delivered to {worker}, and was to {other}"
        self._given[element], self._taken_from[element] = worker, since

    def was_empty(self, queue: str, called_at: float, at: float) -> None:
        """Record an answer that there is no element."""
        self._empty.append((queue, called_at, at))

    def pop_is_open(self, count: int) -> None:
        """Record a pop of so many elements whose answer was lost."""
        self._open_pops += count

    def ends(self, element: str) -> bool:
        """Record that a worker removes an element; return whether it does so for the first time."""
        is_first = element not in self._may_have_ended
        self._may_have_ended.add(element)
        return is_first

    def ended(self, element: str) -> None:
        """Record that this was acknowledged."""
        self._ended.add(element)
        self._counts["elements ended"] += 1

    # --- the end --------------------------------------------------------------------------------

    def judge(self, pairs: Mapping[str, str]) -> None:
        """Compare the beliefs with the final lists, by key.

        Raises:
            AssertionError: an element is lost, in two places, or there after its end.
        """
        keys = [key for key in pairs if key.startswith(self.prefix)]
        places = {key: pairs[key].removeprefix(r"\s").split()[1:] for key in keys}
        problems = self._findings(places)
        assert not problems, "; ".join(problems)

    def _findings(self, places: Mapping[str, Sequence[str]]) -> list[str]:
        times = Counter([element for elements in places.values() for element in elements])
        lost = self._added.keys() - times.keys() - self._may_have_ended
        problems = {
            "in two places": [element for element, count in times.items() if count > 1],
            "lost": lost if len(lost) > self._open_pops else (),
            "there after their end": times.keys() & self._ended,
            "not added by anybody": times.keys() - self._asked.keys(),
            "overlooked": self._overlooked(
                {element for queue in self.queues for element in places.get(queue, ())}
            ),
        }
        return [f"elements {sorted(each)} are {what}" for what, each in problems.items() if each]

    def _overlooked(self, left: set[str]) -> list[str]:
        """Return the elements that were in a queue all the time while it was said to be empty."""
        there = [
            (added_at, inf if element in left else self._taken_from[element], element)
            for element, added_at in self._added.items()
            if element in left or element in self._taken_from
        ]
        return [
            element
            for queue, called_at, at in self._empty
            for added_at, taken_from, element in there
            if added_at < called_at and at < taken_from and queue == self._queue_of[element]
        ]


class _QueueMachine(CommandMachine):
    """A client of the queues."""

    def __init__(self, beliefs: QueueBeliefs, *parts: Any) -> None:
        super().__init__(*parts)
        self._beliefs = beliefs


class ProducerMachine(_QueueMachine):
    """A client that adds elements, one or two at a time; none is added twice."""

    _count = 0

    def __init__(self, beliefs: QueueBeliefs, *parts: Any) -> None:
        super().__init__(beliefs, *parts)
        self._queue = next(beliefs.turns)

    def _act(self) -> Steps:
        beliefs = self._beliefs
        if beliefs.is_closing:
            return
        elements: list[str] = []
        for _ in range(self._chance.choice((1, 1, 2))):
            self._count += 1
            elements.append(f"{self.name}.{self._count}")
        beliefs.asks(self._queue, elements, self._now())
        said = yield from self._say("LPUSH", self._queue, *elements)
        if said.is_known:
            assert said.reply >= len(elements), f"a list of {said.reply} has {elements}"
            beliefs.added(elements, self._now())


class WorkerMachine(_QueueMachine):
    """A client that takes elements, and removes those that are done."""

    def __init__(self, beliefs: QueueBeliefs, *parts: Any) -> None:
        super().__init__(beliefs, *parts)
        self._own = f"{beliefs.prefix}/{self.name}"
        self._held: set[str] = set()  # for certain
        self._since = inf  # when it may first have got others without an answer
        self._must_check = False

    def _act(self) -> Steps:
        must_check = self._must_check or self._chance.random() < 0.1
        if must_check or (self._beliefs.is_closing and self._chance.random() < 0.4):
            yield from self._look()
        elif self._held and self._chance.random() < 0.6:
            yield from self._end()
        else:
            yield from self._take()

    def _look(self) -> Steps:
        said = yield from self._say("LRANGE", self._own, "0", "-1", changes=False)
        if said.is_known:
            self._beliefs.found(self.name, said.reply, self._held, self._since)
            self._held, self._must_check = {*said.reply}, False

    def _end(self) -> Steps:
        element = self._chance.choice(sorted(self._held))
        self._held.discard(element)
        is_first = self._beliefs.ends(element)
        said = yield from self._say("LREM", self._own, "1", element)
        if said.is_known:
            is_fit = said.reply == 1 or (said.reply == 0 and not is_first)
            assert is_fit, f"{element} was {said.reply} times in the list of {self.name}"
            self._beliefs.ended(element)
        self._must_check = not said.is_known

    def _take(self) -> Steps:
        chance, beliefs = self._chance, self._beliefs
        if chance.random() < 0.2:
            yield from self._take_some()
            return
        queue, own, wait = chance.choice(beliefs.queues), self._own, chance.choice(WAITS)
        command = chance.choice((
            ("BLMOVE", queue, own, "RIGHT", "LEFT", wait), ("BRPOPLPUSH", queue, own, wait),
            ("LMOVE", queue, own, "RIGHT", "LEFT"), ("RPOPLPUSH", queue, own),
            ("BRPOP", queue, wait), ("RPOP", queue),
        ))  # fmt: skip
        keeps = own in command
        said = yield from self._say(*command)
        if said.is_open:
            if keeps:
                self._since, self._must_check = min(self._since, said.called_at), True
            else:
                beliefs.pop_is_open(1)
        elif said.reply is not None:
            element = said.reply[1] if command[0] == "BRPOP" else said.reply
            beliefs.taken(self.name, element, said.called_at, self._now())
            if keeps:
                self._held.add(element)
            else:
                beliefs.ends(element)
                beliefs.ended(element)
        elif said.is_known and command[0][0] != "B":  # who waits in a line may leave it in vain
            beliefs.was_empty(queue, said.called_at, self._now())

    def _take_some(self) -> Steps:
        """Take one or two elements from the first queue that has any."""
        beliefs, count = self._beliefs, self._chance.choice((1, 2))
        verb = self._chance.choice((("LMPOP",), ("BLMPOP", WAITS[0])))
        queues = self._chance.sample(beliefs.queues, 2)
        said = yield from self._say(*verb, "2", *queues, "RIGHT", "COUNT", str(count))
        if said.is_open:
            beliefs.pop_is_open(count)
        elif said.is_known:
            queue, elements = said.reply or ("", [])
            assert len(elements) <= count, f"{elements} are more than {count}"
            empty = queues[: queues.index(queue)] if queue else queues * (verb == ("LMPOP",))
            for each in empty:
                beliefs.was_empty(each, said.called_at, self._now())
            for element in elements:
                beliefs.taken(self.name, element, said.called_at, self._now(), "popped by LMPOP")
                beliefs.ends(element)
                beliefs.ended(element)
