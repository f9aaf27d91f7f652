"""No command makes a node keep or compute very much for a few bytes."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

from raftline.wire.commands.command_table import COMMANDS
from raftline_testing.fuzzing import amplification
from raftline_testing.nodes.cluster import Cluster

pytestmark = pytest.mark.needs("/proc")


def test_examples_are_of_every_command_of_each_table() -> None:
    """A new command gets a row in one of them, and needs nothing else to be tried."""
    names = [{*table} - amplification.LEFT_OUT for table, _ in amplification.tables()]
    drawn = islice(amplification.examples(random.Random(1)), sum(map(len, names)))
    assert {example.name.removeprefix("txn ") for example in drawn} == set().union(*names)
    assert set().union(*names) >= {*COMMANDS} - amplification.LEFT_OUT


def test_no_command_amplifies(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """This runs for a minute, and the campaign for an hour. A failure prints its seed."""
    with Cluster(tmp_path, 1, "--pace", "fast") as cluster:
        (node,) = cluster.start("--new").nodes
        exit_code = amplification.carried_out(node, 60.0, random.randrange(1 << 31))
        assert exit_code == 0, capfd.readouterr()
