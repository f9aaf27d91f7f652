"""One change of a key, as watchers get it. Pure."""

from __future__ import annotations

from typing import NamedTuple

SET, DELETE, EXPIRE = "set", "delete", "expire"


# A KeyEvent as a bare tuple. A node keeps its latest ones so: the garbage collector looks at each
# instance of a class, and at no tuple of numbers and texts.
BareEvent = tuple[int, str, str, str]


class KeyEvent(NamedTuple):
    """One change of one key; keys and values are in their canonical spelling."""

    number: int  # the entry's (`entry_number`)
    kind: str
    key: str
    value: str  # the new value, "" if the key is gone


class TakenEvents(NamedTuple):
    """The events since they were taken last, in the order of the log."""

    events: list[BareEvent]
    lost_up_to: int  # the last entry with dropped events, 0: none
