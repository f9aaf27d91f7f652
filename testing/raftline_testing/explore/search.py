"""Searches through the worlds: depth first where they can complete, in random order where they
can't."""

from __future__ import annotations

import gc
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from .facts import Violation
from .world import (
    CONTEXT_MASK,
    GROUP_BITS,
    LOCAL_MASK,
    Context,
    World,
)

ORDERS = ("depth", "breadth", "random")
LOOK = 1 << 12  # states between two checks of the clock


@dataclass
class Found:
    """The outcome of a search."""

    states: int
    steps: int
    seconds: float  # of the processor
    complete: bool
    violation: str = ""
    different: int = 0  # steps of the core
    second: Counter[str] = field(default_factory=Counter)  # states with a second cluster, by cause


def search(  # noqa: C901 - one loop: a call for each step would cost a third of the speed
    world: World,
    seconds: float = 1e9,
    order: str = "depth",
    seed: int = 0,
    states: int = 1 << 40,
) -> Found:
    """Visit each world once, until the end, a violation, or a limit of time or number."""
    began_s = time.process_time()
    steps, looks, current = 0, 0, world.begin
    visited, waiting = {world.begin}, [world.begin]
    places = tuple(enumerate(world.shifts))
    contexts, pick = world.contexts, Random(seed).random
    found, complete = "", False
    # there are no reference cycles here, and looking for them takes a quarter of the time
    gc.disable()
    try:
        while waiting:
            if order == "random":
                place = int(pick() * len(waiting))
                waiting[place], waiting[-1] = waiting[-1], waiting[place]
            current = waiting.pop()
            looks += 1
            if not looks % LOOK and (
                len(visited) > states or time.process_time() - began_s > seconds
            ):
                break
            low = current & CONTEXT_MASK
            context = contexts.get(low)
            if context is None:
                context = contexts[low] = Context(len(places))
            for place, shift in places:
                number = current >> shift & LOCAL_MASK
                moves = context.moves[place].get(number)
                if moves is None:
                    moves = world.moves(low, place, number)
                steps += len(moves)
                for delta, send, event in moves:
                    after = current + delta
                    if send is not None:
                        for added, bits, group, to in send:
                            key = (current >> bits & LOCAL_MASK) << GROUP_BITS | group
                            more = added.get(key)
                            after += more if more is not None else world.add(key, to)
                    if event:
                        after = world.judge(after, event)
                    if after not in visited:
                        visited.add(after)
                        waiting.append(after)
        else:
            complete = True
    except Violation as violation:
        found = str(violation)
    finally:
        gc.enable()
    took_s = time.process_time() - began_s
    different = sum(server.steps for server in world.servers)
    second = Counter(world.history(each).second for each in visited if world.loses_disks)
    del second[""]
    return Found(len(visited), steps, took_s, complete, found, different, second)
