"""The answer to `show`: one page of the pairs as JSON, and the command that asks for the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from heapq import nsmallest
from typing import NamedTuple

from raftline.wire.protocol import ProtocolError, show_operands, unescape

PAGE_KEYS = 1000
STEP_KEYS = 1000  # looked at in one go, of all there are
PAGE_CHARACTERS = 1 << 20  # a page ends behind the pair that reaches this, whatever its size


class Selection(NamedTuple):
    """Which keys are asked for; `prefix` and `after` in escaped spelling, "" where absent."""

    prefix: str
    after: str
    error: str = ""


def read_selection(command: str) -> Selection | None:
    """Return what a show command selects; None if it is another command."""
    if command.partition(" ")[0] != "show":
        return None
    try:
        prefix, after = show_operands(command.rstrip(" "))
    except ProtocolError as error:
        return Selection("", "", str(error))
    return Selection(prefix or "", after or "")


def show_page(
    pairs: Mapping[str, str], selection: Selection, breathe: Callable[[], None]
) -> str:
    """Return the reply: JSON of real keys and values, sorted by key.

    Bytes that are not UTF-8 are lone surrogates, `\\udcNN` in the JSON. When keys remain, the
    command for the next page follows the JSON.
    """
    if selection.error:
        return f"Sorry, {selection.error}"
    prefix, after = _real(selection.prefix), _real(selection.after)
    wanted = nsmallest(
        PAGE_KEYS + 1,
        (
            (real, key)
            for real, key in _keys(pairs, breathe)
            if real.startswith(prefix) and (not selection.after or real > after)
        ),
    )
    page: dict[str, str] = {}
    characters = 0
    last = ""
    for real, key in wanted[:PAGE_KEYS]:
        page[real] = _real(pairs[key])
        characters += len(real) + len(page[real])
        last = key
        if characters >= PAGE_CHARACTERS:
            break
    reply = f"SHOW response: {json.dumps(page)}"
    if len(page) < len(wanted):
        begin = f"show {selection.prefix} after" if selection.prefix else "show after"
        reply += f" more: {begin} {last}"
    return reply


def _keys(pairs: Mapping[str, str], breathe: Callable[[], None]) -> Iterator[tuple[str, str]]:
    """Yield each key as it is and as it is spelled; now and then others get their turn."""
    for number, key in enumerate(pairs, start=1):
        yield _real(key), key
        if number % STEP_KEYS == 0:
            breathe()


def _real(text: str) -> str:
    """Return what an escaped text stands for; a log written otherwise is shown as it stands."""
    try:
        return unescape(text)
    except (ProtocolError, UnicodeError):
        return text
