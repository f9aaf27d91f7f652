"""The choice of events that a page gets, if there are too many. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raftline.view.picture import Event

BATCH_MAX = 100  # events in a batch; at 20 batches a second 2,000
ALWAYS = frozenset(("election", "vote", "conflict"))  # tags of steps that every page gets


def thinned(events: Sequence[Event], room: int = BATCH_MAX) -> tuple[list[Event], int]:
    """Return the events that a page gets, and how many steps and messages were left out.

    Kept are elections, votes and conflicts, the last step of each node, and as many others as
    there is room for: first those that are no heartbeats. A message goes with its step. Entries
    of a step that is left out go with the next one of its node.
    """
    if len(events) <= room:
        return list(events), 0
    steps = [event for event in events if event["k"] == "step"]
    kept = {event["id"] for event in steps if ALWAYS.intersection(event["tags"])}
    kept |= {event["id"] for event in {event["node"]: event for event in steps}.values()}
    messages: set[int] = set()
    for event in sorted(steps, key=lambda event: bool(event["pulse"])):
        if event["id"] in kept or len(kept) + len(messages) < room // 2:
            kept.add(event["id"])
            messages.update(event["sent"])
    chosen = [event for event in events if _is_kept(event, kept, messages)]
    left_out = sum(event["k"] in ("step", "message") for event in events) - sum(
        event["k"] in ("step", "message") for event in chosen
    )
    return _with_all_entries(events, chosen, kept), left_out


def _with_all_entries(
    events: Sequence[Event], chosen: Sequence[Event], kept: set[int]
) -> list[Event]:
    """Return the chosen events, with the entries of the steps that were left out."""
    missed: dict[str, list[Any]] = {}
    whole: dict[int, Event] = {}
    for event in events:
        if event["k"] != "step" or not (event["append"] or event["node"] in missed):
            continue
        if event["id"] not in kept:
            missed.setdefault(event["node"], []).extend(event["append"])
        else:
            cut = event["cut"]
            held = [e for e in missed.pop(event["node"], []) if cut is None or e[0] <= cut]
            whole[event["id"]] = {**event, "append": [*held, *event["append"]]}
    return [whole.get(event["id"], event) if event["k"] == "step" else event for event in chosen]


def _is_kept(event: Event, steps: set[int], messages: set[int]) -> bool:
    if event["k"] == "step":
        return event["id"] in steps
    return event["k"] != "message" or event["id"] in messages
