"""The reply to `show`: one page of the pairs as JSON, and the command for the next page. Pure.

The reply to `lines` has the lines of the same pairs in a snapshot, for a comparison of two nodes.

A page shows the pairs at one moment, and holds the first keys after a place.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from ..wire.key_stat import facts_of, format_key_line, value_of
from ..wire.operands.operands import WITH_INDEX, asks_for_index, show_operands
from ..wire.protocol import ProtocolError, real
from .store import Store

LINES = "lines"
PAGE_KEYS = 1000
PAGE_CHARACTERS = 1 << 20  # a page ends after the pair that reaches this size


class Selection(NamedTuple):
    """The keys that a `show` selects. `prefix` and `after` are escaped, or "" if absent.
    `with_index` asks for the last change of each key as well, and `as_lines` for all facts."""

    prefix: str
    after: str
    error: str = ""
    with_index: bool = False
    as_lines: bool = False


def read_selection(command: str) -> Selection | None:
    """Return the selection of a `show` or `lines` command, or None for another command."""
    verb = command.partition(" ")[0]
    if verb not in ("show", LINES):
        return None
    try:
        prefix, after = show_operands(command.rstrip(" "))
    except ProtocolError as error:
        return Selection("", "", error.refusal)
    return Selection(
        prefix or "", after or "", with_index=asks_for_index(command), as_lines=verb == LINES
    )


class KeyPage(NamedTuple):
    """Some pairs of a listing, in order, with their facts."""

    selection: Selection
    pairs: list[tuple[str, str]]
    is_last: bool
    applied: int = 0  # the last entry in the pairs

    def format(self) -> str:
        """Return the reply: JSON of unescaped keys and values, in the byte order of the keys.

        Bytes that are not UTF-8 are lone surrogates, `\\udcNN` in the JSON. If keys remain, the
        command for the next page follows the JSON.
        """
        prefix, _, error, with_index, as_lines = self.selection
        if error:
            return error
        if as_lines:
            return f"LINES response: {json.dumps(self._facts())}"
        shown: dict[str, object] = {}
        for key, text in self.pairs:
            value = real(value_of(text))
            shown[real(key)] = [facts_of(text).changed, value] if with_index else value
        reply = f"SHOW response: {json.dumps(shown)}"
        if not self.is_last:
            begin = f"show {prefix} after" if prefix else "show after"
            reply += f" more: {begin} {self.pairs[-1][0]}{WITH_INDEX if with_index else ''}"
        return reply

    def _facts(self) -> dict[str, object]:
        """Return the lines of the pairs, and the place of the next page, null after the last."""
        after = None if self.is_last else self.pairs[-1][0]
        lines = [format_key_line(key, text) for key, text in self.pairs]
        return {"applied": self.applied, "lines": lines, "after": after}


def take_page(store: Store, selection: Selection) -> KeyPage:
    """Return the page at this moment. The caller holds the lock that guards the pairs."""
    pairs: list[tuple[str, str]] = []
    characters = 0
    if not selection.error:
        for key in store.keys_after(selection.prefix, selection.after):
            if len(pairs) == PAGE_KEYS or characters >= PAGE_CHARACTERS:
                return KeyPage(selection, pairs, is_last=False)
            pairs.append((key, store.held[key]))
            characters += len(key) + len(pairs[-1][1])
    return KeyPage(selection, pairs, is_last=True)
