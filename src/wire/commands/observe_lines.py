"""The request of an observe, and the replies that need no step of the node. Pure.

docs/operate/observe.md explains its lines; extensions/picture/observe/ produces them.
"""

from __future__ import annotations

from typing import NamedTuple

from ..protocol import ProtocolError
from ..refusal import TOO_MANY_OBSERVERS, error

FORM = "observe [json] [all]"
NOT_OBSERVING = error("this connection observes nothing. To begin: observe")
OBSERVES_ALREADY = error(
    "this connection observes already. Nothing was done; to end that: unobserve"
)
NO_OBSERVERS = error("this build has no picture, so its steps can't be observed. Nothing was done.")


class ObserveAsked(NamedTuple):
    """The operands of an observe."""

    as_json: bool = False
    is_all: bool = False  # include steady heartbeats


def observe_operands(command: str) -> ObserveAsked:
    """Return the operands of `observe [json] [all]`.

    Raises:
        ProtocolError: the words after `observe` are malformed.
    """
    words = command.split(" ")[1:]
    if words not in ([], ["json"], ["all"], ["json", "all"]):
        raise ProtocolError(f"the form is: {FORM}. Nothing was done.")
    return ObserveAsked("json" in words, "all" in words)


def ended(lines: int) -> str:
    """Return the reply to an unobserve."""
    return f"UNOBSERVE response: ended after {lines} line{'s' * (lines != 1)}"


def too_many(limit: int) -> str:
    """Return the refusal of an observer beyond the limit of a node."""
    return TOO_MANY_OBSERVERS(limit)
