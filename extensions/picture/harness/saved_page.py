"""The data of a saved page of the picture, and how another run differs from it."""

from __future__ import annotations

import json
import re
from itertools import zip_longest
from typing import Any


def held(page: str) -> dict[str, Any]:
    """Return the data of a page."""
    match = re.search(r'id="saved">(.*)</script>', page)
    assert match is not None
    data: dict[str, Any] = json.loads(match[1])
    return data


def changed_run(saved: str, drawn: str) -> str:
    """Return how the run of a page that is drawn now differs from that of the saved one, and what
    to do about it; "" if they are equal."""
    before, now = held(saved), held(drawn)
    if before == now:
        return ""
    differing = [
        (old, new) for old, new in zip_longest(before["events"], now["events"]) if old != new
    ]
    what = f"it was {differing[0][0]}, and is {differing[0][1]}" if differing else "in its words"
    return (
        f"the run is another one than the page shows: {what}. First find the rule that decides "
        "differently now: a fault of the core looks like this. Only if the change is meant, "
        "`make -C docs learn` draws the pages again"
    )
