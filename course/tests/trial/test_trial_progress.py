"""The bar on a terminal: it stays in its line, and leaves none where nobody looks."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios

import pytest
from course.tests.trial.trials import record

from raftline_course.trial.trial import ProgressLine


@pytest.mark.parametrize(("columns", "longest"), [(60, 59), (200, 76), (0, 76)])
def test_the_bar_fits_into_the_terminal(columns: int, longest: int) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        bar = ProgressLine(terminal)
        bar.show(record([], server_messages=123_456), "unkown", 15.0)
        bar.clear()
        shown = ""
        while shown.count("\x1b[K") < 2:  # the kernel hands it on piece by piece
            shown += os.read(master, 1000).decode()
    os.close(master)
    drawn, cleared = re.findall(r"\r([^\r\x1b]*)\x1b\[K", shown)
    assert drawn.startswith("[###############...............]   15/30 s")
    assert columns == 60 or "  leader unknown  123,456 messages" in drawn
    assert (len(drawn), cleared) == (longest, "")


def test_without_a_terminal_there_is_no_bar() -> None:
    output = io.StringIO()
    bar = ProgressLine(output)
    bar.show(record([]), "0001", 15.0)
    bar.clear()
    assert output.getvalue() == ""
