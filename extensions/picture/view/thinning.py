"""The choice of events for a page, if there are too many. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .picture import Event

PULSES_KEPT = 1000  # heartbeats kept for a page that is opened later
BATCH_MAX = 100  # events in a batch: 2,000 a second at 20 batches a second
ALWAYS = frozenset(("election", "vote", "conflict", "broken"))  # tags of steps that stay


def thinned(events: Sequence[Event], room: int = BATCH_MAX) -> tuple[list[Event], int]:
    """Return the events for a page, and the number of omitted steps and messages.

    Elections, votes and conflicts are kept, and so is the last step of each node, including the
    last step before it ends. Others are kept while there is room, and heartbeats come last. A step
    is kept with its sent messages, the steps that received them, and their answers: so no answer is
    shown without its question.

    Entries of an omitted step move to the next kept step of its node.
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
    """Yield the last step of each node, and the last step before each of its ends."""
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
    """Keep a step, the steps that received its messages, and the steps that received the
    answers."""
    kept.add(step["id"])
    messages.update(step["sent"])
    for taker in [takers[sent] for sent in step["sent"] if sent in takers]:
        kept.add(taker["id"])
        messages.update(taker["sent"])
        kept.update(takers[sent]["id"] for sent in taker["sent"] if sent in takers)


def remembered(events: Sequence[Event], most: int) -> list[Event]:
    """Return the events to keep for a page that is opened later. Surplus heartbeats are dropped,
    oldest first, so that an idle cluster keeps its elections."""
    if len(events) <= most:
        return list(events)
    idle = [event for event in events if _is_idle(event)]
    surplus = min(len(events) - most, len(idle) - PULSES_KEPT)
    spare = {event["id"] for event in idle[: max(0, surplus)]}
    dropped = spare | {sent for event in idle if event["id"] in spare for sent in event["sent"]}
    return [event for event in events if event.get("id") not in dropped][-most:]


def _is_idle(event: Event) -> bool:
    """Return whether a step is a heartbeat that changed no log."""
    return event["k"] == "step" and event["pulse"] and not event["append"] and event["cut"] is None


def _with_all_entries(
    events: Sequence[Event], chosen: Sequence[Event], kept: set[int]
) -> list[Event]:
    """Return the chosen events, with the entries of the omitted steps."""
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
