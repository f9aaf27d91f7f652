"""No command of either door makes a node keep or compute very much for a few bytes."""

from __future__ import annotations

import random
import sys
from itertools import islice
from pathlib import Path

import pytest

from raftline.resp.commands import COMMANDS as REDIS_COMMANDS
from raftline.wire.commands.command_table import COMMANDS
from raftline_testing.fuzzing import amplification
from raftline_testing.nodes.cluster import SERVER, Cluster

pytestmark = pytest.mark.needs("/proc")
PROGRAM = """
import runpy, sys
{fault}
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
FAULT = """
from raftline.net.protocol import redis_serving
from raftline.wire import request_ledger
redis_serving.ANSWER_BYTES = request_ledger.ANSWER_BYTES = 1 << 40
"""  # no reply is too long

SEED = 1  # of the run in each CI; the campaign draws one


def test_examples_are_of_every_command_of_both_tables() -> None:
    """A new command has a row in one of them, and needs nothing else to be tried."""
    names = {*REDIS_COMMANDS, *COMMANDS} - amplification.LEFT_OUT
    count = sum(len({*table} - amplification.LEFT_OUT) for table in (REDIS_COMMANDS, COMMANDS))
    drawn = islice(amplification.examples(random.Random(1)), count)
    assert {example.name.removeprefix("txn ") for example in drawn} == names
    assert {*REDIS_COMMANDS, *COMMANDS} >= amplification.LEFT_OUT


def test_no_command_amplifies(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A minute of it; the campaign runs for an hour."""
    with Cluster(tmp_path, 1, "--pace", "fast") as cluster:
        (node,) = cluster.start("--new").nodes
        assert amplification.carried_out(node, 60.0, SEED) == 0, capfd.readouterr()


def test_missing_bound_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A node that counts no replies has a fault, which must not stay hidden from the fuzzer."""
    with Cluster(tmp_path, 1, "--pace", "fast") as cluster:
        node = cluster["s1"]
        node.program = [sys.executable, "-c", PROGRAM.format(fault=FAULT), str(SERVER)]
        node.start("--new")
        assert amplification.carried_out(node, 300.0, 5) == 1
    assert " are right; SEED=5" in capsys.readouterr().out
