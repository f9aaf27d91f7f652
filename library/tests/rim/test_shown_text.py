"""No screen shows a character that changes the direction of the text."""

from __future__ import annotations

import json

import pytest

from raftline.clients.terminal.watch_output import line_of
from raftline.clients.watches.watch_events import Event
from raftline.wire.protocol import unescape
from raftline.wire.replies.replies import screen_lines

TURN = "\u202e"


@pytest.mark.parametrize("kind", ["has", "set"])
def test_event_on_a_screen_turns_no_direction(kind: str) -> None:
    """Characters that change the direction of text are escaped, so the text can be read back."""
    line = line_of(Event(7, kind, f"k{TURN}", f"paid {TURN}001"))
    assert TURN not in line
    assert unescape(line) == f"EVENT 7 {kind} k{TURN} paid {TURN}001"


def test_pairs_on_a_screen_turn_no_direction() -> None:
    pairs = json.dumps({f"k{TURN}": f"paid {TURN}001"})
    shown = "\n".join(screen_lines(f"SHOW response: {pairs}"))
    assert TURN not in shown
    assert r"paid \xe2\x80\xae001" in shown
