"""The choice of events that a page gets, where there are too many. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from raftline.view.picture import Event

BATCH_MAX = 100  # events in a batch; at 20 batches a second 2,000


def thinned(events: Sequence[Event], room: int = BATCH_MAX) -> tuple[list[Event], int]:
    """Return the events that a page gets, and how many steps and messages were left out.

    Kept are the steps with a tag, the last step of each node, and as many others as there is
    room for: first those that are no heartbeats. A message goes with its step.
    """
    if len(events) <= room:
        return list(events), 0
    steps = [event for event in events if event["k"] == "step"]
    kept = {event["id"] for event in steps if event["tags"]}
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
    return chosen, left_out


def _is_kept(event: Event, steps: set[int], messages: set[int]) -> bool:
    if event["k"] == "step":
        return event["id"] in steps
    return event["k"] != "message" or event["id"] in messages
