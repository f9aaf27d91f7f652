"""The output of nodes on one terminal."""

from __future__ import annotations

import io

import pytest

from raftline.tools.local_cluster.relay import SIGHT_LINES, Relay

PAGE = "[*] the picture: http://localhost:8765/"


def test_a_line_that_is_kept_in_sight_is_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """The nodes print as long as they run, so whatever was printed once is gone from a screen."""
    relay = Relay(["s1"], None)
    relay.keep_in_sight(PAGE)
    for part in range(4):
        text = "".join(f"line {number}\n" for number in range(SIGHT_LINES - part))
        relay.follow("s1", io.BytesIO(text.encode()))
        relay.finish("s1")
        relay.say(PAGE)
    lines = capsys.readouterr().out.splitlines()
    places = [place for place, line in enumerate(lines) if line == PAGE]
    gaps = [after - before for before, after in zip([-1, *places], places, strict=False)]
    assert max(gaps) == SIGHT_LINES + 1
    assert len(places) == 1 + 1 + 4  # kept, repeated after a full screen, asked for


def test_without_such_a_line_nothing_is_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    relay = Relay(["s1"], None)
    relay.follow("s1", io.BytesIO(b"line\n" * 1000))
    relay.finish("s1")
    assert capsys.readouterr().out == "s1 | line\n" * 1000
