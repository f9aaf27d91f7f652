"""The line on the console that names a slow disk."""

from __future__ import annotations

from raftline.node.program.slow_disk import AGAIN_S, SlowDisk


def test_a_write_that_is_over_and_took_long_is_named() -> None:
    assert " 1.3 s" in SlowDisk(5.0).look(100.0, 0.0, 1.3)


def test_a_write_that_is_not_over_is_named() -> None:
    said = SlowDisk(5.0).look(100.0, 98.5, 0.2)
    assert " 1.5 s" in said
    assert "has not ended" in said


def test_writes_within_the_bound_are_not_named() -> None:
    assert SlowDisk(5.0).look(100.0, 99.1, 0.9) == ""


def test_write_as_long_as_an_election_timeout_is_slow() -> None:
    """This is the rule at the pace `fast`."""
    assert SlowDisk(0.5).look(100.0, 0.0, 0.7) != ""


def test_slow_disk_is_reported_once_a_minute() -> None:
    """The line gives its longest write."""
    disk = SlowDisk(0.5)
    assert disk.look(100.0, 0.0, 0.7) != ""
    assert disk.look(101.0, 0.0, 3.4) == ""
    assert " 3.4 s" in disk.look(100.0 + AGAIN_S, 0.0, 0.7)
