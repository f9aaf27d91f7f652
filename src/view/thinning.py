"""The choice of events that a page gets, if there are too many. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .picture import Event

PULSES_KEPT = 1000  # of the heartbeats, for a page that is opened later
BATCH_MAX = 100  # events in a batch; at 20 batches a second 2,000
ALWAYS = frozenset(("election", "vote", "conflict", "broken"))  # tags of steps that every page gets


def thinned(events: Sequence[Event], room: int = BATCH_MAX) -> tuple[list[Event], int]:
    """Return the events that a page gets, and how many steps and messages were left out.

    Kept are elections, votes and conflicts, the last step of each node, also before an end of it,
    and as many others as there is room for: first those that are no heartbeats. A step brings the
    messages that it sent, the steps that took them, and their answers: so no answer is shown
    without its question.
    Entries of a step that is left out go with the next one of its node.
    """
    if len(events) <= room:
        return list(events), 0
    steps = [event for event in events if event["k"] == "step"]
    kept = {event["id"] for event in steps if ALWAYS.intersection(event["tags"])}
    kept |= {event["id"] for event in _last_of_lives(events)}
    takers = {event["got"]: event for event in steps if event["got"] is not None}
    messages: set[int] = set()
    for event in sorted(steps, key=lambda event: bool(event["pulse"])):
        if len(kept) + len(messages) < room // 2:
            _keep_exchange(event, takers, kept, messages)
        elif event["id"] in kept and (event["tags"] or event["got"] in messages):
            messages.update(event["sent"])
    chosen = [event for event in events if _is_kept(event, kept, messages)]
    left_out = sum(event["k"] in ("step", "message") for event in events) - sum(
        event["k"] in ("step", "message") for event in chosen
    )
    return _with_all_entries(events, chosen, kept), left_out


def _last_of_lives(events: Sequence[Event]) -> Iterator[Event]:
    """Yield the last step of each node, and before each end of it."""
    last: dict[str, Event] = {}
    for event in events:
        if event["k"] == "step":
            last[event["node"]] = event
        elif event["k"] == "end" and event["node"] in last:
            yield last.pop(event["node"])
    yield from last.values()


def _keep_exchange(
    step: Event, takers: Mapping[int, Event], kept: set[int], messages: set[int]
) -> None:
    """Keep a step, the steps that took its messages, and those that took their answers."""
    kept.add(step["id"])
    messages.update(step["sent"])
    for taker in [takers[sent] for sent in step["sent"] if sent in takers]:
        kept.add(taker["id"])
        messages.update(taker["sent"])
        kept.update(takers[sent]["id"] for sent in taker["sent"] if sent in takers)


def remembered(events: Sequence[Event], most: int, pulses: int = PULSES_KEPT) -> list[Event]:
    """Return the events that are kept for a page that is opened later: of too many heartbeats the
    oldest go first, so that a cluster at rest keeps its elections."""
    if len(events) <= most:
        return list(events)
    idle = [event for event in events if _is_idle(event)]
    spare = {event["id"] for event in idle[: max(0, min(len(events) - most, len(idle) - pulses))]}
    gone = spare | {sent for event in idle if event["id"] in spare for sent in event["sent"]}
    return [event for event in events if event.get("id") not in gone][-most:]


def _is_idle(event: Event) -> bool:
    """Whether a step is a heartbeat that changed no log."""
    return event["k"] == "step" and event["pulse"] and not event["append"] and event["cut"] is None


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
