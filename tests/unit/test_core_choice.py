"""Where a node's threads run: what goes wrong there is no trouble of the node's."""

from __future__ import annotations

import errno
import threading

import pytest

from raftline import cores

DEADLINE_S = 10.0


@pytest.mark.parametrize(
    "trouble", [OSError(errno.EMFILE, "Too many open files"), KeyError("no such core")]
)
def test_who_watches_the_cores_goes_on_after_it_could_not_look(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    looks, looked_again = [0], threading.Event()

    def look() -> cores._Look:
        looks[0] += 1
        if looks[0] > 2:
            looked_again.set()
        raise trouble

    monkeypatch.setattr(cores, "_look", look)
    monkeypatch.setattr(cores, "_allowed", lambda: {0, 1})
    monkeypatch.setattr(cores, "PERIOD_S", (0.001, 0.002))
    complaints: list[object] = []
    monkeypatch.setattr(threading, "excepthook", complaints.append)
    cores.Cores().start("s1")
    assert looked_again.wait(DEADLINE_S)
    assert complaints == []
