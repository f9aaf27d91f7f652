"""The shortest path to an impossible world, as readable choices."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from random import Random
from typing import Any

from raftline.raft.log import Entry
from raftline.wire.peer_lines import format_message

from .budget import BudgetError, read
from .explored_server import DOWN, Disk
from .facts import Violation
from .world import Choice, World

Step = tuple[int, int, Choice]  # the world before, the index of the server, and its choice


def way_to_violation(world: World, order: str, seed: int, seconds: float) -> tuple[list[Step], str]:
    """Return the path to a violation, and the error at its end. It is the shortest path if a
    breadth-first search ends within this time; else the path of a search in this order.

    Raises:
        LookupError: there is none.
    """
    for tried, limit_s in (("breadth", seconds), (order, 1e9)):
        before: dict[int, int] = {world.begin: -1}
        last = _walk(world, before, tried, seed, limit_s)
        if last >= 0:
            worlds = [last]
            while before[worlds[-1]] >= 0:
                worlds.append(before[worlds[-1]])
            return _steps(world, worlds[::-1])
    raise LookupError("no violation was found once more")


def _walk(world: World, before: dict[int, int], order: str, seed: int, limit_s: float) -> int:
    """Record the predecessor of each world; return the world in which a violation begins, or -1."""
    began_s, waiting, pick = time.perf_counter(), deque([world.begin]), Random(seed).random
    while waiting:
        if time.perf_counter() - began_s > limit_s:
            return -1
        if order == "random":
            place = int(pick() * len(waiting))
            waiting[place], waiting[-1] = waiting[-1], waiting[place]
        current = waiting.popleft() if order == "breadth" else waiting.pop()
        try:
            for move in world.moves_of(current):
                after = world.follow(current, move)
                if after not in before:
                    before[after] = current
                    waiting.append(after)
        except Violation:
            return current
    return -1


def _steps(world: World, worlds: Sequence[int]) -> tuple[list[Step], str]:
    """Return the steps through these worlds, and a step from the last of them that is a
    violation."""
    steps = [_step_to(world, *pair)[0] for pair in pairwise(worlds)]
    final, why = _step_to(world, worlds[-1], -1)
    return [*steps, final], why


def _step_to(world: World, current: int, after: int) -> tuple[Step, str]:
    """Return the choice that leads to a world, or, for a number below 0, to a violation, with the
    violation."""
    for place in range(len(world.names)):
        for choice in world.choices(current, place):
            try:
                if world.after(current, place, choice) == after:
                    return (current, place, choice), ""
            except Violation as violation:
                if after < 0:
                    return (current, place, choice), str(violation)
    raise LookupError("no choice leads there")


# --- a trace as text, and back -------------------------------------------------------------

_TITLE = re.compile(r"([0-9]+) servers, \{([^}]*)\}")
_CHOICE = re.compile(r" *[0-9]+\. (s[0-9]+ .*)")


def replay(text: str) -> tuple[str, str]:
    """Repeat the choices of a trace with the current core. Return the new trace, and its violation
    or "".

    A choice that no longer exists ends the path: a fixed core takes another one.

    Raises:
        BudgetError: there is no line "3 servers, {BUDGET}", or the budget is invalid.
    """
    title = _TITLE.search(text)
    if title is None:
        raise BudgetError("a trace begins with a line such as: 3 servers, {timeout crash}")
    world = World(read(title[2]), int(title[1]))
    current, steps = world.begin, list[Any]()
    for words in _CHOICE.findall(text):
        choice = _choice_named(world, current, words)
        if choice is None:
            why = f"there is no choice any more by which {words}"
            return format_trace(world, steps, why), ""
        steps.append((current, *choice))
        try:
            current = world.after(current, *choice)
        except Violation as violation:
            return format_trace(world, steps, str(violation)), str(violation)
    return format_trace(world, steps, "nothing is bad"), ""


def _choice_named(world: World, current: int, wanted: str) -> tuple[int, Choice] | None:
    for place, name in enumerate(world.names):
        for choice in world.choices(current, place):
            if wanted == f"{name} {format_choice(world, choice)}":
                return place, choice
    return None


def format_trace(world: World, steps: list[Step], why: str) -> str:
    """Return a trace as text: each choice, then the server's state and the messages that it
    sends."""
    lines = [f"{len(world.names)} servers, {{{world.budget.name}}}"]
    for number, (current, place, choice) in enumerate(steps, start=1):
        lines.append(f"{number:3}. {world.names[place]} {format_choice(world, choice)}")
        try:
            after = world.after(current, place, choice)
        except Violation:
            break
        lines.append(f"       {format_server(world, after, place)}")
        for each in world.sent(current, place, choice):
            message = world.messages.sent[each]
            lines.append(f"       > {message.to}: {format_message(message)}")
    return "\n".join([*lines, f"  !  {why}"])


def format_choice(world: World, choice: Choice) -> str:
    """Return a choice as words."""
    kind, *rest = choice
    if kind in ("deliver", "again"):
        message = world.messages.sent[rest[0]]
        again = ", which will arrive once more" * (kind == "again")
        return f"receives from {message.sender}: {format_message(message)}{again}"
    if kind == "tick":
        return f"finds that its time is up ({rest[0]})"
    if kind == "write":
        return f"writes the first {rest[0]} of what waits for its disk"
    if kind == "crash":
        return f"crashes; its disk has {_disk(rest[0])}"
    words = {
        "start": "starts",
        "apply": "has applied up to entry",
        "command": "is asked to append",
        "read": "is asked to read, and must see entry",
        "ask": "is asked to read by its leader, and must see entry",
        "lease": "is asked to read under a lease, and must see entry",
        "transfer": "is asked to hand the leadership to",
        "change": "is asked to",
        "break": "loses the connection to",
        "wipe": "loses all files",
        "amnesia": "loses all files but the trace that it existed",
        "old": "returns with an older copy of its files",
        "corrupt": "has another state from now on",
        "word": "is told that these never ran:",
        "lie": "is told, wrongly, that these never ran:",
    }
    rest = [" ".join(each) if kind in ("word", "lie") else str(each) for each in rest]
    return " ".join([words[kind], *rest])


def format_server(world: World, number: int, place: int) -> str:
    """Return the state of a server as text."""
    local = world.local(number, place)
    waits = f"; {len(local.queue)} writes wait" if local.queue else ""
    disk = f"disk: {_disk(local.disk)}{waits}"
    if local.core == DOWN:
        return f"down; {disk}"
    view = world.servers[place].node(local.core, 0).view
    entries = view.log.entries(view.log.base_index + 1, view.log.last_index)
    return (
        f"{view.role.value} in term {view.term}, vote {view.vote or '-'}, commit "
        f"{view.commit_index}, log {_formatted(entries)}; {disk}"
    )


def _formatted(entries: Iterable[Entry]) -> str:
    return " ".join(f"{index}:{term}:{command}" for index, term, command in entries) or "empty"


def _disk(disk: Disk) -> str:
    mark = f", {disk.mark}" if disk.mark != "whole" else ""
    return f"term {disk.term} vote {disk.vote or '-'}, {_formatted(disk.entries)}{mark}"
