"""The picture of past steps: from recordings, or from a simulated schedule."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from raftline.picture.observe.facts import Facts, Step, facts_of
from raftline.picture.observe.step_lines import hello, json_of, start_of
from raftline.picture.view.picture import Event, Picture, Where
from raftline.picture.view.picture_page import saved_page
from raftline.raft.effects import Effects
from raftline.raft.inputs import Receive
from raftline.raft.log import Entry
from raftline.raft.messages import AppendEntries, Message
from raftline.raft.node import RawNode
from raftline.wire.commands.observe_lines import ObserveAsked
from raftline.wire.commands.summaries import abridged

from .answers import with_answers
from .cluster_facts import Cluster
from .judged import judged

STEP_S = 0.001  # from one step in virtual time to the next
SECTIONS = re.compile(r"(?:thesis )?§[0-9.]*[0-9]|Figure [0-9]+")
STEPS_MAX = 4000  # the last steps of all nodes; a browser shows this many without delay


class Collector:
    """Gathers the steps of nodes and draws them.

    With `one_clock`, all nodes share one virtual time, in which a step takes no time. Each step is
    drawn at least a millisecond after the previous one, so that cause and effect are separate. Each
    step is then also checked against the facts of all nodes. `names_places` is for raftline's own
    core.
    """

    def __init__(self, *, one_clock: bool = False, names_places: bool = True) -> None:
        self._one_clock = one_clock
        self._names_places = names_places
        self._last_s = 0.0
        self._events: list[tuple[float, str, Event]] = []
        self._story: list[tuple[float, str]] = []
        self._cluster = Cluster()
        self._failure: tuple[str, int] | None = None  # in words, and the index of its event
        self.count = 0

    def caption(self, text: str, at_s: float) -> None:
        """Take a sentence about the next steps. The page shows it with these steps."""
        self._story.append((max(at_s - STEP_S, self._last_s), text))

    def observe(self, node: RawNode, clock_s: Callable[[], float]) -> None:
        """Collect each step of a node from now on."""
        _Observed(node, clock_s, self)

    def begin(
        self, name: str, at_s: float, state: Event, facts: Facts, log: Sequence[Entry]
    ) -> None:
        """Take the state of a node at its start, or at the start of its record."""
        self._events.append((self._spread(at_s), name, {"begin": state}))
        if self._one_clock:
            why = [one.reason for one in self._cluster.started(name, facts, log)]
            at_s = self._spread(at_s)
            self._events.append((at_s, name, start_of(at_s, facts, why)))

    def end(self, name: str, at_s: float) -> None:
        """Take the end of a node."""
        self._events.append((self._spread(at_s), name, {"end": True}))

    def take(self, step: Step) -> None:
        """Take a step."""
        if step.is_idle:
            return
        self.count += 1
        step = replace(step, at_s=self._spread(step.at_s))
        findings = self._cluster.stepped(step) if self._one_clock else []
        event = read(json_of(judged(step, findings)))
        self._events.append((step.at_s, step.name, event))

    def lose(self, message: Message, at_s: float, where: Where) -> None:
        """Take the loss of a sent message."""
        at_s = max(at_s, self._last_s)
        lost = (message.sender, message.to, abridged(message), (at_s, where))
        self._events.append((at_s, message.sender, {"lost": lost}))

    def fail(self, words: str, within: str = "") -> None:
        """Take the end of the run by a failure, in words. The failed step is the last step of the
        first node in `words`, or the last step of all nodes. With `within`, it is an unfinished
        step of that node. If the words name a section, the step's reason by that section is false
        and is removed.
        """
        if within:
            self._end_within(within)
        names = {name for _, name, _ in self._events}
        node = within or next((word for word in re.findall(r"\w+", words) if word in names), "")
        places = [
            place
            for place, (_, name, one) in enumerate(self._events)
            if "why" in one and node in ("", name)
        ]
        self._failure = (words, places[-1] if places else -1)
        if places:
            step = self._events[places[-1]][2]
            broken = set(SECTIONS.findall(words))
            step["why"] = [[words, "", "", True]] + [
                one
                for one in step["why"]
                if one[3] or not broken.intersection(SECTIONS.findall(one[1]))
            ]

    def _end_within(self, name: str) -> None:
        """Take an unfinished step of a node. The state is the previous one."""
        seen = [one for _, of, one in self._events if of == name and "why" in one]
        if seen:
            at_s = self._spread(self._last_s)
            ended = {"at": at_s, "in": "fails", "from": None, "line": None, "kind": "Failure"}
            nothing: Event = {"changed": [], "sent": [], "cut": None, "append": [], "pulse": False}
            nothing["ignored"] = False
            last = {**seen[-1], **ended, **nothing, "refused": False, "why": []}
            self._events.append((at_s, name, last))

    @property
    def steps(self) -> list[tuple[str, Event]]:
        """All steps with their nodes, in order of arrival."""
        return [(name, one) for _, name, one in self._events if "why" in one]

    def _spread(self, at_s: float) -> float:
        """Return the time at which a step of this time is drawn."""
        if not self._one_clock:
            return at_s
        self._last_s = max(at_s, self._last_s + STEP_S)
        return self._last_s

    def page(self, title: str) -> str:
        """Return the page of the last steps. After a failure, it opens at the failed step."""
        picture, events = Picture(one_clock=self._one_clock), []
        order = sorted(range(len(self._events)), key=lambda place: self._events[place][0])
        cut = len(order) - STEPS_MAX
        states: dict[str, Event] = {}
        numbers: dict[int, int] = {}  # the number on the page, by order of arrival
        for count, place in enumerate(order):
            at_s, name, one = self._events[place]
            if count < cut:
                if "end" in one:
                    states.pop(name, None)
                elif "lost" not in one:
                    states[name] = _after(states.get(name), one)
                continue
            if name in states:
                events += picture.begin(name, {**states.pop(name), "clock": at_s}, at_s, at_s)
            drawn = draw_event(picture, at_s, name, one)
            if "why" in one:
                numbers[place] = drawn[0]["id"]
                if not self._names_places:
                    drawn[0]["why"] = [[*why[:2], "", *why[3:]] for why in one["why"]]
            events += drawn
        names = list(dict.fromkeys(name for _, name, _ in self._events))  # in order of their starts
        if not self._one_clock:
            names.sort()
        events += picture.lost(self._ends_s())
        story = [{"at": at_s, "text": text} for at_s, text in self._story]
        data: Event = {
            "events": events,
            "members": names,
            "left_out": max(0, cut),
            "story": story,
            "offsets": picture.clocks.solve(),
        }
        if self._failure is not None:
            words, place = self._failure
            data["failure"] = {"words": words, "step": numbers.get(place)}
        return saved_page(data, title)

    def _ends_s(self) -> dict[str, float]:
        """Return the last time of each node, by its own clock. A message that was sent shortly
        before, and did not arrive, was still in flight then."""
        return {name: at_s for at_s, name, _ in sorted(self._events, key=lambda one: one[0])}


def draw_event(picture: Picture, at_s: float, name: str, one: Event) -> list[Event]:
    if "end" in one:
        return picture.end(name, at_s)
    if "begin" in one:
        return picture.begin(name, {**one["begin"], "clock": at_s}, at_s, at_s)
    if "lost" in one:
        return picture.lose(*one["lost"])
    return picture.step(name, one)


def read(line: str) -> Event:
    """Return the object in a JSON line."""
    event: Event = json.loads(line[line.index("{") :])
    return event


def _after(state: Event | None, one: Event) -> Event:
    """Return the state of a node after a step that the page omits."""
    if "begin" in one:
        begun: Event = one["begin"]
        return begun
    log = [
        entry
        for entry in (state or {}).get("log", [])
        if one["cut"] is None or entry[0] <= one["cut"]
    ]
    return {**one, "log": [*log, *one["append"]][-100:]}


class _Observed:
    """The observer of one node (`RawNode.observer`)."""

    def __init__(self, node: RawNode, clock_s: Callable[[], float], collector: Collector) -> None:
        self._node, self._clock_s, self._collector = node, clock_s, collector
        self._facts = facts_of(node.view)
        name, log = node.view.name, node.view.log
        first = hello(name, clock_s(), self._facts, log, ObserveAsked(as_json=True))
        entries = log.entries(log.base_index + 1, log.last_index)
        collector.begin(name, clock_s(), read(first), self._facts, entries)
        node.observer = self

    def stepped(self, event: object, effects: Effects) -> None:
        self._note(event, effects, "")

    def refused(self, message: Message, why: str) -> None:
        self._note(Receive(message), Effects(), why)

    def _note(self, event: object, effects: Effects, refusal: str) -> None:
        view, before = self._node.view, self._facts
        self._facts, there = with_answers(view.name, before, event, facts_of(view)), None
        if isinstance(event, Receive) and isinstance(event.message, AppendEntries):
            there = view.log.term_at(event.message.prev_index)
        at_s = self._clock_s()
        step = Step(view.name, at_s, before, event, effects, self._facts, refusal, there)
        self._collector.take(step)
