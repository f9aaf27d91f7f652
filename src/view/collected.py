"""The picture of steps that are over: of recordings, of a simulated schedule."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from raftline.observe.facts import Step, facts_of
from raftline.observe.lines import explained, hello, json_of
from raftline.raft.effects import Effects
from raftline.raft.inputs import Input, Receive
from raftline.raft.messages import AppendEntries, Message
from raftline.raft.node import RawNode
from raftline.view.page import saved_page
from raftline.view.picture import Event, Picture
from raftline.wire.observing import ObserveAsked

STEP_S = 0.001  # from one step in virtual time to the next
STEPS_MAX = 4000  # the last ones of all nodes; a browser shows them without delay


class Collector:
    """Gathers the steps of nodes and draws them.

    With `one_clock` all nodes are in one virtual time, in which a step takes none. Each is drawn
    at least a millisecond after the one before it, so that cause and effect are apart.
    """

    def __init__(self, *, one_clock: bool = False) -> None:
        self._one_clock = one_clock
        self._last_s = 0.0
        self._events: list[tuple[float, str, Event]] = []
        self.count = 0

    def observe(self, node: RawNode, clock_s: Callable[[], float]) -> None:
        """Take each step of a node from now on."""
        _Observed(node, clock_s, self)

    def begin(self, name: str, at_s: float, state: Event) -> None:
        """Take the state of a node as it starts."""
        self._events.append((self._spread(at_s), name, {"begin": state}))

    def end(self, name: str, at_s: float) -> None:
        """Take the end of a node."""
        self._events.append((self._spread(at_s), name, {"end": True}))

    def take(self, step: Step) -> None:
        """Take a step."""
        if step.is_idle:
            return
        self.count += 1
        step = replace(step, at_s=self._spread(step.at_s))
        self._events.append((step.at_s, step.name, read(json_of(explained(step)))))

    def _spread(self, at_s: float) -> float:
        """Return when a step is drawn that took place at this time."""
        if not self._one_clock:
            return at_s
        self._last_s = max(at_s, self._last_s + STEP_S)
        return self._last_s

    def page(self, title: str) -> str:
        """Return the page of the last steps."""
        made, events = Picture(one_clock=self._one_clock), []
        every = sorted(self._events, key=lambda one: one[0])
        cut = len(every) - STEPS_MAX
        states: dict[str, Event] = {}
        for place, (at_s, name, one) in enumerate(every):
            if place < cut:
                if "end" in one:
                    states.pop(name, None)
                else:
                    states[name] = _after(states.get(name), one)
                continue
            if name in states:
                events += made.begin(name, {**states.pop(name), "clock": at_s}, at_s, at_s)
            if "end" in one:
                events += made.end(name, at_s)
            elif "begin" in one:
                events += made.begin(name, {**one["begin"], "clock": at_s}, at_s, at_s)
            else:
                events += made.step(name, one)
        last_s = every[-1][0] if every else 0.0
        events += made.lost(dict.fromkeys(made.clocks.solve(), last_s + 60))
        names = sorted({name for _, name, _ in every})
        data = {"events": events, "members": names, "left_out": max(0, cut)}
        return saved_page({**data, "offsets": made.clocks.solve()}, title)


def read(line: str) -> Event:
    """Return the object in a line for programs."""
    event: Event = json.loads(line[line.index("{") :])
    return event


def _after(state: Event | None, one: Event) -> Event:
    """Return the state of a node after a step that the page leaves out."""
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
        collector.begin(name, clock_s(), read(first))
        node.observer = self

    def stepped(self, event: Input, effects: Effects) -> None:
        self._note(event, effects, "")

    def refused(self, message: Message, why: str) -> None:
        self._note(Receive(message), Effects(), why)

    def _note(self, event: Input, effects: Effects, refusal: str) -> None:
        view, before = self._node.view, self._facts
        self._facts, there = facts_of(view), None
        if isinstance(event, Receive) and isinstance(event.message, AppendEntries):
            there = view.log.term_at(event.message.prev_index)
        at_s = self._clock_s()
        step = Step(view.name, at_s, before, event, effects, self._facts, refusal, there)
        self._collector.take(step)
